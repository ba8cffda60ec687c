"""What adapters share: listing, finding below wrappers, text with any line end, boxes, and what is said at the end."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd
import pytest

from emodo.adapters import ADAPTERS, disk
from emodo.records import InputError


def names(root: Path) -> list[str]:
    return sorted(os.path.relpath(file, root) for file in disk.files(root))


def test_what_systems_leave_behind_is_not_listed(place) -> None:
    root = place(
        dict.fromkeys(
            ["a/b/c.png", "a/._c.png", "a/.hidden/c.png", "__MACOSX/a/c.png", "A/THUMBS.DB", "a/desktop.ini", "d.txt"]
        )
    )
    assert names(root) == ["a/b/c.png", "d.txt"]
    assert [disk.name(file) for file in disk.images(root)] == ["c.png"]


def test_links_are_followed_but_not_back(place) -> None:
    root = place({"a/1.png": None})
    (root / "b").symlink_to(place({"2.png": None}, "elsewhere"))
    assert names(root) == ["a/1.png", "b/2.png"]
    (root / "a" / "again").symlink_to(root)
    with pytest.raises(InputError, match="links back to a folder that holds it: remove the link"):
        list(disk.files(root))


def test_the_least_deep_of_several_and_the_first_that_is_named(place) -> None:
    root = place({"x/y/Emotion/1": None, "x/emotion/2": None, "x/Emotion_labels/3": None, "w/emotion_labels/4": None})
    assert disk.search(root, "Emotion", "Emotion_labels") == root / "x/emotion"
    assert disk.search(root, "Emotion_labels", "Emotion") == root / "w/emotion_labels"
    assert disk.search(root, "cohn-kanade-images") is None
    assert disk.search(root / "x" / "emotion", "EMOTION") == root / "x/emotion"  # ROOT itself


def test_a_folder_in_a_folder_of_its_own_name(place) -> None:
    root = place({"zip/origin/origin/origin/1.jpg": None})
    assert disk.search(root, "origin") == root / "zip/origin/origin/origin"
    assert disk.search(root / "zip/origin", "origin") == root / "zip/origin/origin/origin"


def test_how_deep_is_looked(place) -> None:
    root = place({"1/2/3/4/5/6/found": None, "1/2/3/4/5/6/7/lost": None})
    assert disk.search(root, "found") == root / "1/2/3/4/5/6/found"
    assert disk.search(root, "lost") is None


def test_what_is_missing_is_told_with_what_is_there(place) -> None:
    root = place(dict.fromkeys([f"{at}.txt" for at in range(9)] + ["folder/", "label.lst"]))
    with pytest.raises(InputError) as caught:
        disk.find(root, "ckplus", "Emotion", "Labels")
    assert str(caught.value) == (
        f"{root} holds no 'Emotion' or 'Labels' (7 folders deep); found 0.txt, 1.txt, 2.txt, 3.txt, 4.txt, 5.txt, "
        "6.txt, 7.txt and 3 more: it looks like data for emodo prepare expw"
    )
    empty = disk.nothing(place({"empty/": None}, "top") / "empty", "expw", "label.lst")
    assert str(empty).endswith("found nothing: see emodo prepare expw --help")


def test_telltales_are_of_adapters_and_never_of_two_at_once() -> None:
    assert set(disk.TELLTALES) <= set(ADAPTERS)
    own = {
        "ckplus": ["cohn-kanade-images", "S005_001_00000011_emotion.txt"],
        "mmi": ["S001-100.avi", "S001-100.xml"],
        "oulucasia": ["VL_Acropped", "VL", "NI"],
        "mixbasic": ["MixBasic", "emotion_labels.pkl"],
        "fer2013": ["fer2013.csv", "icml_face_data.csv"],
        "ferplus": ["fer2013new.csv", "FER2013Valid"],
        "rafdb": ["list_patition_label.txt"],
        "affectnet": ["Manually_Annotated_file_lists", "12_exp.npy"],
        "expw": ["label.lst"],
        "sfew": ["Train_Aligned_Faces", "Val_Aligned_Faces_new"],
        "jaffe": ["KA.AN1.39.tiff"],
        "kdef": ["AF01ANS.JPG", "BM35SUHR.JPG"],
    }
    for adapter, telling in own.items():
        for name in telling:
            fit = [other for other, tale in disk.TELLTALES.items() if re.fullmatch(tale, name, re.IGNORECASE)]
            assert fit == [adapter], name


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb\r\n", "a\rb\r", "\ufeffa\nb\n"])
def test_lines_end_in_any_way(place, text: str) -> None:
    assert disk.read_lines(place({"x.txt": text}) / "x.txt") == ["a", "b"]


def test_lines_keep_their_numbers_and_their_odd_characters(place) -> None:
    assert disk.read_lines(place({"x.txt": "a\n\n\x0bb\x1c \u2028c\n"}) / "x.txt") == ["a", "", "\x0bb\x1c \u2028c"]
    assert disk.read_lines(place({"x.txt": ""}) / "x.txt") == []
    with pytest.raises(InputError, match="cannot be read: No such file"):
        disk.read_lines(Path("absent.txt"))


def test_rows_of_a_table(place) -> None:
    file = place({"x.csv": '\ufeffA, b \r\n1,"2,\r\n3"\r\n\r\n 4 ,5'}) / "x.csv"
    assert list(disk.read_rows(file, ["b"])) == [(3, {"a": "1", "b": "2,\r\n3"}), (5, {"a": "4", "b": "5"})]
    assert list(disk.read_rows(place({"y.csv": "1,2\n3,4"}) / "y.csv", ["b"], ["a", "b"])) == [
        (1, {"a": "1", "b": "2"}),
        (2, {"a": "3", "b": "4"}),
    ]
    with pytest.raises(InputError, match=r"no column c and no column d \(found: a, b\)"):
        list(disk.read_rows(file, ["c", "d", "a"]))


def test_problems_fill_a_screen_at_most() -> None:
    disk.raise_all([])
    with pytest.raises(InputError) as caught:
        disk.raise_all([f"line {at}" for at in range(50)])
    lines = str(caught.value).split("\n")
    assert lines == [f"line {at}" for at in range(20)] + ["... and 30 more"]


def test_boxes_are_cut_and_what_is_left_of_them_counted(place) -> None:
    root = place({"a.png": (10, 8), "b.png": "none"})
    boxes = [("a", 0, 0, 10, 8), ("a", -1, 2, 20, 4), ("a", 10, 0, 12, 8), ("b", 0, 0, 1, 1)]
    frame = pd.DataFrame(
        [(f"{root}/{name}.png", *box) for name, *box in boxes], columns=["path", "x1", "y1", "x2", "y2"]
    )
    cut, changed, unread = disk.clip(frame)
    assert cut[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [[0, 0, 10, 8], [0, 2, 10, 4]]
    assert changed == 2
    assert unread == [f"{root}/b.png"]


def test_missing_images_are_an_error_unless_they_are_left_out(place) -> None:
    root = Path("data")
    assert disk.absent(root, [], 3, False) == []
    assert disk.absent(root, ["list: line 2: a.png"], 3, True) == (
        ["left out 1 of 3 listed images that are missing, first list: line 2: a.png"]
    )
    with pytest.raises(InputError, match="1 of 3 listed images are missing: complete them, or leave them out"):
        disk.absent(root, ["a.png"], 3, False)
    with pytest.raises(InputError, match=r"3 of 3 listed images are missing\na.png"):
        disk.absent(root, ["a.png", "b.png", "c.png"], 3, True)


def test_one_line_of_counts_and_one_of_differences(place, tmp_path: Path, capsys) -> None:
    root = place({"a.png": None, "b.png": None, "c.png": None})
    frame = pd.DataFrame({"path": disk.images(root), "emotion": ["joy", "joy", "fear"], "subject": ["1", None, "1"]})
    known = {"images": (3, 3), "subjects": (1, 5), "folds": (2, 10)}
    out = disk.save(frame, root, tmp_path / "out.csv", known, ["left out 2 cats"])
    assert capsys.readouterr() == (
        "",
        f"{out}: 3 images, 1 subjects, 2 emotions; left out 2 cats\n"
        f"{out}: warning: 1 subjects, published are 5; 2 folds, published are 10\n",
    )
    with pytest.raises(InputError, match="data: no image is left; left out 2 cats"):
        disk.save(frame.iloc[:0], root, tmp_path / "none.csv", known, ["left out 2 cats"])
    assert not (tmp_path / "none.csv").exists()
