"""Indoor scenes: each is drawn from a generator of random numbers alone."""

from __future__ import annotations

import math

import numpy as np

from emodo.synthetic.drawing import CIRCLE, DARK, WHITE, Colour, mix
from emodo.synthetic.pen import BRIGHT, SKIES, STEEL, WOOD, Pen, Random, one_of, vary


def _room(pen: Pen, random: Random, wall: Colour, floor: Colour, edge: float) -> Colour:
    """Wall and floor; returns the wall's colour."""
    wall, floor = vary(random, wall), vary(random, floor)
    pen.fade(-0.3, edge, mix(wall, WHITE, 0.2), wall)
    pen.fade(edge, 1.4, mix(floor, DARK, 0.15), floor)
    pen.box(-0.5, edge - 0.02, 1.5, edge + 0.005, mix(wall, DARK, 0.35))
    return wall


def _window(pen: Pen, random: Random, x: float, y: float, width: float, height: float) -> None:
    pen.box(x - 0.015, y - 0.015, x + width + 0.015, y + height + 0.015, WHITE)
    top, bottom = SKIES[random.integers(len(SKIES))]
    pen.box(x, y, x + width, y + height, mix(top, bottom, 0.6))
    pen.box(x + width / 2 - 0.008, y, x + width / 2 + 0.008, y + height, WHITE)


def kitchen(pen: Pen, random: Random) -> None:
    """Cupboards above and below a tiled wall, a fridge, a stove with its hood and a pot."""
    u = random.uniform
    counter = u(0.56, 0.62)
    wall = _room(pen, random, (232, 222, 200), (170, 130, 92), 0.92)
    for x in np.arange(-0.2, 1.25, 0.08):
        pen.line(((float(x), 0.3), (float(x), counter)), mix(wall, DARK, 0.2), 0.005)
    for y in np.arange(0.3, counter, 0.08):
        pen.line(((-0.3, float(y)), (1.3, float(y))), mix(wall, DARK, 0.2), 0.005)
    front = vary(random, ((196, 150, 98), (120, 160, 160), (226, 226, 220))[random.integers(3)])
    knob = mix(front, DARK, 0.6)
    for low, high in ((-0.2, 0.27), (counter + 0.05, 0.95)):
        for x in np.arange(-0.25, 1.25, 0.23):
            left = float(x)
            pen.box(left, low, left + 0.22, high, front)
            pen.box(left + 0.02, low + 0.02, left + 0.2, high - 0.02, mix(front, DARK, 0.1))
            pen.disc(left + 0.19, 0.5 * (low + high), 0.012, 0.012, knob)
    pen.box(-0.5, counter, 1.5, counter + 0.05, vary(random, (84, 80, 78)))
    x = u(0.68, 0.76)
    pen.polygon(((x + 0.04, 0.08), (x + 0.2, 0.08), (x + 0.25, 0.28), (x - 0.01, 0.28)), STEEL)
    pen.box(x, counter - 0.01, x + 0.24, 0.95, (64, 66, 70))
    pen.box(x + 0.03, counter + 0.13, x + 0.21, counter + 0.28, (24, 24, 26))
    for step in range(4):
        pen.disc(x + 0.04 + 0.053 * step, counter + 0.05, 0.014, 0.014, WHITE)
    pot = one_of(random, BRIGHT[:4])
    pen.box(x + 0.04, counter - 0.11, x + 0.2, counter, pot)
    pen.box(x + 0.02, counter - 0.13, x + 0.22, counter - 0.1, mix(pot, DARK, 0.3))
    x = u(-0.02, 0.05)
    pen.box(x, 0.1, x + 0.24, 0.96, vary(random, (226, 230, 232), 8))
    pen.line(((x, 0.4), (x + 0.24, 0.4)), STEEL, 0.012)
    for y in (0.24, 0.46):
        pen.box(x + 0.19, y, x + 0.21, y + 0.12, STEEL)


