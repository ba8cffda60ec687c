"""do(...) on an image as it was decoded: one thing is changed, in a unit that people know, and nothing else.

Everything is a pure function of an image, [3, H, W] uint8, and of random numbers that are handed in; the image that
comes in is not changed. Blur and noise are those of `emodo generate degradations`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from emodo.data import masked, picture, pixels
from emodo.synthetic import degradations

Dose = tuple[str, float]
"""The name of an intervention and its strength."""


@dataclass(frozen=True)
class Intervention:
    """What is done, in which unit, and how strongly by default.

    strengths: from mild to strong. unchanged: the strength at which the image stays as it is. low, high: what a
    strength may be. boxed: whether it needs the person's box.
    """

    what: str
    unit: str
    strengths: tuple[float, ...]
    unchanged: float
    low: float
    high: float
    boxed: bool = False


INTERVENTIONS = {
    "gray": Intervention("colour is taken away", "share of the colour", (0.5, 0.75, 1), 0, 0, 1),
    "brightness": Intervention("darker, or brighter", "times as bright", (1.4, 0.7, 2, 0.5, 0.3), 1, 0, 10),
    "background": Intervention(
        "everything outside the person's box is another row's image, of another emotion and stratum, its person gray",
        "share of the other",
        (0.3, 0.6, 1),
        0,
        0,
        1,
        boxed=True,
    ),
    "mask": Intervention(
        "the middle of the person's box is gray", "share of the box", (0.25, 0.5, 1), 0, 0, 1, boxed=True
    ),
    "blur": Intervention("Gaussian blur", "radius, share of side", (0.005, 0.01, 0.02, 0.04), 0, 0, 0.5),
    "noise": Intervention("Gaussian noise", "deviation, of full light", (0.05, 0.1, 0.2, 0.4), 0, 0, 1),
    "compression": Intervention("saved as JPEG and read again", "JPEG quality", (50, 20, 10, 5), 100, 1, 100),
    "mirror": Intervention("left and right exchanged", "", (1,), 0, 1, 1),
}
CONTROL = "mirror"


@dataclass(frozen=True)
class Shown:
    """An image, [3, H, W] uint8, and the person's box in it, [4] float, where there is one."""

    image: Tensor
    box: np.ndarray | None = None


def intervene(dose: Dose, shown: Shown, random: np.random.Generator, other: Shown | None = None) -> Shown:
    """Do one thing to an image.

    random: what noise is drawn from; the same generator gives the same pattern at every strength. other: the image
    whose background is taken. A box is where it was, and on the other side in a mirror.

    Raises KeyError for an intervention that there is not.
    """
    name, strength = dose[0], float(dose[1])  # a whole number would be counted in uint8, which wraps
    image, box = shown.image, shown.box
    if INTERVENTIONS[name].boxed:
        assert box is not None
        if name == "mask":
            return Shown(mask(image, box, strength), box)
        assert other is not None
        return Shown(background(image, box, strength, other), box)
    match name:
        case "gray":
            return Shown(tv.adjust_saturation(image, 1 - strength), box)
        case "brightness":
            return Shown(tv.adjust_brightness(image, strength), box)
        case "compression":
            return Shown(compression(image, round(strength)), box)
        case "mirror":
            x1, y1, x2, y2 = (0, 0, 0, 0) if box is None else box
            width = image.shape[-1]
            return Shown(image.flip(-1), None if box is None else np.array([width - x2, y1, width - x1, y2]))
        case _:
            degraded = degradations.apply(picture(image), name, strength, strength, random)
            return Shown(tensor(degraded), box)


def compression(image: Tensor, quality: int) -> Tensor:
    """Save an image as JPEG of this quality, 1 to 100, and read it again."""
    held = io.BytesIO()
    picture(image).save(held, "JPEG", quality=quality)
    with Image.open(held) as found:
        return tensor(found)


def mask(image: Tensor, box: np.ndarray, share: float) -> Tensor:
    """Fill the middle of the box, this share of its area and of its proportions, with gray, as CCIM's contexts have."""
    x1, y1, x2, y2 = box
    margin = (1 - share**0.5) / 2
    across, down = (x2 - x1) * margin, (y2 - y1) * margin
    return masked(image, np.array([x1 + across, y1 + down, x2 - across, y2 - down])) if share > 0 else image


def background(image: Tensor, box: np.ndarray, share: float, other: Shown) -> Tensor:
    """Mix another image into all that is outside the box; it is stretched to this image's size.

    share: how much of the other there is, 1 for nothing else. The other's person, where it has a box, is filled with
    the mean colour of the rest of its image: a second face would be an answer, and not a background.
    """
    size = list(image.shape[-2:])
    foreign = tv.resize(without_person(other), size, InterpolationMode.BICUBIC, antialias=True)
    mixed = torch.lerp(image.float(), foreign.float(), share).round().to(torch.uint8)
    x1, y1, x2, y2 = pixels(box)
    mixed[:, y1:y2, x1:x2] = image[:, y1:y2, x1:x2]
    return mixed


def without_person(shown: Shown) -> Tensor:
    """The image with the person's box in the mean colour of what is around it; as it is where nothing is around."""
    if shown.box is None:
        return shown.image
    x1, y1, x2, y2 = pixels(shown.box)
    outside = torch.ones(shown.image.shape[-2:], dtype=torch.bool)
    outside[y1:y2, x1:x2] = False
    if not outside.any():
        return shown.image
    filled = shown.image.clone()
    filled[:, y1:y2, x1:x2] = shown.image[:, outside].float().mean(dim=1).round().to(torch.uint8)[:, None, None]
    return filled


def generator(seed: int, path: str) -> np.random.Generator:
    """The random numbers of a row, which depend on nothing but the seed and the row's path."""
    digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def partners(emotion: np.ndarray, stratum: np.ndarray, path: Sequence[str], seed: int) -> np.ndarray | None:
    """For each of N rows the row whose background it gets, [N] int; None where all rows show one image.

    It is drawn from the rows of another emotion and another stratum, or else of another emotion, or else of another
    image. emotion, stratum: [N] int. path: the N images; a row never gets its own. What is drawn depends on seed and
    path.
    """
    paths = np.asarray(path)
    if len(set(path)) < 2:
        return None
    drawn = np.empty(len(paths), int)
    candidates: dict[tuple[int, int], np.ndarray] = {}
    for row, cell in enumerate(zip(emotion.tolist(), stratum.tolist(), strict=True)):
        if cell not in candidates:
            others = emotion != cell[0]
            both = others & (stratum != cell[1])
            candidates[cell] = np.flatnonzero(both if both.any() else others)
        able = candidates[cell]
        able = able[paths[able] != paths[row]]
        able = able if len(able) else np.flatnonzero(paths != paths[row])
        drawn[row] = generator(seed, paths[row]).choice(able)
    return drawn


def tensor(image: Image.Image) -> Tensor:
    """An RGB image of Pillow, [3, H, W] uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
