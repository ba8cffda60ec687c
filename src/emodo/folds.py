"""The folds of a grid: its manifests by name, and what of their training rows is held out to choose a setting."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodo import manifest as tables
from emodo.records import InputError
from emodo.splits import by_sequence, check

if TYPE_CHECKING:
    import pandas as pd

HELD_OUT = 0.2  # of the training sequences, where a manifest has no validation rows
Folds = dict[str, Path]


def name_folds(manifests: Sequence[Path], emotions: Sequence[str] | None) -> Folds:
    """Name the folds after their files, or their folders too where the files are named alike; all are checked.

    Raises InputError where two would have the same name, one has no split, or two test the same image.
    """
    names = [manifest.stem for manifest in manifests]
    if len(set(names)) < len(names):
        names = [f"{manifest.resolve().parent.name}-{manifest.stem}" for manifest in manifests]
    if not names or len(set(names)) < len(names):
        raise InputError("the folds need different names: name one or more manifests, each in a file of its own name")
    tested: dict[str, Path] = {}
    for manifest in manifests:
        frame = tables.load(manifest, tuple(emotions) if emotions else None)
        if "split" not in frame:
            raise InputError(f"{manifest} has no column split: make one with `emodo split`")
        places = frame.loc[frame["split"] == "test"].drop(columns=["path", "emotion", "split"])
        for place in set(places[[c for c in ("file", *tables.BOX) if c in places]].astype("str").agg("|".join, axis=1)):
            if place in tested:
                raise InputError(f"{manifest} and {tested[place]} test the same image, {place.split('|')[0]}")
            tested[place] = manifest
    return dict(zip(names, manifests, strict=True))


def fingerprints(folds: Folds) -> dict[str, dict[str, Any]]:
    """Where each fold's manifest lies, and its sha256."""
    return {
        fold: {"manifest": str(file.resolve()), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for fold, file in folds.items()
    }


def hold_out(manifest: Path, emotions: Sequence[str] | None) -> pd.DataFrame:
    """Take the training and validation rows of a manifest alone, the latter as what is tested.

    Without validation rows, a fifth of the training sequences is taken, the same fraction of every source and emotion.
    Raises InputError where an emotion would have no training row left.
    """
    frame = tables.load(manifest, tuple(emotions) if emotions else None)
    known = frame.loc[frame["split"] != "test"].reset_index(drop=True)
    if (known["split"] == "validation").any():
        known = known.assign(split=known["split"].replace("validation", "test"))
    else:
        known = by_sequence(known, HELD_OUT)
    try:
        check(known)
    except InputError as error:
        raise InputError(f"{manifest}: a part of the training rows is held out, and then {error}") from None
    return known
