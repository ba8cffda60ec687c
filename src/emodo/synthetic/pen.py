"""A pen for schematic drawings in shares of the canvas.

Lengths are shares of the canvas: (0, 0) is its upper left corner, (1, 1) its lower right one. Scenes reach beyond
these edges, because a pen may enlarge, shift and mirror them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from emodo.synthetic.drawing import Colour, mix

Random = np.random.Generator
Point = tuple[float, float]

LEAF: Colour = (58, 118, 52)
GRASS: Colour = (104, 160, 70)
WOOD: Colour = (150, 104, 62)
STEEL: Colour = (150, 156, 162)
STONE: Colour = (136, 136, 134)
SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((86, 150, 222), (196, 224, 242)),
    ((140, 176, 206), (222, 230, 234)),
    ((146, 152, 160), (204, 206, 208)),
    ((88, 96, 160), (244, 190, 150)),
)
BRIGHT: tuple[Colour, ...] = (
    (214, 62, 56),
    (240, 184, 52),
    (58, 122, 200),
    (74, 160, 92),
    (232, 232, 226),
    (150, 84, 160),
)


class Pen:
    """Draws on a canvas in shares of its width, enlarged about its middle, shifted, and mirrored where asked."""

    def __init__(
        self, canvas: Image.Image, zoom: float = 1.0, shift: Point = (0.0, 0.0), mirrored: bool = False
    ) -> None:
        self.draw = ImageDraw.Draw(canvas)
        self.pixels = canvas.width
        self.zoom = zoom
        self.factor = -zoom if mirrored else zoom
        self.shift = shift

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon."""
        self.draw.polygon(self._placed(points), colour)

    def box(self, x1: float, y1: float, x2: float, y2: float, colour: Colour) -> None:
        """Fill an upright rectangle."""
        self.polygon(((x1, y1), (x2, y1), (x2, y2), (x1, y2)), colour)

    def disc(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fill an ellipse, of which half the width and height are given."""
        (left, top), (right, bottom) = self._placed(((x - width, y - height), (x + width, y + height)))
        self.draw.ellipse((min(left, right), top, max(left, right), bottom), colour)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """Draw a line through points."""
        self.draw.line(self._placed(points), colour, max(round(width * self.zoom * self.pixels), 1))

    def fade(self, y1: float, y2: float, top: Colour, bottom: Colour) -> None:
        """Fill a band across the canvas from one colour to another."""
        steps = 16
        for step in range(steps):
            y = y1 + (y2 - y1) * step / steps
            self.box(-0.5, y, 1.5, y2, mix(top, bottom, step / (steps - 1)))

    def _placed(self, points: Sequence[Point]) -> list[tuple[float, float]]:
        (dx, dy), pixels = self.shift, self.pixels
        return [
            (((x - 0.5) * self.factor + 0.5 + dx) * pixels, ((y - 0.5) * self.zoom + 0.5 + dy) * pixels)
            for x, y in points
        ]


def vary(random: Random, colour: Colour, by: float = 16) -> Colour:
    """A colour near another: brighter or darker as a whole by up to twice `by`, each channel by up to `by`."""
    whole, *each = random.uniform(-by, by, 4).tolist()
    red, green, blue = (min(max(round(c + 2 * whole + d), 0), 255) for c, d in zip(colour, each, strict=True))
    return red, green, blue


def one_of(random: Random, colours: Sequence[Colour]) -> Colour:
    """A colour near one of several."""
    return vary(random, colours[int(random.integers(len(colours)))], 10)
