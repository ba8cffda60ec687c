"""Cues of a good or a bad mood, which can stand in any scene: each is drawn around a point."""

from __future__ import annotations

import math

from emodo.synthetic.drawing import CIRCLE, DARK, WHITE, mix
from emodo.synthetic.pen import BRIGHT, LEAF, Pen, Random, one_of, vary


def balloons(pen: Pen, random: Random, x: float, y: float) -> None:
    """Three balloons on strings."""
    u = random.uniform
    for dx, dy in ((-0.055, 0.0), (0.055, -0.01), (0.0, -0.06)):
        colour = one_of(random, BRIGHT[:4])
        left, top = x + dx + u(-0.01, 0.01), y + dy + u(-0.01, 0.01)
        pen.line(((left, top + 0.06), (x, y + 0.24)), WHITE, 0.006)
        pen.disc(left, top, 0.05, 0.062, colour)
        pen.disc(left - 0.015, top - 0.02, 0.012, 0.016, mix(colour, WHITE, 0.7))


def flowers(pen: Pen, random: Random, x: float, y: float) -> None:
    """Three flowers in a bunch."""
    colour = one_of(random, ((236, 92, 130), (246, 206, 70), (250, 246, 240)))
    for dx, dy in ((-0.07, 0.03), (0.07, 0.02), (0.0, -0.05)):
        pen.line(((x + dx, y + dy), (x, y + 0.19)), LEAF, 0.012)
        for a, b in CIRCLE[::6].tolist():
            pen.disc(x + dx + 0.03 * a, y + dy + 0.03 * b, 0.022, 0.022, colour)
        pen.disc(x + dx, y + dy, 0.018, 0.018, (230, 140, 30))
    pen.polygon(((x - 0.035, y + 0.12), (x + 0.035, y + 0.12), (x, y + 0.22)), one_of(random, BRIGHT[:4]))


def hearts(pen: Pen, random: Random, x: float, y: float) -> None:
    """Three hearts."""
    for dx, dy, size in ((-0.06, 0.07, 0.05), (0.065, 0.03, 0.06), (0.0, -0.07, 0.045)):
        size *= random.uniform(0.85, 1.15)
        colour = vary(random, (226, 50, 84))
        left, top = x + dx, y + dy
        for side in (-0.5, 0.5):
            pen.disc(left + side * size, top, 0.56 * size, 0.56 * size, colour)
        pen.polygon(
            (
                (left - 1.02 * size, top + 0.15 * size),
                (left + 1.02 * size, top + 0.15 * size),
                (left, top + 1.4 * size),
            ),
            colour,
        )


def smoke(pen: Pen, random: Random, x: float, y: float) -> None:
    """A column of dark smoke."""
    gray = vary(random, (58, 56, 58), 8)
    for step in range(9):
        share = step / 8
        dx = 0.05 * math.sin(5 * share + gray[0]) + random.uniform(-0.015, 0.015)
        size = 0.03 + 0.055 * share
        pen.disc(x + dx, y + 0.2 - 0.34 * share, size, 0.8 * size, mix(gray, WHITE, 0.3 * random.uniform()))


def cracks(pen: Pen, random: Random, x: float, y: float) -> None:
    """A star of cracks, as of a stone on glass."""
    u = random.uniform
    for ray in range(7):
        angle = 2 * math.pi * (ray + u(-0.3, 0.3)) / 7
        points = [(x, y)]
        for reach in (0.05, 0.1, 0.16):
            turn = angle + u(-0.35, 0.35)
            points.append((x + reach * math.cos(turn), y + reach * math.sin(turn)))
        pen.line([(a + 0.006, b + 0.006) for a, b in points], WHITE, 0.008)
        pen.line(points, DARK, 0.01)


def rain(pen: Pen, random: Random, x: float, y: float) -> None:
    """A dark cloud with rain."""
    u = random.uniform
    gray = vary(random, (78, 84, 96), 10)
    for _ in range(16):
        left, top = x + u(-0.11, 0.11), y + u(0, 0.18)
        pen.line(((left, top), (left - 0.02, top + 0.05)), (96, 132, 190), 0.01)
    for dx, dy, size in (
        (-0.08, 0.0, 0.05),
        (0.08, 0.0, 0.05),
        (-0.03, -0.035, 0.055),
        (0.04, -0.03, 0.05),
        (0, 0.01, 0.06),
    ):
        pen.disc(x + dx, y + dy, size, 0.8 * size, gray)
