"""SFEW 2.0 in miniature: aligned faces in class folders, and a test part without labels."""

from __future__ import annotations

import pytest

from emodo.adapters import ADAPTERS
from emodo.adapters.fer2013 import fer2013
from emodo.adapters.sfew import sfew

CLASSES = {
    "Angry": "anger",
    "Disgust": "disgust",
    "Fear": "fear",
    "Happy": "happiness",
    "Neutral": "neutral",
    "Sad": "sadness",
    "Surprise": "surprise",
}
TRAIN, VAL = "Train/Train_Aligned_Faces", "Val/Val_Aligned_Faces_new/Val_Aligned_Faces"


def release(train: str = TRAIN, val: str = VAL) -> dict[str, str | None]:
    files = {f"{train}/{name}/AlexEmma_000337400_{at:08d}.png": None for name in CLASSES for at in (6, 7)}
    return files | {f"{val}/{name}/Juno_002132840_00000001.png": None for name in CLASSES}


def test_parts_and_classes_are_folders(place, prepare) -> None:
    frame, said = prepare(sfew, place(release()))
    assert frame.columns.tolist() == ["path", "emotion", "source", "split", "movie", "clip", "file"]
    assert frame["split"].value_counts().to_dict() == {"train": 14, "validation": 7}
    assert dict(zip(frame["path"].str.split("/").str[-2], frame["emotion"], strict=True)) == CLASSES
    assert frame.iloc[0].drop("file").tolist() == [
        "data/Train/Train_Aligned_Faces/Angry/AlexEmma_000337400_00000006.png",
        "anger",
        "SFEW",
        "train",
        "AlexEmma",
        "AlexEmma_000337400",
    ]
    assert said == (
        "out.csv: 21 images, 7 emotions\n"
        "out.csv: warning: 14 images of train, published are 891; 7 images of validation, published are 431\n"
    )
    assert ADAPTERS["sfew"] is sfew


def test_the_published_counts_raise_no_warning(place, prepare) -> None:
    files = {f"{TRAIN}/Sad/{at}.png": None for at in range(891)} | {f"{VAL}/Sad/{at}.png": None for at in range(431)}
    frame, said = prepare(sfew, place(files))
    assert said == "out.csv: 1322 images, 1 emotions\n"
    assert frame[["movie", "clip"]].isna().all(axis=None)  # names of another form


def test_the_validation_part_may_stand_for_the_test_part(place, prepare) -> None:
    frame, said = prepare(sfew, place(release()), validation_is_test=True)
    assert frame["split"].value_counts().to_dict() == {"train": 14, "test": 7}
    assert "7 images of validation, published are 431" in said


@pytest.mark.parametrize("top", ["SFEW2.0", "a/b/c"])
def test_wrappers_and_what_systems_leave_behind(place, prepare, top: str) -> None:
    files = {f"{top}/{name}": None for name in release()}
    files |= {
        f"{top}/{TRAIN}/Angry/._AlexEmma_000337400_00000006.png": None,
        f"{top}/{TRAIN}/Angry/Thumbs.db": None,
        f"{top}/{TRAIN}/Angry/points.mat": None,
        f"__MACOSX/{TRAIN}/Angry/x.png": None,
    }
    assert len(prepare(sfew, place(files))[0]) == 21


def test_aligned_faces_come_before_the_frames_they_were_cut_from(place, prepare) -> None:
    frame, said = prepare(sfew, place(release() | release("Train", "Val")))
    assert frame["path"].str.contains("Aligned_Faces").all()
    assert "passed over 21 images outside of the parts" in said
    frame, _ = prepare(sfew, place(release("Train", "Val"), "b"), "b.csv")
    assert frame["split"].value_counts().to_dict() == {"train": 14, "validation": 7}


def test_the_test_part_has_no_labels(place, prepare) -> None:
    tested = {f"Test/Test_Aligned_Faces/{at}.png": None for at in range(5)}
    frame, said = prepare(sfew, place(release() | tested))
    assert len(frame) == 21
    assert "passed over 5 test images, which have no label" in said


def test_the_older_name_of_the_validation_folder(place, prepare) -> None:
    frame, _ = prepare(sfew, place(release(val="Val/Val_Aligned_Faces")))
    assert (frame["split"] == "validation").sum() == 7


def test_misspelt_classes_and_images_in_no_class(place, refusal) -> None:
    files = release() | {f"{TRAIN}/Suprise/1.png": None, f"{TRAIN}/Contempt/1.png": None, f"{VAL}/1.png": None}
    lines = refusal(sfew, place(files)).split("\n")
    assert len(lines) == 3
    assert lines[0].startswith(f"data/{TRAIN}/Contempt: the folder of 1 images is no class of the data set: expected ")
    assert lines[1] == (
        f"data/{TRAIN}/Suprise: the folder of 1 images is no class of the data set: did you mean 'surprise'? Rename it"
    )
    assert lines[2].startswith(f"data/{VAL}: the folder of 1 images is no class")


def test_a_folder_of_something_else(place, refusal) -> None:
    assert refusal(sfew, place({"fer2013.csv": "emotion,pixels,Usage"})) == (
        "data holds no class folders in Train_Aligned_Faces and Val_Aligned_Faces, or Train and Val (7 folders deep); "
        "found fer2013.csv: it looks like data for emodo prepare fer2013"
    )
    assert refusal(fer2013, place({f"{VAL}/Angry/x.png": None}, "b")).endswith("emodo prepare sfew")
