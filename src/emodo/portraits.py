"""One row's face: looked for in its photograph, cut out, and written with what it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from emodo import __version__, detectors
from emodo.crops import Box, Eyes, roll
from emodo.data import UNREADABLE, picture, read_image
from emodo.files import atomic, sha256
from emodo.records import InputError

MARK = "emodo faces"  # names the text in a PNG that says what it was made from, and what was seen


@dataclass(frozen=True)
class Settings:
    """What decides the pixels of a face beside its row, and `max_pixels`, which only refuses.

    model, sha256: YuNet's file. aligned: of columns, whether the rows hold eyes. eyes: place of the left one.
    """

    detector: str
    model: Path | None
    sha256: str | None
    aligned: bool
    size: int
    eyes: tuple[float, float]
    score: float
    max_pixels: int

    def told(self) -> dict[str, Any]:
        """The settings that matter to this detector, as they are recorded."""
        yunet = {"sha256": self.sha256, "score": self.score} if self.detector == "yunet" else {}
        eyes = {"eyes": list(self.eyes)} if self.detector == "yunet" or self.aligned else {}
        return {"detector": self.detector, **yunet, "size": self.size, **eyes}


@dataclass(frozen=True)
class Row:
    """Where a photograph is, where its face goes, and what the manifest knows of its place; `number` counts from 0."""

    number: int
    source: str
    target: str
    box: Box | None
    eyes: Eyes | None


@dataclass(frozen=True)
class Seen:
    """How many faces there are; of the one that is taken, the detector's score and the tilt in degrees, if known."""

    faces: int
    score: float | None
    roll: float | None


@cache
def load_detector(settings: Settings) -> detectors.Detector | None:
    """The detector of this process; None where the manifest says where faces are."""
    if settings.detector == "columns":
        return None
    return detectors.lbp() if settings.model is None else detectors.yunet(settings.model, settings.score)


def see_some(job: tuple[Sequence[Row], Settings, bool]) -> list[Seen] | InputError:
    """`see` some rows; an error is returned, not raised, so that it leaves a process readably."""
    rows, settings, keep = job
    seen: list[Seen] = []
    for row in rows:
        try:
            seen.append(see(row, settings, keep))
        except InputError as error:
            return InputError(f"row {row.number + 1}: {error}")
    return seen


def see(row: Row, settings: Settings, keep: bool) -> Seen:
    """Write a row's face to its target, unless it is there, made from the same photograph, place and settings.

    keep: where no face is found, write the whole box, or the whole photograph; otherwise nothing is written then.

    Raises InputError where the photograph cannot be read.
    """
    source, target = Path(row.source), Path(row.target)
    key = _key(source, row, settings)
    before = _before(target, key)
    if before:
        return before
    image = picture(read_image(source, settings.max_pixels))
    whole = row.box or (0.0, 0.0, float(image.width), float(image.height))
    detector = load_detector(settings)
    if detector:
        found = detectors.find(detector, image, row.box)
    else:
        known = row.eyes if settings.aligned else row.box
        found = [detectors.Face(whole, row.eyes)] if known else []
    face = found[0] if found else detectors.Face(whole)
    seen = Seen(
        len(found),
        None if face.score is None else round(face.score, 4),
        None if face.eyes is None else round(roll(face.eyes), 2),
    )
    if found or keep:
        text = PngInfo()
        text.add_text(MARK, json.dumps({"key": key, **asdict(seen)}))
        with atomic(target) as temporary:
            square = detectors.square(image, face, settings.size, settings.eyes)
            square.save(temporary, "PNG", compress_level=1, pnginfo=text)
    return seen


def mark(image: Path) -> str | None:
    """What `see` has written into an image beside its pixels; None where it has not made it."""
    try:
        with Image.open(image) as header:
            return header.info.get(MARK)
    except (*UNREADABLE, Image.DecompressionBombError):
        return None


def _key(source: Path, row: Row, settings: Settings) -> str:
    """A digest of all that decides a face."""
    try:
        photograph = sha256(source)
    except OSError as error:
        raise InputError(f"{source} cannot be read ({error.strerror})") from None
    origin = json.dumps([__version__, settings.told(), photograph, row.box, row.eyes])
    return hashlib.sha256(origin.encode()).hexdigest()


def _before(target: Path, key: str) -> Seen | None:
    """What was seen when this face was made, if it was made from the same."""
    try:
        told = json.loads(mark(target) or "{}")
        return Seen(told["faces"], told["score"], told["roll"]) if told["key"] == key else None
    except (ValueError, LookupError, TypeError):
        return None
