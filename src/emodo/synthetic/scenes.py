"""Generated scenes: pictures in which the scene goes with the emotion, and a face and a cue are what shows it.

Twelve scene categories by their names in Places365, half of them indoors. In each, head and shoulders of a person
whose face shows the emotion, and at times a cue of a good or a bad mood, the same in every scene. In training the
scene goes with the emotion; in the test it goes with none, or with another one: a model that reads the scene fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from emodo.files import new_folder
from emodo.manifest import BOX, save
from emodo.records import InputError
from emodo.synthetic import cues, indoors, outdoors
from emodo.synthetic.drawing import ACTION_UNITS, Scene, draw_person, fineness, photograph
from emodo.synthetic.faces import PROTOTYPES, random_identity
from emodo.synthetic.pen import Pen, Random

SCENES: dict[str, Callable[[Pen, Random], None]] = {
    "beach": outdoors.beach,
    "kitchen": indoors.kitchen,
    "cemetery": outdoors.cemetery,
    "hospital_room": indoors.hospital_room,
    "park": outdoors.park,
    "gymnasium/indoor": indoors.gymnasium,
    "street": outdoors.street,
    "office": indoors.office,
    "amusement_park": outdoors.amusement_park,
    "living_room": indoors.living_room,
    "mountain_snowy": outdoors.mountain_snowy,
    "classroom": indoors.classroom,
}
"""The categories, named as in Places365: outdoors and indoors in turn, and each such pair goes with one emotion."""

EMOTIONS: dict[str, tuple[str, ...]] = {
    "valence": ("positive", "negative"),
    "basic": ("happiness", "sadness", "disgust", "anger", "surprise", "fear"),
}
"""In the order in which they take the pairs of scenes; two emotions take them in turn."""

FACES: dict[str, tuple[str, ...]] = {
    "positive": ("happiness",),
    "negative": ("anger", "disgust", "fear", "sadness"),
    **{emotion: (emotion,) for emotion in EMOTIONS["basic"]},
}
"""The expressions that show an emotion. A surprised face alone tells no valence, so neither of the two shows it."""

GOOD = ("positive", "happiness", "surprise")
"""Emotions that have the good cues, the others having the bad ones; WEBEmo's tree has surprise on this side, too."""

CUES: dict[bool, dict[str, Callable[[Pen, Random, float, float], None]]] = {
    True: {"balloons": cues.balloons, "flowers": cues.flowers, "hearts": cues.hearts},
    False: {"smoke": cues.smoke, "cracks": cues.cracks, "rain": cues.rain},
}
"""The cues of a good (True) and of a bad mood."""

PARTS = ("train", "validation", "test")
COLUMNS = ["path", "emotion", "subject", *BOX, "split", "scene", "setting", "expression", "cue"]

# One stream of random numbers a cause, so that no draw of one can move another.
PLACE, PRESENCE, IDENTITY, POSE, EXPRESSION, CUE, ORDER = range(7)


class Picture(NamedTuple):
    """One drawn picture, [size, size, 3] uint8 RGB, and what it shows; None where there is no person or no cue."""

    pixels: NDArray[np.uint8]
    box: tuple[int, int, int, int] | None
    expression: str | None
    cue: str | None


@dataclass(frozen=True)
class Look:
    """How pictures are drawn: see `generate`, where people, cue, intensity and noise have their meaning."""

    size: int = 96
    people: float = 0.9
    cue: float = 0.3
    intensity: tuple[float, float] = (0.8, 1.0)
    noise: float = 0.08


