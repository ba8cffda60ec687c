"""Name That Dataset: how well a small classifier on frozen features tells a stratum from the image.

After Torralba and Efros (CVPR 2011), who named the data set of an image. The classifier is as small as it can be, a
linear discriminant: what it can tell, a network that learns can tell all the more.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as tv

from emodo import quality
from emodo.associations import LEVEL, draws, grouped
from emodo.data import check_images, look_at
from emodo.records import InputError, Reading

if TYPE_CHECKING:
    import pandas as pd


SIDE = 64  # of the square in which looks are measured, pixels
GRID = 4  # places in which the mean colour is taken, each way
WIDEST = 128  # features; of more, these many principal components
FOLDS = 5


def looks(frame: pd.DataFrame, reading: Reading) -> np.ndarray:
    """Colour and texture of every row's image, [N, 73] float64; each is decoded once, and none is kept.

    Means and spreads of the channels, of colourfulness and of two opponent colours; five quantiles of the brightness;
    the mean colour at 4 x 4 places; steepness across and down at 64, 32 and 16 pixels; blur and noise
    (`emodo.quality`). The person's box is seen where there is one, and all of it at 64 x 64 pixels.

    Raises InputError for an image that cannot be read.
    """
    from rich.console import Console
    from rich.progress import track

    check_images(frame, reading.manifest, reading.max_pixels)
    batches = look_at(frame, _look, reading.batch_size, reading.workers, reading.max_pixels, crop=True)
    count = math.ceil(len(frame) / reading.batch_size)
    shown = track(batches, "images", count, console=Console(stderr=True), disable=not sys.stderr.isatty())
    return torch.cat(list(shown)).double().numpy()


def _look(seen: dict[str, Tensor], _file: Path) -> Tensor:
    image = tv.resize(seen["images"], [SIDE, SIDE], antialias=True).float() / 255  # [3, 64, 64]
    red, green, blue = image
    chroma = image.amax(dim=0) - image.amin(dim=0)
    colours = torch.stack([red, green, blue, chroma, red - green, (red + green) / 2 - blue])
    luma = sum(weight * channel for weight, channel in zip(quality.LUMA, image, strict=True))
    assert isinstance(luma, Tensor)
    steep: list[Tensor] = []
    for shrink in (1, 2, 4):
        small = F.avg_pool2d(luma[None], shrink)[0]
        steep += [small.diff(dim=at).abs().mean() for at in (0, 1)]
    degraded = [measure(luma.numpy()) for measure in (quality.blur, quality.noise)]
    return torch.cat(
        [
            colours.mean(dim=(1, 2)),
            colours.std(dim=(1, 2)),
            luma.flatten().quantile(torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])),
            F.avg_pool2d(image, SIDE // GRID).flatten(),
            torch.stack(steep),
            torch.tensor(degraded).nan_to_num(0).float(),
        ]
    )


def backbone_features(
    frame: pd.DataFrame,
    reading: Reading,
    run: Path | None,
    backbone: str | None,
    pretrained: bool | str | Path | None,
    seed: int,
    folder: Path,
) -> np.ndarray:
    """What a backbone, or a run's, makes of each image, [N, F]: its style, as `emodo strata --by clusters` sees it.

    Raises InputError as `emodo.features.describe` does.
    """
    from emodo.features import describe

    every = np.ones(len(frame), bool)
    table, _ = describe(frame, every, reading, "style", "person", folder, run, backbone or "resnet50", pretrained, seed)
    if not isinstance(table, np.ndarray):
        raise InputError(f"{len(frame)} images are too many for the features of a backbone: lower --sample")
    return table


def narrowed(features: np.ndarray, seed: int) -> np.ndarray:
    """Features in columns of unit variance; of more than `WIDEST`, their first principal components."""
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 1e-9, spread, 1)
    if min(scaled.shape) <= WIDEST:
        return scaled
    from sklearn.decomposition import PCA

    return PCA(WIDEST, svd_solver="randomized", random_state=seed).fit_transform(scaled)


def tell(
    features: np.ndarray,
    stratum: np.ndarray,
    cluster: np.ndarray,
    strata: tuple[str, ...],
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any] | None:
    """How well the stratum is told from features of images of other clusters, or None where that cannot be known.

    A linear discriminant with a shrunk covariance (Ledoit and Wolf 2004) and every stratum equally likely, in up to
    `FOLDS` folds of whole clusters. Strata that are seen in one cluster alone cannot be both learned and tested, and
    are left out.

    features: [M, F]. stratum, cluster: [M] int. Returns `images`, `accuracy` (the mean of the strata's own, so that a
    large stratum counts no more than a small one), its 95 % interval over clusters `low`, `high`, `chance`, `strata`
    and `left_out` by name, and `confusion`, [K][K] images, true stratum by the one that was told.
    """
    apart = np.unique(np.stack([stratum, cluster]), axis=1)[0]
    known = np.bincount(apart, minlength=len(strata))  # clusters in which each is seen
    kept = np.flatnonzero(known > 1)
    if len(kept) < 2:
        return None
    rows = np.isin(stratum, kept)
    code, cluster = np.searchsorted(kept, stratum[rows]), np.unique(cluster[rows], return_inverse=True)[1]
    fold = _folds(code, cluster, min(FOLDS, int(known[kept].min())), seed)
    said = np.empty(len(code), int)
    for at in range(int(fold.max()) + 1):
        held = fold == at
        said[held] = _discriminate(features[rows][~held], code[~held], features[rows][held])
    k = len(kept)
    group = grouped(cluster, seed)
    shape = (int(group.max()) + 1, k)
    n, right = np.zeros(shape), np.zeros(shape)
    np.add.at(n, (group, code), 1)
    np.add.at(right, (group, code), said == code)
    weights = draws(len(n), replicates, seed)
    with np.errstate(invalid="ignore"):  # a draw without any image of a stratum says nothing of it
        each = np.nanmean((weights @ right) / (weights @ n), axis=1)
    low, high = np.quantile(each, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "images": len(code),
        "accuracy": float((right.sum(axis=0) / n.sum(axis=0)).mean()),
        "low": float(low),
        "high": float(high),
        "chance": 1 / k,
        "strata": [strata[at] for at in kept],
        "left_out": [strata[at] for at in range(len(strata)) if 0 < known[at] < 2],
        "confusion": np.bincount(code * k + said, minlength=k * k).reshape(k, k).tolist(),
    }


def _folds(code: np.ndarray, cluster: np.ndarray, parts: int, seed: int) -> np.ndarray:
    """The fold of each row, [M]: clusters are dealt out stratum by stratum, each by the stratum it has most of."""
    counts = np.zeros((int(cluster.max()) + 1, int(code.max()) + 1))
    np.add.at(counts, (cluster, code), 1)
    random = np.random.default_rng(seed).random(len(counts))
    dealt = np.empty(len(counts), int)
    dealt[np.lexsort((random, counts.argmax(axis=1)))] = np.arange(len(counts)) % parts
    return dealt[cluster]


def _discriminate(features: np.ndarray, code: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The stratum that each of the asked rows is most likely in, [A], where all are as frequent."""
    from sklearn.covariance import ledoit_wolf

    there = np.unique(code)
    means = np.stack([features[code == one].mean(axis=0) for one in there])  # [K, F]
    covariance, _ = ledoit_wolf(features - means[np.searchsorted(there, code)], assume_centered=True)
    if not np.trace(covariance) > 0:  # every stratum's images are alike
        covariance = np.eye(features.shape[1])
    weights = np.linalg.solve(covariance, means.T)  # [F, K]
    return there[(asked @ weights - (means * weights.T).sum(axis=1) / 2).argmax(axis=1)]


def drawn(cluster: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Rows to look at, in their order: whole clusters at random, until there are `most` rows or more; all if fewer."""
    if len(cluster) <= most:
        return np.arange(len(cluster))
    sizes = np.bincount(cluster)
    order = np.random.default_rng(seed).permutation(len(sizes))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), most)) + 1
    return np.flatnonzero(np.isin(cluster, order[:enough]))
