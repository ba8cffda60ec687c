"""The manifest: one table, one row an image or a person in an image, that travels from disk to report.

    path, emotion                 required
    source, subject, sequence     where the image comes from, who it shows, the recording it was taken from
    x1, y1, x2, y2                the person's box in pixels, x2 and y2 exclusive
    stratum, split                the confounder's stratum; train, validation or test
    anything else                 kept, and a possible confounder (gender, age, camera ...)

A manifest is checked as a whole, and everything that is wrong with it is shown at once.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from emodo.files import atomic
from emodo.records import InputError

BOX = ("x1", "y1", "x2", "y2")
SPLITS = ("train", "validation", "test")
TEXT = ("path", "emotion", "source", "subject", "sequence", "stratum", "split")
SEPARATORS = {".csv": ",", ".tsv": "\t"}
SHOWN = 20  # problems printed in full; a screen holds them

# Labels of the field's data sets, lower-case. WEBEmo's two misspellings are its official names.
EMOTIONS = frozenset(
    "anger disgust fear happiness sadness surprise neutral contempt joy love positive negative "
    # Mikels' eight (EmoSet, FI)
    "amusement awe contentment excitement "
    # EMOTIC's 26
    "affection annoyance anticipation aversion confidence disapproval disconnection disquietment "
    "doubt/confusion embarrassment engagement esteem fatigue pain peace pleasure sensitivity suffering "
    "sympathy yearning "
    # WEBEmo's 25
    "cheerfullness confusion disappointment enthrallment envy exasperation gratitude horror irritabilty lust "
    "neglect nervousness optimism pride rage relief shame zest".split()
)

# Other words for the basic emotions, as data sets name their folders and classes.
ALIASES = {
    "angry": "anger",
    "contemptuous": "contempt",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}

# Rows that are wrong, and what to say of one of them: a message is only written for the rows that are shown.
Check = tuple[np.ndarray, Callable[[int], str]]


def load(file: Path, emotions: tuple[str, ...] | None = None, check_files: bool = True) -> pd.DataFrame:
    """Read and check a manifest.

    CSV columns are text ('001' stays '001'), boxes are numbers, an empty cell is missing; Parquet keeps its
    types, except that the columns in `TEXT` become text. Relative paths start at the manifest's folder.

    Args:
        file: The manifest: .parquet, .csv or .tsv (UTF-8).
        emotions: Labels it may hold; by default `EMOTIONS`, which a typing error does not pass.
        check_files: Look for every image, and compare boxes with the image sizes (read from the headers).

    Returns:
        The table, `path` as written, with the column `file` (absolute path) and rows counted from 0.

    Raises:
        InputError: One line a problem, with file and row; rows are counted from 1 below the header.
    """
    frame = read(file)
    if "path" in frame and "file" not in frame:
        frame["file"] = absolute(frame["path"], file.parent)
        validate(frame, file, emotions, check_files)
        return frame
    reserved = "file" in frame
    raise InputError(
        f"{file}: the column 'file' is kept for absolute paths: rename it"
        + ("" if "path" in frame else f", and name the image paths 'path' (found: {', '.join(frame)})")
        if reserved
        else f"{file}: no column path (found: {', '.join(frame)})"
    )
