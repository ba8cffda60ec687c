"""KDEF, the Karolinska Directed Emotional Faces, to a manifest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pandas as pd

from emodo.adapters import disk

SOURCE = "KDEF"
EMOTIONS = {
    "AF": "fear",  # afraid
    "AN": "anger",
    "DI": "disgust",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
GENDERS = {"F": "female", "M": "male"}
ANGLES = {"FL": "full left", "HL": "half left", "S": "straight", "HR": "half right", "FR": "full right"}
IMAGE = re.compile(r"([AB])([FM])(\d{2})(AF|AN|DI|HA|NE|SA|SU)(FL|HL|S|HR|FR)\.jpe?g", re.IGNORECASE)
IMAGES, SUBJECTS = 4900, 70


def kdef(
    root: Path, out: Path, angles: list[Literal["FL", "HL", "S", "HR", "FR"]] | None = None, overwrite: bool = False
) -> Path:
    """emodo prepare kdef KDEF_and_AKDEF kdef.csv --angles S

    KDEF: 4,900 pictures of 70 people, half of them women, who show seven expressions, photographed twice from five
    angles in even light.

    On disk: KDEF/AF01/AF01ANS.JPG: session A or B, F or M, the person, the expression (AF afraid, AN angry, DI
    disgusted, HA happy, NE neutral, SA sad, SU surprised) and the angle (FL full left, HL half left, S straight, HR
    half right, FR full right). The averaged faces that come with them (AKDEF) have other names and are passed over.

    Columns: path, emotion, source (KDEF), subject (F01), sequence (AF01AN: the angles of one take stay together),
    session, gender, angle.

    Known faults: two file names do not parse; they are passed over and named. No official split, so split by subject.

    Licence: researchers only, non-commercial, not to be passed on; from kdef.se. Cite: D. Lundqvist, A. Flykt,
    A. Ohman, The Karolinska Directed Emotional Faces (KDEF), CD ROM, Karolinska Institutet, 1998, ISBN 91-630-7164-9.

    Args:
        root: The folder that holds the folders of the people, at any depth.
        out: The manifest to write (.parquet, .csv or .tsv).
        angles: Any of FL, HL, S, HR and FR; by default all.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No picture with such a name, or one twice.
    """
    disk.check(root, out, overwrite)
    rows: list[tuple[str, ...]] = []
    first: dict[str, str] = {}
    problems: list[str] = []
    unnamed: list[str] = []
    for file in disk.images(root):
        found = IMAGE.fullmatch(disk.name(file))
        if found is None:
            unnamed.append(disk.name(file))
            continue
        other = first.setdefault(disk.name(file).upper(), file)
        if other != file:
            problems.append(f"{file}: the same picture as {other}: leave one of them in ROOT")
        session, sex, number, code, angle = (part.upper() for part in found.groups())
        take = f"{session}{sex}{number}{code}"
        rows.append((file, EMOTIONS[code], SOURCE, f"{sex}{number}", take, session, GENDERS[sex], angle))
    disk.raise_all(problems)
    if not rows:
        raise disk.nothing(root, "kdef", "picture like AF01ANS.JPG")
    columns = ["path", "emotion", "source", "subject", "sequence", "session", "gender", "angle"]
    frame = pd.DataFrame(rows, columns=columns)
    known = {"pictures": (len(rows), IMAGES), "subjects": (len(set(frame["subject"])), SUBJECTS)}
    chosen = [angle in (angles or ANGLES) for angle in frame["angle"]]
    notes = disk.unnamed(unnamed) + disk.passed_over({"pictures from other angles": chosen.count(False)})
    frame["angle"] = [ANGLES[angle] for angle in frame["angle"]]
    return disk.save(frame.loc[chosen], root, out, known, notes)
