"""A trained run on other rows: predicted and scored like its own test rows, or refused with nothing written."""

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from conftest import SMALL
from emodo import metrics, runs
from emodo.evaluation import evaluate
from emodo.methods import IERN
from emodo.records import InputError
from emodo.training import train


@pytest.fixture(scope="module")
def trained(faces, tmp_path_factory):
    settings = SMALL | {"epochs": 1}
    return train(faces, IERN(channels=16, init="default"), run=tmp_path_factory.mktemp("runs") / "iern", **settings)


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "iern")


@pytest.fixture
def changed(faces, tmp_path):
    """Write a copy of the manifest beside the test, changed."""

    def write(change, name="field.csv"):
        frame = pd.read_csv(faces, dtype=str)
        frame["path"] = [str(faces.parent / path) for path in frame["path"]]
        file = tmp_path / name
        change(frame).to_csv(file, index=False)
        return file

    return write


def read(out):
    return pd.read_parquet(out / runs.PREDICTIONS), json.loads((out / runs.SCORES).read_text())


def digests(folder):
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_by_default_it_repeats_the_runs_own_test(run):
    before = digests(run)
    out = evaluate(run, accelerator="cpu")
    assert out == run / "evaluation-fold1-test"
    table, scores = read(out)
    pd.testing.assert_frame_equal(table, runs.predictions(run), check_exact=False, atol=1e-5)
    assert scores == runs.scores(run)
    assert before.items() <= digests(run).items()  # the run itself is as it was


def test_it_scores_what_it_predicts(run):
    table, scores = read(evaluate(run, split="train", accelerator="cpu"))
    assert scores == metrics.score(table, runs.task(run))
    assert set(table["split"]) == {"train"}


@pytest.mark.parametrize(("split", "n"), [("train", 72), ("all", 108), (None, 108)])
def test_a_part_of_the_manifest_may_be_named(run, split, n):
    out = evaluate(run, split=split, accelerator="cpu")
    assert out.name == f"evaluation-fold1-{split or 'all'}"
    assert read(out)[1]["n"] == n


def test_another_manifest_is_predicted(run, faces, changed, tmp_path):
    field = changed(lambda frame: frame[frame["emotion"].isin(["anger", "fear"])].drop(columns="split")[::-1])
    out = evaluate(run, field, out=tmp_path / "out", accelerator="cpu", batch_size=7)
    table, scores = read(out)
    assert out == tmp_path / "out"
    assert table["path"].tolist() == pd.read_csv(field)["path"].tolist()
    assert scores["n"] == 36
    assert scores["emotions"]["surprise"] == {"n": 0, "accuracy": None}
    own = runs.predictions(run)
    own = own.assign(path=[str(faces.parent / path) for path in own["path"]]).set_index("path")
    again = table.set_index("path")
    both = own.index.intersection(again.index)
    assert len(both) == 12
    for column in ("logit:fear", "p:fear|dim"):
        assert again.loc[both, column].to_numpy() == pytest.approx(own.loc[both, column].to_numpy(), abs=1e-5)


def test_strata_that_the_run_has_not_seen_are_scored_by_their_name(run, changed):
    field = changed(lambda frame: frame.assign(source="street"))
    table, scores = read(evaluate(run, field, accelerator="cpu"))
    assert set(table["stratum"]) == {"street"}
    assert scores["strata"]["street"]["n"] == 36
    assert scores["confounder"]["n"] == 36  # always wrong, never left out
    assert scores["confounder"]["accuracy"] == 0


def test_rows_without_a_stratum_are_scored_without_one(run, changed):
    field = changed(lambda frame: frame.assign(source=[None] * 54 + ["gray"] * 54))
    table, scores = read(evaluate(run, field, split="all", accelerator="cpu"))
    assert table["stratum"].isna().sum() == 54
    assert scores["n"] == 108
    assert sum(found["n"] for found in scores["strata"].values()) == 54


def test_an_evaluation_is_replaced_only_when_asked(run, tmp_path):
    out = evaluate(run, split="test", out=tmp_path / "out", accelerator="cpu")
    before = digests(out)
    with pytest.raises(InputError, match=r"out exists already: choose another --out, or replace it with --overwrite"):
        evaluate(run, split="train", out=out, accelerator="cpu")
    assert digests(out) == before
    evaluate(run, split="train", out=out, accelerator="cpu", overwrite=True)
    assert read(out)[1]["n"] == 72


def test_it_leaves_no_temporary_files(run):
    out = evaluate(run, accelerator="cpu")
    assert sorted(digests(out)) == [runs.PREDICTIONS, runs.SCORES]


def truncated(frame, folder):
    bad = folder / "bad.png"
    bad.write_bytes(Path(frame["path"][107]).read_bytes()[:60])
    return frame.assign(path=[*frame["path"][:107], str(bad)])


REFUSED = {
    "no such split": (lambda frame, folder: frame, {"split": "tset"}, "no row whose split is 'tset'"),
    "no validation": (lambda frame, folder: frame, {"split": "validation"}, "no row whose split is 'validation'"),
    "unknown emotion": (
        lambda frame, folder: frame.assign(emotion=["awe", *frame["emotion"][1:]]),
        {},
        r"field\.csv: row 1: unknown emotion 'awe'",
    ),
    "missing image": (
        lambda frame, folder: frame.assign(path=["none.png", *frame["path"][1:]]),
        {},
        r"field\.csv: row 1: no image 'none\.png'",
    ),
    "truncated image": (truncated, {"split": "all"}, r"field\.csv, row 108: the image .*bad\.png is truncated"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_and_nothing_is_written(run, changed, tmp_path, case):
    change, options, message = REFUSED[case]
    field = changed(lambda frame: change(frame, tmp_path))
    before = digests(tmp_path)
    with pytest.raises(InputError, match=message):
        evaluate(run, field, out=tmp_path / "out", accelerator="cpu", **options)
    assert digests(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_an_unfinished_run_says_how_to_finish_it(run):
    (run / runs.WEIGHTS).unlink()
    with pytest.raises(InputError, match="its training has not finished; continue it with `emodo train --resume"):
        evaluate(run, accelerator="cpu")
    with pytest.raises(InputError, match="is not a run"):
        evaluate(run.parent, accelerator="cpu")
