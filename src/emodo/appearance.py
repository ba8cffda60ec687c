"""What images look like, as numbers: degradations, light, colour and size, all from one reading of each image."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emodo.data import look_at
from emodo.quality import LUMA, blockiness, blur, gray, jpeg_quality, noise
from emodo.records import Reading

if TYPE_CHECKING:
    import pandas as pd

MEASURES = {
    "blur": "radius in pixels of the blur of edges",
    "noise": "standard deviation, as a share of the mean luma",
    "brightness": "mean luma, 0 to 1",
    "contrast": "standard deviation of the luma, as a share of its mean",
    "gray": "1 less the mean chroma",
    "saturation": "mean chroma, as a share of the largest channel",
    "warmth": "red less blue, as a share of all light",
    "green": "green's share of all light",
    "resolution": "pixels, width times height",
    "shape": "width divided by height",
    "compression": "100 less the JPEG quality, or how visible its blocks are",
}


def appearance(frame: pd.DataFrame, reading: Reading, crop: bool) -> pd.DataFrame:
    """Measure the image of every row: the columns `MEASURES`, missing where an image has nothing to measure it by.

    blur, brightness, gray, resolution and compression are those of `emodo.quality`, and noise is its noise by the
    brightness. Noise, contrast, saturation, warmth and green are shares, so that light alone does not change them. With
    `crop`, all but compression are of the person's box, where the row has one.

    frame: manifest rows, of one manifest or of several: compression is on one scale for all.
    """
    import pandas as pd
    from rich.console import Console
    from rich.progress import track

    batches = look_at(frame, _look, reading.batch_size, reading.workers, reading.max_pixels, crop)
    count = math.ceil(len(frame) / reading.batch_size)
    shown = track(batches, "images", count, console=Console(stderr=True), disable=not sys.stderr.isatty())
    *others, blocks, quality = torch.cat(list(shown)).numpy().T
    compression = blocks if np.isnan(quality).any() else 100 - quality
    return pd.DataFrame(dict(zip(MEASURES, [*others, compression], strict=True)), index=frame.index)


def _look(seen: dict[str, Tensor], file: Path) -> Tensor:
    """All of one image, [12] float64: `MEASURES` with blockiness as compression, then the JPEG quality."""
    image = seen["images"].numpy()  # [3, H, W] uint8; a channel at a time, as images may have 50 million pixels
    luma = _luma(image)
    brightness = float(luma.mean())
    light = [float(channel.mean(dtype=np.float64)) for channel in image]
    total = sum(light)
    most = image.max(axis=0)
    chroma = (most - image.min(axis=0)).astype(np.float32)
    values = (
        blur(luma),
        float(np.mean([noise(channel.astype(np.float32) / 255) for channel in image])) / brightness
        if brightness
        else math.nan,
        brightness,
        float(luma.std()) / brightness if brightness else math.nan,
        gray(image),
        float((chroma / np.maximum(most, 1)).mean()),
        (light[0] - light[2]) / total if total else math.nan,
        light[1] / total if total else math.nan,
        float(luma.size),
        luma.shape[1] / luma.shape[0],
        blockiness(luma if seen["whole"] is seen["images"] else _luma(seen["whole"].numpy())),
        jpeg_quality(file),
    )
    return torch.tensor(values, dtype=torch.float64)


def _luma(image: NDArray[np.uint8]) -> NDArray[np.floating]:
    red, green, blue = (weight * channel.astype(np.float32) for weight, channel in zip(LUMA, image, strict=True))
    return (red + green + blue) / 255
