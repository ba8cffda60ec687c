"""A run given to others is whole, tells of no paths and people, says what it must not be used for, and comes back."""

import json
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

import emodo
from conftest import SMALL
from emodo import confounders, exchange, runs
from emodo.__main__ import main
from emodo.evaluation import evaluate
from emodo.exchange import load, save_pretrained
from emodo.methods import CCIM, ERM, IERN
from emodo.networks import create_backbone
from emodo.records import Confounder, InputError, Task
from emodo.training import train

ONCE = SMALL | {"epochs": 1}


@pytest.fixture(scope="module")
def run(faces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "iern"
    return train(faces, IERN(channels=16, init="default"), run=folder, **ONCE)


@pytest.fixture(scope="module")
def shared(run, tmp_path_factory):
    return save_pretrained(run, tmp_path_factory.mktemp("shared") / "my-iern", license="cc-by-nc-4.0")


@pytest.fixture
def copy(shared, tmp_path):
    return shutil.copytree(shared, tmp_path / "copy")


def card(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def test_the_folder_holds_what_the_hub_expects_and_no_more(run, shared):
    assert sorted(file.name for file in shared.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    ours, theirs = load_file(run / runs.WEIGHTS), load_file(shared / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    said = json.loads((shared / "config.json").read_text())
    assert said["architectures"] == ["IERN"]
    assert said["scores"] == runs.scores(run)


def test_nothing_tells_where_it_was_made_or_of_whom(run, shared, faces):
    texts = card(shared) + (shared / "config.json").read_text()
    for private in (str(faces.parent), str(run.parent), "/tmp", "001_1", *pd.read_csv(faces)["path"][:3]):
        assert private not in texts


def test_it_predicts_what_the_run_does(run, shared, faces):
    model = emodo.load(shared)
    np.testing.assert_array_equal(model.predict_proba(faces), load(run).predict_proba(faces))
    assert model.scores_ == runs.scores(run)
    assert runs.task(shared) == runs.task(run)
    assert runs.provenance(shared) == runs.provenance(run)
    assert all(file.is_file() for folder in (run, shared) for file in runs.deciding_files(folder))


def test_it_is_read_where_a_run_is(run, copy, faces, tmp_path):
    table = pd.read_parquet(evaluate(copy, faces, out=tmp_path / "out", accelerator="cpu") / runs.PREDICTIONS)
    pd.testing.assert_frame_equal(table, runs.predictions(run), check_exact=False, atol=1e-6)
    with pytest.raises(InputError, match=r"copy was not trained here and has no manifest of its own: name one"):
        evaluate(copy)
    with pytest.raises(InputError, match=r"copy is a shared model without predictions\.parquet: the run that it was"):
        runs.predictions(copy)
    assert (
        card(save_pretrained(copy, tmp_path / "again")).count("The manifest that it was trained on is not known") == 1
    )


def test_a_dictionary_of_contexts_goes_with_it(tmp_path):
    prototypes = torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    task = Task(("fear", "joy"), Confounder("scene", tuple("abc"), (0.5, 0.3, 0.2), prototypes, "three scenes"))
    method = CCIM(host="plain", d_m=8, d_n=4)
    method.build(task, create_backbone("small", 32))
    named = {"class_path": "emodo.methods.CCIM", "init_args": method.hyperparameters()}
    settings = {"manifest": "/home/anna/secret.csv", "confounder": "/home/anna/z.safetensors", "method": named}
    settings |= {"backbone": "small", "size": 32, "max_pixels": 1000, "pretrained": "/home/anna/w.pth"}
    runs.create(tmp_path / "run", settings, task, {"emodo": "0.1.0"}, method=method)
    shared = save_pretrained(tmp_path / "run", tmp_path / "shared")
    assert "anna" not in (shared / "config.json").read_text()
    assert "It was not tested where this card was written." in card(shared)
    assert torch.equal(confounders.load(shared / runs.CONFOUNDER).prototypes, prototypes)
    image = np.zeros((20, 20, 3), np.uint8)
    np.testing.assert_array_equal(load(shared).predict_proba([image]), load(tmp_path / "run").predict_proba([image]))


# ------------------------------------------------------------------------------------------- the card


def test_the_card_says_what_it_must_not_be_used_for(shared):
    said = " ".join(card(shared).split())
    for needed in (
        "An expression is not a feeling",
        "Consent",
        "Regulation (EU) 2024/1689",
        "at work and in education",
        "Article 5(1)(f)",
        "Annex III",
        "Article 50(3)",
        "Not for",
    ):
        assert needed in said, needed


def test_the_card_reports_the_run(run, shared):
    said, scores = card(shared), runs.scores(run)
    assert f"Accuracy {100 * scores['accuracy']:.1f} % on 36 test images" in said
    assert "Images: 72 train, 36 test." in said
    assert "`source`, 3 strata: blue, dim, gray." in said
    for emotion, found in scores["emotions"].items():
        assert f"| {emotion} | {found['n']} | {100 * found['accuracy']:.1f} % |" in said
    for stratum, found in scores["strata"].items():
        assert f"| {stratum} | {found['n']} | {100 * found['accuracy']:.1f} % |" in said
    # fold 1 of Table 1 tests every emotion where training never showed it
    assert re.search(r"never showed 6 of the combinations .*\n36 test images of these the accuracy is", said)
    worst = scores["worst_cell"]
    first = said.partition("Where it is worst:")[2].strip().splitlines()[2]
    assert first.endswith(f"| {worst['n']} | {100 * worst['accuracy']:.1f} % |")
    assert "\n\n\n" not in said


def test_the_hub_reads_the_cards_metadata(run, shared):
    data = ModelCard(card(shared)).data
    assert (data.library_name, data.pipeline_tag, data.license) == ("emodo", "image-classification", "cc-by-nc-4.0")
    (result,) = data.eval_results
    assert (result.dataset_name, result.metric_type) == ("fold1", "accuracy")
    assert result.metric_value == pytest.approx(runs.scores(run)["accuracy"], abs=1e-4)


def test_names_cannot_break_the_card():
    assert exchange._text("a|b <script>\n# `x`") == r"a\|b \<script\> \# \`x\`"


def test_of_several_emotions_it_reports_average_precision(faces, tmp_path):
    run = train(faces, ERM(), run=tmp_path / "run", multilabel=True, **ONCE)
    said, scores = card(save_pretrained(run, tmp_path / "shared")), runs.scores(run)
    assert f"Mean average precision {100 * scores['mean_average_precision']:.1f} % on 36" in said
    assert f"| fear | 6 | {100 * scores['emotions']['fear']['average_precision']:.1f} % |" in said
    assert f"| dim | 12 | {100 * scores['strata']['dim']['mean_average_precision']:.1f} % |" in said
    assert "An image may show several of them." in said


# --------------------------------------------------------------------------------------- what is refused


def test_what_exists_is_replaced_only_when_it_is_ours(run, copy, tmp_path):
    with pytest.raises(InputError, match=r"copy exists already: choose another folder, or replace it with --overwrite"):
        save_pretrained(run, copy)
    (copy / "stray.txt").touch()
    assert save_pretrained(run, copy, overwrite=True) == copy
    assert not (copy / "stray.txt").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match=r"mine is no shared model, so it is not overwritten"):
        save_pretrained(run, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "config.json").is_file()


def test_an_unfinished_run_is_not_shared(run, tmp_path):
    half = shutil.copytree(run, tmp_path / "half")
    (half / runs.WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"half has no weights\.safetensors: its training has not finished"):
        save_pretrained(half, tmp_path / "shared")
    with pytest.raises(InputError, match=r"nothing is not a run"):
        save_pretrained(tmp_path / "nothing", tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said.pop("task"), r"config\.json is damaged: it holds no table of values under 'task'"),
        (lambda said: said["config"].pop("backbone"), r"copy.config\.json is damaged: it lacks backbone"),
        (lambda said: said["config"].update(size="large"), r"copy.config\.json is damaged: size is 'large'"),
        (lambda said: said["config"]["method"].update(class_path="os.system"), r"no method of emodo is called"),
        (lambda said: said["task"].update(emotions=["joy"]), r"does not hold the weights of this run"),
        (lambda said: said.pop("emodo"), r"copy is not a run: it has no config\.yaml"),
    ],
)
def test_a_damaged_folder_is_refused(copy, change, message):
    said = json.loads((copy / "config.json").read_text())
    change(said)
    (copy / "config.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=message):
        load(copy)


def test_without_its_weights_it_is_refused(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"copy is a shared model without model\.safetensors"):
        load(copy)


# ------------------------------------------------------------------------------------------------ the hub


def test_the_network_is_asked_only_on_demand(shared, monkeypatch, faces):
    asked = []

    def snapshot(name, revision, local_files_only, allow_patterns):
        asked.append((name, revision, local_files_only))
        assert all(pattern.endswith((".json", ".safetensors", ".md")) for pattern in allow_patterns)
        if local_files_only:
            raise FileNotFoundError("not in the cache")
        return str(shared)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(InputError, match=r"no folder lab/iern, and huggingface_hub has no model .* download=True"):
        load("lab/iern")
    assert load("lab/iern", revision="v1", download=True).score(faces) == load(shared).score(faces)
    assert asked == [("lab/iern", None, True), ("lab/iern", "v1", False)]
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: [][0])
    with pytest.raises(InputError, match=r"could not be fetched \(IndexError: list index out of range\)"):
        load("lab/iern", download=True)
    for wrong in ("no folder", "a/b/c", "/absent"):
        with pytest.raises(InputError, match=r"there is no folder .*, and it is no NAME/MODEL"):
            load(wrong)


def test_a_cached_model_is_found_without_a_network(shared, tmp_path, monkeypatch):
    """In the cache's own layout: models--NAME--MODEL/{refs/main, snapshots/COMMIT}."""
    cache, commit = tmp_path / "cache", "a" * 40
    place = cache / "models--lab--iern"
    shutil.copytree(shared, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    assert list(load("lab/iern").classes_) == list(runs.task(shared).emotions)


def test_the_command(run, tmp_path, capsys):
    assert main(["save-pretrained", str(run), str(tmp_path / "out"), "--license", "mit"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"
    assert "Licence of the weights: mit." in card(tmp_path / "out")
    assert main(["save-pretrained", str(run), str(tmp_path / "out")]) == 2


def test_the_public_names_import_nothing_before_they_are_used():
    import subprocess

    light = (
        "import sys, emodo; sys.exit(any(n in sys.modules for n in ('torch', 'sklearn', 'huggingface_hub', 'onnx')))"
    )
    assert subprocess.run([sys.executable, "-c", light], check=False).returncode == 0
