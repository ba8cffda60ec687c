"""Detectors: what is made of YuNet's answers, with a stand-in for the network; and the cascade on generated faces."""

import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from emodo import detectors
from emodo.detectors import find, lbp, yunet
from emodo.records import InputError
from emodo.synthetic.drawing import EYES, render
from emodo.synthetic.faces import draw_identity, draw_scene, draw_units

MODEL = Path("yunet.onnx")


def photograph(side, *faces):
    """Gray, with two spots for every face: red for the person's right eye, blue for the left one."""
    y, x = np.mgrid[:side, :side] + 0.5
    image = np.full((side, side, 3), 128.0)
    for x1, y1, x2, y2 in faces:
        spread = math.hypot(x2 - x1, y2 - y1) / 8
        for colour, (left, top) in (([255, 0, 0], (x1, y1)), ([0, 0, 255], (x2, y2))):
            mask = np.exp(-((x - left) ** 2 + (y - top) ** 2) / (2 * spread**2))[..., None]
            image = image * (1 - mask) + mask * np.array(colour)
    return Image.fromarray(image.round().astype(np.uint8))


class YuNet:
    """Stands in for the network: finds the one pair of spots, of which a mirror shows the left one as the right eye.

    Without suppression (closer looks) it answers twice, three pixels above and below; with it, ten pixels beside.
    """

    least = 4.0  # pixels between the eyes that it needs

    @classmethod
    def create(cls, model, config, size, score, nms=0.3):
        cls.created.append((model, config, size, score, nms))
        net = cls()
        net.score, net.all = score, nms == 1.0
        return net

    def setInputSize(self, size):
        self.size = size

    def detect(self, image):
        assert image.shape == (self.size[1], self.size[0], 3)
        assert image.flags.c_contiguous
        YuNet.sizes.append(self.size)
        blue, green, red = image.astype(float).transpose(2, 0, 1)
        y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
        spots = []
        for weight in (np.clip(red - green - 60, 0, None), np.clip(blue - green - 60, 0, None)):
            if weight.sum() == 0:
                return 1, None
            spots.append(((weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()))
        (x1, y1), (x2, y2) = sorted(spots)
        apart = math.hypot(x2 - x1, y2 - y1)
        if apart < self.least:
            return 1, None
        middle, width = ((x1 + x2) / 2, (y1 + y2) / 2 + apart / 2), 2 * apart
        box = [middle[0] - width / 2, middle[1] - 0.7 * width, width, 1.4 * width]
        moves = [(0, -3), (0, 3)] if self.all else [(apart / 6, 0)]
        rows = [[*box, x1 + dx, y1 + dy, x2 + dx, y2 + dy, *[0] * 6, 0.95] for dx, dy in moves]
        return 1, np.array(rows, np.float32)


@pytest.fixture
def net(monkeypatch):
    monkeypatch.setattr(cv2, "FaceDetectorYN", YuNet)
    monkeypatch.setattr(YuNet, "created", [], raising=False)
    monkeypatch.setattr(YuNet, "sizes", [], raising=False)
    return YuNet


@pytest.mark.parametrize("side", [60, 400, 1500])
@pytest.mark.parametrize("tilt", [-25, 0, 10])
def test_the_persons_right_eye_comes_first_and_closer_looks_correct_the_first(net, side, tilt):
    across, down = 0.1 * side * math.cos(math.radians(tilt)), 0.1 * side * math.sin(math.radians(tilt))
    eyes = (0.5 * side - across, 0.45 * side - down, 0.5 * side + across, 0.45 * side + down)
    (face,) = find(yunet(MODEL, 0.9), photograph(side, eyes), None)
    # The first look is a sixth of the eyes' distance, 0.033 sides, beside them.
    np.testing.assert_allclose(face.eyes, eyes, rtol=0, atol=max(0.002 * side, 0.25))
    assert face.score == pytest.approx(0.95)
    assert face.box[0] < eyes[0] < eyes[2] < face.box[2]


def test_the_network_is_given_the_file_and_the_least_score(net):
    yunet(Path("folder/yunet.onnx"), 0.8)
    assert net.created == [
        ("folder/yunet.onnx", "", (320, 320), 0.8, 0.3),
        ("folder/yunet.onnx", "", (320, 320), 0.4, 1.0),
    ]


@pytest.mark.parametrize(
    ("apart", "sizes"),
    [(100, [320]), (52, [320]), (48, [320, 640, 1280]), (12, [320, 640, 1280]), (2, [320, 640, 1280])],
)
def test_it_looks_at_larger_sizes_while_faces_are_small(net, apart, sizes):
    """The stand-in needs eyes four pixels apart, and its faces are twice as wide as that."""
    eyes = (500.0, 300.0, 500.0 + apart, 300.0)
    detector = yunet(MODEL, 0.9)
    net.sizes.clear()
    found = detector.look(photograph(1000, eyes))
    assert net.sizes == [(side, side) for side in sizes]
    assert len(found) == (apart > 4)
    if found:
        assert found[0].eyes[1] == pytest.approx(300, abs=1)


def test_images_keep_their_shape_when_they_are_looked_at(net):
    detector = yunet(MODEL, 0.9)
    net.sizes.clear()
    assert detector.look(Image.new("RGB", (300, 100))) == []
    assert net.sizes == [(320, 107), (640, 213), (1280, 427)]


def test_a_face_seen_from_the_side_is_none(net, monkeypatch):
    monkeypatch.setattr(detectors, "PROFILE", 0.6)  # the stand-in's eyes are half a box apart
    assert find(yunet(MODEL, 0.9), photograph(400, (180, 200, 220, 200)), None) == []


class Several:
    """Faces as they are given, whatever the image."""

    def __init__(self, *boxes):
        self.faces = [detectors.Face(box) for box in boxes]
        self.closer_at = []

    def look(self, image):
        self.seen = image.size
        return self.faces

    def closer(self, image, face):
        self.closer_at.append(face.box)
        return face


def test_the_largest_face_comes_first_and_it_alone_is_looked_at_again():
    given = Several((0, 0, 10, 10), (50, 50, 90, 80), (10, 10, 30, 30))
    faces = find(given, Image.new("RGB", (100, 100)), None)
    assert [face.box for face in faces] == [(50, 50, 90, 80), (10, 10, 30, 30), (0, 0, 10, 10)]
    assert given.closer_at == [(50, 50, 90, 80)]
    assert given.seen == (100, 100)


def test_of_a_row_with_a_box_the_box_and_a_quarter_around_it_are_searched():
    # The part that is searched starts at 30, 15: places are given from there.
    given = Several((0, 0, 18, 18), (10, 8, 50, 48), (12, 12, 20, 20))
    faces = find(given, Image.new("RGB", (200, 100)), (40, 20, 80, 40))
    assert given.seen == (60, 30)
    assert [face.box for face in faces] == [(42, 27, 50, 35)]  # the middles of the others lie beside the box
    assert find(given, Image.new("RGB", (200, 100)), (0, 0, 4, 4)) == []


# --------------------------------------------------------------------------------- what is not there


@pytest.mark.parametrize(
    ("module", "load", "named"), [("cv2", lambda: yunet(MODEL, 0.9), "OpenCV"), ("skimage.data", lbp, "scikit-image")]
)
def test_what_is_not_installed_is_named(monkeypatch, module, load, named):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"needs {named}: pip install 'emodo\[faces\]'"):
        load()


