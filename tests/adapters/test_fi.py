"""FI: eight class folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from emodo import manifest
from emodo.adapters.fi import fi
from emodo.adapters.relabel import relabel
from emodo.records import InputError

EIGHT = ["amusement", "anger", "awe", "contentment", "disgust", "excitement", "fear", "sadness"]


def touched(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = [f"{name}/{name}_{at}.jpg" for name in EIGHT for at in range(2)]
    touched(tmp_path / "FI" / "emotion_dataset", *files, "awe/._awe_0.jpg", "awe/Thumbs.db")
    return tmp_path / "FI"


def problem(root: Path) -> str:
    out = root.parent / "refused.csv"
    with pytest.raises(InputError) as caught:
        fi(root, out)
    assert not out.exists()
    return str(caught.value)


def test_the_folder_is_the_label(root: Path, tmp_path: Path) -> None:
    frame = manifest.load(fi(root, tmp_path / "out.csv"))
    assert frame.columns.tolist() == ["path", "emotion", "source", "file"]
    assert frame["emotion"].tolist() == [name for name in EIGHT for _ in range(2)]
    assert frame["path"].tolist()[0] == "FI/emotion_dataset/amusement/amusement_0.jpg"
    assert set(frame["source"]) == {"FI"}


def test_no_count_is_checked(root: Path, tmp_path: Path, capsys) -> None:
    out = fi(root, tmp_path / "out.csv")
    assert capsys.readouterr() == ("", f"{out}: 16 images, 8 emotions\n")


def test_the_folder_itself_or_one_around_it(root: Path, tmp_path: Path) -> None:
    texts = {fi(place, tmp_path / f"{at}.csv").read_text() for at, place in enumerate((root, root / "emotion_dataset"))}
    assert len(texts) == 1


def test_other_folders_are_passed_over(root: Path, tmp_path: Path) -> None:
    touched(root, "emotion_dataset/readme/x.jpg", "other/awe/y.jpg")
    assert len(manifest.load(fi(root, tmp_path / "out.csv"))) == 16


def test_folders_in_any_case(tmp_path: Path) -> None:
    root = touched(tmp_path / "data", *(f"{name.title()}/1.JPG" for name in EIGHT))
    assert manifest.load(fi(root, tmp_path / "out.csv"))["emotion"].tolist() == EIGHT


def test_a_set_that_shares_some_emotions_is_not_taken_for_it(tmp_path: Path) -> None:
    root = touched(
        tmp_path / "CAER-S", *(f"test/{name}/1.png" for name in ("Anger", "Disgust", "Fear", "Happy", "Sad"))
    )
    said = problem(root)
    assert "holds no folder with all of amusement, anger, awe, contentment" in said
    assert "emodo prepare caers" in said


def test_four_are_positive(root: Path, tmp_path: Path) -> None:
    two = manifest.load(relabel(fi(root, tmp_path / "out.csv"), tmp_path / "two.csv", to="2"))
    assert (two["emotion"] == "positive").sum() == 8
    assert set(two.loc[two["emotion"] == "positive", "path"].str.split("/").str[2]) == {
        *("amusement", "awe", "contentment", "excitement"),
    }


def test_the_wrong_folder(tmp_path: Path) -> None:
    root = touched(tmp_path / "data", "joy/1.jpg", "love/1.jpg", "digust/1.jpg")
    assert "holds no folder with all of amusement, anger, awe" in problem(root)
    assert "emodo prepare emotion6panda" in problem(root)
    for name in EIGHT:
        (tmp_path / "empty" / name).mkdir(parents=True)
    assert "no images in its class folders" in problem(tmp_path / "empty")
