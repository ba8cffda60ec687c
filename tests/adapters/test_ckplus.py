"""CK+ in miniature: three labelled sequences, unlabelled ones, and what people's copies look like."""

from __future__ import annotations

from pathlib import Path

import pytest

from emodo.adapters import ADAPTERS
from emodo.adapters.ckplus import EMOTIONS, ckplus
from emodo.adapters.kdef import kdef

LABELS = {"S005_001": 3, "S010_002": 1, "S011_001": 2}  # disgust, anger, contempt
FRAMES = {"S005_001": 11, "S010_002": 4, "S011_001": 2, "S010_001": 5}


def image(sequence: str, frame: int) -> str:
    return f"{sequence.replace('_', '/')}/{sequence}_{frame:08d}.png"


def sequences(images: str = "cohn-kanade-images", emotion: str = "Emotion", end: str = "\n") -> dict[str, str | None]:
    files: dict[str, str | None] = {
        f"{images}/{image(name, frame)}": None for name, last in FRAMES.items() for frame in range(1, last + 1)
    }
    files |= {
        f"{emotion}/{image(name, FRAMES[name])[:-4]}_emotion.txt": f"   {label:.7e}{end}"
        for name, label in LABELS.items()
    }
    return files | {f"{emotion}/S010/001/": None}  # an unlabelled sequence has an empty folder, or none


def test_the_last_three_frames_of_labelled_sequences(place, prepare) -> None:
    frame, said = prepare(ckplus, place(sequences()))
    assert frame.columns.tolist() == ["path", "emotion", "source", "subject", "sequence", "frame", "file"]
    assert [tuple(row) for row in frame.drop(columns=["path", "file"]).to_numpy()] == [
        ("disgust", "CK+", "S005", "S005_001", "9"),
        ("disgust", "CK+", "S005", "S005_001", "10"),
        ("disgust", "CK+", "S005", "S005_001", "11"),
        ("anger", "CK+", "S010", "S010_002", "2"),
        ("anger", "CK+", "S010", "S010_002", "3"),
        ("anger", "CK+", "S010", "S010_002", "4"),
        ("contempt", "CK+", "S011", "S011_001", "1"),
        ("contempt", "CK+", "S011", "S011_001", "2"),
    ]
    assert frame["path"][2] == "data/cohn-kanade-images/S005/001/S005_001_00000011.png"
    assert said == (
        "out.csv: 8 images, 3 sequences, 3 subjects, 3 emotions; passed over 1 sequences without a label\n"
        "out.csv: warning: 3 labelled sequences, published are 327\n"
    )
    assert ADAPTERS["ckplus"] is ckplus


def test_without_contempt_and_with_the_neutral_first_frames(place, prepare) -> None:
    frame, said = prepare(ckplus, place(sequences()), frames=1, contempt=False, neutral=True)
    assert frame[["emotion", "sequence", "frame"]].to_numpy().tolist() == [
        ["neutral", "S005_001", "1"],
        ["disgust", "S005_001", "11"],
        ["neutral", "S010_002", "1"],
        ["anger", "S010_002", "4"],
    ]
    assert "1 sequences of contempt" in said
    assert "3 labelled sequences, published are 327; 2 sequences without contempt, published are 309" in said


def test_a_frame_is_not_both_neutral_and_the_peak(place, prepare) -> None:
    frame, _ = prepare(ckplus, place(sequences()), frames=2, neutral=True)
    assert frame.loc[frame["sequence"] == "S011_001", "emotion"].tolist() == ["contempt", "contempt"]


def test_every_label_number_has_its_emotion(place, prepare) -> None:
    files: dict[str, str | None] = {}
    for label in range(8):
        files[f"images/{image(f'S100_{label:03d}', 1)}"] = None
        files[f"labels/S100_{label:03d}_00000001_emotion.txt"] = f"   {label}.0000000e+00\n"
    frame, _ = prepare(ckplus, place(files))
    assert frame["emotion"].tolist() == list(EMOTIONS)
    assert EMOTIONS[1:4] == ("anger", "contempt", "disgust")


@pytest.mark.parametrize("end", ["", "\r", "\r\n", "\n\n", "\n  \n"])
def test_label_files_with_any_line_end(place, prepare, end: str) -> None:
    frame, _ = prepare(ckplus, place(sequences(end=end)))
    assert frame["emotion"].tolist() == ["disgust"] * 3 + ["anger"] * 3 + ["contempt"] * 2


