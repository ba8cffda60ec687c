"""Intervals and paired tests for accuracies over several seeds, on images that come in sequences or of people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from emodo.manifest import sequence_key, subject_key
from emodo.records import InputError

Cluster = Literal["sequence", "subject", "image"]
LEVEL = 0.95
MOST_WEIGHTS = 20_000_000  # bootstrap weights held at a time, 160 MB
ROUNDING = 1e-12  # what rounding may leave of an accuracy that is zero


def student(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of the values, one a seed; None for fewer than two.

    Student's t: what another training from another seed would give, on these test images.
    """
    if len(values) < 2:
        return None
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return float(np.mean(values)) - reach, float(np.mean(values)) + reach


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """The values of all seeds, their mean and its interval: {mean, low, high, seeds}; no interval is None."""
    low, high = student(values) or (None, None)
    return {"mean": float(np.mean(values)), "low": low, "high": high, "seeds": list(values)}


def clusters(frame: pd.DataFrame, by: Cluster | None = None) -> tuple[Cluster, np.ndarray]:
    """Number the images that fail together, [N] int: those of a sequence, of a subject, or each for itself.

    frame: predictions or a manifest. by: by default the sequence where the column is there and filled anywhere, else
    the subject, else the image. Sequences and subjects are those of their source; an image that knows none is alone.

    Raises InputError where the column that `by` names is missing or empty.
    """
    known = [name for name in ("sequence", "subject") if name in frame and bool(frame.loc[:, name].notna().any())]
    chosen: Cluster = by or ("sequence" if "sequence" in known else "subject" if "subject" in known else "image")
    if chosen != "image" and chosen not in known:
        raise InputError(f"--cluster {chosen}: no test image has a {chosen}; choose another")
    keys = {"sequence": sequence_key, "subject": subject_key, "image": lambda frame: frame.loc[:, "path"]}
    return chosen, np.unique(keys[chosen](frame).to_numpy(str), return_inverse=True)[1]


@dataclass(frozen=True)
class Difference:
    """An accuracy minus the baseline's, from -1 to 1, with its 95 % interval and two-sided p value."""

    estimate: float
    low: float
    high: float
    p: float


