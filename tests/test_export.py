"""A run as one file: its answers are the run's, all strata included, or nothing is written."""

import hashlib
import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import emodo
from conftest import SMALL
from emodo import export as exporting
from emodo import runs
from emodo.__main__ import main
from emodo.data import read_image
from emodo.export import KEY, Recogniser, export
from emodo.inference import softmax
from emodo.methods import ERM, IERN, CAERNet, EMOTNet, Prediction
from emodo.networks import Backbone, small_body
from emodo.records import InputError, Task
from emodo.training import train
from emodo.transforms import prepare

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

ONCE = SMALL | {"epochs": 1}


@pytest.fixture(scope="module")
def trained(faces, tmp_path_factory):
    run = train(faces, IERN(channels=16, init="default"), run=tmp_path_factory.mktemp("runs") / "iern", **ONCE)
    # three times as large, centers and classifier tell the strata apart, which a short training does not
    state = load_file(run / runs.WEIGHTS)
    save_file({k: v * 3 if k in ("classifier.weight", "centers") else v for k, v in state.items()}, run / runs.WEIGHTS)
    return run


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "iern")


@pytest.fixture(scope="module")
def plain(faces, tmp_path_factory):
    return train(faces, ERM(), run=tmp_path_factory.mktemp("runs") / "erm", **ONCE)


@pytest.fixture
def erm(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / "erm")


@pytest.fixture(scope="module")
def graphs():
    return {}


@pytest.fixture
def traced_once(monkeypatch, graphs):
    """Tracing takes seconds: what was traced of a kind of method is used again, by tests of what follows it."""
    trace = torch.onnx.export

    def once(network, *arguments, **options):
        kind = type(network.method)
        if kind not in graphs:
            graphs[kind] = trace(network, *arguments, **options)
        return graphs[kind]

    monkeypatch.setattr(torch.onnx, "export", once)


def session(file):
    return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])


def pictures(faces, n=10, size=32):
    """The test images as a stranger to emodo reads them: Pillow, RGB, 0 .. 1. They have the run's size already."""
    frame = pd.read_csv(faces).query("split == 'test'").head(n)
    images = [np.asarray(Image.open(faces.parent / path).convert("RGB")) for path in frame["path"]]
    assert images[0].shape == (size, size, 3)
    return frame, (np.stack(images) / 255).astype(np.float32).transpose(0, 3, 1, 2)


def test_all_strata_and_their_average_are_in_the_file(faces, run, traced_once, capsys):
    out = export(run)
    assert out == run / "model.onnx"
    told = re.fullmatch(
        r".*iern: 36 images, largest difference of a probability "
        r"(\S+) at batch 1, (\S+) at batch 3, (\S+) at batch 8\n",
        capsys.readouterr().err,
    )
    assert max(map(float, told.groups())) < 1e-5

    _, images = pictures(faces)
    graph = session(out)
    assert [(i.name, i.shape[1:]) for i in graph.get_inputs()] == [("images", [3, 32, 32])]
    assert [o.name for o in graph.get_outputs()] == ["probabilities", "strata"]
    with torch.no_grad():
        method = runs.load_method(run)
        logits = method._intervene(method.backbone(torch.from_numpy(images) * 2 - 1)).numpy()
    for size in (1, 3, 8, 10):
        do, given = graph.run(None, {"images": images[:size]})
        np.testing.assert_allclose(given, softmax(logits[:size]), atol=1e-5)
        np.testing.assert_allclose(do, softmax(logits[:size].mean(axis=1)), atol=1e-5)
    assert np.ptp(given, axis=1).max() > 0.01  # the strata differ, so their average is one


def test_the_file_answers_as_emodo_train_wrote_it_down(faces, erm, traced_once):
    frame, images = pictures(faces)
    table = runs.predictions(erm).set_index("path").loc[frame["path"]]
    found = session(export(erm)).run(None, {"images": images})
    assert len(found) == 1
    np.testing.assert_allclose(found[0], table[[f"p:{e}" for e in runs.task(erm).emotions]].to_numpy(), atol=1e-5)


