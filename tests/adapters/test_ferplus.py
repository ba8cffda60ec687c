"""FER+ in miniature: rows whose votes the release's rule decides one way or the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emodo.adapters import ADAPTERS
from emodo.adapters.fer2013 import fer2013
from emodo.adapters.ferplus import VOTES, ferplus

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
ROWS = [  # usage, votes, and what the rule says; worked by hand
    ("Training", (6, 0, 1, 1, 0, 0, 0, 0, 2, 0), "neutral"),  # 6 of 8: the single votes do not count
    ("Training", (4, 0, 0, 1, 3, 2, 0, 0, 0, 0), None),  # 4 of 9
    ("Training", (5, 5, 0, 0, 0, 0, 0, 0, 0, 0), None),  # half is not more than half
    ("Training", (0, 0, 0, 0, 0, 0, 0, 3, 2, 0), "contempt"),  # 3 of 5
    ("PublicTest", (1, 1, 1, 1, 1, 1, 1, 1, 1, 1), None),  # nothing is left
    ("PublicTest", (1, 1, 1, 1, 0, 0, 2, 1, 1, 1), "fear"),  # 2 of 2
    ("PublicTest", (0, 0, 0, 0, 2, 0, 0, 0, 8, 0), None),  # unknown
    ("PrivateTest", (0, 0, 0, 0, 0, 0, 0, 0, 0, 10), None),  # no face; the release rejects it, too
    ("PrivateTest", (0, 0, 10, 0, 0, 0, 0, 0, 0, 0), "surprise"),
    ("PrivateTest", (0, 0, 0, 0, 0, 4, 0, 0, 0, 6), None),  # no face
]
REJECTED = {7}
NAMES = {at: f"fer{number:07d}.png" for number, at in enumerate(at for at in range(10) if at not in REJECTED)}
KEPT = [at for at, (_, _, emotion) in enumerate(ROWS) if emotion]


def labels(rows=ROWS) -> str:
    return "\n".join(
        [HEADER]
        + [f"{usage},{NAMES.get(at, '')},{','.join(map(str, votes))}" for at, (usage, votes, _) in enumerate(rows)]
    )


def faces(rows=ROWS) -> str:
    """Each face is as bright as its row's number."""
    return "\n".join(
        ["emotion,pixels,Usage"] + [f"0,{' '.join([str(at)] * 2304)},{usage}" for at, (usage, *_) in enumerate(rows)]
    )


def folders() -> dict[str, tuple[int, int]]:
    names = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
    return {f"images/{names[ROWS[at][0]]}/{name}": (48, 48) for at, name in NAMES.items()}


def expected(paths: list[str]) -> list[list[str]]:
    splits = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
    return [
        [path, ROWS[at][2], "FER+", splits[ROWS[at][0]], ROWS[at][0], *map(str, ROWS[at][1])]
        for at, path in zip(KEPT, paths, strict=True)
    ]


SAID = (
    "passed over 3 rows without a majority, 1 rows voted unknown, 1 rejected rows, 1 rows voted no face\n"
    "out.csv: warning: 4 rows of Training, published are 28709; 3 rows of PublicTest, published are 3589; 3 rows of "
    "PrivateTest, published are 3589\n"
)


def test_the_majority_of_the_votes_with_images_from_fer2013s_table(place, prepare) -> None:
    frame, said = prepare(ferplus, place({"FERPlus/fer2013new.csv": labels(), "kaggle/fer2013.csv": faces()}))
    assert frame.columns.tolist() == (
        ["path", "emotion", "source", "split", "usage", *(f"votes_{name}" for name in VOTES), "file"]
    )
    assert frame.drop(columns="file").to_numpy().tolist() == expected([f"out_images/{NAMES[at]}" for at in KEPT])
    for file, at in zip(frame["file"], KEPT, strict=True):  # names do not follow rows: a row was rejected
        with Image.open(file) as image:
            assert np.asarray(image).tolist() == [[at] * 48] * 48
    assert said.endswith(f"out.csv: 4 images, 4 emotions; {SAID}")
    assert ADAPTERS["ferplus"] is ferplus


def test_images_in_the_releases_folders(place, prepare, tmp_path: Path) -> None:
    extra = {"images/FER2013Train/._fer0000000.png": None, "images/FER2013Train/label.csv": "fer0000000.png,x"}
    frame, said = prepare(ferplus, place({"fer2013new.csv": labels(), **folders(), **extra}))
    paths = ["Train/fer0000000", "Train/fer0000003", "Valid/fer0000005", "Test/fer0000007"]
    assert frame.drop(columns="file").to_numpy().tolist() == expected([f"data/images/FER2013{x}.png" for x in paths])
    assert said == f"out.csv: 4 images, 4 emotions; {SAID}"
    assert not (tmp_path / "out_images").exists()


