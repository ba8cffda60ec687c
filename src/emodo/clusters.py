"""Strata from features or from a reference's logits, where nobody has named them; arrays in, arrays out."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
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
IN_MEMORY = 20_000  # rows of features up to which they are held, and k-means is exact
PIECE = 4096  # rows of a streamed table in memory at a time
MINIBATCH: dict[str, Any] = {"init": "k-means++", "n_init": 3, "batch_size": 4096}
STARTS = 5  # of which the best goes on


class Streamed:
    """A table of features too large for memory, [N, D] float32, in an unnamed file that nothing can leave behind.

    Rows are appended in order, and read in pieces as often as needed. The file is read, not mapped: a mapped one counts
    as the process's memory as it is touched.
    """

    def __init__(self, folder: Path, width: int) -> None:
        """folder: where there is room for 4 N D bytes. width: D."""
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (open as long as the table is there)
        weakref.finalize(self, self.file.close)
        self.width, self.rows = width, 0
        self.scale: np.ndarray | None = None  # [D], what columns are multiplied by as they are read

    def __len__(self) -> int:
        """Number of rows."""
        return self.rows

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows, [n, D]."""
        self.file.write(np.ascontiguousarray(rows, np.float32).data)
        self.rows += len(rows)

    def pieces(self) -> Iterator[tuple[slice, np.ndarray]]:
        """The rows in order, `PIECE` at a time: which they are, and [n, D] float32."""
        for start in range(0, self.rows, PIECE):
            count = min(PIECE, self.rows - start)
            self.file.seek(4 * start * self.width)
            piece = np.frombuffer(bytearray(self.file.read(4 * count * self.width)), np.float32)
            piece = piece.reshape(count, self.width)
            yield slice(start, start + count), piece if self.scale is None else piece * self.scale


Table = np.ndarray | Streamed
"""Features of N images, [N, D] float32: in memory, or streamed."""


def pieces(table: Table) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows of a table in order; one in memory is one piece."""
    return table.pieces() if isinstance(table, Streamed) else iter([(slice(0, len(table)), table)])


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
    features: Table, train: np.ndarray, name: Path, clusters: int | None, components: int, seed: int
) -> Clusters:
    """k-means++ in principal components, fitted on the training rows; every row goes to its nearest center.

    A streamed table is read three times and never held: its principal components are exact, from the covariance of all
    training rows summed in float64, and only the components, [N, components], are kept, in which k-means starts with
    mini-batches (see `_in_batches`).

    features: [N, D] float32. train: [N] bool. name: what the messages call the manifest. clusters: their number, by
    default the one of 2 to 10 whose silhouette is largest. components: at most.

    Raises InputError where there are fewer training rows, or fewer that differ, than clusters.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    images = int(train.sum())
    check_number(name, images, clusters)
    check_number(name, _different(features, train, clusters or 3), clusters, "training images that differ")
    reduced, kept = _reduced(features, train, components, seed)  # [N, components] float64

    def partition(count: int, seed: int) -> KMeans:
        if isinstance(features, Streamed):
            return _in_batches(reduced[train], count, seed)
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
        kept,
        tuple(float(adjusted_rand_score(a, b)) for a, b in combinations(labels, 2)),
    )


def _different(features: Table, train: np.ndarray, enough: int) -> int:
    """How many of the training rows differ; of a streamed table no more than `enough` are counted."""
    if not isinstance(features, Streamed):
        return len(np.unique(features[train], axis=0))
    seen: set[bytes] = set()
    for rows, piece in features.pieces():
        for row in piece[train[rows]]:
            seen.add(row.tobytes())
            if len(seen) == enough:
                return enough
    return len(seen)


def _reduced(features: Table, train: np.ndarray, components: int, seed: int) -> tuple[np.ndarray, float]:
    """The first principal components of the training rows, of every row, and the share of the variance they hold."""
    from scipy.linalg import eigh
    from sklearn.decomposition import PCA

    images, width = int(train.sum()), features.width if isinstance(features, Streamed) else features.shape[1]
    components = min(components, images, width)
    if not isinstance(features, Streamed):
        reduction = PCA(components, random_state=seed).fit(features[train])
        return reduction.transform(features).astype(np.float64), float(reduction.explained_variance_ratio_.sum())
    total, products, origin = np.zeros(width), np.zeros((width, width)), _origin(features, train)
    for rows, piece in features.pieces():
        own = piece[train[rows]] - origin
        total += own.sum(axis=0)
        products += own.T @ own
    mean = total / images
    products -= images * np.outer(mean, mean)
    variances, axes = eigh(products, subset_by_index=[width - components, width - 1])  # the smallest first
    reduced = np.empty((len(features), components))
    for rows, piece in features.pieces():
        reduced[rows] = (piece - (origin + mean)) @ axes[:, ::-1]
    return reduced, float(variances.sum() / np.trace(products))


def _in_batches(reduced: np.ndarray, count: int, seed: int) -> KMeans:
    """k-means++ by mini-batches (Sculley 2010), `STARTS` times, and from the best of these ends over all rows.

    Mini-batches alone end short of an optimum, and each seed elsewhere. reduced: [n, components].
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    random = np.random.RandomState(seed)
    ends = [MiniBatchKMeans(count, random_state=random, **MINIBATCH).fit(reduced) for _ in range(STARTS)]
    best = min(ends, key=lambda end: end.inertia_)
    last: dict[str, Any] = {"init": best.cluster_centers_, "n_init": 1}
    return KMeans(count, **last).fit(reduced)


def _origin(table: Streamed, train: np.ndarray) -> np.ndarray:
    """The first training row, [D] float64: sums of squares about it lose few digits, and none where all are equal."""
    first = next(piece[train[rows]][0] for rows, piece in table.pieces() if train[rows].any())
    return first.astype(np.float64)


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


def standardise(table: Streamed, widths: list[int], train: np.ndarray) -> None:
    """The same for a streamed table of blocks so wide: its scale is set; its mean stays, as clusters do not see it."""
    total, squares, origin = np.zeros(table.width), np.zeros(table.width), _origin(table, train)
    for rows, piece in table.pieces():
        own = piece[train[rows]] - origin
        total += own.sum(axis=0)
        squares += (own**2).sum(axis=0)
    deviation = np.sqrt(np.maximum(squares / train.sum() - (total / train.sum()) ** 2, 0))
    width = np.repeat(np.sqrt(widths), widths)
    table.scale = (1 / (np.where(deviation > 0, deviation, 1) * width)).astype(np.float32)


def prototypes(features: Table, names: np.ndarray, how: str, provenance: dict[str, str] | None = None) -> Confounder:
    """CCIM's dictionary (CVPR 2023): z_i the mean of cluster i in the original feature space, P(z_i) = N_i / N.

    features: [N, D], before any reduction. names: [N], None where a row does not count. how: a sentence for the
    confounder file. provenance: what it was made from, likewise.
    """
    import torch

    known = np.array([name is not None for name in names])
    found, counts = np.unique(names[known].astype(str), return_counts=True)
    means = np.zeros((len(found), features.width if isinstance(features, Streamed) else features.shape[1]))
    for rows, piece in pieces(features):
        for i, name in enumerate(found):
            means[i] += piece[names[rows] == name].sum(axis=0, dtype=np.float64)
    prior = tuple((counts / counts.sum()).tolist())
    table = torch.from_numpy(means / counts[:, None]).float()
    return Confounder("stratum", tuple(found.tolist()), prior, table, how, provenance or {})


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
