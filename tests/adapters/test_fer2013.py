"""FER2013 in miniature: a table of faces whose pixels are known."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emodo.adapters import ADAPTERS, pixels
from emodo.adapters.fer2013 import fer2013
from emodo.adapters.rafdb import rafdb


def face(seed: int) -> list[int]:
    generator = random.Random(seed)
    return [generator.randrange(256) for _ in range(48 * 48)]


def row(emotion: object, usage: str = "Training", seed: int = 0) -> str:
    return f"{emotion},{' '.join(map(str, face(seed)))},{usage}"


ROWS = [row(at, usage, at) for at, usage in enumerate(["Training"] * 4 + ["PublicTest"] + ["PrivateTest"] * 2)]
TABLE = "\n".join(["emotion,pixels,Usage", *ROWS])


def gray(file: str) -> list[int]:
    with Image.open(file) as image:
        assert image.mode == "L"
        assert image.size == (48, 48)
        return np.asarray(image, int).ravel().tolist()


def test_pixels_become_images_and_usages_splits(place, prepare, tmp_path: Path) -> None:
    frame, said = prepare(fer2013, place({"fer2013/fer2013.csv": TABLE}))
    assert frame.columns.tolist() == ["path", "emotion", "source", "split", "usage", "file"]
    assert frame.drop(columns="file").to_numpy().tolist() == [
        [f"out_images/{at:05d}.png", emotion, "FER2013", split, usage]
        for at, (emotion, split, usage) in enumerate(
            [
                ("anger", "train", "Training"),
                ("disgust", "train", "Training"),
                ("fear", "train", "Training"),
                ("happiness", "train", "Training"),
                ("sadness", "validation", "PublicTest"),
                ("surprise", "test", "PrivateTest"),
                ("neutral", "test", "PrivateTest"),
            ],
            1,
        )
    ]
    assert [gray(file) for file in frame["file"]] == [face(at) for at in range(7)]
    assert said.split("\n")[-3:-1] == [
        "out.csv: 7 images, 7 emotions",
        "out.csv: warning: 4 rows of Training, published are 28709; 1 rows of PublicTest, published are 3589; 2 rows "
        "of PrivateTest, published are 3589",
    ]
    assert ADAPTERS["fer2013"] is fer2013


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("header", ["emotion,pixels,Usage", "\ufeffemotion, pixels, Usage", "emotion, Usage, pixels"])
def test_headers_with_spaces_another_order_and_any_line_end(place, prepare, header: str, end: str) -> None:
    usage_first = header.endswith("pixels")
    rows = [f"{at},PublicTest,{line.split(',')[1]}" if usage_first else line for at, line in enumerate(ROWS)]
    frame, _ = prepare(fer2013, place({"icml_face_data.csv": end.join([header, *rows, ""])}))
    assert gray(frame["file"][6]) == face(6)
    assert set(frame["split"]) == ({"validation"} if usage_first else {"train", "validation", "test"})


def test_the_table_itself_as_root_and_kaggles_training_table(place, prepare) -> None:
    root = place({"train.csv": "\n".join(["emotion,pixels", *(line.rpartition(",")[0] for line in ROWS)])})
    frame, _ = prepare(fer2013, root / "train.csv")
    assert frame["split"].tolist() == ["train"] * 7
    assert prepare(fer2013, root, "b.csv")[0]["emotion"].tolist() == frame["emotion"].tolist()


def test_rows_that_are_wrong_are_named_with_their_line_and_nothing_is_written(place, refusal) -> None:
    rows = [
        row(7),
        row(""),
        row("3.0"),
        row(0, "Test"),
        "1,1 2 3,Training",
        "1,,Training",
        row(1).replace(f"1,{face(0)[0]} ", "1,256 "),
        row(1).replace(f"1,{face(0)[0]} ", "1,-1 "),
        row(1).replace(f"1,{face(0)[0]} ", "1,x "),
        row(1).replace(f"1,{face(0)[0]} ", "1,1.5 "),
    ]
    root = place({"fer2013.csv": "\r\n".join([TABLE.replace("\n", "\r\n"), *rows])})
    assert refusal(fer2013, root).split("\n") == [
        f"data/fer2013.csv: line {at}: {what}"
        for at, what in enumerate(
            [
                "'7' is no label: expected 0 to 6",
                "'' is no label: expected 0 to 6",
                "'3.0' is no label: expected 0 to 6",
                "unknown usage 'Test': expected Training, PublicTest, PrivateTest",
                "3 pixels, expected 2304 (48 x 48)",
                "0 pixels, expected 2304 (48 x 48)",
                "a pixel is not from 0 to 255",
                "a pixel is not from 0 to 255",
                "the pixels are not whole numbers with spaces between them",
                "the pixels are not whole numbers with spaces between them",
            ],
            9,
        )
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pixels,Usage\n1 2,Training", "no column emotion (found: pixels, usage)"),
        ("emotion,pixels,Usage\n", "data/fer2013.csv: no image is left"),
        ("", "no column emotion and no column pixels (found: none)"),
        (f"{TABLE}\n1,2", "line 9: 2 cells, expected 3"),
        (TABLE.encode("utf-16"), "cannot be read as CSV"),
        (f"emotion,pixels,Usage\n0,{'1 ' * 100_000},Training", "cannot be read as CSV (field larger than field limit"),
    ],
)
def test_tables_that_are_none(place, refusal, text: str, message: str) -> None:
    assert message in refusal(fer2013, place({"fer2013.csv": text}))


def test_images_that_are_there_stay_and_those_that_differ_are_replaced(place, prepare) -> None:
    root = place({"fer2013.csv": TABLE})
    frame, _ = prepare(fer2013, root)
    times = [Path(file).stat().st_mtime_ns for file in frame["file"]]
    Path(frame["file"][2]).write_bytes(b"cut short")
    Path(frame["file"][4]).unlink()
    again, _ = prepare(fer2013, root, overwrite=True)
    assert again.equals(frame)
    same = [Path(file).stat().st_mtime_ns == time for file, time in zip(frame["file"], times, strict=True)]
    assert same == [True, True, False, True, False, True, True]
    assert gray(frame["file"][2]) == face(2)


def test_an_existing_manifest_is_kept_and_so_are_its_images(place, prepare, tmp_path: Path) -> None:
    frame, _ = prepare(fer2013, place({"fer2013.csv": TABLE}))
    other = place({"fer2013.csv": TABLE.replace("0,", "1,", 1)}, "other")
    with pytest.raises(ValueError, match="exists already"):
        fer2013(other, tmp_path / "out.csv")
    assert gray(frame["file"][0]) == face(0)


def test_images_are_whole_or_absent(place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = place({"fer2013.csv": TABLE})

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pixels.files, "sync_folder", full)
    with pytest.raises(OSError, match="No space left"):
        fer2013(root, tmp_path / "out.csv")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data"]


def test_rows_are_read_one_at_a_time(place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written: list[int] = []
    read = pixels.face
    folder = tmp_path / ".out_images.tmp"
    monkeypatch.setattr(pixels, "face", lambda text: written.append(len(list(folder.glob("*")))) or read(text))
    fer2013(place({"fer2013.csv": TABLE}), tmp_path / "out.csv")
    assert written == list(range(7))  # the images before a row are on the disk when it is looked at


def test_class_folders(place, prepare, refusal) -> None:
    files = {
        f"archive/{part}/{name}/{part}_{at}.jpg": None
        for part in ("train", "test")
        for name in ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
        for at in range(2)
    }
    root = place(files | {"archive/train/angry/._train_0.jpg": None, "archive/collage.png": None, "test.csv": "pixels"})
    frame, said = prepare(fer2013, root)
    assert frame[["split", "emotion"]].value_counts().to_dict() == {
        (split, emotion): 2
        for split in ("train", "test")
        for emotion in ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    }
    assert "passed over 1 images outside of train and test" in said
    assert "14 images of train, published are 28709; 14 images of test, published are 7178" in said
    (root.parent / "out.csv").unlink()
    place({"archive/train/hapy/1.jpg": None, "archive/test/cats/1.jpg": None, "archive/train/loose.jpg": None})
    listed = (
        "expected one of afraid, anger, angry, disgust, disgusted, fear, fearful, happiness, happy, neutral, sad, "
        "sadness, scared, surprise, surprised"
    )
    assert refusal(fer2013, root).split("\n") == [
        f"data/archive/test/cats: the folder of 1 images is no class of the data set: {listed}",
        f"data/archive/train: the folder of 1 images is no class of the data set: {listed}",
        "data/archive/train/hapy: the folder of 1 images is no class of the data set: did you mean 'happy'? Rename it",
    ]


def test_a_folder_of_something_else(place, refusal) -> None:
    assert refusal(fer2013, place({"basic/EmoLabel/list_patition_label.txt": "train_00001.jpg 5"})) == (
        "data holds no fer2013.csv or icml_face_data.csv or train.csv, and no class folders train/angry/ (7 folders "
        "deep); found basic/: it looks like data for emodo prepare rafdb"
    )
    assert refusal(rafdb, place({"fer2013.csv": TABLE}, "b")).endswith("it looks like data for emodo prepare fer2013")
    assert refusal(fer2013, Path("absent")).endswith("absent is missing: no such folder")