def hospital_room(pen: Pen, random: Random) -> None:
    """A bed with rails, a drip, a monitor and a curtain."""
    u = random.uniform
    edge = u(0.6, 0.66)
    wall = _room(pen, random, ((196, 220, 214), (206, 218, 230))[random.integers(2)], (182, 190, 190), edge)
    pen.box(-0.5, edge - 0.2, 1.5, edge - 0.16, mix(wall, (60, 120, 130), 0.6))
    curtain, x = vary(random, (120, 176, 176)), u(0.8, 0.88)
    pen.box(-0.5, 0.02, 1.5, 0.035, STEEL)
    for fold in range(7):
        left = x + 0.05 * fold
        pen.box(left, 0.03, left + 0.05, edge + 0.12, mix(curtain, DARK, 0.12 * (fold % 2)))
    x, y = u(0.52, 0.62), u(0.12, 0.18)
    pen.box(x, y, x + 0.24, y + 0.18, (60, 66, 72))
    pen.box(x + 0.015, y + 0.015, x + 0.225, y + 0.15, (12, 30, 26))
    beat = [
        (x + 0.02 + 0.2 * t, y + 0.09 - d)
        for t, d in ((0, 0), (0.35, 0), (0.45, 0.05), (0.55, -0.04), (0.65, 0), (1, 0))
    ]
    pen.line(beat, (90, 240, 120), 0.012)
    pen.box(x + 0.1, y + 0.18, x + 0.14, edge, STEEL)
    x = u(-0.06, 0.04)
    pen.box(x, edge - 0.2, x + 0.03, 0.98, STEEL)
    pen.box(x + 0.62, edge - 0.06, x + 0.65, 0.98, STEEL)
    blanket = vary(random, ((232, 238, 240), (160, 196, 210))[random.integers(2)], 8)
    pen.box(x, edge + 0.04, x + 0.64, edge + 0.2, WHITE)
    pen.box(x + 0.2, edge + 0.01, x + 0.64, edge + 0.22, blanket)
    pen.disc(x + 0.12, edge + 0.01, 0.1, 0.05, WHITE)
    for bar in range(6):
        pen.box(x + 0.25 + 0.06 * bar, edge + 0.06, x + 0.262 + 0.06 * bar, edge + 0.25, STEEL)
    pen.box(x + 0.23, edge + 0.05, x + 0.6, edge + 0.07, STEEL)
    x = u(0.1, 0.3)
    pen.line(((x, 0.08), (x, 0.98)), (110, 116, 120), 0.014)
    pen.line(((x - 0.06, 0.08), (x + 0.06, 0.08)), (110, 116, 120), 0.014)
    pen.box(x + 0.02, 0.1, x + 0.1, 0.25, (224, 236, 232))
    pen.box(x + 0.03, 0.16, x + 0.09, 0.24, (150, 200, 214))


def gymnasium(pen: Pen, random: Random) -> None:
    """A court with its lines, wall bars, a basketball hoop and a ball."""
    u = random.uniform
    edge = u(0.52, 0.6)
    wall = _room(pen, random, (216, 208, 190), (206, 150, 86), edge)
    for x in np.arange(-0.25, 1.25, 0.25):
        _window(pen, random, float(x) + 0.02, 0.02, 0.19, 0.1)
    court = one_of(random, BRIGHT[:4])
    pen.box(-0.5, 0.17, 1.5, 0.21, court)
    for shade in range(5):
        y = edge + 0.03 + 0.45 * (shade / 5) ** 1.5
        pen.line(((-0.5, y), (1.5, y)), mix((206, 150, 86), DARK, 0.2), 0.006)
    rim = [(0.5 + 0.34 * a, edge + 0.27 + 0.13 * b) for a, b in CIRCLE.tolist()]
    pen.line([*rim, rim[0]], WHITE, 0.014)
    pen.line(((-0.5, edge + 0.27), (1.5, edge + 0.27)), WHITE, 0.014)
    pen.line(((0.1, edge + 0.01), (-0.2, 1.3)), court, 0.02)
    pen.line(((0.9, edge + 0.01), (1.2, 1.3)), court, 0.02)
    x, wood = u(-0.04, 0.04), vary(random, WOOD)
    for post in (x, x + 0.14, x + 0.28):
        pen.box(post, 0.23, post + 0.02, edge + 0.02, wood)
    for y in np.arange(0.25, edge, 0.045):
        pen.box(x, float(y), x + 0.3, float(y) + 0.014, wood)
    x, y = u(0.7, 0.78), u(0.2, 0.25)
    pen.box(x + 0.1, y + 0.16, x + 0.13, edge + 0.03, mix(wall, DARK, 0.5))
    pen.box(x, y, x + 0.24, y + 0.18, WHITE)
    for grow in (0.0, 0.01):
        pen.line(
            ((x + 0.07, y + 0.14), (x + 0.07, y + 0.06), (x + 0.17, y + 0.06), (x + 0.17, y + 0.14 + grow)),
            (200, 60, 50),
            0.01,
        )
    pen.disc(x + 0.12, y + 0.175, 0.06, 0.016, (230, 90, 30))
    for dx in (-0.05, -0.02, 0.02, 0.05):
        pen.line(((x + 0.12 + dx, y + 0.18), (x + 0.12 + 0.6 * dx, y + 0.27)), WHITE, 0.008)
    x = u(0.05, 0.2)
    pen.disc(x, u(0.86, 0.95), 0.06, 0.06, (222, 112, 44))


