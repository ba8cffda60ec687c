"""A schematic face as a pure function of who it is, how it is photographed and its facial action units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Points = NDArray[np.float64]
Units = Mapping[int, float]
Box = tuple[float, float, float, float]

ACTION_UNITS: dict[int, str] = {
    1: "inner brow raised",
    2: "outer brow raised",
    4: "brows lowered and drawn together",
    5: "upper lid raised",
    6: "cheeks raised",
    7: "lids tightened",
    9: "nose wrinkled",
    12: "lip corners pulled up",
    15: "lip corners pulled down",
    16: "lower lip depressed",
    20: "lips stretched",
    23: "lips tightened",
    26: "jaw dropped",
}
"""Every action unit that changes the drawing."""

DARK: Colour = (26, 16, 16)
WHITE: Colour = (246, 243, 238)
LIP: Colour = (176, 62, 66)
EYES = -0.08
"""Height of the eyes on the head: -1 is its top, +1 the chin."""

_ANGLES = np.linspace(0, 2 * math.pi, 32, endpoint=False)
CIRCLE: Points = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)  # [32, 2], the upper half comes second
ACROSS = np.linspace(-1, 1, 13)  # along a lid or a lip, from corner to corner
ARCH = 1 - ACROSS**2
_T = np.linspace(0, 1, 9)
BEZIER = np.stack([(1 - _T) ** 2, 2 * _T * (1 - _T), _T**2], axis=1)  # [9, 3]
MIRROR = {1: np.array([1.0, 1.0]), -1: np.array([-1.0, 1.0])}


@dataclass(frozen=True)
class Identity:
    """Who is drawn. Lengths are in units of half the head's height."""

    skin: str
    tone: Colour
    hair: Colour
    hairstyle: str
    iris: Colour
    clothes: Colour
    glasses: bool
    width: float
    jaw: float
    brow_height: float
    brow_thickness: float
    brow_tilt: float
    eye_size: float
    eye_distance: float
    nose_length: float
    nose_width: float
    mouth_width: float
    mouth_height: float
    lip: float


@dataclass(frozen=True)
class Scene:
    """How the face is photographed: pose, light, camera. Nothing here knows the emotion.

    x, y: shift, in image widths. scale: half the head's height in image widths. roll, yaw, pitch: radians.
    light: angle from which it comes, radians. shading: its fall over half the image. level, contrast,
    saturation: factors. tint: a factor each for red, green, blue. blur: Gaussian radius in image widths.
    grain: standard deviation in gray levels of 0..255, drawn from `seed`.
    """

    background: Colour
    x: float
    y: float
    scale: float
    roll: float
    yaw: float
    pitch: float
    light: float
    shading: float
    level: float
    contrast: float
    saturation: float
    tint: tuple[float, float, float]
    blur: float
    grain: float
    seed: int


class Shape(NamedTuple):
    """One filled polygon (width 0) or line: points [N, 2] on the head, and how far in front of its middle."""

    points: Points
    depth: float
    colour: Colour
    width: float = 0.0


def render(identity: Identity, scene: Scene, units: Units, size: int = 64) -> NDArray[np.uint8]:
    """Draw one face: [size, size, 3] uint8 RGB, from nothing but the arguments.

    `units` maps action units (see ACTION_UNITS) to strengths 0..1; absent ones are 0.
    """
    pixels = size * fineness(size)
    canvas = Image.new("RGB", (pixels, pixels), scene.background)
    draw_person(canvas, identity, scene, units)
    return photograph(canvas, scene, size)


def fineness(size: int) -> int:
    """How many times too large an image is drawn: polygons have hard edges, and are smooth once averaged."""
    return 3 if size <= 112 else 2


