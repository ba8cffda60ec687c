"""FER2013 to a manifest, with its pixels as images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from emodo import manifest
from emodo.adapters import disk, pixels
from emodo.adapters.classfolders import class_folders, names

SOURCE = "FER2013"
EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")  # labels 0 to 6
TABLES = ("fer2013.csv", "icml_face_data.csv", "train.csv")
PARTS = {"train": "train", "test": "test"}
PUBLISHED = {"train": 28_709, "test": 7_178}  # as class folders


def fer2013(root: Path, out: Path, overwrite: bool = False) -> Path:
    """emodo prepare fer2013 fer2013.csv faces.csv

    FER2013: 35,887 faces from a web search by emotion words, gray, 48 x 48; the challenge's Training (28,709),
    PublicTest and PrivateTest (3,589 each).

    On disk: fer2013.csv (or icml_face_data.csv) with the columns emotion, pixels (2,304 numbers) and Usage, or class
    folders train/angry/ and test/angry/. From the table, images are written into a folder beside OUT, here
    faces_images/00001.png after the table's rows; the folder is whole or absent, and rows are read one at a time.
    Kaggle's train.csv is read as well: it lacks Usage, and is all training. Its test.csv has no emotions.

    Labels: 0 anger, 1 disgust, 2 fear, 3 happiness, 4 sadness, 5 surprise, 6 neutral.

    Columns: path, emotion, source (FER2013), split (Training is train, PublicTest validation, PrivateTest test; class
    folders have train and test alone), and from the table usage.

    Known faults: labels are noisy, people reach 65 +- 5 % (as the authors say), and some images show no face; FER+
    (`emodo prepare ferplus`) labels them anew. Some images appear more than once, also across usages (unverified).

    Licence: none is stated with the challenge's data; the images are from the web (unverified). From kaggle.com,
    Challenges in Representation Learning: Facial Expression Recognition Challenge. Cite: I. Goodfellow et al.,
    Challenges in representation learning: A report on three machine learning contests, ICONIP 2013.

    Args:
        root: The table, or the folder that holds it or the class folders, at any depth.
        out: The manifest to write (.parquet, .csv or .tsv); the images' folder lies beside it.
        overwrite: Replace OUT where it exists, and images that differ.

    Raises:
        InputError: No table and no class folders, a row with no label from 0 to 6, an unknown usage, or pixels that
            are not 2,304 numbers from 0 to 255; with the table's line.
    """
    manifest.check_target(out, overwrite)
    table = root
    if not root.is_file():
        disk.check(root, out, overwrite)
        table = disk.search(root, *TABLES)
    if table is None or not table.is_file():
        return _folders(root, out)
    rows: list[tuple[str, str, str]] = []
    about = table.stat().st_size // pixels.ROW_BYTES
    images = pixels.write(_faces(table, rows), out.with_name(f"{out.stem}_images"), about)
    frame = pd.DataFrame(rows, columns=["emotion", "split", "usage"])
    frame.insert(0, "path", images)
    frame.insert(2, "source", SOURCE)
    found = Counter(frame["usage"])
    known = {f"rows of {usage}": (found[usage], count) for usage, count in pixels.PUBLISHED.items()}
    return disk.save(frame, table, out, known)


def _faces(table: Path, rows: list[tuple[str, str, str]]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the pixels of each row's image, and note its emotion, split and usage."""
    problems: list[str] = []
    for line, row in disk.read_rows(table, ("emotion", "pixels")):
        usage = row.get("usage", "Training")
        try:
            if usage not in pixels.USAGES:
                raise ValueError(f"unknown usage {usage!r}: expected {', '.join(pixels.USAGES)}")
            if row["emotion"] not in map(str, range(len(EMOTIONS))):
                raise ValueError(f"{row['emotion']!r} is no label: expected 0 to {len(EMOTIONS) - 1}")
            face = pixels.face(row["pixels"])
        except ValueError as error:
            problems.append(f"{table}: line {line}: {error}")
            continue
        rows.append((EMOTIONS[int(row["emotion"])], pixels.USAGES[usage], usage))
        yield f"{len(rows):05d}.png", face
    disk.raise_all(problems)


def _folders(root: Path, out: Path) -> Path:
    frame, outside, _ = class_folders(root, PARTS, names(*EMOTIONS))
    if frame.empty:
        raise disk.nothing(root, "fer2013", f"{' or '.join(TABLES)}, and no class folders train/angry/")
    frame.insert(2, "source", SOURCE)
    found = Counter(frame["split"])
    known = {f"images of {part}": (found[part], count) for part, count in PUBLISHED.items()}
    return disk.save(frame, root, out, known, disk.passed_over({"images outside of train and test": outside}))
