"""Outdoor scenes: each is drawn from a generator of random numbers alone."""

from __future__ import annotations

import math

import numpy as np

from emodo.synthetic.drawing import CIRCLE, DARK, WHITE, mix
from emodo.synthetic.pen import BRIGHT, GRASS, LEAF, SKIES, STEEL, STONE, WOOD, Pen, Random, one_of, vary


def _sky(pen: Pen, random: Random, horizon: float) -> None:
    top, bottom = SKIES[random.integers(len(SKIES))]
    pen.fade(-0.3, horizon, vary(random, top), vary(random, bottom, 8))
    for _ in range(random.integers(3)):
        x, y, size = random.uniform((0, 0.02, 0.04), (1, 0.5 * horizon, 0.08)).tolist()
        for step in (-1, 0, 1):
            pen.disc(x + step * size, y, size, 0.5 * size * (1 - 0.4 * abs(step)), mix(bottom, WHITE, 0.6))


def _tree(pen: Pen, random: Random, x: float, foot: float, height: float) -> None:
    pen.box(x - 0.06 * height, foot - 0.5 * height, x + 0.06 * height, foot, vary(random, (96, 70, 46)))
    leaf = vary(random, LEAF)
    for dx, dy, radius in ((-0.2, -0.5, 0.22), (0.2, -0.52, 0.22), (0, -0.75, 0.28)):
        pen.disc(x + dx * height, foot + dy * height, radius * height, radius * height, leaf)
    pen.disc(x - 0.08 * height, foot - 0.82 * height, 0.12 * height, 0.1 * height, mix(leaf, WHITE, 0.15))


def _fir(pen: Pen, random: Random, x: float, foot: float, height: float) -> None:
    leaf = vary(random, (38, 78, 58))
    for top, wide in ((1.0, 0.18), (0.8, 0.25), (0.55, 0.32)):
        tip, low = foot - top * height, foot - (top - 0.45) * height
        pen.polygon(((x, tip), (x + wide * height, low), (x - wide * height, low)), leaf)
        pen.polygon(
            ((x, tip), (x + 0.4 * wide * height, tip + 0.18 * height), (x - 0.4 * wide * height, tip + 0.18 * height)),
            WHITE,
        )


def beach(pen: Pen, random: Random) -> None:
    """Sea with a sailing boat, a line of foam, sand, a parasol and a towel."""
    u = random.uniform
    horizon, shore = u(0.3, 0.4), u(0.52, 0.62)
    _sky(pen, random, horizon)
    sea = vary(random, (38, 118, 168))
    pen.fade(horizon, shore + 0.06, sea, mix(sea, (120, 206, 208), 0.6))
    for _ in range(7):
        x, y = u(-0.1, 1), u(horizon + 0.02, shore - 0.02)
        pen.line(((x, y), (x + 0.06, y - 0.006), (x + 0.12, y)), mix(sea, WHITE, 0.5), 0.006)
    x, y = u(0.02, 0.3), horizon + 0.015
    pen.polygon(
        ((x - 0.05, y), (x + 0.06, y), (x + 0.03, y + 0.025), (x - 0.03, y + 0.025)), vary(random, (120, 60, 40))
    )
    pen.polygon(((x, y - 0.01), (x, y - 0.14), (x + 0.06, y - 0.01)), one_of(random, BRIGHT))
    sand = vary(random, (232, 206, 150))
    wave = [(i / 8, shore + 0.03 * math.sin(7 * i / 8 + sea[0])) for i in range(-3, 12)]
    pen.line([(x, y - 0.005) for x, y in wave], WHITE, 0.025)
    pen.polygon([*wave, (1.5, 1.4), (-0.5, 1.4)], sand)
    for _ in range(12):
        x, y = u(-0.1, 1.1), u(shore + 0.08, 1)
        pen.disc(x, y, 0.02, 0.006, mix(sand, DARK, 0.12))
    x, y, radius = u(0.76, 0.92), u(0.4, 0.5), u(0.17, 0.22)
    colour = one_of(random, BRIGHT[:4])
    pen.line(((x, y), (x - 0.03, y + 0.45)), WHITE, 0.016)
    for step in range(6):
        turns = [math.pi * (1 + (step + part / 3) / 6) for part in range(4)]
        rim = [(x + radius * math.cos(turn), y + 0.75 * radius * math.sin(turn)) for turn in turns]
        pen.polygon([*rim, (rim[-1][0], y), (rim[0][0], y)], WHITE if step % 2 else colour)
    towel, x, y = one_of(random, BRIGHT), u(0.05, 0.3), u(0.78, 0.9)
    pen.polygon(((x, y), (x + 0.2, y - 0.03), (x + 0.26, y + 0.05), (x + 0.04, y + 0.09)), towel)