def field(number, content):
    """One field of a protocol buffer whose numbers are below 128 and whose texts are shorter."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    content = content.encode() if isinstance(content, str) else content
    return bytes([number << 3 | 2, len(content)]) + content


def other_network():
    """The smallest ONNX file that is a network: it gives back its input."""
    shape = field(2, b"".join(field(1, field(1, side)) for side in (1, 3, 64, 64)))
    places = [field(1, name) + field(2, field(1, field(1, 1) + shape)) for name in ("input", "output")]
    node = field(1, "input") + field(2, "output") + field(4, "Identity")
    graph = field(1, node) + field(2, "other") + field(11, places[0]) + field(12, places[1])
    return field(1, 8) + field(7, graph) + field(8, field(2, 17))


@pytest.mark.parametrize(
    "content", [b"", b"no network\n" * 9, other_network()], ids=["empty", "text", "another network"]
)
def test_a_file_that_is_not_yunet_is_refused(tmp_path, content, capfd):
    model = tmp_path / "model.onnx"
    model.write_bytes(content)
    with pytest.raises(InputError) as refused:
        yunet(model, 0.9)
    assert str(refused.value).startswith(f"--model {model} cannot be used as YuNet (")
    assert "face_detection_yunet_2023mar.onnx" in str(refused.value)
    assert "opencv/opencv_zoo" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


# ------------------------------------------------------------------------------------------- cascade


def test_the_cascade_finds_generated_faces_with_their_eyes_and_no_more():
    found = []
    for subject in range(1, 5):
        identity, scene = (
            draw(0, "gray", subject, *rest) for draw, rest in ((draw_identity, ()), (draw_scene, ("happiness", 0, 1.0)))
        )
        units = draw_units(0, "gray", subject, "happiness", 0, (0.8, 1.0), 0.08)
        image = Image.fromarray(render(identity, scene, units, 192))
        faces = find(lbp(), image, None)
        for face in faces[:1]:
            x, y = (0.5 + scene.x) * 192, (0.5 + scene.y + EYES * scene.scale) * 192
            assert face.box[0] + 20 < x < face.box[2] - 20
            assert face.box[1] + 20 < y < face.box[3] - 20
            assert face.eyes is face.score is None
            assert face.box[2] - face.box[0] == pytest.approx(face.box[3] - face.box[1])
        found.append(len(faces))
    assert found == [1, 1, 1, 1]
    assert find(lbp(), Image.new("RGB", (192, 192), (90, 120, 60)), None) == []
