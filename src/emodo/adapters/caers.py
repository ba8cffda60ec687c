"""CAER-S: about 70,000 frames of television series in seven emotions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from emodo import manifest
from emodo.adapters import disk
from emodo.adapters.classfolders import class_folders, names
from emodo.ontology import SETS

CLASSES = names(*SETS["basic7"])
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

    Licence: from caer-dataset.github.io after a form, for research that is not commercial (unverified). The
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
        InputError: No class folders in train and test, images in a folder that is no class, a line of the lists that is
            no path with five numbers or of another class than its folder, a listed image that is missing.
    """
    disk.check(root, out, overwrite)
    frame, outside, _ = class_folders(root, SPLITS, CLASSES)
    if frame.empty:
        raise disk.nothing(root, "caers", "class folders in train and test")
    notes = disk.passed_over({"images outside of train and test": outside})
    if boxes is None:
        return disk.save(frame.assign(source="CAER-S"), root, out, notes=notes, check_files=False)
    images = {
        f"{split}/{emotion}/{disk.name(path).lower()}": (path, emotion, split)
        for path, emotion, split in frame.itertuples(index=False, name=None)
    }
    found = _boxes(disk.find(boxes, "caers", "test.txt", "train.txt").parent)
    missing = [f"{where}: no image {key}" for key, (where, _) in found.items() if key not in images]
    notes += disk.absent(boxes, missing, len(found), skip_missing)
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
            where = f"{file}: line {at}"
            path, *numbers = line.split(",")
            try:
                number, *box = map(int, numbers)
                _, name, image = path.replace("\\", "/").lower().split("/")[-3:]
            except ValueError:
                number, box, name, image = -1, [], "", ""
            emotion = CLASSES.get(name)
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
