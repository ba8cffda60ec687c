"""Predictions over time: folders and files of Parquet parts as windows, in order, read in pieces."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from emodo import runs
from emodo.files import told_apart
from emodo.parts import MARK, RECORD
from emodo.prediction import digest
from emodo.predictor import disagreement
from emodo.profiles import Answers, Profile, Tally, numbered
from emodo.records import InputError, Task

ROWS = 65_536  # read at a time
GROUPS = 1024  # of clusters, which stand for them: a window's table does not grow with its images
SHOWN = 4  # names in a message


@dataclass(frozen=True)
class Window:
    """A window's name and its Parquet files; images: as many as were to be predicted, where that is known."""

    name: str
    files: tuple[Path, ...]
    images: int | None = None


def found(words: Sequence[str], run: Path) -> list[Window]:
    """The windows that words mean, in the natural order of their names: 9 before 10.

    A folder with Parquet files is a window, a file is one, and a folder of such folders is one for each. Patterns are
    those of `glob`. What is named twice counts once.

    Raises InputError where there is nothing, where a file is no Parquet, or where another run has predicted.
    """
    places: dict[str, tuple[Path, ...]] = {}
    for word in words:
        matches = sorted(glob.glob(word)) if glob.has_magic(word) and not os.path.exists(word) else [word]  # noqa: PTH110, PTH207
        if not matches:
            raise InputError(f"{word} matches nothing: name folders or files that emodo predict has written")
        for match in matches:
            places |= _places(Path(match))
    own = digest(run)
    names = _names(list(places))
    made = [
        Window(name, files, _told(files[0].parent, run, own))
        for name, files in zip(names, places.values(), strict=True)
    ]
    return sorted(made, key=lambda window: _natural(window.name))


def _places(place: Path) -> dict[str, tuple[Path, ...]]:
    """The windows of a file or folder, by where they are."""
    if place.is_file():
        if place.suffix.lower() != ".parquet":
            raise InputError(f"{place} is no Parquet file by its suffix: predict to a folder, or to a .parquet file")
        return {os.path.normpath(place): (place,)}
    if not place.is_dir():
        raise InputError(f"{place} is missing: no such file or folder")
    if parts := _parts(place):
        return {os.path.normpath(place): parts}
    below = {
        os.path.normpath(each): parts for each in sorted(place.iterdir()) if each.is_dir() and (parts := _parts(each))
    }
    if not below:
        raise InputError(f"{place} holds no Parquet parts: name a folder that emodo predict has written")
    return below


def _parts(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(file for file in folder.glob("*.parquet") if not file.name.startswith(("_", "."))))


def _names(places: Sequence[str]) -> list[str]:
    """The last part of each path, or as many as tell them apart; of a predictions.parquet, its folder's at least."""
    short = [Path(place.removesuffix(f"/{runs.PREDICTIONS}").removesuffix(".parquet")) for place in places]
    return told_apart(short) if len(set(short)) == len(short) else list(places)


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def _told(folder: Path, run: Path, own: str) -> int | None:
    """The images that `emodo predict` was to predict into a folder, where it is one of its own.

    Raises InputError where its record names another run.
    """
    file = folder / RECORD
    if not file.is_file():
        return None
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        if told["command"] != MARK:
            return None
        made_by, images = str(told["run"]), int(told["images"])
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{file} is damaged: predict this folder anew") from error
    if made_by != own:
        raise InputError(
            f"{folder} was predicted by another run than {run}, or before it was trained anew: name its run"
        )
    return images


# --------------------------------------------------------------------------------------------- reading


@dataclass
class Counted:
    """A window as counted: its rows, those with an error, the clusters (None: images), and a tally of the others."""

    window: Window
    tally: Tally
    rows: int = 0
    errors: int = 0
    strange: set[str] = field(default_factory=set[str])

    @property
    def missing(self) -> int:
        """Images that are still to be predicted."""
        return max(0, (self.window.images or 0) - self.rows)


