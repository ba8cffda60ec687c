"""One list of images, in one order, from whatever names them; what names nothing is refused."""

import io
import os
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emodo.listing import listed, shown
from emodo.records import InputError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """photos/ with b.png, a.JPG and deep/c.webp among files that are none; the working folder is around it."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "deep/c.webp", "a.jpeg", ".hidden/d.png", "__MACOSX/._b.png"):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(file)
    (tmp_path / "photos" / "a.jpeg").rename(tmp_path / "photos" / "a.JPG")
    for name in ("notes.txt", "paper.pdf", "Thumbs.db"):
        (tmp_path / "photos" / name).write_text("no image")
    return tmp_path


def stdin(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


ALL = ["photos/a.JPG", "photos/b.png", "photos/deep/c.webp"]


@pytest.mark.parametrize("word", ["photos", "photos/", "./photos", "{tmp}/photos"])
def test_a_folder_is_its_images_at_any_depth_sorted(photos, capsys, word):
    found = listed([word.format(tmp=photos)])
    start = f"{photos}/" if "tmp" in word else ""
    assert found.paths == [start + path for path in ALL]
    assert found.files == [str(photos / path) for path in ALL]
    assert found.boxes is None
    assert len(found) == 3
    assert capsys.readouterr().err == "emodo predict: passed over 2 files that are no images: 1 .pdf, 1 .txt\n"


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (["photos/*.png"], ["photos/b.png"]),
        (["photos/**/*.webp"], ["photos/deep/c.webp"]),
        (["photos/[ab]*"], ALL[:2]),
        (["photos/d*"], ALL[2:]),
        (["photos/deep", "photos/*.png"], ALL[1:]),
        (["photos/paper.pdf", "photos/b.png"], ["photos/b.png", "photos/paper.pdf"]),  # named: it will be told
    ],
)
def test_files_and_patterns_and_folders_go_together(photos, words, paths):
    assert listed(words).paths == paths


def test_what_is_named_twice_is_there_once(photos, capsys):
    (photos / "list.csv").write_text("path\nphotos/b.png\nphotos/zzz.png\nphotos/b.png\n")
    found = listed(["photos", "photos/b.png", "./photos/b.png", "list.csv"])
    assert sorted(found.files) == sorted([str(photos / path) for path in [*ALL, "photos/zzz.png"]])
    assert "3 images are named more than once, and predicted once" in capsys.readouterr().err


@pytest.mark.parametrize("data", [b"b.png\nphotos/a.JPG\n\nnone.png", b"b.png\r\nphotos/a.JPG\r\nnone.png\r\n"])
def test_stdin_has_a_path_a_line(photos, monkeypatch, data):
    stdin(monkeypatch, data)
    assert listed(["-"]).paths == ["b.png", "none.png", "photos/a.JPG"]


def test_paths_on_stdin_may_end_in_nul(photos, monkeypatch):
    stdin(monkeypatch, b"two\nlines.png\0b.png\0")
    assert listed(["-"]).paths == ["b.png", "two\nlines.png"]


def test_a_name_need_not_be_utf8(photos):
    os.rename(b"photos/b.png", b"photos/\xff.png")  # noqa: PTH104
    found = listed(["photos"])
    assert os.fsencode(found.files[-1]).endswith(b"/photos/\xff.png")
    assert shown(found.paths[-1]) == "photos/\\udcff.png"
    assert len(found.sha256()) == 64


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_table_keeps_its_order_and_its_boxes(photos, suffix):
    frame = pd.DataFrame({"path": ["z.png", "b.png", "b.png"], "emotion": ["?", "", "x"], "age": [1, 2, 3]})
    frame[["x1", "y1", "x2", "y2"]] = [[0, 0, 8, 6], [np.nan] * 4, [1, 1, 3, 3.5]]
    file = photos / "photos" / f"table.{suffix}"
    frame.to_parquet(file) if suffix == "parquet" else frame.to_csv(
        file, index=False, sep="\t" if suffix == "tsv" else ","
    )
    found = listed([str(file)])
    assert found.paths == ["z.png", "b.png", "b.png"]
    assert found.files == [str(photos / "photos" / path) for path in found.paths]
    np.testing.assert_array_equal(found.boxes, frame[["x1", "y1", "x2", "y2"]])
    part = found.part(1, 3)
    assert (part.paths, len(part)) == (["b.png", "b.png"], 2)
    np.testing.assert_array_equal(part.boxes, found.boxes[1:3])
    mixed = listed([str(file), "photos/deep"])
    assert mixed.paths == ["photos/deep/c.webp", "z.png", "b.png", "b.png"]
    assert np.isnan(mixed.boxes[0]).all()


def test_the_column_of_paths_may_have_another_name(photos):
    (photos / "list.csv").write_text("id,image,path\n1,b.png,nonsense\n2,a.png,\n")
    assert listed(["list.csv"], "image").paths == ["b.png", "a.png"]


def test_the_digest_is_of_paths_and_boxes(photos):
    def digest(text):
        (photos / "list.csv").write_text(text)
        return listed(["list.csv"]).sha256()

    texts = ["path\na\nb\n", "path\nb\na\n", "path\nab\n", "path,x1,y1,x2,y2\na,0,0,1,1\nb,0,0,1,2\n"]
    texts += ["path,x1,y1,x2,y2\na,0,0,1,1\nb,0,0,1,1\n"]
    assert len({digest(text) for text in texts}) == len(texts)
    assert digest(texts[0]) == digest("path,age\na,1\nb,2\n")  # what is not predicted does not matter


BAD = {
    "missing": (["photso"], "photso is missing: no such file or folder"),
    "pattern": (["photos/*.tiff"], r"photos/\*.tiff matches no image"),
    "empty folder": (["empty"], "empty holds no image .* at any depth; found no files at all"),
    "other files": (["texts"], r"texts holds no image .*; found 1 files that are no images: 1 .txt"),
    "missing table": (["none.csv"], "none.csv is missing: no such file"),
    "no column": (
        ["list.csv"],
        r"list.csv has no column path \(found: image\): name the column of the paths with --path",
    ),
    "empty path": (["gaps.csv"], "gaps.csv: row 2: the path is empty"),
    "half a box": (["half.csv"], "half.csv: row 1: the box is incomplete"),
    "inverted box": (["inverted.csv"], "inverted.csv: row 1: the box is empty or inverted"),
    "no paths": (["-"], "there are no paths on stdin"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_names_no_image_is_refused(photos, monkeypatch, case):
    (photos / "empty").mkdir()
    (photos / "texts").mkdir()
    (photos / "texts" / "a.txt").touch()
    (photos / "list.csv").write_text("image\na.png\n")
    (photos / "gaps.csv").write_text("path,age\na.png,1\n,2\n")
    (photos / "half.csv").write_text("path,x1,y1,x2,y2\na.png,1,,3,4\n")
    (photos / "inverted.csv").write_text("path,x1,y1,x2,y2\na.png,5,1,3,4\n")
    stdin(monkeypatch, b"\n\n")
    words, message = BAD[case]
    with pytest.raises(InputError, match=message):
        listed(words)
