"""What may differ between two sets of images: a value, or a bin of a number, for each row of both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from emodo.manifest import as_text

BINS = (8, 6, 4, 2)  # even, so that one edge lies between two sets that are apart
LEAST = 5  # clusters of the lab that say how the model does at a value
THIN = 10  # a value is not the lab's where its share of the field is more than this times its share of the lab
FEW_NUMBERS = 10  # different numbers up to which each is a value of its own
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Factor:
    """What may differ between lab and field.

    values: names of its Z values or bins. lab, field: [N] int each, the place in `values` of every row. numbers: where
    it is a number, that of every row of lab and field, not a number where unknown.
    """

    name: str
    values: tuple[str, ...]
    lab: np.ndarray
    field: np.ndarray
    numbers: tuple[np.ndarray, np.ndarray] | None = None

    def of(self, lab: np.ndarray, field: np.ndarray) -> Factor:
        """The same of some rows, [N] bool each."""
        numbers = self.numbers and (self.numbers[0][lab], self.numbers[1][field])
        return replace(self, lab=self.lab[lab], field=self.field[field], numbers=numbers)


def column(name: str, lab: pd.Series, field: pd.Series, cluster: np.ndarray) -> Factor | None:
    """The factor of a column that both have: a number where all values are numbers and many differ, else names.

    A missing value is `unknown`. cluster: [N_lab] int. None where it has a single value, or so many that it names
    rows and does not group them: more than half as many as there are rows with one.
    """
    texts = [as_text(values) for values in (lab, field)]
    known = pd.concat(texts).dropna()
    different = known.drop_duplicates()
    numbers = [pd.Series(pd.to_numeric(text, errors="coerce"), dtype=float).to_numpy(float) for text in texts]
    parsed = pd.Series(pd.to_numeric(different, errors="coerce"), dtype=float).to_numpy(float)
    if len(different) > FEW_NUMBERS and np.isfinite(parsed).all():
        return number(name, numbers[0], numbers[1], cluster)
    filled = [text.fillna(UNKNOWN) for text in texts]
    values = sorted(set(pd.concat(filled)))
    if len(values) < 2 or 2 * len(different) > len(known):
        return None
    places = [pd.Index(values).get_indexer(pd.Index(text)) for text in filled]
    return Factor(name, tuple(values), places[0], places[1])


def number(name: str, lab: np.ndarray, field: np.ndarray, cluster: np.ndarray) -> Factor | None:
    """The factor of a number, [N_lab] and [N_field], in bins; None where nothing varies.

    Edges are quantiles of lab and field together, each set weighing half, so that a field that lies elsewhere has bins
    of its own, which the lab leaves empty. There are as many of `BINS` as leave no bin outside (see `inside`) for the
    number of the lab's clusters alone, or else 2; five take away about 90 % of what a number does (Cochran, Biometrics
    24, 1968). cluster: [N_lab] int.
    """
    known = [values[np.isfinite(values)] for values in (lab, field)]
    pooled = np.concatenate(known)
    if not len(pooled) or (np.ptp(pooled) == 0 and len(pooled) == len(lab) + len(field)):
        return None
    made = None
    for bins in BINS:
        made = _binned(name, lab, field, _edges(known, bins))
        of, clusters = shares(made), _clusters(made, cluster)
        if not ((clusters < LEAST) & (of[0] > 0) & (of[1] <= THIN * of[0])).any():
            break
    return made


def _edges(known: list[np.ndarray], bins: int) -> np.ndarray:
    """The quantiles of two samples together, each weighing half; every edge lies between two different numbers."""
    pooled = np.concatenate(known)
    weight = np.concatenate([np.full(len(values), 1 / max(len(values), 1)) for values in known])
    order = np.argsort(pooled, kind="stable")
    below = np.cumsum(weight[order]) / weight.sum()
    at = np.searchsorted(below, np.arange(1, bins) / bins - 1e-9)
    different = np.unique(pooled)
    upper = np.unique(np.searchsorted(different, pooled[order][at]))
    return np.array([(different[i] + different[i + 1]) / 2 for i in upper if i + 1 < len(different)])


def _binned(name: str, lab: np.ndarray, field: np.ndarray, edges: np.ndarray) -> Factor:
    names = _names(edges)
    places: list[np.ndarray] = []
    for values in (lab, field):
        place = np.searchsorted(edges, values, "right")
        place[~np.isfinite(values)] = len(names)
        places.append(place)
    if any((place == len(names)).any() for place in places):
        names.append(UNKNOWN)
    return Factor(name, tuple(names), places[0], places[1], (lab, field))


def _names(edges: np.ndarray) -> list[str]:
    """The bins as people read them, `under 0.61`, `0.61-0.85`, `0.85+`, in as few digits as tell the edges apart."""
    written = next(
        texts
        for digits in range(3, 18)
        if len(set(texts := [np.format_float_positional(float(f"{edge:.{digits}g}"), trim="-") for edge in edges]))
        == len(edges)
    )
    if not written:
        return ["all"]
    middle = [f"{a} to {b}" for a, b in pairwise(written)]
    return [f"under {written[0]}", *middle, f"{written[-1]}+"]


def inside(factor: Factor, cluster: np.ndarray) -> np.ndarray:
    """Which values, [Z] bool, are the lab's as well, so that it says how the model does there.

    A value is outside where fewer than `LEAST` of the lab's clusters have it, or where its share of the field is more
    than `THIN` times its share of the lab. cluster: [N_lab] int.
    """
    lab, field = shares(factor)
    return (_clusters(factor, cluster) >= LEAST) & (field <= THIN * lab)


def shares(factor: Factor) -> np.ndarray:
    """Shares of the values in lab and field, [2, Z]."""
    size = len(factor.values)
    return np.stack([np.bincount(place, minlength=size) / len(place) for place in (factor.lab, factor.field)])


def _clusters(factor: Factor, cluster: np.ndarray) -> np.ndarray:
    """How many of the lab's clusters have each value, [Z] int."""
    return np.bincount(np.unique(np.stack([factor.lab, cluster]), axis=1)[0], minlength=len(factor.values))


def is_a_name(factor: Factor, within: np.ndarray) -> bool:
    """Whether the factor says only that the sets are two: one value in all of the lab, or names that share none.

    within: [Z] bool, as `inside` gives it.
    """
    one = len(np.unique(factor.lab)) == 1 and (factor.numbers is None or bool(np.ptp(factor.numbers[0]) == 0))
    return one or (factor.numbers is None and not within[factor.field].any())
