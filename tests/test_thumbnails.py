"""Small pictures on a page: small, framed, never decoded beyond the limit; and what a map marks in one."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from emodo import thumbnails


def test_thumbnails_are_small_framed_and_never_decoded_beyond_the_limit(tmp_path: Path) -> None:
    wide = tmp_path / "wide.png"
    Image.new("RGBA", (400, 100), (0, 0, 255, 255)).save(wide)
    image = decoded(thumbnails.thumbnail(wide))
    assert image.size == (96, 24)
    framed = decoded(thumbnails.thumbnail(wide, (0.0, 0.0, 200.0, 100.0)))
    assert np.asarray(framed)[:, 47].mean(axis=0)[0] > 150  # the frame's right side is yellow
    assert np.asarray(framed)[:, 80].mean(axis=0)[0] < 50

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (7072, 20_000):  # just beyond 50 megapixels, and where Pillow itself would raise
        bomb = tmp_path / "bomb.png"
        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        pixels = zlib.compress(bytes((1 + side // 8) * min(side, 7072)))
        bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
        assert bomb.stat().st_size < 30_000
        assert thumbnails.thumbnail(bomb) is None
    (tmp_path / "broken.jpg").write_bytes(wide.read_bytes()[:60])
    assert thumbnails.thumbnail(tmp_path / "broken.jpg") is None
    assert thumbnails.thumbnail(tmp_path / "absent.jpg") is None


def decoded(address: str | None) -> Image.Image:
    assert address
    return Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))))


def test_a_map_colours_what_it_marks_in_an_image_that_is_gray_under_it() -> None:
    seen = np.full((8, 8, 3), (200, 40, 120), np.uint8)
    plain = np.asarray(decoded(thumbnails.shown(seen))).astype(int)
    assert plain.shape == (96, 96, 3)
    assert np.abs(plain - (200, 40, 120)).max() < 6
    heat = np.zeros((4, 4))
    heat[0, 3] = 2.5
    marked = np.asarray(decoded(thumbnails.shown(seen, heat))).astype(int)
    bottom, corner = marked[60:, :36], marked[2:10, 86:94]
    assert np.ptp(bottom, axis=2).max() < 6  # gray
    assert (corner.mean(axis=(0, 1)) - bottom.mean(axis=(0, 1)))[0] > 60
    assert (corner[..., 0] - corner[..., 2]).min() > 60
