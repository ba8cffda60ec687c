"""`emodo gap` from files to files: what it takes, what it writes, and what it refuses with nothing written."""

import json
import shutil
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from conftest import SMALL
from emodo import gap as module
from emodo import runs
from emodo.__main__ import main
from emodo.gap import gap
from emodo.methods import ERM
from emodo.records import InputError
from emodo.training import train

QUICK = {"replicates": 200, "accelerator": "cpu", "size": 32}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Fifteen generated people whose sources look alike, an image an emotion, six of them in the test part."""
    from emodo.splitting import split_subject
    from emodo.synthetic.faces import generate

    folder = tmp_path_factory.mktemp("lab")
    generate(folder / "faces", subjects=5, size=32, style=0)
    faces = changed(folder / "faces" / "manifest.csv", lambda frame: frame[frame["frame"] == "3"], "peaks.csv")
    return split_subject(faces, folder / "faces" / "lab.csv", test=0.4)


@pytest.fixture(scope="module")
def blurred(lab, tmp_path_factory):
    """The same people, whom nobody knows by name, all blurred."""
    folder = tmp_path_factory.mktemp("field")
    frame = pd.read_csv(lab, dtype=str).drop(columns=["split", "skin"])
    frame = frame.loc[frame["source"] != "dim"].reset_index(drop=True)
    (folder / "images").mkdir()
    for at, path in enumerate(frame["path"]):
        with Image.open(lab.parent / path) as image:
            image.filter(ImageFilter.GaussianBlur(2)).save(folder / "images" / f"{at}.png")
    frame = frame.assign(path=[f"images/{at}.png" for at in range(len(frame))], subject="f" + frame["subject"])
    frame.to_csv(folder / "field.csv", index=False)
    return folder / "field.csv"


@pytest.fixture(scope="module")
def run(lab, tmp_path_factory):
    settings = SMALL | {"epochs": 1}
    return train(lab, ERM(lr=1e-3, backbone_lr=1e-3), run=tmp_path_factory.mktemp("runs") / "erm", **settings)


@pytest.fixture
def accurate(monkeypatch, lab):
    """A run that is always right in the lab, and in the field on every second image."""

    def answered(sets, run, reading):
        return np.ones(int(sets.labelled[0].sum()), bool), np.arange(int(sets.labelled[1].sum())) % 2 == 0

    monkeypatch.setattr(module, "_answers", answered)


def changed(field, change, name):
    """A copy of a field's table beside it, changed."""
    file = field.parent / name
    change(pd.read_csv(field, dtype=str)).to_csv(file, index=False)
    return file


def told(capsys, *arguments, **options):
    capsys.readouterr()
    gap(*arguments, json=True, **(QUICK | options))
    return json.loads(capsys.readouterr().out)


def test_a_blurred_field_is_told_by_its_blur(lab, blurred, run, accurate, tmp_path, capsys):
    out = tmp_path / "out"
    table = told(capsys, lab, blurred, run=run, out=out)
    assert table["differences"][0]["name"] == "blur"
    assert table["classifiers"]["what is measured"]["estimate"] > 0.9
    assert table["drop"]["reasons"][0] == "blur"
    assert table["drop"]["estimate"] == pytest.approx(0.5)
    assert table["factors"][0]["name"] == "blur"
    assert table["factors"][0]["uncovered"] > 0.9
    assert "First comes blur" in table["verdict"]
    assert {"source", "glasses", "emotion"} <= {each["name"] for each in table["factors"]}
    assert any("skin (lab)" in note for note in table["notes"])

    assert json.loads((out / "gap.json").read_text()) == table
    page = (out / "gap.md").read_text()
    assert table["verdict"] in page
    assert "| blur |" in page
    drawn = ElementTree.parse(out / "gap.svg").getroot()
    assert "blur" in "".join(drawn.itertext())


