"""Image files: what a header claims is looked at before anything is decoded, and what is broken is named by its row."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from emodo.manifest import SHOWN
from emodo.records import InputError

MAX_PIXELS = 50_000_000  # a 23 KB PNG can claim 196 million: the header is asked before anything is decoded
UNREADABLE = (OSError, ValueError, SyntaxError, RuntimeError)  # what Pillow raises on a broken image, or none
AT_A_TIME = 32  # files a thread takes: a size is asked faster than a thread

Value = TypeVar("Value")

# Pillow warns at 89 million pixels; the limit here is ours, and is an error
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def opened(
    stream: BinaryIO, length: int, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] | None = None
) -> Image.Image:
    """Open an image of `length` bytes by its header; raises one of `UNREADABLE` where it may not be decoded.

    formats: names of those of Pillow's readers that are asked, by default all.
    """
    if length == 0:
        raise ValueError("is empty (zero bytes)")
    try:
        header = Image.open(stream, formats=formats)
    except Image.DecompressionBombError:
        raise ValueError(
            f"claims over 179 million pixels, more than the limit of {max_pixels} (--max_pixels)"
        ) from None
    width, height = header.size
    if width * height > max_pixels:
        raise ValueError(f"claims {width} x {height} pixels, more than the limit of {max_pixels} (--max_pixels)")
    if header.mode in ("I", "F"):
        raise ValueError(f"has pixels of 32 bits (mode {header.mode}): save it with 8 or 16 bits a channel")
    return header


def upright(image: Image.Image) -> Image.Image:
    """Decode an opened image, turned as its orientation says, with 8 bits a channel."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image


def reason(error: Exception) -> str:
    """Say what is wrong with an image, as what follows its name."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "cannot identify" in text:
        return "is not a readable image"
    if "truncated" in text.lower() or "premature" in text.lower() or "incomplete" in text.lower():
        return "is truncated"
    return text if text.startswith(("is ", "claims ", "has ")) else f"cannot be read ({text})"


def of_files(
    function: Callable[[Path], Value], frame: pd.DataFrame, name: Path, what: str | None = None
) -> Generator[tuple[str, Value]]:
    """Yield each image file of a manifest, in its order, with what `function` says of it; several are read at a time.

    frame: a manifest as loaded, or some of its rows. name: what the messages call it. what: the word beside a bar on
    stderr, where that is a terminal.

    Raises InputError, after the last file, that lists the rows for whose files `function` raised one of `UNREADABLE`.
    """

    def tried(files: Sequence[str]) -> list[tuple[str, Value | None, str | None]]:
        found: list[tuple[str, Value | None, str | None]] = []
        for file in files:
            try:
                found.append((file, function(Path(file)), None))
            except UNREADABLE as error:
                found.append((file, None, reason(error)))
        return found

    files, problems = list(frame["file"].drop_duplicates()), dict[str, str]()
    parts = [files[at : at + AT_A_TIME] for at in range(0, len(files), AT_A_TIME)]
    threads = ThreadPoolExecutor(8)
    try:
        results = threads.map(tried, parts)
        for part in results if what is None else _with_bar(results, len(parts), what):
            for file, value, problem in part:
                if problem is None:
                    yield file, cast("Value", value)
                else:
                    problems[file] = problem
    finally:
        threads.shutdown(cancel_futures=True)  # an interrupt waits for the files in hand, not for all
    broken = [
        (row + 1, path, problems[file])
        for row, path, file in zip(frame.index, frame["path"], frame["file"], strict=True)
        if file in problems
    ]
    if broken:
        lines = [f"{name}, row {row}: the image {path} {problem}" for row, path, problem in broken[:SHOWN]]
        if len(broken) > SHOWN:
            lines.append(f"... and {len(broken) - SHOWN} more")
        raise InputError("\n".join(lines) + "\nReplace these images or remove their rows.")


def _with_bar(results: Iterable[Value], total: int, what: str) -> Iterable[Value]:
    from rich.console import Console
    from rich.progress import track

    return track(results, what, total, console=Console(stderr=True), disable=not sys.stderr.isatty())
