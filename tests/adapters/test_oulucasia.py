"""Oulu-CASIA in miniature: two people, two emotions, three illuminations, two cameras, original and cropped."""

from __future__ import annotations

import pytest

from emodo.adapters import ADAPTERS
from emodo.adapters.ckplus import ckplus
from emodo.adapters.oulucasia import oulucasia

FRAMES = {("P001", "Anger"): 5, ("P001", "Surprise"): 12, ("P080", "Anger"): 2}


def recordings(top: str = "OriginalImg", crop: str = "") -> dict[str, str | None]:
    return {
        f"{top}/{camera}{crop}/{light}/{subject}/{emotion}/{frame:03d}.jpeg": None
        for camera in ("VL", "NI")
        for light in ("Strong", "Weak", "Dark")
        for (subject, emotion), count in FRAMES.items()
        for frame in range(count)
    }


def test_the_last_three_frames_in_strong_visible_light(place, prepare) -> None:
    frame, said = prepare(oulucasia, place(recordings()))
    assert frame.columns.tolist() == (
        ["path", "emotion", "source", "subject", "sequence", "camera", "illumination", "frame", "file"]
    )
    assert frame.drop(columns=["path", "file"]).to_numpy().tolist() == [
        [emotion, "Oulu-CASIA", subject, f"{subject}_{emotion.title()}_Strong", "VL", "Strong", str(number)]
        for subject, emotion, number in [
            ("P001", "anger", 2),
            ("P001", "anger", 3),
            ("P001", "anger", 4),
            ("P001", "surprise", 9),
            ("P001", "surprise", 10),
            ("P001", "surprise", 11),
            ("P080", "anger", 0),
            ("P080", "anger", 1),
        ]
    ]
    assert frame["path"][0] == "data/OriginalImg/VL/Strong/P001/Anger/002.jpeg"
    assert said == (
        "out.csv: 8 images, 3 sequences, 2 subjects, 2 emotions\n"
        "out.csv: warning: 3 sequences of VL/Strong, published are 480\n"
    )
    assert ADAPTERS["oulucasia"] is oulucasia


def test_cameras_that_saw_the_same_share_its_sequence(place, prepare) -> None:
    options = {"cameras": ["NI", "VL"], "illuminations": ["Dark", "Weak"], "frames": 1}
    frame, said = prepare(oulucasia, place(recordings()), **options)
    assert len(frame) == 2 * 2 * 3
    assert set(zip(frame["camera"], frame["illumination"], strict=True)) == {
        ("VL", "Dark"),
        ("VL", "Weak"),
        ("NI", "Dark"),
        ("NI", "Weak"),
    }
    assert frame.groupby("sequence")["camera"].nunique().tolist() == [2] * 6
    assert "12 images, 6 sequences, 2 subjects" in said
    assert "3 sequences of NI/Weak, published are 480" in said


def test_cropped_faces_in_place_of_the_originals(place, prepare) -> None:
    root = place(recordings("PreProcess_Img", "_Acropped") | recordings() | {"PreProcess_Img/change_log.txt": "v2"})
    assert not prepare(oulucasia, root)[0]["path"].str.contains("Acropped").any()
    frame, _ = prepare(oulucasia, root, cropped=True, overwrite=True)
    assert frame["path"].str.startswith("data/PreProcess_Img/VL_Acropped/Strong/").all()


def test_a_neutral_class_from_the_first_frames(place, prepare) -> None:
    frame, _ = prepare(oulucasia, place(recordings()), frames=1, neutral=True)
    assert frame[["emotion", "frame"]].to_numpy().tolist() == [
        ["neutral", "0"],
        ["anger", "4"],
        ["neutral", "0"],
        ["surprise", "11"],
        ["neutral", "0"],
        ["anger", "1"],
    ]


@pytest.mark.parametrize("top", ["B_OriginalImg/B_OriginalImg/OriginalImg", "a/b/c/d/e/f", "."])
def test_wrappers_of_any_depth(place, prepare, top: str) -> None:
    frame, _ = prepare(oulucasia, place(recordings(top) | {f"{top}/VL/Strong/P001/Anger/._004.jpeg": None}))
    assert len(frame) == 8


def test_root_may_lie_below_the_cameras_folder(place, prepare) -> None:
    frame, _ = prepare(oulucasia, place(recordings()) / "OriginalImg" / "VL" / "Strong")
    assert len(frame) == 8


def test_what_is_there_is_named_where_the_camera_or_the_crop_is_not(place, refusal) -> None:
    root = place({name: None for name in recordings() if "/NI/" in name and "/Dark/" in name}, "dark")
    assert refusal(oulucasia, root) == (
        "dark holds no image like VL/Strong/P001/Anger/000.jpeg (but NI/Dark) (7 folders deep); found OriginalImg/: "
        "see emodo prepare oulucasia --help"
    )
    assert "no image like VL_Acropped/" in refusal(oulucasia, place(recordings()), cropped=True)


def test_misspelt_emotions_are_named_and_others_are_not_guessed(place, refusal) -> None:
    files = recordings() | {
        "OriginalImg/VL/Strong/P002/Suprise/000.jpeg": None,
        "OriginalImg/VL/Strong/P003/Suprise/000.jpeg": None,
        "OriginalImg/VL/Strong/P003/Contempt/000.jpeg": None,
    }
    assert refusal(oulucasia, place(files)).split("\n") == [
        "data: the folder 'Contempt' (1 sequences) is no emotion of the data set: expected anger, disgust, fear, "
        "happiness, sadness, surprise",
        "data: the folder 'Suprise' (2 sequences) is no emotion of the data set: did you mean 'Surprise'? Rename it",
    ]


def test_the_same_frame_twice(place, refusal) -> None:
    message = refusal(oulucasia, place(recordings() | {"copy/VL/Strong/P001/Anger/001.jpeg": None}))
    assert message.count("\n") == 0
    assert "the same frame as" in message
    assert "leave one of them in ROOT" in message


def test_a_folder_of_something_else(place, refusal) -> None:
    root = place({"MixBasic/OuluCASIA/images/P001_Anger_014.png": None}, "mixed")
    assert refusal(oulucasia, root).endswith("it looks like data for emodo prepare mixbasic")
    assert "emodo prepare oulucasia" in refusal(ckplus, place(recordings("B_OriginalImg")))
