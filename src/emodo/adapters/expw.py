"""ExpW, Expression in-the-Wild, to a manifest."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from emodo import manifest
from emodo.adapters import disk

SOURCE = "ExpW"
EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")  # labels 0 to 6
FACES = 91_793
LINE = re.compile(r"(.+?)\s+(\d+)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)\s+(\d+\.?\d*(?:e-?\d+)?)\s+(\d+)")


def expw(root: Path, out: Path, skip_missing: bool = False, overwrite: bool = False) -> Path:
    """emodo prepare expw ExpW expw.csv

    ExpW (Expression in-the-Wild): 91,793 faces in images from a web search, each with its box and one of seven
    emotions.

    On disk: label/label.lst, and the images in image/origin/, under any wrappers. A line is `name.jpg 0 TOP LEFT RIGHT
    BOTTOM confidence label`, where 0 counts the faces of an image: mind the order of the box. Labels: 0 anger,
    1 disgust, 2 fear, 3 happiness, 4 sadness, 5 surprise, 6 neutral.

    Columns: path, emotion, source (ExpW), x1, y1, x2, y2 (cut to the image), face (its number in the image), confidence
    (the face detector's).

    Known faults: no official split. People in one image share it, so no split of emodo parts them; who appears in
    several images is not known. Some boxes hold no face (unverified). Two thirds of the faces are happy or neutral.

    Licence: non-commercial research (unverified); from mmlab.ie.cuhk.edu.hk/projects/socialrelation. Cite: Z. Zhang,
    P. Luo, C. C. Loy, X. Tang, From facial expression recognition to interpersonal relation prediction, IJCV 126, 2018.

    Args:
        root: The folder that holds label.lst and the images, at any depth.
        out: The manifest to write (.parquet, .csv or .tsv).
        skip_missing: Leave out listed images that are missing, or cannot be read, and say how many.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No list or no images, a line of another form, a box that is empty, no label from 0 to 6, a face
            with two labels, images that are missing; with the line. Images that cannot be read.
    """
    disk.check(root, out, overwrite)
    listed = disk.find(root, "expw", "label.lst")
    folder = disk.search(root, "origin") or root
    there = {disk.name(file): file for file in disk.images(folder)}
    if not there:
        raise disk.nothing(root, "expw", "image in image/origin/")
    rows: list[tuple[str | int | float, ...]] = []
    first: dict[tuple[str, ...], tuple[int, str]] = {}  # a face: its name and box -> its line and label
    problems: list[str] = []
    missing: list[str] = []
    repeated = 0
    for at, line in enumerate(disk.read_lines(listed), 1):
        if not line.strip():
            continue
        where = f"{listed}: line {at}"
        words = LINE.fullmatch(line.strip())
        if words is None:
            problems.append(f"{where}: {line.strip()!r} is not name, face, top, left, right, bottom, confidence, label")
            continue
        name, face, top, left, right, bottom, confidence, label = words.groups()
        before = first.setdefault((name, top, left, right, bottom), (at, label))
        if int(label) >= len(EMOTIONS):
            problems.append(f"{where}: {label} is no label: expected 0 to {len(EMOTIONS) - 1}")
        elif int(right) <= int(left) or int(bottom) <= int(top):
            problems.append(f"{where}: the box is empty (top {top}, left {left}, right {right}, bottom {bottom})")
        elif before[1] != label:
            problems.append(f"{where}: label {label} for a face that has label {before[1]} at line {before[0]}")
        elif before[0] != at:
            repeated += 1
        elif name not in there:
            missing.append(f"{where}: no image {name} in {folder}")
        else:
            box = int(left), int(top), int(right), int(bottom)
            rows.append((there[name], EMOTIONS[int(label)], SOURCE, *box, int(face), float(confidence)))
    disk.raise_all(problems)
    notes = disk.absent(root, missing, len(first), skip_missing)
    columns = ["path", "emotion", "source", *manifest.BOX, "face", "confidence"]
    whole = pd.DataFrame(rows, columns=columns)
    frame, cut, unread = disk.clip(whole)
    if unread and not skip_missing:
        advice = "copy them anew, or leave them out with --skip_missing"
        disk.raise_all([f"{root}: {len(unread)} images cannot be read: {advice}", *unread])
    outside = len(whole) - len(frame) - sum(path in set(unread) for path in whole["path"])
    left_out = {
        "faces that are listed twice": repeated,
        "images that cannot be read": len(unread),
        "faces outside of their image": outside,
    }
    notes += disk.passed_over(left_out) + [f"{cut} boxes were cut to their image"] * (cut > 0)
    return disk.save(frame, root, out, {"faces listed": (len(first), FACES)}, notes, check_files=False)
