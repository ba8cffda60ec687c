"""CK+, the Extended Cohn-Kanade data set, to a manifest."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

import pandas as pd

from emodo.adapters import disk

SOURCE = "CK+"
EMOTIONS = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")  # labels 0 to 7
IMAGE = re.compile(r"(S\d{3})_(\d{3})_(\d{8})\.png", re.IGNORECASE)
LABEL = re.compile(r"(S\d{3})_(\d{3})_(\d{8})_emotion\.txt", re.IGNORECASE)


def ckplus(
    root: Path, out: Path, frames: int = 3, contempt: bool = True, neutral: bool = False, overwrite: bool = False
) -> Path:
    """emodo prepare ckplus CK+ ckplus.csv --contempt false

    CK+ (Extended Cohn-Kanade): 593 posed sequences of 123 people, from a neutral face to the peak of an expression;
    327 of them carry an emotion. Taken are the last frames of each, which end at the frame that the label is of.

    On disk: cohn-kanade-images/S005/001/S005_001_00000011.png and Emotion/S005/001/S005_001_00000011_emotion.txt,
    under any wrappers. A label file is one line, `   3.0000000e+00`: 0 neutral, 1 anger, 2 contempt, 3 disgust,
    4 fear, 5 happiness, 6 sadness, 7 surprise.

    Columns: path, emotion, source (CK+), subject (S005), sequence (S005_001), frame (its number).

    Known faults: no official split, so split by subject. Grayscale and colour are mixed, which is a confounder, and the
    images are 640 x 490 or 640 x 480 (both unverified). With `--contempt false` 309 sequences of 106 people are left,
    which is what IERN's released lists hold; its paper says 327 of 118. The class folders passed on as CK+48 are read
    by `emodo prepare folder`; the table ckextended.csv is not read.

    Licence: non-commercial research, on request from the Affect Analysis Group, University of Pittsburgh. Cite:
    P. Lucey et al., The Extended Cohn-Kanade Dataset (CK+), CVPR Workshops 2010; T. Kanade, J. Cohn, Y. Tian,
    Comprehensive Database for Facial Expression Analysis, FG 2000.

    Args:
        root: The folder that holds images and labels, at any depth.
        out: The manifest to write (.parquet, .csv or .tsv).
        frames: How many frames of each sequence, counted from its end.
        contempt: Keep the 18 sequences of contempt.
        neutral: Take the first frame of each labelled sequence as well, as neutral.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No images or labels; a label file of more or less than one line, or with no label from 0 to 7; a
            peak frame that is missing; an image or a sequence's label twice.
    """
    disk.check(root, out, overwrite)
    disk.at_least_one("frames", frames)
    listed = list(disk.files(root))
    problems: list[str] = []
    images = _images(root, listed, problems)
    labels = _labels(listed, problems)
    if not images:
        raise disk.nothing(root, "ckplus", "image like S005_001_00000011.png")
    if not labels:
        disk.raise_all(problems)
        raise disk.nothing(root, "ckplus", "label like S005_001_00000011_emotion.txt")
    rows: list[tuple[str, str, str, str, int]] = []
    kept = {name: found for name, found in labels.items() if contempt or found[0] != "contempt"}
    for name, (emotion, peak, file) in sorted(kept.items()):
        sequence = images.get(name, {})
        if peak not in sequence:
            problems.append(f"{file}: its image {name}_{peak:08d}.png is missing: complete the images, or remove it")
            continue
        numbers = sorted(number for number in sequence if number <= peak)
        chosen = [(number, emotion) for number in numbers[-frames:]]
        first = [(numbers[0], "neutral")] if neutral and numbers[0] != chosen[0][0] else []
        rows += [(sequence[number], label, name[:4], name, number) for number, label in first + chosen]
    disk.raise_all(problems)
    frame = pd.DataFrame(rows, columns=["path", "emotion", "subject", "sequence", "frame"])
    frame.insert(2, "source", SOURCE)
    known = {"labelled sequences": (len(labels), 327)} | (
        {} if contempt else {"sequences without contempt": (len(kept), 309)}
    )
    unlabelled = len(set(images) - set(labels))
    passed = {"sequences without a label": unlabelled, "sequences of contempt": len(labels) - len(kept)}
    return disk.save(frame, root, out, known, disk.passed_over(passed))


def _images(root: Path, listed: list[str], problems: list[str]) -> dict[str, dict[int, str]]:
    """Sequence -> frame number -> file."""
    original = disk.search(root, "cohn-kanade-images")  # beside which people keep cropped copies
    below = f"{original.absolute() if original else root.absolute()}{os.sep}"
    images: dict[str, dict[int, str]] = defaultdict(dict)
    for file in listed:
        found = IMAGE.fullmatch(disk.name(file))
        if found and file.startswith(below):
            subject, number, at = found.groups()
            other = images[f"{subject}_{number}".upper()].setdefault(int(at), file)
            if other != file:
                problems.append(f"{file}: the same image as {other}: leave one of them in ROOT")
    return images


def _labels(listed: list[str], problems: list[str]) -> dict[str, tuple[str, int, Path]]:
    """Sequence -> its emotion, the number of its peak frame, the label's file."""
    labels: dict[str, tuple[str, int, Path]] = {}
    for file in sorted(listed):
        found = LABEL.fullmatch(disk.name(file))
        if not found:
            continue
        lines = [(at, line.strip()) for at, line in enumerate(disk.read_lines(Path(file)), 1) if line.strip()]
        if len(lines) != 1:
            which = f"line {lines[1][0]}: a second label, {lines[1][1]!r}" if lines else "it is empty"
            problems.append(f"{file}: {which}: a label file has one line")
            continue
        at, text = lines[0]
        try:
            emotion = dict(enumerate(EMOTIONS))[int(float(text))]
        except (ValueError, OverflowError, KeyError):  # no number, NaN; infinity; another number
            problems.append(f"{file}: line {at}: {text!r} is no label: expected 0 to 7")
            continue
        subject, number, peak = found.groups()
        label = (emotion, int(peak), Path(file))
        other = labels.setdefault(f"{subject}_{number}".upper(), label)
        if other[:2] != label[:2]:
            problems.append(f"{file}: another label than {other[2]}: leave one of them in ROOT")
    return labels
