"""Cheap repairs of a trained classifier from labelled images of the field; arrays in, arrays out.

Each is an affine change of the last linear layer, so that a repaired run is a run:

    prior        logits + log P_field(Y) - log P_train(Y), Saerens, Latinne, Decaestecker (Neural Computation 14, 2002,
                 Eq. 2.4)
    temperature  logits / T, Guo, Pleiss, Sun, Weinberger (ICML 2017, Eq. 9)
    dfr          a new layer on the same features, Kirichenko, Izmailov, Wilson (ICLR 2023)

and abstention leaves the logits as they are: no answer is given below a threshold of the largest probability.

Of N images: logits [N, E], features [N, D] before the last layer, truth [N] int, the place of the emotion, cell [N]
int, the (stratum x emotion) cell, cluster [N] int, images that fail together.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax

COLDEST, HOTTEST = 0.01, 100.0  # temperatures that are looked at
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01)  # c of DFR; the paper has these orders of magnitude, in smaller steps
INNER = 3  # folds in which c is chosen
SMALLEST_CELL = 5  # rows: a smaller cell weighs as if it had as many, so that no single image decides
ITERATIONS = 300


@dataclass(frozen=True)
class Affine:
    """logits * scale + shift; shift: [E]."""

    scale: float
    shift: np.ndarray

    def answer(self, logits: np.ndarray, features: np.ndarray | None) -> np.ndarray:
        """The repaired logits, [N, E]."""
        return logits * self.scale + self.shift

    def layer(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The last layer that gives them: weight [E, D] and bias [E], from the run's."""
        return weight * self.scale, bias * self.scale + self.shift