def draw_person(canvas: Image.Image, identity: Identity, scene: Scene, units: Units) -> Box:
    """Draw head and shoulders on a square canvas; returns their bounds x1, y1, x2, y2 in its pixels, also outside."""
    pen = ImageDraw.Draw(canvas)
    shapes = [shape for part in (_head, _brows, _eyes, _nose, _mouth) for shape in part(identity, units)]
    if identity.glasses:
        shapes += _glasses(identity)
    points = _project(shapes, scene, canvas.width)
    unit = scene.scale * canvas.width
    start = 0
    for shape in shapes:
        end = start + 2 * len(shape.points)
        if shape.width:
            pen.line(points[start:end], shape.colour, max(round(shape.width * unit), 1))
        else:
            pen.polygon(points[start:end], shape.colour)
        start = end
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


def photograph(canvas: Image.Image, scene: Scene, size: int) -> NDArray[np.uint8]:
    """Average a canvas down to [size, size, 3] uint8 RGB, as the scene's camera and light show it."""
    image = canvas.reduce(canvas.width // size)
    if scene.blur * size > 0.1:
        image = image.filter(ImageFilter.GaussianBlur(scene.blur * size))
    return _expose(np.asarray(image, dtype=np.float32), scene)


def _project(shapes: list[Shape], scene: Scene, pixels: int) -> list[float]:
    """Head coordinates of all shapes to canvas coordinates x0, y0, x1, y1 ...

    What lies in front of the head's middle moves with yaw and pitch, what lies behind moves against them.
    """
    flat = np.concatenate([shape.points for shape in shapes])  # [N, 2]
    depth = np.repeat([shape.depth for shape in shapes], [len(shape.points) for shape in shapes])  # [N]
    x = flat[:, 0] * math.cos(scene.yaw) + depth * math.sin(scene.yaw)
    y = flat[:, 1] * math.cos(scene.pitch) + depth * math.sin(scene.pitch)
    c, s = math.cos(scene.roll), math.sin(scene.roll)
    turned = np.stack([c * x - s * y, s * x + c * y], axis=1)  # [N, 2]
    shift = np.array([0.5 + scene.x, 0.5 + scene.y])
    placed: list[float] = ((turned * scene.scale + shift) * pixels).ravel().tolist()
    return placed


def _expose(image: NDArray[np.float32], scene: Scene) -> NDArray[np.uint8]:
    """Light and camera: shading, tint, saturation, contrast, level and grain on [size, size, 3]."""
    size = len(image)
    across = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = across * math.cos(scene.light), across * math.sin(scene.light)
    shade = scene.level * (1 + scene.shading * (x[None, :] + y[:, None]))  # [size, size]
    # One 3 x 3 matrix does tint and saturation: s * diag(tint) + (1 - s) * luminance of the tinted colour.
    tint = np.diag(np.array(scene.tint, dtype=np.float32))
    luma = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    gray = np.tile((luma * scene.tint)[:, None], (1, 3))
    colours = (scene.saturation * tint + (1 - scene.saturation) * gray).astype(np.float32)
    taken = (image - 128) @ colours * scene.contrast + 128 * colours.sum(axis=0)
    taken *= shade[..., None]
    grain = np.random.default_rng(scene.seed).standard_normal((size, size), dtype=np.float32)
    taken += scene.grain * grain[..., None]
    return np.clip(taken + 0.5, 0, 255).astype(np.uint8)


def _head(of: Identity, units: Units) -> list[Shape]:
    """Hair, shoulders, neck, ears and outline: AU26 lengthens the chin, AU1 and 2 crease the forehead."""
    shadow = mix(of.tone, DARK, 0.25)
    x, y = of.width * CIRCLE[:, 0], CIRCLE[:, 1].copy()
    below = np.maximum(y, 0)
    x = x * (1 - (1 - of.jaw) * below**2)
    y = y + 0.14 * units.get(26, 0) * below
    outline = _line(x, y)
    shapes: list[Shape] = []
    if of.hairstyle == "long":
        shapes.append(Shape(_ellipse(0, 0.05, of.width * 1.22, 1.15), -0.3, of.hair))
        shapes.append(Shape(_box(0, 0.75, of.width * 1.2, 0.7), -0.3, of.hair))
    shapes.append(Shape(_ellipse(0, 1.95, 1.15, 0.75), -0.2, of.clothes))
    shapes.append(Shape(_box(0, 1.05, of.width * 0.5, 0.4), -0.1, shadow))
    for side in (-1, 1):
        shapes.append(Shape(_ellipse(side * of.width, 0.02, 0.1, 0.17), -0.1, shadow))
    if of.hairstyle != "bald":
        shapes.append(Shape(_ellipse(0, -0.2, of.width * 1.09, 0.9), -0.05, of.hair))
    shapes.append(Shape(outline, 0.0, of.tone))
    for rise in (0.0, 0.1):
        middle = _curve((-0.2, -0.46 - rise), (0, -0.5 - rise), (0.2, -0.46 - rise))
        shapes += _crease(of, units.get(1, 0), middle, 0.2)
        for side in (-1, 1):
            arc = _curve((0.24, -0.47 - rise), (0.38, -0.54 - rise), (0.5, -0.42 - rise))
            shapes += _crease(of, units.get(2, 0), _mirror(arc, side), 0.15)
    if of.hairstyle != "bald":
        low = {"short": -0.72, "long": -0.66, "fringe": -0.52}[of.hairstyle]
        part = 0.0 if of.hairstyle == "fringe" else -0.22
        hairline = _curve((of.width * 1.0, -0.3), (0.35 * of.width, low + part), (-of.width * 1.0, -0.3))
        crown = _ellipse(0, -0.2, of.width * 1.09, 0.9)
        shapes.append(Shape(np.concatenate([hairline, crown[len(crown) // 2 :]]), 0.02, of.hair))
    return shapes


def _brows(of: Identity, units: Units) -> list[Shape]:
    """AU1 lifts the inner ends, AU2 the outer ones; AU4 pulls all down and together, AU9 the inner ends."""
    raised, outer, lowered = units.get(1, 0), units.get(2, 0), units.get(4, 0)
    # Where AU1 acts too, AU4 draws the brows together without lowering them: the oblique brows of sadness.
    down = lowered * (1 - 0.8 * raised)
    base = EYES - of.brow_height
    inner = (
        of.eye_distance - 0.17 - 0.055 * lowered,
        base - 0.14 * raised + 0.13 * down + 0.05 * units.get(9, 0),
    )
    middle = (of.eye_distance + 0.02, base - 0.07 - 0.03 * raised - 0.13 * outer + 0.10 * down)
    end = (of.eye_distance + 0.23, base + 0.03 + of.brow_tilt - 0.14 * outer + 0.02 * down)
    colour = mix(of.hair, DARK, 0.35)
    line = _curve(inner, middle, end)  # [9, 2]
    half = 0.5 * of.brow_thickness * (1 - 0.6 * _T)
    ribbon = _between(line[:, 0], line[:, 1] - half, line[:, 1] + half)
    furrow = _curve((0.045, base - 0.04), (0.03, base + 0.04), (0.05, base + 0.12))
    shapes: list[Shape] = []
    for side in (-1, 1):
        shapes.append(Shape(_mirror(ribbon, side), 0.27, colour))
        shapes += _crease(of, lowered, _mirror(furrow, side), 0.27)
    return shapes


def _eyes(of: Identity, units: Units) -> list[Shape]:
    """AU5 opens the upper lid, AU7 tightens both, AU6 pushes the lower lid up and the cheek with it."""
    widened, cheeks, tight = units.get(5, 0), units.get(6, 0), units.get(7, 0)
    height = 0.085 * of.eye_size
    upper = height * max(1 + 0.95 * widened - 0.4 * tight - 0.25 * cheeks, 0.2)
    lower = 0.75 * height * max(1 + 0.25 * widened - 0.7 * tight - 1.1 * cheeks, -0.3)
    x = 0.165 * of.eye_size * ACROSS
    above, below = EYES - upper * ARCH**0.7, EYES + lower * ARCH**0.7
    opening = _between(x, above, below)
    shapes: list[Shape] = []
    for side in (-1, 1):
        shift = np.array([side * of.eye_distance, 0.0])
        shapes.append(Shape(opening + shift, 0.22, WHITE))
        for radius, colour in ((0.088, of.iris), (0.044, DARK)):
            across, down = (CIRCLE * radius * of.eye_size + (0, EYES - 0.1 * height)).T
            # What the lids cover of the iris is not seen.
            seen = np.clip(down, np.interp(across, x, above), np.interp(across, x, below))
            shapes.append(Shape(_line(across, seen) + shift, 0.22, colour))
        shapes.append(Shape(_line(x, above) + shift, 0.22, DARK, 0.035))
        shapes.append(Shape(_line(x, below) + shift, 0.22, mix(of.tone, DARK, 0.45), 0.015))
        bag = _line(0.8 * x, EYES + 0.045 + max(lower, 0) + 0.04 * ARCH)
        shapes += _crease(of, tight, bag + shift, 0.22)
        out = of.eye_distance + 0.2 * of.eye_size
        cheek = _curve((0.17, EYES + 0.12), (of.eye_distance, EYES + 0.27), (out + 0.04, EYES + 0.1))
        shapes += _crease(of, cheeks, _mirror(cheek, side), 0.22)
        for rise in (-0.06, 0.0, 0.06):
            foot = np.array([[out, EYES + 0.3 * rise], [out + 0.09, EYES + rise]])
            shapes += _crease(of, cheeks, _mirror(foot, side), 0.15)
    return shapes


def _glasses(of: Identity) -> list[Shape]:
    rim = _ellipse(of.eye_distance, EYES + 0.02, 0.255, 0.2)
    rim = np.concatenate([rim, rim[:1]])
    bridge = np.array([[of.eye_distance - 0.25, EYES], [0.25 - of.eye_distance, EYES]])
    frame = [Shape(_mirror(rim, side), 0.3, DARK, 0.035) for side in (-1, 1)]
    return [*frame, Shape(bridge, 0.34, DARK, 0.035)]


def _nose(of: Identity, units: Units) -> list[Shape]:
    """AU9 pulls the wings up and creases the bridge and the sides of the nose."""
    wrinkled = units.get(9, 0)
    tip = of.nose_length - 0.05 * wrinkled
    wing = of.nose_width * (1 + 0.25 * wrinkled)
    shadow = mix(of.tone, DARK, 0.3)
    side_line = _curve((0.07, EYES), (0.05, 0.5 * tip), (wing, tip - 0.04))
    base = _curve((-wing, tip - 0.04), (0, tip + 0.1), (wing, tip - 0.04))
    shapes = [Shape(side_line, 0.34, shadow, 0.02), Shape(base, 0.38, shadow, 0.025)]
    for side in (-1, 1):
        shapes.append(Shape(_ellipse(side * wing * 0.5, tip, 0.035, 0.02), 0.38, mix(of.tone, DARK, 0.75)))
        cheek = _curve((0.07, EYES + 0.1), (0.13, EYES + 0.16), (wing + 0.05, tip - 0.08))
        shapes += _crease(of, wrinkled, _mirror(cheek, side), 0.3)
    for step in (0.0, 0.07, 0.14):
        across = _curve((-0.085, EYES + step + 0.02), (0, EYES + step - 0.03), (0.085, EYES + step + 0.02))
        shapes += _crease(of, wrinkled, across, 0.34)
    return shapes


def _mouth(of: Identity, units: Units) -> list[Shape]:
    """AU12, 15 move the corners, AU20, 23 stretch and tighten, AU16, 26 open, AU9 lifts the upper lip."""
    nose, pulled, pressed = units.get(9, 0), units.get(12, 0), units.get(15, 0)
    depressed, stretched, tight, jaw = units.get(16, 0), units.get(20, 0), units.get(23, 0), units.get(26, 0)
    x = ACROSS * of.mouth_width * (1 + 0.3 * pulled + 0.35 * stretched - 0.2 * tight - 0.28 * jaw)
    lip = of.lip * (1 - 0.7 * tight) * (1 - 0.3 * stretched)
    corner = -0.15 * pulled + 0.14 * pressed + 0.05 * stretched
    arch = ARCH ** (0.8 - 0.4 * max(stretched, depressed))  # stretched lips open as a box, not as an O
    middle = of.mouth_height + 0.04 * pulled - 0.05 * nose + 0.09 * jaw + corner * ACROSS**2
    top = middle - (0.02 * pulled + 0.12 * jaw) * arch
    bottom = middle + (0.05 * pulled + 0.03 * stretched + 0.11 * depressed + 0.18 * jaw) * arch
    bow = 1 - 0.3 * np.exp(-((ACROSS / 0.18) ** 2))
    colour = mix(of.tone, LIP, 0.6)
    lips = _between(x, top - lip * ARCH**0.8 * bow, bottom + 1.25 * lip * ARCH**0.8)
    shapes = [Shape(lips, 0.28, colour), Shape(_between(x, top, bottom), 0.28, mix(LIP, DARK, 0.75))]
    # A dropped jaw alone leaves the lips over the teeth: smiling and stretching bare the upper ones.
    above = np.minimum(top + 0.06 * max(pulled, stretched), bottom)
    below = np.maximum(bottom - 0.08 * depressed, top)
    shapes += [Shape(_between(x, top, above), 0.28, WHITE), Shape(_between(x, below, bottom), 0.28, WHITE)]
    shapes.append(Shape(_line(x, top), 0.28, mix(LIP, DARK, 0.85), 0.025))
    end, low = x[-1], of.mouth_height + corner + 0.09 * jaw
    for side in (-1, 1):
        fold = _curve((0.15, of.nose_length - 0.04), (end + 0.06, of.nose_length + 0.06), (end + 0.1, low))
        shapes += _crease(of, max(pulled, 0.8 * nose), _mirror(fold, side), 0.26)
        droop = _curve((end + 0.02, low), (end + 0.06, low + 0.04), (end + 0.06, low + 0.13))
        shapes += _crease(of, pressed, _mirror(droop, side), 0.24)
        dimple = _curve((end + 0.06, low - 0.09), (end + 0.09, low), (end + 0.06, low + 0.09))
        shapes += _crease(of, stretched, _mirror(dimple, side), 0.22)
        purse = _curve((0.05, low - 0.12), (0.5 * end, low - 0.09), (end, low - 0.05))
        shapes += _crease(of, tight, _mirror(purse, side), 0.27)
    chin = _line(0.6 * x, bottom[6] + 2 * lip + 0.05 - 0.03 * ARCH)
    return shapes + _crease(of, max(depressed, tight), chin, 0.26)


def _crease(of: Identity, strength: float, points: Points, depth: float) -> list[Shape]:
    """A wrinkle of the skin, the darker the stronger its action unit; none below a tenth."""
    if strength < 0.1:
        return []
    return [Shape(points, depth, mix(of.tone, DARK, 0.7 * strength), 0.025)]


def _line(x: Points, y: Points) -> Points:
    """Coordinates [N] and [N] as points [N, 2]."""
    return np.array((x, y)).T


def _between(x: Points, upper: Points, lower: Points) -> Points:
    return np.concatenate([_line(x, upper), _line(x, lower)[::-1]])


def _ellipse(x: float, y: float, width: float, height: float) -> Points:
    return CIRCLE * (width, height) + (x, y)


def _box(x: float, y: float, width: float, height: float) -> Points:
    return np.array(
        [[x - width, y - height], [x + width, y - height], [x + width, y + height], [x - width, y + height]]
    )


def _curve(start: tuple[float, float], towards: tuple[float, float], end: tuple[float, float]) -> Points:
    """A quadratic Bezier curve, [9, 2]."""
    return BEZIER @ np.array((start, towards, end))


def _mirror(points: Points, side: int) -> Points:
    return points * MIRROR[side]


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """`share`, 0..1, of the other colour in the first."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue
