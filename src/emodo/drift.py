"""How far the values of one set of images lie from those of another, whether that is chance, and what mix explains it.

All from counts, so that a window of any number of images is one small table. Images that come in clusters (frames of a
sequence) count as fewer: both sets are divided by their design effect, as Rao and Scott do (JASA 76, 1981).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from emodo.statistics import LEVEL

EXPECTED = 5.0  # images that a value must have in mean before chi-square is believed (Cochran, 1954)
STEPS, SETTLED = 500, 1e-6  # of expectation and maximisation: at most, and the change that ends them


@dataclass(frozen=True)
class Sample:
    """How often each of C values was seen, [C], in how many clusters.

    design: the variances of the shares by clusters over those by images. Where every image is taken for itself,
    clusters is None, and design 1.
    """

    counts: np.ndarray
    clusters: int | None = None
    design: float = 1.0

    @property
    def n(self) -> int:
        """Number of images."""
        return int(self.counts.sum())

    @property
    def shares(self) -> np.ndarray:
        """The share of each value, [C]; zeros where there is no image."""
        return self.counts / max(self.n, 1)

    @property
    def worth(self) -> float:
        """As how many independent images it counts."""
        return self.n / self.design


def clustered(table: np.ndarray) -> Sample:
    """The sample of G clusters, table: [G, C] images of each value; clusters without an image do not count.

    The design effect is the sum of the shares' variances by clusters over that by images. Below 1 it is taken for 1.
    """
    table = table[table.sum(axis=1) > 0].astype(float)
    counts, groups = table.sum(axis=0), len(table)
    n = max(counts.sum(), 1.0)
    p = counts / n
    by_images = float((p * (1 - p)).sum()) / n
    design = 1.0
    if groups > 1 and by_images > 0:
        left = table - table.sum(axis=1, keepdims=True) * p
        design = max(1.0, float((left**2).sum()) * groups / (groups - 1) / n**2 / by_images)
    return Sample(counts.astype(int), groups, design)


@dataclass(frozen=True)
class Distance:
    """The total variation of two samples' shares, 0 to 1; what it would be by chance; the p of no difference."""

    tv: float
    by_chance: float
    p: float


def distance(reference: Sample, window: Sample) -> Distance | None:
    """Compare the shares of two samples of the same C values; None where there are too few images to tell anything.

    tv: half the sum of the absolute differences: the share of the window's images whose value would have to change.
    by_chance: its mean for two samples as large as these of one population, which is never zero.
    p: Pearson's chi-square of homogeneity on effective counts (Rao and Scott's first correction), by an F distribution
    whose second degrees of freedom are those of the design effects (Satterthwaite). Values that would have fewer than
    5 images in the smaller sample are joined before.
    """
    if min(reference.n, window.n) == 0 or 1 in (reference.clusters, window.clusters):
        return None
    worth = np.array([reference.worth, window.worth])
    both = np.stack([reference.shares, window.shares])  # [2, C]
    pooled = worth @ both / worth.sum()
    spread = float((1 / worth).sum())
    tv = float(np.abs(both[1] - both[0]).sum() / 2)
    by_chance = float(np.sqrt(2 / np.pi * pooled * (1 - pooled) * spread).sum() / 2)
    cells = _joined(np.vstack([both, pooled]), float(worth.min()))
    if cells.shape[1] < 2:
        # One value has all images, or all but a few: a difference too small to be seen, or too few images to see one.
        return Distance(tv, by_chance, 1.0) if worth.min() >= 2 * EXPECTED else None
    freedom = cells.shape[1] - 1
    chi2 = float(((cells[1] - cells[0]) ** 2 / cells[2]).sum() / spread)
    known = [
        (part, sample.clusters - 1)
        for part, sample in zip(1 / worth, (reference, window), strict=True)
        if sample.clusters is not None
    ]
    if not known:
        return Distance(tv, by_chance, float(stats.chi2.sf(chi2, freedom)))
    second = spread**2 / sum(part**2 / of for part, of in known)
    return Distance(tv, by_chance, float(stats.f.sf(chi2 / freedom, freedom, second)))


def _joined(shares: np.ndarray, worth: float) -> np.ndarray:
    """The columns, [3, C], the last row pooled, with those that are too rare joined; they take in the rarest other."""
    shares = shares[:, shares[-1] > 0]
    order = np.argsort(shares[-1], kind="stable")
    shares = shares[:, order]
    rare = int((shares[-1] * worth < EXPECTED).sum())
    while 0 < rare < shares.shape[1] and shares[-1, :rare].sum() * worth < EXPECTED:
        rare += 1
    if not rare:
        return shares
    return np.concatenate([shares[:, :rare].sum(axis=1, keepdims=True), shares[:, rare:]], axis=1)


# --------------------------------------------------------------------------------------------- a mix


@dataclass(frozen=True)
class Share:
    """A share of a mix with its 95 % interval."""

    estimate: float
    low: float
    high: float


def mixture(told: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """The weights w, [..., K], under which the shares sum_s w_s confusion[s, k] make the told ones likeliest.

    Black-box shift estimation (Lipton et al., ICML 2018) by maximum likelihood, which stays within 0 and 1: expectation
    and maximisation from equal weights (Saerens et al., Neural Computation 14, 2002, with answers in place of
    probabilities). told: [..., K], how often each stratum was told. confusion: [..., K, K], P(told k | stratum s).
    """
    shares = told / told.sum(axis=-1, keepdims=True)
    weights = np.full(confusion.shape[:-1], 1 / confusion.shape[-2])
    for _ in range(STEPS):
        expected = (weights[..., None, :] @ confusion)[..., 0, :]  # [..., C]
        ratio = np.divide(shares, expected, out=np.zeros_like(expected), where=expected > 0)
        raised = weights * (confusion @ ratio[..., None])[..., 0]
        total = raised.sum(axis=-1, keepdims=True)
        before = weights
        weights = np.divide(raised, total, out=weights.copy(), where=total > 0)  # what no part can tell says nothing
        if np.abs(weights - before).max() < SETTLED:
            break
    return weights


def mix(told: Sample, by_stratum: Sequence[Sample], replicates: int = 400, seed: int = 0) -> list[Share]:
    """The share of each of K strata in a window, by what a classifier told of it and of rows of each stratum, [K].

    The intervals are of a parametric bootstrap of both: counts are drawn anew, as many as the samples are worth.
    """

    def confused(counts: Sequence[np.ndarray]) -> np.ndarray:
        """P(told | stratum), [..., K, K]; a half in every cell, so that none is impossible."""
        table = np.stack(counts, axis=-2) + 0.5
        return table / table.sum(axis=-1, keepdims=True)

    generator = np.random.default_rng(seed)
    estimate = mixture(told.counts.astype(float), confused([each.shares * each.worth for each in by_stratum]))

    def drawn(sample: Sample) -> np.ndarray:
        return generator.multinomial(max(1, round(sample.worth)), sample.shares, size=replicates)

    found = mixture(drawn(told).astype(float), confused([drawn(each) for each in by_stratum]))
    ends = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [
        Share(float(of), float(min(low, of)), float(max(high, of)))
        for of, low, high in zip(estimate, *ends, strict=True)
    ]
