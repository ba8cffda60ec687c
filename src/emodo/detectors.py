"""Faces in a photograph: OpenCV's YuNet from the user's file, or the LBP cascade that comes with scikit-image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image

from emodo.crops import Box, Eyes, cut, on_box, on_eyes, roll
from emodo.records import InputError

if TYPE_CHECKING:
    from cv2 import FaceDetectorYN

YUNET = (
    "face_detection_yunet_2023mar.onnx (or a later one), in the folder models/face_detection_yunet of the project "
    "opencv/opencv_zoo on GitHub"
)
# The longer sides at which YuNet looks, one after the other until a face is ENOUGH of it wide. It is made for faces of
# about 10 to 300 pixels: one that fills the picture is seen at 320, those of a crowd at 1280.
SIDES, ENOUGH = (320, 640, 1280), 0.1
PROFILE = 0.1  # of the face's width: eyes closer than this do not say which way is up
# In such a look the eyes follow the head's tilt by a fifth where a face is 64 pixels wide, by nine tenths where it is
# 224, and scatter by 4 and by 1.6 degrees. So the face that is taken is looked at again, in a square CLOSE faces wide:
# turned upright as far as is known, then turned upright again and mirrored too, at these sides. The mean over all of
# YuNet's overlapping answers, of which it otherwise gives the best, scatters by 0.45 degrees.
CLOSE, ROUNDS = 1.5, ((256, (False,)), (320, (False, True)))
OVERLAP = 0.5  # intersection over union: answers for the same face

# LBP: at 240 pixels a face is a sixth of the picture or more. Its box ends at the mouth; so much larger and so much
# lower it shows what a square on the eyes does (medians over 204 frontal photographs).
LBP_SIDE, LBP_LEAST, LBP_STEP = 240, 40, 1.2
LBP_LARGER, LBP_LOWER = 1.3, 0.07

PLACE = (0.35, 0.35)  # of the left eye in a face that is cut out, in shares of the side; the other lies opposite
AROUND = 0.25  # of the sides of a row's box are looked at around it: detectors want some background


@dataclass(frozen=True)
class Face:
    """A face in an image. eyes, score: None where the detector knows none."""

    box: Box
    eyes: Eyes | None = None
    score: float | None = None


@dataclass(frozen=True)
class Detector:
    """look: all faces of an image. closer: the same face of that image, its eyes more exactly."""

    look: Callable[[Image.Image], list[Face]]
    closer: Callable[[Image.Image, Face], Face]


def yunet(model: Path, score: float) -> Detector:
    """Load YuNet; what it is less sure of than `score`, in 0..1, is no face.

    Faces so far from the side that the eyes fall together are left out, as they cannot be aligned.

    Raises InputError where OpenCV is not installed, or cannot read the model or use it as YuNet.
    """
    try:
        import cv2
    except ImportError:
        raise InputError("--detector yunet needs OpenCV: pip install 'emodo[faces]'") from None
    cv2.setNumThreads(1)  # images are spread over the cores
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what goes wrong is raised, too

    def look(image: Image.Image) -> list[Face]:
        rows = np.empty((0, 15))
        for side in SIDES:
            seen = _resized(image, side)
            found = _answers(net, seen) * [*np.tile(np.divide(image.size, seen.size), 7), 1]
            rows = found if len(found) else rows
            if rows[:, 2].max(initial=0) >= ENOUGH * max(image.size):
                break
        return [
            Face((x, y, x + width, y + height), (x1, y1, x2, y2), score)
            for x, y, width, height, x1, y1, x2, y2, *_, score in rows.tolist()
        ]

    def closer(image: Image.Image, face: Face) -> Face:
        x, y = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
        half = CLOSE * (face.box[2] - face.box[0]) / 2
        square = (x - half, y - half, x + half, y + half)
        for side, mirrored in ROUNDS:
            assert face.eyes is not None
            matrix = on_box(square, side, roll(face.eyes))
            seen = cut(image, matrix, side)
            looks = [_eyes_in_the_middle(_answers(near, seen, mirror), side) for mirror in mirrored]
            found = [eyes for eyes in looks if eyes is not None]
            if not found:
                break
            x1, y1, x2, y2 = np.mean(found, axis=0)
            back = np.linalg.inv(matrix) @ [[x1, x2], [y1, y2], [1, 1]]  # [3, 2]
            face = replace(face, eyes=tuple(back[:2].T.ravel().tolist()))
        return face

    try:
        net = cv2.FaceDetectorYN.create(str(model), "", (SIDES[0], SIDES[0]), score)
        near = cv2.FaceDetectorYN.create(str(model), "", (SIDES[0], SIDES[0]), score / 2, 1.0)  # suppresses nothing
        look(Image.new("RGB", (SIDES[0], SIDES[0])))
    except cv2.error as error:
        reason = shorten(str(error).split("error: ")[-1], 120)
        raise InputError(f"--model {model} cannot be used as YuNet ({reason}): take {YUNET}") from None
    return Detector(look, closer)


def _answers(net: FaceDetectorYN, image: Image.Image, mirrored: bool = False) -> np.ndarray:
    """What YuNet sees in an image of this size, or in its mirror, [N, 15], faces from the side left out.

    Columns: the box as x, y, width, height; x and y of the person's right eye, which an upright face has on the image's
    left, of the left eye, the nose and the corners of the mouth; the score.
    """
    pixels = np.asarray(image)[:, :, ::-1]  # BGR
    net.setInputSize(image.size)
    found = cast("np.ndarray | None", net.detect(np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels))[1])
    rows = np.empty((0, 15)) if found is None else found.astype(float)
    if mirrored:  # what the mirror shows as the right eye is the left one; nose and mouth are not used
        rows[:, 0] += rows[:, 2]
        rows[:, [0, 4, 6]] = image.width - rows[:, [0, 6, 4]]
        rows[:, [5, 7]] = rows[:, [7, 5]]
    apart = np.hypot(rows[:, 6] - rows[:, 4], rows[:, 7] - rows[:, 5])
    return rows[apart >= PROFILE * rows[:, 2]]


def _eyes_in_the_middle(rows: np.ndarray, side: int) -> np.ndarray | None:
    """The eyes, [4], of the face in the middle of a square: the mean of all answers for it, by their scores."""
    start, end = rows[:, :2], rows[:, :2] + rows[:, 2:4]
    away = np.hypot(*(start + end - side).T) / 2
    weights = np.where(away < side / CLOSE / 2, rows[:, 14], 0)  # further than half a face: another one
    if not weights.any():
        return None
    best = weights.argmax()
    common = np.clip(np.minimum(end, end[best]) - np.maximum(start, start[best]), 0, None).prod(axis=1)
    areas = (end - start).prod(axis=1)
    weights[common < OVERLAP * (areas + areas[best] - common)] = 0
    return np.average(rows[:, 4:8], axis=0, weights=weights)


def lbp() -> Detector:
    """Load the cascade of local binary patterns; it knows frontal faces, and no eyes.

    Raises InputError where scikit-image is not installed.
    """
    try:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade
    except ImportError:
        raise InputError("--detector lbp needs scikit-image: pip install 'emodo[faces]'") from None
    cascade = Cascade(lbp_frontal_face_cascade_filename())

    def look(image: Image.Image) -> list[Face]:
        scale = max(image.size) / LBP_SIDE
        found = cascade.detect_multi_scale(
            np.asarray(_resized(image, LBP_SIDE)),
            LBP_STEP,
            1,
            min_size=(LBP_LEAST, LBP_LEAST),
            max_size=(LBP_SIDE, LBP_SIDE),
        )
        return [_whole(scale * box["c"], scale * box["r"], scale * box["width"]) for box in found]

    return Detector(look, lambda image, face: face)


def _whole(x: float, y: float, width: float) -> Face:
    """The face around one of LBP's squares."""
    x, y, half = x + width / 2, y + width * (0.5 + LBP_LOWER), width * LBP_LARGER / 2
    return Face((x - half, y - half, x + half, y + half))