def office(pen: Pen, random: Random) -> None:
    """A desk with a screen and papers, a window with blinds, a shelf of binders."""
    u = random.uniform
    edge = u(0.68, 0.74)
    _room(pen, random, (200, 204, 210), (104, 112, 128), edge)
    for x in (0.05, 0.6):
        pen.polygon(((x, 0.0), (x + 0.3, 0.0), (x + 0.27, 0.05), (x + 0.03, 0.05)), (252, 252, 240))
    x, width = u(0.0, 0.08), u(0.34, 0.4)
    _window(pen, random, x, 0.12, width, 0.3)
    for y in np.arange(0.13, 0.13 + u(0.12, 0.28), 0.028):
        pen.box(x, float(y), x + width, float(y) + 0.014, (226, 226, 218))
    x, wood = u(0.64, 0.72), vary(random, WOOD)
    pen.box(x, 0.1, x + 0.32, 0.62, mix(wood, DARK, 0.35))
    for shelf in (0.12, 0.29, 0.46):
        pen.box(x + 0.02, shelf, x + 0.3, shelf + 0.14, mix(wood, DARK, 0.65))
        left = x + 0.03
        while left < x + 0.26:
            thick = u(0.025, 0.04)
            pen.box(left, shelf + u(0, 0.04), left + thick - 0.005, shelf + 0.14, one_of(random, BRIGHT))
            left += thick
    desk = u(0.66, 0.72)
    pen.box(-0.5, desk, 1.5, desk + 0.06, mix(wood, WHITE, 0.25))
    pen.box(-0.5, desk + 0.06, 1.5, 1.4, mix(wood, DARK, 0.2))
    for left in (-0.1, 0.74):
        pen.box(left + 0.02, desk + 0.09, left + 0.3, 1.3, mix(wood, DARK, 0.05))
        for y in (0.14, 0.25):
            pen.box(left + 0.11, desk + y, left + 0.21, desk + y + 0.015, STEEL)
    x = u(0.02, 0.12)
    pen.box(x + 0.11, desk - 0.08, x + 0.15, desk, DARK)
    pen.box(x + 0.05, desk - 0.015, x + 0.21, desk, DARK)
    pen.box(x, desk - 0.27, x + 0.26, desk - 0.07, (36, 38, 42))
    screen = vary(random, (120, 170, 220))
    pen.box(x + 0.015, desk - 0.255, x + 0.245, desk - 0.085, screen)
    for line in range(4):
        y = desk - 0.235 + 0.035 * line
        pen.line(((x + 0.035, y), (x + u(0.1, 0.22), y)), WHITE, 0.01)
    x = u(0.74, 0.86)
    for sheet in range(3):
        pen.box(
            x + 0.01 * sheet, desk - 0.02 - 0.015 * sheet, x + 0.17 + 0.01 * sheet, desk - 0.01 - 0.015 * sheet, WHITE
        )
    pen.box(x - 0.1, desk - 0.09, x - 0.03, desk, one_of(random, BRIGHT))


