"""Several emotions in a row, from a manifest with boxes over a dictionary of contexts to mean average precision."""

import json

import pandas as pd
import pytest

from emodo import manifest, runs
from emodo.__main__ import main
from emodo.benchmark import benchmark
from emodo.evaluation import evaluate
from emodo.methods import CCIM, CLEF, ERM, IERN, Resampling
from emodo.records import InputError
from emodo.reporting import report
from emodo.strata import strata
from emodo.training import train


@pytest.fixture(scope="module")
def several(faces, tmp_path_factory):
    """The faces with a box in each image, all of some emotion, and every second one of another as well."""
    frame = pd.read_csv(faces, dtype=str)
    also = ["engagement" if at % 2 else "doubt/confusion" if at % 3 else None for at in range(len(frame))]
    frame["emotion"] = [f"{own}|{more}" if more else own for own, more in zip(frame["emotion"], also, strict=True)]
    frame["path"] = [str(faces.parent / path) for path in frame["path"]]
    file = tmp_path_factory.mktemp("several") / "several.csv"
    frame.assign(x1=8, y1=6, x2=24, y2=28).to_csv(file, index=False)
    return file


@pytest.fixture(scope="module")
def erm(several, tmp_path_factory):
    from conftest import SMALL

    return train(several, ERM(loss="discrete"), run=tmp_path_factory.mktemp("runs") / "erm", **SMALL)


def average_precision(held, logits):
    """By hand: of each image that holds the emotion, the share of holders among those ranked no lower; their mean."""
    shares = [held[logits >= logit].mean() for logit in logits[held]]
    return sum(shares) / len(shares)


def mean_average_precision(table, emotions):
    held = {
        emotion: table["emotion"].map(lambda cell, emotion=emotion: emotion in cell.split("|")) for emotion in emotions
    }
    found = [average_precision(held[e], table[f"logit:{e}"]) for e in emotions if held[e].any()]
    return sum(found) / len(found)


def test_ccim_on_emotnet_learns_several_emotions_with_a_dictionary_of_contexts(several, small, tmp_path, capsys):
    out = strata(several, tmp_path / "scenes.csv", by="dictionary", clusters=4, backbone="small", size=32)
    shown = capsys.readouterr().out
    frame = manifest.load(several)
    training = frame[frame["split"] == "train"]
    rows = [line.split() for line in shown.splitlines() if line.startswith("cluster")]
    assert sum(int(line[-2]) for line in rows) == len(training)  # rows, and not emotions
    engaged = training["emotion"].str.contains("engagement").sum()
    assert sum(int(line[1 + 3]) for line in rows) == engaged  # the fourth of eight emotions
    assert "adjusted Rand index with known columns: source" in shown

    method = CCIM(host="emotnet", width=16, loss="bce")
    run = train(out, method, run=tmp_path / "run", confounder=tmp_path / "scenes.safetensors", **small)
    task = runs.task(run)
    assert task.multilabel
    assert len(task.emotions) == 8
    table, scores = runs.predictions(run), runs.scores(run)
    assert scores["mean_average_precision"] == pytest.approx(mean_average_precision(table, task.emotions), rel=1e-12)
    assert set(scores["strata"]) == set(task.strata)
    assert scores["emotions"]["engagement"]["n"] == table["emotion"].str.contains("engagement").sum()

    folder = evaluate(run, split="train", accelerator="cpu")
    table, scores = pd.read_parquet(folder / runs.PREDICTIONS), json.loads((folder / runs.SCORES).read_text())
    assert scores["n"] == len(training)
    assert scores["mean_average_precision"] == pytest.approx(mean_average_precision(table, task.emotions), rel=1e-12)


def test_a_run_of_several_emotions_repeats_from_its_folder_and_resumes_bit_identically(
    erm, several, small, tmp_path, monkeypatch
):
    from emodo import engine

    class Stopped(Exception):
        pass

    def stop(self, epoch, means):
        raise Stopped

    assert runs.config(erm)["multilabel"] is False  # the manifest says it
    assert runs.config(erm)["method"]["init_args"]["loss"] == "discrete"
    with monkeypatch.context() as patched:
        patched.setattr(engine._EveryEpoch, "_say", stop)
        with pytest.raises(Stopped):
            train(several, ERM(loss="discrete"), run=tmp_path / "run", **small)
    train(resume=tmp_path / "run")
    assert (tmp_path / "run" / runs.WEIGHTS).read_bytes() == (erm / runs.WEIGHTS).read_bytes()
    again = evaluate(erm, out=tmp_path / "again", accelerator="cpu")
    pd.testing.assert_frame_equal(pd.read_parquet(again / runs.PREDICTIONS), runs.predictions(erm), atol=1e-6)


