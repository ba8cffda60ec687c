"""The search of a grid: the learning rates of each method on each fold, chosen on training rows alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodo import runs
from emodo.cells import Cell, Entry, finished
from emodo.records import InputError
from emodo.running import Outcomes

if TYPE_CHECKING:
    import pandas as pd

HELD_OUT = 0.2  # of the training sequences, where there is no validation part
SEED = 0  # whatever seeds the grid has, or is given later: the choice stays the same
Key = tuple[str, str]  # an entry's name, and a fold's


def hold_out(manifest: Path, emotions: Sequence[str] | None) -> pd.DataFrame:
    """Take the training and validation rows alone, the latter as what is tested.

    Without validation rows, a fifth of the training sequences is taken, the same fraction of every source and emotion.

    Raises InputError where nothing could be trained or tested on what is left.
    """
    from emodo import manifest as tables
    from emodo.splits import by_sequence, check

    frame = tables.load(manifest, tuple(emotions) if emotions else None)
    known = frame.loc[frame["split"] != "test"].reset_index(drop=True)
    if (known["split"] == "validation").any():
        known = known.assign(split=known["split"].replace("validation", "test"))
    else:
        known = by_sequence(known, HELD_OUT)
    try:
        check(known)
    except InputError as error:
        reason = str(error).replace("\n", "; ")
        raise InputError(f"{manifest}: a part of the training rows is held out, and then {reason}") from None
    return known


def candidates(
    folder: Path, entered: Sequence[Entry], folds: Mapping[str, pd.DataFrame], factors: Sequence[float]
) -> dict[Key, dict[float, Cell]]:
    """Give the cells to choose from, for each method and fold by factor; what they train on is written to `folder`.

    For each fold by itself, as the training part of one fold holds what another one tests.
    """
    from emodo import manifest as tables

    found: dict[Key, dict[float, Cell]] = {}
    for fold, frame in folds.items():
        manifest = folder / f"{fold}.parquet"
        if not manifest.is_file():
            tables.save(frame, manifest)
        for entry in entered:
            found[entry.name, fold] = {
                factor: Cell(entry.faster(factor), manifest, SEED, folder / entry.folder / f"{fold}-times{factor:g}")
                for factor in factors
            }
    return found


def best(cells: Mapping[float, Cell]) -> float:
    """Choose the factor with the highest accuracy, of equal ones the nearest to 1; 1 where all have failed."""
    scored = [
        (runs.scores(cell.run)["accuracy"], -abs(math.log(factor)), factor)
        for factor, cell in cells.items()
        if finished(cell.run)
    ]
    return max(scored)[2] if scored else 1.0


def summary(tried: Mapping[Key, Mapping[float, Cell]], chosen: Mapping[Key, float]) -> dict[str, Any]:
    """What the table tells of the search: {"factors", "note", "chosen": {method: {fold: factor}}}."""
    factors = list(next(iter(tried.values())))
    by_method: dict[str, dict[str, float]] = {}
    for (method, fold), factor in chosen.items():
        by_method.setdefault(method, {})[fold] = factor
    note = (
        f"Searched for every method alike: learning rates times {', '.join(f'{factor:g}' for factor in factors)}, on "
        f"each fold by itself, by the accuracy on training sequences held out, with seed {SEED}; "
        f"{len(tried) * len(factors)} runs more."
    )
    return {"factors": factors, "note": note, "chosen": by_method}


def failures(tried: Mapping[Key, Mapping[float, Cell]], outcomes: Outcomes) -> list[dict[str, Any]]:
    """Candidates that could not be made where others could, so that the choice was among fewer.

    Where none could, the method's runs say why.
    """
    return [
        {"method": method, "fold": fold, "seed": SEED, "factor": factor, "status": outcome.status}
        | {"seconds": None, "reason": outcome.reason}
        for (method, fold), cells in tried.items()
        if any(finished(cell.run) for cell in cells.values())
        for factor, cell in cells.items()
        if (outcome := outcomes[cell.run]).status != "done"
    ]