def differences(
    right: Sequence[np.ndarray],
    baseline: int,
    cluster: np.ndarray,
    group: np.ndarray,
    groups: int,
    replicates: int = 10_000,
    seed: int = 0,
) -> list[list[Difference | None]]:
    """Compare every method with the baseline, on the same images: over all of them, then within each group.

    right: for each of M methods [S, N], whether each of its S seeds is right on each of N images; means of any other
    number of an image are compared in the same way. cluster: [N] int, images that fail together. group: [N] int, here
    the emotion, of `groups`. Returns [M][1 + groups]; None for the baseline itself and for a group with images of fewer
    than two clusters, which say nothing of other people.

    The question: by how much would the method's accuracy, averaged over trainings, differ from the baseline's on other
    people like these? Two things could have come out otherwise. The images: clusters are drawn anew with replacement,
    `replicates` times, each with all its images in all folds and seeds, and for all methods alike, which makes it a
    paired comparison of the accuracies averaged over seeds. The seeds: the variance of each method's mean over its S
    seeds is added; a method with one seed adds nothing, and its interval is about the images only. The interval is the
    estimate and the root of that variance times Student's t with Satterthwaite's degrees of freedom over clusters and
    seeds, and p is the same t read backwards. Percentiles of replicates that draw seeds too are too narrow where few
    seeds vary more than the people (docs/benchmark.md has the coverage of both). Chance on single images counts
    twice, between people and between seeds, so that the interval is too wide where trainings differ by little else.
    """
    order = np.argsort(cluster, kind="stable")
    starts = np.flatnonzero(np.diff(cluster[order], prepend=-1))
    member = np.stack([np.ones_like(group, bool), *(group == at for at in range(groups))])[:, order]  # [1 + groups, N]
    n = np.add.reduceat(member.astype(float), starts, axis=1)  # [1 + groups, C]
    hits = [
        np.stack([np.add.reduceat(each[:, order] * of, starts, axis=1, dtype=float) for of in member]) for each in right
    ]
    means = np.stack([each.mean(axis=1) for each in hits])  # [M, 1 + groups, C], averaged over seeds
    generator = np.random.default_rng(seed)
    chunk = max(1, MOST_WEIGHTS // len(starts))
    replicated: list[np.ndarray] = []
    for at in range(0, replicates, chunk):
        weights = _draws(generator, len(starts), min(chunk, replicates - at))
        with np.errstate(invalid="ignore"):  # a draw without any image of a group says nothing of it: NaN
            accuracy = (means @ weights.T) / (n @ weights.T)  # [M, 1 + groups, replicates]
        replicated.append(accuracy - accuracy[baseline])
    people = np.concatenate(replicated, axis=-1)

    def difference(method: int, part: int) -> Difference | None:
        of_part = int((n[part] > 0).sum())
        if method == baseline or of_part < 2:
            return None
        seeds = [hits[i][part].sum(axis=1) / n[part].sum() for i in (method, baseline)]
        return _difference(seeds, people[method, part], of_part)

    return [[difference(method, part) for part in range(1 + groups)] for method in range(len(right))]


def _draws(generator: np.random.Generator, clusters: int, size: int) -> np.ndarray:
    """How often each of C clusters comes up in C draws with replacement, [size, C]."""
    chosen = generator.integers(clusters, size=(size, clusters)) + clusters * np.arange(size)[:, None]
    return np.bincount(chosen.ravel(), minlength=clusters * size).reshape(size, clusters).astype(float)


def _difference(seeds: list[np.ndarray], people: np.ndarray, clusters: int) -> Difference:
    """Difference of two methods from their accuracies by seed and the replicates of the difference."""
    estimate = float(seeds[0].mean() - seeds[1].mean())
    # C clusters drawn from C vary by (C - 1) / C of what C other clusters would
    variances = [(float(np.nanvar(people, ddof=1)) * clusters / (clusters - 1), clusters - 1)]
    variances += [(float(of.var(ddof=1)) / len(of), len(of) - 1) for of in seeds if len(of) > 1]
    variances = [(variance, freedom) for variance, freedom in variances if variance > ROUNDING**2]
    if not variances:  # right and wrong on the same images with every seed
        return Difference(estimate, estimate, estimate, 1.0 if abs(estimate) < ROUNDING else 0.0)
    total = sum(variance for variance, _ in variances)
    freedom = total**2 / sum(variance**2 / freedom for variance, freedom in variances)
    error = total**0.5
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(estimate) / error, freedom))
    return Difference(estimate, estimate - reach, estimate + reach, p)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction of m p values: the smallest times m, the next times m - 1, never falling again.

    Holm, Scandinavian Journal of Statistics 6, 1979. An adjusted value below 0.05 holds for all of them together.
    """
    order = np.argsort(p, kind="stable")
    scaled = np.asarray(p, float)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return [float(value) for value in adjusted]


@dataclass(frozen=True)
class McNemar:
    """Images on which one of two methods alone is right, and the two-sided p that this is chance."""

    gained: int
    lost: int
    p: float


def mcnemar(right: np.ndarray, baseline: np.ndarray) -> McNemar:
    """McNemar's test on n images, [n] bool each, whether the method and the baseline are right.

    Of the images on which they differ, each is won by either with probability one half if there is no difference; p is
    the exact binomial one at any number. It takes every image for an independent observation. Frames of a sequence
    fail together, so that p is then too small: `differences` draws whole sequences, and is the one to believe.
    """
    gained, lost = int((right & ~baseline).sum()), int((~right & baseline).sum())
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return McNemar(gained, lost, p)


def combined(p: Sequence[float]) -> float:
    """One p of K tests of the same hypothesis, one a seed: the middle one, the k-th smallest, times K / k.

    It holds however the tests depend on one another, as those of several trainings on the same images do (Rueger,
    Metrika 25, 1978). For a single test it is its own p.
    """
    k = (len(p) + 1) // 2
    return min(1.0, sorted(p)[k - 1] * len(p) / k)
