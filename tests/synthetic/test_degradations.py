"""Figure 1's toy experiment: the images, and the rows that pair emotions with degradations."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emodo.manifest import load
from emodo.records import InputError
from emodo.synthetic.degradations import degrade, pair, reverse, split_degradations
from emodo.synthetic.faces import generate

TWO = {"neutral": "blur", "happiness": "noise"}


def pixels(file: str | Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"), float)


def write(folder: Path, rows: list[dict[str, object]], size: tuple[int, int] = (60, 40)) -> Path:
    """A manifest of smooth images with an edge, one a row."""
    ramp = np.linspace(60, 190, size[0] * size[1] * 3).reshape(size[1], size[0], 3)
    ramp[:, size[0] // 2 :] = 220 - ramp[:, size[0] // 2 :]
    for number, row in enumerate(rows):
        Image.fromarray(ramp.astype(np.uint8)).save(folder / f"{number}.png")
        row.setdefault("path", f"{number}.png")
    manifest = folder / "original.csv"
    pd.DataFrame(rows).to_csv(manifest, index=False)
    return manifest


@pytest.fixture(scope="module")
def degraded(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("degraded")
    original = generate(folder / "faces", subjects=2, size=64)
    return load(original), load(degrade(original, folder / "toy"))


def toy(people: int = 10, emotions: tuple[str, ...] = ("neutral", "happiness")) -> pd.DataFrame:
    rows = [
        {"path": f"{s}-{e}-{d}.png", "emotion": e, "subject": f"{s:02d}", "degradation": d}
        for s, e, d in product(range(people), emotions, ("blur", "noise", "none"))
    ]
    return pd.DataFrame(rows)


def test_every_image_once_a_degradation_and_all_columns_kept(
    degraded: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    original, copies = degraded
    assert len(copies) == 3 * len(original)
    assert list(copies["degradation"]) == ["blur", "noise", "none"] * len(original)
    assert copies["stratum"].equals(copies["degradation"].rename("stratum"))
    assert copies["path"].is_unique
    kept = [column for column in original if column not in ("path", "file")]
    for column in kept:
        assert list(copies[column]) == list(original[column].repeat(3)), column
    assert set(copies.columns) == set(original.columns) | {"degradation", "stratum"}


def test_degradations_do_what_they_say(degraded: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    original, copies = degraded
    for row in range(0, len(original), 20):
        source = pixels(original["file"][row])
        blur, noise, none = (pixels(copies["file"][3 * row + at]) for at in range(3))
        assert (none == source).all()
        assert np.abs(np.diff(blur, axis=1)).mean() < np.abs(np.diff(source, axis=1)).mean()
        assert np.abs(np.diff(noise, axis=1)).mean() > 1.5 * np.abs(np.diff(source, axis=1)).mean()


def test_strength_is_relative_to_the_image(tmp_path: Path) -> None:
    manifest = write(tmp_path, [{"emotion": "anger"}], size=(512, 384))
    noise = pixels(load(degrade(manifest, tmp_path / "noise", ("noise",), noise=0.1))["file"][0])
    plain = pixels(tmp_path / "0.png")
    field = (noise - plain)[:378, :510]
    assert np.abs(field[0::3] - field[1::3]).max() <= 2  # a grain is 384 / 128 = 3 pixels wide
    assert 0.09 < field.std() / 255 < 0.11
    assert abs(field.mean()) < 1
    wide = pixels(load(degrade(manifest, tmp_path / "wide", ("blur",), blur=0.05))["file"][0])
    narrow = pixels(load(degrade(manifest, tmp_path / "narrow", ("blur",), blur=0.005))["file"][0])
    assert np.abs(np.diff(wide, axis=1)).max() < np.abs(np.diff(narrow, axis=1)).max() / 3


def test_noise_depends_on_seed_and_row_alone(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"emotion": "anger"}, {"emotion": "fear"}]
    manifest = write(tmp_path, rows)
    first = load(degrade(manifest, tmp_path / "a", ("noise", "none")))
    second = load(degrade(manifest, tmp_path / "b", ("blur", "noise")))
    other = load(degrade(manifest, tmp_path / "c", ("noise",), seed=1))
    noisy = [frame[frame["degradation"] == "noise"]["file"].tolist() for frame in (first, second, other)]
    for a, b, c in zip(*noisy, strict=True):
        assert Path(a).read_bytes() == Path(b).read_bytes() != Path(c).read_bytes()
    assert Path(noisy[0][0]).read_bytes() != Path(noisy[0][1]).read_bytes()


def test_size_scales_images_and_boxes(tmp_path: Path) -> None:
    box = {"x1": 15, "y1": 4, "x2": 60, "y2": 40}
    manifest = write(tmp_path, [{"emotion": "anger", **box}, {"emotion": "fear"}])
    frame = load(degrade(manifest, tmp_path / "toy", size=20))
    assert pixels(frame["file"][0]).shape == (20, 30, 3)
    assert frame.loc[0, ["x1", "y1", "x2", "y2"]].tolist() == [7.5, 2.0, 30.0, 20.0]
    assert frame.loc[3, ["x1", "y1", "x2", "y2"]].isna().all()


def test_without_a_sequence_the_copies_still_belong_together(tmp_path: Path) -> None:
    manifest = write(tmp_path, [{"emotion": "anger", "sequence": "s1"}, {"emotion": "fear"}])
    frame = load(degrade(manifest, tmp_path / "toy"))
    assert frame["sequence"].tolist() == ["s1"] * 3 + ["1.png"] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degradations": ("blur", "fog")}, "unknown degradation 'fog'"),
        ({"degradations": ()}, "at least one"),
        ({"degradations": ("blur", "blur")}, "each once"),
        ({"blur": 0.0}, "blur is 0"),
        ({"noise": 1.5}, "noise is 1.5"),
        ({"size": 8}, "size is 8"),
        ({"seed": -2}, "seed is -2"),
    ],
)
def test_options_out_of_range(options: dict, message: str, tmp_path: Path) -> None:
    manifest = write(tmp_path, [{"emotion": "anger"}])
    with pytest.raises(InputError, match=message):
        degrade(manifest, tmp_path / "toy", **options)
    assert not (tmp_path / "toy").exists()


def test_an_unreadable_image_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    manifest = write(tmp_path, [{"emotion": "anger"}, {"emotion": "fear"}])
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:60])
    with pytest.raises(InputError, match=r"row 2: .*1\.png cannot be read"):
        degrade(manifest, tmp_path / "toy")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.png", "1.png", "original.csv"]


def test_a_vast_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write(tmp_path, [{"emotion": "anger"}])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # the image has 2400
    with pytest.raises(InputError, match="row 1"):
        degrade(manifest, tmp_path / "toy")


def test_pairs_in_training_and_the_three_tests() -> None:
    frame = toy()
    expected = {"same": TWO, "reversed": {"neutral": "noise", "happiness": "blur"}}
    expected["none"] = {"neutral": "none", "happiness": "none"}
    people = []
    for test, shown in expected.items():
        rows = pair(frame, TWO, test)  # type: ignore[arg-type]
        train, tested = rows[rows["split"] == "train"], rows[rows["split"] == "test"]
        assert len(train) == 7 * 2
        assert len(tested) == 3 * 2
        assert (train["degradation"] == train["emotion"].map(TWO)).all()
        assert (tested["degradation"] == tested["emotion"].map(shown)).all()
        assert not set(train["subject"]) & set(tested["subject"])
        people.append(set(tested["subject"]))
    assert people[0] == people[1] == people[2]
    assert any(set(pair(frame, TWO, seed=s).query("split == 'test'")["subject"]) != people[0] for s in (1, 2))
    assert "split" not in frame


def test_subjects_of_two_sources_are_two_people() -> None:
    frame = pd.concat([toy(5).assign(source=name) for name in ("a", "b")], ignore_index=True)
    rows = pair(frame, TWO, fraction=0.4)
    assert rows.query("split == 'test'")[["source", "subject"]].drop_duplicates().shape == (4, 2)


@pytest.mark.parametrize(
    "pairing",
    [
        {"anger": "blur", "fear": "noise", "sadness": "none"},
        {"anger": "blur", "fear": "blur", "sadness": "noise", "disgust": "none"},
        {"anger": "blur", "fear": "noise", "sadness": "blur", "disgust": "noise", "surprise": "none"},
    ],
)
def test_reverse_gives_every_emotion_another_degradation(pairing: dict[str, str]) -> None:
    reversed_ = reverse(pairing)
    assert list(reversed_) == list(pairing)
    assert sorted(reversed_.values()) == sorted(pairing.values())
    assert all(reversed_[emotion] != pairing[emotion] for emotion in pairing)


def test_reverse_impossible() -> None:
    with pytest.raises(InputError, match="cannot be reversed: 2 of 3"):
        reverse({"anger": "blur", "fear": "blur", "sadness": "noise"})
    same = pair(toy(), {"neutral": "blur", "happiness": "blur"}, "same")
    assert set(same["degradation"]) == {"blur"}


@pytest.mark.parametrize(
    ("frame", "pairing", "options", "message"),
    [
        (toy(), {"neutral": "blur", "happiness": "fog"}, {}, "unknown degradation 'fog'"),
        (toy(), {"neutral": "blur"}, {}, "'happiness' has no degradation"),
        (toy(), {**TWO, "fear": "none"}, {}, "names 'fear'"),
        (toy(1), TWO, {}, "shows 1 subject"),
        (toy().drop(columns="subject"), TWO, {}, "no column subject"),
        (toy().drop(columns="degradation"), TWO, {}, "no column degradation"),
        (toy(), TWO, {"fraction": 1.0}, "fraction is 1"),
        (
            toy().query("degradation != 'none'"),
            TWO,
            {"test": "none"},
            "no test row shows happiness under none",
        ),
    ],
)
def test_what_cannot_be_paired(frame: pd.DataFrame, pairing: dict, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pair(frame, pairing, **options)


def test_moved_subjects_fill_the_empty_cells() -> None:
    frame = toy(40)
    plain, rows = pair(frame, TWO), pair(frame, TWO, moved=0.25)
    train, tested = rows[rows["split"] == "train"], rows[rows["split"] == "test"]
    pd.testing.assert_frame_equal(tested.reset_index(drop=True), plain[plain["split"] == "test"].reset_index(drop=True))
    swapped = train[train["degradation"] != train["emotion"].map(TWO)]
    assert len(train) == len(plain[plain["split"] == "train"])
    assert swapped["subject"].nunique() == 7  # a quarter of 28
    assert len(swapped) == 7 * 2
    assert train.groupby(["emotion", "degradation"]).ngroups == 4


@pytest.fixture
def degraded_folder(tmp_path: Path) -> Path:
    rows: list[dict[str, object]] = [
        {"emotion": emotion, "subject": subject} for subject in ("a", "b") for emotion in TWO
    ]
    return degrade(write(tmp_path, rows), tmp_path / "degraded").parent


def test_the_verb_writes_a_manifest_with_both_parts(degraded_folder: Path, tmp_path: Path) -> None:
    out = split_degradations(degraded_folder / "manifest.csv", tmp_path / "toy.csv", fraction=0.5)
    rows = load(out)
    assert set(rows["split"]) == {"train", "test"}
    assert rows["file"].map(lambda file: Path(file).is_file()).all()
    with pytest.raises(InputError, match="exists"):
        split_degradations(degraded_folder / "manifest.csv", out)


def test_an_experiment_of_pairs_takes_one_emotion_a_row(degraded_folder, tmp_path):
    frame = pd.read_csv(degraded_folder / "manifest.csv", dtype=str)
    frame["path"] = [str(degraded_folder / path) for path in frame["path"]]
    frame.loc[frame.index[3:], "emotion"] = "fear|happiness"
    frame.to_csv(tmp_path / "several.csv", index=False)
    with pytest.raises(InputError, match=r"several\.csv, row 4: 'fear\|happiness' are several emotions, and the exp"):
        split_degradations(tmp_path / "several.csv", tmp_path / "toy.csv")
    assert not (tmp_path / "toy.csv").exists()
