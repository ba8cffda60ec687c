"""JAFFE in miniature: names are all there is."""

from __future__ import annotations

import pytest

from emodo.adapters import ADAPTERS
from emodo.adapters.jaffe import EMOTIONS, jaffe
from emodo.adapters.mmi import mmi

CODES = ["AN", "DI", "FE", "HA", "NE", "SA", "SU"]
FILES = {
    f"jaffe/{who}.{code}{take}.{at}{take}.tiff": (8, 8)
    for who in ("KA", "YM")
    for at, code in enumerate(CODES)
    for take in (1, 2)
}


def test_subject_emotion_and_take_are_in_the_name(place, prepare) -> None:
    frame, said = prepare(jaffe, place(FILES))
    assert frame.columns.tolist() == ["path", "emotion", "source", "subject", "sequence", "take", "gender", "file"]
    assert frame.iloc[0].drop("file").tolist() == (
        ["data/jaffe/KA.AN1.01.tiff", "anger", "JAFFE", "KA", "KA_AN", "1", "female"]
    )
    assert dict(zip(frame["path"].str.slice(14, 16), frame["emotion"], strict=True)) == dict(
        zip(CODES, ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"], strict=True)
    )
    assert said == (
        "out.csv: 28 images, 14 sequences, 2 subjects, 7 emotions\n"
        "out.csv: warning: 28 images, published are 213; 2 subjects, published are 10\n"
    )
    assert ADAPTERS["jaffe"] is jaffe
    assert list(EMOTIONS) == CODES


def test_the_takes_of_an_emotion_are_one_sequence(place, prepare) -> None:
    frame, _ = prepare(jaffe, place(FILES))
    assert frame.groupby("sequence")["take"].agg(list).tolist() == [["1", "2"]] * 14


def test_the_published_counts_raise_no_warning(place, prepare) -> None:
    files = {f"{chr(65 + n % 10)}{chr(66 + n % 10)}.HA{n // 10 % 9 + 1}.{n}.tiff": None for n in range(213)}
    assert prepare(jaffe, place(files))[1] == "out.csv: 213 images, 10 sequences, 10 subjects, 1 emotions\n"


@pytest.mark.parametrize("end", ["png", "JPG", "bmp", "TIFF"])
def test_copies_in_other_formats_and_cases(place, prepare, end: str) -> None:
    frame, _ = prepare(jaffe, place({f"a/b/c/ka.su3.12.{end}": None}))
    assert frame.loc[0, ["emotion", "subject", "sequence", "take"]].tolist() == ["surprise", "KA", "KA_SU", "3"]


def test_other_images_are_counted_and_named(place, prepare) -> None:
    files = FILES | {
        "jaffe/collage.png": None,
        "jaffe/KA.XX1.39.tiff": None,
        "jaffe/._KA.AN1.01.tiff": None,
        "jaffe/README": "read me",
        "Thumbs.db": None,
    }
    frame, said = prepare(jaffe, place(files))
    assert len(frame) == 28
    assert "; passed over 2 images whose names do not parse: KA.XX1.39.tiff, collage.png\n" in said


def test_the_same_image_twice(place, refusal) -> None:
    message = refusal(jaffe, place(FILES | {"copy/KA.AN1.01.tiff": None}))
    assert message == (
        "data/jaffe/KA.AN1.01.tiff: the same image as data/copy/KA.AN1.01.tiff: leave one of them in ROOT"
    )


def test_a_folder_of_something_else(place, refusal) -> None:
    root = place({"Sessions/1/S001-100.avi": None}, "mmi")
    assert refusal(jaffe, root) == (
        "mmi holds no image like KA.AN1.39.tiff (7 folders deep); found Sessions/: it looks like data for emodo "
        "prepare mmi"
    )
    assert refusal(mmi, place(FILES)).endswith("it looks like data for emodo prepare jaffe")


def test_only_names_that_do_not_parse(place, refusal) -> None:
    assert refusal(jaffe, place({"faces/KA.AN.39.tiff": None})).startswith("data holds no image like KA.AN1.39.tiff")