@dataclass(frozen=True)
class Layer:
    """A new last layer: weight [E, D], bias [E], and the c that was chosen for it."""

    weight: np.ndarray
    bias: np.ndarray
    c: float

    def answer(self, logits: np.ndarray, features: np.ndarray | None) -> np.ndarray:
        """The repaired logits, [N, E]."""
        assert features is not None
        return features @ self.weight.T + self.bias

    def layer(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Itself."""
        return self.weight, self.bias


Repair = Affine | Layer


# --------------------------------------------------------------------------------- prior, temperature


def shares(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """P(Y) from the number of images of each emotion, [E], one added to each (Laplace): none has probability 0."""
    added = np.asarray(counts, float) + 1
    return added / added.sum()


def prior_correction(trained: np.ndarray, field: np.ndarray) -> Affine:
    """From the P(Y) that the run was trained with to the field's, [E] each; what an image of an emotion looks like
    (P(X | Y)) is taken to be the same in both. The shift is centred, which changes no probability."""
    shift = np.log(field) - np.log(trained)
    return Affine(1.0, shift - shift.mean())


def temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """T, from 0.01 to 100, at which softmax(logits / T) has the least mean negative log likelihood.

    It is convex in 1 / T, so the one minimum is found. No answer changes.
    """
    found = minimize_scalar(
        lambda log: nll(logits / np.exp(log), truth).mean(),
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def nll(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The negative log likelihood of the true emotion, [N]."""
    return -log_softmax(logits, axis=1)[np.arange(len(truth)), truth]


# -------------------------------------------------------------------------------------------- DFR


def weights_of(cell: np.ndarray) -> np.ndarray:
    """What each row weighs, [N], one on average, so that all cells weigh the same.

    The paper draws subsets with as many rows of each cell as the smallest has, ten times, and averages. Of a few
    hundred images that leaves too few; weights use them all. A cell of fewer than 5 rows weighs as if it had 5.
    """
    weights = 1 / np.maximum(np.bincount(cell), SMALLEST_CELL)[cell]
    return weights / weights.mean()


def last_layer(
    features: np.ndarray, truth: np.ndarray, weights: np.ndarray, emotions: int, c: float, start: Layer | None = None
) -> Layer:
    """The logistic regression that is DFR's last layer, for the features as they are.

    Minimises, over standardised features, the weighted mean of the cross-entropy plus 1 / (c N) times the sum of the
    absolute weights; the bias is free. The penalty is smooth in the positive and the negative part of each weight,
    both kept above zero (L-BFGS-B). start: where to begin; the end does not depend on it.
    """
    n, width = features.shape
    center, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    x = (features - center) / spread
    size = emotions * width
    target = np.zeros((n, emotions))
    target[np.arange(n), truth] = 1
    share = weights[:, None] / weights.sum()

    def objective(at: np.ndarray) -> tuple[float, np.ndarray]:
        weight = (at[:size] - at[size : 2 * size]).reshape(emotions, width)
        log_p = log_softmax(x @ weight.T + at[2 * size :], axis=1)
        slope = share * (np.exp(log_p) - target)  # [N, E]
        by_weight = (slope.T @ x).ravel()
        penalty = at[: 2 * size].sum() / (c * n)
        gradient = np.concatenate([by_weight + 1 / (c * n), 1 / (c * n) - by_weight, slope.sum(axis=0)])
        return float(-(share * target * log_p).sum() + penalty), gradient

    first = np.zeros(2 * size + emotions)
    if start is not None:
        at = (start.weight * spread).ravel()
        first = np.concatenate([np.maximum(at, 0), np.maximum(-at, 0), start.bias + start.weight @ center])
    found = minimize(
        objective,
        first,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * (2 * size) + [(None, None)] * emotions,
        options={"maxiter": ITERATIONS, "ftol": 1e-10, "gtol": 1e-7},
    )
    weight = (found.x[:size] - found.x[size : 2 * size]).reshape(emotions, width) / spread
    return Layer(weight, found.x[2 * size :] - weight @ center, c)


def dfr(
    features: np.ndarray, truth: np.ndarray, cell: np.ndarray, cluster: np.ndarray, emotions: int, seed: int
) -> Layer:
    """A new last layer on balanced cells, its c the one of `PENALTIES` with the least balanced negative log likelihood
    in three folds of these rows (the paper chooses by the worst cell's accuracy, which of few images is mostly chance).
    """
    weights, fold = weights_of(cell), folds(truth, cluster, INNER, seed)
    lost = dict.fromkeys(reversed(PENALTIES), 0.0)  # the most sparing first
    for at in range(INNER):
        train, test = fold != at, fold == at
        layer = None
        for c in lost:
            layer = last_layer(features[train], truth[train], weights[train], emotions, c, layer)
            lost[c] += float(weights[test] @ nll(layer.answer(np.empty(0), features[test]), truth[test]))
    return last_layer(features, truth, weights, emotions, min(lost, key=lambda c: lost[c]))


def folds(truth: np.ndarray, cluster: np.ndarray, number: int, seed: int) -> np.ndarray:
    """The fold of each row, [N] int: a cluster is in one, and emotions are spread as evenly as that allows."""
    from sklearn.model_selection import StratifiedGroupKFold

    fold = np.empty(len(truth), int)
    split = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # an emotion of fewer rows than folds
        for at, (_, test) in enumerate(split.split(np.zeros(len(truth)), truth, cluster)):
            fold[test] = at
    return fold


# -------------------------------------------------------------------------------------- abstention


def threshold_for_coverage(confidence: np.ndarray, coverage: float) -> float:
    """The highest threshold at which at least this share is answered; confidence: [N], the largest probability."""
    answered = max(1, int(np.ceil(coverage * len(confidence) - 1e-9)))
    return float(np.sort(confidence)[-answered])


def threshold_for_risk(confidence: np.ndarray, right: np.ndarray, risk: float) -> float | None:
    """The lowest threshold at which no larger share than `risk` of the answered is wrong; None where there is none."""
    ranked = np.unique(confidence)
    wrong = np.bincount(np.searchsorted(ranked, confidence), ~right, minlength=len(ranked))
    n = np.bincount(np.searchsorted(ranked, confidence), minlength=len(ranked))
    risks = np.cumsum(wrong[::-1])[::-1] / np.cumsum(n[::-1])[::-1]  # of all that are as confident or more
    good = np.flatnonzero(risks <= risk)
    return float(ranked[good[0]]) if len(good) else None
