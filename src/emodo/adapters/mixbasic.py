"""MixBasic, the IERN release's mixture of CK+, MMI and Oulu-CASIA, to a manifest with the released folds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, cast

import pandas as pd

from emodo import manifest
from emodo.adapters import disk
from emodo.adapters.unpickling import read_pickle

SOURCES = {"ckplus": "CK+", "mmi": "MMI", "oulucasia": "Oulu-CASIA"}  # the folders' names in lower case
KEY = re.compile(r"(ckplus|mmi|oulucasia)_(([^_]+)_[^_]+)_(\d+)")  # source, sequence, subject, frame
IMAGES = 2991
TESTED = {False: (1014, 948, 1029), True: (915, 852, 930)}  # modified setting? -> images that folds 1 to 3 test


def mixbasic(
    root: Path, out: Path, fold: Literal[1, 2, 3] | None = None, modified: bool = False, overwrite: bool = False
) -> Path:
    """emodo prepare mixbasic datasets/MixBasic fold1.csv --fold 1

    MixBasic: three peak frames of each sequence of CK+ (309 sequences), MMI (208) and Oulu-CASIA (480), aligned faces,
    2,991 images, as the release of IERN lays them out. What confounds the emotion is the data set, `source`.

    On disk: MixBasic/{CKPlus,MMI,OuluCASIA}/images/*.png and MixBasic/emotion_labels.pkl, a dictionary from
    ckplus_S010_004_00000017 to Anger, Disgust, Fear, Happiness, Sadness or Surprise. The release's scripts make both
    from the three data sets; its own are the lists train_ids_bias100v1.csv and so on, which are the paper's folds. The
    pickle is read as data: one that holds anything but dictionaries, lists, text and numbers is refused unopened.

    Columns: path, emotion, source (CK+, MMI, Oulu-CASIA), subject, sequence, frame, and split where a fold is named.

    Known faults: the folds are independent by sequence, not by subject. The paper says 327 sequences of CK+, the lists
    hold 309.

    Licence: the lists are MIT (github.com/donydchen/causal_emotion); the images have the licences of their data sets,
    see `emodo prepare ckplus --help`, mmi and oulucasia. Cite: Y. Chen, X. Yang, T.-J. Cham, J. Cai, Towards Unbiased
    Visual Emotion Recognition via Causal Intervention, ACM MM 2022.

    Args:
        root: The folder that holds emotion_labels.pkl, at any depth.
        out: The manifest to write (.parquet, .csv or .tsv).
        fold: The fold of the paper's Table 1; by default all labelled images, without a split.
        modified: The fold's modified setting (Table 3, lists of bias90) in place of the o.o.d. one (Table 2, bias100).
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No labels or lists, a pickle that is more than data, a line that names no image, an image that is
            missing, has no label or is listed twice.
    """
    disk.check(root, out, overwrite)
    pickled = disk.find(root, "mixbasic", "emotion_labels.pkl")
    problems: list[str] = []
    labels = _labels(pickled, problems)
    base = pickled.parent
    known = {"labelled images": (len(labels), IMAGES)}
    if fold is None:
        listed = [(f"{pickled}: {key!r}", key, None) for key in labels]
    else:
        listed = list(_listed(base, fold, 90 if modified else 100, problems))
        tested = sum(split == "test" for *_, split in listed)
        known = {"images": (len(listed), IMAGES), "test images": (tested, TESTED[modified][fold - 1])}
    rows: list[tuple[str, str, str, str, str, int, str | None]] = []
    first: dict[str, str] = {}
    there = {f"{image.parent.parent.name.lower()}_{image.stem}": image for image in map(Path, disk.images(base))}
    for where, key, split in listed:
        found = KEY.fullmatch(key)
        if found is None:
            problems.append(f"{where}: it names no image of CKPlus, MMI or OuluCASIA")
        elif first.setdefault(key, where) != where:
            problems.append(f"{where}: it is listed before, at {first[key]}")
        elif key not in labels:
            problems.append(f"{where}: {pickled.name} has no label {key!r}")
        elif key not in there:
            problems.append(f"{where}: its image is missing in {base}")
        else:
            source, sequence, subject, frame = found.groups()
            rows.append((str(there[key]), labels[key], SOURCES[source], subject, sequence, int(frame), split))
    disk.raise_all(problems)
    columns = ["path", "emotion", "source", "subject", "sequence", "frame", "split"]
    frame = pd.DataFrame(sorted(rows), columns=columns)
    return disk.save(frame if fold else frame.drop(columns="split"), root, out, known)


def _labels(pickled: Path, problems: list[str]) -> dict[str, str]:
    held = read_pickle(pickled)
    if not isinstance(held, dict):
        problems.append(f"{pickled} holds no dictionary from images to emotions")
        return {}
    labels: dict[str, str] = {}
    for key, value in sorted(cast("dict[object, object]", held).items(), key=lambda item: str(item[0])):
        emotion = manifest.ALIASES.get(str(value).lower(), str(value).lower())
        if not isinstance(key, str) or emotion not in manifest.EMOTIONS:
            problems.append(f"{pickled}: {key!r}: {value!r} is no emotion")
        else:
            labels[key] = emotion
    return labels


def _listed(base: Path, fold: int, bias: int, problems: list[str]) -> Iterable[tuple[str, str, str]]:
    """Where an image is listed, its key among the labels, and its split."""
    for split in ("train", "test"):
        file = base / f"{split}_ids_bias{bias}v{fold}.csv"
        if not file.is_file():
            problems.append(f"{file} is missing: copy it from the release's datasets/MixBasic")
            continue
        for at, line in enumerate(disk.read_lines(file), 1):
            parts = line.strip().strip('"').replace("\\", "/").split("/")
            if len(parts) >= 3:
                yield f"{file}: line {at}", f"{parts[-3].lower()}_{parts[-1].rpartition('.')[0]}", split
            elif line.strip():
                problems.append(f"{file}: line {at}: {line.strip()!r} is no path of an image")
