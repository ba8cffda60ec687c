"""Small pictures as data: addresses, for a page that loads nothing."""

from __future__ import annotations

import base64
import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_PIXELS = 50_000_000  # a header may claim any size; decoding is refused beyond this
THUMBNAIL = 96
HEAT = (214, 64, 0)  # the colour of what a map marks, on a gray image
Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels
Place = tuple[Path, Box | None]  # where an image lies, and the person in it


@dataclass(frozen=True)
class Samples:
    """The thumbnails made so far; None for an image that could not be read."""

    made: dict[Place, str | None] = field(default_factory=dict[Place, str | None])

    def image(self, place: Place | None) -> str:
        """Give the thumbnail of the image at `place`, "" where there is none."""
        if place and place not in self.made:
            self.made[place] = thumbnail(*place)
        return (place and self.made[place]) or ""

    def notes(self) -> list[str]:
        """Say how many images could not be shown, if any."""
        lost = sum(image is None for image in self.made.values())
        return (
            [
                f"{lost} of {len(self.made)} sample images could not be shown: they are missing, unreadable, "
                f"or larger than {MAX_PIXELS // 1_000_000} megapixels."
            ]
            if lost
            else []
        )


def thumbnail(file: Path, box: Box | None = None) -> str | None:
    """Read an image as a small JPEG in a data: address, or None where it is missing, broken or too large.

    The longer side becomes 96 pixels, the proportions stay. The box is drawn as a frame: it is the person
    whom the row is about. The header's size is checked before anything is decoded: a file of a few kilobytes
    can claim more pixels than there is memory.
    """
    from PIL import Image, ImageDraw

    # Pillow warns and raises by itself only far above the limit here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(file) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    return None
                image.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))  # JPEG decodes small: faster
                small = image.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None
        small.thumbnail((THUMBNAIL, THUMBNAIL))
    if box:
        x, y = small.width / width, small.height / height
        corners = (box[0] * x, box[1] * y, box[2] * x - 1, box[3] * y - 1)
        if corners[0] <= corners[2] and corners[1] <= corners[3]:
            ImageDraw.Draw(small).rectangle(corners, outline="#ffd400")
    return address(small)


def shown(image: np.ndarray, heat: np.ndarray | None = None) -> str:
    """What a network saw, [S, S, 3] uint8, enlarged or reduced to 96 pixels; under a map of it, [h, w], 0 or more.

    With a map the image is gray, so that the map's colour is none of the image's; where the map has its largest value,
    the colour is at its strongest.
    """
    from PIL import Image

    small = Image.fromarray(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BICUBIC)
    if heat is not None:
        part = (255 * heat / max(float(heat.max()), 1e-12)).astype(np.uint8)
        mask = Image.fromarray(part).resize(small.size, Image.Resampling.BILINEAR).point(lambda value: 0.75 * value)
        small = small.convert("L").convert("RGB")
        small.paste(HEAT, (0, 0, *small.size), mask)
    return address(small)


def address(image: Picture, quality: int = 80) -> str:
    """The picture as a JPEG of this quality in a data: address."""
    held = io.BytesIO()
    image.save(held, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode("ascii")
