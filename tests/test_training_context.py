"""Training with several views and with a dictionary of contexts, which the run keeps."""

import shutil
from hashlib import sha256

import pandas as pd
import pytest
import torch

from emodo import confounders, runs
from emodo.evaluation import evaluate
from emodo.methods import CCIM, CLEF, ERM, IERN, CAERNet, EMOTNet
from emodo.records import Confounder, InputError
from emodo.training import train


def weights(run):
    return sha256((run / runs.WEIGHTS).read_bytes()).hexdigest()


@pytest.fixture
def people(faces, tmp_path):
    """The faces with a box in each image."""
    frame = pd.read_csv(faces, dtype=str)
    paths = [str(faces.parent / path) for path in frame["path"]]
    frame.assign(path=paths, x1=8, y1=6, x2=24, y2=28).to_csv(tmp_path / "people.csv", index=False)
    return tmp_path / "people.csv"


@pytest.fixture
def scenes(tmp_path):
    prototypes = torch.rand(5, 12, generator=torch.Generator().manual_seed(0))
    scenes = Confounder("scene", tuple("abcde"), (0.4, 0.3, 0.1, 0.1, 0.1), prototypes, "five scenes")
    confounders.save(scenes, tmp_path / "scenes.safetensors")
    return tmp_path / "scenes.safetensors"


@pytest.mark.parametrize("kind", [CAERNet, EMOTNet, CLEF])
def test_methods_of_several_views_train_and_predict(kind, people, small, tmp_path):
    run = train(people, kind(width=16), run=tmp_path / "run", **small | {"epochs": 1})
    out = evaluate(run, accelerator="cpu")
    pd.testing.assert_frame_equal(pd.read_parquet(out / runs.PREDICTIONS), runs.predictions(run), atol=1e-6)


def test_a_run_keeps_its_dictionary(people, scenes, small, tmp_path):
    run = train(people, CCIM(host="caernet", width=16), run=tmp_path / "run", confounder=scenes, **small)
    assert runs.config(run)["confounder"] == str(scenes)
    assert runs.provenance(run)["confounder_sha256"] == sha256(scenes.read_bytes()).hexdigest()
    assert (run / runs.CONFOUNDER).read_bytes() == scenes.read_bytes()
    scenes.unlink()
    method = runs.load_method(run)
    assert torch.equal(method.intervention.prototypes, confounders.load(run / runs.CONFOUNDER).prototypes)
    out = evaluate(run, accelerator="cpu")
    pd.testing.assert_frame_equal(pd.read_parquet(out / runs.PREDICTIONS), runs.predictions(run), atol=1e-6)

    other = Confounder("scene", tuple("abcde"), (0.4, 0.3, 0.1, 0.1, 0.1), torch.rand(5, 8))
    confounders.save(other, run / runs.CONFOUNDER)
    with pytest.raises(InputError, match="a dictionary of 5 prototypes of 12 numbers, and this one has 5 of 8"):
        runs.load_method(run)


def test_a_run_with_a_dictionary_resumes_on_the_same_and_on_no_other(people, scenes, small, tmp_path):
    method, before = {"host": "plain", "dictionary": "random"}, scenes.read_bytes()
    whole = train(people, CCIM(**method), run=tmp_path / "whole", confounder=scenes, **small)
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for name in (runs.SCORES, runs.WEIGHTS, runs.CHECKPOINT):
        (run / name).unlink()
    confounders.save(Confounder("scene", tuple("abcde"), (0.2,) * 5, torch.rand(5, 12)), scenes)
    with pytest.raises(InputError, match=r"the confounder file of .*run has changed since this run began"):
        train(resume=run)
    scenes.write_bytes(before)
    train(resume=run)
    assert weights(run) == weights(whole)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (CCIM(host="plain"), {}, r"CCIM needs a dictionary .*`emodo strata"),
        (
            CCIM(host="plain"),
            {"confounder": "none"},
            r"there is no confounder file .*none: make one with `emodo strata`",
        ),
        (ERM(), {"confounder": "scenes.safetensors", "stratum": "source"}, "each name a confounder: give one"),
        (
            IERN(channels=16, init="default"),
            {"confounder": "scenes.safetensors"},
            "has no column 'scene' to hold the confounder",
        ),
        (CCIM(host="gcn"), {"confounder": "scenes.safetensors"}, "no host model is called 'gcn'"),
    ],
    ids=["no dictionary", "no file", "stratum too", "no column", "unknown host"],
)
def test_a_confounder_that_does_not_fit_is_refused(method, options, message, people, scenes, small, tmp_path):
    if "confounder" in options:
        options = options | {"confounder": tmp_path / options["confounder"]}
    with pytest.raises(InputError, match=message):
        train(people, method, run=tmp_path / "runs" / "bad", **small | options)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "method",
    [CCIM(host="caernet"), CCIM(host="emotnet"), CAERNet(), EMOTNet(), CLEF(host="plain")],
    ids=lambda m: m._get_name(),
)
def test_a_method_that_masks_the_person_needs_boxes(method, faces, scenes, small, tmp_path):
    with pytest.raises(InputError, match=f"has no boxes: {type(method).__name__} crops to the person or masks it"):
        train(faces, method, run=tmp_path / "runs" / "bad", confounder=scenes, **small)
    assert not (tmp_path / "runs").exists()
