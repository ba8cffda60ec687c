"""ExpW in miniature: several faces in an image, boxes in the order top, left, right, bottom."""

from __future__ import annotations

import pytest

from emodo.adapters import ADAPTERS
from emodo.adapters.expw import EMOTIONS, expw
from emodo.adapters.sfew import sfew

LINES = [  # name, face, top, left, right, bottom, confidence, label
    "angry_actor_104.jpg 0 2 5 25 18 22.9702 0",
    "angry_actor_104.jpg 1 2 30 38 19 8 3",
    *(f"face_{label}.png 0 0 0 10 10 1.5e-1 {label}" for label in range(1, 7)),
]
IMAGES = {f"image/origin/{name}": (40, 20) for name in dict.fromkeys(line.split()[0] for line in LINES)}


def release(lines: list[str] = LINES, end: str = "\n"):
    return {"label/label.lst": end.join(lines), **IMAGES}


def test_boxes_are_top_left_right_bottom(place, prepare) -> None:
    frame, said = prepare(expw, place(release()))
    columns = ["path", "emotion", "source", "x1", "y1", "x2", "y2", "face", "confidence", "file"]
    assert frame.columns.tolist() == columns
    assert frame.drop(columns="file").to_numpy().tolist()[:2] == [
        ["data/image/origin/angry_actor_104.jpg", "anger", "ExpW", 5, 2, 25, 18, "0", "22.9702"],
        ["data/image/origin/angry_actor_104.jpg", "happiness", "ExpW", 30, 2, 38, 19, "1", "8.0"],
    ]
    assert frame["emotion"].tolist()[2:] == ["disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
    assert said == "out.csv: 8 rows of 7 images, 7 emotions\nout.csv: warning: 8 faces listed, published are 91793\n"
    assert ADAPTERS["expw"] is expw
    assert EMOTIONS[0] == "anger"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", " \n"])
def test_wrappers_any_line_end_and_spaces(place, prepare, end: str) -> None:
    files = {f"ExpW/data/{name}": content for name, content in release([*LINES, ""], end).items()}
    files |= {"ExpW/data/image/origin/._face_1.png": None, "__MACOSX/label.lst": "x", "Origin.7z.001": "7z"}
    assert len(prepare(expw, place(files))[0]) == 8


def test_a_name_with_spaces(place, prepare) -> None:
    frame, _ = prepare(expw, place(release(["my face 1.jpg 0 0 0 8 8 1 2"]) | {"image/origin/my face 1.jpg": (9, 9)}))
    assert frame["path"].tolist() == ["data/image/origin/my face 1.jpg"]


def test_boxes_are_cut_to_their_image_and_faces_outside_left_out(place, prepare) -> None:
    lines = ["face_1.png 0 -3 -2 50 30 1 0", "face_2.png 0 5 100 120 15 1 1", "face_3.png 0 1 1 9 9 1 2"]
    frame, said = prepare(expw, place(release(lines)))
    assert frame[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [[0, 0, 40, 20], [1, 1, 9, 9]]
    assert "; passed over 1 faces outside of their image; 2 boxes were cut to their image\n" in said


def test_lines_that_are_wrong_are_named(place, refusal) -> None:
    lines = [
        *LINES,
        "face_1.png 0 0 0 10 10 1",
        "face_1.png 0 0 0 ten 10 1 1",
        "face_1.png 0 1 0 10 10 1 7",
        "face_1.png 0 1 5 5 10 1 1",
        "face_1.png 0 9 5 9 9 1 1",
        "face_1.png 1 0 0 10 10 0.9 5",
        "face_1.png 0 0 0 10 10 nan 1",
    ]
    expected = "is not name, face, top, left, right, bottom, confidence, label"
    assert refusal(expw, place(release(lines))).split("\n") == [
        f"data/label/label.lst: line {at}: {what}"
        for at, what in enumerate(
            [
                f"'face_1.png 0 0 0 10 10 1' {expected}",
                f"'face_1.png 0 0 0 ten 10 1 1' {expected}",
                "7 is no label: expected 0 to 6",
                "the box is empty (top 1, left 5, right 5, bottom 10)",
                "the box is empty (top 9, left 5, right 9, bottom 9)",
                "label 5 for a face that has label 1 at line 3",
                f"'face_1.png 0 0 0 10 10 nan 1' {expected}",
            ],
            9,
        )
    ]


def test_a_face_that_is_listed_twice_alike_counts_once(place, prepare) -> None:
    frame, said = prepare(expw, place(release([*LINES, LINES[0]])))
    assert len(frame) == 8
    assert "passed over 1 faces that are listed twice" in said


def test_missing_images_and_those_that_cannot_be_read(place, prepare, refusal) -> None:
    files = release() | {"image/origin/face_2.png": "no image"}
    del files["image/origin/face_1.png"]
    root = place(files)
    assert refusal(expw, root).split("\n") == [
        "data: 1 of 8 listed images are missing: complete them, or leave them out with --skip_missing",
        "data/label/label.lst: line 3: no image face_1.png in data/image/origin",
    ]
    frame, said = prepare(expw, root, skip_missing=True)
    assert len(frame) == 6
    assert "left out 1 of 8 listed images that are missing, first data/label/label.lst: line 3" in said.replace(
        str(root.parent) + "/", ""
    )
    assert "1 images that cannot be read" in said
    place({"image/origin/face_1.png": (40, 20)})
    (root.parent / "out.csv").unlink()
    assert refusal(expw, root).split("\n") == [
        "data: 1 images cannot be read: copy them anew, or leave them out with --skip_missing",
        "data/image/origin/face_2.png",
    ]


def test_people_in_one_image_stay_on_one_side(place, prepare) -> None:
    from emodo import splits

    frame, _ = prepare(expw, place(release()))
    split = splits.by_sequence(frame, test=0.5, seed=1)
    assert split.groupby("path")["split"].nunique().max() == 1


def test_a_folder_of_something_else(place, refusal) -> None:
    root = place({"Train/Train_Aligned_Faces/Angry/a.png": None})
    assert refusal(expw, root) == (
        "data holds no 'label.lst' (7 folders deep); found Train/: it looks like data for emodo prepare sfew"
    )
    assert refusal(sfew, place(release(), "b")).endswith("it looks like data for emodo prepare expw")
    only_labels = place({"label/label.lst": LINES[0], "image/origin.7z.001": "7z"}, "c")
    assert refusal(expw, only_labels) == (
        "c holds no image in image/origin/ (7 folders deep); found image/, label/: see emodo prepare expw --help"
    )
