"""A folder of predictions: many images in parts, each written whole, by one machine or several, one after the other.

_predict.json         what decides the predictions; another job is refused
part-00000.parquet    the first `part` images, in the list's order, and so on

A part that is there is done: it is moved into place when it is whole, so it is its own mark. A second file as a mark
could be lost, or there, without its part. Names begin with _ or . where a file is no part, so that readers of Parquet
folders (`pandas.read_parquet(folder)`) pass them over.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodo.files import atomic, locked, remove_folder, write_text
from emodo.records import InputError

if TYPE_CHECKING:
    import pandas as pd

    from emodo.listing import Listed
    from emodo.predictor import Predictor

RECORD = "_predict.json"
MARK = "emodo predict"


@dataclass(frozen=True)
class Parts:
    """N images in parts of `size`, of which `shard` (index, of how many; from 0) are done here."""

    folder: Path
    images: int
    size: int
    shard: tuple[int, int]

    def __len__(self) -> int:
        """Number of parts, of all shards."""
        return -(-self.images // self.size)

    def file(self, at: int) -> Path:
        """Where a part is, when it is done."""
        return self.folder / f"part-{at:05}.parquet"

    def done(self) -> int:
        """How many parts of all shards are there."""
        return sum(self.file(at).is_file() for at in range(len(self)))

    def left(self) -> list[int]:
        """The parts of this shard that are not there yet."""
        index, of = self.shard
        return [at for at in range(index, len(self), of) if not self.file(at).is_file()]

    def bounds(self, at: int) -> tuple[int, int]:
        """The images of a part: the first, and the one after its last."""
        return at * self.size, min((at + 1) * self.size, self.images)


def open_folder(folder: Path, told: dict[str, Any], overwrite: bool) -> None:
    """Begin a folder of predictions, or continue it.

    told: what decides the predictions. overwrite: remove predictions that are there, and begin anew.

    Raises InputError where the folder holds another job's parts, or files of somebody else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):  # shards begin at the same time
        before = _before(folder)
        changed = [name for name in {**told, **before} if before.get(name) != told.get(name)] if before else []
        if before and overwrite:
            remove_folder(folder)
        elif changed:
            changes = "; ".join(f"{name}: {before.get(name)} there, {told.get(name)} here" for name in changed)
            raise InputError(
                f"{folder} holds the predictions of another job ({changes}): choose another --out, or replace them "
                "with --overwrite"
            )
        if overwrite or not before:
            write_text(folder / RECORD, json.dumps({"command": MARK, **told}, indent=2) + "\n")


def _before(folder: Path) -> dict[str, Any]:
    """What decided the predictions that are there; empty where the folder is."""
    try:
        before = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if before.pop("command") == MARK:
            return before
    except FileNotFoundError:
        if all(entry.name.startswith(".") for entry in folder.iterdir()):
            return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    raise InputError(f"{folder} holds files that emodo predict has not made: choose another --out")


def write(
    predictor: Predictor, images: Listed, file: Path, workers: int, advance: Callable[[int], None]
) -> tuple[int, int]:
    """Predict images and write them to a Parquet file, whole; `advance` is told how many are predicted.

    One process at a time works on a file; who has waited finds it there. Returns the number of images that were
    predicted, and of those with an error.
    """
    lock = file.with_name(f".{file.name}.lock")
    with locked(lock):
        if file.is_file():
            return 0, 0
        table = predictor.whole(images, workers, advance)
        with atomic(file) as temporary:
            table.to_parquet(temporary, index=False)
        lock.unlink(missing_ok=True)
    return len(table), broken(table)


def broken(table: pd.DataFrame) -> int:
    """How many rows of a table have an error."""
    return int(table["error"].notna().to_numpy().sum())
