"""What the tests of adapters share: a data set is a dictionary from path to content, written below tmp_path."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from emodo import manifest
from emodo.records import InputError

Place = Callable[..., Path]
Prepare = Callable[..., tuple[pd.DataFrame, str]]
Refusal = Callable[..., str]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Write files below tmp_path/root: text and bytes as they are, (width, height) as a gray image, None as empty."""

    def write(contents: Mapping[str, str | bytes | tuple[int, int] | None], root: str = "data") -> Path:
        for name, content in contents.items():
            file = tmp_path / root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                file.mkdir(exist_ok=True)
            elif isinstance(content, tuple):
                png = io.BytesIO()
                Image.new("L", content, 128).save(png, "PNG")  # whatever the suffix says: Pillow reads the content
                file.write_bytes(png.getvalue())
            else:
                file.write_bytes(content.encode() if isinstance(content, str) else content or b"")
        return tmp_path / root

    return write


@pytest.fixture
def prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Prepare:
    """Call an adapter and read its manifest as every verb does: the rows, and what was said on stderr."""

    def call(adapter: Callable[..., Path], root: Path, out: str = "out.csv", **options: object):
        capsys.readouterr()
        written = adapter(root, tmp_path / out, **options)
        stdout, stderr = capsys.readouterr()
        assert not stdout
        assert written == tmp_path / out
        return manifest.load(written), stderr.replace(f"{tmp_path}/", "")

    return call


@pytest.fixture
def refusal(tmp_path: Path) -> Refusal:
    """The message with which an adapter refuses a folder; nothing is written."""

    def call(adapter: Callable[..., Path], root: Path, **options: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(InputError) as caught:
            adapter(root, tmp_path / "out.csv", **options)
        assert sorted(tmp_path.rglob("*")) == before
        return str(caught.value).replace(f"{tmp_path}/", "")

    return call
