"""AffectNet in miniature: the full release with its lists, the release of eight classes, and class folders."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from emodo.adapters import ADAPTERS
from emodo.adapters.affectnet import EMOTIONS, affectnet
from emodo.adapters.expw import expw

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
LANDMARKS = ";".join(f"{at}.5" for at in range(136))
ORDER = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"]


def row(path: str, expression: object, box: str = "1,2,10,12", valence: object = 0.5, arousal: object = -0.25) -> str:
    return f"{path},{box},{LANDMARKS},{expression},{valence},{arousal}"


TRAINING = [row(f"{at}/image{at}.jpg", at) for at in range(8)] + [
    row(f"8/{at}.jpg", at, "NULL,NULL,NULL,NULL", -2, -2) for at in (8, 9, 10, 10)
]
VALIDATION = [row("9/valid.JPG", 6, valence=-2, arousal=-2), f"9/second.png,,,,,{LANDMARKS},1,,"]
IMAGES = {f"Manually_Annotated_Images/{line.partition(',')[0]}": (20, 16) for line in TRAINING[:8] + VALIDATION}


def full(training=TRAINING, validation=VALIDATION, head: str | None = HEADER, end: str = "\n"):
    lists = "Manually_Annotated_file_lists"
    return {
        f"{lists}/training.csv": end.join([HEADER, *training]) + end,
        f"{lists}/validation.csv": end.join([head, *validation] if head else validation),
        **IMAGES,
    }


def npy(value: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(value))
    return file.getvalue()


def eight() -> dict[str, bytes | tuple[int, int]]:
    files: dict[str, bytes | tuple[int, int]] = {}
    for at in range(8):
        part = "val_set" if at == 7 else "train_set"
        files[f"{part}/images/{at}.jpg"] = (8, 8)
        files[f"{part}/annotations/{at}_exp.npy"] = npy(str(at) if at % 2 else at)  # as text, or as a number
        files[f"{part}/annotations/{at}_val.npy"] = npy("-0.5" if at % 2 else -2.0)
        files[f"{part}/annotations/{at}_aro.npy"] = npy("0.25" if at % 2 else -2)
        files[f"{part}/annotations/{at}_lnd.npy"] = npy(np.zeros(136))
    return files


def test_the_full_release(place, prepare) -> None:
    frame, said = prepare(affectnet, place(full()))
    columns = ["path", "emotion", "source", "x1", "y1", "x2", "y2", "split", "valence", "arousal", "file"]
    assert frame.columns.tolist() == columns
    assert frame["emotion"].tolist() == [*ORDER, "happiness", "anger"]
    assert frame["split"].tolist() == ["train"] * 8 + ["validation"] * 2
    assert frame.loc[0, ["path", "x1", "y1", "x2", "y2", "valence", "arousal"]].tolist() == (
        ["data/Manually_Annotated_Images/0/image0.jpg", 1, 2, 11, 14, "0.5", "-0.25"]
    )
    assert frame.loc[8:, ["valence", "arousal"]].isna().all(axis=None)  # -2 and empty
    assert frame.loc[8, ["x1", "y1", "x2", "y2"]].isna().all()
    assert said == (
        "out.csv: 10 images, 8 emotions; passed over 1 images of no emotion, 1 images of an uncertain emotion, "
        "2 images without a face; 1 images have no box\n"
        "out.csv: warning: 8 images of train, published are 287651; 2 images of validation, published are 4000\n"
    )
    assert ADAPTERS["affectnet"] is affectnet
    assert list(EMOTIONS) == ORDER


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("head", [HEADER, None, "\ufeff" + HEADER.replace(",", " , ").upper()])
def test_a_validation_list_with_and_without_a_header(place, prepare, head: str | None, end: str) -> None:
    frame, _ = prepare(affectnet, place(full(head=head, end=end)), validation_is_test=True)
    assert frame.loc[frame["split"] == "test", "emotion"].tolist() == ["happiness", "anger"]


def test_without_boxes_no_image_is_opened(place, prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    root = place(full() | dict.fromkeys(IMAGES, "no image"))
    opened: list[str] = []
    monkeypatch.setattr("emodo.manifest.image_sizes", lambda files: opened.extend(files) or {})
    frame, said = prepare(affectnet, root, boxes=False)
    assert "x1" not in frame
    assert len(frame) == 10
    assert "box" not in said
    assert not opened


def test_boxes_are_cut_to_their_image(place, prepare) -> None:
    boxes = ["-5,-5,30,30", "15,10,10,10", "100,100,5,5", "3,3,0,5", "NaN,1,5,5"]
    frame, said = prepare(affectnet, place(full([row(f"{at}/image{at}.jpg", at, box) for at, box in enumerate(boxes)])))
    written = frame.loc[frame["split"] == "train"].set_index("path")[["x1", "y1", "x2", "y2"]]
    assert written.loc["data/Manually_Annotated_Images/0/image0.jpg"].tolist() == [0, 0, 20, 16]
    assert written.loc["data/Manually_Annotated_Images/1/image1.jpg"].tolist() == [15, 10, 20, 16]
    assert written.isna().all(axis=1).tolist() == [False, False, True, True]
    assert "passed over 1 faces outside of their image; 3 boxes were cut to their image; 3 images have no box" in said


def test_images_under_another_suffix_or_case(place, prepare) -> None:
    files = full()
    for name, other in [
        ("0/image0.jpg", "0/image0.png"),
        ("1/image1.jpg", "1/IMAGE1.JPG"),
        ("9/valid.JPG", "9/valid.bmp"),
    ]:
        files[f"Manually_Annotated_Images/{other}"] = files.pop(f"Manually_Annotated_Images/{name}")
    files["Manually_Annotated_Images/2/image2.png"] = (8, 8)  # beside image2.jpg, which is listed
    frame, _ = prepare(affectnet, place(files))
    names = frame["path"].str.removeprefix("data/Manually_Annotated_Images/").tolist()
    assert names == sorted(
        ["0/image0.png", "1/IMAGE1.JPG", *(f"{at}/image{at}.jpg" for at in range(2, 8)), "9/second.png", "9/valid.bmp"]
    )


def test_missing_images_and_those_that_cannot_be_read(place, prepare, refusal) -> None:
    files = full() | {"Manually_Annotated_Images/0/image0.jpg": "no image"}
    del files["Manually_Annotated_Images/3/image3.jpg"]
    root = place(files)
    assert refusal(affectnet, root).split("\n") == [
        "data: 1 of 10 listed images are missing: complete them, or leave them out with --skip_missing",
        "data/Manually_Annotated_file_lists/training.csv: line 5: no image 3/image3.jpg in "
        "data/Manually_Annotated_Images",
    ]
    place({"Manually_Annotated_Images/3/image3.jpg": (20, 16)})
    assert refusal(affectnet, root).split("\n") == [
        "data: 1 images cannot be read: copy them anew, or leave them out with --skip_missing",
        "data/Manually_Annotated_Images/0/image0.jpg",
    ]
    (root / "Manually_Annotated_Images/3/image3.jpg").unlink()
    frame, said = prepare(affectnet, root, skip_missing=True)
    assert len(frame) == 8
    assert "left out 1 of 10 listed images that are missing, first data/Manually_Annotated_file_lists/" in said
    assert "passed over" in said
    assert "1 images that cannot be read" in said


def test_rows_that_are_wrong_are_named_with_their_line(place, refusal) -> None:
    rows = [
        row("0/image0.jpg", 11),
        row("0/image0.jpg", ""),
        row("0/image0.jpg", "happy"),
        row("0/image0.jpg", 0, "a,1,2,3"),
        row("1/image1.jpg", 1, valence="NaN"),
        row("2/image2.jpg", 2, arousal=3),
        row("3/image3.jpg", 3),
        row("3/image3.jpg", 4),
    ]
    listed = "data/Manually_Annotated_file_lists/training.csv: line"
    assert refusal(affectnet, place(full(rows))).split("\n") == [
        f"{listed} 2: '11' is no label: expected 0 to 10",
        f"{listed} 3: '' is no label: expected 0 to 10",
        f"{listed} 4: 'happy' is no label: expected 0 to 10",
        f"{listed} 5: could not convert string to float: 'a'",
        f"{listed} 6: valence or arousal is NaN, expected -1 to 1",
        f"{listed} 7: valence or arousal is 3, expected -1 to 1",
        f"{listed} 9: label 4 for an image that has label 3 at line 8",
    ]
    short = full([*TRAINING, "0/image0.jpg,1,2"])
    assert refusal(affectnet, place(short, "b")) == (
        "b/Manually_Annotated_file_lists/training.csv: line 14: 3 cells, expected 9"
    )
    other = full() | {"Manually_Annotated_file_lists/training.csv": "path,label\nx,1\n"}
    assert "no column subdirectory_filepath and no column face_x" in refusal(affectnet, place(other, "c"))


def test_an_image_that_is_listed_twice_alike_counts_once(place, prepare) -> None:
    frame, said = prepare(affectnet, place(full([*TRAINING, TRAINING[0], TRAINING[1]])))
    assert len(frame) == 10
    assert "2 images that are listed twice" in said


def test_the_release_of_eight_classes(place, prepare) -> None:
    root = place(
        {f"AffectNet/{name}": content for name, content in eight().items()}
        | {"AffectNet/train_set/images/._0.jpg": None, "AffectNet/train_set/images/99.jpg": None}
    )
    frame, said = prepare(affectnet, root, "out.parquet")
    assert frame.columns.tolist() == ["path", "emotion", "source", "split", "valence", "arousal", "file"]
    assert frame["emotion"].tolist() == ORDER
    assert frame["split"].tolist() == ["train"] * 7 + ["validation"]
    assert frame["path"][7] == "data/AffectNet/val_set/images/7.jpg"
    assert frame["valence"].fillna(9).tolist() == [9, -0.5] * 4
    assert frame["arousal"].fillna(9).tolist() == [9, 0.25] * 4
    assert "passed over 1 images without a label" in said


def test_arrays_that_are_no_number(place, refusal, tmp_path) -> None:
    class Planted:
        def __reduce__(self):
            import os

            return os.mkdir, (str(tmp_path / "ran"),)

    planted = io.BytesIO()
    np.save(planted, np.array(Planted(), object), allow_pickle=True)
    bad = {
        "0_exp.npy": planted.getvalue(),
        "1_exp.npy": npy([1, 2]),
        "2_exp.npy": npy("happy"),
        "3_exp.npy": npy(11),
        "4_exp.npy": b"",
        "5_exp.npy": npy(np.zeros(4096)),
        "6_exp.npy": npy(float("nan")),
    }
    root = place(eight() | {f"train_set/annotations/{name}": content for name, content in bad.items()})
    lines = refusal(affectnet, root).removeprefix("data/train_set/annotations/").split("\ndata/train_set/annotations/")
    assert [line.partition(" (")[0] for line in lines] == [
        "0_exp.npy holds no number",
        "1_exp.npy holds no number",
        "2_exp.npy holds no number",
        "3_exp.npy: 11 is no label: expected 0 to 10",
        "4_exp.npy holds no number",
        "5_exp.npy holds no number",
        "6_exp.npy: nan is no label: expected 0 to 10",
    ]
    assert "Object arrays cannot be loaded" in lines[0]
    assert not (tmp_path / "ran").exists()


def test_annotations_without_an_image_and_of_no_emotion(place, prepare, refusal) -> None:
    files = eight() | {"train_set/annotations/1_exp.npy": npy(9)}
    del files["train_set/images/4.jpg"]
    root = place(files)
    assert refusal(affectnet, root).split("\n")[1] == (
        "data/train_set/annotations/4_exp.npy: no image 4.jpg in data/train_set/images"
    )
    frame, said = prepare(affectnet, root, skip_missing=True)
    assert frame["emotion"].tolist() == [name for name in ORDER if name not in ("happiness", "fear")]
    assert "passed over 1 images of an uncertain emotion" in said


def test_class_folders_by_number_and_by_name(place, prepare) -> None:
    numbers = {f"archive/train/{at}/{at}.jpg": None for at in range(8)} | {"archive/val/0/v.jpg": None, "x/a.jpg": None}
    frame, said = prepare(affectnet, place(numbers))
    assert frame["emotion"].tolist() == [*ORDER, "neutral"]
    assert frame["split"].tolist() == ["train"] * 8 + ["validation"]
    assert "passed over 1 images outside of the parts" in said
    names = {f"Train/{name}/1.png": None for name in ("Anger", "happy", "Contempt")} | {"Test/fear/1.png": None}
    frame, _ = prepare(affectnet, place(names, "b"), "b.csv")
    assert sorted(zip(frame["split"], frame["emotion"], strict=True)) == (
        [("test", "fear"), ("train", "anger"), ("train", "contempt"), ("train", "happiness")]
    )


def test_a_folder_of_something_else(place, refusal) -> None:
    assert refusal(affectnet, place({"label/label.lst": "a"})) == (
        "data holds no training.csv, no train_set with images and annotations, and no class folders train/0 (7 folders "
        "deep); found label/: it looks like data for emodo prepare expw"
    )
    assert refusal(expw, place(full(), "b")).endswith("it looks like data for emodo prepare affectnet")


def test_a_manifest_of_boxes_is_read_as_any_other(place, prepare) -> None:
    frame, _ = prepare(affectnet, place(full()), "out.parquet")
    assert pd.api.types.is_float_dtype(frame["valence"])
    assert frame["valence"].isna().sum() == 2