def test_the_command_line_names_the_loss(several, tmp_path):
    words = ["train", several, "--method=CAERNet", "--method.loss=discrete_batch", "--method.width=8"]
    words += ["--backbone=small", "--size=32", "--epochs=1", "--accelerator=cpu", f"--run={tmp_path / 'run'}"]
    assert main([str(word) for word in words]) == 0
    assert runs.create_method(runs.config(tmp_path / "run")).loss == "discrete_batch"


def test_one_emotion_a_row_is_learnt_as_several_on_demand(faces, small, tmp_path, capsys):
    run = train(faces, ERM(), run=tmp_path / "run", multilabel=True, **small | {"epochs": 1})
    assert runs.task(run).multilabel
    p = runs.predictions(run)[[f"p:{emotion}" for emotion in runs.task(run).emotions]].sum(axis=1)
    assert abs(p - 1).max() > 0.1
    with pytest.raises(InputError, match=r"the loss 'bce' is for several emotions a row.* add --multilabel true"):
        train(faces, ERM(loss="bce"), run=tmp_path / "bad", **small)
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize(
    "method", [CLEF(), Resampling(), IERN(channels=16, init="default")], ids=lambda method: method._get_name()
)
def test_a_method_of_one_emotion_a_row_refuses_before_anything_is_written(method, several, small, tmp_path):
    with pytest.raises(InputError, match=r"takes one emotion a row.*: use CAERNet, CCIM, EMOTNet or ERM"):
        train(several, method, run=tmp_path / "runs" / "bad", **small)
    assert not (tmp_path / "runs").exists()


def test_a_run_of_one_emotion_a_row_refuses_rows_of_several(several, faces, small, tmp_path):
    run = train(faces, ERM(), run=tmp_path / "run", **small | {"epochs": 1})
    own = pd.read_csv(several, dtype=str)
    own["emotion"] = own["emotion"].str.replace("engagement", "joy").str.replace("doubt/confusion", "joy")
    known = own["emotion"].str.replace("joy", "fear").where(~own["emotion"].str.startswith("fear"), "fear")
    own.assign(emotion=known).to_csv(tmp_path / "field.csv", index=False)
    for verb in (
        lambda: evaluate(run, tmp_path / "field.csv", accelerator="cpu"),
        lambda: strata(tmp_path / "field.csv", tmp_path / "out.csv", by="errors", run=run, accelerator="cpu"),
    ):
        with pytest.raises(
            InputError, match=r"field\.csv, row \d+: '.*\|.*' are several emotions, and .*run recognises"
        ):
            verb()


def test_a_grid_of_accuracies_refuses_several_emotions_a_row(several, faces, tmp_path):
    settings = {"backbone": "small", "size": 32, "epochs": 1, "accelerator": "cpu"}
    with pytest.raises(InputError, match=r"several\.csv, row \d+: .* several emotions, and a grid compares accuracies"):
        benchmark([several], methods=["ERM"], out=tmp_path / "grid", settings=settings)
    with pytest.raises(InputError, match="ERM: multilabel is not a setting of a grid's cells: leave it out"):
        benchmark([faces], methods=["ERM"], out=tmp_path / "grid", settings=settings | {"multilabel": True})
    assert not (tmp_path / "grid").exists()


def test_runs_of_several_emotions_are_reported(erm, tmp_path):
    page = report([erm], tmp_path / "report.html").read_text(encoding="utf-8")
    mean = runs.scores(erm)["mean_average_precision"]
    assert f"erm has a mean average precision of {100 * mean:.1f}\N{NO-BREAK SPACE}%." in page
    assert len(page) > 10_000
    assert page.count("data:image/jpeg;base64,") > 20  # faces of each emotion in each source


def test_a_reference_of_several_emotions_makes_no_strata_of_errors(erm, several, tmp_path):
    with pytest.raises(InputError, match=r"a reference that is right or wrong, and .*erm recognises several emotions"):
        strata(several, tmp_path / "out.csv", by="errors", run=erm, accelerator="cpu")
    assert not (tmp_path / "out.csv").exists()
