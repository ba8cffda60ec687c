"""MixBasic in miniature: two sequences of each of the three data sets, and the released lists."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest

from emodo import splits
from emodo.adapters import ADAPTERS
from emodo.adapters.mixbasic import IMAGES, TESTED, mixbasic
from emodo.adapters.oulucasia import oulucasia

MODULE = sys.modules["emodo.adapters.mixbasic"]
SEQUENCES = {
    "CKPlus/images/S010_004": ("Anger", (17, 18, 19), "{:08d}"),
    "CKPlus/images/S011_001": ("Surprise", (14, 15, 16), "{:08d}"),
    "MMI/images/S001_100": ("Disgust", (40, 41, 42), "{:03d}"),
    "MMI/images/S002_103": ("Happiness", (45, 46, 47), "{:03d}"),
    "OuluCASIA/images/P001_Sadness": ("Sadness", (12, 13, 14), "{:03d}"),
    "OuluCASIA/images/P080_Fear": ("Fear", (20, 21, 22), "{:03d}"),
}
FRAMES = {
    f"{name}_{form.format(at)}.png": emotion for name, (emotion, numbers, form) in SEQUENCES.items() for at in numbers
}
TESTS = [name for name in FRAMES if name.startswith(("CKPlus/images/S010", "OuluCASIA/images/P080"))]
TRAINS = [name for name in FRAMES if name not in TESTS]


def key(name: str) -> str:
    return name.replace("/images/", "_").partition("_")[0].lower() + "_" + Path(name).stem


def lists(fold: int = 1, bias: int = 100, end: str = "\n") -> dict[str, str]:
    return {
        f"{split}_ids_bias{bias}v{fold}.csv": end.join(f"MixBasic/{name}" for name in names)  # no final newline
        for split, names in (("train", TRAINS), ("test", TESTS))
    }


def released(top: str = "MixBasic", **options) -> dict[str, str | bytes | None]:
    files: dict[str, str | bytes | None] = dict.fromkeys(FRAMES)
    files |= {"emotion_labels.pkl": pickle.dumps({key(name): label for name, label in FRAMES.items()})}
    files |= {"CKPlus/emotion_labels.pkl": pickle.dumps({"S010_004_00000017": "Anger"})}  # as the scripts leave it
    return {f"{top}/{name}": content for name, content in (files | lists(**options)).items()}


def test_all_labelled_images_without_a_split(place, prepare) -> None:
    frame, said = prepare(mixbasic, place(released()))
    assert frame.columns.tolist() == ["path", "emotion", "source", "subject", "sequence", "frame", "file"]
    assert frame.drop(columns="file").to_numpy().tolist()[::3] == [
        ["data/MixBasic/CKPlus/images/S010_004_00000017.png", "anger", "CK+", "S010", "S010_004", "17"],
        ["data/MixBasic/CKPlus/images/S011_001_00000014.png", "surprise", "CK+", "S011", "S011_001", "14"],
        ["data/MixBasic/MMI/images/S001_100_040.png", "disgust", "MMI", "S001", "S001_100", "40"],
        ["data/MixBasic/MMI/images/S002_103_045.png", "happiness", "MMI", "S002", "S002_103", "45"],
        ["data/MixBasic/OuluCASIA/images/P001_Sadness_012.png", "sadness", "Oulu-CASIA", "P001", "P001_Sadness", "12"],
        ["data/MixBasic/OuluCASIA/images/P080_Fear_020.png", "fear", "Oulu-CASIA", "P080", "P080_Fear", "20"],
    ]
    assert said == (
        "out.csv: 18 images, 6 sequences, 6 subjects, 6 emotions\n"
        "out.csv: warning: 18 labelled images, published are 2991\n"
    )
    assert ADAPTERS["mixbasic"] is mixbasic


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_fold_is_the_released_lists(place, prepare, end: str) -> None:
    frame, said = prepare(mixbasic, place(released(end=end)), fold=1)
    tested = frame.loc[frame["split"] == "test", "path"].str.removeprefix("data/MixBasic/").tolist()
    assert tested == TESTS
    assert (frame["split"] == "train").sum() == len(TRAINS) == 12
    assert "18 images, published are 2991; 6 test images, published are 1014\n" in said


@pytest.mark.parametrize(("fold", "modified"), [(fold, modified) for fold in (1, 2, 3) for modified in (False, True)])
def test_the_published_counts_are_those_of_the_fold_and_setting(place, prepare, fold: int, modified: bool) -> None:
    root = place(released(fold=fold, bias=90 if modified else 100))
    _, said = prepare(mixbasic, root, fold=fold, modified=modified)
    assert f"6 test images, published are {TESTED[modified][fold - 1]}\n" in said


def test_the_published_counts_raise_no_warning(place, prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (IMAGES, TESTED) == (2991, {False: (1014, 948, 1029), True: (915, 852, 930)})
    monkeypatch.setattr(MODULE, "IMAGES", 18)
    monkeypatch.setattr(MODULE, "TESTED", {False: (6, 0, 0)})
    assert prepare(mixbasic, place(released()), fold=1)[1] == (
        "out.csv: 18 images, 6 sequences, 6 subjects, 6 emotions\n"
    )


def test_lists_that_do_not_fit_are_named_with_their_lines(place, refusal) -> None:
    files = released()
    (_, first), (_, second) = lists().items()
    files["MixBasic/train_ids_bias100v1.csv"] = f"{first}\n\nMixBasic/{TESTS[0]}\nnonsense\nMixBasic/JAFFE/images/1.png"
    files["MixBasic/test_ids_bias100v1.csv"] = second + "\nMixBasic/MMI/images/S099_001_001.png"
    del files[f"MixBasic/{TRAINS[0]}"]
    assert [line.removeprefix("data/MixBasic/") for line in refusal(mixbasic, place(files), fold=1).split("\n")] == [
        "train_ids_bias100v1.csv: line 15: 'nonsense' is no path of an image",
        "train_ids_bias100v1.csv: line 1: its image is missing in data/MixBasic",
        "train_ids_bias100v1.csv: line 16: it names no image of CKPlus, MMI or OuluCASIA",
        "test_ids_bias100v1.csv: line 1: it is listed before, at data/MixBasic/train_ids_bias100v1.csv: line 14",
        "test_ids_bias100v1.csv: line 7: emotion_labels.pkl has no label 'mmi_S099_001_001'",
    ]
    assert refusal(mixbasic, place(released(), "b"), fold=2).startswith(
        "b/MixBasic/train_ids_bias100v2.csv is missing: copy it from the release's datasets/MixBasic"
    )


def test_labels_that_are_none(place, refusal) -> None:
    labels = {key(name): label for name, label in FRAMES.items()}
    files = released() | {
        "MixBasic/emotion_labels.pkl": pickle.dumps(labels | {"mmi_S001_100_040": "Boredom", 3: "Fear"})
    }
    assert refusal(mixbasic, place(files)).split("\n") == [
        "data/MixBasic/emotion_labels.pkl: 3: 'Fear' is no emotion",
        "data/MixBasic/emotion_labels.pkl: 'mmi_S001_100_040': 'Boredom' is no emotion",
    ]
    no_dictionary = {"MixBasic/emotion_labels.pkl": pickle.dumps(["Anger"])}
    assert refusal(mixbasic, place(no_dictionary, "b")) == (
        "b/MixBasic/emotion_labels.pkl holds no dictionary from images to emotions"
    )


def test_a_planted_pickle_runs_nothing(place, refusal, tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    files = released() | {"MixBasic/emotion_labels.pkl": pickle.dumps({"ckplus_S010_004_00000017": Planted()})}
    assert refusal(mixbasic, place(files)).endswith("and may be a program: it is not opened")
    assert not (tmp_path / "ran").exists()


def test_a_missing_image_is_named_by_its_label(place, refusal) -> None:
    files = released()
    del files["MixBasic/MMI/images/S001_100_040.png"]
    assert refusal(mixbasic, place(files)) == (
        "data/MixBasic/emotion_labels.pkl: 'mmi_S001_100_040': its image is missing in data/MixBasic"
    )


def test_wrappers_and_what_systems_leave_behind(place, prepare) -> None:
    files = released("datasets/MixBasic") | {"__MACOSX/emotion_labels.pkl": b"x", "datasets/._emotion_labels.pkl": b"x"}
    files |= {"datasets/MixBasic/MMI/images/._S001_100_040.png": b"x", "datasets/MixBasic/MMI/images/Thumbs.db": b"x"}
    assert len(prepare(mixbasic, place(files))[0]) == 18


def test_a_folder_of_something_else(place, refusal) -> None:
    assert refusal(mixbasic, place({"OriginalImg/x": None, "VL_Acropped/": None})) == (
        "data holds no 'emotion_labels.pkl' (7 folders deep); found OriginalImg/, VL_Acropped/: it looks like data for "
        "emodo prepare oulucasia"
    )
    assert refusal(oulucasia, place(released(), "b")).endswith("it looks like data for emodo prepare mixbasic")


def test_table_1s_split_takes_the_manifest(place, prepare) -> None:
    fold = splits.table1(prepare(mixbasic, place(released()))[0], fold=1)
    tested = fold.loc[fold["split"] == "test", ["source", "emotion"]].drop_duplicates()
    assert tested.to_numpy().tolist() == [["CK+", "anger"], ["MMI", "disgust"], ["Oulu-CASIA", "fear"]]
