"""Emotion6 of Peng et al.: 1,980 images with a distribution over seven emotions each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from emodo.adapters import disk
from emodo.ontology import SETS
from emodo.records import InputError

EMOTIONS = SETS["emotion6"]  # the order of the file's columns
COLUMNS = ("path", "valence", "arousal", *EMOTIONS)
FILE = "ground_truth.txt"
SLACK = 0.02  # probabilities of a row sum to 1 up to their rounding


def emotion6(root: Path, out: Path, neutral: bool = True, skip_missing: bool = False, overwrite: bool = False) -> Path:
    """emodo prepare emotion6 Emotion6 emotion6.csv

    Emotion6 (Peng et al. 2015), not to be taken for Emotion-6 (Panda et al. 2018, `emodo prepare emotion6panda`): 1,980
    images of Flickr, 330 for each of six search words. Fifteen workers said what each image makes them feel; the file
    gives the share of each of seven emotions, and mean valence and arousal from 1 to 9.

    ROOT holds images/<word>/<n>.jpg and ground_truth.txt, separated by tabs, with the header [image_filename]
    [valence] [arousal] [prob. anger] ... [prob. neutral]; a file without a header is read in that order. The folder is
    the search word, not the label: the label is the emotion with the largest share.

    Labels: anger, disgust, fear, joy, sadness, surprise, neutral. Columns: valence, arousal, keyword (the search word),
    p_anger ... p_neutral, source (`Emotion6`). With --neutral false the shares are divided anew among the other
    six, and images that are neutral to everybody are left out. Images with two largest shares get the first in this
    order, and are counted. No official split.

    Licence: from the authors' page, for research; no licence is stated, the images belong to their owners.
    Cite: K.-C. Peng, T. Chen, A. Sadovnik, A. Gallagher. A Mixed Bag of Emotions: Model, Predict, and Transfer Emotion
    Distributions. CVPR 2015.

    Known faults: few images have a clear majority: look at the largest share before a single label is trusted.

    Args:
        root: The folder of the data set, or one around it.
        out: The manifest to write (.parquet, .csv or .tsv).
        neutral: Keep neutral as a seventh emotion.
        skip_missing: Leave listed images out that are not there, and say how many.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No ground_truth.txt, a line without ten columns, a share that is no number from 0 to 1, shares that
            do not sum to 1, an image that is listed twice or missing.
    """
    disk.check(root, out, overwrite)
    file = disk.find(root, "emotion6", FILE)
    folder = disk.search(file.parent, "images") or file.parent
    start = len(str(folder.absolute())) + 1
    here = {path[start:].replace("\\", "/").lower(): path for path in disk.images(folder)}
    listed, values, where = _read(file)
    missing = [f"{at}: no image {name}" for name, at in zip(listed, where, strict=True) if name.lower() not in here]
    notes = disk.absent(root, missing, len(listed), skip_missing)
    there = np.array([name.lower() in here for name in listed])
    shares = values[:, 2:] * (1, 1, 1, 1, 1, 1, neutral)
    felt = shares.sum(axis=1) > 0
    if not felt.all():
        notes.append(f"left out {int((~felt).sum())} images that are neutral to everybody")
    kept = there & felt
    shares = shares[kept] / shares[kept].sum(axis=1, keepdims=True)
    ties = int(((shares == shares.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())
    if ties:
        notes.append(f"{ties} images with two largest shares got the first of them")
    names = [name for name, wanted in zip(listed, kept, strict=True) if wanted]
    columns = {
        "path": [here[name.lower()] for name in names],
        "emotion": np.array(EMOTIONS)[shares.argmax(axis=1)],
        "source": "Emotion6",
        "keyword": [name.partition("/")[0] for name in names],
        "valence": values[kept, 0],
        "arousal": values[kept, 1],
        **{f"p_{name}": shares[:, at] for at, name in enumerate(EMOTIONS[: 6 + neutral])},
    }
    return disk.save(pd.DataFrame(columns), root, out, {"listed images": (len(listed), 1980)}, notes, check_files=False)


def _read(file: Path) -> tuple[list[str], np.ndarray, list[str]]:
    """Names, the nine numbers of each [N, 9], and where each stands."""
    names: list[str] = []
    numbers: list[list[float]] = []
    where: list[str] = []
    problems: list[str] = []
    first: dict[str, str] = {}
    order = list(range(1, 10))
    for at, line in enumerate(disk.read_lines(file), 1):
        cells = [cell.strip() for cell in line.split("\t")]
        if not line.strip():
            continue
        if not first and cells[0].strip("[]") == "image_filename":
            order = _order(file, cells)
            continue
        place = f"{file}: line {at}"
        name = cells[0].replace("\\", "/").removeprefix("images/")
        try:
            row = [float(cells[column]) for column in order]
        except (IndexError, ValueError):
            problems.append(f"{place}: {line.strip()!r} is not an image and nine numbers, separated by tabs")
            continue
        shares = np.array(row[2:])
        if not (np.isfinite(row).all() and (shares >= 0).all() and abs(shares.sum() - 1) < SLACK):
            problems.append(f"{place}: the shares of {name} are not from 0 to 1 with the sum 1")
        if name in first:
            problems.append(f"{place}: {name} is listed already at {first[name]}")
        first.setdefault(name, place)
        names.append(name)
        numbers.append(row)
        where.append(place)
    disk.raise_all(problems)
    if not names:
        raise InputError(f"{file} lists no image")
    return names, np.array(numbers), where


def _order(file: Path, header: list[str]) -> list[int]:
    """Where valence, arousal and the seven shares stand in a header."""
    titles = [title.strip("[]").removeprefix("prob.").strip() for title in header]
    lacking = [name for name in COLUMNS[1:] if name not in titles]
    if lacking:
        raise InputError(f"{file}: line 1: no column {', '.join(lacking)} (found: {', '.join(titles)})")
    return [titles.index(name) for name in COLUMNS[1:]]
