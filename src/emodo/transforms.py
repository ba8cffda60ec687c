"""From decoded image to network input; the augmentation is drawn from a generator keyed on (seed, epoch, row)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

Augmentation = Literal["released", "light", "none"]


def prepare(image: Tensor, size: int) -> Tensor:
    """Resize [3, H, W] uint8 to [3, size, size] and normalise to -1 .. 1 (mean .5, std .5, as released)."""
    return normalise(resize(image, size))


def augment(image: Tensor, size: int, augmentation: Augmentation, random: np.random.Generator) -> Tensor:
    """Prepare a training image, [3, H, W] uint8 -> [3, size, size] float.

    "released" follows the released code of IERN: resize to 256 / 224 of the size (bicubic), random crop, flip,
    blur of every other image (radius .1 - 1.5 at 224 pixels), colour jitter and affine, whose ranges nobody
    states: here a tenth of brightness, contrast and saturation, 10 degrees, 5 % of shift and scale. "light" is
    resize, crop and flip, which leave the look of a data set as it is. "none" is `prepare`.
    """
    if augmentation == "none":
        return prepare(image, size)
    image = resize(image, round(size * 256 / 224))
    margin = image.shape[-1] - size
    top, left = (int(x) for x in random.integers(0, margin + 1, 2))
    image = image[:, top : top + size, left : left + size]
    if random.random() < 0.5:
        image = tv.horizontal_flip(image)
    if augmentation == "released":
        image = _distort(image, size, random)
    return normalise(image)


def normalise(image: Tensor) -> Tensor:
    """uint8 -> float in -1 .. 1."""
    return image.to(torch.float32).mul_(2 / 255).sub_(1)


def resize(image: Tensor, size: int) -> Tensor:
    """[3, H, W] -> [3, size, size], bicubic and antialiased."""
    if image.shape[-2:] == (size, size):
        return image
    return tv.resize(image, [size, size], InterpolationMode.BICUBIC, antialias=True)


def _distort(image: Tensor, size: int, random: np.random.Generator) -> Tensor:
    blurred = random.random() < 0.5
    sigma = random.uniform(0.1, 1.5) * size / 224
    if blurred:
        kernel = 2 * max(1, round(3 * sigma)) + 1
        image = tv.gaussian_blur(image, [kernel, kernel], [sigma, sigma])
    brightness, contrast, saturation = random.uniform(0.9, 1.1, 3)
    image = tv.adjust_brightness(image, brightness)
    image = tv.adjust_contrast(image, contrast)
    image = tv.adjust_saturation(image, saturation)
    shift = random.uniform(-0.05, 0.05, 2) * size
    return tv.affine(
        image,
        angle=random.uniform(-10, 10),
        translate=[float(shift[0]), float(shift[1])],
        scale=random.uniform(0.95, 1.05),
        shear=[0.0],
        interpolation=InterpolationMode.BILINEAR,
    )