def living_room(pen: Pen, random: Random) -> None:
    """A sofa with cushions, pictures, a floor lamp and a carpet."""
    u = random.uniform
    edge = u(0.68, 0.74)
    wall = _room(
        pen, random, ((226, 196, 160), (188, 206, 176), (216, 180, 180))[random.integers(3)], (140, 96, 62), edge
    )
    if u() < 0.6:
        for x in np.arange(-0.25, 1.25, 0.09):
            pen.box(float(x), -0.3, float(x) + 0.03, edge - 0.02, mix(wall, WHITE, 0.25))
    for x, y in ((u(0.04, 0.12), u(0.08, 0.16)), (u(0.5, 0.58), u(0.04, 0.1))):
        width, height = u(0.2, 0.26), u(0.16, 0.22)
        pen.box(x, y, x + width, y + height, mix(WOOD, DARK, 0.4))
        pen.box(x + 0.02, y + 0.02, x + width - 0.02, y + height - 0.02, one_of(random, BRIGHT))
        pen.disc(x + width / 2, y + height / 2, 0.05, 0.05, one_of(random, BRIGHT))
    pen.disc(0.5, 0.98, 0.6, 0.12, one_of(random, BRIGHT[:4]))
    sofa, x, y = (
        one_of(random, ((160, 70, 60), (84, 110, 150), (120, 130, 84), (150, 110, 140))),
        u(-0.05, 0.03),
        u(0.48, 0.54),
    )
    dark = mix(sofa, DARK, 0.25)
    pen.box(x, y, x + 0.78, y + 0.28, sofa)
    pen.disc(x + 0.39, y, 0.39, 0.035, sofa)
    pen.line(((x + 0.39, y), (x + 0.39, y + 0.28)), dark, 0.01)
    pen.box(x, y + 0.2, x + 0.78, y + 0.38, dark)
    for left in (x - 0.05, x + 0.72):
        pen.disc(left + 0.06, y + 0.14, 0.07, 0.05, mix(sofa, WHITE, 0.1))
        pen.box(left - 0.01, y + 0.14, left + 0.13, y + 0.4, mix(sofa, WHITE, 0.1))
    for left in (x + 0.12, x + 0.56):
        pen.polygon(
            ((left, y + 0.06), (left + 0.12, y + 0.04), (left + 0.13, y + 0.17), (left + 0.01, y + 0.19)),
            one_of(random, BRIGHT),
        )
    x, y = u(0.86, 0.93), u(0.22, 0.28)
    pen.line(((x, y), (x, 0.86)), DARK, 0.016)
    pen.disc(x, 0.87, 0.07, 0.02, DARK)
    pen.polygon(
        ((x - 0.05, y - 0.13), (x + 0.05, y - 0.13), (x + 0.11, y + 0.03), (x - 0.11, y + 0.03)), (250, 224, 150)
    )


def classroom(pen: Pen, random: Random) -> None:
    """A blackboard with writing, a clock, and desks in rows."""
    u = random.uniform
    edge = u(0.62, 0.68)
    _room(pen, random, (226, 218, 184), (168, 140, 108), edge)
    y, board = u(0.1, 0.16), vary(random, ((40, 84, 64), (46, 50, 54))[random.integers(2)], 8)
    pen.box(0.02, y - 0.025, 0.8, y + 0.36, WOOD)
    pen.box(0.045, y, 0.775, y + 0.33, board)
    chalk = mix(board, WHITE, 0.85)
    for row in range(4):
        left = u(0.07, 0.12)
        for _ in range(random.integers(2, 5)):
            length = u(0.06, 0.16)
            if left + length < 0.76:
                pen.line(
                    [(left + length * k / 6, y + 0.06 + 0.07 * row + 0.012 * (-1) ** k) for k in range(7)], chalk, 0.008
                )
            left += length + 0.03
    pen.box(0.3, y + 0.34, 0.5, y + 0.36, WHITE)
    x, y = u(0.86, 0.92), u(0.12, 0.18)
    pen.disc(x, y, 0.075, 0.075, DARK)
    pen.disc(x, y, 0.062, 0.062, WHITE)
    angle = u(0, 6.3)
    for length, turn in ((0.05, angle), (0.035, 12 * angle)):
        pen.line(((x, y), (x + length * math.sin(turn), y - length * math.cos(turn))), DARK, 0.012)
    wood = vary(random, (204, 156, 96))
    for foot, size in ((edge + 0.08, 0.7), (edge + 0.26, 1.0)):
        for x in np.arange(-0.2 + u(0, 0.1), 1.2, 0.36 * size):
            _desk(pen, float(x), foot, 0.27 * size, wood)


def _desk(pen: Pen, x: float, foot: float, width: float, wood: Colour) -> None:
    for dx in (0.08, 0.86):
        pen.box(x + dx * width, foot - 0.3 * width, x + (dx + 0.06) * width, foot + 0.3 * width, (70, 74, 80))
    pen.box(x + 0.2 * width, foot - 0.25 * width, x + 0.8 * width, foot, mix(wood, DARK, 0.4))
    pen.polygon(
        (
            (x + 0.1 * width, foot - 0.5 * width),
            (x + 0.9 * width, foot - 0.5 * width),
            (x + width, foot - 0.3 * width),
            (x, foot - 0.3 * width),
        ),
        wood,
    )
    pen.box(x, foot - 0.3 * width, x + width, foot - 0.24 * width, mix(wood, DARK, 0.25))
