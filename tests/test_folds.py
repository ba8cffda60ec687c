"""Folds have names of their own and no test image in common; what is held out comes from the training part alone."""

import hashlib

import pytest

from emodo import manifest
from emodo.folds import fingerprints, hold_out, name_folds
from emodo.records import InputError
from emodo.splits import split_random, split_table1


@pytest.fixture(scope="module")
def folds(faces):
    whole = faces.parent / "manifest.csv"
    return [split_table1(whole, faces.parent / f"folds{fold}.csv", fold=fold) for fold in (1, 2, 3)]


def test_folds_are_named_after_their_files_or_folders(folds, tmp_path):
    assert name_folds(folds, None) == {f"folds{at}": file for at, file in enumerate(folds, 1)}
    moved = [tmp_path / name / "fold.csv" for name in ("a", "b")]
    for file, target in zip(folds, moved, strict=False):
        target.parent.mkdir()
        manifest.save(manifest.load(file), target)
    assert list(name_folds(moved, None)) == ["a-fold", "b-fold"]
    sums = {fold: each["sha256"] for fold, each in fingerprints(name_folds(moved, None)).items()}
    assert sums == {f"{file.parent.name}-fold": hashlib.sha256(file.read_bytes()).hexdigest() for file in moved}


def test_what_cannot_be_folds_is_refused(folds, tmp_path):
    with pytest.raises(InputError, match="the folds need different names"):
        name_folds([], None)
    with pytest.raises(InputError, match="the folds need different names"):
        name_folds([folds[0], folds[0]], None)
    with pytest.raises(InputError, match="has no column split"):
        name_folds([folds[0].parent / "manifest.csv"], None)
    other = split_random(folds[0].parent / "manifest.csv", tmp_path / "random.csv", test=0.5)
    with pytest.raises(InputError, match=r"random.csv and .*folds1.csv test the same image"):
        name_folds([folds[0], other], None)


def test_a_fifth_of_the_training_sequences_is_held_out(folds):
    frame = manifest.load(folds[0])
    known = hold_out(folds[0], None)
    assert set(known["file"]) == set(frame.loc[frame["split"] == "train", "file"])
    assert set(known["split"]) == {"train", "test"}
    of_sequence = known.groupby(["source", "sequence"])["split"].agg(["nunique", "first"])
    assert (of_sequence["nunique"] == 1).all()
    assert (of_sequence["first"] == "test").mean() == pytest.approx(0.2, abs=1 / len(of_sequence))


def test_validation_rows_are_held_out_where_there_are_any(folds, tmp_path):
    file = split_table1(folds[0].parent / "manifest.csv", tmp_path / "fold.csv", validation=0.3)
    frame, known = manifest.load(file), hold_out(file, None)
    for before, now in (("validation", "test"), ("train", "train")):
        assert set(known.loc[known["split"] == now, "file"]) == set(frame.loc[frame["split"] == before, "file"])


def test_an_emotion_of_one_sequence_cannot_be_held_out(folds, tmp_path):
    frame = manifest.load(folds[0])
    file = tmp_path / "few.csv"
    manifest.save(frame.assign(sequence="the only one", split=frame["split"]), file)
    with pytest.raises(InputError, match=r"few.csv"):
        hold_out(file, None)
