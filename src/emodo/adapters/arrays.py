"""Images that a release holds as NumPy arrays alone, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from emodo.adapters import disk
from emodo.files import atomic


def write_images(arrays: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Write each array as an image into a folder: name -> .npy file becomes name -> .png file.

    Every array's header is looked at before any image is written. Each image is whole or absent, and one that is there
    already is kept: a call that was interrupted is gone on with by the next.

    Raises:
        InputError: Files that are no arrays of an image, all at once.
    """
    made = {name: str(folder.absolute() / f"{name.replace('/', '_').removesuffix('.npy')}.png") for name in arrays}
    problems = [problem for file in arrays.values() if (problem := _problem(file))]
    disk.raise_all(problems)
    folder.mkdir(parents=True, exist_ok=True)
    there = {file.name for file in folder.iterdir()}
    left = [(arrays[name], Path(png)) for name, png in made.items() if disk.name(png) not in there]
    threads = ThreadPoolExecutor()
    try:
        done = threads.map(lambda pair: _write(*pair), left)
        told = track(done, "images", len(left), console=Console(stderr=True), disable=len(left) < 2000)
        disk.raise_all([problem for problem in told if problem])
    finally:
        threads.shutdown(cancel_futures=True)  # interrupted, it does not go on
    return made


def _read(file: str) -> np.ndarray:
    """An image's array as it was saved, [H, W], [H, W, C] or [C, H, W], not yet in memory."""
    array = np.load(file, mmap_mode="r", allow_pickle=False)  # a header may claim any size: a map only has the file's
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif" or not array.size:
        raise ValueError("it holds no numbers")
    if array.ndim not in (2, 3) or (array.ndim == 3 and not {array.shape[0], array.shape[2]} & {1, 3, 4}):
        raise ValueError(f"its shape {array.shape} is no image's")
    return array


def _problem(file: str) -> str | None:
    try:
        _read(file)
    except (OSError, ValueError, EOFError) as error:
        return f"{file} is no array of an image ({' '.join(str(error).split())})"
    return None


def _write(file: str, png: Path) -> str | None:
    array = _read(file)
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    array = array[..., :3] if array.ndim == 3 and array.shape[2] > 1 else array.reshape(array.shape[:2])
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 255:
        return f"{file} is no array of an image (its values are not from 0 to 255)"
    if array.dtype.kind == "f" and array.max() <= 1:
        array = array * 255
    with atomic(png) as temporary:
        Image.fromarray(np.rint(array).astype(np.uint8)).save(temporary, "PNG", compress_level=1)
    return None
