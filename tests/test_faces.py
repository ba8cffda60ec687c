"""`emodo faces`: generated faces put upright by their known eyes, what is written, and what is never written."""

import hashlib
import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emodo import manifest, portraits
from emodo.__main__ import main
from emodo.faces import faces
from emodo.records import InputError, Unfinished
from emodo.synthetic.drawing import EYES, render
from emodo.synthetic.faces import EMOTIONS, PEAK, SOURCES, draw_identity, draw_scene, draw_units, generate

COLUMNS = ["left_eye_x", "left_eye_y", "right_eye_x", "right_eye_y"]
FACE = 0.22  # how far in front of the head's middle the eyes are drawn, in half heads


def eyes_of(identity, scene, size):
    """Where a generated face has its eyes, as `emodo.synthetic.drawing` projects them; the image's left one first."""
    places = []
    for side in (-1, 1):
        x = side * identity.eye_distance * math.cos(scene.yaw) + FACE * math.sin(scene.yaw)
        y = EYES * math.cos(scene.pitch) + FACE * math.sin(scene.pitch)
        turned = complex(x, y) * complex(math.cos(scene.roll), math.sin(scene.roll))
        placed = (turned * scene.scale + complex(0.5 + scene.x, 0.5 + scene.y)) * size
        places += [placed.real, placed.imag]
    return places