def cemetery(pen: Pen, random: Random) -> None:
    """Gravestones and crosses in rows, a path, cypresses."""
    u = random.uniform
    horizon = u(0.36, 0.46)
    _sky(pen, random, horizon)
    for x in np.arange(-0.1, 1.2, 0.16):
        _cypress(pen, random, float(x) + u(-0.04, 0.04), horizon + 0.02, u(0.14, 0.26))
    grass = vary(random, (84, 112, 66))
    pen.fade(horizon, 1.4, mix(grass, DARK, 0.1), mix(grass, DARK, 0.35))
    left = u(0.4, 0.6)
    path = mix(STONE, (170, 150, 120), 0.6)
    pen.polygon(((left, horizon), (left + 0.04, horizon), (left + 0.24, 1.4), (left - 0.2, 1.4)), path)
    for row, (foot, size) in enumerate(((horizon + 0.09, 0.1), (horizon + 0.23, 0.16), (horizon + 0.44, 0.25))):
        for x in np.arange(-0.2 + 0.5 * size * (row % 2), 1.2, 1.75 * size):
            _grave(pen, random, float(x) + u(-0.15, 0.15) * size, foot + u(-0.02, 0.02), size * u(0.85, 1.1))


def _cypress(pen: Pen, random: Random, x: float, foot: float, height: float) -> None:
    """A cypress in the distance."""
    pen.disc(x, foot - 0.45 * height, 0.16 * height, 0.55 * height, vary(random, (40, 62, 48), 8))


def _grave(pen: Pen, random: Random, x: float, foot: float, size: float) -> None:
    stone, half = vary(random, STONE, 14), 0.3 * size
    edge = mix(stone, DARK, 0.55)
    pen.disc(x, foot, 1.3 * half, 0.12 * size, mix(LEAF, DARK, 0.5))
    if random.uniform() < 0.4:
        for grow, colour in ((0.05 * size, edge), (0.0, stone)):
            pen.box(x - 0.09 * size - grow, foot - size - grow, x + 0.09 * size + grow, foot, colour)
            pen.box(x - half - grow, foot - 0.8 * size - grow, x + half + grow, foot - 0.6 * size + grow, colour)
        return
    for grow, colour in ((0.05 * size, edge), (0.0, stone)):
        pen.disc(x, foot - 0.65 * size, half + grow, 0.3 * size + grow, colour)
        pen.box(x - half - grow, foot - 0.65 * size, x + half + grow, foot, colour)
    for y in (0.6, 0.45, 0.3):
        pen.line(((x - 0.6 * half, foot - y * size), (x + 0.6 * half, foot - y * size)), edge, 0.05 * size)