def generate(
    out: Path,
    images: int = 2400,
    size: int = 96,
    seed: int = 0,
    emotions: Literal["valence", "basic"] = "valence",
    strength: float = 0.92,
    test: Literal["independent", "reversed", "same"] = "independent",
    people: float = 0.9,
    cue: float = 0.3,
    intensity: tuple[float, float] = (0.8, 1.0),
    noise: float = 0.08,
    tested: float = 0.3,
    validation: float = 0.1,
) -> Path:
    """emodo generate scenes OUT

    Draw a data set of schematic scenes with people, with OUT/manifest.csv, whose split is made by the drawing: in
    training and validation the scene goes with the emotion, in the test it does not, or goes with another one. For
    E emotions P(emotion | scene) is strength + (1 - strength) / E for the emotion that a scene goes with and
    (1 - strength) / E for every other, kept to one image a scene; scenes, and so emotions, are equally frequent.
    The confounder is the column scene (12 of Places365's categories) or setting (indoor, outdoor).

    Args:
        out: A new or empty folder; it appears whole, or not at all.
        images: Number of pictures, of all three parts.
        size: Width and height of the pictures in pixels, 64 to 1024.
        seed: Any integer from 0. Same seed and options, same pixels.
        emotions: valence is positive and negative; basic is the six basic emotions, which only the face tells apart.
        strength: How closely the scene goes with the emotion in training: 0 = not at all, 1 = one emotion a scene.
        test: Of the test pictures: independent (every emotion equally often in every scene), reversed (each scene
            goes, as closely, with the next emotion: with the other one of two), or same (as in training, for what
            a model gets within its distribution). Training pictures do not change with it.
        people: Share of the pictures that show a person, and so have a box and a subject. Methods that mask the
            person or crop to it need a box in every row: 1.
        cue: Share of the pictures with a person that show a cue too: balloons, flowers or hearts where the emotion
            is positive, happiness or surprise, otherwise smoke, cracks or a rain cloud. Without a person there is
            always one, so that no picture shows its emotion by the scene alone.
        intensity: Range from which the strength of each expression is drawn, within 0..1.
        noise: Standard deviation of the noise on every action unit, whose full strength is 1. More is harder.
        tested: Share of the pictures that is for the test.
        validation: Share of the pictures that is for validation, drawn as training is.

    Returns:
        Path of the manifest, with the columns path, emotion, subject, x1, y1, x2, y2, split, scene, setting,
        expression (of the face) and cue. No person is in two parts.

    Raises:
        InputError: OUT is not empty, or an option is out of range.
    """
    counts = _check(images, size, seed, strength, tested, validation, people, cue, intensity, noise)
    look, labels = Look(size, people, cue, intensity, noise), EMOTIONS[emotions]
    same, other = odds(labels, strength), odds(labels, strength, shift=1)
    tables = {"independent": odds(labels, 0.0), "reversed": other, "same": same}
    shown = {"train": same, "validation": same, "test": tables[test]}
    drawn = [(part, row) for part in PARTS for row in range(counts[part])]
    plan = {part: assign(shown[part], counts[part], seed, part) for part in PARTS}
    rows: list[tuple[object, ...]] = []
    with new_folder(out) as folder:
        for part in PARTS:
            (folder / "images" / part).mkdir(parents=True)
        quiet = len(drawn) < 2000
        for part, row in track(drawn, "scenes", console=Console(stderr=True), disable=quiet):
            scene, emotion = list(SCENES)[row % len(SCENES)], labels[plan[part][row]]
            picture = draw(seed, part, row, emotion, look)
            path = f"images/{part}/{row + 1:06d}-{scene.replace('/', '_')}.png"
            Image.fromarray(picture.pixels).save(folder / path, compress_level=1)
            subject = f"{part}-{row // len(SCENES) + 1:04d}" if picture.box else None
            setting = "indoor" if row % 2 else "outdoor"
            box = picture.box or (None,) * 4
            rows.append((path, emotion, subject, *box, part, scene, setting, picture.expression, picture.cue))
        frame = pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(BOX, "Int64"))
        save(frame, folder / "manifest.csv")
    return out / "manifest.csv"