def table(file):
    return pd.read_csv(file, dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """54 generated faces with the places of their eyes."""
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    frame = table(generate(folder, subjects=1, size=64))
    keys = [(source, emotion, at) for source in SOURCES for emotion in EMOTIONS for at in range(len(PEAK))]
    places = [eyes_of(draw_identity(0, s, 0), draw_scene(0, s, 0, e, at, 1.0), 64) for s, e, at in keys]
    frame[COLUMNS] = np.array(places).round(3)
    frame.to_csv(folder / "eyes.csv", index=False)
    return folder / "eyes.csv"


@pytest.fixture
def few(drawn, tmp_path):
    """Eight of them, copied, to be spoiled: a function of the changes that writes the manifest."""
    frame = table(drawn).iloc[::7].reset_index(drop=True)
    for path in frame["path"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((drawn.parent / path).read_bytes())

    def write(**columns):
        changed = frame.assign(**columns)
        changed.to_csv(tmp_path / "few.csv", index=False)
        return tmp_path / "few.csv"

    return write


def by_columns(source, out, **options):
    return faces(source, out, "columns", landmarks=COLUMNS, **({"size": 48, "processes": 1} | options))


def pixels(file):
    with Image.open(file) as image:
        return np.asarray(image, float)


def contents(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


# ------------------------------------------------------------------------------------------ alignment


@pytest.mark.parametrize("size", [32, 48])
def test_generated_faces_come_upright_whatever_their_tilt_place_and_size(tmp_path, size):
    """One face at several tilts, places and distances gives one image: moved by a pixel it fits worse."""
    identity, units = draw_identity(0, "gray", 3), draw_units(0, "gray", 3, "happiness", 2, (1, 1), 0.0)
    scene = replace(draw_scene(0, "gray", 3, "happiness", 0, 0.0), shading=0, grain=0)
    rows = []
    for number, (roll, x, y, scale) in enumerate(
        [(0, 0, 0, 0.4), (0.5, 0, 0, 0.4), (-0.4, 0.05, -0.05, 0.4), (0.1, -0.05, 0, 0.3), (0, 0, 0, 0.2)]
    ):
        taken = replace(scene, roll=roll, x=x, y=y, scale=scale)
        Image.fromarray(render(identity, taken, units, 512)).save(tmp_path / f"{number}.png")
        rows.append([f"{number}.png", "happiness", *eyes_of(identity, taken, 512)])
    pd.DataFrame(rows, columns=["path", "emotion", *COLUMNS]).to_csv(tmp_path / "tilted.csv", index=False)
    frame = manifest.load(by_columns(tmp_path / "tilted.csv", tmp_path / "out.csv", size=size))
    first, *others = (pixels(file) for file in frame["file"])
    face = np.s_[4 : 3 * size // 4, 4:-4]  # below is the neck, which the photographs cut
    for other in others:
        apart = {
            (down, across): abs(np.roll(other, (down, across), (0, 1)) - first)[face].mean()
            for down in (-1, 0, 1)
            for across in (-1, 0, 1)
        }
        assert min(apart, key=apart.__getitem__) == (0, 0)
        assert sorted(apart.values())[1] > 1.5 * apart[0, 0]
    assert frame["roll"].astype(float).tolist() == pytest.approx(
        [0, math.degrees(0.5), math.degrees(-0.4), math.degrees(0.1), 0], abs=0.01
    )


def test_marked_eyes_come_to_their_places(few, tmp_path):
    source = few()
    frame = table(source)
    y, x = np.mgrid[:64, :64] + 0.5
    for path, *place in frame[["path", *COLUMNS]].to_numpy():
        spots = np.zeros((64, 64, 3))
        for channel in (0, 1):
            left, top = map(float, place[2 * channel : 2 * channel + 2])
            spots[..., channel] = 255 * np.exp(-((x - left) ** 2 + (y - top) ** 2) / 8)
        Image.fromarray(spots.round().astype(np.uint8)).save(tmp_path / path)
    for eyes in ([0.35, 0.35], [0.3, 0.4]):
        out = manifest.load(by_columns(source, tmp_path / f"{eyes[0]}.csv", size=224, eyes=eyes))
        y2, x2 = np.mgrid[:224, :224] + 0.5
        for image in map(pixels, out["file"]):
            for channel, goal in ((0, eyes[0]), (1, 1 - eyes[0])):
                weight = image[..., channel]
                middle = (weight * x2).sum() / weight.sum(), (weight * y2).sum() / weight.sum()
                assert middle == pytest.approx((goal * 224, eyes[1] * 224), abs=0.5)


def test_boxes_are_cropped_without_turning_or_stretching(few, tmp_path, capsys):
    out = faces(few(x1=8, y1=4, x2=40, y2=52), tmp_path / "out.csv", "columns", size=48, processes=1)
    assert "boxes only: faces are cropped, and not turned" in capsys.readouterr().err
    frame = table(out)
    assert "roll" not in frame
    assert "x1" not in frame
    boxes = frame[["original_x1", "original_y1", "original_x2", "original_y2"]].astype(float)
    assert (boxes == [8, 4, 40, 52]).all(axis=None)
    for old, new in zip(frame["original_path"], frame["path"], strict=True):
        box = pixels(tmp_path / old)[4:52, :48]  # 48 high, and as wide around the middle
        assert (pixels(tmp_path / new) == box).all()


# ------------------------------------------------------------------------------------ what is written


def test_every_column_stays_and_the_new_ones_say_what_was_found(drawn, tmp_path):
    out = by_columns(drawn, tmp_path / "a" / "aligned.csv")
    old, new = table(drawn), table(out)
    kept = [column for column in old if column not in ("path", *COLUMNS)]
    pd.testing.assert_frame_equal(new[kept], old[kept])
    assert (new["original_path"] == old["path"]).all()
    assert (new["face"] == "found").all()
    assert [column for column in new if column not in old] == ["original_path", "face", "roll"]
    assert (new[COLUMNS].astype(float) == [16.8, 16.8, 31.2, 16.8]).all(axis=None)  # in the new pixels
    places = old[COLUMNS].astype(float).to_numpy()
    rolls = np.degrees(np.arctan2(places[:, 3] - places[:, 1], places[:, 2] - places[:, 0]))
    np.testing.assert_allclose(new["roll"].astype(float), rolls, atol=0.006)
    loaded = manifest.load(out)  # a manifest like any other
    assert {pixels(file).shape for file in loaded["file"]} == {(48, 48, 3)}


def test_the_images_keep_their_folders_and_names(drawn, tmp_path):
    frame = table(by_columns(drawn, tmp_path / "aligned.csv"))
    # images/gray/gray-001-anger_1.png: what all of them share, images/, is left out
    assert frame["path"].tolist() == [p.replace("images/", "aligned/") for p in frame["original_path"]]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["aligned", "aligned.csv", "aligned.json"]


def test_no_two_rows_write_one_image(few, tmp_path):
    source = few(x1=0, y1=0, x2=32, y2=64)
    frame = table(source).iloc[[0, 0, 1, 2, 3]].assign(sequence=["", "", "s", "", ""])
    frame.loc[:, "x1"] = ["0", "10", "0", "0", "0"]
    first, folder = frame["path"].iloc[0], tmp_path / "images" / "gray"
    for row, name in ((3, "A.JPG"), (4, "a-4.bmp")):  # as a.png and a-4.png would be called
        Image.fromarray(pixels(tmp_path / first).astype(np.uint8)).save(folder / name)
        frame.iloc[row, frame.columns.get_loc("path")] = f"images/gray/{name}"
    (tmp_path / first).rename(folder / "a.png")
    frame["path"] = frame["path"].replace(first, "images/gray/a.png")
    frame.to_csv(source, index=False)
    out = table(faces(source, tmp_path / "out.csv", "columns", size=32, processes=1))
    names = [Path(path).name for path in out["path"]]
    assert names[:2] == ["a-1.png", "a-2.png"]
    assert names[3:] == ["A-4-4.png", "a-4.png"]
    assert len(set(out["path"])) == 5
    # People of one photograph stay together in any split; other rows are as they were.
    assert out["sequence"].tolist() == ["images/gray/a.png", "images/gray/a.png", "s", "", ""]


def test_the_companion_says_what_made_the_images(few, tmp_path):
    by_columns(few(), tmp_path / "out.csv")
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["settings"] == {"detector": "columns", "size": 48, "eyes": [0.35, 0.35], "landmarks": COLUMNS}
    assert (told["manifest"], told["missing"], told["rows"], told["found"]) == ("few.csv", "fail", 8, 8)


def test_processes_change_no_byte(drawn, tmp_path):
    for name, processes in (("one", 1), ("two", 2)):
        by_columns(drawn, tmp_path / name / "out.csv", processes=processes)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "one")) == 56


# -------------------------------------------------------------------------------- interrupted, changed


def test_what_is_made_is_not_made_again_and_what_has_changed_is(few, tmp_path):
    source, out = few(), tmp_path / "out.csv"
    by_columns(source, out)
    whole = contents(tmp_path / "out")
    made = {file: file.stat().st_ino for file in (tmp_path / "out").rglob("*.png")}
    out.unlink()
    frame = table(source)
    changed, moved = frame["path"].iloc[2], frame["path"].iloc[5]
    Image.fromarray(255 - pixels(tmp_path / changed).astype(np.uint8)).save(tmp_path / changed)
    frame.loc[5, "left_eye_x"] = str(float(frame.loc[5, "left_eye_x"]) + 3)
    frame.to_csv(source, index=False)
    by_columns(source, out)
    again = {file for file, number in made.items() if file.stat().st_ino != number}
    assert again == {tmp_path / path.replace("images/", "out/") for path in (changed, moved)}
    now = contents(tmp_path / "out")
    assert {name for name in now if now[name] != whole[name]} == {str(f.relative_to(tmp_path / "out")) for f in again}


def test_an_interrupt_keeps_what_is_made_and_the_same_command_continues(few, tmp_path, monkeypatch, capsys):
    source, out = few(), tmp_path / "out.csv"
    see = portraits.see

    def interrupted(row, *rest):
        if row.number == 5:
            raise KeyboardInterrupt
        return see(row, *rest)

    command = ["faces", str(source), str(out), "--detector", "columns", "--landmarks", *COLUMNS, "--size", "48"]
    with monkeypatch.context() as patch:
        patch.setattr(portraits, "see", interrupted)
        assert main([*command, "--processes", "1"]) == 130
    assert "interrupted: the same command continues" in capsys.readouterr().err
    assert not out.exists()
    assert len(list((tmp_path / "out").rglob("*.png"))) == 5
    assert main([*command, "--processes", "1"]) == 0
    by_columns(source, tmp_path / "whole" / "out.csv")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole" / "out")


KILLED = """
import os, signal, sys
from PIL import Image
from emodo.__main__ import main

save, saved = Image.Image.save, []

def half(image, file, *rest, **options):
    save(image, file, *rest, **options)
    saved.append(file)
    if len(saved) == 5:
        os.truncate(file, 100)
        os.kill(os.getpid(), signal.SIGKILL)

Image.Image.save = half
main(sys.argv[1:])
"""


def test_killed_it_leaves_no_half_file_and_ends_the_same(few, tmp_path):
    source = few()
    words = ["faces", source, tmp_path / "killed" / "out.csv", "--detector", "columns", "--landmarks", *COLUMNS]
    words += ["--size", "48", "--processes", "1"]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = contents(tmp_path / "killed" / "out")
    assert sorted(Path(name).suffix for name in left) == [".png"] * 4 + [".tmp"]
    assert not (tmp_path / "killed" / "out.csv").exists()
    for name in ("killed", "whole"):
        by_columns(source, tmp_path / name / "out.csv")
    whole = contents(tmp_path / "whole")
    assert contents(tmp_path / "killed") == whole
    assert all(whole[f"out/{name}"] == content for name, content in left.items() if name.endswith(".png"))


def test_other_settings_are_refused_or_replace_everything(few, tmp_path):
    source, out = few(), tmp_path / "out.csv"
    by_columns(source, out)
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match="exists already"):
        by_columns(source, out, size=32)
    out.unlink()
    with pytest.raises(InputError, match=r"holds faces of other settings \(size 48 -> 32\)"):
        by_columns(source, out, size=32)
    assert contents(tmp_path / "out") == before
    table(source).iloc[:3].to_csv(source, index=False)
    (tmp_path / "out" / ".left.png.tmp").write_bytes(b"half")  # as a killed run leaves it
    Image.new("RGB", (8, 8)).save(tmp_path / "out" / "own.png")  # not made by emodo faces
    by_columns(source, out, size=32, overwrite=True)
    pictures = sorted((tmp_path / "out").rglob("*.png"))
    assert len(pictures) == 4
    assert {pixels(file).shape[0] for file in pictures} == {8, 32}
    assert not (tmp_path / "out" / ".left.png.tmp").exists()


# ----------------------------------------------------------------------------- no face, and several


class Spots:
    """Stands in for YuNet: a white square is a face, its eyes at a quarter and three quarters of its width."""

    @classmethod
    def create(cls, model, config, size, score, nms=0.3):
        if not Path(model).read_bytes().startswith(b"yunet"):
            raise cv2.error("OpenCV(5) file.cpp:1: error: (-2) no network\n")
        return cls()

    def setInputSize(self, size):
        pass

    def detect(self, image):
        count, _, boxes, _ = cv2.connectedComponentsWithStats((image.min(axis=2) > 160).astype(np.uint8))
        rows = [
            [x, y, w, h, x + w / 4, y + h / 3, x + 3 * w / 4, y + h / 3, *[0] * 6, 0.99]
            for x, y, w, h, _ in boxes[1:count]
        ]
        return 1, np.array(rows, np.float32) if rows else None


@pytest.fixture
def squares(tmp_path, monkeypatch):
    """Four photographs with one, two and no faces (rows 3 and 4), and a model."""
    monkeypatch.setattr(cv2, "FaceDetectorYN", Spots)
    (tmp_path / "yunet.onnx").write_bytes(b"yunet")
    rows = []
    for number, boxes in enumerate([[(30, 40, 20)], [(10, 10, 10), (40, 50, 30)], [], []], 1):
        image = Image.new("RGB", (100, 100), (20, 30, 40))
        for x, y, side in boxes:
            image.paste((255, 255, 255), (x, y, x + side, y + side))
        image.save(tmp_path / f"{number}.png")
        rows.append([f"{number}.png", "fear" if number == 3 else "anger", "lab" if number < 4 else "field"])
    pd.DataFrame(rows, columns=["path", "emotion", "source"]).to_csv(tmp_path / "all.csv", index=False)
    return tmp_path / "all.csv", tmp_path / "yunet.onnx"


def with_yunet(squares, out, **options):
    return faces(squares[0], out, model=squares[1], **({"size": 40, "processes": 1} | options))


def test_rows_without_a_face_wait_for_a_decision(squares, tmp_path, capsys):
    out = tmp_path / "out.csv"
    with pytest.raises(Unfinished) as waits:
        with_yunet(squares, out)
    assert str(waits.value) == (
        f"{squares[0]}: no face in 2 of 4 rows (row 3: 3.png, row 4: 4.png), and {out} is not written: leave such "
        "rows out with --missing drop, or keep their whole image with --missing keep; the other images stay and are "
        "not made again"
    )
    told = capsys.readouterr().err
    assert "4 rows: 1 faces found, 1 several (the largest is taken), 2 not found\n" in told
    assert "not found by emotion: anger 1 of 3, fear 1 of 1\n" in told
    assert "not found by source: field 1 of 1, lab 1 of 3\n" in told
    assert not out.exists()
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["1.png", "2.png"]


def test_dropped_rows_are_left_out_and_the_others_say_what_was_found(squares, tmp_path):
    frame = table(with_yunet(squares, tmp_path / "out.csv", missing="drop"))
    assert frame["original_path"].tolist() == ["1.png", "2.png"]
    assert frame[["face", "faces", "face_score", "roll"]].to_numpy().tolist() == [
        ["found", "1", "0.99", "0.0"],
        ["several", "2", "0.99", "0.0"],
    ]
    for path, width in zip(frame["path"], (20, 30), strict=True):  # the larger of two
        white = pixels(tmp_path / path)[..., 0] > 137  # halfway
        assert white[14, 12:28].all()  # between the eyes
        side = width * 0.3 * 40 / (width / 2)  # eyes half a face apart come 0.3 of 40 pixels apart
        assert white.sum() == pytest.approx(side**2, rel=0.1)


def test_kept_rows_have_their_whole_image_and_say_so(squares, tmp_path):
    frame = table(with_yunet(squares, tmp_path / "out.csv", missing="keep"))
    assert frame["face"].tolist() == ["found", "several", "not found", "not found"]
    assert frame.loc[2:, ["faces", "face_score", "roll"]].to_numpy().tolist() == [["0", "", ""]] * 2
    kept = pixels(tmp_path / frame["path"][3])
    assert kept.shape == (40, 40, 3)
    assert (kept == (20, 30, 40)).all()
    with_yunet(squares, tmp_path / "out.csv", missing="drop", overwrite=True)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["1.png", "2.png"]  # nothing unlisted stays


def test_no_face_at_all_is_no_result(squares, tmp_path, capsys):
    frame = table(squares[0])
    frame.iloc[2:].to_csv(squares[0], index=False)
    for missing in ("fail", "drop", "keep"):
        command = ["faces", str(squares[0]), str(tmp_path / "out.csv"), "--model", str(squares[1])]
        assert main([*command, "--missing", missing, "--processes", "1"]) == 1
        assert "no face in any of 2 rows" in capsys.readouterr().err
        assert not (tmp_path / "out.csv").exists()


def test_the_model_is_shown_and_recorded_by_its_digest(squares, tmp_path, capsys):
    with_yunet(squares, tmp_path / "out.csv", missing="drop")
    digest = hashlib.sha256(b"yunet").hexdigest()
    assert f"sha256 {digest}" in capsys.readouterr().err
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["model"] == "yunet.onnx"
    assert told["settings"] == {"detector": "yunet", "sha256": digest, "score": 0.9, "size": 40, "eyes": [0.35, 0.35]}
    assert (told["found"], told["several"], told["not found"]) == (1, 1, 2)
    squares[1].write_bytes(b"yunet 2")
    (tmp_path / "out.csv").unlink()
    with pytest.raises(InputError, match=r"holds faces of other settings \(sha256"):
        with_yunet(squares, tmp_path / "out.csv", missing="drop")


def test_rows_with_boxes_are_searched_in_their_boxes(squares, tmp_path):
    frame = table(squares[0]).iloc[[1, 1]].assign(x1=[5, 35], y1=[5, 45], x2=[25, 75], y2=[25, 85])
    frame.to_csv(squares[0], index=False)
    out = table(with_yunet(squares, tmp_path / "out.csv"))
    assert out["faces"].tolist() == ["1", "1"]
    assert [Path(path).name for path in out["path"]] == ["2-1.png", "2-2.png"]


def test_landmarks_that_are_missing_are_known_before_anything_is_made(few, tmp_path):
    frame = table(few())
    source = few(**{column: frame[column].where(frame.index != 4, "") for column in COLUMNS})
    with pytest.raises(InputError, match=r"no landmarks in 1 of 8 rows \(row 5: images/.*--missing drop"):
        by_columns(source, tmp_path / "out.csv")
    assert not (tmp_path / "out.json").exists()
    frame = table(by_columns(source, tmp_path / "out.csv", missing="keep"))
    assert frame["face"].tolist() == ["found"] * 4 + ["not found"] + ["found"] * 3
    assert frame.loc[4, [*COLUMNS, "roll"]].tolist() == [""] * 5
    assert len(table(by_columns(source, tmp_path / "other.csv", missing="drop"))) == 7


# ------------------------------------------------------------------------------------------ bad input


def spoiled(few, column, value):
    values = table(few())[column]
    values[3] = value
    return few(**{column: values})


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("left_eye_x", "", "row 4: a landmark is missing or is not a number (left_eye_x nan, left_eye_y"),
        ("left_eye_x", "wide", "row 4: a landmark is missing or is not a number (left_eye_x wide"),
        ("right_eye_y", "inf", "row 4: a landmark is missing or is not a number"),
        ("right_eye_x", "64.5", "row 4: an eye lies outside the image"),
        ("left_eye_y", "-1", "row 4: an eye lies outside the image"),
        ("path", "images/none.png", "row 4: no image 'images/none.png'"),
    ],
)
def test_a_row_that_is_wrong_is_named_and_nothing_is_written(few, tmp_path, column, value, message):
    source = spoiled(few, column, value)
    before = contents(tmp_path)
    with pytest.raises(InputError) as refused:
        by_columns(source, tmp_path / "out.csv")
    assert message in str(refused.value)
    assert contents(tmp_path) == before


