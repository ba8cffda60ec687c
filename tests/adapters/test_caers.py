"""CAER-S: class folders of train and test, and third-party lists of faces."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from emodo import manifest
from emodo.adapters.caers import caers
from emodo.records import InputError

CLASSES = ["Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]
EMOTIONS = ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "CAER-S"
    for split in ("train", "test"):
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
            Image.new("RGB", (72, 40)).save(folder / split / name / "0001.png")
    Image.new("RGB", (72, 40)).save(folder / "train" / "Sad" / "0002.png")
    (folder / "train" / "Sad" / "._0002.png").touch()
    return folder


def lists(folder: Path, train: str, test: str = "test/Anger/0001.png,0,1,2,30,40\n") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "train.txt").write_text(train)
    (folder / "test.txt").write_text(test)
    return folder


def problem(root: Path, **options: object) -> str:
    out = root.parent / "refused.csv"
    with pytest.raises(InputError) as caught:
        caers(root, out, **options)  # type: ignore[arg-type]
    assert not out.exists()
    return str(caught.value)


def test_folders_give_split_and_emotion(root: Path, tmp_path: Path, capsys) -> None:
    out = caers(root, tmp_path / "out.csv")
    frame = manifest.load(out)
    assert frame.columns.tolist() == ["path", "emotion", "source", "split", "file"]
    test = frame.loc[frame["split"] == "test"]
    assert test["path"].tolist() == [f"CAER-S/test/{name}/0001.png" for name in CLASSES]
    assert test["emotion"].tolist() == EMOTIONS
    assert (frame["split"] == "train").sum() == 8
    assert set(frame["source"]) == {"CAER-S"}
    assert capsys.readouterr() == ("", f"{out}: 15 images, 7 emotions\n")


def test_other_spellings_a_validation_part_and_a_wrapper(root: Path, tmp_path: Path) -> None:
    (root / "train" / "Anger").rename(root / "train" / "Angry")
    (root / "train").rename(root / "Train")
    (root / "val" / "fear").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(root / "val" / "fear" / "1.png")
    frame = manifest.load(caers(tmp_path, tmp_path / "out.csv"))
    assert frame.loc[frame["path"] == "CAER-S/Train/Angry/0001.png", "emotion"].tolist() == ["anger"]
    assert frame["split"].value_counts().to_dict() == {"train": 8, "test": 7, "validation": 1}


def test_lists_of_faces_give_boxes_and_leave_the_rest_out(root: Path, tmp_path: Path, capsys) -> None:
    train = "train/Sad/0002.png,5,10,4,20,14\rtrain/Happy/0001.png,3,0,0,7,7"  # CR, and none at the end
    out = caers(root, tmp_path / "out.csv", boxes=lists(tmp_path / "boxes", train))
    frame = manifest.load(out)
    assert frame["path"].str.removeprefix("CAER-S/").tolist() == [
        *("test/Anger/0001.png", "train/Happy/0001.png", "train/Sad/0002.png"),
    ]
    assert frame[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [[1, 2, 30, 40], [0, 0, 7, 7], [10, 4, 20, 14]]
    assert frame["emotion"].tolist() == ["anger", "happiness", "sadness"]
    said = capsys.readouterr().err
    assert "left out 12 images that the lists of faces do not have" in said
    assert "2 faces in train.txt, published are 47966; 1 faces in test.txt, published are 20868" in said


def test_boxes_are_cut_to_the_image_and_counted(root: Path, tmp_path: Path, capsys) -> None:
    here = lists(tmp_path / "boxes", "train/Sad/0001.png,5,-3,-1,80,40\ntrain/Fear/0001.png,2,1,1,9,9\n")
    frame = manifest.load(caers(root, tmp_path / "out.csv", boxes=here))
    assert frame.loc[frame["emotion"] == "sadness", ["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [[0, 0, 72, 40]]
    assert "1 boxes reached outside their image and were cut" in capsys.readouterr().err


def test_a_broken_image_is_left_out_where_its_size_is_needed(root: Path, tmp_path: Path, capsys) -> None:
    (root / "train" / "Sad" / "0001.png").write_bytes(b"no image")
    here = lists(tmp_path / "boxes", "train/Sad/0001.png,5,3,1,9,9\n")
    assert len(manifest.load(caers(root, tmp_path / "out.csv", boxes=here))) == 1
    assert "left out 1 files that cannot be read as images, first" in capsys.readouterr().err


def test_a_list_in_the_other_case_of_the_folders(root: Path, tmp_path: Path) -> None:
    (root / "train" / "Anger").rename(root / "train" / "Angry")
    here = lists(tmp_path / "boxes", "train/Anger/0001.png,0,1,1,9,9\n")
    assert len(manifest.load(caers(root, tmp_path / "out.csv", boxes=here))) == 2


def test_wrong_lines_are_shown_with_their_numbers(root: Path, tmp_path: Path) -> None:
    train = "a,0\n\ntrain/Sad/0001.png,4,1,2,3,4\ntrain/Sad/0001.png,5,1,2,3\ntrain/Sad/0001.png,5,1,2,3,4\n"
    here = lists(tmp_path / "boxes", train + "train/Sad/0001.png,5,1,2,3,4\ntrain/Bored/1.png,7,1,2,3,4\nx,5,1,2,3,4")
    file = here / "train.txt"
    assert [line.removeprefix(f"{file}: ") for line in problem(root, boxes=here).split("\n")] == [
        "line 1: 'a,0' is not split/class/file with a class and four corners",
        "line 3: class 4 is not that of the folder in train/Sad/0001.png",
        "line 4: 'train/Sad/0001.png,5,1,2,3' is not split/class/file with a class and four corners",
        f"line 6: train/Sad/0001.png is listed already at {file}: line 5",
        "line 7: class 7 is not that of the folder in train/Bored/1.png",
        "line 8: 'x,5,1,2,3,4' is not split/class/file with a class and four corners",
    ]


def test_lists_that_name_missing_images(root: Path, tmp_path: Path, capsys) -> None:
    here = lists(tmp_path / "boxes", "train/Sad/0009.png,5,1,2,3,4\n")
    assert problem(root, boxes=here).split("\n") == [
        f"{here}: 1 of 2 listed images are missing: complete them, or leave them out with --skip_missing",
        f"{here}/train.txt: line 1: no image train/sadness/0009.png",
    ]
    assert len(manifest.load(caers(root, tmp_path / "out.csv", boxes=here, skip_missing=True))) == 1
    assert "left out 1 of 2 listed images" in capsys.readouterr().err


def test_a_class_folder_of_another_name_is_refused(root: Path) -> None:
    (root / "train" / "Sad").rename(root / "train" / "Sadnes")
    assert problem(root) == (
        f"{root}/train/Sadnes: the folder of 2 images is no class of the data set: did you mean 'sadness'? Rename it"
    )


def test_the_wrong_folder(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert "holds no class folders in train and test" in problem(tmp_path / "other")
    assert "holds no 'test.txt' or 'train.txt'" in problem(root, boxes=tmp_path / "other")
    out = caers(root, tmp_path / "out.csv")
    with pytest.raises(InputError, match="exists already"):
        caers(root, out)