def square(image: Image.Image, face: Face, size: int, place: tuple[float, float] = PLACE) -> Image.Image:
    """A face cut out, [size, size]: its eyes level and the left one at `place`, or its box where no eyes are known."""
    return cut(image, on_eyes(face.eyes, size, place) if face.eyes else on_box(face.box, size), size)


def find(detector: Detector, image: Image.Image, box: Box | None) -> list[Face]:
    """Find the faces of an image, or of a row's box in it: those whose middle lies in the box.

    The largest comes first, and it alone has been looked at closer.
    """
    x1, y1, x2, y2 = box or (0, 0, image.width, image.height)
    across, down = AROUND * (x2 - x1), AROUND * (y2 - y1)
    left, top = max(math.floor(x1 - across), 0), max(math.floor(y1 - down), 0)
    right, bottom = min(math.ceil(x2 + across), image.width), min(math.ceil(y2 + down), image.height)
    faces = [_moved(face, left, top) for face in detector.look(image.crop((left, top, right, bottom)))]
    if box:
        faces = [face for face in faces if x1 <= sum(face.box[::2]) / 2 <= x2 and y1 <= sum(face.box[1::2]) / 2 <= y2]
    faces.sort(key=lambda face: (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]), reverse=True)
    return [detector.closer(image, faces[0]), *faces[1:]] if faces else []


def _moved(face: Face, x: float, y: float) -> Face:
    def moved(places: Box | Eyes) -> Box:
        return places[0] + x, places[1] + y, places[2] + x, places[3] + y

    return replace(face, box=moved(face.box), eyes=face.eyes and moved(face.eyes))


def _resized(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    sides = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    return image.resize(sides, Image.Resampling.BILINEAR)