def test_wrappers_copies_beside_the_originals_and_what_systems_leave_behind(place, prepare) -> None:
    files = sequences("extended-cohn-kanade-images/cohn-kanade-images", "Emotion_Labels/Emotion")
    files |= {f"last_three_cropped/S005_001_{frame:08d}.png": None for frame in (9, 10, 11)}
    files |= {
        "extended-cohn-kanade-images/cohn-kanade-images/S005/001/._S005_001_00000012.png": None,
        "extended-cohn-kanade-images/cohn-kanade-images/S005/001/.DS_Store": None,
        "__MACOSX/Emotion/S005/001/S005_001_00000011_emotion.txt": "nonsense",
        "Emotion_Labels/Emotion/S005/001/._S005_001_00000011_emotion.txt": b"\x00\x05\x16\x07",
        "Landmarks/S005/001/S005_001_00000011_landmarks.txt": "   2.1779878e+02   2.1708728e+02\n",
        "FACS/S005/001/S005_001_00000011_facs.txt": "   9.0000000e+00   4.0000000e+00\n",
    }
    frame, _ = prepare(ckplus, place(files))
    assert frame["frame"].tolist() == ["9", "10", "11", "2", "3", "4", "1", "2"]
    assert not frame["path"].str.contains("cropped").any()


def test_label_files_that_are_none_are_named_with_their_line(place, refusal) -> None:
    files = sequences()
    files["Emotion/S005/001/S005_001_00000011_emotion.txt"] = "   3.0000000e+00\r\n   4.0000000e+00\r\n"
    files["Emotion/S010/002/S010_002_00000004_emotion.txt"] = "   NaN\n"
    files["Emotion/S011/001/S011_001_00000002_emotion.txt"] = "\n"
    assert refusal(ckplus, place(files)).split("\n") == [
        "data/Emotion/S005/001/S005_001_00000011_emotion.txt: line 2: a second label, '4.0000000e+00': a label file "
        "has one line",
        "data/Emotion/S010/002/S010_002_00000004_emotion.txt: line 1: 'NaN' is no label: expected 0 to 7",
        "data/Emotion/S011/001/S011_001_00000002_emotion.txt: it is empty: a label file has one line",
    ]


@pytest.mark.parametrize("text", ["8.0", "-1", "happy", "inf", "3.0 4.0"])
def test_labels_that_are_none(place, refusal, text: str) -> None:
    files = sequences() | {"Emotion/S005/001/S005_001_00000011_emotion.txt": text}
    assert refusal(ckplus, place(files)).endswith(f"line 1: {text!r} is no label: expected 0 to 7")


def test_a_label_is_of_its_own_frame(place, prepare, refusal) -> None:
    files = sequences()
    root = place(files | {f"cohn-kanade-images/{image('S005_001', 12)}": None})
    assert prepare(ckplus, root)[0]["frame"].tolist()[:3] == ["9", "10", "11"]
    (root.parent / "out.csv").unlink()
    (root / "cohn-kanade-images" / image("S005_001", 11)).unlink()
    assert refusal(ckplus, root) == (
        "data/Emotion/S005/001/S005_001_00000011_emotion.txt: its image S005_001_00000011.png is missing: complete the "
        "images, or remove it"
    )


def test_the_same_image_or_label_twice(place, refusal) -> None:
    files = sequences() | {f"cohn-kanade-images/copy/{image('S005_001', 11)}": None}
    message = refusal(ckplus, place(files))
    assert "S005_001_00000011.png: the same image as data/cohn-kanade-images/" in message
    twice = sequences() | {"old/S005_001_00000011_emotion.txt": "   7.0000000e+00\n"}
    assert "another label than" in refusal(ckplus, place(twice, "twice"))


def test_the_same_label_twice_is_no_contradiction(place, prepare) -> None:
    frame, _ = prepare(ckplus, place(sequences() | {"old/S005_001_00000011_emotion.txt": "   3.0000000e+00\n"}))
    assert len(frame) == 8


def test_a_folder_of_something_else(place, refusal) -> None:
    root = place({"KDEF/AF01/AF01ANS.JPG": None}, "kdef")
    assert refusal(ckplus, root) == (
        "kdef holds no image like S005_001_00000011.png (7 folders deep); found KDEF/: it looks like data for emodo "
        "prepare kdef"
    )
    only_images = place({name: None for name in sequences() if "emotion" not in name}, "images")
    assert refusal(ckplus, only_images).startswith("images holds no label like S005_001_00000011_emotion.txt")
    assert refusal(kdef, place(sequences())).endswith("it looks like data for emodo prepare ckplus")
    assert refusal(ckplus, root / "absent").endswith("absent is missing: no such folder")


def test_a_label_that_is_no_text(place, refusal) -> None:
    files = sequences() | {"Emotion/S005/001/S005_001_00000011_emotion.txt": b"\xff\xfe3"}
    assert refusal(ckplus, place(files)).endswith("cannot be read: it is no UTF-8: save it as UTF-8")


def test_an_existing_manifest_is_kept(place, prepare, tmp_path: Path) -> None:
    root = place(sequences())
    prepare(ckplus, root)
    with pytest.raises(ValueError, match="exists already"):
        ckplus(root, tmp_path / "out.csv")
    frame, _ = prepare(ckplus, root, frames=1, overwrite=True)
    assert len(frame) == 3
    with pytest.raises(ValueError, match="--frames 0: expected a whole number from 1"):
        ckplus(root, tmp_path / "other.csv", frames=0)