def test_eyes_in_one_place_and_eyes_the_wrong_way_round_are_refused(few, tmp_path):
    frame = table(few())
    same = few(right_eye_x=frame["left_eye_x"], right_eye_y=frame["left_eye_y"])
    with pytest.raises(InputError, match="row 1: the eyes are less than two pixels apart"):
        by_columns(same, tmp_path / "out.csv")
    few()
    swapped = [*COLUMNS[2:], *COLUMNS[:2]]
    with pytest.raises(InputError, match="in 8 of 8 rows the first eye of --landmarks is right of the second"):
        faces(same, tmp_path / "out.csv", "columns", landmarks=swapped)


def test_a_box_outside_its_image_is_refused(few, tmp_path):
    with pytest.raises(InputError, match=r"row 1: the box \(x2 70, y2 52\) reaches outside the image"):
        faces(few(x1=8, y1=4, x2=70, y2=52), tmp_path / "out.csv", "columns")


def test_a_broken_image_is_named_before_anything_is_written(few, tmp_path):
    source = few()
    broken = tmp_path / table(source)["path"].iloc[6]
    broken.write_bytes(broken.read_bytes()[:-100])
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"row 7: the image .* is truncated"):
        by_columns(source, tmp_path / "out.csv")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("processes", [1, 2])
