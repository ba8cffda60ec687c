"""How far probabilities can be trusted: calibration, and what is gained by answering only where the method is sure.

Pure numbers of n test images. confidence: [n] float, the probability of the predicted emotion; right: [n] bool.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

BINS = 15
SMALLEST_BIN = 10  # images: in a bin of fewer, what is right is chance
LEVEL = 0.95


def brier(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Mean squared distance of the probabilities to the truth, summed over the emotions: 0 is best, 2 worst.

    probabilities: [n, E]. truth: [n] int, the place of the true emotion. It is Brier's own score (Monthly Weather
    Review 78, 1950); of two emotions it is twice the score of one of them. Always saying 1 / E has 1 - 1 / E.
    """
    distance = probabilities.copy()
    distance[np.arange(len(truth)), truth] -= 1
    return float((distance**2).sum(axis=1).mean())


def bins_of(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Number the images by bins of equal mass, [n] int: as many images in each as equal confidences allow.

    There are `bins` of them, and fewer where a bin would have fewer than 10 images. Images of equal confidence are in
    one bin, so that the order of the rows decides nothing.
    """
    n = len(confidence)
    wanted = max(1, min(bins, n // SMALLEST_BIN))
    ranked = np.sort(confidence)
    first = [ranked[at * n // wanted] for at in range(1, wanted)]  # the lowest confidence of each bin but the first
    return np.unique(np.searchsorted(first, confidence, side="right"), return_inverse=True)[1]


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> tuple[float, float]:
    """Expected calibration error over bins of equal mass, and what of it a calibrated method would have by chance.

    The error is the mean over images of |accuracy - mean confidence| of their bin. It cannot be below zero, so chance
    adds to it, more the fewer the images: a method whose every probability is true has, with b images in a bin,
    about sqrt(2 / pi) sqrt(c (1 - c) / b) there, which is the second number (normal approximation; images as if
    independent, so sequences have more). Compare errors of equal n, and take one near the second number for none.
    """
    number = bins_of(confidence, bins)
    gap = np.bincount(number, confidence - right)
    variance = np.bincount(number, confidence * (1 - confidence))
    n = len(confidence)
    return float(np.abs(gap).sum() / n), float(np.sqrt(2 / np.pi * variance).sum() / n)


def reliability(
    confidence: np.ndarray, right: np.ndarray, cluster: np.ndarray | None = None, bins: int = BINS
) -> list[dict[str, Any]]:
    """Points of the reliability curve, from the least to the most confident bin of equal mass.

    cluster: [n] int, images that fail together; by default each is alone. Returns {n, confidence, accuracy, low, high}
    of each bin. The interval is Wilson's (Journal of the American Statistical Association 22, 1927) for as many
    observations as the bin has clusters, uneven ones counting as Kish's (sum m)^2 / sum m^2: as if all images of a
    cluster were one, so that it is rather too wide.
    """
    number = bins_of(confidence, bins)
    alone = np.arange(len(confidence)) if cluster is None else cluster
    points: list[dict[str, Any]] = []
    for at in range(int(number.max()) + 1):
        inside = number == at
        sizes = np.unique(alone[inside], return_counts=True)[1].astype(float)
        accuracy = float(right[inside].mean())
        low, high = wilson(accuracy, float(sizes.sum() ** 2 / (sizes**2).sum()))
        mean = float(confidence[inside].mean())
        points.append({"n": int(inside.sum()), "confidence": mean, "accuracy": accuracy, "low": low, "high": high})
    return points


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share among n observations."""
    z2 = float(stats.norm.ppf((1 + LEVEL) / 2)) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = (z2 * (share * (1 - share) / n + z2 / (4 * n**2))) ** 0.5 / (1 + z2 / n)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def risks(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The share of wrong answers among the k most confident images, [n], for k = 1 .. n.

    Where several are equally confident, their order is not decided: each counts with the errors of all of them in
    mean, as it is over all orders.
    """
    _, tied = np.unique(-confidence, return_inverse=True)  # 0 is the most confident
    size = np.bincount(tied)
    errors = np.bincount(tied, ~right) / size
    return np.cumsum(np.repeat(errors, size)) / np.arange(1, len(right) + 1)


def coverage_area(confidence: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Area under the risk-coverage curve (AURC): the mean of `risks`; and what of it is the order's fault (excess).

    The least area at this accuracy has every right answer before every wrong one; the excess is the area above it, and
    0 where confidence tells right from wrong without exception. AURC compares methods that answer, the excess their
    confidences (Geifman, Uziel, El-Yaniv, ICLR 2019).
    """
    area = float(risks(confidence, right).mean())
    hits = int(right.sum())
    covered = np.arange(hits + 1, len(right) + 1)
    return area, area - float(((covered - hits) / covered).sum()) / len(right)
