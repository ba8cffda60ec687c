"""RAF-DB, the basic part, to a manifest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import pandas as pd

from emodo.adapters import disk
from emodo.adapters.classfolders import class_folders

SOURCE = "RAF-DB"
EMOTIONS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")  # labels 1 to 7
LABELS = {str(number): emotion for number, emotion in enumerate(EMOTIONS, 1)}
LISTS = ("list_patition_label.txt", "list_partition_label.txt")  # the first is the release's spelling
SPLITS = {"train": "train", "test": "test"}
PUBLISHED = {"train": 12_271, "test": 3_068}
ATTRIBUTES = {  # lines 6 to 8 of a manual annotation
    "gender": ("male", "female", None),  # None: unsure
    "race": ("Caucasian", "African-American", "Asian"),
    "age": ("0-3", "4-19", "20-39", "40-69", "70+"),
}


def rafdb(root: Path, out: Path, images: Literal["aligned", "original"] = "aligned", overwrite: bool = False) -> Path:
    """emodo prepare rafdb RAF-DB rafdb.csv

    RAF-DB (Real-world Affective Faces), basic part: 15,339 faces from the web, each labelled by about 40 people
    (unverified), with an official split: 12,271 for training, 3,068 for testing.

    On disk: basic/EmoLabel/list_patition_label.txt (its spelling) with lines `train_00001.jpg 5`,
    basic/Image/aligned/train_00001_aligned.jpg (100 x 100) and basic/Image/original/train_00001.jpg; or class folders
    train/1/ and test/1/. Labels count from one: 1 surprise, 2 fear, 3 disgust, 4 happiness, 5 sadness, 6 anger,
    7 neutral.

    Columns: path, emotion, source (RAF-DB), split; where basic/Annotation/manual is unpacked also gender (empty where
    the annotators were unsure), race (Caucasian, African-American or Asian) and age (0-3, 4-19, 20-39, 40-69, 70+), as
    they were seen by the annotators. They are possible confounders.

    Known faults: version 1.1 corrected images that were wrongly aligned. The classes are unbalanced: fear has 2 % of
    the images (unverified). The compound part is not read.

    Licence: non-commercial research and teaching, on request from whdeng.cn/RAF/model1.html. Cite: S. Li, W. Deng,
    J. Du, Reliable crowdsourcing and deep locality-preserving learning for expression recognition in the wild, CVPR
    2017.

    Args:
        root: The folder that holds EmoLabel and Image, or the class folders, at any depth.
        out: The manifest to write (.parquet, .csv or .tsv).
        images: The aligned faces, or the original images.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No list and no class folders, a line that is no name and label from 1 to 7, a name that is listed
            twice or begins with neither train nor test, a missing image, an annotation that is none; with file and
            line.
    """
    disk.check(root, out, overwrite)
    listed = disk.search(root, *LISTS)
    frame = _folders(root) if listed is None else _listed(listed, images)
    frame.insert(2, "source", SOURCE)
    found = Counter(frame["split"])
    known = {f"images of {split}": (found[split], count) for split, count in PUBLISHED.items()}
    return disk.save(frame, root, out, known)


def _folders(root: Path) -> pd.DataFrame:
    frame, _, _ = class_folders(root, SPLITS, LABELS)
    if frame.empty:
        raise disk.nothing(root, "rafdb", f"{LISTS[0]}, and no class folders train/1/")
    return frame


def _listed(listed: Path, images: str) -> pd.DataFrame:
    base = listed.parent.parent
    folder = disk.search(base, images)
    if folder is None:
        raise disk.nothing(base, "rafdb", f"folder Image/{images}")
    there = {disk.name(file).lower(): file for file in disk.images(folder)}
    manual = base / "Annotation" / "manual"
    attributes = {disk.name(file).lower(): file for file in disk.files(manual)} if manual.is_dir() else {}
    rows: list[dict[str, str | None]] = []
    problems: list[str] = []
    lines: dict[str, int] = {}
    for at, line in enumerate(disk.read_lines(listed), 1):
        where = f"{listed}: line {at}"
        words = line.split()
        if not words:
            continue
        name, _, kind = words[0].lower().rpartition(".")
        split = SPLITS.get(name.partition("_")[0])
        wanted = f"{name}{'_aligned' * (images == 'aligned')}.{kind}"
        if len(words) != 2 or split is None:
            problems.append(f"{where}: {line.strip()!r} is not like 'train_00001.jpg 5'")
        elif words[1] not in LABELS:
            problems.append(f"{where}: {words[1]!r} is no label: expected 1 to {len(EMOTIONS)} (the basic part)")
        elif lines.setdefault(name, at) != at:
            problems.append(f"{where}: {words[0]} is listed before, at line {lines[name]}")
        elif wanted not in there:
            problems.append(f"{where}: no image {wanted} in {folder}")
        else:
            row = {"path": there[wanted], "emotion": LABELS[words[1]], "split": split}
            file = attributes.get(f"{name}_manu_attri.txt")
            rows.append(row | (_attributes(Path(file), problems) if file else {}))
    disk.raise_all(problems)
    return pd.DataFrame(rows, columns=["path", "emotion", "split", *(ATTRIBUTES if attributes else ())])


def _attributes(file: Path, problems: list[str]) -> dict[str, str | None]:
    lines = [line.strip() for line in disk.read_lines(file)]
    given: dict[str, str | None] = {}
    for at, (name, values) in enumerate(ATTRIBUTES.items(), 5):
        text = lines[at] if at < len(lines) else ""
        if not text.isdecimal() or int(text) >= len(values):
            problems.append(f"{file}: line {at + 1}: {text!r} is no {name}: expected 0 to {len(values) - 1}")
        else:
            given[name] = values[int(text)]
    return given