def odds(emotions: tuple[str, ...], strength: float, shift: int = 0) -> NDArray[np.float64]:
    """P(emotion | scene), [12, E]; its rows sum to 1, and its columns to 12 / E where E divides 6.

    Scenes 2k and 2k + 1 go with emotion k + shift, counted round: strength + (1 - strength) / E for this one,
    (1 - strength) / E for every other.
    """
    own = (np.arange(len(SCENES)) // 2 + shift) % len(emotions)
    return (1 - strength) / len(emotions) + strength * np.eye(len(emotions))[own]


def assign(table: NDArray[np.float64], count: int, seed: int, part: str) -> NDArray[np.int64]:
    """The emotion of each picture of a part, [count]: of picture r in scene r mod 12, exactly as often as `odds` says.

    Within a scene each emotion has its share of the pictures, rounded by the largest remainders; which of them it
    gets is drawn. So an emotion's count is off by less than one, and there is no luck of the draw in the shift.
    """
    emotion = np.empty(count, np.int64)
    for scene, chances in enumerate(table):
        places = np.arange(scene, count, len(SCENES))
        exact = chances * len(places) + 1e-9  # 0.95 * 20 may be a little less than 19
        given = np.floor(exact).astype(int)
        order = (int(chances.argmax()) + np.arange(len(chances))) % len(chances)
        largest = order[np.argsort(-(exact - given)[order], kind="stable")]
        given[largest[: len(places) - given.sum()]] += 1
        random = _stream(seed, ORDER, part, scene)
        emotion[places] = random.permutation(np.repeat(np.arange(len(chances)), given))
    return emotion


def draw(seed: int, part: str, row: int, emotion: str, look: Look) -> Picture:
    """Draw picture `row` (from 0) of a part, in scene row mod 12, with person row div 12.

    The emotion decides expression and cue; layout, colours, person, pose, light, and whether there are a person and
    a cue, are the same for every emotion.
    """
    fine = fineness(look.size)
    canvas = Image.new("RGB", (look.size * fine, look.size * fine))
    _draw_place(canvas, list(SCENES)[row % len(SCENES)], _stream(seed, PLACE, part, row))
    pose = _pose(_stream(seed, POSE, part, row))
    present = _stream(seed, PRESENCE, part, row).uniform() < look.people
    cue = _draw_cue(canvas, emotion, _stream(seed, CUE, part, row), pose.x if present else None, look.cue)
    box = expression = None
    if present:
        identity = random_identity(_stream(seed, IDENTITY, part, row // len(SCENES)))
        expression, units = _express(emotion, _stream(seed, EXPRESSION, part, row), look)
        left, top, right, bottom = (
            min(max(side / fine, 0), look.size) for side in draw_person(canvas, identity, pose, units)
        )
        box = math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
    return Picture(photograph(canvas, pose, look.size), box, expression, cue)


def _draw_place(canvas: Image.Image, scene: str, random: Random) -> None:
    zoom, dx, dy, side = random.uniform((1.0, -0.08, -0.03, 0), (1.2, 0.08, 0.03, 1)).tolist()
    SCENES[scene](Pen(canvas, zoom, (dx, dy), side < 0.5), random)


def _draw_cue(canvas: Image.Image, emotion: str, random: Random, person: float | None, share: float) -> str | None:
    """Draw a cue, or none, and name it: beside a person (who stands `person` off the middle), else anywhere."""
    luck, kind, x, y = random.uniform(size=4).tolist()
    if person is None:
        x, y = 0.15 + 0.7 * x, 0.15 + 0.45 * y
    elif luck >= share:
        return None
    else:
        x, y = 0.11 + 0.08 * x, 0.12 + 0.25 * y
        x = x if person > 0 else 1 - x
    kinds = CUES[emotion in GOOD]
    name = list(kinds)[int(kind * len(kinds))]
    kinds[name](Pen(canvas), random, x, y)
    return name


def _express(emotion: str, random: Random, look: Look) -> tuple[str, dict[int, float]]:
    """Draw the expression that shows an emotion, and the strength, 0..1, of every action unit in it."""
    strength, kind = random.uniform(*look.intensity), random.uniform()
    shift = random.normal(0, look.noise, len(ACTION_UNITS)).tolist()
    expression = FACES[emotion][int(kind * len(FACES[emotion]))]
    active = PROTOTYPES[expression]
    units = {
        unit: min(max(strength * (unit in active) + off, 0), 1) for unit, off in zip(ACTION_UNITS, shift, strict=True)
    }
    return expression, units


def _pose(random: Random) -> Scene:
    """Draw where the person stands, light and camera; the shoulders always reach the lower edge."""
    u = random.uniform
    scale = u(0.25, 0.29)
    return Scene(
        background=(0, 0, 0),  # painted over
        x=u(-0.16, 0.16),
        y=0.5 - scale * u(1.65, 2.05),
        scale=scale,
        roll=u(-0.12, 0.12),
        yaw=u(-0.3, 0.3),
        pitch=u(-0.12, 0.12),
        light=u(0, 2 * math.pi),
        shading=u(0, 0.25),
        level=u(0.8, 1.1),
        contrast=u(0.85, 1.1),
        saturation=u(0.6, 1.1),
        tint=(u(0.94, 1.06), u(0.94, 1.06), u(0.94, 1.06)),
        blur=u(0, 0.004),
        grain=u(1, 4),
        seed=int(random.integers(2**32)),
    )


def _stream(seed: int, cause: int, part: str, *key: int) -> Random:
    return np.random.default_rng(np.random.SeedSequence((seed, cause, PARTS.index(part), *key)))


def _check(
    images: int,
    size: int,
    seed: int,
    strength: float,
    tested: float,
    validation: float,
    people: float,
    cue: float,
    intensity: tuple[float, float],
    noise: float,
) -> dict[str, int]:
    """Number of pictures in each part, where all is well."""
    if not 64 <= size <= 1024:
        raise InputError(f"size is {size}: pictures are 64 to 1024 pixels wide.")
    if seed < 0:
        raise InputError(f"seed is {seed}: it counts from 0.")
    if not 0 <= strength <= 1:
        raise InputError(f"strength is {strength:g}: it runs from 0 (scene and emotion are independent) to 1.")
    for name, share in (("people", people), ("cue", cue)):
        if not 0 <= share <= 1:
            raise InputError(f"{name} is {share:g}: a share of the pictures is from 0 to 1.")
    if not 0 <= intensity[0] <= intensity[1] <= 1:
        raise InputError(f"intensity is {list(intensity)}: it is a lowest and a highest value within 0 to 1.")
    if not 0 <= noise <= 1:
        raise InputError(f"noise is {noise:g}: the noise on the action units runs from 0 to 1.")
    if not (tested > 0 and validation >= 0 and tested + validation < 1):
        raise InputError(
            f"tested is {tested:g} and validation {validation:g}: shares of the pictures, the first above 0, which "
            "leave some for training."
        )
    held = {"validation": round(validation * images), "test": round(tested * images)}
    counts = {"train": images - sum(held.values()), **held}
    for part, count in counts.items():
        if count < len(SCENES) and (count or part != "validation"):
            raise InputError(
                f"{images} images leave {count} for {part}: ask for more, so that it has all {len(SCENES)} scenes."
            )
    return counts
