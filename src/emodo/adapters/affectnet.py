"""AffectNet to a manifest: the full release, the release of eight classes, and class folders."""

from __future__ import annotations

import io
import math
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from emodo import manifest
from emodo.adapters import disk
from emodo.adapters.classfolders import class_folders, names
from emodo.records import InputError

SOURCE = "AffectNet"
EMOTIONS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")  # labels 0 to 7
OTHERS = ("of no emotion", "of an uncertain emotion", "without a face")  # labels 8 to 10
LABELS = {str(number): what for number, what in enumerate((*EMOTIONS, *OTHERS))}
LISTS = {"training.csv": "train", "validation.csv": "validation"}
COLUMNS = [  # of a list, in lower case
    "subdirectory_filepath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
]
USED = [name for name in COLUMNS if name != "facial_landmarks"]
SETS = {"train_set": "train", "val_set": "validation"}
PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
PUBLISHED = {"train": 287_651, "validation": 4_000}
ABSENT = -2  # valence and arousal that were not given
MOST_BYTES = 4096  # of a file with one number


def affectnet(
    root: Path,
    out: Path,
    boxes: bool = True,
    skip_missing: bool = False,
    validation_is_test: bool = False,
    overwrite: bool = False,
) -> Path:
    """emodo prepare affectnet AffectNet affectnet.parquet --validation-is-test

    AffectNet: faces from a web search in six languages, labelled by one annotator each with one of eight emotions and
    with valence and arousal; 287,651 for training and 4,000 for validation (unverified). There is no published test
    part, and the field reports on the validation part.

    On disk, the full release: Manually_Annotated_file_lists/{training,validation}.csv (with or without a header) and
    the images in Manually_Annotated_Images/. The release of eight classes: {train_set,val_set}/ with images/ID.jpg and
    annotations/ID_exp.npy, ID_val.npy and ID_aro.npy, which are read without unpickling. Class folders train/0/ to
    train/7/, or train/happy/ and so on, are read too.

    Labels: 0 neutral, 1 happiness, 2 sadness, 3 surprise, 4 fear, 5 disgust, 6 anger, 7 contempt. 8 (none),
    9 (uncertain) and 10 (no face) are passed over and counted.

    Columns: path, emotion, source (AffectNet), split; valence and arousal from -1 to 1, empty where they are -2
    (unverified); from the full release the face's box, x1 to y2, cut to the image.

    Known faults: labels are noisy: two annotators agreed on 61 % of the images (as the authors say). Training is
    unbalanced, validation is not. An image may have another suffix on the disk than in the list. Copies in class
    folders may count the classes otherwise: look at some images.

    Licence: non-commercial research, on request from mohammadmahoor.com. Cite: A. Mollahosseini, B. Hasani,
    M. H. Mahoor, AffectNet: A database for facial expression, valence, and arousal computing in the wild, IEEE
    Transactions on Affective Computing 10(1), 2019.

    Args:
        root: The folder that holds one of these forms, at any depth.
        out: The manifest to write (.parquet, .csv or .tsv).
        boxes: Take the boxes of the full release. The header of every image is read to cut them; false is faster.
        skip_missing: Leave out listed images that are missing, or cannot be read, and say how many.
        validation_is_test: Call the validation part test, since there is no other to report on.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: None of the forms, a table or array that cannot be read, no label from 0 to 10, a box or a valence
            that is no number, an image with two labels, images that are missing; with file and line. Images in a
            folder that is no class.
    """
    disk.check(root, out, overwrite)
    sets = {name: found for name in SETS if (found := disk.search(root, name))}
    eight = any((found / "annotations").is_dir() for found in sets.values())
    lists = {} if eight else {name: found for name in LISTS if (found := disk.search(root, name))}
    if eight:
        frame, notes = _eight(root, sets, skip_missing)
    elif lists:
        frame, notes = _full(root, lists, boxes, skip_missing)
    else:
        numbers = {str(number): emotion for number, emotion in enumerate(EMOTIONS)}
        frame, outside, _ = class_folders(root, PARTS | SETS, names(*EMOTIONS) | numbers)
        notes = disk.passed_over({"images outside of the parts": outside})
        if frame.empty:
            forms = "training.csv, no train_set with images and annotations, and no class folders train/0"
            raise disk.nothing(root, "affectnet", forms)
    frame.insert(2, "source", SOURCE)
    found = Counter(frame["split"])
    known = {f"images of {split}": (found[split], count) for split, count in PUBLISHED.items()}
    if validation_is_test:
        frame["split"] = frame["split"].replace("validation", "test")
    return disk.save(frame, root, out, known, notes, check_files=False)


