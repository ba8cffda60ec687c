"""One picture that a stranger has sent: checked, decoded, its faces found; refused with a status and a sentence."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe

import numpy as np
from PIL import Image, UnidentifiedImageError

from emodo import detectors
from emodo.data import decode, picture
from emodo.images import UNREADABLE, reason
from emodo.records import InputError

FORMATS = ("JPEG", "PNG", "WEBP")  # what cameras and browsers make; Pillow's other 40 readers are never asked
NAMED = "JPEG, PNG or WebP"
SIDE = 224  # of a face that is cut out, in pixels
FACES = 9  # more than these are not looked at


class Refused(Exception):
    """Nothing is predicted: an HTTP status from 400 to 499, and a sentence that says why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def read(data: bytes, max_pixels: int) -> Image.Image:
    """Decode a picture to RGB, upright, as `emodo predict` does a file.

    Raises Refused: 413 where it claims more than `max_pixels`, which is known before anything is decoded; 415 where it
    is none of `FORMATS`; 422 where it is empty, broken or an animation.
    """
    if not data:
        raise Refused(422, "The file is empty (zero bytes).")
    try:
        width, height = Image.open(io.BytesIO(data), formats=FORMATS).size
    except Image.DecompressionBombError:
        raise Refused(413, f"The picture claims over 179 million pixels: at most {max_pixels:,} are taken.") from None
    except UnidentifiedImageError:
        raise Refused(415, f"The file is no {NAMED} picture.") from None
    except UNREADABLE as error:
        raise Refused(422, f"The file {reason(error)}.") from None
    if width * height > max_pixels:
        raise Refused(413, f"The picture has {width:,} x {height:,} pixels: at most {max_pixels:,} are taken.")
    try:
        return picture(decode(io.BytesIO(data), len(data), max_pixels, FORMATS))
    except Exception as error:  # whatever a decoder makes of a file from anywhere is that file's error alone
        raise Refused(422, f"The file {reason(error)}.") from None


# ------------------------------------------------------------------------------------------------ faces


def load_detector(faces: str) -> tuple[detectors.Detector | None, str]:
    """The detector that `--faces` names, and its name for people.

    faces: auto (LBP where scikit-image is installed), none, lbp, or YuNet's file.

    Raises InputError where it cannot be used.
    """
    if faces == "none":
        return None, "none"
    if faces in ("auto", "lbp"):
        try:
            return detectors.lbp(), "LBP"
        except InputError:
            if faces == "auto":
                return None, "none"
            raise InputError("--faces lbp needs scikit-image: pip install 'emodo[faces]'") from None
    if not Path(faces).is_file():
        raise InputError(f"--faces is {faces}: it is auto, none, lbp, or a file, {detectors.YUNET}")
    return detectors.yunet(Path(faces), 0.9), "YuNet"


class Finder:
    """Finds faces; one thread at a time, since detectors keep what they look at."""

    def __init__(self, faces: str) -> None:
        """faces: as `load_detector` takes it; raises InputError as it does."""
        self._detector, self.name = load_detector(faces)
        self._lock = threading.Lock()

    def __call__(self, image: Image.Image) -> list[detectors.Face]:
        """The faces of an image within its edges, the largest first; none without a detector."""
        if self._detector is None:
            return []
        with self._lock:
            found = detectors.find(self._detector, image, None)[:FACES]
            return [found[0], *(self._detector.closer(image, face) for face in found[1:])] if found else []


def face_box(image: Image.Image, face: detectors.Face) -> np.ndarray:
    """The face's box within the image's edges, [4]: x1, y1, x2, y2."""
    x1, y1, x2, y2 = face.box
    return np.array([max(x1, 0), max(y1, 0), min(x2, image.width), min(y2, image.height)], float)


# --------------------------------------------------------------------------------------- pictures at hand


@dataclass(frozen=True)
class Held:
    """A picture as it was sent, and its faces. known: the right answer, where there is one."""

    data: bytes
    faces: Sequence[detectors.Face]
    known: str | None = None


class Hand:
    """The last pictures of all visitors, in memory: what a visitor's slider goes back to.

    No more than `capacity`, so memory is bounded however many come; who comes back too late chooses the picture anew.
    """

    def __init__(self, kept: Mapping[str, Held], capacity: int = 32) -> None:
        """kept: pictures that always stay, by the word to ask for each."""
        self._kept, self._capacity = kept, capacity
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, held: Held) -> str:
        """Hold a picture; returns the word to ask for it, which nobody guesses."""
        word = token_urlsafe()
        with self._lock:
            self._held[word] = held
            while len(self._held) > self._capacity:
                self._held.popitem(last=False)
        return word

    def __getitem__(self, word: str) -> Held:
        """The picture; raises Refused (410) where it is gone."""
        if word in self._kept:
            return self._kept[word]
        with self._lock:
            if word not in self._held:
                raise Refused(410, "The picture is no longer at hand: choose it again.")
            self._held.move_to_end(word)
            return self._held[word]
