"""The generated scenes: P(emotion | scene) as stated, same seed same pixels, no cause in another's place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emodo.leakage import leaks
from emodo.manifest import load
from emodo.records import InputError
from emodo.splits import check
from emodo.synthetic import scenes
from emodo.synthetic.drawing import draw_person
from emodo.synthetic.scenes import CUES, EMOTIONS, FACES, GOOD, SCENES, Look, assign, draw, generate, odds

SMALL = {"images": 120, "size": 64}
TWO = EMOTIONS["valence"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emodo.files.os.fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("made") / "scenes", **SMALL)


def test_the_manifest_has_its_parts_and_columns(made: Path) -> None:
    frame = load(made)
    first = ["path", "emotion", "subject", "x1", "y1", "x2", "y2", "split", "scene", "setting", "expression", "cue"]
    assert list(frame.columns) == [*first, "file"]
    assert frame["split"].value_counts().to_dict() == {"train": 72, "test": 36, "validation": 12}
    assert set(frame["scene"]) == set(SCENES)
    assert (frame.groupby("scene")["setting"].nunique() == 1).all()
    assert frame.groupby("setting")["scene"].nunique().to_dict() == {"indoor": 6, "outdoor": 6}
    for file in frame["file"]:
        with Image.open(file) as image:
            assert (image.size, image.mode) == ((64, 64), "RGB")


def test_no_split_leaks(made: Path) -> None:
    frame = load(made)
    check(frame.loc[frame["subject"].notna()], subjects=True)
    assert [len(leak.rows) for leak in leaks(frame, made)] == [0, 0, 0]


def test_a_person_has_a_box_a_subject_and_an_expression_of_the_emotion(made: Path) -> None:
    frame = load(made)
    person = frame["x1"].notna()
    assert 0 < (~person).sum() < 30
    for column in ("subject", "expression"):
        assert (frame[column].notna() == person).all()
    assert frame.loc[~person, "cue"].notna().all()
    assert frame.loc[person, "cue"].isna().any()
    for row in frame.itertuples():
        assert pd.isna(row.expression) or row.expression in FACES[str(row.emotion)]
        assert pd.isna(row.cue) or row.cue in CUES[row.emotion in GOOD]
    shown = frame.loc[person].groupby("emotion")["expression"].agg(set)
    assert shown["negative"] > {"anger", "fear"}


def test_the_odds_are_those_of_the_docstring() -> None:
    for emotions in EMOTIONS.values():
        count = len(emotions)
        for strength in (0.0, 0.9, 1.0):
            table = odds(emotions, strength)
            assert table.shape == (12, count)
            for scene in range(12):
                for emotion in range(count):
                    goes = (scene // 2) % count == emotion
                    assert table[scene, emotion] == pytest.approx(strength * goes + (1 - strength) / count)
            np.testing.assert_allclose(table.sum(axis=0), 12 / count)
    two = pd.DataFrame(odds(TWO, 0.9), list(SCENES), list(TWO))
    assert two.loc["beach", "positive"] == pytest.approx(0.95)
    assert two.loc["hospital_room", "positive"] == pytest.approx(0.05)
    reversed_ = odds(TWO, 0.9, shift=1)
    np.testing.assert_allclose(reversed_, two.to_numpy()[:, ::-1])
    basic = odds(EMOTIONS["basic"], 0.6), odds(EMOTIONS["basic"], 0.6, shift=1)
    assert (basic[0].argmax(axis=1) == np.repeat(range(6), 2)).all()
    assert (basic[1].argmax(axis=1) == np.repeat([1, 2, 3, 4, 5, 0], 2)).all()


@pytest.mark.parametrize("emotions", EMOTIONS)
@pytest.mark.parametrize("strength", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("count", [240, 247, 1440])
def test_the_emotions_of_a_part_are_the_odds_to_less_than_one_picture(
    emotions: str, strength: float, count: int
) -> None:
    table = odds(EMOTIONS[emotions], strength)
    given = assign(table, count, 3, "train")
    scene = np.arange(count) % 12
    for place in range(12):
        found = np.bincount(given[scene == place], minlength=table.shape[1])
        assert (np.abs(found - table[place] * found.sum()) < 1).all()


def test_in_which_pictures_an_emotion_stands_is_drawn() -> None:
    first = assign(odds(TWO, 0.0), 1200, 0, "test")
    assert (assign(odds(TWO, 0.0), 1200, 0, "test") == first).all()
    assert (assign(odds(TWO, 0.0), 1200, 1, "test") != first).mean() > 0.3
    people = first.reshape(100, 12).mean(axis=1)
    assert 0.1 < people.std() < 0.2  # as of 12 coins; all scenes of a person alike would give 0.5


@pytest.mark.parametrize("emotions", EMOTIONS)
@pytest.mark.parametrize("test", ["independent", "reversed", "same"])
def test_the_manifest_keeps_the_odds(emotions: str, test: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = draw(0, "train", 0, "positive", Look(size=64))
    monkeypatch.setattr(scenes, "draw", lambda *_: picture)  # the manifest alone is looked at
    options = {"images": 600, "size": 64, "emotions": emotions, "test": test, "strength": 0.8, "validation": 0.0}
    frame = load(generate(tmp_path / "scenes", **options))  # type: ignore[arg-type]
    labels = EMOTIONS[emotions]
    tables = {"independent": (0.0, 0), "reversed": (0.8, 1), "same": (0.8, 0)}
    for part, (strength, shift) in {"train": (0.8, 0), "test": tables[test]}.items():
        rows = frame.loc[frame["split"] == part]
        found = pd.crosstab(rows["scene"], rows["emotion"]).reindex(SCENES, columns=list(labels))
        expected = odds(labels, strength, shift) * len(rows) / 12
        assert (np.abs(found.to_numpy() - expected) < 1).all()


def test_same_seed_same_bytes_and_the_test_leaves_training_alone(made: Path, tmp_path: Path) -> None:
    here = contents(made.parent)
    assert contents(generate(tmp_path / "again", **SMALL).parent) == here
    turned = contents(generate(tmp_path / "reversed", test="reversed", **SMALL).parent)
    images = {name for name in here if name.endswith(".png")}
    assert {name for name in images if turned[name] != here[name]} <= {n for n in images if "/test/" in n}
    assert any(turned[name] != here[name] for name in images)
    other = contents(generate(tmp_path / "other", seed=1, **SMALL).parent)
    assert not any(other[name] == here[name] for name in images)


def test_the_emotion_changes_face_and_cue_and_nothing_else() -> None:
    """Without noise on the face, two negative expressions and a positive one differ inside the box only."""
    look = Look(size=64, people=1.0, cue=0.0)
    for row in range(12):
        good, bad = (draw(0, "test", row, emotion, look) for emotion in TWO)
        differs = (good.pixels != bad.pixels).any(axis=2)
        assert good.box is not None
        assert bad.box is not None
        assert good.box[0] == pytest.approx(bad.box[0], abs=2)
        left, top, right, bottom = good.box
        inside = np.zeros_like(differs)
        inside[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2] = True
        assert not differs[~inside].any()
        assert 0.002 < differs.mean() < 0.3
    empty = Look(size=64, people=0.0)
    assert {draw(0, "test", row, "positive", empty).cue for row in range(20)} == set(CUES[True])
    assert {draw(0, "test", row, "negative", empty).cue for row in range(20)} == set(CUES[False])


def test_the_box_holds_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Look(size=96, people=1.0, cue=0.0)
    with_person = [draw(2, "train", row, "positive", look) for row in range(24)]
    monkeypatch.setattr(scenes, "draw_person", lambda *_: (0.0, 0.0, 9.0, 9.0))
    for row, picture in enumerate(with_person):
        place = draw(2, "train", row, "positive", look)
        changed = np.abs(picture.pixels.astype(int) - place.pixels.astype(int)).max(axis=2) > 40
        assert picture.box is not None
        left, top, right, bottom = picture.box
        assert changed[top:bottom, left:right].mean() > 0.3
        outside = changed.copy()
        outside[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2] = False
        assert not outside.any()
        assert bottom == 96
        assert 0.45 < (right - left) / 96 < 0.75
    assert draw_person is not scenes.draw_person


@pytest.mark.parametrize("scene", range(12))
def test_scenes_vary_and_differ(scene: int) -> None:
    look = Look(size=64, people=0.0)

    def shown(row: int) -> np.ndarray:
        pixels = draw(5, "train", row, "positive", look).pixels
        return np.asarray(Image.fromarray(pixels).resize((8, 8), Image.Resampling.BOX), float)

    own = [shown(12 * person + scene) for person in range(6)]
    spread = np.mean([np.abs(own[i] - own[j]).mean() for i in range(6) for j in range(i)])
    assert spread > 8
    means = [np.mean([shown(12 * person + other) for person in range(6)], axis=0) for other in range(12)]
    nearest = min(np.abs(means[scene] - mean).mean() for other, mean in enumerate(means) if other != scene)
    assert nearest > 8


@pytest.mark.parametrize("name", [name for kinds in CUES.values() for name in kinds])
def test_every_cue_is_visible_in_every_scene(name: str) -> None:
    """A cue changes a part of the picture, whatever it is drawn on."""
    from emodo.synthetic.pen import Pen

    cue = next(kinds[name] for kinds in CUES.values() if name in kinds)
    for scene in SCENES:
        canvas = Image.new("RGB", (192, 192))
        SCENES[scene](Pen(canvas), np.random.default_rng(0))
        before = np.asarray(canvas, int)
        cue(Pen(canvas), np.random.default_rng(1), 0.2, 0.3)
        changed = (np.abs(np.asarray(canvas, int) - before) > 30).any(axis=2)
        assert 0.005 < changed.mean() < 0.15, scene
        rows, columns = np.nonzero(changed)
        assert columns.max() < 0.42 * 192
        assert rows.max() < 0.6 * 192


@pytest.mark.parametrize("size", [64, 224])
def test_a_picture_looks_the_same_at_every_size(size: int) -> None:
    for row in range(0, 12, 3):
        pair = [draw(0, "train", row, "negative", Look(size=each)).pixels for each in (128, size)]
        small = [np.asarray(Image.fromarray(p).resize((32, 32), Image.Resampling.BOX), float) for p in pair]
        assert np.abs(small[0] - small[1]).mean() < 5


def test_people_and_cues_come_as_often_as_asked() -> None:
    look = Look(size=64, people=0.75, cue=0.4)
    drawn = [draw(0, "train", row, "negative", look) for row in range(300)]
    person = np.array([picture.box is not None for picture in drawn])
    cue = np.array([picture.cue is not None for picture in drawn])
    assert person.mean() == pytest.approx(0.75, abs=0.08)
    assert cue[person].mean() == pytest.approx(0.4, abs=0.1)
    assert cue[~person].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 30, "validation": 0.0}, "30 images leave 9 for test"),
        ({"images": 120, "validation": 0.05}, "leave 6 for validation"),
        ({"images": -5}, "-5 images leave"),
        ({"size": 63}, "size is 63"),
        ({"size": 1025}, "size is 1025"),
        ({"seed": -1}, "seed is -1"),
        ({"strength": 1.1}, "strength is 1.1"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"people": -0.1}, "people is -0.1"),
        ({"cue": 2.0}, "cue is 2"),
        ({"intensity": (0.9, 0.2)}, "intensity is"),
        ({"noise": 3.0}, "noise is 3"),
        ({"tested": 0.0}, "tested is 0"),
        ({"tested": 0.7, "validation": 0.3}, "tested is 0.7 and validation 0.3"),
        ({"tested": float("nan")}, "tested is nan"),
    ],
)
def test_options_out_of_range(options: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        generate(tmp_path / "scenes", **options)
    assert list(tmp_path.iterdir()) == []


def test_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = 0

    def fail_at_the_tenth(*arguments: object) -> scenes.Picture:
        nonlocal drawn
        drawn += 1
        if drawn == 10:
            raise KeyboardInterrupt
        return draw(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scenes, "draw", fail_at_the_tenth)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "scenes", **SMALL)
    assert drawn == 10
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not an empty folder"):
        generate(tmp_path, **SMALL)
    assert contents(tmp_path) == {"notes.txt": b"mine"}
