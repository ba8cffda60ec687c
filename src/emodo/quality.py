"""How degraded an image is, estimated from the image itself: blur, noise, colour, light, size and compression."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from emodo.data import look_at
from emodo.records import Reading

if TYPE_CHECKING:
    import pandas as pd


MEASURES = ("blur", "noise", "gray", "brightness", "resolution", "compression")
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, in which JPEG counts brightness
LEAST = 0.05  # of an image's energy that is its own, however much noise is estimated: the estimate is no truth
# Luminance steps of the JPEG standard (ITU-T T.81, table K.1), row by row; libjpeg's quality 50.
# fmt: off
STEPS = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
])
# fmt: on
Picture = NDArray[np.floating]


def measure(frame: pd.DataFrame, reading: Reading, crop: bool) -> pd.DataFrame:
    """Measure the image of every row: the columns `MEASURES`, missing where an image has nothing to measure it by.

    blur: see `blur`, pixels. noise: see `noise`, of full brightness. gray: see `gray`. brightness: mean luma, 0 to 1.
    resolution: pixels, width x height. With `crop`, all of these are of the person's box, where the row has one.
    compression is of the file: 100 - `jpeg_quality` where every file is a JPEG that tells its quality, and `blockiness`
    of all of them otherwise, as the two scales cannot be compared.
    """
    import pandas as pd
    from rich.console import Console
    from rich.progress import track

    batches = look_at(frame, _measures, reading.batch_size, reading.workers, reading.max_pixels, crop)
    count = math.ceil(len(frame) / reading.batch_size)
    shown = track(batches, "images", count, console=Console(stderr=True), disable=not sys.stderr.isatty())
    table = torch.cat(list(shown)).numpy()  # [N, 7]
    *others, blocks, quality = table.T
    known = ~np.isnan(quality)
    if known.any() and not known.all():
        print(
            f"{reading.manifest}: {(~known).sum()} of {len(frame)} files tell no JPEG quality, so compression is how "
            "visible the blocks of 8 x 8 pixels are in all of them",
            file=sys.stderr,
        )
    compression = 100 - quality if known.all() else blocks
    return pd.DataFrame(dict(zip(MEASURES, [*others, compression], strict=True)), index=frame.index)


def _measures(seen: dict[str, Tensor], file: Path) -> Tensor:
    """All of one image, [7] float64: `MEASURES` with blockiness as compression, then the JPEG quality."""
    image = seen["images"].numpy()  # [3, H, W] uint8; a channel at a time, as images may have 50 million pixels
    luma = _luma(image)
    values = (
        blur(luma),
        float(np.mean([noise(channel.astype(np.float32) / 255) for channel in image])),
        gray(image),
        float(luma.mean()),
        float(luma.size),
        blockiness(luma if seen["whole"] is seen["images"] else _luma(seen["whole"].numpy())),
        jpeg_quality(file),
    )
    return torch.tensor(values, dtype=torch.float64)


def _luma(image: NDArray[np.uint8]) -> Picture:
    red, green, blue = (weight * channel.astype(np.float32) for weight, channel in zip(LUMA, image, strict=True))
    return (red + green + blue) / 255


def blur(image: Picture) -> float:
    """Radius in pixels of the Gaussian that blurs edges as much as the image's are, about 0.5 for sharp ones.

    The variance of the Laplacian, normalised by that of the gradient, which makes a length of it: an edge that is
    blurred with standard deviation s has gradients of energy 1 / (2 s sqrt(pi)) and second derivatives of energy
    1 / (4 s^3 sqrt(pi)), so that s = sqrt(gradient / (2 Laplacian)), whatever its contrast; of pixels, whose
    differences have a width themselves, that is sqrt(s^2 + 5/24). White noise would hide blur, as nothing is steeper;
    what `noise` finds is taken off both energies first, 4 and 20 times its variance (the sums of the squared weights of
    the two differences and of the Laplacian), down to `LEAST` of each.

    image: [H, W]. Not a number where the image is smaller than 3 x 3, or one even area or ramp.
    """
    if min(image.shape) < 3:
        return math.nan
    center = image[1:-1, 1:-1]
    across, down = image[1:-1, 2:] - center, image[2:, 1:-1] - center
    laplacian = image[1:-1, 2:] + image[1:-1, :-2] + image[2:, 1:-1] + image[:-2, 1:-1] - 4 * center
    first, second = float((across**2 + down**2).mean()), float((laplacian**2).mean())
    if min(first, second) < 1e-12:  # what rounding leaves of an even area
        return math.nan
    variance = noise(image) ** 2
    first, second = max(first - 4 * variance, LEAST * first), max(second - 20 * variance, LEAST * second)
    return math.sqrt(first / (2 * second))


def noise(image: Picture) -> float:
    """Standard deviation of white noise, by the difference of two Laplacians (Immerkaer 1996), in the image's unit.

    Edges and ramps leave little in the difference N = [1 -2 1; -2 4 -2; 1 -2 1]; of white noise it leaves 6 times the
    standard deviation, and the mean of its size is sqrt(2 / pi) of that, so that a few edges weigh little. What a
    texture leaves counts as noise: 0.01 to 0.02 in generated scenes without any. Noise whose grains are larger than a
    pixel is underestimated.

    image: [H, W]. Not a number where the image is smaller than 3 x 3.
    """
    if min(image.shape) < 3:
        return math.nan
    rows = image[:-2] - 2 * image[1:-1] + image[2:]
    difference = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return math.sqrt(math.pi / 2) / 6 * float(np.abs(difference).mean())


def gray(image: NDArray[np.uint8]) -> float:
    """1 less the mean chroma, the largest channel minus the smallest: 1 for a gray image, 0 for one of pure colours.

    image: [3, H, W].
    """
    return 1 - float((image.max(axis=0) - image.min(axis=0)).mean()) / 255


def blockiness(image: Picture) -> float:
    """How much larger the steps between JPEG's blocks of 8 x 8 pixels are than those within: 0 no more, 1 twice.

    A step is the difference of two neighbours, less the mean of the slopes on both sides. Steps within are the largest
    of the five places that do not touch the border, so that grains of noise, 2 or 4 pixels wide, are no blocks. The
    image must not have been resized or cropped since it was compressed.

    image: [H, W]. Not a number where the image is smaller than 16 x 16 or has no steps within blocks.
    """
    if min(image.shape) < 16:
        return math.nan
    steps = np.zeros(8)
    for one in (image, image.T):
        slope = np.diff(one, axis=1)
        step = np.abs(slope[:, 1:-1] - (slope[:, :-2] + slope[:, 2:]) / 2)  # at i: between pixels i + 1 and i + 2
        steps += [step[:, at::8].mean() for at in range(8)]
    within = float(steps[:5].max())  # 6 is the border, 7 | 8
    return float(steps[6]) / within - 1 if within > 0 else math.nan


def jpeg_quality(file: Path) -> float:
    """The quality, 1 to 100, at which libjpeg's luminance steps are most like a file's; not a number if no JPEG."""
    with Image.open(file) as header:
        tables: dict[int, list[int]] = getattr(header, "quantization", None) or {}
    if 0 not in tables:
        return math.nan
    qualities = np.arange(1, 101)
    scale = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    known = np.clip((STEPS * scale[:, None] + 50) // 100, 1, 255)  # [100, 64]
    return float(qualities[np.abs(known - tables[0]).sum(axis=1).argmin()])