def test_the_metadata_says_how_to_feed_it(run, traced_once):
    said = json.loads({p.key: p.value for p in onnx.load(export(run)).metadata_props}[KEY])
    task = runs.task(run)
    assert said["emotions"] == list(task.emotions)
    assert said["strata"] == list(task.strata) == ["blue", "dim", "gray"]
    assert (said["confounder"], said["method"], said["backbone"]) == ("source", "IERN", "small")
    assert (said["size"], said["range"], said["mean"], said["std"]) == (32, [0, 1], [0, 0, 0], [1, 1, 1])
    assert (said["inputs"], said["crop"], said["multilabel"], said["precision"]) == (["images"], True, False, "fp32")
    assert said["weights_sha256"] == hashlib.sha256((run / runs.WEIGHTS).read_bytes()).hexdigest()


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_the_file_tells_nothing_of_where_it_was_made(run, traced_once, format):
    written = export(run, format=format).read_bytes()
    for place in (str(run.parent), str(emodo.__file__).rpartition("/")[0], "site-packages"):
        assert place.encode() not in written


def test_a_program_of_torch_export_answers_the_same(faces, run, traced_once):
    out = export(run, format="torch")
    assert out == run / "model.pt2"
    extra = {KEY: ""}
    program = torch.export.load(io.BytesIO(out.read_bytes()), extra_files=extra).module()
    assert json.loads(extra[KEY])["strata"] == ["blue", "dim", "gray"]
    _, images = pictures(faces)
    expected = session(export(run)).run(None, {"images": images})
    for ours, theirs in zip(program(torch.from_numpy(images)), expected, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, atol=1e-5)


@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.6), ("int8", 0.45)])
def test_smaller_files_say_what_they_cost(faces, run, traced_once, precision, share, capsys):
    full = export(run)
    capsys.readouterr()
    out = export(run, precision=precision)
    assert out == run / f"model-{precision}.onnx"
    assert out.stat().st_size < share * full.stat().st_size
    told = re.search(
        rf"{precision}: accuracy (\S+) -> (\S+) on 36 images, (\d+) of them .* difference of a probability (\S+)\n",
        capsys.readouterr().err,
    )
    frame, images = pictures(faces, 36)
    before, after = (session(file).run(None, {"images": images}) for file in (full, out))
    truth = [runs.task(run).emotions.index(emotion) for emotion in frame["emotion"]]
    accuracies = [(found[0].argmax(axis=1) == truth).mean() for found in (before, after)]
    assert [float(told[1]), float(told[2])] == pytest.approx(accuracies, abs=1e-4)
    assert int(told[3]) == (before[0].argmax(axis=1) != after[0].argmax(axis=1)).sum()
    moved = max(np.abs(a - b).max() for a, b in zip(before, after, strict=True))
    assert float(told[4]) == pytest.approx(moved, rel=0.1)
    assert json.loads({p.key: p.value for p in onnx.load(out).metadata_props}[KEY])["precision"] == precision


@pytest.mark.parametrize(("kind", "second"), [(CAERNet, "context"), (EMOTNet, "whole")])
def test_a_second_view_is_a_second_input(kind, second, faces, tmp_path):
    frame = pd.read_csv(faces, dtype=str)
    frame["path"] = [str(faces.parent / path) for path in frame["path"]]
    frame.assign(x1=8, y1=6, x2=24, y2=28).to_csv(tmp_path / "people.csv", index=False)
    run = train(tmp_path / "people.csv", kind(width=16), run=tmp_path / "run", **ONCE)
    graph = session(export(run))
    assert [i.name for i in graph.get_inputs()] == ["images", second]

    image = read_image(Path(frame.query("split == 'test'")["path"].iloc[0]))
    masked = image.clone()
    masked[:, 6:28, 8:24] = 128
    views = {"images": image[:, 6:28, 8:24], second: masked if second == "context" else image}
    fed = {name: ((prepare(view, 32)[None] + 1) / 2).numpy() for name, view in views.items()}
    expected = runs.predictions(run).loc[0, [f"p:{emotion}" for emotion in runs.task(run).emotions]]
    np.testing.assert_allclose(graph.run(None, fed)[0][0], expected.to_numpy(float), atol=1e-5)


