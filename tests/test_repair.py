"""`emodo repair` from a run and a table to a verdict and a repaired run, and what it refuses with nothing written."""

import json
import re
import shlex
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_model
from scipy.special import softmax

from conftest import SMALL
from emodo import repairs, runs
from emodo.__main__ import main
from emodo.evaluation import evaluate
from emodo.exchange import load, save_pretrained
from emodo.files import sha256
from emodo.methods import CLEF, LogitAdjustment
from emodo.records import InputError
from emodo.repair import repair
from emodo.synthetic.faces import generate
from emodo.training import train

PAGE = (Path(__file__).parents[1] / "docs" / "repair.md").read_text(encoding="utf-8")
QUICK = {"replicates": 200, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """Manifest of 12 other people, 3 looks, each frame 3 of each emotion and some of the other frames."""
    folder = tmp_path_factory.mktemp("field")
    manifest = generate(folder / "faces", subjects=4, size=32, seed=1)
    return changed(manifest, lambda frame: frame.loc[frame["frame"] != "1"], "field.csv")


@pytest.fixture(autouse=True)
def sparing(monkeypatch):
    """Two penalties of the last layer in place of five: what is chosen is tested with the repairs."""
    monkeypatch.setattr(repairs, "PENALTIES", (0.3, 0.03))


@pytest.fixture(scope="module")
def erm(trained):
    return trained[0]


def changed(table, change, name):
    """A copy of a manifest beside it, changed."""
    file = table.parent / name
    change(pd.read_csv(table, dtype=str).reset_index(drop=True)).to_csv(file, index=False)
    return file


def logits(run, manifest, out):
    found = pd.read_parquet(evaluate(run, manifest, split="all", out=out, accelerator="cpu") / "predictions.parquet")
    return found[[f"logit:{emotion}" for emotion in runs.task(run).emotions]].to_numpy(float)


def told(capsys, *arguments, **options):
    capsys.readouterr()
    repair(*arguments, json=True, **(QUICK | options))
    return json.loads(capsys.readouterr().out)


def test_the_four_repairs_are_measured_and_the_folder_is_whole(erm, field, tmp_path, capsys):
    out = tmp_path / "out"
    table = told(capsys, erm, field, out=out, apply="temperature")
    assert (table["images"], table["clusters"], table["cluster"]) == (144, 12, "subject")
    assert [row["name"] for row in table["repairs"]] == ["prior", "temperature", "dfr"]
    said = {"helps", "harms", "no difference beyond chance", "not enough data to tell"}
    assert {row["verdict"] for row in table["repairs"]} <= said
    assert set(table["abstention"]) == {"unrepaired", "prior", "temperature", "dfr"}
    assert table["stratum"] == "source"
    assert sum(table["emotions"].values()) == 144
    assert json.loads((out / "repair.json").read_text()) == table
    page = (out / "repair.md").read_text()
    assert all(sentence in page for sentence in table["sentences"])
    assert "answered" in "".join(ElementTree.parse(out / "repair.svg").getroot().itertext())
    assert sorted(file.name for file in out.iterdir()) == ["repair.json", "repair.md", "repair.svg", "run"]
    assert table["applied"] == "temperature"


def test_the_unrepaired_run_is_as_evaluate_says(erm, field, tmp_path, capsys):
    table = told(capsys, erm, field)
    scores = json.loads(
        (evaluate(erm, field, split="all", out=tmp_path / "e", accelerator="cpu") / "scores.json").read_text()
    )
    assert table["unrepaired"]["accuracy"]["estimate"] == pytest.approx(scores["accuracy"])
    assert table["unrepaired"]["macro_accuracy"]["estimate"] == pytest.approx(scores["macro_accuracy"])
    assert table["applied"] is None


@pytest.mark.parametrize("name", ["prior", "temperature", "dfr"])
@pytest.mark.parametrize("method", [0, 1], ids=["ERM", "IERN"])
def test_a_repaired_run_is_a_run_that_says_what_was_fitted(trained, field, name, method, tmp_path, capsys):
    run, out = trained[method], tmp_path / "out"
    (row,) = (row for row in told(capsys, run, field, out=out, apply=name)["repairs"] if row["name"] == name)
    before, after = logits(run, field, tmp_path / "before"), logits(out / "run", field, tmp_path / "after")
    if name == "temperature":
        assert after == pytest.approx(before / row["temperature"], abs=1e-4)
    elif name == "prior":
        shift = [row["shift"][emotion] for emotion in runs.task(run).emotions]
        assert after == pytest.approx(before + shift, abs=1e-4)
    else:
        assert np.abs(after - before).max() > 0.1
    state, changes = runs.load_method(run).state_dict(), runs.load_method(out / "run").state_dict()
    assert {key for key in state if not torch.equal(state[key], changes[key])} <= {
        "classifier.weight",
        "classifier.bias",
    }
    origin = runs.provenance(out / "run")
    assert (origin["repair"], origin["field_sha256"]) == (name, sha256(field))
    assert origin["repaired_from_sha256"] == sha256(runs.weights_file(run))


def test_a_repaired_run_predicts_is_shared_and_repaired_again(erm, field, tmp_path, capsys):
    run = tmp_path / "out" / "run"
    repair(erm, field, out=tmp_path / "out", apply="temperature", **QUICK)
    assert main(["predict", str(run), str(field), "--out", str(tmp_path / "p"), "--accelerator", "cpu"]) == 0
    answers = pd.read_parquet(tmp_path / "p")
    image = field.parent / pd.read_csv(field)["path"][0]
    shared = load(save_pretrained(run, tmp_path / "shared"))
    assert shared.predict([str(image)])[0] == answers["predicted"][0]
    again = told(capsys, run, field)
    (row,) = (row for row in again["repairs"] if row["name"] == "temperature")
    assert row["temperature"] == pytest.approx(1, abs=0.01)


def test_a_run_that_is_too_sure_gets_its_temperature_back(erm, field, tmp_path, capsys):
    spoiled = shutil.copytree(erm, tmp_path / "spoiled")
    method = runs.load_method(erm)
    with torch.no_grad():
        method.classifier.weight *= 4
        method.classifier.bias *= 4
    save_model(method, str(runs.weights_file(spoiled)))
    found, own = (told(capsys, run, field)["repairs"][1] for run in (spoiled, erm))
    assert found["verdict"] == "helps"
    assert found["temperature"] == pytest.approx(4 * own["temperature"], rel=0.01)
    assert found["measures"]["nll"]["estimate"] == pytest.approx(own["measures"]["nll"]["estimate"], rel=0.01)


def test_the_threshold_is_for_the_largest_probability(erm, field, tmp_path, capsys):
    table = told(capsys, erm, field, coverage=0.5)
    p = softmax(logits(erm, field, tmp_path / "e"), axis=1).max(axis=1)
    assert (p >= table["abstention"]["unrepaired"]["threshold"] - 1e-6).mean() == pytest.approx(0.5, abs=0.01)
    table = told(capsys, erm, field, risk=0.0)
    assert table["wanted"] == {"coverage": None, "risk": 0}


def test_the_strata_are_those_that_are_named_or_known(erm, field, capsys, tmp_path):
    assert told(capsys, erm, field, stratum="glasses")["stratum"] == "glasses"
    plain = changed(field, lambda frame: frame.drop(columns="source"), "plain.csv")
    assert told(capsys, erm, plain)["stratum"] is None


def test_the_same_seed_gives_the_same_numbers(erm, field, capsys):
    assert told(capsys, erm, field, seed=3) == told(capsys, erm, field, seed=3)
    assert told(capsys, erm, field, seed=3) != told(capsys, erm, field, seed=4)


# ------------------------------------------------------------------------------- what is too little


def test_thirty_images_are_not_enough_to_tell(erm, field, tmp_path, capsys):
    few = changed(field, lambda frame: frame.iloc[::4].head(30), "few.csv")
    assert main(["repair", str(erm), str(few), "--out", str(tmp_path / "out"), "--accelerator", "cpu"]) == 0
    out = capsys.readouterr().out
    assert out.count("not enough data to tell (30 images of ") == 4
    assert "The run is right on" in out
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["repair.json", "repair.md"]
    with pytest.raises(InputError, match=r"--apply temperature: it was not measured \(30 images of"):
        repair(erm, few, out=tmp_path / "other", apply="temperature", **QUICK)
    assert not (tmp_path / "other").exists()


def test_one_person_is_not_enough_to_tell(erm, field, capsys):
    one = changed(field, lambda frame: frame.assign(subject="x", source="y"), "one.csv")
    table = told(capsys, erm, one)
    assert {row["verdict"] for row in table["repairs"]} == {"not enough data to tell"}
    assert table["unrepaired"] is None
    assert "144 images of 1 subjects" in table["too_few"]
    assert told(capsys, erm, one, cluster="image")["unrepaired"]


def test_an_emotion_that_the_field_lacks_leaves_the_last_layer_alone(erm, field, capsys):
    lacking = changed(field, lambda frame: frame.loc[frame["emotion"] != "fear"], "nofear.csv")
    *others, last = told(capsys, erm, lacking)["repairs"]
    assert all("change" in row for row in others)
    assert last["verdict"] == "not enough data to tell"
    assert last["why"].startswith("0 images of fear; each emotion that the run knows needs 10")


def test_without_its_manifest_a_run_has_no_prior_to_correct(erm, field, tmp_path, capsys):
    shared = save_pretrained(erm, tmp_path / "shared")
    first, *others = told(capsys, shared, field, out=tmp_path / "out", apply="temperature")["repairs"]
    assert first["verdict"] == "not tried"
    assert "is not there, or has changed" in first["why"]
    assert all("change" in row for row in others)
    assert logits(tmp_path / "out" / "run", field, tmp_path / "e").shape == (144, 6)


def test_a_method_that_evens_the_emotions_starts_from_even(erm, field, tmp_path, capsys):
    manifest = runs.config(erm)["manifest"]
    run = train(manifest, LogitAdjustment(), run=tmp_path / "run", **(SMALL | {"epochs": 1}))
    skewed = changed(
        field, lambda frame: frame.loc[(frame["emotion"] != "fear") | (frame["frame"] == "3")], "skewed.csv"
    )
    table = told(capsys, run, skewed)
    assert "LogitAdjustment is trained to find every emotion as likely as every other" in table["notes"][0]
    n = np.array([table["emotions"][emotion] for emotion in runs.task(run).emotions]) + 1
    expected = np.log(n) - np.log(n).mean()
    assert list(table["repairs"][0]["shift"].values()) == pytest.approx(expected)


def test_a_method_without_a_last_layer_is_measured_and_not_written(erm, field, tmp_path, capsys):
    def boxed(frame):
        return frame.assign(x1=2, y1=2, x2=30, y2=30)

    lab = Path(runs.config(erm)["manifest"])
    run = train(changed(lab, boxed, "boxed.csv"), CLEF(host="plain"), run=tmp_path / "run", **(SMALL | {"epochs": 1}))
    with_boxes = changed(field, boxed, "boxed.csv")
    table = told(capsys, run, with_boxes, out=tmp_path / "out")
    assert table["repairs"][2]["why"] == "the run's method has no linear layer whose output is its logits"
    assert "change" in table["repairs"][1]
    assert not (tmp_path / "out" / "run").exists()
    with pytest.raises(InputError, match="no run can have it, as CLEF has no linear layer"):
        repair(run, with_boxes, out=tmp_path / "other", apply="temperature", **QUICK)
    assert not (tmp_path / "other").exists()


# ------------------------------------------------------------------------------------------- refused


def refused(match, out, *arguments, **options):
    with pytest.raises(InputError, match=match):
        repair(*arguments, out=out, **(QUICK | options))
    assert not out.exists()


def test_what_does_not_fit_is_refused_with_nothing_written(erm, field, tmp_path):
    out = tmp_path / "out"
    contempt = changed(field, lambda frame: frame.assign(emotion=["contempt", *frame["emotion"][1:]]), "contempt.csv")
    refused("row 1: .*contempt", out, erm, contempt)
    one = changed(field, lambda frame: frame.loc[frame["emotion"] == "fear"], "fear.csv")
    refused("shows one emotion, fear", out, erm, one)
    empty = changed(field, lambda frame: frame.iloc[:0], "empty.csv")
    refused("has no rows", out, erm, empty)
    unlabelled = changed(field, lambda frame: frame.drop(columns="emotion"), "unlabelled.csv")
    refused("no column emotion", out, erm, unlabelled)
    several = changed(field, lambda frame: frame.assign(emotion="anger|fear"), "several.csv")
    refused("row 1: 'anger.fear' are several emotions", out, erm, several)
    missing = changed(field, lambda frame: frame.assign(path="nothing.png").iloc[:1], "missing.csv")
    refused("row 1: no image", out, erm, missing)
    refused("has no column 'weather'", out, erm, field, stratum="weather")
    gaps = changed(field, lambda frame: frame.assign(source=["", *frame["source"][1:]]), "gaps.csv")
    refused("row 1: source is empty", out, erm, gaps)
    refused("no such file", out, erm, tmp_path / "nothing.csv")
    refused("is not a run", out, tmp_path, field)
    unfinished = shutil.copytree(erm, tmp_path / "unfinished")
    runs.weights_file(unfinished).unlink()
    refused("its training has not finished", out, unfinished, field)
    refused("--replicates is 5", out, erm, field, replicates=5)
    refused("give one of them", out, erm, field, coverage=0.5, risk=0.1)
    refused("--coverage is 1.5", out, erm, field, coverage=1.5)
    refused("--risk is 1", out, erm, field, risk=1.0)
    refused("--apply is 'magic'", out, erm, field, apply="magic")
    refused(
        "--split, or `all`", out, erm, runs.config(erm)["manifest"] and Path(runs.config(erm)["manifest"]), split="no"
    )
    with pytest.raises(InputError, match="say where with --out"):
        repair(erm, field, apply="dfr", **QUICK)


def test_images_that_the_run_was_trained_on_are_no_field(erm, tmp_path, capsys):
    own = Path(runs.config(erm)["manifest"])
    refused("is an image that .* was trained on .* as with --split test", tmp_path / "out", erm, own)
    assert told(capsys, erm, own, split="test")["images"] > 50


def test_a_run_of_several_emotions_a_row_is_refused(erm, field, tmp_path):
    several = shutil.copytree(erm, tmp_path / "several")
    task = json.loads((several / runs.TASK).read_text())
    (several / runs.TASK).write_text(json.dumps(task | {"multilabel": True}))
    refused("recognises several emotions a row", tmp_path / "out", several, field)


def test_a_folder_is_replaced_only_where_it_is_a_repairs_and_on_demand(erm, field, tmp_path):
    out = tmp_path / "out"
    repair(erm, field, out=out, apply="temperature", **QUICK)
    with pytest.raises(InputError, match="exists already"):
        repair(erm, field, out=out, **QUICK)
    with pytest.raises(InputError, match=r"holds .*run, which is repaired"):
        repair(out / "run", field, out=out, overwrite=True, **QUICK)
    repair(erm, field, out=out, overwrite=True, apply="prior", **QUICK)
    assert json.loads((out / "repair.json").read_text())["applied"] == "prior"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(InputError, match="is not the folder of a repair"):
        repair(erm, field, out=tmp_path / "mine", overwrite=True, **QUICK)
    assert (tmp_path / "mine" / "letter.txt").is_file()


# -------------------------------------------------------------------------------------------- the page


def test_the_commands_of_the_page_run_in_their_order(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    lines = [line for kind, block in blocks if not kind for line in block.replace("\\\n", "").splitlines()]
    assert {line.split()[1] for line in lines} == {"generate", "split", "train", "repair", "evaluate", "predict"}
    small = {
        "generate": ["--subjects", "4", "--size", "32"],
        "train": ["--epochs", "1", "--size", "32"],
        "repair": ["--replicates", "100"],
    }
    for line in lines:
        words = shlex.split(line)[1:]
        assert main(words + small.get(words[0], [])) == 0, line
