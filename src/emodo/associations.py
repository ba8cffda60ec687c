"""How closely a column goes with the emotion: Cramer's V, mutual information, entropies, with intervals and a test.

Rows of one subject or sequence are no independent witnesses, so everything that says how sure a number is counts whole
clusters: tables of counts are kept cluster by cluster, [C, D, E], and clusters are drawn, or have their sign turned.
All logarithms are natural, and 0 log 0 is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
GROUPS = 1000  # clusters that are drawn; of more, these many groups at random, which vary as much
PIECE = 2_000_000  # cells of redrawn tables held at a time, 16 MB
ROUNDING = 1e-9  # what rounding may leave of a deviation that is zero


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval, which is None where there are fewer than two clusters."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Association:
    """How closely a column's D strata go with E emotions.

    cramers_v: 0 where they have nothing to do with each other, 1 where one says the other (see `cramers_v`).
    mutual_information: I(E; D). conditional_entropy: H(E|D) / H(E), 1 where the stratum says nothing, 0 where it says
    all. chi_square: Pearson's, of the rows. p: of the test (see `associate`), None with fewer than two clusters.
    """

    cramers_v: Estimate
    mutual_information: Estimate
    conditional_entropy: Estimate
    chi_square: float
    p: float | None


def phi_square(counts: np.ndarray) -> np.ndarray:
    """Pearson's chi-square of tables, [..., D, E] -> [...], divided by the number of rows."""
    rows = counts.sum(axis=(-2, -1), keepdims=True)
    expected = counts.sum(axis=-1, keepdims=True) * counts.sum(axis=-2, keepdims=True) / rows
    each = (counts - expected) ** 2 / np.where(expected > 0, expected, 1)
    return each.sum(axis=(-2, -1)) / rows[..., 0, 0]


def cramers_v(counts: np.ndarray, rows: float | None = None) -> float:
    """Cramer's V of a table, [D, E], with the bias correction of Bergsma (J. Korean Stat. Soc. 42, 2013).

    V' = sqrt(phi'^2 / min(D' - 1, E' - 1)), phi'^2 = max(0, phi^2 - (D - 1)(E - 1) / (n - 1)), D' = D - (D - 1)^2 /
    (n - 1), E' likewise. Strata and emotions without any row do not count.

    rows: n, the number of independent rows; by default all rows of the table. Returns 0 for a single stratum or
    emotion.
    """
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    d, e = counts.shape
    others = (float(counts.sum()) if rows is None else rows) - 1
    least = min(each - (each - 1) ** 2 / others for each in (d, e)) - 1 if others > 0 else 0.0
    if least <= 0:
        return 0.0
    phi = max(0.0, float(phi_square(counts)) - (d - 1) * (e - 1) / others)
    return min(1.0, math.sqrt(phi / least))


def mutual_information(counts: np.ndarray) -> np.ndarray:
    """I(E; D) of tables as they are, [..., D, E] -> [...], in nats."""
    rows = counts.sum(axis=(-2, -1))
    inner = _xlogx(counts).sum(axis=(-2, -1)) + _xlogx(rows)
    outer = _xlogx(counts.sum(axis=-1)).sum(axis=-1) + _xlogx(counts.sum(axis=-2)).sum(axis=-1)
    return np.maximum(inner - outer, 0) / rows


def entropy(counts: np.ndarray) -> np.ndarray:
    """H of distributions as they are, [..., E] -> [...], in nats."""
    rows = counts.sum(axis=-1)
    return (_xlogx(rows) - _xlogx(counts).sum(axis=-1)) / np.where(rows > 0, rows, 1)


def conditional_entropy(counts: np.ndarray) -> np.ndarray:
    """H(E|D) / H(E) of tables as they are, [..., D, E] -> [...]; 1 where there is a single emotion."""
    whole = entropy(counts.sum(axis=-2))
    return 1 - np.where(whole > 0, mutual_information(counts) / np.where(whole > 0, whole, 1), 0)


def presence_entropies(shown: np.ndarray, rows: np.ndarray, most: int = 200) -> tuple[int, float, float]:
    """CCIM's measure of the bias of one emotion (Figure 2): do its most frequent strata say whether it is there?

    Of the up to `most` strata that show the emotion most often, the entropy of "shows it or not" among each stratum's
    rows, divided by log 2: 0 where all its rows show the emotion. The paper's text leaves open how it is normalised.

    shown: [D], the rows of each stratum that show the emotion. rows: [D], all of them. Returns how many strata there
    are, the share of them whose entropy is zero, and the mean entropy.
    """
    order = np.argsort(-shown, kind="stable")[:most]
    order = order[shown[order] > 0]
    each = entropy(np.stack([shown, rows - shown], axis=1)[order]) / math.log(2)
    return len(order), float((each < ROUNDING).mean()), float(each.mean())


def _xlogx(x: np.ndarray) -> np.ndarray:
    return x * np.log(np.where(x > 0, x, 1))


# --------------------------------------------------------------------------------------------- clusters


def grouped(cluster: np.ndarray, seed: int = 0) -> np.ndarray:
    """Number clusters anew, [N] int: 0 .. C - 1, or where there are more than `GROUPS`, groups of them at random.

    The sums of such groups are as independent as those of the clusters, and say as much of how they vary, with
    `GROUPS` - 1 degrees of freedom; so drawing costs the same for a quarter of a million rows as for thousands.
    """
    names, number = np.unique(cluster, return_inverse=True)
    return number if len(names) <= GROUPS else (np.random.default_rng(seed).permutation(len(names)) % GROUPS)[number]


