"""RAF-DB in miniature: the list with its own spelling and labels from one, aligned and original images."""

from __future__ import annotations

import pytest

from emodo.adapters import ADAPTERS
from emodo.adapters.affectnet import affectnet
from emodo.adapters.rafdb import rafdb

EMOTIONS = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
LIST = [f"train_{at:05d}.jpg {at}" for at in range(1, 8)] + ["test_0001.jpg 4"]
NAMES = [line.partition(".")[0] for line in LIST]


def release(base: str = "basic", lines: list[str] = LIST, end: str = "\n", name: str = "list_patition_label.txt"):
    files: dict[str, str | tuple[int, int] | None] = {f"{base}/EmoLabel/{name}": end.join(lines)}
    files |= {f"{base}/Image/aligned/{name}_aligned.jpg": (10, 10) for name in NAMES}
    return files | {f"{base}/Image/original/{name}.jpg": (30, 20) for name in NAMES}


def attributes(gender: object, race: object, age: object, end: str = "\n") -> str:
    return end.join([*["12.5\t20.25"] * 5, str(gender), str(race), str(age)])


def test_labels_count_from_one_and_the_prefix_is_the_split(place, prepare) -> None:
    frame, said = prepare(rafdb, place(release()))
    assert frame.columns.tolist() == ["path", "emotion", "source", "split", "file"]
    assert frame.drop(columns="file").to_numpy().tolist() == [
        [f"data/basic/Image/aligned/{name}_aligned.jpg", emotion, "RAF-DB", name.partition("_")[0]]
        for name, emotion in zip(NAMES, [*EMOTIONS, "happiness"], strict=True)
    ]
    assert said == (
        "out.csv: 8 images, 7 emotions\n"
        "out.csv: warning: 7 images of train, published are 12271; 1 images of test, published are 3068\n"
    )
    assert ADAPTERS["rafdb"] is rafdb


def test_the_original_images(place, prepare) -> None:
    frame, _ = prepare(rafdb, place(release()), images="original")
    assert frame["path"][0] == "data/basic/Image/original/train_00001.jpg"


def test_what_annotators_saw_is_a_column(place, prepare) -> None:
    manual = {
        f"basic/Annotation/manual/{name}_manu_attri.txt": attributes(
            at % 3, at % 3, at % 5, ["\n", "\r\n", "\r"][at % 3]
        )
        for at, name in enumerate(NAMES[:6])
    }
    manual |= {"basic/Annotation/manual/._train_00001_manu_attri.txt": "x", "basic/Annotation/auto/x.txt": "x"}
    frame, _ = prepare(rafdb, place(release() | manual))
    assert frame.loc[:5, ["gender", "race", "age"]].fillna("").to_numpy().tolist() == [
        ["male", "Caucasian", "0-3"],
        ["female", "African-American", "4-19"],
        ["", "Asian", "20-39"],  # unsure
        ["male", "Caucasian", "40-69"],
        ["female", "African-American", "70+"],
        ["", "Asian", "0-3"],
    ]
    assert frame.loc[6:, ["gender", "race", "age"]].isna().all(axis=None)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("base", ["basic", "RAF-DB/RAF-DB/basic/basic", "."])
def test_wrappers_and_any_line_end(place, prepare, base: str, end: str) -> None:
    files = release(base, end=end) | {f"{base}/Image/aligned/._train_00001_aligned.jpg": "x", "__MACOSX/x.jpg": "x"}
    assert prepare(rafdb, place(files))[0]["emotion"].tolist() == [*EMOTIONS, "happiness"]


def test_the_images_in_a_folder_of_their_archives_name_and_the_right_spelling(place, prepare) -> None:
    files = {
        name.replace("/aligned/", "/aligned/aligned/"): content
        for name, content in release(name="list_partition_label.txt").items()
    }
    assert len(prepare(rafdb, place(files))[0]) == 8


def test_lines_that_are_wrong_are_named(place, refusal) -> None:
    lines = [
        *LIST,
        "",
        "train_00001.jpg 5",
        "train_00008.jpg 8",
        "train_00008.jpg 0",
        "val_0001.jpg 1",
        "train_00009.jpg",
        "train_00009.jpg 1",
    ]
    assert refusal(rafdb, place(release(lines=lines))).split("\n") == [
        f"data/basic/EmoLabel/list_patition_label.txt: line {at}: {what}"
        for at, what in [
            (10, "train_00001.jpg is listed before, at line 1"),
            (11, "'8' is no label: expected 1 to 7 (the basic part)"),
            (12, "'0' is no label: expected 1 to 7 (the basic part)"),
            (13, "'val_0001.jpg 1' is not like 'train_00001.jpg 5'"),
            (14, "'train_00009.jpg' is not like 'train_00001.jpg 5'"),
            (15, "no image train_00009_aligned.jpg in data/basic/Image/aligned"),
        ]
    ]


def test_annotations_that_are_wrong_are_named(place, refusal) -> None:
    manual = {f"basic/Annotation/manual/{NAMES[0]}_manu_attri.txt": attributes(3, "x", 4)}
    manual |= {f"basic/Annotation/manual/{NAMES[1]}_manu_attri.txt": "12 20\n"}
    assert [
        line.removeprefix("data/basic/Annotation/manual/")
        for line in refusal(rafdb, place(release() | manual)).split("\n")
    ] == [
        "train_00001_manu_attri.txt: line 6: '3' is no gender: expected 0 to 2",
        "train_00001_manu_attri.txt: line 7: 'x' is no race: expected 0 to 2",
        "train_00002_manu_attri.txt: line 6: '' is no gender: expected 0 to 2",
        "train_00002_manu_attri.txt: line 7: '' is no race: expected 0 to 2",
        "train_00002_manu_attri.txt: line 8: '' is no age: expected 0 to 4",
    ]


def test_images_that_are_not_unpacked(place, refusal) -> None:
    files = {name: content for name, content in release().items() if "/aligned/" not in name}
    message = refusal(rafdb, place(files | {"basic/Image/aligned.zip": "PK"}))
    assert message.startswith("data/basic holds no folder Image/aligned (7 folders deep); found EmoLabel/, Image/")


def test_class_folders_count_from_one(place, prepare) -> None:
    files = {
        f"DATASET/{part}/{number}/{part}_{number}_aligned.jpg": None
        for part in ("train", "test")
        for number in range(1, 8)
    }
    frame, said = prepare(rafdb, place(files | {"DATASET/train/1/Thumbs.db": None, "train_labels.csv": "image,label"}))
    assert frame.loc[frame["split"] == "train", "emotion"].tolist() == EMOTIONS
    assert "7 images of train, published are 12271" in said
    assert frame["source"].eq("RAF-DB").all()


def test_class_folders_that_are_none(place, refusal) -> None:
    message = refusal(rafdb, place({"train/0/a.jpg": None, "train/1/b.jpg": None, "test/8/c.jpg": None}))
    assert message.split("\n") == [
        "data/test/8: the folder of 1 images is no class of the data set: expected one of 1, 2, 3, 4, 5, 6, 7",
        "data/train/0: the folder of 1 images is no class of the data set: expected one of 1, 2, 3, 4, 5, 6, 7",
    ]


def test_a_folder_of_something_else(place, refusal) -> None:
    root = place({"Manually_Annotated_file_lists/training.csv": "x"})
    assert refusal(rafdb, root) == (
        "data holds no list_patition_label.txt, and no class folders train/1/ (7 folders deep); found "
        "Manually_Annotated_file_lists/: it looks like data for emodo prepare affectnet"
    )
    assert refusal(affectnet, place(release(), "b")).endswith("it looks like data for emodo prepare rafdb")
