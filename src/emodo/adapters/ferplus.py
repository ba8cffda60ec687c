"""FER+, FER2013's images with the votes of ten people, to a manifest."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from emodo.adapters import disk, pixels
from emodo.records import InputError

SOURCE = "FER+"
EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
VOTES = (*EMOTIONS, "unknown", "nf")  # nf: not a face
FOLDERS = {"FER2013Train": "Training", "FER2013Valid": "PublicTest", "FER2013Test": "PrivateTest"}
NAME = re.compile(r"fer\d{7}\.png")


class _Label(NamedTuple):
    line: int
    usage: str
    name: str  # of the image
    votes: tuple[int, ...]
    verdict: str  # an emotion, or why the row is passed over


def ferplus(root: Path, out: Path, overwrite: bool = False) -> Path:
    """emodo prepare ferplus FERPlus ferplus.csv

    FER+: the 35,887 faces of FER2013, gray, 48 x 48, each labelled anew by ten people, with contempt as an eighth
    emotion. The label is the emotion of the majority, as the release decides it: single votes are set to zero, and the
    first one needs more than half of the votes that are left. Rows without a majority, with one for unknown or for not
    a face, and rows that the release rejects (no image name) are passed over and counted.

    On disk: fer2013new.csv, with the images in FER2013Train/, FER2013Valid/ and FER2013Test/ (fer0000000.png), or with
    FER2013's fer2013.csv, whose rows are the same ones. From the table, images are written into a folder beside OUT,
    here ferplus_images/fer0000000.png; the folder is whole or absent.

    Columns: path, emotion, source (FER+), split (Training is train, PublicTest validation, PrivateTest test), usage,
    and votes_neutral to votes_nf, the ten counts as given.

    Known faults: the images are FER2013's, see `emodo prepare fer2013 --help`. The numbers in image names are not
    FER2013's rows.

    Licence: the labels are MIT (github.com/microsoft/FERPlus); the images are FER2013's. Cite: E. Barsoum, C. Zhang,
    C. Canton Ferrer, Z. Zhang, Training deep networks for facial expression recognition with crowd-sourced label
    distribution, ICMI 2016.

    Args:
        root: The folder that holds fer2013new.csv and the images or fer2013.csv, at any depth.
        out: The manifest to write (.parquet, .csv or .tsv).
        overwrite: Replace OUT where it exists, and images that differ.

    Raises:
        InputError: No labels or no images, votes that are no whole numbers, an unknown usage, an image name that is
            none or missing, rows of the two tables that are not the same ones; with the line.
    """
    disk.check(root, out, overwrite)
    table = disk.find(root, "ferplus", "fer2013new.csv")
    problems: list[str] = []
    labels = list(_labels(table, problems))
    disk.raise_all(problems)
    kept = [label for label in labels if label.verdict in EMOTIONS]
    images = _images(root)
    if not images:
        faces = disk.search(root, "fer2013.csv", "icml_face_data.csv")
        if faces is None:
            raise InputError(
                f"{root} holds {table.name} but no images: add the folders {', '.join(FOLDERS)} with fer0000000.png "
                "and so on, or FER2013's fer2013.csv"
            )
        folder = out.with_name(f"{out.stem}_images")
        paths = pixels.write(_faces(table, labels, faces), folder, len(kept))
    else:
        missing = [label for label in kept if (label.usage, label.name) not in images]
        disk.raise_all([f"{table}: line {label.line}: no image {label.name} of {label.usage}" for label in missing])
        paths = [images[label.usage, label.name] for label in kept]
    frame = pd.DataFrame([label.votes for label in kept], columns=[f"votes_{name}" for name in VOTES])
    usage = [label.usage for label in kept]
    first = {
        "path": paths,
        "emotion": [label.verdict for label in kept],
        "source": SOURCE,
        "split": [pixels.USAGES[name] for name in usage],
        "usage": usage,
    }
    frame = pd.concat([pd.DataFrame(first), frame], axis=1)
    found = Counter(label.usage for label in labels)
    known = {f"rows of {usage}": (found[usage], count) for usage, count in pixels.PUBLISHED.items()}
    passed = Counter(label.verdict for label in labels if label.verdict not in EMOTIONS)
    return disk.save(frame, root, out, known, disk.passed_over(passed))


def _labels(table: Path, problems: list[str]) -> Iterator[_Label]:
    lines: dict[str, int] = {}
    for line, row in disk.read_rows(table, ("usage", "image name", *VOTES)):
        name, usage, cells = row["image name"], row["usage"], [row[name] for name in VOTES]
        if usage not in pixels.USAGES:
            problems.append(f"{table}: line {line}: unknown usage {usage!r}: expected {', '.join(pixels.USAGES)}")
        elif name and not NAME.fullmatch(name):
            problems.append(f"{table}: line {line}: {name!r} is no image name like fer0000000.png")
        elif name and lines.setdefault(name, line) != line:
            problems.append(f"{table}: line {line}: {name} is named before, at line {lines[name]}")
        elif not all(cell.isdecimal() for cell in cells):
            problems.append(f"{table}: line {line}: the votes {', '.join(cells)} are not all whole numbers")
        else:
            votes = tuple(map(int, cells))
            yield _Label(line, usage, name, votes, _majority(votes) if name else "rejected rows")


def _majority(votes: tuple[int, ...]) -> str:
    """The emotion with the majority of the votes, or why there is none."""
    counted = [count if count > 1 else 0 for count in votes]
    most = max(counted)
    if 2 * most <= sum(counted):
        return "rows without a majority"
    winner = VOTES[counted.index(most)]
    return {"unknown": "rows voted unknown", "nf": "rows voted no face"}.get(winner, winner)


def _images(root: Path) -> dict[tuple[str, str], str]:
    """(usage, image name) -> file."""
    usages = {folder.lower(): usage for folder, usage in FOLDERS.items()}
    images: dict[tuple[str, str], str] = {}
    for file in disk.files(root):
        folder, _, name = file.rpartition(os.sep)
        usage = usages.get(disk.name(folder).lower())
        if usage and NAME.fullmatch(name):
            images[usage, name] = file
    return images


def _faces(table: Path, labels: list[_Label], faces: Path) -> Iterator[tuple[str, bytes]]:
    """The image name and the pixels of each row that is kept, from FER2013's table."""
    problems: list[str] = []
    count = 0
    for count, (line, row) in enumerate(disk.read_rows(faces, ("usage", "pixels")), 1):
        label = labels[count - 1] if count <= len(labels) else None
        if label is None or label.usage != row["usage"]:
            other = f"{label.usage} at line {label.line}" if label else "no such row"
            raise InputError(
                f"{faces}: line {line}: {row['usage']}, but {table.name} has {other}: they are not of the same rows"
            )
        if label.verdict in EMOTIONS:
            try:
                yield label.name, pixels.face(row["pixels"])
            except ValueError as error:
                problems.append(f"{faces}: line {line}: {error}")
    if count < len(labels):
        raise InputError(f"{faces} has {count} rows, {table.name} has {len(labels)}: they are not of the same rows")
    disk.raise_all(problems)
