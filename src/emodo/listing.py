"""Which images are meant: files, folders, patterns, tables and paths on stdin, as one list in one order."""

from __future__ import annotations

import glob
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from emodo import manifest
from emodo.adapters import disk
from emodo.records import InputError

STDIN = "-"
TABLES = (".parquet", *manifest.SEPARATORS)


@dataclass(frozen=True)
class Listed:
    """N images: their paths as they were written, their files (absolute), and boxes, [N, 4], NaN where there is none.

    Text and not `Path`, as of a data set on a disk; `boxes` is None where no image has one.
    """

    paths: list[str]
    files: list[str]
    boxes: np.ndarray | None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.paths)

    def part(self, start: int, stop: int) -> Listed:
        """The images from `start` up to `stop`."""
        return Listed(
            self.paths[start:stop],
            self.files[start:stop],
            None if self.boxes is None else self.boxes[start:stop],
        )

    def sha256(self) -> str:
        """A digest of the paths as they were written, and of the boxes: the same on machines that mount them apart."""
        digest = hashlib.sha256()
        for path in self.paths:
            digest.update(os.fsencode(path) + b"\0")
        if self.boxes is not None:
            digest.update(self.boxes.astype("<f8").tobytes())
        return digest.hexdigest()


def listed(images: Sequence[str], column: str = "path") -> Listed:
    """List the images that `images` names, each once.

    Args:
        images: Files, folders (all images in them, at any depth), patterns with * ? [] and **, tables (.parquet, .csv,
            .tsv) and `-`: paths on stdin, a line each, or separated by NUL. Found and named paths are sorted; the rows
            of tables follow, in their order.
        column: The tables' column of paths, which start at the table's folder; boxes are x1, y1, x2, y2.

    Raises:
        InputError: Something that is not there, a folder without images, a table that does not fit.
    """
    paths: list[str] = []
    tables: list[pd.DataFrame] = []
    others: Counter[str] = Counter()
    for word in images:
        if word == STDIN:
            paths += _on_stdin()
        elif disk.suffix(word) in TABLES:
            tables.append(_table(Path(word), column))
        elif os.path.isdir(word):  # noqa: PTH112
            paths += _in_folder(word, others)
        elif os.path.lexists(word):
            paths.append(word)
        else:
            paths += _matching(word, others)
    if others:
        print(f"emodo predict: passed over {_counted(others)}", file=sys.stderr)
    paths = sorted(set(paths))
    here = os.getcwd()  # noqa: PTH109
    # As objects: a name on a disk need not be UTF-8, and text columns are.
    found = pd.DataFrame({"path": paths, "file": [_absolute(path, here) for path in paths]}, dtype=object)
    frame = pd.concat([found, *(table.astype({"path": object, "file": object}) for table in tables)])
    where = [column for column in ("file", *manifest.BOX) if column in frame]
    twice = frame.duplicated(where).to_numpy()
    if twice.any():
        print(f"emodo predict: {twice.sum()} images are named more than once, and predicted once", file=sys.stderr)
    frame = frame.loc[~twice]
    boxes = frame[list(manifest.BOX)].to_numpy(float) if "x1" in frame else None
    if boxes is not None and np.isnan(boxes).all():
        boxes = None
    return Listed(cast("list[str]", frame["path"].tolist()), cast("list[str]", frame["file"].tolist()), boxes)


def _absolute(path: str, folder: str) -> str:
    return os.path.normpath(os.path.join(folder, path))  # noqa: PTH118


def _on_stdin() -> list[str]:
    given = sys.stdin.buffer.read()
    apart = b"\0" if b"\0" in given else b"\n"
    lines = (line if apart == b"\0" else line.removesuffix(b"\r") for line in given.split(apart))
    paths = [os.fsdecode(line) for line in lines if line]
    if not paths:
        raise InputError("there are no paths on stdin: pass some, a line each, or leave - out")
    return paths


def _table(file: Path, column: str) -> pd.DataFrame:
    frame = manifest.read(file)
    if column not in frame:
        raise InputError(
            f"{file} has no column {column} (found: {', '.join(frame.columns[:9])}): name the column of the paths with "
            "--path"
        )
    kept = frame.loc[:, [name for name in frame if name == column or name in manifest.BOX]].copy()
    kept.columns = ["path" if name == column else name for name in kept]
    return manifest.places(kept, file, file.parent)


def _in_folder(folder: str, others: Counter[str]) -> list[str]:
    paths, passed = _images(folder)
    if not paths:
        raise InputError(
            f"{folder} holds no image ({' '.join(sorted(disk.IMAGES))}) at any depth; found "
            + (_counted(passed) if passed else "no files at all")
        )
    others.update(passed)
    return paths


def _matching(pattern: str, others: Counter[str]) -> list[str]:
    """The files that a pattern matches, and the images in folders that it matches."""
    paths: list[str] = []
    for match in glob.iglob(pattern, recursive=True):  # noqa: PTH207  (text, as everywhere here)
        if os.path.isdir(match):  # noqa: PTH112
            found, passed = _images(match)
            paths += found
            others.update(passed)
        else:
            paths.append(match)
    if not paths:
        what = "matches no image" if glob.has_magic(pattern) else "is missing: no such file or folder"
        raise InputError(f"{pattern} {what}")
    return paths


def _images(folder: str) -> tuple[list[str], Counter[str]]:
    """The images below a folder as paths that begin with it, by their suffix, and the suffixes of other files."""
    top = os.path.abspath(folder)  # noqa: PTH100
    paths: list[str] = []
    others: Counter[str] = Counter()
    for file in disk.files(folder):
        if disk.suffix(file) in disk.IMAGES:
            paths.append(os.path.normpath(folder + os.sep + file[len(top) :]))
        else:
            others[disk.suffix(file) or "no suffix"] += 1
    return paths, others


def _counted(others: Counter[str]) -> str:
    often = sorted(others.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{count} {suffix}" for suffix, count in often[:8])
    return f"{others.total()} files that are no images: {listed}"


def shown(path: str | Path) -> str:
    """A path as text that can be written: bytes in it that are no UTF-8 stand as their numbers."""
    return str(path).encode("utf-8", "backslashreplace").decode()