def test_the_command_prints_verdict_tables_and_notes(lab, blurred, run, accurate, capsys):
    assert main(["gap", str(lab), str(blurred), "--run", str(run), "--replicates", "200"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("The run is right on 100.0 % in the lab and 50.0 % in the field")
    for heading in ("accounts for, points", "told alone, %", "lab told from field by"):
        assert heading in out
    assert "- Explained: " in out


def test_without_emotions_it_says_what_differs(lab, blurred, run, capsys):
    paths = changed(blurred, lambda frame: frame[["path"]], "paths.csv")
    table = told(capsys, lab, paths)
    assert table["drop"] is None
    assert table["factors"] == []
    assert table["differences"][0]["name"] == "blur"
    assert "The run" not in table["verdict"]
    with_run = told(capsys, lab, paths, run=run)
    assert with_run["drop"] is None
    assert any("has no emotions" in note for note in with_run["notes"])


def test_a_folder_of_images_is_a_field(lab, blurred, capsys):
    table = told(capsys, lab, blurred.parent / "images")
    assert table["field"] == {"images": 60, "clusters": 60, "cluster": "image"}
    assert table["lab"]["cluster"] == "subject"
    assert table["differences"][0]["name"] == "blur"


def test_a_field_that_is_alike_differs_in_nothing(lab, run, capsys):
    frame = pd.read_csv(lab, dtype=str)
    alike = changed(lab, lambda _: frame[frame["split"] == "train"].drop(columns="split"), "alike.csv")
    table = told(capsys, lab, alike, split="test")
    assert all(each["p_holm"] > 0.05 for each in table["differences"])
    assert table["verdict"] == "No factor differs beyond chance between lab and field."


def test_the_runs_own_predictions_are_taken_for_its_own_manifest(lab, blurred, run, monkeypatch, capsys, tmp_path):
    predicted = []
    true = module._predicted

    def counted(run, frame, reading):
        predicted.append(len(frame))
        return true(run, frame, reading)

    monkeypatch.setattr(module, "_predicted", counted)
    own = told(capsys, lab, blurred, run=run)
    assert predicted == [60]
    assert own["drop"]["lab"] == pytest.approx(runs.scores(run)["accuracy"])
    copy = shutil.copy(lab, lab.parent / "copy.csv")
    anew = told(capsys, copy, blurred, run=run)
    assert predicted == [60, own["lab"]["images"], 60]
    assert anew["drop"]["lab"] == pytest.approx(own["drop"]["lab"])
    assert anew["drop"]["field"] == pytest.approx(own["drop"]["field"])


def test_rows_without_an_emotion_and_with_others_are_counted_and_left_out(lab, blurred, run, accurate, capsys):
    def change(frame):
        frame.loc[:9, "emotion"] = None
        frame.loc[10:14, "emotion"] = "contempt"
        return frame

    table = told(capsys, lab, changed(blurred, change, "partly.csv"), run=run)
    notes = " ".join(table["notes"])
    assert "does not know (contempt): 5 rows left out" in notes
    assert "no emotion in 10 of 60 rows" in notes
    assert table["field"]["images"] == 60


def test_a_small_field_has_wide_intervals_and_is_not_refused(lab, blurred, run, accurate, capsys):
    few = changed(blurred, lambda frame: frame.iloc[::4], "few.csv")
    notes = told(capsys, lab, few, run=run)["notes"]
    assert any("15 images that count, fewer than 20: the intervals are wide" in note for note in notes)


def test_boxes_in_one_set_only_are_told(lab, blurred, capsys):
    boxed = changed(blurred, lambda frame: frame.assign(x1=2, y1=2, x2=30, y2=30), "boxed.csv")
    notes = told(capsys, lab, boxed)["notes"]
    assert any("boxed.csv has boxes, and lab.csv has none" in note for note in notes)


def test_the_same_seed_gives_the_same_numbers(lab, blurred, run, accurate, capsys):
    assert told(capsys, lab, blurred, run=run) == told(capsys, lab, blurred, run=run)


# ------------------------------------------------------------------------------------------- refused


def refused(match, out, *arguments, **options):
    with pytest.raises(InputError, match=match):
        gap(*arguments, out=out, **(QUICK | options))
    assert not out.exists()


def test_what_does_not_fit_is_refused_with_nothing_written(lab, blurred, run, tmp_path):
    out = tmp_path / "out"
    contempt = changed(blurred, lambda frame: frame.assign(emotion="contempt"), "contempt.csv")
    refused("knows none of the emotions of .*contempt.csv", out, lab, contempt, run=run)
    anger = changed(lab, lambda frame: frame[frame["emotion"] == "anger"], "anger.csv")
    fear = changed(blurred, lambda frame: frame[frame["emotion"] == "fear"], "fear.csv")
    refused(r"share no emotion \(anger; fear\)", out, anger, fear, run=run)
    refused("is not a run", out, lab, blurred, run=tmp_path)
    refused("--split, or `all`", out, lab, blurred, split="validation")
    refused("--replicates is 5", out, lab, blurred, replicates=5)
    several = changed(blurred, lambda frame: frame.assign(emotion="anger|fear"), "several.csv")
    refused("row 1: 'anger.fear' are several emotions", out, lab, several, run=run)
    typo = changed(blurred, lambda frame: frame.assign(emotion="hapiness"), "typo.csv")
    refused("did you mean 'happiness'", out, lab, typo)
    one = changed(blurred, lambda frame: frame.assign(subject="x", source="y"), "one.csv")
    refused("the field has images of one subject only", out, lab, one)
    (tmp_path / "empty").mkdir()
    refused("holds no image", out, lab, tmp_path / "empty")
    missing = changed(blurred, lambda frame: frame.assign(path="nothing.png").iloc[:1], "missing.csv")
    refused("row 1: no image", out, lab, missing)


def test_a_folder_with_files_is_replaced_only_on_demand(lab, blurred, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        gap(lab, blurred, out=out, **QUICK)
    gap(lab, blurred, out=out, overwrite=True, **QUICK)
    assert {file.name for file in out.iterdir()} == {"mine.txt", "gap.json", "gap.md", "gap.svg"}
