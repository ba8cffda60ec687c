"""Schematic faces driven by facial action units: the data that comes with emodo.

An expression is a list of action units (Ekman and Friesen, Facial Action Coding System, 1978); each of the
six basic emotions is its EMFACS prototype. Three sources stand for the three data sets of the paper's
mixed-data experiment (Section 4.1): CK+ is gray, MMI has a plain blue background, Oulu-CASIA is dim and
blurred.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console
from rich.progress import track

from emodo.files import new_folder
from emodo.manifest import save
from emodo.records import InputError
from emodo.synthetic.drawing import ACTION_UNITS, Colour, Identity, Scene, mix, render

PROTOTYPES: dict[str, tuple[int, ...]] = {
    "anger": (4, 5, 7, 23),
    "disgust": (9, 15, 16),
    "fear": (1, 2, 4, 5, 7, 20, 26),
    "happiness": (6, 12),
    "sadness": (1, 4, 15),
    "surprise": (1, 2, 5, 26),
}
"""EMFACS: the action units of each emotion at its peak."""

PEAK = (0.9, 0.95, 1.0)
"""How far an expression has grown in the three peak frames of its sequence."""


@dataclass(frozen=True)
class Style:
    """What a source does to every photograph at style = 1; style in 0..1 fades it in, linearly.

    saturation: factor on the colourfulness. level: factor on the brightness. blur: radius of a Gaussian, as a
    share of the image's width. background: the colour that takes the place of the scene's own, if any.
    """

    saturation: float = 1.0
    level: float = 1.0
    blur: float = 0.0
    background: Colour | None = None


STYLES: dict[str, Style] = {
    "gray": Style(saturation=0.0),
    "blue": Style(background=(36, 72, 190)),
    "dim": Style(level=0.45, blur=0.012),
}
"""The sources. These constants, `style`, `intensity` and `noise` set how hard the data is."""

EMOTIONS, SOURCES = tuple(PROTOTYPES), tuple(STYLES)

SKINS: dict[str, tuple[Colour, Colour]] = {
    "light": ((250, 219, 195), (226, 180, 148)),
    "medium": ((216, 168, 130), (174, 120, 82)),
    "dark": ((150, 104, 74), (104, 70, 50)),
}
HAIRS: tuple[Colour, ...] = (
    (28, 24, 24),
    (64, 42, 30),
    (112, 72, 40),
    (190, 150, 84),
    (140, 62, 34),
    (150, 148, 146),
)
COLUMNS = ["path", "emotion", "source", "subject", "sequence", "frame", "glasses", "skin"]
HAIRSTYLES = ("short", "long", "fringe", "bald")
IRISES: tuple[Colour, ...] = ((62, 40, 26), (88, 62, 34), (70, 104, 130), (74, 100, 66))

# One stream of random numbers a cause, so that no draw of one can move another.
IDENTITY, EXPRESSION, TREMBLE, SCENE, MOTION = range(5)


def generate(
    out: Path,
    subjects: int = 40,
    size: int = 64,
    seed: int = 0,
    style: float = 1.0,
    intensity: tuple[float, float] = (0.8, 1.0),
    noise: float = 0.08,
) -> Path:
    """emodo generate faces OUT

    Draw a data set of schematic faces: subjects x 6 emotions x 3 frames a source, three sources, with
    OUT/manifest.csv. Subjects differ between sources. Every image depends only on (seed, source, subject,
    emotion, frame) and the options below, so a larger set holds the smaller one.

    Args:
        out: A new or empty folder; it appears whole, or not at all.
        subjects: People per source, at least 1.
        size: Width and height of the images in pixels, 32 to 1024.
        seed: Any integer from 0. Same seed, same pixels.
        style: How strongly a source shows in its images: 0 = all look alike, 1 = gray, blue and dim in full.
        intensity: Range from which each sequence's overall strength of the expression is drawn, within 0..1.
        noise: Standard deviation of the noise on every action unit, whose full strength is 1. More is harder.

    Returns:
        Path of the manifest, with the columns path, emotion, source, subject, sequence, frame, glasses, skin.

    Raises:
        InputError: OUT is not empty, or an option is out of range.
    """
    _check(subjects, size, seed, style, intensity, noise)
    rows: list[tuple[str | int, ...]] = []
    with new_folder(out) as folder:
        for source in SOURCES:
            (folder / "images" / source).mkdir(parents=True)
        sequences = list(itertools.product(SOURCES, range(subjects), EMOTIONS))
        quiet = len(sequences) * len(PEAK) < 2000
        for source, subject, emotion in track(sequences, "faces", console=Console(stderr=True), disable=quiet):
            name = f"{source}-{subject + 1:03d}"
            sequence = f"{name}-{emotion}"
            identity = draw_identity(seed, source, subject)
            for frame in range(len(PEAK)):
                units = draw_units(seed, source, subject, emotion, frame, intensity, noise)
                scene = draw_scene(seed, source, subject, emotion, frame, style)
                path = f"images/{source}/{sequence}_{frame + 1}.png"
                pixels = render(identity, scene, units, size)
                Image.fromarray(pixels).save(folder / path, compress_level=1)
                glasses = "yes" if identity.glasses else "no"
                rows.append((path, emotion, source, name, sequence, frame + 1, glasses, identity.skin))
        save(pd.DataFrame(rows, columns=COLUMNS), folder / "manifest.csv")
    return out / "manifest.csv"


def _check(subjects: int, size: int, seed: int, style: float, intensity: tuple[float, float], noise: float) -> None:
    if subjects < 1:
        raise InputError(f"subjects is {subjects}: at least 1 person is drawn in each source.")
    if not 32 <= size <= 1024:
        raise InputError(f"size is {size}: images are 32 to 1024 pixels wide.")
    if seed < 0:
        raise InputError(f"seed is {seed}: it counts from 0.")
    if not 0 <= style <= 1:
        raise InputError(f"style is {style:g}: it runs from 0 (sources look alike) to 1.")
    if not 0 <= intensity[0] <= intensity[1] <= 1:
        raise InputError(f"intensity is {list(intensity)}: it is a lowest and a highest value within 0 to 1.")
    if not 0 <= noise <= 1:
        raise InputError(f"noise is {noise:g}: the noise on the action units runs from 0 to 1.")


def _stream(seed: int, cause: int, source: str, subject: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence((seed, cause, SOURCES.index(source), subject, *key)))


def draw_identity(seed: int, source: str, subject: int) -> Identity:
    """Draw who `subject` (from 0) of a source is; the same person in every emotion, frame, size and style."""
    return random_identity(_stream(seed, IDENTITY, source, subject))


def random_identity(random: np.random.Generator) -> Identity:
    """Draw a person."""
    skin = list(SKINS)[random.integers(len(SKINS))]
    colours = HAIRS[:2] if skin == "dark" else HAIRS
    u = random.uniform
    return Identity(
        skin=skin,
        tone=mix(*SKINS[skin], u(0, 1)),
        hair=colours[random.integers(len(colours))],
        hairstyle=HAIRSTYLES[random.choice(4, p=(0.35, 0.3, 0.25, 0.1))],
        iris=IRISES[random.integers(len(IRISES))],
        clothes=(int(u(30, 220)), int(u(30, 220)), int(u(30, 220))),
        glasses=bool(u(0, 1) < 0.3),
        width=u(0.70, 0.82),
        jaw=u(0.60, 0.95),
        brow_height=u(0.20, 0.26),
        brow_thickness=u(0.045, 0.075),
        brow_tilt=u(-0.025, 0.025),
        eye_size=u(0.88, 1.15),
        eye_distance=u(0.31, 0.36),
        nose_length=u(0.28, 0.36),
        nose_width=u(0.10, 0.15),
        mouth_width=u(0.25, 0.32),
        mouth_height=u(0.50, 0.56),
        lip=u(0.04, 0.065),
    )


def draw_units(
    seed: int,
    source: str,
    subject: int,
    emotion: str,
    frame: int,
    intensity: tuple[float, float],
    noise: float,
) -> dict[int, float]:
    """Draw the strength, 0..1, of every action unit in one frame (0, 1, 2) of one sequence.

    Prototype x overall intensity x growth towards the peak, plus noise: the larger part shared by the
    sequence's frames (how this person shows it), a quarter of it new in every frame.
    """
    shown = EMOTIONS.index(emotion)
    random = _stream(seed, EXPRESSION, source, subject, shown)
    strength = random.uniform(*intensity) * PEAK[frame]
    lasting = random.normal(0, noise, len(ACTION_UNITS))
    passing = _stream(seed, TREMBLE, source, subject, shown, frame).normal(0, noise / 4, len(ACTION_UNITS))
    shift = (lasting + passing).tolist()
    active = PROTOTYPES[emotion]
    return {unit: min(max(strength * (unit in active) + shift[i], 0.0), 1.0) for i, unit in enumerate(ACTION_UNITS)}


def draw_scene(seed: int, source: str, subject: int, emotion: str, frame: int, style: float) -> Scene:
    """Draw pose, light and camera of one frame; `style` alone decides how much the source shows in it.

    The emotion is part of the key because each sequence is taken anew, and enters in no other way.
    """
    shown = EMOTIONS.index(emotion)
    u = _stream(seed, SCENE, source, subject, shown).uniform
    jitter = _stream(seed, MOTION, source, subject, shown, frame)
    of = STYLES[source]
    wall = round(u(60, 220))
    background = mix((wall, wall, wall), (round(u(0, 255)), round(u(0, 255)), round(u(0, 255))), 0.35)
    if of.background:
        background = mix(background, of.background, style)
    dx, dy, roll, yaw = jitter.normal(0, (0.006, 0.006, 0.012, 0.015)).tolist()
    return Scene(
        background=background,
        x=u(-0.04, 0.04) + dx,
        y=u(-0.03, 0.03) + dy,
        scale=u(0.38, 0.43),
        roll=u(-0.14, 0.14) + roll,
        yaw=u(-0.3, 0.3) + yaw,
        pitch=u(-0.15, 0.15),
        light=u(0, 2 * math.pi),
        shading=u(0, 0.3),
        level=u(0.85, 1.1) * (1 - style * (1 - of.level)),
        contrast=u(0.8, 1.1),
        saturation=u(0.5, 1.1) * (1 - style * (1 - of.saturation)),
        tint=(u(0.94, 1.06), u(0.94, 1.06), u(0.94, 1.06)),
        blur=u(0, 0.006) + style * of.blur,
        grain=u(1, 4),
        seed=int(jitter.integers(2**32)),
    )