def tables(cluster: np.ndarray, stratum: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Count rows by cluster, stratum and emotion, [C, D, E] float64.

    cluster, stratum: [N] int from 0. shown: [N, E], 1 for each emotion of a row, which counts in each.
    """
    clusters, strata, emotions = int(cluster.max()) + 1, int(stratum.max()) + 1, shown.shape[1]
    row, emotion = np.nonzero(shown)
    cell = (cluster[row] * strata + stratum[row]) * emotions + emotion
    counted = np.bincount(cell, minlength=clusters * strata * emotions)
    return counted.reshape(clusters, strata, emotions).astype(float)


def draws(clusters: int, replicates: int, seed: int) -> np.ndarray:
    """How often each of C clusters comes up in C draws with replacement, [replicates, C]."""
    chosen = np.random.default_rng(seed).integers(clusters, size=(replicates, clusters))
    chosen += clusters * np.arange(replicates)[:, None]
    return np.bincount(chosen.ravel(), minlength=clusters * replicates).reshape(replicates, clusters).astype(float)


def _deviations(counts: np.ndarray) -> np.ndarray:
    """What each cluster adds to each cell beyond independence, [C, D * E]; the squared sums add up to chi-square.

    A row in stratum d with emotion e adds (1 - p_d)(1 - p_e) to its cell, and likewise to the others, over
    sqrt(n p_d p_e).
    """
    total, rows = counts.sum(axis=0), counts.sum()
    d, e = total.sum(axis=1) / rows, total.sum(axis=0) / rows
    beyond = (
        counts
        - counts.sum(axis=2, keepdims=True) * e
        - d[:, None] * counts.sum(axis=1, keepdims=True)
        + counts.sum(axis=(1, 2))[:, None, None] * np.outer(d, e)
    )
    return (beyond / np.sqrt(rows * np.outer(d, e))).reshape(len(counts), -1)


def associate(counts: np.ndarray, replicates: int = 2000, seed: int = 0, independent: bool = False) -> Association:
    """Measure how closely strata go with emotions, how sure that is, and whether it is more than chance.

    **The test.** Without association, a cluster adds as much to a cell as it takes away, on average: its deviations
    (see `_deviations`) might as well have the other sign. The chi-square is compared with those of `replicates` tables
    in which every cluster has a sign at random; p is the share that is as large, the table itself included. This holds
    whether a cluster is a sequence with one emotion or a subject who shows several, in one stratum or in several,
    while a chi-square test on rows takes three frames of a sequence for three witnesses. C clusters give no p below
    2 / 2^C.

    **The intervals.** Clusters are drawn anew with replacement. All three measures are biased on few rows, upwards (the
    entropy downwards), and a redrawn table is so once more. So the estimate is 2 theta - mean(theta*), as always in
    the bootstrap, and the interval that estimate and Student's t times the replicates' standard deviation, cut off at
    the least and most that can be. Cramer's V is Bergsma's, with all rows for n where they are independent; else, with
    as many as his correction of phi^2, (D - 1)(E - 1) / (n - 1), needs to be the bias that the redrawn clusters show.
    Its interval is that of phi^2. Percentiles of the replicates, twice biased, miss a weak association nearly always
    (docs/audit.md has the coverage of both).

    Args:
        counts: [C, D, E], without empty strata and emotions; D and E are 2 or more.
        replicates: Tables that are drawn, for the test and for the intervals.
        seed: Decides the draws.
        independent: Whether clusters are single rows, as Bergsma takes them.
    """
    clusters, d, e = counts.shape
    total = counts.sum(axis=0)
    phi, chi = float(phi_square(total)), float(phi_square(total) * total.sum())
    if clusters < 2:
        information, left = Estimate(float(mutual_information(total))), Estimate(float(conditional_entropy(total)))
        return Association(Estimate(cramers_v(total)), information, left, chi, None)
    deviation = _deviations(counts)
    signs = np.random.default_rng(seed).integers(0, 2, (replicates, clusters)) * 2.0 - 1
    turned = np.concatenate([((part @ deviation) ** 2).sum(axis=1) for part in _parts(signs, d * e)])
    p = (1 + int((turned >= chi * (1 - ROUNDING) - ROUNDING).sum())) / (1 + replicates)

    weights, flat = draws(clusters, replicates, seed + 1), counts.reshape(clusters, -1)
    measured: list[list[np.ndarray]] = []
    for part in _parts(weights, d * e):
        drawn = (part @ flat).reshape(-1, d, e)
        measured.append([phi_square(drawn), mutual_information(drawn), conditional_entropy(drawn)])
    square, information, left = (np.concatenate(each) for each in zip(*measured, strict=True))
    bias, most = float(square.mean()) - phi, min(d, e) - 1
    rows = None if independent else 1 + (d - 1) * (e - 1) / max(bias, ROUNDING)
    between = _interval(phi, square, clusters, most)
    return Association(
        Estimate(cramers_v(total, rows), *(math.sqrt((end or 0.0) / most) for end in (between.low, between.high))),
        _interval(float(mutual_information(total)), information, clusters, math.log(most + 1)),
        _interval(float(conditional_entropy(total)), left, clusters, 1.0),
        chi,
        p,
    )


def _parts(weights: np.ndarray, cells: int) -> list[np.ndarray]:
    return np.array_split(weights, max(1, len(weights) * cells // PIECE))


def _interval(value: float, replicates: np.ndarray, clusters: int, most: float) -> Estimate:
    """The estimate without its bias, with its interval, between 0 and the most that can be."""
    from scipy import stats

    centre = 2 * value - float(replicates.mean())
    # C clusters drawn from C vary by (C - 1) / C of what C other clusters would
    error = float(replicates.std()) * math.sqrt(clusters / (clusters - 1))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, clusters - 1)) * error
    return Estimate(*(min(max(each, 0.0), most) for each in (centre, centre - reach, centre + reach)))
