"""Emotion-6 (Panda et al.): class folders of uneven depth, one of them misspelt."""

from __future__ import annotations

from pathlib import Path

import pytest

from emodo import manifest
from emodo.adapters.emotion6panda import emotion6panda
from emodo.records import InputError

FILES = [
    "anger/rage/rage/287.jpg",
    "anger/digust/1.jpg",
    "anger/digust/deep/er/1.jpg",
    "fear/1.jpg",
    "joy/cheerfulness/287.jpg",
    "love/affection/1.JPG",
    "sadness/sadness/1.jpg",
    "surprise/surprise/1.png",
]


def touched(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    touched(tmp_path / "Emotion-6" / "images", *FILES, "anger/rage/._287.jpg", "joy/notes.txt", "__MACOSX/anger/1.jpg")
    return tmp_path / "Emotion-6"


def problem(root: Path, **options: object) -> str:
    out = root.parent / "refused.csv"
    with pytest.raises(InputError) as caught:
        emotion6panda(root, out, **options)  # type: ignore[arg-type]
    assert not out.exists()
    return str(caught.value)


def test_the_first_folder_is_the_label_and_the_second_the_sub_emotion(root: Path, tmp_path: Path, capsys) -> None:
    out = emotion6panda(root, tmp_path / "out.csv")
    frame = manifest.load(out)
    assert frame.columns.tolist() == ["path", "emotion", "source", "sub_emotion", "file"]
    rows = {path.removeprefix("Emotion-6/images/"): rest for path, *rest in frame.drop(columns="file").to_numpy()}
    assert rows["anger/rage/rage/287.jpg"] == ["anger", "Emotion-6", "rage"]
    assert rows["joy/cheerfulness/287.jpg"] == ["joy", "Emotion-6", "cheerfullness"]
    assert rows["love/affection/1.JPG"] == ["love", "Emotion-6", "affection"]
    assert len(rows) == len(FILES)
    said = capsys.readouterr().err
    assert f"{out}: 8 images, 6 emotions\n" in said
    assert "warning: 8 images, published are 8350" in said


def test_the_misspelt_folder_is_disgust(root: Path, tmp_path: Path) -> None:
    frame = manifest.load(emotion6panda(root, tmp_path / "out.csv"))
    misspelt = frame.loc[frame["path"].str.contains("digust")]
    assert misspelt["sub_emotion"].tolist() == ["disgust", "disgust"]
    assert misspelt["emotion"].tolist() == ["anger", "anger"]


def test_names_that_repeat_are_different_images(root: Path, tmp_path: Path) -> None:
    frame = manifest.load(emotion6panda(root, tmp_path / "out.csv"))
    assert frame["path"].str.endswith("/287.jpg").sum() == 2
    assert frame["path"].is_unique


def test_an_image_right_in_its_class_has_no_sub_emotion(root: Path, tmp_path: Path) -> None:
    frame = manifest.load(emotion6panda(root, tmp_path / "out.csv"))
    assert frame.loc[frame["emotion"] == "fear", "sub_emotion"].isna().tolist() == [True]


@pytest.mark.parametrize("inside", ["", "images", "images/images"])
def test_any_wrapper_and_none(tmp_path: Path, inside: str) -> None:
    root = touched(tmp_path / "data" / inside, *FILES)
    frame = manifest.load(emotion6panda(tmp_path / "data", tmp_path / "out.csv"))
    assert len(frame) == 8
    assert (emotion6panda(root, tmp_path / "out2.csv")).read_text() == (tmp_path / "out.csv").read_text()


def test_unbiasedemo_is_read_alike_and_not_counted(root: Path, tmp_path: Path, capsys) -> None:
    frame = manifest.load(emotion6panda(root, tmp_path / "out.csv", source="UnBiasedEmo"))
    assert set(frame["source"]) == {"UnBiasedEmo"}
    assert "published" not in capsys.readouterr().err


def test_folders_in_any_case(tmp_path: Path) -> None:
    six = ["ANGER", "Fear", "Joy", "love", "sadness", "Surprise"]
    frame = manifest.load(emotion6panda(touched(tmp_path / "data", *(f"{n}/1.jpg" for n in six)), tmp_path / "out.csv"))
    assert sorted(frame["emotion"]) == ["anger", "fear", "joy", "love", "sadness", "surprise"]


def test_the_other_emotion6_is_not_taken_for_it(tmp_path: Path) -> None:
    names = ("anger", "disgust", "fear", "joy", "sadness", "surprise")
    root = touched(tmp_path / "Emotion6", "ground_truth.txt", *(f"images/{name}/1.jpg" for name in names))
    assert "holds no folder with all of anger, fear, joy, love" in problem(root)
    assert "emodo prepare emotion6" in problem(root)


def test_the_wrong_folder(tmp_path: Path, root: Path) -> None:
    assert "holds no folder with all of anger, fear, joy, love, sadness, surprise" in problem(root / "images" / "joy")
    assert "no such folder" in problem(tmp_path / "absent")
    empty = tmp_path / "empty"
    for name in ("anger", "fear", "joy", "love", "sadness", "surprise"):
        (empty / name).mkdir(parents=True)
    assert "no images in its class folders" in problem(empty)
    assert "emodo prepare fi" in problem(touched(tmp_path / "other", "emotion_dataset/awe/1.jpg"))


def test_an_existing_manifest_is_kept(root: Path, tmp_path: Path) -> None:
    out = emotion6panda(root, tmp_path / "out.csv")
    with pytest.raises(InputError, match="exists already"):
        emotion6panda(root, out)
    assert emotion6panda(root, out, overwrite=True) == out