def test_a_folder_without_images_falls_back_on_the_table(place, prepare) -> None:
    files = {"fer2013new.csv": labels(), "data/FER2013Train/label.csv": "x", "icml_face_data.csv": faces()}
    assert prepare(ferplus, place(files))[0]["path"].str.startswith("out_images/").all()


def test_a_missing_image_is_named_with_its_line(place, refusal) -> None:
    files = folders()
    del files["images/FER2013Train/fer0000003.png"], files["images/FER2013Train/fer0000001.png"]
    assert refusal(ferplus, place({"fer2013new.csv": labels(), **files})) == (
        "data/fer2013new.csv: line 5: no image fer0000003.png of Training"  # the other one has no majority
    )


def test_tables_of_other_rows(place, refusal) -> None:
    swapped = [ROWS[0], ROWS[5], *ROWS[2:]]
    other = place({"fer2013new.csv": labels(), "fer2013.csv": faces(swapped)}, "a")
    assert refusal(ferplus, other) == (
        "a/fer2013.csv: line 3: PublicTest, but fer2013new.csv has Training at line 3: they are not of the same rows"
    )
    fewer = place({"fer2013new.csv": labels(), "fer2013.csv": faces(ROWS[:-1])}, "b")
    assert refusal(ferplus, fewer) == ("b/fer2013.csv has 9 rows, fer2013new.csv has 10: they are not of the same rows")
    more = place({"fer2013new.csv": labels(ROWS[:-1]), "fer2013.csv": faces()}, "c")
    assert refusal(ferplus, more) == (
        "c/fer2013.csv: line 11: PrivateTest, but fer2013new.csv has no such row: they are not of the same rows"
    )


def test_rows_that_are_wrong_are_named_with_their_line(place, refusal) -> None:
    rows = [
        "Test,fer0000010.png,1,0,0,0,0,0,0,0,0,9",
        "Training,../../fer0000010.png,10,0,0,0,0,0,0,0,0,0",
        "Training,fer0000000.png,10,0,0,0,0,0,0,0,0,0",
        "Training,fer0000010.png,10,0,0,0,0,0,,0,0,0",
        "Training,fer0000011.png,0.5,0,0,0,0,0,0,0,0,0",
    ]
    root = place({"fer2013new.csv": "\r\n".join([labels().replace("\n", "\r\n"), *rows]), "fer2013.csv": faces()})
    assert refusal(ferplus, root).split("\n") == [
        "data/fer2013new.csv: line 12: unknown usage 'Test': expected Training, PublicTest, PrivateTest",
        "data/fer2013new.csv: line 13: '../../fer0000010.png' is no image name like fer0000000.png",
        "data/fer2013new.csv: line 14: fer0000000.png is named before, at line 2",
        "data/fer2013new.csv: line 15: the votes 10, 0, 0, 0, 0, 0, , 0, 0, 0 are not all whole numbers",
        "data/fer2013new.csv: line 16: the votes 0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0 are not all whole numbers",
    ]


def test_pixels_that_are_none_are_named_with_their_line(place, refusal) -> None:
    cut = "\n".join(line[:-20] + ",Training" if line.startswith("0,0 0") else line for line in faces().split("\n"))
    assert refusal(ferplus, place({"fer2013new.csv": labels(), "fer2013.csv": cut})).startswith(
        "data/fer2013.csv: line 2: 22"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end(place, prepare, end: str) -> None:
    files = {"fer2013new.csv": labels().replace("\n", end), "fer2013.csv": faces().replace("\n", end) + end}
    assert prepare(ferplus, place(files))[0]["emotion"].tolist() == ["neutral", "contempt", "fear", "surprise"]


def test_nothing_but_rejected_rows_leaves_no_folder(place, refusal) -> None:
    rows = [ROWS[1], ROWS[2]]
    assert refusal(ferplus, place({"fer2013new.csv": labels(rows), "fer2013.csv": faces(rows)})) == (
        "data: no image is left; passed over 2 rows without a majority"
    )


def test_without_images_or_labels(place, refusal) -> None:
    assert refusal(ferplus, place({"fer2013new.csv": labels()})) == (
        "data holds fer2013new.csv but no images: add the folders FER2013Train, FER2013Valid, FER2013Test with "
        "fer0000000.png and so on, or FER2013's fer2013.csv"
    )
    assert refusal(ferplus, place({"fer2013.csv": faces()}, "b")).endswith(
        "it looks like data for emodo prepare fer2013"
    )
    assert refusal(fer2013, place({"FERPlus/fer2013new.csv": labels()}, "c")).endswith("emodo prepare ferplus")
