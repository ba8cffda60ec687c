"""What a repair changes, on images that it has not seen: cross-validation, and intervals of the changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import softmax

from emodo import calibration, repairs
from emodo.leaning import within
from emodo.repairs import Repair
from emodo.statistics import LEVEL, ROUNDING

FOLDS = 5
COUNTED = 10  # images: a smaller cell is not looked at when the worst is sought
CHUNK = 2_000_000  # bootstrap weights held at a time
MEASURES = ("accuracy", "macro_accuracy", "worst_cell", "nll", "ece", "brier")
RISING = ("accuracy", "macro_accuracy", "worst_cell")  # of the others, less is better


@dataclass(frozen=True)
class Labelled:
    """N labelled images of the field as a run sees them.

    logits: [N, E]. features: [N, D], what its last linear layer is given, where it has one. truth: [N] int, place of
    the emotion. stratum: [N] int, from 0; all 0 where none is known. cluster: [N] int, from 0.
    """

    logits: np.ndarray
    features: np.ndarray | None
    truth: np.ndarray
    stratum: np.ndarray
    cluster: np.ndarray

    @property
    def emotions(self) -> int:
        """E."""
        return self.logits.shape[1]

    @property
    def counts(self) -> np.ndarray:
        """Images of each emotion, [E]."""
        return np.bincount(self.truth, minlength=self.emotions)

    @property
    def cell(self) -> np.ndarray:
        """The (stratum x emotion) cell of each image, [N]."""
        return self.stratum * self.emotions + self.truth

    def part(self, rows: np.ndarray) -> Labelled:
        """Some of the images; rows: [N] bool."""
        features = None if self.features is None else self.features[rows]
        return Labelled(self.logits[rows], features, self.truth[rows], self.stratum[rows], self.cluster[rows])


def fit(name: str, images: Labelled, trained: np.ndarray | None, seed: int) -> Repair:
    """The repair of that name (`prior`, `temperature`, `dfr`) from these images. trained: [E], P(Y) in training."""
    if name == "prior":
        assert trained is not None
        return repairs.prior_correction(trained, repairs.shares(images.counts))
    if name == "temperature":
        found = repairs.temperature(images.logits, images.truth)
        return repairs.Affine(1 / found, np.zeros(images.emotions))
    assert images.features is not None
    return repairs.dfr(images.features, images.truth, images.cell, images.cluster, images.emotions, seed)


def held_out(name: str, images: Labelled, fold: np.ndarray, trained: np.ndarray | None, seed: int) -> np.ndarray:
    """Logits, [N, E], of every image by the repair that was fitted on the other folds. fold: [N] int."""
    found = np.empty_like(images.logits, float)
    for at in np.unique(fold):
        test = fold == at
        repair, part = fit(name, images.part(~test), trained, seed), images.part(test)
        found[test] = repair.answer(part.logits, part.features)
    return found


# ---------------------------------------------------------------------------------------- measures


@dataclass(frozen=True)
class _Sums:
    """What the measures are made of, summed by cluster, [C, Q], the parts of Q side by side."""

    table: np.ndarray
    emotions: int
    cells: int

    def measures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Every measure of `MEASURES`, [R], where clusters count as often as `weights`, [R, C], says."""
        edges = np.cumsum([4, self.emotions, self.emotions, self.cells, self.cells])
        whole, n, right, cell_n, cell_right, gap = np.split(weights @ self.table, edges, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            recalls = right / n  # NaN where a draw holds no image of the emotion
            cells = np.where(cell_n > 0, cell_right / cell_n, np.inf)
            images = whole[:, 0]
            return {
                "accuracy": whole[:, 1] / images,
                "macro_accuracy": np.nanmean(recalls, axis=1),
                "worst_cell": cells.min(axis=1) if self.cells else np.full(len(weights), np.nan),
                "nll": whole[:, 2] / images,
                "ece": np.abs(gap).sum(axis=1) / images,
                "brier": whole[:, 3] / images,
            }


def _summed(logits: np.ndarray, images: Labelled) -> _Sums:
    truth, emotions, rows = images.truth, images.emotions, np.arange(len(images.truth))
    p = softmax(logits, axis=1)
    right = (logits.argmax(axis=1) == truth).astype(float)
    of_emotion = np.eye(emotions)[truth]
    counted = [cell for cell, n in enumerate(np.bincount(images.cell)) if n >= COUNTED]
    of_cell = (images.cell[:, None] == np.array(counted, int)).astype(float)
    distance = p.copy()
    distance[rows, truth] -= 1
    bins = calibration.bins_of(p.max(axis=1))
    of_bin = np.eye(int(bins.max()) + 1)[bins] * (p.max(axis=1) - right)[:, None]
    each = np.column_stack([np.ones(len(rows)), right, repairs.nll(logits, truth), (distance**2).sum(axis=1)])
    parts = (each, of_emotion, of_emotion * right[:, None], of_cell, of_cell * right[:, None], of_bin)
    return _Sums(_by_cluster(np.hstack(parts), images.cluster), emotions, len(counted))


def _by_cluster(values: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Sums of the rows of each cluster, [C, Q]."""
    order = np.argsort(cluster, kind="stable")
    return np.add.reduceat(values[order], np.flatnonzero(np.diff(cluster[order], prepend=-1)), axis=0)


def _draws(clusters: int, replicates: int, seed: int) -> list[np.ndarray]:
    """How often each cluster comes up, [R, C], in pieces."""
    generator = np.random.default_rng(seed)
    chunk = max(1, CHUNK // clusters)
    return [
        generator.multinomial(clusters, np.full(clusters, 1 / clusters), min(chunk, replicates - at)).astype(float)
        for at in range(0, replicates, chunk)
    ]


def _difference(estimate: float, drawn: np.ndarray, clusters: int) -> dict[str, float]:
    """{estimate, low, high, p}: Student's t over clusters, as `emodo.statistics.differences` has it."""
    variance = float(np.nanvar(drawn, ddof=1)) * clusters / (clusters - 1)
    if variance < ROUNDING**2:
        p = 1.0 if abs(estimate) < ROUNDING else 0.0
        return {"estimate": estimate, "low": estimate, "high": estimate, "p": p}
    reach = float(stats.t.ppf((1 + LEVEL) / 2, clusters - 1)) * variance**0.5
    p = float(2 * stats.t.sf(abs(estimate) / variance**0.5, clusters - 1))
    return {"estimate": estimate, "low": estimate - reach, "high": estimate + reach, "p": p}


def compare(
    images: Labelled, repaired: Mapping[str, np.ndarray], replicates: int, seed: int
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """The run as it is, and what each repair makes of it and changes, on the same images.

    repaired: held-out logits, [N, E], by name. Returns {measure: {estimate, low, high}} of the run; the same measures
    of each repair; and the change by each, {measure: {estimate, low, high, p}}. `worst_cell` is None where no cell has
    10 images. Intervals are of 95 %: whole clusters are drawn, alike for all, and the measures' deviation over the
    draws is taken times Student's t. They are of the repairs as they were fitted here.
    """
    unchanged = _summed(images.logits, images)
    clusters = len(unchanged.table)
    sums = {name: _summed(logits, images) for name, logits in repaired.items()}
    every = np.ones((1, clusters))
    draws = _draws(clusters, replicates, seed)

    def of(each: _Sums) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        drawn = [each.measures(weights) for weights in draws]
        whole = {measure: float(value[0]) for measure, value in each.measures(every).items()}
        return whole, {measure: np.concatenate([part[measure] for part in drawn]) for measure in MEASURES}

    before, before_drawn = of(unchanged)
    levels: dict[str, dict[str, Any]] = {}
    changes: dict[str, dict[str, Any]] = {}
    for name, each in sums.items():
        after, after_drawn = of(each)
        levels[name] = _levels(after, after_drawn, clusters)
        changes[name] = {
            measure: None
            if np.isnan(before[measure])
            else _difference(after[measure] - before[measure], after_drawn[measure] - before_drawn[measure], clusters)
            for measure in MEASURES
        }
    return _levels(before, before_drawn, clusters), levels, changes


def _levels(whole: Mapping[str, float], drawn: Mapping[str, np.ndarray], clusters: int) -> dict[str, Any]:
    return {
        measure: None if np.isnan(whole[measure]) else _level(measure, whole[measure], drawn[measure], clusters)
        for measure in MEASURES
    }


def _level(measure: str, value: float, drawn: np.ndarray, clusters: int) -> dict[str, float]:
    finite = np.where(np.isfinite(drawn), drawn, np.nan)
    found = _difference(value, finite, clusters)
    low, high = found["low"], found["high"]
    if measure in RISING:
        low, high = within(value, high - value, clusters)
    return {"estimate": value, "low": max(0.0, low), "high": high}


# -------------------------------------------------------------------------------------- abstention


def abstain(
    logits: np.ndarray,
    images: Labelled,
    fold: np.ndarray,
    wanted: tuple[float | None, float | None],
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """A threshold of the largest probability, and what it gives on folds that it was not chosen on.

    logits: held out, [N, E], or the run's own. wanted: coverage and risk, one of them None. Returns

        threshold       of all images; None where no threshold has the wanted risk
        coverage, risk  {estimate, low, high}: the share that is answered, and the share of wrong answers among these,
                        each fold by the threshold of the others; risk is None where nothing is answered
        change          {estimate, low, high, p}: this risk less the risk of answering always; None likewise
        aurc, excess_aurc   area under the risk-coverage curve (`emodo.calibration.coverage_area`)
        curve           {coverage, risk}, each a list: the shares of wrong answers among the most confident

    (Of a repair, the other folds' logits come from fits that have seen this fold: one number is chosen by them.)
    """
    confidence = softmax(logits, axis=1).max(axis=1)
    right = logits.argmax(axis=1) == images.truth
    answered = np.zeros(len(right), bool)
    for at in np.unique(fold):
        limit = _threshold(confidence[fold != at], right[fold != at], wanted)
        answered |= (fold == at) & (confidence >= (np.inf if limit is None else limit))
    each = np.column_stack([np.ones(len(right)), ~right, answered, answered & ~right]).astype(float)
    sums = _by_cluster(each, images.cluster)
    clusters = len(sums)
    n, wrong, given, wrong_given = sums.sum(axis=0)
    drawn = np.concatenate([weights @ sums for weights in _draws(clusters, replicates, seed)])
    with np.errstate(invalid="ignore", divide="ignore"):
        risk, always = drawn[:, 3] / drawn[:, 2], drawn[:, 1] / drawn[:, 0]
    area, excess = calibration.coverage_area(confidence, right)
    risks = calibration.risks(confidence, right)
    places = np.unique(np.linspace(1, len(right), min(len(right), 100)).round().astype(int))
    found: dict[str, Any] = {
        "threshold": _threshold(confidence, right, wanted),
        "coverage": _share(given / n, drawn[:, 2] / drawn[:, 0], clusters),
        "risk": None,
        "change": None,
        "aurc": area,
        "excess_aurc": excess,
        "curve": {"coverage": (places / len(right)).tolist(), "risk": risks[places - 1].tolist()},
    }
    if given:
        found["risk"] = _share(wrong_given / given, risk, clusters)
        found["change"] = _difference(float(wrong_given / given - wrong / n), risk - always, clusters)
    return found


def _threshold(confidence: np.ndarray, right: np.ndarray, wanted: tuple[float | None, float | None]) -> float | None:
    coverage, risk = wanted
    if coverage is not None:
        return repairs.threshold_for_coverage(confidence, coverage)
    assert risk is not None
    return repairs.threshold_for_risk(confidence, right, risk)


def _share(value: float, drawn: np.ndarray, clusters: int) -> dict[str, float]:
    reach = _difference(float(value), drawn, clusters)["high"] - float(value)
    low, high = within(float(value), reach, clusters)
    return {"estimate": float(value), "low": low, "high": high}


def too_few(images: Labelled, emotions: Sequence[str]) -> str:
    """Why no new last layer can be fitted in folds of these images; empty where it can."""
    for at, emotion in enumerate(emotions):
        own = images.truth == at
        clusters = len(np.unique(images.cluster[own]))
        if own.sum() < 2 * FOLDS or clusters < FOLDS:
            of = f"{own.sum()} images of {emotion}" + (f", of {clusters} clusters" if own.any() else "")
            return f"{of}; each emotion that the run knows needs {2 * FOLDS}, of {FOLDS} clusters"
    return ""