def _full(root: Path, lists: Mapping[str, Path], boxes: bool, skip: bool) -> tuple[pd.DataFrame, list[str]]:
    folder = disk.search(root, "Manually_Annotated_Images", "Manually_Annotated") or root
    there = _by_name(folder)
    rows: list[tuple[str | float | None, ...]] = []
    first: dict[tuple[str, str], tuple[str, int, str]] = {}  # image and box -> its list, line and label
    problems: list[str] = []
    missing: list[str] = []
    passed: Counter[str] = Counter()
    for name, file in lists.items():
        for line, row in disk.read_rows(file, USED, COLUMNS):
            where = f"{file}: line {line}"
            label, path = row["expression"], row[COLUMNS[0]]
            if label not in LABELS:
                problems.append(f"{where}: {label!r} is no label: expected 0 to {len(LABELS) - 1}")
                continue
            if int(label) >= len(EMOTIONS):
                passed[f"images {LABELS[label]}"] += 1
                continue
            key = "/".join(path.replace("\\", "/").lower().split("/")[-2:])
            image = there.get(key) or there.get(key.rpartition(".")[0])
            given = [row[column] for column in USED[1:5]]
            before = first.setdefault((key, " ".join(given) if boxes else ""), (str(file), line, label))
            if before[:2] != (str(file), line):
                passed["images that are listed twice"] += 1
                if before[2] != label:
                    problems.append(
                        f"{where}: label {label} for an image that has label {before[2]} at line {before[1]}"
                    )
                continue
            try:
                affect = [_affect(row[column]) for column in ("valence", "arousal")]
                box = _box(*given) if boxes else ()
            except ValueError as error:
                problems.append(f"{where}: {error}")
                continue
            if image is None:
                missing.append(f"{where}: no image {path} in {folder}")
            else:
                rows.append((image, LABELS[label], LISTS[name], *box, *affect))
    disk.raise_all(problems)
    notes = disk.absent(root, missing, len(rows) + len(missing), skip)
    sides = manifest.BOX if boxes else ()
    frame = pd.DataFrame(rows, columns=["path", "emotion", "split", *sides, "valence", "arousal"])
    return (frame, notes + disk.passed_over(passed)) if not boxes else _clipped(root, frame, skip, passed, notes)


def _clipped(
    root: Path, frame: pd.DataFrame, skip: bool, passed: Counter[str], notes: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    boxed = frame["x1"].notna().to_numpy(bool)
    with_box, without = frame.loc[boxed], frame.loc[~boxed]
    cut, changed, unread = disk.clip(with_box)
    if unread and not skip:
        advice = "copy them anew, or leave them out with --skip_missing"
        disk.raise_all([f"{root}: {len(unread)} images cannot be read: {advice}", *unread])
    lost = set(with_box["path"]) - set(cut["path"])
    passed["images that cannot be read"] = len(unread)
    passed["faces outside of their image"] = len(with_box) - len(cut) - len(lost & set(unread))
    notes = notes + disk.passed_over(passed) + [f"{changed} boxes were cut to their image"] * (changed > 0)
    notes += [f"{len(without)} images have no box"] * (len(without) > 0)
    return pd.concat([cut, without]).sort_values("path", ignore_index=True), notes


def _by_name(folder: Path) -> dict[str, str]:
    """The images by their folder and name in lower case, with and without the suffix."""
    there: dict[str, str] = {}
    for file in disk.images(folder):
        above, _, name = file.rpartition(os.sep)
        key = f"{disk.name(above)}/{name}".lower()
        there[key] = file
        there.setdefault(key.rpartition(".")[0], file)
    return there


def _affect(text: str) -> float | None:
    """Valence or arousal, None where it was not given."""
    value = float(text) if text else ABSENT
    if value != ABSENT and not -1 <= value <= 1:
        raise ValueError(f"valence or arousal is {text}, expected -1 to 1")
    return None if value == ABSENT else value


def _box(*given: str) -> tuple[float | None, ...]:
    """x1, y1, x2 and y2 from x, y, width and height; None where there is no box."""
    if not all(given) or "NULL" in given:
        return (None, None, None, None)
    x, y, width, height = map(float, given)
    box = (x, y, x + width, y + height)
    return box if width > 0 and height > 0 and all(map(math.isfinite, box)) else (None, None, None, None)


def _eight(root: Path, sets: Mapping[str, Path], skip: bool) -> tuple[pd.DataFrame, list[str]]:
    rows: list[tuple[str, str, str, float | None, float | None]] = []
    problems: list[str] = []
    missing: list[str] = []
    passed: Counter[str] = Counter()
    for name, folder in sets.items():
        images = {disk.name(file).rpartition(".")[0]: file for file in disk.images(folder / "images")}
        arrays = {disk.name(file) for file in disk.files(folder / "annotations")}
        passed["images without a label"] += sum(f"{image}_exp.npy" not in arrays for image in images)
        labelled = [file.removesuffix("_exp.npy") for file in arrays if file.endswith("_exp.npy")]
        for image in sorted(labelled):
            file = folder / "annotations" / f"{image}_exp.npy"
            if image not in images:
                missing.append(f"{file}: no image {image}.jpg in {folder / 'images'}")
                continue
            try:
                label = _number(file)
                given = [
                    _number(file.with_name(f"{image}_{what}.npy")) if f"{image}_{what}.npy" in arrays else None
                    for what in ("val", "aro")
                ]
            except InputError as error:
                problems.append(str(error))
                continue
            if label not in range(len(LABELS)):
                problems.append(f"{file}: {label:g} is no label: expected 0 to 10")
            elif label >= len(EMOTIONS):
                passed[f"images {LABELS[f'{label:g}']}"] += 1
            else:
                valence, arousal = (None if value == ABSENT else value for value in given)
                rows.append((images[image], EMOTIONS[int(label)], SETS[name], valence, arousal))
    disk.raise_all(problems)
    notes = disk.absent(root, missing, len(rows) + len(missing) + passed.total(), skip)
    frame = pd.DataFrame(rows, columns=["path", "emotion", "split", "valence", "arousal"])
    return frame, notes + disk.passed_over(passed)


def _number(file: Path) -> float:
    """The one number, or the number as text, that a .npy file holds."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError("it is too large for one number")
        return float(np.lib.format.read_array(io.BytesIO(data), allow_pickle=False).item())
    except (OSError, ValueError, TypeError, MemoryError) as error:
        raise InputError(f"{file} holds no number ({' '.join(str(error).split())}): copy it anew") from None
