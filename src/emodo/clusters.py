"""Strata from features or from a reference's logits, where nobody has named them; arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emodo.records import Confounder, InputError

if TYPE_CHECKING:  # scikit-learn takes a second to import
    from sklearn.cluster import KMeans

MOST = 10  # clusters that are tried where no number is given
SAMPLE = 5000  # images over which the silhouette is averaged: it compares every two of them
KMEANS: dict[str, Any] = {"init": "k-means++", "n_init": 10}  # of ten starts the best
SEEDS = 3  # partitions that are compared for their stability


@dataclass(frozen=True)
class Clusters:
    """Which cluster each row is in, and what speaks for it.

    names: [N] text, `cluster1` the largest. silhouettes: by number of clusters, where several were tried. components,
    kept: the principal components, and the share of the variance they hold. agreement: adjusted Rand index of every
    two of the partitions from several seeds, over the training rows.
    """

    names: np.ndarray
    silhouettes: dict[int, float]
    components: int
    kept: float
    agreement: tuple[float, ...]


def cluster(
    features: np.ndarray, train: np.ndarray, name: Path, clusters: int | None, components: int, seed: int
) -> Clusters:
    """k-means++ in principal components, fitted on the training rows; every row goes to its nearest center.

    features: [N, D] float32. train: [N] bool. name: what the messages call the manifest. clusters: their number, by
    default the one of 2 to 10 whose silhouette is largest. components: at most.

    Raises InputError where there are fewer training rows, or fewer that differ, than clusters.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.metrics import adjusted_rand_score

    images = int(train.sum())
    check_number(name, images, clusters)
    check_number(name, len(np.unique(features[train], axis=0)), clusters, "training images that differ")
    reduction = PCA(min(components, images, features.shape[1]), random_state=seed).fit(features[train])
    reduced = reduction.transform(features).astype(np.float64)  # [N, components]

    def partition(count: int, seed: int) -> KMeans:
        return KMeans(count, random_state=seed, **KMEANS).fit(reduced[train])

    silhouettes: dict[int, float] = {}
    if clusters is None:
        silhouettes = _silhouettes(reduced[train], partition, seed)
        clusters = max(silhouettes, key=lambda count: silhouettes[count])
    found = [partition(clusters, seed + i) for i in range(SEEDS)]
    labels: list[np.ndarray] = [np.asarray(model.labels_) for model in found]
    rank = np.empty(clusters, int)
    rank[np.argsort(-np.bincount(labels[0], minlength=clusters), kind="stable")] = np.arange(1, clusters + 1)
    digits = len(str(clusters))  # so that the alphabet counts as the numbers do
    return Clusters(
        np.array([f"cluster{number:0{digits}}" for number in rank[found[0].predict(reduced)]], object),
        silhouettes,
        reduced.shape[1],
        float(reduction.explained_variance_ratio_.sum()),
        tuple(float(adjusted_rand_score(a, b)) for a, b in combinations(labels, 2)),
    )


def check_number(name: Path, images: int, clusters: int | None, what: str = "training images") -> None:
    """Raise InputError where there are fewer `images` than clusters."""
    least = clusters or 3  # with two there is no choice of a number
    if images < least:
        raise InputError(
            f"{name} has {images} {what}, fewer than {least} clusters: "
            + ("ask for fewer with --clusters" if clusters else "they are too few to find any")
        )


def _silhouettes(reduced: np.ndarray, partition: Any, seed: int) -> dict[int, float]:
    from sklearn.metrics import silhouette_score

    different = len(np.unique(reduced, axis=0))
    sample = min(SAMPLE, len(reduced))
    return {
        count: float(silhouette_score(reduced, partition(count, seed).labels_, sample_size=sample, random_state=seed))
        for count in range(2, min(MOST, different - 1) + 1)
    }


def standardised(blocks: list[np.ndarray], train: np.ndarray) -> np.ndarray:
    """Blocks of features, [N, D_i], as one table: columns of unit variance in training, blocks of unit weight.

    Without it the wider block, or the column with the largest numbers, would decide alone.
    """
    parts: list[np.ndarray] = []
    for block in blocks:
        scale = block[train].std(axis=0)
        part = block - block[train].mean(axis=0)
        part /= np.where(scale > 0, scale, 1) * np.sqrt(block.shape[1], dtype=np.float32)
        parts.append(part)
    return np.concatenate(parts, axis=1)


def prototypes(features: np.ndarray, names: np.ndarray, how: str) -> Confounder:
    """CCIM's dictionary (CVPR 2023): z_i the mean of cluster i in the original feature space, P(z_i) = N_i / N.

    features: [N, D], before any reduction. names: [N]. how: a sentence for the confounder file.
    """
    import torch

    found, counts = np.unique(names, return_counts=True)
    means = np.stack([features[names == name].mean(axis=0, dtype=np.float64) for name in found])
    prior = tuple((counts / counts.sum()).tolist())
    return Confounder("stratum", tuple(found.tolist()), prior, torch.from_numpy(means).float(), how)


def environments(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """EIIL's two environments (Creager et al., ICML 2021): mark the rows of the second, [N] bool.

    EIIL seeks the q in [0, 1]^N that maximises the IRM penalty of a fixed reference, summed over two environments:

        (1/N sum_i q_i g_i)^2 + (1/N sum_i (1 - q_i) g_i)^2,  g_i = d/dw loss(w logits_i, y_i) at w = 1

    The release climbs it with Adam and thresholds q at 1/2. The penalty is convex in sum_i q_i g_i, so it is largest
    at the ends of that sum's range, and both ends are one partition, by the sign of g_i. It is taken directly: exact,
    and the same for every seed. The second environment has g_i > 0, where more confidence would cost. For two emotions
    with opposite logits these are the mistakes, as in JTT.

    logits: [N, E]. labels: [N], indices of the emotions.
    """
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = (powers * logits).sum(axis=1) / powers.sum(axis=1)  # g_i = E_p[logit] - logit of the true emotion
    return expected > np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