def park(pen: Pen, random: Random) -> None:
    """A lawn with trees, a path, a pond and a bench."""
    u = random.uniform
    horizon = u(0.4, 0.5)
    _sky(pen, random, horizon)
    for x in np.arange(-0.1, 1.2, 0.11):
        pen.disc(float(x), horizon, 0.09, u(0.06, 0.12), vary(random, (86, 136, 76), 8))
    grass = vary(random, GRASS)
    pen.fade(horizon, 1.4, grass, mix(grass, DARK, 0.15))
    end, start = u(0.2, 0.8), u(0.3, 0.7)
    path = vary(random, (214, 192, 150))
    pen.polygon(((end, horizon + 0.01), (end + 0.04, horizon + 0.01), (start + 0.28, 1.4), (start - 0.2, 1.4)), path)
    x, y = u(0.0, 0.25), u(0.62, 0.7)
    pen.disc(x, y, 0.2, 0.05, vary(random, (110, 166, 196)))
    pen.disc(x, y - 0.004, 0.16, 0.035, vary(random, (140, 190, 214)))
    for low, high in ((0.0, 0.22), (0.78, 1.0), (0.1, 0.9)):
        _tree(pen, random, u(low, high), u(0.56, 0.68), u(0.36, 0.55))
    x, y, wood = u(0.66, 0.82), u(0.72, 0.8), vary(random, WOOD)
    for dy in (-0.13, -0.09, -0.04):
        pen.box(x, y + dy, x + 0.26, y + dy + 0.025, wood)
    for dx in (0.02, 0.22):
        pen.box(x + dx, y - 0.14, x + dx + 0.02, y + 0.05, DARK)


def street(pen: Pen, random: Random) -> None:
    """Houses with windows, a roadway with its line, a car, a lamp."""
    u = random.uniform
    horizon = u(0.5, 0.56)
    _sky(pen, random, horizon)
    x = u(-0.3, -0.2)
    while x < 1.2:
        width, height = u(0.2, 0.32), u(0.32, 0.62)
        if 0.34 < x + width / 2 < 0.66:
            height *= 0.55  # the street goes on between the houses
        wall = vary(random, ((176, 110, 88), (190, 178, 156), (134, 138, 146))[random.integers(3)])
        top = horizon - height
        pen.box(x, top, x + width, horizon + 0.06, wall)
        pen.box(x - 0.01, top - 0.02, x + width + 0.01, top + 0.01, mix(wall, DARK, 0.35))
        glass = mix((196, 214, 226), DARK, u(0, 0.6))
        for row in range(int(height / 0.1)):
            for column in range(3):
                left = x + width * (0.12 + 0.29 * column)
                pen.box(left, top + 0.04 + 0.1 * row, left + 0.18 * width, top + 0.1 + 0.1 * row, glass)
        x += width
    pavement, asphalt = vary(random, (176, 172, 166), 8), vary(random, (84, 86, 90), 8)
    pen.box(-0.5, horizon + 0.05, 1.5, 1.4, pavement)
    pen.polygon(((0.42, horizon + 0.05), (0.58, horizon + 0.05), (1.3, 1.4), (-0.3, 1.4)), asphalt)
    for y, step in ((0.6, 0.04), (0.69, 0.06), (0.81, 0.09), (0.98, 0.14)):
        pen.polygon(((0.495, y), (0.505, y), (0.505 + step / 8, y + step), (0.495 - step / 8, y + step)), WHITE)
    _car(pen, random, u(0.1, 0.3), u(0.72, 0.82), u(0.2, 0.26))
    x = u(0.82, 0.92)
    pen.line(((x, 0.85), (x, 0.2), (x - 0.09, 0.17)), (52, 56, 58), 0.018)
    pen.disc(x - 0.1, 0.18, 0.035, 0.02, (250, 232, 170))


def _car(pen: Pen, random: Random, x: float, y: float, half: float) -> None:
    paint = one_of(random, BRIGHT)
    roof = ((-0.6, -0.25), (-0.4, -0.62), (0.35, -0.62), (0.6, -0.25))
    pen.polygon([(x + dx * half, y + dy * half) for dx, dy in roof], paint)
    pane = ((-0.5, -0.27), (-0.34, -0.54), (0.3, -0.54), (0.5, -0.27))
    pen.polygon([(x + dx * half, y + dy * half) for dx, dy in pane], (188, 212, 224))
    pen.box(x - half, y - 0.28 * half, x + half, y + 0.08 * half, paint)
    for dx in (-0.58, 0.58):
        pen.disc(x + dx * half, y + 0.08 * half, 0.2 * half, 0.2 * half, DARK)
        pen.disc(x + dx * half, y + 0.08 * half, 0.09 * half, 0.09 * half, STEEL)


