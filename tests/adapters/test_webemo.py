"""WEBEmo: lists of addresses, images as far as there are any, and copies that lost a digit."""

from __future__ import annotations

from pathlib import Path

import pytest

from emodo import manifest
from emodo.adapters.webemo import webemo
from emodo.ontology import MAPS, SETS
from emodo.records import InputError

URL = "https://as2.ftcdn.net/jpg/00/42/{}"
TRAIN = ["220_F_1_a.jpg 0", "220_F_2_b.jpg 10", "220_F_3_c.jpg 22", "220_F_4_d.jpg 24", "220_F_9_z.jpg 3"]
TEST = ["220_F_5_e.jpg 1", "220_F_6_f.jpg 11"]


def category() -> str:
    """The published file, with its comment and its line breaks inside the list."""
    signs = {"positive": "+", "negative": "-"}
    primary, sign = MAPS["webemo7"]["webemo"].label, MAPS["polarity"]["webemo"].label
    tree = [str((name, primary[name], signs[str(sign[name])])) for name in SETS["webemo"]]
    return "# Three level emotion hierarchy.\nlabels=[" + ", \n\t".join(tree) + "]"


def listed(folder: Path, train: list[str], test: list[str], end: str = "\n") -> Path:
    folder.mkdir(exist_ok=True)
    for name, lines in (("train25.txt", train), ("test25.txt", test)):
        (folder / name).write_bytes(end.join(URL.format(line) for line in lines).encode())
    return folder


