"""The generated faces: same causes same pixels, every cause visible, no cause in another's place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emodo.manifest import load
from emodo.records import InputError
from emodo.synthetic import faces
from emodo.synthetic.drawing import ACTION_UNITS, render
from emodo.synthetic.faces import (
    EMOTIONS,
    PROTOTYPES,
    SOURCES,
    draw_identity,
    draw_scene,
    draw_units,
    generate,
)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def face(source: str, subject: int, emotion: str, style: float, size: int = 48) -> np.ndarray:
    units = draw_units(0, source, subject, emotion, 2, (0.6, 1.0), 0.12)
    scene = draw_scene(0, source, subject, emotion, 2, style)
    return render(draw_identity(0, source, subject), scene, units, size)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("made") / "faces", subjects=2, size=32)


def test_manifest_has_every_subject_emotion_and_frame_once(made: Path) -> None:
    frame = load(made, emotions=EMOTIONS)
    columns = ["path", "emotion", "source", "subject", "sequence", "frame", "glasses", "skin", "file"]
    assert sorted(frame.columns) == sorted(columns)
    assert len(frame) == 3 * 2 * 6 * 3
    assert (frame.groupby(["source", "subject", "emotion", "frame"]).size() == 1).all()
    assert (frame.groupby("sequence")["frame"].nunique() == 3).all()
    assert (frame.groupby("sequence")[["emotion", "subject"]].nunique() == 1).all(axis=None)
    assert (frame.groupby("subject")[["source", "glasses", "skin"]].nunique() == 1).all(axis=None)
    assert set(frame["skin"]) <= {"light", "medium", "dark"}
    assert set(frame["glasses"]) <= {"yes", "no"}
    row = frame.iloc[0]
    assert row["path"] == f"images/{row['source']}/{row['sequence']}_{row['frame']}.png"
    with Image.open(row["file"]) as image:
        assert image.size == (32, 32)
        assert image.mode == "RGB"


def test_same_seed_same_bytes_and_a_larger_set_holds_the_smaller(made: Path, tmp_path: Path) -> None:
    larger = contents(generate(tmp_path / "larger", subjects=3, size=32).parent)
    smaller = {name: data for name, data in contents(made.parent).items() if name.endswith(".png")}
    assert len(smaller) == 108
    assert all(larger[name] == data for name, data in smaller.items())
    again = contents(generate(tmp_path / "again", subjects=2, size=32).parent)
    assert again == contents(made.parent)
    other = contents(generate(tmp_path / "other", subjects=2, size=32, seed=1).parent)
    assert not any(other[name] == data for name, data in smaller.items())


@pytest.mark.parametrize("unit", ACTION_UNITS)
@pytest.mark.parametrize("size", [48, 224])
def test_every_action_unit_is_visible(unit: int, size: int) -> None:
    identity, scene = draw_identity(5, "blue", 0), draw_scene(5, "blue", 0, "fear", 0, style=0.0)
    rest = render(identity, scene, {}, size).astype(int)
    moved = render(identity, scene, {unit: 1.0}, size).astype(int)
    changed = (np.abs(moved - rest) > 15).any(axis=2).mean()
    assert 0.002 < changed < 0.2


def test_prototypes_differ_and_are_drawn() -> None:
    assert {unit for units in PROTOTYPES.values() for unit in units} == set(ACTION_UNITS)
    assert len(set(PROTOTYPES.values())) == len(EMOTIONS) == 6


def test_units_follow_the_prototype_and_grow_towards_the_peak() -> None:
    for emotion, active in PROTOTYPES.items():
        frames = [draw_units(0, "dim", 4, emotion, frame, (0.5, 0.8), 0.0) for frame in range(3)]
        assert {unit for unit, strength in frames[0].items() if strength > 0} == set(active)
        assert frames[0][active[0]] < frames[1][active[0]] < frames[2][active[0]] <= 0.8
        assert frames[2][active[0]] >= 0.5


def test_noise_moves_every_unit_within_bounds() -> None:
    drawn = pd.DataFrame(draw_units(0, "gray", s, "happiness", 0, (0.5, 0.5), 0.2) for s in range(200))
    assert drawn.min(axis=None) == 0.0
    assert drawn.max(axis=None) <= 1.0
    assert (drawn.std() > 0.08).all()
    assert 0.15 < drawn[6].std() < 0.25


def test_identity_and_scene_know_nothing_of_the_emotion(monkeypatch: pytest.MonkeyPatch) -> None:
    key = (3, "gray", 1, "anger", 0)
    before = draw_identity(*key[:3]), draw_scene(*key, 1.0)
    units = draw_units(*key, (0.6, 1.0), 0.1)
    monkeypatch.setitem(PROTOTYPES, "anger", PROTOTYPES["happiness"])
    assert (draw_identity(*key[:3]), draw_scene(*key, 1.0)) == before
    assert draw_units(*key, (0.6, 1.0), 0.1) != units
    scenes = {e: [draw_scene(0, "dim", s, e, 0, 1.0) for s in range(300)] for e in EMOTIONS}
    for name, spread in (("x", 0.023), ("roll", 0.081), ("yaw", 0.174), ("shading", 0.087), ("level", 0.033)):
        means = [np.mean([getattr(scene, name) for scene in of]) for of in scenes.values()]
        assert np.ptp(means) < 6 * spread / np.sqrt(300), name


def test_one_person_stays_the_same_in_every_image(made: Path) -> None:
    assert draw_identity(0, "gray", 0) == draw_identity(0, "gray", 0)
    drawn = {draw_identity(0, source, subject) for source in SOURCES for subject in range(10)}
    assert len(drawn) == 30
    frame = load(made, emotions=EMOTIONS)
    for row in frame.itertuples():
        identity = draw_identity(0, str(row.source), int(str(row.subject)[-3:]) - 1)
        assert (row.skin, row.glasses) == (identity.skin, "yes" if identity.glasses else "no")


def colour_statistics(style: float) -> pd.DataFrame:
    """Mean over the faces of each source: colourfulness, brightness, blueness of the corner."""
    rows = []
    for source in SOURCES:
        for subject in range(40):
            pixels = face(source, subject, EMOTIONS[subject % 6], style, size=32).astype(float)
            corner = pixels[:6, :6].mean(axis=(0, 1))
            rows.append(
                (
                    source,
                    np.ptp(pixels, axis=2).mean(),
                    pixels.mean(),
                    corner[2] - corner[0],
                )
            )
    columns = ["source", "colourful", "bright", "blue"]
    return pd.DataFrame(rows, columns=columns).groupby("source").agg(["mean", "std"])


def test_style_alone_tells_the_sources_apart() -> None:
    alike, apart = colour_statistics(0.0), colour_statistics(1.0)
    for statistic, source in (("colourful", "gray"), ("bright", "dim"), ("blue", "blue")):

        def distance(table: pd.DataFrame, statistic: str = statistic, source: str = source) -> float:
            mean, std = table[statistic]["mean"], table[statistic]["std"]
            return float((mean - mean[source]).drop(source).abs().min() / std.max())

        assert distance(alike) < 0.5, statistic
        assert distance(apart) > 0.8, statistic
    assert apart["colourful"]["mean"]["gray"] < 0.5
    assert (alike["colourful"]["mean"] > 20).all()


def test_style_one_is_further_than_a_half() -> None:
    half = draw_scene(0, "dim", 0, "fear", 0, 0.5)
    none, full = (draw_scene(0, "dim", 0, "fear", 0, style) for style in (0.0, 1.0))
    assert none.level > half.level > full.level
    assert none.blur < half.blur < full.blur
    assert none.saturation == full.saturation


@pytest.mark.parametrize("size", [48, 64, 224])
def test_a_face_looks_the_same_at_every_size(size: int) -> None:
    large = Image.fromarray(face("blue", 3, "surprise", 0.0, 192)).resize((32, 32), Image.Resampling.BOX)
    small = Image.fromarray(face("blue", 3, "surprise", 0.0, size)).resize((32, 32), Image.Resampling.BOX)
    assert np.abs(np.asarray(large, float) - np.asarray(small, float)).mean() < 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subjects": 0}, "subjects is 0"),
        ({"size": 31}, "size is 31"),
        ({"size": 1025}, "size is 1025"),
        ({"seed": -1}, "seed is -1"),
        ({"style": 1.1}, "style is 1.1"),
        ({"style": float("nan")}, "style is nan"),
        ({"intensity": (0.9, 0.2)}, "intensity is"),
        ({"intensity": (0.2, 1.2)}, "intensity is"),
        ({"noise": -0.1}, "noise is -0.1"),
    ],
)
def test_options_out_of_range(options: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        generate(tmp_path / "faces", **{"subjects": 1, **options})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(InputError, match="not an empty folder"):
            generate(out, subjects=1, size=32)
    assert contents(tmp_path) == {"notes.txt": b"mine"}
    empty = tmp_path / "empty"
    empty.mkdir()
    assert generate(empty, subjects=1, size=32).is_file()


def test_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = 0

    def fail_at_the_tenth(*arguments: object) -> np.ndarray:
        nonlocal drawn
        drawn += 1
        if drawn == 10:
            raise KeyboardInterrupt
        return render(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(faces, "render", fail_at_the_tenth)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "faces", subjects=1, size=32)
    assert drawn == 10
    assert list(tmp_path.iterdir()) == []
    leftover = tmp_path / ".faces.tmp" / "images"
    leftover.mkdir(parents=True)
    (leftover / "stale.png").write_bytes(b"half")
    generate(tmp_path / "faces", subjects=1, size=32)
    assert not list(tmp_path.rglob("stale.png"))
    assert [file.name for file in tmp_path.iterdir()] == ["faces"]