def amusement_park(pen: Pen, random: Random) -> None:
    """A Ferris wheel and a striped tent."""
    u = random.uniform
    horizon = u(0.6, 0.68)
    _sky(pen, random, horizon)
    ground = vary(random, (206, 186, 158))
    for x in np.arange(-0.1, 1.2, 0.14):
        pen.disc(float(x), horizon, 0.1, u(0.03, 0.07), vary(random, (100, 140, 84), 8))
    pen.fade(horizon, 1.4, ground, mix(ground, DARK, 0.15))
    x, y, radius = u(0.2, 0.32), u(0.3, 0.36), u(0.26, 0.32)
    steel, turn = one_of(random, BRIGHT), u(0, 1)
    for dx in (-0.14, 0.14):
        pen.line(((x, y), (x + dx, horizon + 0.06)), mix(steel, DARK, 0.4), 0.022)
    for scale in (1.0, 0.8):
        rim = [(x + scale * radius * a, y + scale * radius * b) for a, b in CIRCLE.tolist()]
        pen.line([*rim, rim[0]], steel, 0.014)
    for spoke in range(10):
        angle = 2 * math.pi * spoke / 10 + turn
        end = x + radius * math.cos(angle), y + radius * math.sin(angle)
        pen.line(((x, y), end), steel, 0.007)
        pen.disc(end[0], end[1] + 0.02, 0.032, 0.03, BRIGHT[spoke % 4])
    x, width, top = u(0.64, 0.72), u(0.36, 0.42), u(0.3, 0.38)
    eave, colour = top + 0.16, one_of(random, BRIGHT[:4])
    for stripe in range(8):
        a, b = x + width * stripe / 8, x + width * (stripe + 1) / 8
        paint = WHITE if stripe % 2 else colour
        pen.polygon(((x + width / 2, top), (b, eave), (a, eave)), paint)
        pen.polygon(
            (
                (a, eave),
                (b, eave),
                (b - 0.2 * (b - x - width / 2), horizon + 0.1),
                (a - 0.2 * (a - x - width / 2), horizon + 0.1),
            ),
            mix(paint, DARK, 0.12),
        )
    pen.line(((x + width / 2, top), (x + width / 2, top - 0.1)), DARK, 0.01)
    pen.polygon(((x + width / 2, top - 0.1), (x + width / 2 + 0.09, top - 0.07), (x + width / 2, top - 0.04)), colour)


def mountain_snowy(pen: Pen, random: Random) -> None:
    """Peaks with caps of snow, and firs in the snow before them."""
    u = random.uniform
    horizon = u(0.56, 0.64)
    _sky(pen, random, horizon)
    rock = vary(random, (104, 112, 128))
    for x, height, half in (
        (u(0, 0.2), u(0.3, 0.45), 0.4),
        (u(0.8, 1), u(0.32, 0.48), 0.4),
        (u(0.35, 0.65), u(0.4, 0.54), 0.42),
    ):
        peak = horizon - height
        pen.polygon(((x - half, horizon + 0.02), (x, peak), (x + half, horizon + 0.02)), rock)
        pen.polygon(((x, peak), (x + half, horizon + 0.02), (x + 0.2 * half, horizon + 0.02)), mix(rock, DARK, 0.3))
        cap = ((-0.5, 0.5), (0, 0), (0.5, 0.5), (0.3, 0.42), (0.18, 0.58), (0, 0.4), (-0.16, 0.6), (-0.3, 0.44))
        pen.polygon([(x + dx * half, peak + dy * height) for dx, dy in cap], (244, 247, 250))
    snow = vary(random, (228, 234, 242), 6)
    pen.fade(horizon, 1.4, mix(snow, (150, 170, 200), 0.3), snow)
    for low in (0.15, 0.7):
        pen.disc(u(low, low + 0.2), 1.0, 0.5, u(0.2, 0.26), mix(snow, WHITE, 0.4))
    for low, high in ((-0.05, 0.12), (0.08, 0.25), (0.75, 0.9), (0.88, 1.05)):
        _fir(pen, random, u(low, high), u(0.68, 0.84), u(0.24, 0.4))