def touched(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = listed(tmp_path / "WEBEmo", TRAIN, TEST)
    (folder / "category.txt").write_text(category())
    for split, lines in (("train", TRAIN[:-1]), ("test", TEST)):
        touched(folder, *(f"{split}/{number}/{name}" for name, number in map(str.split, lines)))
    return touched(folder, "train/0/._220_F_1_a.jpg")


def rows(out: Path) -> dict[str, list[str]]:
    frame = manifest.load(out)
    columns = [name for name in ("emotion", "primary", "polarity", "split") if name in frame]
    return {path.rpartition("/")[2]: list(rest) for path, *rest in frame[["path", *columns]].to_numpy()}


def problem(root: Path) -> str:
    out = root.parent / "refused.csv"
    with pytest.raises(InputError) as caught:
        webemo(root, out)
    assert not out.exists()
    return str(caught.value)


def test_lists_with_folders_by_number_and_dead_addresses(root: Path, tmp_path: Path, capsys) -> None:
    out = webemo(root, tmp_path / "out.csv")
    assert rows(out) == {
        "220_F_1_a.jpg": ["affection", "love", "positive", "train"],
        "220_F_2_b.jpg": ["horror", "fear", "negative", "train"],
        "220_F_3_c.jpg": ["surprise", "surprise", "positive", "train"],
        "220_F_4_d.jpg": ["zest", "joy", "positive", "train"],
        "220_F_5_e.jpg": ["cheerfullness", "joy", "positive", "test"],
        "220_F_6_f.jpg": ["irritabilty", "anger", "negative", "test"],
    }
    assert set(manifest.load(out)["source"]) == {"WEBEmo"}
    said = capsys.readouterr().err
    assert "left out 1 of 7 listed images that are missing, first" in said
    assert "train25.txt: line 5: 220_F_9_z.jpg" in said
    assert "5 lines in train25.txt, published are 213952; 2 lines in test25.txt, published are 53489" in said


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_lists_with_any_line_ends(root: Path, tmp_path: Path, end: str) -> None:
    listed(root, TRAIN, TEST, end)
    assert len(rows(webemo(root, tmp_path / "out.csv"))) == 6


def test_images_anywhere_under_their_names(tmp_path: Path) -> None:
    root = touched(
        listed(tmp_path / "data", TRAIN, TEST), "all/220_F_1_a.jpg", "all/220_F_5_e.jpg", "all/10_220_F_2_b.jpg"
    )
    assert {name: row[0] for name, row in rows(webemo(root, tmp_path / "out.csv")).items()} == {
        **{"220_F_1_a.jpg": "affection", "220_F_5_e.jpg": "cheerfullness", "10_220_F_2_b.jpg": "horror"}
    }


def test_lists_rescue_folders_that_lost_a_digit(tmp_path: Path, capsys) -> None:
    root = listed(tmp_path / "data", TRAIN, TEST)
    for split, lines in (("train", TRAIN), ("test", TEST)):
        touched(root, *(f"images/{split}25/{line[-1]}/{line.split()[0]}" for line in lines))
    found = rows(webemo(root, tmp_path / "out.csv"))
    assert found["220_F_2_b.jpg"] == ["horror", "fear", "negative", "train"]
    assert found["220_F_6_f.jpg"][0] == "irritabilty"
    assert "4 images lie in a folder of another number than their line's, which was taken" in capsys.readouterr().err


def test_folders_that_lost_a_digit_are_refused_without_lists(tmp_path: Path) -> None:
    root = touched(
        tmp_path / "data", *(f"images/{split}25/{n}/{n}.jpg" for split in ("train", "test") for n in range(10))
    )
    said = problem(root)
    assert "keeps the last digit" in said
    assert "put train25.txt and test25.txt into ROOT" in said


def test_folders_by_number_alone(tmp_path: Path) -> None:
    root = touched(tmp_path / "data", *(f"train/{n}/{n}.jpg" for n in range(25)), "val/13/c.jpg", "test/7/d.jpg")
    found = rows(webemo(root, tmp_path / "out.csv"))
    assert [found[f"{n}.jpg"][0] for n in range(25)] == list(SETS["webemo"])
    assert found["0.jpg"] == ["affection", "love", "positive", "train"]
    assert [found["c.jpg"][0], found["c.jpg"][-1]] == ["neglect", "validation"]
    assert [found["d.jpg"][0], found["d.jpg"][-1]] == ["envy", "test"]


def test_folders_by_name_in_either_spelling(tmp_path: Path, capsys) -> None:
    names = [{"cheerfullness": "cheerfulness"}.get(name, name) for name in SETS["webemo"]]
    files = [f"images/train/{name}/{name}.jpg" for name in names]
    root = touched(tmp_path / "data", *files, "images/test/Irritability/c.jpg", "images/test/bored/e.jpg")
    found = rows(webemo(root, tmp_path / "out.csv"))
    assert found["cheerfulness.jpg"][0] == "cheerfullness"
    assert found["irritabilty.jpg"][0] == found["c.jpg"][0] == "irritabilty"
    assert len(found) == 26
    assert "left out 1 images in no emotion's folder, first" in capsys.readouterr().err


def test_folders_without_train_and_test_have_no_split(tmp_path: Path) -> None:
    root = touched(tmp_path / "data", *(f"{name}/1.jpg" for name in SETS["webemo"]))
    assert "split" not in manifest.load(webemo(root, tmp_path / "out.csv"))
    assert "25 images are in no folder train or test, first" in problem(touched(root, "train/lust/c.jpg"))


def test_a_folder_that_lacks_is_named_and_so_is_another_data_set(tmp_path: Path) -> None:
    root = touched(tmp_path / "data", *(f"train/{n}/1.jpg" for n in range(23)))
    assert "holds no folder of sympathy, zest, by name or by number" in problem(root)
    other = touched(tmp_path / "Emotion6", "images/disgust/1.jpg", "images/sadness/1.jpg", "images/surprise/1.jpg")
    assert "emodo prepare emotion6" in problem(other)


def test_an_image_that_is_listed_again_is_counted(root: Path, tmp_path: Path, capsys) -> None:
    listed(root, [*TRAIN[:4], "220_F_1_a.jpg 5"], [*TEST, "220_F_2_b.jpg 10"])
    touched(root, "test/10/220_F_2_b.jpg", "train/3/unlisted.jpg")
    found = rows(webemo(root, tmp_path / "out.csv"))
    assert found["220_F_1_a.jpg"][0] == "affection"
    said = capsys.readouterr().err
    assert "1 lines name an image that an earlier line names" in said
    assert "1 file names are in both lists" in said
    assert "1 images are in no list, and were left out" in said


def test_the_tree_of_the_users_file_is_taken(root: Path, tmp_path: Path) -> None:
    own = category().replace("('confusion', 'confusion', '-')", "('confusion', 'fear', '+')")
    (root / "category.txt").write_text(own.replace("cheerfullness", "cheerfulness"))
    touched(listed(root, ["q.jpg 2", *TRAIN[:4]], TEST), "train/2/q.jpg")
    found = rows(webemo(root, tmp_path / "out.csv"))
    assert found["q.jpg"] == ["confusion", "fear", "positive", "train"]
    assert found["220_F_5_e.jpg"][0] == "cheerfullness"


@pytest.mark.parametrize(
    "text",
    [
        "labels=[__import__('os').system('x')]",
        "labels=[('affection', 'love', '*')]",
        "labels=[('affection', 'love')]",
        "labels=3",
        "import os",
        "labels=[",
        "",
        "print('x')",
        "x=1\ny=2",
        "labels=" + "(" * 500,
    ],
)
def test_a_category_file_is_data_or_refused(root: Path, text: str) -> None:
    (root / "category.txt").write_text(text)
    assert problem(root).startswith(f"{root}/category.txt is not labels = [('affection', 'love', '+'), ...]")


def test_a_category_file_of_other_emotions_is_refused(root: Path) -> None:
    (root / "category.txt").write_text(category().replace("'zest'", "'bliss'"))
    assert "category.txt has bliss, and WEBEmo has affection, cheerfullness" in problem(root)
    (root / "category.txt").write_text("labels=[('affection', 'love', '+')]")
    assert "category.txt has 1 emotions" in problem(root)


def test_wrong_lines_are_shown_with_their_numbers(root: Path) -> None:
    (root / "train25.txt").write_text(f"{URL.format('a.jpg 26')}\n\n{URL.format('a.jpg')}\nb.jpg x\nc.jpg -1\n")
    assert [line.removeprefix(f"{root}/train25.txt: ") for line in problem(root).split("\n")] == [
        "line 1: 'https://as2.ftcdn.net/jpg/00/42/a.jpg 26' is no address with a number from 0 to 24",
        "line 3: 'https://as2.ftcdn.net/jpg/00/42/a.jpg' is no address with a number from 0 to 24",
        "line 4: 'b.jpg x' is no address with a number from 0 to 24",
        "line 5: 'c.jpg -1' is no address with a number from 0 to 24",
    ]


def test_numbers_that_count_from_one_are_refused(root: Path) -> None:
    listed(root, ["a.jpg 1", "b.jpg 25"], ["c.jpg 3"])
    assert "1 lines have the number 25: they count from 1, and must count from 0" in problem(root)
    listed(root, ["a.jpg 0", "b.jpg 25"], ["c.jpg 3"])
    assert "1 lines have the number 25: it must be 0 to 24" in problem(root)


def test_lists_alone_are_no_images(tmp_path: Path) -> None:
    root = listed(tmp_path / "data", TRAIN, TEST)
    assert problem(root).startswith(f"{root} holds addresses and no images: download these")
    assert "7 of 7 listed images are missing" in problem(touched(root, "train/0/other.jpg"))


def test_the_wrong_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no images" in problem(tmp_path / "empty")
    assert "holds no folder of any emotion" in problem(touched(tmp_path / "other", "happy/a.jpg"))
