"""FER2013's table, a 48 x 48 face as text in each row, and the images made from it."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain, islice
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from emodo import files

SIDE = 48
ROW_BYTES = 8_300  # of a table, on average
USAGES = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
PUBLISHED = {"Training": 28_709, "PublicTest": 3_589, "PrivateTest": 3_589}


def face(text: str) -> bytes:
    """The grey values of a face, row by row. Raises ValueError, with what is wrong, where it is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # as NumPy says that something is no number
        try:
            values = np.fromstring(text, np.int64, sep=" ")
        except (DeprecationWarning, ValueError):
            raise ValueError("the pixels are not whole numbers with spaces between them") from None
    if len(values) != SIDE * SIDE:
        raise ValueError(f"{len(values)} pixels, expected {SIDE * SIDE} ({SIDE} x {SIDE})")
    if values.min() < 0 or values.max() > 255:
        raise ValueError("a pixel is not from 0 to 255")
    return values.astype(np.uint8).tobytes()


def write(faces: Iterator[tuple[str, bytes]], folder: Path, about: int) -> list[str]:
    """Write named faces as PNG, and return the files' absolute paths. `about`: how many there will be, roughly.

    A new folder is whole or absent. In one that is there already, images stay that are as they would be written, and
    each other one is replaced in one step. Without any face there is no folder.
    """
    first = list(islice(faces, 1))
    if not first:
        return []
    new = not folder.is_dir() or not any(folder.iterdir())
    written: list[str] = []
    with files.new_folder(folder) if new else nullcontext(folder) as target:
        rest = chain(first, faces)
        for name, values in track(rest, "images", total=about, console=Console(stderr=True), disable=about < 2000):
            png = io.BytesIO()
            Image.frombytes("L", (SIDE, SIDE), values).save(png, "PNG")
            file = target / name
            if new:
                file.write_bytes(png.getvalue())
            elif not file.is_file() or file.read_bytes() != png.getvalue():
                with files.atomic(file) as temporary:
                    temporary.write_bytes(png.getvalue())
            written.append(f"{folder.absolute()}{os.sep}{name}")
    return written