def counted(window: Window, profile: Profile, by_folder: bool) -> Counted:
    """Count a window's predictions, piece by piece; by_folder: images of a folder are a cluster.

    Raises InputError where a file is broken, or is not of these emotions.
    """
    made = Counted(window, Tally(profile, GROUPS if by_folder else None))
    for file in window.files:
        for frame in pieces(file, profile.task, ("path",) if by_folder else ()):
            good = frame[f"p:{profile.task.emotions[0]}"].notna().to_numpy(bool)
            made.rows += len(frame)
            made.errors += int((~good).sum())
            rows = frame.loc[good]
            if len(rows):
                made.tally.add(answers(rows, profile.task, file), _groups(rows["path"]) if by_folder else None)
                if "stratum" in rows:
                    made.strange |= set(rows["stratum"].dropna().unique()) - set(profile.task.strata)
    return made


def pieces(file: Path, task: Task, more: Sequence[str]) -> Iterator[pd.DataFrame]:
    """A file's rows in tables of at most `ROWS`, with the columns that count, and `more`.

    Raises InputError where it is broken, or its emotions or strata are not the task's.
    """
    try:
        with pq.ParquetFile(file) as stored:
            columns = _columns(file, stored.schema_arrow, task, more)
            for batch in stored.iter_batches(ROWS, columns=columns):
                yield batch.to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{file} cannot be read as Parquet ({' '.join(str(error).split())[:120]}): predict it anew"
        ) from error


def _columns(file: Path, schema: pa.Schema, task: Task, more: Sequence[str]) -> list[str]:
    emotions = [f"p:{emotion}" for emotion in task.emotions]
    heads = [f"p:{emotion}|{stratum}" for stratum in task.strata for emotion in task.emotions]
    names: list[str] = schema.names
    probabilities = [name for name in names if name.startswith("p:")]
    if not probabilities:
        raise InputError(f"{file} has no columns p:EMOTION: name what emodo predict has written")
    if lacking := [name for name in emotions if name not in names]:
        raise InputError(f"{file} is of other emotions than the run: it lacks {_listed(lacking)}")
    if strange := [name for name in probabilities if name not in (*emotions, *heads)]:
        raise InputError(f"{file} is of other emotions or strata than the run, which does not know {_listed(strange)}")
    if lacking := [name for name in more if name not in names]:
        raise InputError(f"{file} has no column {lacking[0]}, which --cluster folder needs: leave it out")
    given = heads if set(heads) <= set(names) else []
    numbers = [*emotions, *given, *(name for name in ("disagreement",) if name in names)]
    for name in numbers:
        if not pa.types.is_floating(schema.field(name).type):
            raise InputError(f"{file} has text or whole numbers in {name}, where probabilities are meant")
    return [*numbers, *(name for name in ("stratum",) if name in names), *more]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + f" and {len(names) - SHOWN} more" * (len(names) > SHOWN)


def answers(frame: pd.DataFrame, task: Task, file: Path) -> Answers:
    """The rows of a table as answers; none of them has an error.

    Raises InputError where a probability is none.
    """
    p = frame[[f"p:{emotion}" for emotion in task.emotions]].to_numpy(np.float32)
    given = None
    if task.strata and f"p:{task.emotions[0]}|{task.strata[0]}" in frame:
        names = [f"p:{emotion}|{stratum}" for stratum in task.strata for emotion in task.emotions]
        given = frame[names].to_numpy(np.float32).reshape(len(frame), len(task.strata), len(task.emotions))
    for values in (p, given):
        if values is not None and not ((values >= 0) & (values <= 1)).all():  # NaN, too
            raise InputError(
                f"{file} has numbers under p:EMOTION that are no probabilities from 0 to 1: predict it anew"
            )
    swung = frame["disagreement"].to_numpy(np.float32) if "disagreement" in frame else None
    if swung is None and given is not None:
        swung = disagreement(given)
    known = "stratum" in frame and bool(task.strata) and bool(frame["stratum"].notna().any())
    return Answers(p, given, swung, numbered(frame.loc[:, "stratum"], task.strata) if known else None)


def _groups(paths: pd.Series) -> np.ndarray:
    """The number of each path's folder, [N] int: the same folder has the same everywhere."""
    folders = [os.path.dirname(str(path)) for path in paths]  # noqa: PTH120
    number = {folder: crc32(folder.encode("utf-8", "replace")) % GROUPS for folder in set(folders)}
    return np.array([number[folder] for folder in folders])
