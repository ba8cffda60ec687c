"""Strata from columns that are there: their values, numbers in bins, and products of several columns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from emodo.manifest import as_text
from emodo.records import InputError

MOST = 10  # bins that a number may ask for; a larger one was meant as an edge
KEPT = ("path", "file", "emotion", "split", *("x1", "y1", "x2", "y2"))  # columns that are no confounder


def product(
    frame: pd.DataFrame,
    train: np.ndarray,
    name: Path,
    columns: Sequence[str],
    bins: Sequence[float | str] = (),
    labelled: bool = False,
) -> np.ndarray:
    """Name each row's stratum, [N] text: the values of its columns, such as `female x asian` or `18-40`.

    frame: a manifest. train: [N] bool, the rows whose quantiles count. name: what the messages call it. columns: one or
    more. bins: how columns of numbers are grouped: one number is how many groups of equal size, two or more are the
    edges between groups, each of which begins a group; `age=18,40,60` is for the column age alone, other words are for
    all columns of numbers. labelled: put the column's name before a group even where there is one column of numbers.
    A missing value is `unknown COLUMN`.

    Raises InputError where a column is missing or cannot be a confounder, a value to be binned is no number, bins do
    not fit, or one stratum holds all training rows.
    """
    lacking = [column for column in columns if column not in frame]
    if lacking:
        found = ", ".join(column for column in frame.columns if column not in KEPT)
        raise InputError(f"{name} has no column {lacking[0]!r} to take strata from; it has {found or 'no other'}")
    wrong = [column for column in columns if column in KEPT]
    if wrong or len(set(columns)) < len(columns):
        raise InputError(
            f"the column {wrong[0]!r} cannot be a confounder: name another"
            if wrong
            else f"a column is named twice in {' '.join(columns)}: name each once"
        )
    wanted = _bins(bins, columns)
    numbers = _numbers(frame, name, columns, wanted)
    names = []
    for column in columns:
        if column in numbers:
            edges = _edges(numbers[column][train], wanted[column if column in wanted else ""], name, column)
            prefix = f"{column} " if labelled or len(numbers) > 1 else ""
            values = pd.Series(_grouped(numbers[column], edges, prefix), frame.index, dtype="str")
        else:
            values = as_text(frame.loc[:, column])
            _check_values(values.loc[train], name, column)
        names.append(values.fillna(f"unknown {column}"))
    strata = names[0].str.cat(names[1:], sep=" x ").to_numpy(object)
    if len(set(strata[train])) < 2:
        raise InputError(
            f"{name}: {' x '.join(columns)} is {strata[train][0]!r} in every training row, and there is nothing to "
            "intervene on: name another column"
        )
    return strata


def _bins(bins: Sequence[float | str], columns: Sequence[str]) -> dict[str, list[float]]:
    """Bins by column; those of all columns under the empty name."""
    found: dict[str, list[float]] = {}
    for word in bins:
        column, equals, values = word.rpartition("=") if isinstance(word, str) else ("", "", str(word))
        if equals and column not in columns:
            raise InputError(f"--bins names {column!r}, and the columns are {' '.join(columns)}: name one of them")
        try:
            found.setdefault(column, []).extend(float(value) for value in values.split(","))
        except ValueError:
            raise InputError(f"--bins {word}: write numbers, or a column and its numbers: age=18,40,60") from None
    for values in found.values():
        one, count = len(values) == 1, values[0]
        if one and not (count % 1 == 0 and 2 <= count <= MOST):
            raise InputError(
                f"--bins {count:g}: one number is how many groups are made, 2 to {MOST}; for edges name two or more"
            )
        if not np.isfinite(values).all() or (np.diff(values) <= 0).any():
            raise InputError(f"--bins {' '.join(f'{value:g}' for value in values)}: edges have to rise")
    return found


def _check_values(values: pd.Series, name: Path, column: str) -> None:
    """Tell of a column with many numbers, which may be names all the same; refuse one of fractions, which are none."""
    different = values.dropna().drop_duplicates()
    numbers = pd.Series(pd.to_numeric(different, errors="coerce"), dtype=float).to_numpy()
    if len(different) > MOST and np.isfinite(numbers).all():
        said = f"{name}: {column} has {len(different)} numbers in the training rows"
        if (numbers % 1 != 0).any():
            raise InputError(f"{said}, too many for strata: group them with --bins")
        print(f"{said}, each a stratum of its own: --bins groups them", file=sys.stderr)


def _numbers(
    frame: pd.DataFrame, name: Path, columns: Sequence[str], wanted: dict[str, list[float]]
) -> dict[str, np.ndarray]:
    """The columns that are binned: those that `wanted` names, or in which at least half of the values are numbers."""
    found: dict[str, np.ndarray] = {}
    for column in columns:
        text = as_text(frame.loc[:, column])
        values = pd.Series(pd.to_numeric(text, errors="coerce"), dtype=float)
        named = column in wanted
        if not (named or ("" in wanted and 2 * values.notna().sum() >= max(text.notna().sum(), 1))):
            continue
        wrong = frame.index[text.notna() & ~np.isfinite(values)]
        if len(wrong):
            raise InputError(
                f"{name}, row {wrong[0] + 1}: {column} {text[wrong[0]]!r} is no number, which --bins needs: correct "
                "it, leave it empty, or leave --bins out"
            )
        found[column] = values.to_numpy()
    if "" in wanted:
        shared = [column for column in found if column not in wanted]
        if not shared:
            raise InputError(f"--bins groups numbers, and {' '.join(columns)} holds none: leave it out")
        if len(wanted[""]) > 1 and len(shared) > 1:
            raise InputError(
                f"--bins has edges for one column, and {' '.join(shared)} hold numbers: write --bins "
                + " ".join(f"{column}=1,2" for column in shared)
            )
    return found


def _edges(values: np.ndarray, wanted: list[float], name: Path, column: str) -> list[float]:
    """Where groups begin: as wanted, or at quantiles of the training rows, which are told in as few digits as will do.

    A value that many rows have is in one group with itself: a quantile at the smallest value is moved above it.
    """
    if len(wanted) > 1:
        return wanted
    known = np.sort(values[~np.isnan(values)])
    if not len(known) or known[0] == known[-1]:
        raise InputError(
            f"{name}: the training rows have {'one' if len(known) else 'no'} value of {column}, and no groups of equal "
            "size can be made: leave it out, or name edges with --bins"
        )
    count = int(wanted[0])
    exact = np.unique([known[round(len(known) * i / count)] for i in range(1, count)])
    exact = np.unique(np.where(exact == known[0], known[known > known[0]][0], exact))
    for digits in range(3, 18):
        edges = [float(f"{edge:.{digits}g}") for edge in exact]
        same = np.searchsorted(edges, known, "right") == np.searchsorted(exact, known, "right")
        if same.mean() >= 0.99:
            return sorted(set(edges))
    return exact.tolist()


def _grouped(values: np.ndarray, edges: list[float], prefix: str) -> np.ndarray:
    """The name of each value's group, `under 18`, `18-40` or `40+`; None where it is missing."""
    written = [np.format_float_positional(edge, trim="-") for edge in edges]
    between = " to " if edges[0] < 0 else "-"
    names = [
        f"under {written[0]}",
        *(f"{a}{between}{b}" for a, b in pairwise(written)),
        f"{written[-1]}+",
    ]
    named = np.array([prefix + name for name in names], object)[np.searchsorted(edges, values, "right")]
    named[np.isnan(values)] = None
    return named
