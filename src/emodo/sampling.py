"""The order in which training images are seen: pure functions of (seed, epoch), so that any epoch can be repeated."""

from __future__ import annotations

import numpy as np


def shuffled(rows: int, seed: int, epoch: int) -> np.ndarray:
    """Every image once, in an order of its own for each (seed, epoch). Returns [rows] int64."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def balanced(cells: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """As many images as there are, drawn equally from every cell (IERN, Section 4.1: re-sampling).

    cells: [rows] int64, the (stratum x emotion) cell of each image, numbered from 0 without gaps. A cell's
    images are all used before one of them is repeated. Returns [rows] int64.
    """
    random = np.random.default_rng([seed, epoch])
    members = [np.flatnonzero(cells == cell) for cell in range(cells.max() + 1)]
    quota = -(-len(cells) // len(members))
    drawn = [np.concatenate([random.permutation(m) for _ in range(-(-quota // len(m)))])[:quota] for m in members]
    return random.permutation(np.concatenate(drawn))[: len(cells)]


def shard(order: np.ndarray, batch: int, rank: int, ranks: int) -> np.ndarray:
    """The part of `order` that process `rank` of `ranks` sees: whole batches, as many in every process.

    An incomplete last batch is left out, as BatchNorm cannot normalise a batch of one; a data set smaller than
    one batch is one batch.
    """
    own = order[rank::ranks][: len(order) // ranks]
    return own if len(own) < batch else own[: len(own) // batch * batch]
