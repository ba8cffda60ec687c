"""The verbs `emodo split ...`: what they write, what they tell, and what they refuse before they write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from emodo import manifest, splitting
from emodo.records import InputError

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


def images(frame: pd.DataFrame, part: str = "test") -> int:
    return int((frame["split"] == part).sum())


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Manifest of 72 sequences of 3 files, of which no two are equal: three sources, 12 rows an emotion in each."""
    rows = [
        (f"{source}/{number}/{frame}.png", emotion, source, f"S{number % 10}", str(number))
        for source in ("CK+", "MMI", "Oulu-CASIA")
        for number, emotion in enumerate(EMOTIONS * 4)
        for frame in range(3)
    ]
    frame = pd.DataFrame(rows, columns=["path", "emotion", "source", "subject", "sequence"])
    for path in frame["path"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    manifest.save(frame, tmp_path / "faces.csv")
    return tmp_path / "faces.csv"


def test_the_verbs_write_a_manifest(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = splitting.split_table1(faces, tmp_path / "fold.parquet", fold=2, moved=0.25, validation=0.1)
    frame = manifest.load(out)
    assert frame["split"].value_counts().to_dict() == {"train": 147, "test": 54, "validation": 15}
    told = capsys.readouterr()
    assert told.out == ""
    assert f"{out}: train 147, validation 15, test 54 images\n" in told.err
    assert images(manifest.load(splitting.split_random(faces, tmp_path / "random.csv", test=0.5))) == 108
    splitting.split_table1(faces, out, sources=["MMI", "CK+", "Oulu-CASIA"], overwrite=True)
    assert images(manifest.load(out)) == 72


def test_what_was_dropped_is_told(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = manifest.load(faces)
    frame.loc[:1, "source"] = "lab"
    manifest.save(frame, faces)
    out = splitting.split_table1(faces, tmp_path / "fold.csv", sources=["CK+", "MMI", "Oulu-CASIA"])
    assert "; 2 of other sources or emotions dropped\n" in capsys.readouterr().err
    assert list(manifest.load(out).index) == list(range(214))


Verb = Callable[..., Path]
VERBS: dict[str, tuple[Verb, dict[str, object]]] = {
    "table1": (splitting.split_table1, {}),
    "random": (splitting.split_random, {}),
    "subject": (splitting.split_subject, {}),
    "kfold": (splitting.split_kfold, {"folds": 3}),
    "kfold subject": (splitting.split_kfold, {"folds": 3, "by": "subject"}),
    "source": (splitting.split_source, {"held_out": "MMI"}),
    "cell": (splitting.split_cell, {"held_out": ["fear=MMI", "anger=CK+"]}),
    "official": (splitting.split_official, {}),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_tells_what_leaks_and_refuses_it_when_strict(
    verb: str, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split, options = VERBS[verb]
    if verb == "official":
        splitting.split_subject(faces, faces, overwrite=True)
    out = split(faces, tmp_path / "out.csv", **options)
    frame = manifest.load(out)
    by_subject = verb in ("subject", "kfold subject", "source", "official")
    told = capsys.readouterr().err
    assert ("nothing leaks into test, by sequences, subjects, files" in told) == by_subject
    assert ("test subjects are in train too" in told) != by_subject
    # one test image is a copy of a training image now
    test, train = (frame.loc[frame["split"] == part, "file"].iloc[0] for part in ("test", "train"))
    Path(test).write_bytes(Path(train).read_bytes())
    out = split(faces, tmp_path / "again.csv", **options)
    told = capsys.readouterr().err
    assert f"1 of {images(frame)} test rows have an image that is byte for byte one of train" in told
    rows = [int(frame.index[frame["file"] == file][0]) + 1 for file in (test, train)]
    paths = [frame["path"][row - 1] for row in rows]
    assert f"  row {rows[0]} ({paths[0]}, test) and row {rows[1]} ({paths[1]}, train)\n" in told
    with pytest.raises(
        InputError, match=r"(?s)faces\.csv: the split leaks, and with --strict is not written\n.*byte for"
    ):
        split(faces, tmp_path / "strict.csv", strict=True, **options)
    assert not (tmp_path / "strict.csv").exists()


def test_strict_passes_what_does_not_leak(faces: Path, tmp_path: Path) -> None:
    assert images(manifest.load(splitting.split_subject(faces, tmp_path / "out.csv", strict=True))) > 0


def test_near_duplicates_need_images_that_can_be_read(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"faces\.csv, row 1: the image .*0\.png is not a readable image\n"):
        splitting.split_random(faces, tmp_path / "out.csv", near=16)
    assert not (tmp_path / "out.csv").exists()


def test_an_earlier_split_is_replaced_whatever_its_faults(faces: Path, tmp_path: Path) -> None:
    frame = manifest.load(faces)
    manifest.save(frame.assign(split=["train", "dev", None] * 72), faces)
    splitting.split_random(faces, faces, overwrite=True)
    assert set(manifest.load(faces)["split"]) == {"train", "test"}


def test_an_official_split_is_checked_before_it_is_kept(faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with pytest.raises(InputError, match=r"faces\.csv: the manifest has no column split to keep"):
        splitting.split_official(faces, out)
    frame = manifest.load(faces)
    manifest.save(frame.assign(split=["train", "train", "test"] * 72), faces)
    with pytest.raises(InputError, match=r"faces\.csv: row 3: sequence '0' is in test here and in train at row 1"):
        splitting.split_official(faces, out)
    manifest.save(frame.assign(split="train"), faces)
    with pytest.raises(InputError, match=r"faces\.csv: the test part is empty"):
        splitting.split_official(faces, out)
    assert not out.exists()


def test_a_source_has_to_be_named(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name the source that is tested: --held-out SOURCE"):
        splitting.split_source(faces, tmp_path / "out.csv")


def test_the_verbs_refuse_before_they_write(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"faces\.csv exists already: choose another OUT"):
        splitting.split_random(faces, faces)
    out = tmp_path / "out.csv"
    with pytest.raises(InputError, match=r"faces\.csv: the test part is empty"):
        splitting.split_random(faces, out, test=0.001)
    with pytest.raises(InputError, match="no table by its suffix"):
        splitting.split_subject(faces, tmp_path / "out.xls")
    with pytest.raises(InputError, match="--near is 65: it is a number of bits from 0 to 64, of 256; try 16"):
        splitting.split_random(faces, out, near=65)
    (tmp_path / "CK+/1/0.png").unlink()
    with pytest.raises(InputError, match="no image 'CK"):
        splitting.split_random(faces, out)
    assert not out.exists()


def test_the_verbs_take_emotions_of_the_users_own(faces: Path, tmp_path: Path) -> None:
    own = dict(zip(EMOTIONS, ("e1", "e2", "e3", "e4", "e5", "e6"), strict=True))
    manifest.save(manifest.load(faces).replace({"emotion": own}), faces)
    with pytest.raises(InputError, match="unknown emotion 'e1'"):
        splitting.split_random(faces, tmp_path / "out.csv")
    splitting.split_random(faces, tmp_path / "out.csv", emotions=list(own.values()))
    splitting.split_table1(faces, tmp_path / "fold.csv", emotions=list(own.values()))
    assert images(manifest.load(tmp_path / "fold.csv", tuple(own.values()))) == 72
