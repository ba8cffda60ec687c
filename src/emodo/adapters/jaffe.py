"""JAFFE, Japanese Female Facial Expression, to a manifest."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from emodo.adapters import disk

SOURCE = "JAFFE"
EMOTIONS = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
IMAGE = re.compile(r"([A-Z]{2})\.(AN|DI|FE|HA|NE|SA|SU)(\d)\.(\d+)\.[a-z]+", re.IGNORECASE)
IMAGES, SUBJECTS = 213, 10


def jaffe(root: Path, out: Path, overwrite: bool = False) -> Path:
    """emodo prepare jaffe jaffedbase jaffe.csv

    JAFFE: 213 gray images, 256 x 256, of 10 Japanese women who pose six emotions and a neutral face, two to four times
    each.

    On disk: files like KA.AN1.39.tiff in one folder: the woman, the emotion (AN, DI, FE, HA, NE, SA, SU) with the
    number of the take, and a running number. Copies in other formats are read too.

    Columns: path, emotion, source (JAFFE), subject (KA), sequence (KA_AN: the takes of an emotion stay together), take,
    gender (female).

    Known faults: no official split, so split by subject. The label is what was asked for; ratings by viewers, which
    come with the images, sometimes differ (unverified). All people are women of one country.

    Licence: non-commercial research, on request at zenodo.org/record/3451524. Cite: M. Lyons, S. Akamatsu, M. Kamachi,
    J. Gyoba, Coding facial expressions with Gabor wavelets, FG 1998; M. Lyons, "Excavating AI" re-excavated, 2021.

    Args:
        root: The folder that holds the images, at any depth.
        out: The manifest to write (.parquet, .csv or .tsv).
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No image with such a name, or one twice.
    """
    disk.check(root, out, overwrite)
    rows: list[tuple[str, str, str, str, int]] = []
    first: dict[str, str] = {}
    problems: list[str] = []
    unnamed: list[str] = []
    for file in disk.images(root):
        found = IMAGE.fullmatch(disk.name(file))
        if found is None:
            unnamed.append(disk.name(file))
            continue
        subject, code, take, serial = found.groups()
        subject, code = subject.upper(), code.upper()
        other = first.setdefault(f"{subject}{code}{take}.{serial}", file)
        if other != file:
            problems.append(f"{file}: the same image as {other}: leave one of them in ROOT")
        rows.append((file, EMOTIONS[code], subject, f"{subject}_{code}", int(take)))
    disk.raise_all(problems)
    if not rows:
        raise disk.nothing(root, "jaffe", "image like KA.AN1.39.tiff")
    frame = pd.DataFrame(rows, columns=["path", "emotion", "subject", "sequence", "take"]).assign(gender="female")
    frame.insert(2, "source", SOURCE)
    known = {"images": (len(frame), IMAGES), "subjects": (len(set(frame["subject"])), SUBJECTS)}
    return disk.save(frame, root, out, known, disk.unnamed(unnamed))
