"""From a photograph to a square that shows one face: the map between the two, and the pixels.

Coordinates are continuous, as those of boxes: 0 is the left edge of the first pixel, 0.5 its middle, and y counts
downwards.
"""

from __future__ import annotations

import cmath
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import grid_sample

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""
Eyes = tuple[float, float, float, float]
"""x, y of the eye that is on the left of an upright face's image, then of the one on its right."""
Matrix = NDArray[np.float64]
"""[3, 3], a similarity: takes (x, y, 1) in the photograph to (x, y, 1) in the square."""

REACH = 3  # pixels around a place that decide its colour, and one more


def on_eyes(eyes: Eyes, size: int, place: tuple[float, float]) -> Matrix:
    """Map the eyes to one height: the left one to `place`, in shares of the square's side, the right one opposite."""
    left, right = complex(*eyes[:2]), complex(*eyes[2:])
    goal = complex(*place) * size
    factor = (1 - 2 * place[0]) * size / (right - left)  # times a complex number: turned and scaled
    return _similarity(factor, goal - factor * left)


def on_box(box: Box, size: int, tilt: float = 0.0) -> Matrix:
    """Map a box to the square's middle, as large as fits, and turn it back by `tilt` degrees; nothing is stretched."""
    x1, y1, x2, y2 = box
    factor = size / max(x2 - x1, y2 - y1) * cmath.rect(1, -math.radians(tilt))
    return _similarity(factor, size * complex(0.5, 0.5) - factor * complex(x1 + x2, y1 + y2) / 2)


def roll(eyes: Eyes) -> float:
    """How far the head is tilted, in degrees: positive where the image's right eye is the lower one."""
    x1, y1, x2, y2 = eyes
    return math.degrees(math.atan2(y2 - y1, x2 - x1))


def cut(image: Image.Image, matrix: Matrix, size: int) -> Image.Image:
    """Sample the square, [size, size], of an RGB image, bicubic.

    Where the photograph is finer than the square it is shrunk first, with a filter as wide as the shrinking asks for;
    sampling alone would alias. Outside the photograph its edge pixels go on.
    """
    inverse = np.linalg.inv(matrix)
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    xs, ys, _ = inverse @ [[0, size, size, 0], [0, 0, size, size], [1, 1, 1, 1]]
    reach = REACH / min(scale, 1)
    left, right = _within(xs.min() - reach, xs.max() + reach, image.width)
    top, bottom = _within(ys.min() - reach, ys.max() + reach, image.height)
    part = image.crop((left, top, right, bottom))
    if scale < 1:
        sides = (max(round(part.width * scale), 1), max(round(part.height * scale), 1))
        part = part.resize(sides, Image.Resampling.BICUBIC)
    across, down = 2 / (right - left), 2 / (bottom - top)  # grid_sample counts from -1 to 1
    to_grid = np.array([[across, 0, -1 - left * across], [0, down, -1 - top * down], [0, 0, 1]])
    middles = np.arange(size) + 0.5
    x, y, one = np.meshgrid(middles, middles, [1.0])
    grid = torch.from_numpy(np.concatenate([x, y, one], axis=2) @ (to_grid @ inverse)[:2].T)  # [size, size, 2]
    pixels = torch.from_numpy(np.array(part)).permute(2, 0, 1)  # [3, h, w]
    square = grid_sample(pixels[None].float(), grid[None].float(), "bicubic", "border", align_corners=False)[0]
    return Image.fromarray(square.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def _similarity(factor: complex, shift: complex) -> Matrix:
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag], [0, 0, 1]])


def _within(start: float, end: float, side: int) -> tuple[int, int]:
    """The pixels from `start` to `end` that there are, at least one."""
    first = min(max(math.floor(start), 0), side - 1)
    return first, max(min(math.ceil(end), side), first + 1)