def test_an_image_that_breaks_while_it_is_decoded_is_named_and_out_is_not_written(drawn, few, tmp_path, processes):
    frame = table(drawn).assign(path=[str(drawn.parent / path) for path in table(drawn)["path"]])
    good = Path(frame["path"].iloc[40]).read_bytes()
    broken = tmp_path / "broken.png"
    broken.write_bytes(good[: len(good) // 2] + bytes(60) + good[len(good) // 2 + 60 :])  # its ending is there
    frame.loc[40, "path"] = str(broken)
    frame.to_csv(tmp_path / "all.csv", index=False)
    with pytest.raises(InputError, match=r"all.csv, row 41: .*broken.png "):
        by_columns(tmp_path / "all.csv", tmp_path / "out.csv", processes=processes)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [],
            "--detector yunet needs its model, which is not part of emodo: download face_detection_yunet_2023mar.onnx",
        ),
        (["--model", "{none}"], "--model {none} is missing: no such file: take face_detection_yunet_2023mar.onnx"),
        (["--model", "{manifest}"], "--model {manifest} cannot be used as YuNet"),
        (["--detector", "lbp", "--model", "{manifest}"], "--model is for --detector yunet, not for lbp"),
        (["--detector", "lbp", "--landmarks", "a", "b", "c", "d"], "--landmarks is for --detector columns"),
        (["--detector", "lbp", "--eyes", "0.3", "0.3"], "--eyes is where eyes come to lie"),
        (["--detector", "columns"], "{manifest} has no boxes (x1, y1, x2, y2): name the columns of the eyes"),
        (["--detector", "columns", "--landmarks", "a", "b", "c"], "--landmarks names four columns"),
        (
            ["--detector", "columns", "--landmarks", "a", "b", "c", "d"],
            "{manifest} has no column a, as --landmarks says",
        ),
        (
            ["--detector", "columns", "--landmarks", "x1", "y1", "x2", "y2"],
            "--landmarks names x1, which is no landmark",
        ),
        (["--detector", "lbp", "--size", "8"], "--size is 8: it is 16 to 4096 pixels"),
        (["--detector", "lbp", "--processes", "0"], "--processes is 0: it must be 1 or more"),
        (["--model", "{manifest}", "--score", "1"], "--score is 1: it lies between 0 and 1"),
        (["--model", "{manifest}", "--eyes", "0.35"], "--eyes is 0.35: give two shares"),
        (["--model", "{manifest}", "--eyes", "0.5", "0.3"], "--eyes is 0.5 0.3: give two shares"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_message(few, tmp_path, capsys, words, message):
    places = {"manifest": few(), "none": tmp_path / "none.onnx"}
    before = contents(tmp_path)
    command = ["faces", str(places["manifest"]), str(tmp_path / "out.csv")]
    assert main(command + [word.format(**places) for word in words]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("emodo faces: " + message.format(**places))
    assert err.count("\n") == 1
    assert contents(tmp_path) == before


def test_what_emodo_faces_has_not_made_is_never_written_over(few, tmp_path):
    source = few()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "holiday.png").write_bytes(b"mine")
    (tmp_path / "noted.json").write_text('{"mine": 1}')
    before = contents(tmp_path)
    for out, message in (
        ("own.csv", "own exists, and emodo faces has not made it"),
        ("noted.csv", "noted.json exists, and emodo faces has not made it"),
        ("images.csv", "images is where the faces would go, and where given files are"),
        ("few.csv", "few.csv cannot take the place of the manifest that it is made from"),
    ):
        with pytest.raises(InputError, match=message):
            by_columns(source, tmp_path / out, overwrite=True)
    assert contents(tmp_path) == before


def test_a_column_that_would_be_written_over_is_named(few, tmp_path):
    with pytest.raises(InputError, match="has a column roll, which emodo faces writes: rename it"):
        by_columns(few(roll=3), tmp_path / "out.csv")
