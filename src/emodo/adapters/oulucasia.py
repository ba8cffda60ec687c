"""Oulu-CASIA NIR&VIS to a manifest."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

import pandas as pd

from emodo import manifest
from emodo.adapters import disk

SOURCE = "Oulu-CASIA"
EMOTIONS = frozenset({"anger", "disgust", "fear", "happiness", "sadness", "surprise"})
FOLDER = re.compile(r"[/\\](VL|NI)(_Acropped)?[/\\](Strong|Weak|Dark)[/\\](P\d{3})[/\\]([^/\\]+)$", re.IGNORECASE)
FRAME = re.compile(r"(\d{1,6})\.jpe?g", re.IGNORECASE)

Camera = Literal["VL", "NI"]
Illumination = Literal["Strong", "Weak", "Dark"]


def oulucasia(
    root: Path,
    out: Path,
    cameras: list[Camera] | None = None,
    illuminations: list[Illumination] | None = None,
    cropped: bool = False,
    frames: int = 3,
    neutral: bool = False,
    overwrite: bool = False,
) -> Path:
    """emodo prepare oulucasia Oulu-CASIA oulucasia.csv --illuminations Strong Weak Dark

    Oulu-CASIA NIR&VIS: 80 people, each posing six emotions, from a neutral face to the peak; 480 sequences in each of
    three illuminations, seen by a camera for visible light and one for near infrared. Taken are each sequence's last
    frames. The illumination is a confounder that the data set itself names.

    On disk: OriginalImg/VL/Strong/P001/Anger/000.jpeg, under any wrappers; cropped faces in VL_Acropped and
    NI_Acropped. The folder is the label: Anger, Disgust, Fear, Happiness, Sadness, Surprise. There is no neutral class.

    Columns: path, emotion, source (Oulu-CASIA), subject (P001), sequence (P001_Anger_Strong; both cameras saw it at
    once and share it), camera (VL, NI), illumination, frame (its number, from 0).

    Known faults: no official split; ten folds by subject are customary. The images are 320 x 240, the people between 23
    and 58 years old, three quarters of them men (as the authors say).

    Licence: academic research, on request from the Center for Machine Vision and Signal Analysis, University of Oulu
    (unverified). Cite: G. Zhao, X. Huang, M. Taini, S. Z. Li, M. Pietikainen, Facial expression recognition from
    near-infrared videos, Image and Vision Computing 29(9), 2011.

    Args:
        root: The folder that holds VL and NI (or VL_Acropped and NI_Acropped), at any depth.
        out: The manifest to write (.parquet, .csv or .tsv).
        cameras: VL (visible light), NI (near infrared) or both; by default VL.
        illuminations: Any of Strong, Weak and Dark; by default Strong.
        cropped: Take the cropped faces in place of the original images.
        frames: How many frames of each sequence, counted from its end.
        neutral: Take the first frame of each sequence as well, as neutral.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No such images, a folder that is no emotion, the same frame twice.
    """
    disk.check(root, out, overwrite)
    disk.at_least_one("frames", frames)
    wanted = {camera.upper() for camera in cameras or ["VL"]}, {light.title() for light in illuminations or ["Strong"]}
    sequences: dict[tuple[str, ...], dict[int, str]] = defaultdict(dict)
    others: Counter[str] = Counter()
    problems: list[str] = []
    place = ("", None)
    for file in disk.files(root):
        folder, _, name = file.rpartition(os.sep)
        if folder != place[0]:
            place = (folder, FOLDER.search(folder))
        number = FRAME.fullmatch(name)
        if place[1] is None or number is None:
            continue
        camera, crop, light, subject, emotion = place[1].groups()
        camera, light, emotion = camera.upper(), light.title(), emotion.title()
        if bool(crop) != cropped or camera not in wanted[0] or light not in wanted[1]:
            others[f"{camera}{'_Acropped' if crop else ''}/{light}"] += 1
            continue
        frame = int(number[1])
        other = sequences[camera, light, subject.upper(), emotion].setdefault(frame, file)
        if other != file:
            problems.append(f"{file}: the same frame as {other}: leave one of them in ROOT")
    if not sequences:
        there = f" (but {', '.join(sorted(others))})" if others else ""
        looked = " or ".join(sorted(camera + "_Acropped" * cropped for camera in wanted[0]))
        raise disk.nothing(
            root, "oulucasia", f"image like {looked}/{' or '.join(sorted(wanted[1]))}/P001/Anger/000.jpeg{there}"
        )
    unknown = Counter(emotion for *_, emotion in sequences if emotion.lower() not in EMOTIONS)
    for emotion, count in sorted(unknown.items()):
        meant = manifest.suggestion(emotion, EMOTIONS)
        advice = f"did you mean {meant.title()!r}? Rename it" if meant else f"expected {', '.join(sorted(EMOTIONS))}"
        problems.append(f"{root}: the folder {emotion!r} ({count} sequences) is no emotion of the data set: {advice}")
    disk.raise_all(problems)
    rows: list[tuple[str, str, str, str, str, str, int]] = []
    for (camera, light, subject, emotion), sequence in sorted(sequences.items()):
        numbers = sorted(sequence)
        chosen = [(number, emotion.lower()) for number in numbers[-frames:]]
        first = [(numbers[0], "neutral")] if neutral and numbers[0] != chosen[0][0] else []
        name = f"{subject}_{emotion}_{light}"
        rows += [(sequence[at], label, subject, name, camera, light, at) for at, label in first + chosen]
    frame = pd.DataFrame(rows, columns=["path", "emotion", "subject", "sequence", "camera", "illumination", "frame"])
    frame.insert(2, "source", SOURCE)
    found = Counter(key[:2] for key in sequences)
    known = {
        f"sequences of {camera}/{light}": (found[camera, light], 480)
        for camera in sorted(wanted[0])
        for light in sorted(wanted[1])
    }
    return disk.save(frame, root, out, known)
