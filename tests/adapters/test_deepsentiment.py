"""Deep Sentiment: lists by agreement, the five folds, and what is wrong with copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from emodo import manifest
from emodo.adapters.deepsentiment import deepsentiment
from emodo.records import InputError

NAMES = ["1_2_A-b_c.jpg", "1_2_B.jpg", "3_4_C.jpg", "5_6_D.jpg"]
THREE = "1_2_A-b_c.jpg 1\n1_2_B.jpg 0\n3_4_C.jpg 1\n5_6_D.jpg 0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "DeepSentiment"
    images = folder / "Agg_AMT_Candidates"
    images.mkdir(parents=True)
    for name in NAMES:
        (images / name).touch()
    (images / "._1_2_B.jpg").touch()
    (folder / "twitter_three_agrees.txt").write_text(THREE)
    (folder / "twitter_five_agrees.txt").write_text("1_2_B.jpg 0\n3_4_C.jpg 1")
    return folder


def folds(folder: Path, train: str, test: str, fold: int = 2) -> Path:
    for name, text in (("train", train), ("test", test)):
        file = folder / "ground_truth" / "three_agrees" / f"test{fold}" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "ground_truth"


def labels(out: Path) -> dict[str, str]:
    frame = manifest.load(out)
    return {path.rpartition("/")[2]: emotion for path, emotion in zip(frame["path"], frame["emotion"], strict=True)}


def problem(root: Path, **options: object) -> str:
    out = root.parent / "refused.csv"
    with pytest.raises(InputError) as caught:
        deepsentiment(root, out, **options)  # type: ignore[arg-type]
    assert not out.exists()
    return str(caught.value)


def test_one_is_positive(root: Path, tmp_path: Path, capsys) -> None:
    out = deepsentiment(root, tmp_path / "out.csv")
    assert labels(out) == dict(zip(NAMES, ["positive", "negative"] * 2, strict=True))
    frame = manifest.load(out)
    assert frame.columns.tolist() == ["path", "emotion", "source", "file"]
    assert frame["path"].tolist()[0] == "DeepSentiment/Agg_AMT_Candidates/1_2_A-b_c.jpg"
    assert set(frame["source"]) == {"Deep Sentiment"}
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{out}: 4 images, 2 emotions\n" in said.err
    assert "4 images on which three agree, published are 1269; 2 positive images, published are 769" in said.err


def test_agreement_chooses_the_list(root: Path, tmp_path: Path) -> None:
    assert labels(deepsentiment(root, tmp_path / "a.csv", "five")) == {"1_2_B.jpg": "negative", "3_4_C.jpg": "positive"}
    assert "'four_agrees.txt'" in problem(root, agree="four")
    (root / "twitter_five_agrees.txt").rename(root / "four_agree.txt")
    assert len(labels(deepsentiment(root, tmp_path / "b.csv", "four"))) == 2


def test_copies_that_write_zero_for_positive(root: Path, tmp_path: Path) -> None:
    usual, other = (
        labels(deepsentiment(root, tmp_path / "a.csv")),
        labels(deepsentiment(root, tmp_path / "b.csv", positive=0)),
    )
    assert all({usual[name], other[name]} == {"positive", "negative"} for name in NAMES)


@pytest.mark.parametrize(
    "text", [THREE.replace("\n", "\r"), THREE.replace("\n", "\r\n"), "\ufeff" + THREE.rstrip("\n")]
)
def test_line_ends_of_other_systems_and_none_at_the_end(root: Path, tmp_path: Path, text: str) -> None:
    (root / "twitter_three_agrees.txt").write_bytes(text.encode())
    assert len(labels(deepsentiment(root, tmp_path / "out.csv"))) == 4


def test_wrappers_and_images_beside_the_lists(root: Path, tmp_path: Path) -> None:
    assert len(labels(deepsentiment(tmp_path, tmp_path / "out1.csv"))) == 4
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in NAMES:
        (flat / name).touch()
    (flat / "three_agree.txt").write_text("some/folder/" + THREE)
    assert len(labels(deepsentiment(flat, tmp_path / "out2.csv"))) == 4


def test_folds_are_the_official_split(root: Path, tmp_path: Path, capsys) -> None:
    train, test = "1_2_A-b_c.jpg 1\n1_2_B.jpg 0\n", "3_4_C.jpg 1\n"
    here = folds(tmp_path / "repository", train, test)
    out = deepsentiment(root, tmp_path / "out.csv", folds=here, fold=2)
    frame = manifest.load(out)
    assert dict(zip(frame["path"].str[-5:], frame["split"], strict=True)) == {
        "c.jpg"[-5:]: "train",
        "B.jpg": "train",
        "C.jpg": "test",
    }
    assert (
        "3 images on which three agree, published are 1265; 1 test images, published are 253" in capsys.readouterr().err
    )
    assert len(labels(deepsentiment(root, tmp_path / "b.csv", folds=here.parent, fold=2))) == 3


def test_a_fold_that_is_not_there(root: Path, tmp_path: Path) -> None:
    here = folds(tmp_path, THREE, "")
    assert "test3/train.txt" in problem(root, folds=here, fold=3)
    assert "ground_truth holds no folder five_agrees" in problem(root, folds=here, agree="five")
    assert problem(root, folds=here, fold=6) == "--fold is 6: there are folds 1 to 5"
    assert "is no folder" in problem(root, folds=tmp_path / "absent")


def test_an_image_in_both_parts_of_a_fold_is_refused(root: Path, tmp_path: Path) -> None:
    here = folds(tmp_path, THREE, "3_4_C.jpg 1\n")
    lists = here / "three_agrees" / "test2"
    assert problem(root, folds=here, fold=2) == (
        f"{lists}/test.txt: line 1: 3_4_C.jpg is listed already at {lists}/train.txt: line 3"
    )


def test_wrong_lines_are_shown_with_their_numbers(root: Path) -> None:
    file = root / "twitter_three_agrees.txt"
    file.write_text("1_2_B.jpg\n\n1_2_B.jpg 2\n3_4_C.jpg 1\n3_4_C.jpg 1\n5_6_D.jpg positive\n1_2_B.jpg \n")
    assert problem(root).split("\n") == [
        f"{file}: line 1: '1_2_B.jpg' is no image with 0 or 1 after it",
        f"{file}: line 3: '1_2_B.jpg 2' is no image with 0 or 1 after it",
        f"{file}: line 5: 3_4_C.jpg is listed already at {file}: line 4",
        f"{file}: line 6: '5_6_D.jpg positive' is no image with 0 or 1 after it",
        f"{file}: line 7: '1_2_B.jpg' is no image with 0 or 1 after it",
    ]
    file.write_text("\n")
    assert problem(root) == f"{file}: no image is listed"


def test_missing_images_are_an_error_unless_they_are_to_be_left_out(root: Path, tmp_path: Path, capsys) -> None:
    (root / "Agg_AMT_Candidates" / "3_4_C.jpg").unlink()
    assert problem(root).split("\n") == [
        f"{root}: 1 of 4 listed images are missing: complete them, or leave them out with --skip_missing",
        f"{root}/twitter_three_agrees.txt: line 3: no image 3_4_C.jpg",
    ]
    assert len(labels(deepsentiment(root, tmp_path / "out.csv", skip_missing=True))) == 3
    assert "left out 1 of 4 listed images that are missing, first" in capsys.readouterr().err
    for file in (root / "Agg_AMT_Candidates").iterdir():
        file.unlink()
    assert "4 of 4 listed images are missing\n" in problem(root, skip_missing=True)


def test_the_wrong_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert "holds no 'twitter_three_agrees.txt' or" in problem(tmp_path / "other")
    assert "no such folder" in problem(tmp_path / "absent")
    (tmp_path / "other" / "train25.txt").touch()
    assert "emodo prepare webemo" in problem(tmp_path / "other")