def test_several_emotions_have_a_sigmoid_each():
    task = Task(("joy", "fear"), None, True)
    method = ERM()
    torch.manual_seed(0)
    method.build(task, Backbone(small_body(), 128, 0, 32))
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        (found,) = Recogniser(method, True)(images)
        features = method.backbone(images * 2 - 1).mean(dim=(2, 3))
        torch.testing.assert_close(found, torch.sigmoid(method.classifier(features)))


def test_a_file_that_answers_otherwise_is_not_written(erm, monkeypatch):
    to_onnx = exporting._to_onnx

    def wrong(network, inputs, said):
        with torch.no_grad():
            network.method.classifier.bias[0] += 0.01
        return to_onnx(network, inputs, said)

    monkeypatch.setattr(exporting, "_to_onnx", wrong)
    before = sorted(erm.iterdir())
    with pytest.raises(InputError, match=r"is not exported: the file's probabilities differ .* more than 0\.0001"):
        export(erm)
    assert sorted(erm.iterdir()) == before


def test_what_cannot_be_exported_is_one_message(erm, monkeypatch):
    def data_dependent(self, batch):
        return Prediction(self(batch) * (2 if batch.images.sum().item() > 0 else 1))

    monkeypatch.setattr(ERM, "answer", data_dependent)
    before = sorted(erm.iterdir())
    for format in ("onnx", "torch"):
        with pytest.raises(InputError, match=rf"ERM on small cannot be exported as {format} \(\w+: .*\): nothing is"):
            export(erm, format=format)
    assert sorted(erm.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 7}, r"--rows is 7: it must be 8 or more"),
        ({"format": "torch", "precision": "int8"}, r"--precision int8 is for --format onnx"),
        ({"split": "validation"}, r"fold1\.csv has 0 rows whose split is 'validation', and 8 or more are needed"),
        ({"manifest": "none.csv"}, r"none\.csv"),
    ],
)
def test_impossible_settings_are_refused(run, options, message):
    before = sorted(run.iterdir())
    with pytest.raises(InputError, match=message):
        export(run, **options)
    assert sorted(run.iterdir()) == before


def test_an_existing_file_is_replaced_only_when_asked(run, traced_once):
    (run / "model.onnx").write_text("mine")
    with pytest.raises(InputError, match=r"model\.onnx exists already: choose another OUT, or replace it with --over"):
        export(run)
    assert (run / "model.onnx").read_text() == "mine"
    assert session(export(run, overwrite=True)).get_inputs()


def test_what_is_no_finished_run_is_refused(run, tmp_path):
    with pytest.raises(InputError, match=r"nothing is not a run: it has no config\.yaml"):
        export(tmp_path / "nothing")
    (run / runs.WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"iern has no weights\.safetensors: its training has not finished"):
        export(run)


def test_a_run_without_a_manifest_needs_one(faces, run, traced_once):
    config = run / runs.CONFIG
    config.write_text(re.sub(r"manifest: .*", "manifest: null", config.read_text()))
    with pytest.raises(InputError, match=r"the run names no manifest, .*: add --manifest"):
        export(run)
    assert export(run, manifest=faces).is_file()


def test_without_onnx_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"pip install 'emodo\[onnx\]'"):
        export(run)
    with pytest.raises(InputError, match=r"no fold1"):
        export(run, format="torch", manifest="no fold1.csv")  # which needs none of them


def test_the_command_prints_the_file_and_nothing_else(run, traced_once, capsys):
    assert main(["export", str(run), "--rows", "8"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{run / 'model.onnx'}\n"
    assert said.err.count("\n") == 1
    assert main(["export", str(run)]) == 2
    assert capsys.readouterr().err.startswith("emodo export: ")
