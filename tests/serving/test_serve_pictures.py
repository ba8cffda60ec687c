"""What strangers send: read as a file would be, or refused with a status and a sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from emodo.data import read_image
from emodo.detectors import Detector, Face, square
from emodo.records import InputError
from emodo.serving import pictures
from emodo.serving.pictures import SIDE, Finder, Hand, Held, Refused, face_box, load_detector, read

LIMIT = 1_000_000


def waves(width=40, height=30):
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([6 * x, 8 * y, 5 * (x + y)], axis=2).clip(0, 255).astype(np.uint8))


def stored(image, form, **settings):
    held = io.BytesIO()
    image.save(held, form, **settings)
    return held.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return stored(waves(), "JPEG", exif=exif)


def bomb():
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 14000, 14000, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(1 << 20)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in [*chunks, (b"IEND", b"")]
    )


GOOD = {
    "jpeg": lambda: stored(waves(), "JPEG"),
    "png": lambda: stored(waves(), "PNG"),
    "webp": lambda: stored(waves(), "WEBP", lossless=True),
    "turned": turned,
    "cmyk": lambda: stored(waves().convert("CMYK"), "JPEG"),
    "palette": lambda: stored(waves().quantize(16), "PNG"),
    "16 bits": lambda: stored(Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50), "PNG"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_it_is_read_as_the_file_would_be(tmp_path, kind):
    data = GOOD[kind]()
    (tmp_path / "file").write_bytes(data)
    found = read(data, LIMIT)
    assert found.size == ((30, 40) if kind == "turned" else (40, 30))
    assert np.array_equal(np.asarray(found), read_image(tmp_path / "file").permute(1, 2, 0).numpy())


def moving(form):
    return stored(waves(), form, save_all=True, append_images=[waves().rotate(90), waves().rotate(180)])


BAD = {
    "empty": (b"", 422, "The file is empty (zero bytes)."),
    "text": (b"no picture", 415, "The file is no JPEG, PNG or WebP picture."),
    "page": (b"<!doctype html><title>a.jpg</title>", 415, "The file is no JPEG, PNG or WebP picture."),
    "pdf": (b"%PDF-1.4\n1 0 obj\n", 415, "The file is no JPEG, PNG or WebP picture."),
    "gif": (stored(waves(), "GIF"), 415, "The file is no JPEG, PNG or WebP picture."),
    "tiff": (stored(waves(), "TIFF"), 415, "The file is no JPEG, PNG or WebP picture."),
    "eps": (stored(waves(), "EPS"), 415, "The file is no JPEG, PNG or WebP picture."),
    "truncated": (stored(waves(), "JPEG")[:-200], 422, "The file is truncated."),
    "animated png": (moving("PNG"), 422, "The file is an animation: save the one picture that is meant."),
    "animated webp": (moving("WEBP"), 422, "The file is an animation: save the one picture that is meant."),
    "large": (
        stored(Image.new("RGB", (1001, 1000)), "PNG"),
        413,
        "The picture has 1,001 x 1,000 pixels: at most 1,000,000 are taken.",
    ),
    "bomb": (bomb(), 413, "The picture claims over 179 million pixels: at most 1,000,000 are taken."),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_read_is_refused(kind):
    data, status, sentence = BAD[kind]
    with pytest.raises(Refused) as refused:
        read(data, LIMIT)
    assert (refused.value.status, str(refused.value)) == (status, sentence)


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch):
    def decode(*_):
        raise AssertionError("decoded")

    assert len(bomb()) < 30_000
    monkeypatch.setattr(pictures, "decode", decode)
    with pytest.raises(Refused, match="claims over 179 million pixels"):
        read(bomb(), LIMIT)
    with pytest.raises(Refused, match=r"The picture has 1,001 x 1,000 pixels"):
        read(BAD["large"][0], LIMIT)
    with pytest.raises(Refused, match=r"decoded"):
        read(stored(waves(), "PNG"), LIMIT)


def test_no_other_of_pillows_readers_is_ever_asked(monkeypatch):
    asked, opens = [], Image.open

    def opened(*given, formats=None):
        asked.append(formats)
        return opens(*given, formats=formats)

    monkeypatch.setattr(Image, "open", opened)
    read(stored(waves(), "WEBP"), LIMIT)
    assert asked
    assert set(asked) == {pictures.FORMATS}


# ------------------------------------------------------------------------------------------------ faces


def test_the_detector_is_the_one_that_is_named(tmp_path):
    assert load_detector("none") == (None, "none")
    assert load_detector("auto")[1] == load_detector("lbp")[1] == "LBP"
    with pytest.raises(InputError, match=r"--faces is .*yunet: it is auto, none, lbp, or a file"):
        load_detector("yunet")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="cannot be used as YuNet"):
        load_detector(str(tmp_path / "bad.onnx"))


def test_without_scikit_image_auto_finds_none_and_lbp_says_what_is_needed(monkeypatch):
    def lbp():
        raise InputError("--detector lbp needs scikit-image: pip install 'emodo[faces]'")

    monkeypatch.setattr(pictures.detectors, "lbp", lbp)
    assert load_detector("auto") == (None, "none")
    with pytest.raises(InputError, match=r"--faces lbp needs scikit-image: pip install 'emodo\[faces\]'"):
        load_detector("lbp")


def test_faces_come_largest_first_each_looked_at_closer(monkeypatch):
    found = [Face((0, 0, 10, 10)), Face((20, 0, 40, 20)), Face((0, 15, 5, 20))]
    detector = Detector(lambda _: list(found), lambda _, face: Face(face.box, score=0.5))
    monkeypatch.setattr(pictures, "load_detector", lambda _: (detector, "two"))
    boxes = [(face.box, face.score) for face in Finder("auto")(waves())]
    assert boxes == [((20, 0, 40, 20), 0.5), ((0, 0, 10, 10), 0.5), ((0, 15, 5, 20), 0.5)]
    found.clear()
    assert Finder("auto")(waves()) == []
    assert Finder("none").name == "two"
    monkeypatch.setattr(pictures, "load_detector", lambda _: (None, "none"))
    assert Finder("none")(waves()) == []


def test_a_face_is_cut_out_as_a_square_and_its_box_ends_at_the_edges():
    image = Image.new("RGB", (100, 80), (10, 20, 30))
    image.paste((200, 100, 50), (40, 20, 80, 60))
    found = square(image, Face((40, 20, 80, 60)), SIDE)
    assert found.size == (224, 224)
    assert np.abs(np.asarray(found)[8:-8, 8:-8].astype(int) - (200, 100, 50)).max() <= 1
    assert face_box(image, Face((-5, 10, 120, 90))).tolist() == [0, 10, 100, 80]
    eyes = square(image, Face((40, 20, 80, 60), eyes=(50, 35, 70, 35)), SIDE)
    assert eyes.size == (224, 224)  # 30 % of the side lie between the eyes: 66.7 pixels from 26.7 to 93.3 across
    assert np.abs(np.asarray(eyes)[112, 112].astype(int) - (200, 100, 50)).max() <= 1
    assert np.abs(np.asarray(eyes)[112, 5].astype(int) - (10, 20, 30)).max() <= 1


# --------------------------------------------------------------------------------------- pictures at hand


def test_no_more_pictures_are_at_hand_than_there_is_room_for():
    hand = Hand({"drawn": Held(b"d", ())}, capacity=2)
    first, second = (hand.take(Held(bytes([at]), ())) for at in range(2))
    assert hand[first].data == b"\0"  # looked at last, so it stays
    third = hand.take(Held(b"\2", ()))
    assert [hand[word].data for word in (first, third)] == [b"\0", b"\2"]
    with pytest.raises(Refused, match="no longer at hand") as gone:
        hand[second]
    assert gone.value.status == 410
    assert len({first, second, third}) == 3
    assert hand["drawn"].data == b"d"  # always there, and in nobody's place
    assert hand[first].data == b"\0"
