"""MMI in miniature: real videos of a few frames, each frame a brightness of its own and a bright corner."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from emodo.adapters import ADAPTERS
from emodo.adapters.mmi import mmi

WIDTH, HEIGHT = 64, 48
MODULE = sys.modules["emodo.adapters.mmi"]  # the package has the function under this name


def video(file: Path, count: int, step: int = 10) -> Path:
    """`count` frames of brightness 20, 20 + step ...; the upper left corner white, the right half slightly brighter."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for at in range(count):
            image = np.full((HEIGHT, WIDTH, 3), 20 + step * at, np.uint8)
            image[:, WIDTH // 2 :] += 40
            image[:16, :16] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return file


def session(
    root: Path,
    number: int,
    name: str,
    emotion: str | None = "4",
    count: int = 7,
    view: str | None = "0",
    oao: bool = False,
) -> Path:
    folder = root / "Sessions" / str(number)
    video(folder / f"{name}.avi", count)
    tags = '<Metatag Name="Gender" Value="m"/>'
    if emotion is not None:
        tags += f'<Metatag Name="Emotion" Value="{emotion}"/>'
    (folder / f"{name}.xml").write_text(f"<?xml version='1.0'?><Session>{tags}</Session>")
    if view is not None:
        annotation = f'<annotation filename="{name}-oao_aucs.xml"/>' if oao else '<annotation filename="x.xml"/>'
        (folder / "session.xml").write_text(f'<session><track view="{view}">{annotation}</track></session>')
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "mmi-facial-expression-database_download_2020-01-01_12-00"


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def read(frame, at: int = 0) -> np.ndarray:
    with Image.open(frame["file"][at]) as image:
        return np.asarray(image.convert("L"), int)


def test_the_three_frames_in_the_middle(root, prepare, tmp_path: Path) -> None:
    session(root, 1, "S053-100", "1", 7)
    session(root, 2, "S054-101", "6", 8)
    frame, said = prepare(mmi, root)
    assert frame.columns.tolist() == ["path", "emotion", "source", "subject", "sequence", "frame", "view", "file"]
    assert frame.drop(columns="file").to_numpy().tolist() == [
        [f"out_images/{name}_{at:03d}.png", emotion, "MMI", name[:4], name, str(at), "0"]
        for name, emotion, first in [("S053_100", "anger", 2), ("S054_101", "surprise", 3)]
        for at in (first, first + 1, first + 2)
    ]  # n // 2 - 1, n // 2 and n // 2 + 1 of 7 and of 8
    brightness = [read(frame, at)[40, 4] for at in range(6)]
    assert brightness == pytest.approx([20 + 10 * at for at in (2, 3, 4, 3, 4, 5)], abs=4)
    assert said.endswith(
        "out.csv: 6 images, 2 sequences, 2 subjects, 2 emotions\nout.csv: warning: 2 sequences, published are 208\n"
    )
    assert names(tmp_path / "out_images") == [Path(path).name for path in frame["path"]]
    assert ADAPTERS["mmi"] is mmi


def test_every_value_has_its_emotion_and_others_are_counted(root, prepare) -> None:
    for value in range(1, 10):
        session(root, value, f"S053-{value:03d}", str(value), 3)
    session(root, 10, "S053-010", None, 3)
    frame, said = prepare(mmi, root)
    assert frame["emotion"].drop_duplicates().tolist() == (
        ["anger", "disgust", "fear", "happiness", "sadness", "surprise"]
    )
    assert "passed over 3 videos of other emotions, 1 videos without an emotion\n" in said


@pytest.mark.parametrize(
    ("name", "size", "corner"),  # where the white corner is, by column and row
    [
        ("S053-001", (WIDTH, HEIGHT), (0, 0)),  # as it is
        ("S003-001", (WIDTH // 2, HEIGHT), (0, 0)),  # left half
        ("S001-001", (WIDTH // 2, HEIGHT), None),  # right half
        ("S030-001", (HEIGHT, WIDTH), (1, 0)),  # rotated clockwise: the upper left corner is the upper right one
    ],
)
def test_the_rule_by_subject(root, prepare, name: str, size: tuple[int, int], corner: tuple[int, int] | None) -> None:
    session(root, 1, name, view=None)
    frame, _ = prepare(mmi, root)
    assert "view" not in frame
    image = read(frame)
    assert image.shape == size[::-1]
    white = {(x, y) for x in (0, 1) for y in (0, 1) if image[-4 if y else 4, -4 if x else 4] > 200}
    assert white == ({corner} if corner else set())


def test_subjects_that_are_left_out_and_views_of_the_profile(root, prepare) -> None:
    session(root, 1, "S021-001")
    session(root, 2, "S030-001", view="1")
    session(root, 3, "S030-002", view="2")
    frame, said = prepare(mmi, root)
    assert frame["sequence"].unique().tolist() == ["S030_002"]
    assert "1 videos of subjects that are left out" in said
    assert "1 videos of other views" in said


def test_the_rule_by_view(root, prepare, refusal) -> None:
    session(root, 1, "S030-001", view="0", oao=True)
    session(root, 2, "S030-002", view="0")
    session(root, 3, "S005-001", view="2")
    session(root, 4, "S005-002", view="1")
    frame, said = prepare(mmi, root, rule="view")
    assert "1 videos of other views" in said
    shapes = {name: read(frame, at).shape for at, name in enumerate(frame["sequence"])}
    assert shapes == {"S030_001": (48, 64), "S030_002": (64, 48), "S005_001": (48, 32)}
    session(root, 5, "S040-001", view="2")
    session(root, 6, "S041-001", view=None)
    (root.parent / "out.csv").unlink()
    assert refusal(mmi, root, rule="view").split("\n") == [
        f"{root.name}/Sessions/5/S040-001.avi: it is a dual view, and which half is the frontal one is not known for "
        "S040: say --upright S040=left or S040=right",
        f"{root.name}/Sessions/6/S041-001.avi: session.xml is missing: add it, or use --rule subject",
    ]


def test_the_user_has_the_last_word_on_a_subject(root, prepare) -> None:
    session(root, 1, "S021-001")
    session(root, 2, "S040-001", view="2")
    session(root, 3, "S053-001")
    upright = {"S021": "whole", "s040": "right", "S053": "drop"}
    frame, said = prepare(mmi, root, rule="view", upright=upright)
    assert {name: read(frame, at).shape for at, name in enumerate(frame["sequence"])} == {
        "S021_001": (48, 64),
        "S040_001": (48, 32),
    }
    assert "1 videos of subjects that are left out" in said


def test_what_cannot_be_meant_by_upright(root, refusal) -> None:
    session(root, 1, "S053-001")
    assert refusal(mmi, root, upright={"S01": "left", "S002": "up"}).split("\n") == [
        "--upright S01=left: expected S001=whole|left|right|rotate|drop",
        "--upright S002=up: expected S001=whole|left|right|rotate|drop",
    ]


def test_frames_that_are_there_are_not_decoded_again(root, prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2, 3):
        session(root, number, f"S053-{number:03d}")
    frame, _ = prepare(mmi, root)
    times = {file: Path(file).stat().st_mtime_ns for file in frame["file"]}
    Path(frame["file"][0]).unlink()  # S053_001 is not whole
    with Image.open(frame["file"][3]) as image:
        image.save(frame["file"][3])  # S053_002 has a frame that is not from here
    decoded: list[str] = []
    middle = MODULE._middle
    monkeypatch.setattr(MODULE, "_middle", lambda file: decoded.append(Path(file).name) or middle(file))
    again, _ = prepare(mmi, root, overwrite=True)
    assert sorted(decoded) == ["S053-001.avi", "S053-002.avi"]
    assert again.equals(frame)
    assert [Path(file).stat().st_mtime_ns == times[file] for file in frame["file"]] == [False] * 6 + [True] * 3
    decoded.clear()
    prepare(mmi, root, overwrite=True, upright={"S053": "rotate"})
    assert len(decoded) == 3


def test_a_changed_video_is_decoded_again(root, prepare) -> None:
    folder = session(root, 1, "S053-001", count=7)
    prepare(mmi, root)
    video(folder / "S053-001.avi", 11)
    frame, _ = prepare(mmi, root, overwrite=True)
    assert frame["frame"].tolist() == ["4", "5", "6"]


def test_videos_that_cannot_be_read_are_named_and_the_others_stay(root, tmp_path: Path, capsys) -> None:
    session(root, 1, "S053-001")
    (session(root, 2, "S053-002") / "S053-002.avi").write_bytes(b"RIFF of nothing" * 10)
    (session(root, 3, "S053-003") / "S053-003.avi").write_bytes(b"")
    session(root, 4, "S053-004", count=2)
    with pytest.raises(ValueError, match="decoded") as caught:
        mmi(root, tmp_path / "out.csv")
    lines = str(caught.value).replace(f"{root}/", "").split("\n")
    assert [line.partition(" (")[0] for line in lines[:2]] == [
        "Sessions/2/S053-002.avi cannot be decoded",
        "Sessions/3/S053-003.avi cannot be decoded",
    ]
    assert lines[2] == (
        "Sessions/4/S053-004.avi has 2 frames, which is too few for three: copy it anew, or remove its session"
    )
    assert not (tmp_path / "out.csv").exists()
    assert names(tmp_path / "out_images") == [f"S053_001_00{at}.png" for at in (2, 3, 4)]
    assert "the frames of the other videos stay" in capsys.readouterr().err


def test_a_header_that_counts_wrongly_is_not_believed(root, prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    file = session(root, 1, "S053-001", count=9) / "S053-001.avi"
    data = file.read_bytes()
    at = data.index(b"avih") + 8 + 16  # dwTotalFrames of the main header
    length = data.index(b"strh") + 8 + 32  # dwLength of the stream's
    assert int.from_bytes(data[at : at + 4], "little") == int.from_bytes(data[length : length + 4], "little") == 9
    for place in (at, length):
        data = data[:place] + (300).to_bytes(4, "little") + data[place + 4 :]
    file.write_bytes(data)
    assert prepare(mmi, root)[0]["frame"].tolist() == ["3", "4", "5"]


def test_annotations_that_cannot_be_used(root, refusal) -> None:
    (session(root, 1, "S053-001") / "S053-001.xml").unlink()
    (session(root, 2, "S053-002") / "S053-002.xml").write_text("<Session><Metatag")
    session(root, 3, "S053-003", "happy")
    twice = '<S><Metatag Name="Emotion" Value="1"/><Metatag Name="emotion" Value="2"/></S>'
    (session(root, 4, "S053-004") / "S053-004.xml").write_text(twice)
    bomb = '<!DOCTYPE s [<!ENTITY a "aaaa">]><s><Metatag Name="Emotion" Value="&a;"/></s>'
    (session(root, 5, "S053-005") / "S053-005.xml").write_text(bomb)
    lines = [line.removeprefix(f"{root.name}/Sessions/") for line in refusal(mmi, root).split("\n")]
    assert lines[0] == "1/S053-001.avi: its annotation S053-001.xml is missing: add it, or remove the video"
    assert lines[1].startswith("2/S053-002.xml cannot be read as XML (")
    assert lines[2:] == [
        "3/S053-003.xml: the emotion is 'happy': expected one whole number",
        "4/S053-004.xml: the emotion is '1', '2': expected one whole number",
        "5/S053-005.xml is no annotation: it is larger than 1 MB, or defines entities",
    ]


def test_sessions_of_images_and_what_systems_leave_behind(root, prepare, place) -> None:
    session(root, 1, "S053-001")
    place(
        {
            "Sessions/2/S053-002.jpg": (8, 8),
            "Sessions/2/session.xml": "<s/>",
            "Sessions/1/._S053-001.avi": "x",
            "Sessions/1/S053-001-oao_aucs.xml": '<a><ActionUnit Number="12"><Marker Frame="23"/></ActionUnit></a>',
            "__MACOSX/Sessions/1/S053-001.avi": "x",
        },
        root.name,
    )
    frame, said = prepare(mmi, root)
    assert len(frame) == 3
    assert "passed over 1 sessions without a video\n" in said


def test_without_pyav_the_extra_is_named(root, refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    session(root, 1, "S053-001")
    monkeypatch.setattr(MODULE, "find_spec", lambda name: None)
    assert refusal(mmi, root) == "videos are decoded by PyAV: pip install 'emodo[video]'"


def test_the_same_video_twice_none_at_all_and_nothing_left(root, refusal, place) -> None:
    session(root, 1, "S053-001", None)
    assert refusal(mmi, root) == f"{root.name}: no image is left; passed over 1 videos without an emotion"
    session(root, 2, "S053-001")
    assert "the same video as" in refusal(mmi, root)
    assert refusal(mmi, place({"KDEF/AF01/AF01ANS.JPG": None})).endswith("it looks like data for emodo prepare kdef")
