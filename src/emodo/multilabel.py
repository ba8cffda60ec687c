"""Several emotions in one row: how they are written, told from one, and taken apart.

The column `emotion` of such a row holds all names, joined by `|`: `engagement|happiness`. A manifest is multi-label
where any row holds more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from emodo.records import InputError

JOIN = "|"


def apart(emotion: pd.Series) -> pd.Series:
    """Every emotion of every row by itself, in the rows' order and under their index; longer where rows hold several.

    emotion: a column of emotions, without missing ones.
    """
    return emotion.str.split(JOIN, regex=False).explode().astype("str")


def several(emotion: pd.Series) -> np.ndarray:
    """Mark the rows, [N] bool, that hold more than one emotion."""
    return emotion.str.contains(JOIN, regex=False, na=False).to_numpy(bool)


def ordered(emotion: pd.Series) -> pd.Series:
    """The same with the names of each row in alphabetical order, so that equal sets are equal texts."""
    return emotion.map({cell: JOIN.join(sorted(cell.split(JOIN))) for cell in emotion.unique()}).astype("str")


def multi_hot(emotion: pd.Series, emotions: Sequence[str]) -> np.ndarray:
    """Which of `emotions` each row holds, [N, E] float32 of 0 and 1; what is none of them is left out."""
    rows, cells = pd.factorize(emotion)
    held = [cell.split(JOIN) for cell in cells]
    return np.array([[name in names for name in emotions] for names in held], np.float32)[rows]


def joined(shown: np.ndarray, emotions: Sequence[str]) -> list[str]:
    """The emotions of each row as one text, in the order of `emotions`; empty for a row with none. shown: [N, E]."""
    return [JOIN.join(name for name, there in zip(emotions, row, strict=True) if there) for row in shown.tolist()]


def check_single(frame: pd.DataFrame, name: Path | None, why: str) -> None:
    """Raise InputError where a row of the manifest `name` holds several emotions, for what takes one: `why` says so."""
    rows = np.flatnonzero(several(frame.loc[:, "emotion"]))
    if len(rows):
        row = frame.index[rows[0]]
        where = f"{name}, row {row + 1}" if name else f"row {row + 1}"
        raise InputError(f"{where}: {frame['emotion'][row]!r} are several emotions, and {why}")
