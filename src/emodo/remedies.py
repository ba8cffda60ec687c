"""What can be done about a confounder with the data that is there: which methods are possible, and what is missing."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emodo.records import Confounder, InputError, Task

if TYPE_CHECKING:
    import pandas as pd

    from emodo.methods import Method

THIN = 0.5  # of what a cell would hold if stratum and emotion had nothing to do with each other


def gaps(counts: np.ndarray, rows: np.ndarray, strata: tuple[str, ...], emotions: tuple[str, ...]) -> dict[str, Any]:
    """Where images are missing.

    A cell's expected number is its stratum's rows times the emotion's share of all rows. A cell is thin that holds
    less than half of that; what it lacks is the rest. The worst cell to expect is the one that holds the least part of
    it, of several the one that lacks most: a model that goes by the stratum errs there first.

    counts: [D, E]. rows: [D], of each stratum. Returns `cells`, `empty` and `thin` numbers of cells (an empty one is
    thin), `missing` images in all thin cells, `gaps`, the thin cells with stratum, emotion, `images`, `expected` and
    `missing`, the largest gap first, and `worst`, a cell likewise.
    """
    expected = rows[:, None] * counts.sum(axis=0) / rows.sum()
    share = counts / np.maximum(expected, 1e-9)

    def cell(d: int, e: int) -> dict[str, Any]:
        return {
            "stratum": strata[d],
            "emotion": emotions[e],
            "images": int(counts[d, e]),
            "expected": float(expected[d, e]),
            "missing": max(0, math.ceil(expected[d, e] - counts[d, e] - 1e-9)),
        }

    thin = [cell(d, e) for d, e in np.argwhere(share < THIN).tolist()]
    d, e = np.unravel_index(np.lexsort(((-expected).ravel(), share.round(9).ravel()))[0], counts.shape)
    return {
        "cells": counts.size,
        "empty": int((counts == 0).sum()),
        "thin": len(thin),
        "missing": sum(each["missing"] for each in thin),
        "gaps": sorted(thin, key=lambda each: -each["missing"]),
        "worst": cell(int(d), int(e)),
    }


def all_methods() -> dict[str, type[Method]]:
    """Every method that can be trained, by its name."""
    from emodo import methods

    named = {name: getattr(methods, name) for name in methods.__all__}
    return {
        name: found
        for name, found in named.items()
        if isinstance(found, type) and issubclass(found, methods.Method) and not inspect.isabstract(found)
    }


def possible(
    frame: pd.DataFrame, name: Path, column: str, strata: tuple[str, ...], emotions: tuple[str, ...], counts: np.ndarray
) -> tuple[list[str], list[dict[str, Any]]]:
    """Which methods can be trained on these rows with this confounder: each is asked by the checks of `emodo train`.

    frame: rows of a manifest. name: what messages call it. counts: [D, E], rows of each of the column's `strata` and
    emotion. Returns the possible ones, and the others in groups with the same reason, `methods` and `why`. No network
    is built.
    """
    import pandas as pd

    from emodo.data import check_boxes, training_cells
    from emodo.methods.curriculum import Curriculum, default_levels
    from emodo.multilabel import several

    prior = (1 / len(strata),) * len(strata)
    task = Task(emotions, Confounder(column, strata, prior), bool(several(frame.loc[:, "emotion"]).any()))
    # a row of each cell stands for all its rows: asked is which cells there are
    filled = [(emotions[e], strata[d]) for d, e in np.argwhere(counts > 0).tolist()]
    cells = pd.DataFrame(filled, columns=["emotion", column])
    able: list[str] = []
    reasons: dict[str, list[str]] = {}
    for called, kind in all_methods().items():
        method = kind()
        try:
            method.check_task(task)
            if method.views:
                check_boxes(frame, name, called)
            if isinstance(method, Curriculum):
                default_levels(task.emotions)
        except InputError as error:
            why = str(error).removeprefix(f"{name} ").removeprefix(f"{called} ").replace(called, "the method")
            reasons.setdefault(why, []).append(called)
            continue
        if method.needs_cells:
            try:
                training_cells(cells, task, name, called)
            except InputError:
                why = f"every (stratum x emotion) cell needs an image, and {counts.size - len(cells)} have none"
                reasons.setdefault(why, []).append(called)
                continue
        able.append(called)
    return able, [{"methods": names, "why": why} for why, names in reasons.items()]
