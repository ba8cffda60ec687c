"""CAER-S: about 70,000 frames of television series in seven emotions."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from emodo import manifest
from emodo.adapters import disk
from emodo.ontology import ALIASES, SETS

LABELS = {**{name: name for name in SETS["basic7"]}, **ALIASES}  # folder, in lower case -> emotion
SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
BOXES = {"train": 47966, "test": 20868}  # lines of the lists of faces


def caers(
    root: Path, out: Path, boxes: Path | None = None, skip_missing: bool = False, overwrite: bool = False
) -> Path:
    """emodo prepare caers CAER-S caers.parquet --boxes CAERS-Annotation

    CAER-S: still frames of the video clips of CAER, from 79 television series, in seven emotions. Faces and what is
    around them are seen: CAER-Net, CCIM and CLEF are measured on it.

    ROOT holds CAER-S/{train,test}/{Anger,Disgust,Fear,Happy,Neutral,Sad,Surprise}/0001.png, in any case; Angry, and a
    folder val, are read too. Nothing says where the person is. --boxes takes the lists of larrylu0426/CAERS-Annotation,
    train.txt and test.txt, lines of `test/Anger/0761.png,0,390,110,475,195`: path, class, x1, y1, x2, y2 of the one
    face that the label is of, found with dlib and corrected by hand. They leave out images that are blurred or show
    nobody, and so does the manifest: 47,966 and 20,868 are left.

    Labels, in the order of the lists' classes 0 to 6: anger, disgust, fear, happiness, neutral, sadness, surprise.
    Columns: split (official: train, test), source (`CAER-S`), x1 to y2 with --boxes.

    Terms: from caer-dataset.github.io after a form, for research that is not commercial (not verified). The
    lists of faces state no licence. Cite: J. Lee, S. Kim, S. Kim, J. Park, K. Sohn. Context-Aware Emotion Recognition
    Networks. ICCV 2019.
    Known faults: neighbouring files look like frames of one clip, and no file says which: a random validation part
    holds what was trained on. The split that is passed on has byte-identical images in train and test; look for
    duplicates before two numbers are compared. About 7,000 and 3,000 images a class are named, and not verified.

    Args:
        root: The folder of the data set, or one around it.
        out: The manifest to write (.parquet, .csv or .tsv).
        boxes: Folder with the lists of faces, train.txt and test.txt, or one around it.
        skip_missing: Leave images out that the lists name and that are not there, and say how many.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No train or test folder with class folders, a class folder of another name, a line of the
            lists that is no path with five numbers or of another class than its folder.
    """
    disk.check(root, out, overwrite)
    base, folders = disk.classes(root, "caers", SPLITS)
    images = _images(base, folders)
    if boxes is None:
        frame = pd.DataFrame(list(images.values()), columns=["path", "emotion", "split"]).assign(source="CAER-S")
        return disk.save(frame, root, out, check_files=False)
    found = _boxes(disk.find(boxes, "caers", "test.txt", "train.txt").parent)
    missing = [f"{where}: no image {key}" for key, (where, _) in found.items() if key not in images]
    notes = disk.absent(boxes, missing, len(found), skip_missing)
    listed = [(*images[key], *box) for key, (_, box) in found.items() if key in images]
    if len(listed) < len(images):
        notes.append(f"left out {len(images) - len(listed)} images that the lists of faces do not have")
    frame, cut, unread = disk.clip(pd.DataFrame(listed, columns=["path", "emotion", "split", *manifest.BOX]))
    if unread:
        notes.append(f"left out {len(unread)} files that cannot be read as images, first {unread[0]}")
    if cut:
        notes.append(f"{cut} boxes reached outside their image and were cut")
    known = {f"faces in {split}.txt": (sum(k.startswith(split) for k in found), n) for split, n in BOXES.items()}
    frame = frame.sort_values("path").assign(source="CAER-S")
    return disk.save(frame, root, out, known, notes, check_files=False)


def _images(base: str, folders: dict[str, str]) -> dict[str, tuple[str, str, str]]:
    """Path, emotion and split of every image, by split/emotion/file in lower case."""
    found: dict[str, tuple[str, str, str]] = {}
    problems: list[str] = []
    strange: dict[str, int] = {}
    for folder, split in folders.items():
        start = len(base) + len(folder) + 2
        for path in disk.images(f"{base}{os.sep}{folder}"):
            name = path[start:].partition(os.sep)[0]
            emotion = LABELS.get(name.lower())
            if emotion is None:
                strange[f"{folder}/{name}"] = strange.get(f"{folder}/{name}", 0) + 1
            else:
                found[f"{split}/{emotion}/{disk.name(path).lower()}"] = path, emotion, split
    for name, images in sorted(strange.items()):
        meant = manifest.suggestion(name.rpartition("/")[2], set(LABELS.values()))
        advice = f"did you mean {meant!r}? Rename it" if meant else "remove it"
        problems.append(f"{base}: {name} ({images} images) is no emotion's folder: {advice}")
    disk.raise_all(problems)
    if not found:
        raise disk.nothing(Path(base), "caers", "images in class folders of train and test")
    return found


def _boxes(folder: Path) -> dict[str, tuple[str, list[int]]]:
    """Where each face is listed, and its box, by split/emotion/file in lower case."""
    order = SETS["basic7"]
    found: dict[str, tuple[str, list[int]]] = {}
    problems: list[str] = []
    for split in BOXES:
        file = folder / f"{split}.txt"
        for at, line in enumerate(disk.read_lines(file) if file.is_file() else (), 1):
            if not line.strip():
                continue
            where = f"{file}, line {at}"
            path, *numbers = line.split(",")
            try:
                number, *box = map(int, numbers)
                _, name, image = path.replace("\\", "/").lower().split("/")[-3:]
            except ValueError:
                number, box, name, image = -1, [], "", ""
            emotion = LABELS.get(name)
            key = f"{split}/{emotion}/{image}"
            if len(box) != len(manifest.BOX):
                problems.append(f"{where}: {line.strip()!r} is not split/class/file with a class and four corners")
            elif number not in range(len(order)) or order[number] != emotion:
                problems.append(f"{where}: class {number} is not that of the folder in {path}")
            elif key in found:
                problems.append(f"{where}: {path} is listed already at {found[key][0]}")
            else:
                found[key] = where, box
    disk.raise_all(problems)
    return found
