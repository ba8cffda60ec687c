"""The predictions table holds what the method says, column by column, whatever the batches were."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from emodo import metrics
from emodo.data import read_image
from emodo.inference import device_of, predict, sigmoid, softmax
from emodo.methods import ERM, IERN, Disentanglement
from emodo.networks import create_backbone
from emodo.records import Batch, Confounder, InputError, Task
from emodo.transforms import prepare
from untrained import untrained

STRATA = ("lab", "night", "web")
TASK = Task(("anger", "fear", "joy", "sadness"), Confounder("source", STRATA, (1 / 3,) * 3))
METHODS = {
    "ERM": ERM,
    "Disentanglement": lambda: Disentanglement(channels=16, init="default"),
    "IERN": lambda: IERN(channels=16, init="default"),
    "IERN pooled": lambda: IERN(channels=16, init="default", batchnorm="pooled", block="table5"),
}


def built(name, task=TASK):
    return untrained(METHODS[name](), task)


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    """Seven rows of a manifest, 20, 21 ... of it; the sources of three are not known to the task, or missing."""
    folder = tmp_path_factory.mktemp("images")
    draw = np.random.default_rng(0)
    names = [f"{i}.png" for i in range(7)]
    for name in names:  # a colour and a direction of its own
        waves = np.sin(np.add.outer(np.arange(32) * draw.uniform(0, 2), np.arange(32) * draw.uniform(0, 2)))
        image = draw.uniform(0, 200, 3) + 50 * waves[:, :, None]
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / name)
    return pd.DataFrame(
        {
            "path": names,
            "emotion": ["joy", "anger", "fear", "joy", "sadness", "joy", "anger"],
            "source": ["lab", "web", None, "night", "street", None, "web"],
            "subject": list("aabbccd"),
            "age": [20, 30, 40, 50, 60, 70, 80],
            "split": "test",
            "file": [str(folder / name) for name in names],
        },
        index=range(20, 27),
    )


@pytest.fixture(params=sorted(METHODS))
def name(request):
    return request.param


def said(method, frame):
    """What the method itself says of the images."""
    images = torch.stack([prepare(read_image(Path(file)), 32) for file in frame["file"]])
    unknown = torch.full((len(frame),), -1)
    with torch.no_grad():
        return method.predict(Batch(images, unknown, unknown, unknown))


def test_the_columns_are_those_that_metrics_documents(name, frame):
    table = predict(built(name), TASK, frame, 32, accelerator="cpu")
    columns = ["path", "emotion", "source", "subject", "split", "stratum", "predicted"]
    columns += [f"logit:{emotion}" for emotion in TASK.emotions] + [f"p:{emotion}" for emotion in TASK.emotions]
    if "IERN" in name:
        columns += [f"p:{emotion}|{stratum}" for stratum in STRATA for emotion in TASK.emotions]
    if name != "ERM":
        columns += ["stratum_predicted"]
    assert list(table.columns) == columns
    assert set(metrics.REQUIRED) <= set(columns)
    assert list(table.index) == list(range(7))
    carried = ["path", "emotion", "source", "subject", "split"]
    pd.testing.assert_frame_equal(table[carried], frame[carried].reset_index(drop=True))


def test_the_logits_are_those_of_the_method(name, frame):
    method = built(name)
    expected = said(method, frame)
    table = predict(method, TASK, frame, 32, accelerator="cpu")
    logits = table[[f"logit:{emotion}" for emotion in TASK.emotions]].to_numpy()
    np.testing.assert_allclose(logits, expected.logits.numpy(), atol=1e-5)
    assert np.ptp(logits, axis=0).min() > 1e-3  # the images do differ
    best = expected.logits.argmax(dim=1)
    assert table["predicted"].tolist() == [TASK.emotions[i] for i in best]
    if expected.confounder_logits is not None:
        assert table["stratum_predicted"].tolist() == [STRATA[i] for i in expected.confounder_logits.argmax(dim=1)]


def test_probabilities_are_the_softmax_of_the_logits(name, frame):
    table = predict(built(name), TASK, frame, 32, accelerator="cpu")
    p = table[[f"p:{emotion}" for emotion in TASK.emotions]].to_numpy()
    powers = np.exp(table[[f"logit:{emotion}" for emotion in TASK.emotions]].to_numpy().astype(float))
    np.testing.assert_allclose(p, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert (np.array(TASK.emotions)[p.argmax(axis=1)] == table["predicted"]).all()


@pytest.mark.parametrize("name", ["IERN", "IERN pooled"])
def test_equation_9_averages_the_logits_of_the_strata(name, frame):
    method = built(name)
    strata_logits = said(method, frame).strata_logits.numpy().astype(float)  # [7, K, E]
    table = predict(method, TASK, frame, 32, accelerator="cpu")
    logits = table[[f"logit:{emotion}" for emotion in TASK.emotions]].to_numpy()
    np.testing.assert_allclose(logits, strata_logits.sum(axis=1) / 3, atol=1e-5)
    for j, stratum in enumerate(STRATA):
        powers = np.exp(strata_logits[:, j])
        given = table[[f"p:{emotion}|{stratum}" for emotion in TASK.emotions]].to_numpy()
        np.testing.assert_allclose(given, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)
    # logits are averaged, not probabilities
    of_probabilities = sum(table[[f"p:{e}|{s}" for e in TASK.emotions]].to_numpy() for s in STRATA) / 3
    p = table[[f"p:{emotion}" for emotion in TASK.emotions]].to_numpy()
    assert np.abs(p - of_probabilities).max() > 1e-5


def stepped(method, images):
    """The method after one step of every phase."""
    for part in method.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None  # the step's statistics at once
    optimizers = {name: torch.optim.Adam(groups) for name, groups in method.phases().items()}
    batch = Batch(images, torch.arange(len(images)) % 4, torch.arange(len(images)) % 3, torch.arange(len(images)))
    for name, terms in method.train().losses(batch):
        optimizers[name].zero_grad()
        sum(terms.values()).backward()
        optimizers[name].step()
    return method.eval()


@pytest.mark.parametrize(
    "backbone",
    [
        "swin_tiny_patch4_window7_224",  # channels last, shifted windows
        "test_vit4",  # tokens, registers among them
        "test_vit_relpos",
        "test_coatnet",  # convolutions, then attention
        "test_maxvit",
        "test_convnext",
        "test_mambaout",
        "test_efficientnet",
        "resnet18",
    ],
)
def test_backbones_of_every_kind_train_and_predict_equation_9(backbone, frame):
    torch.manual_seed(0)
    method = IERN(channels=16, init="default", batchnorm="pooled")
    method.build(TASK, create_backbone(backbone, 64, pretrained=False))
    images = torch.stack([prepare(read_image(Path(file)), 64) for file in frame["file"]])
    before = [p.clone() for p in method.backbone.parameters()]
    stepped(method, images)
    assert any(not torch.equal(a, b) for a, b in zip(before, method.backbone.parameters(), strict=True))
    with torch.no_grad():  # every stratum by itself, with nothing folded
        emotion = method.emotion_generator(method.backbone(images))
        rebuilt = [method.reconstruction(emotion, center.expand_as(emotion)) for center in method.centers]
        expected = torch.stack([method.classifier(features.mean(dim=(2, 3))) for features in rebuilt], dim=1).numpy()
    table = predict(method, TASK, frame, 64, batch_size=3, accelerator="cpu")
    logits = table[[f"logit:{emotion}" for emotion in TASK.emotions]].to_numpy()
    np.testing.assert_allclose(logits, expected.astype(float).mean(axis=1), atol=1e-5)
    given = table[[f"p:{emotion}|{stratum}" for stratum in STRATA for emotion in TASK.emotions]].to_numpy()
    np.testing.assert_allclose(given.reshape(7, 3, 4), softmax(expected), atol=1e-5)
    assert np.ptp(logits, axis=0).min() > 1e-4  # the images do differ


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 0), (7, 0), (3, 1)])
def test_batches_and_workers_change_nothing(frame, batch_size, workers):
    whole = predict(built("IERN"), TASK, frame, 32, accelerator="cpu")
    parts = predict(built("IERN"), TASK, frame, 32, batch_size, workers, "cpu")
    pd.testing.assert_frame_equal(parts, whole, check_exact=False, atol=1e-5)


def test_predicting_twice_gives_the_same(frame):
    method = built("IERN")
    first = predict(method, TASK, frame, 32, accelerator="cpu")
    pd.testing.assert_frame_equal(predict(method, TASK, frame, 32, accelerator="cpu"), first)


def test_the_stratum_is_the_confounders_column_missing_where_unknown(frame):
    table = predict(built("ERM"), TASK, frame, 32, accelerator="cpu")
    assert table["stratum"].dropna().tolist() == ["lab", "web", "night", "street", "web"]
    assert table["stratum"].isna().tolist() == [False, False, True, False, False, True, False]


def test_numbers_may_name_strata(frame):
    task = Task(TASK.emotions, Confounder("age", ("20", "30", "40"), (1 / 3,) * 3))
    table = predict(built("IERN", task), task, frame, 32, accelerator="cpu")
    assert table["stratum"].tolist() == ["20", "30", "40", "50", "60", "70", "80"]
    assert "p:joy|30" in table
    assert metrics.score(table, task)["strata"]["80"]["n"] == 1


def test_without_a_confounder_every_stratum_is_missing(frame):
    task = Task(TASK.emotions)
    table = predict(built("ERM", task), task, frame, 32, accelerator="cpu")
    assert table["stratum"].isna().all()
    assert metrics.score(table, task)["worst_cell"] is None


def test_the_table_can_be_scored_and_stored(name, frame, tmp_path):
    table = predict(built(name), TASK, frame, 32, accelerator="cpu")
    scores = metrics.score(table, TASK)
    assert scores["n"] == 7
    assert (scores["confounder"] is None) == (name == "ERM")
    table.to_parquet(tmp_path / "predictions.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "predictions.parquet"), table)


def test_optional_columns_are_carried_where_they_are(frame):
    table = predict(built("ERM"), TASK, frame.drop(columns=["subject", "split"]), 32, accelerator="cpu")
    assert not {"subject", "split", "sequence", "file", "age"} & set(table)


def test_a_broken_image_is_an_error_with_its_row(frame, tmp_path):
    broken = frame.copy()
    broken.loc[24, "file"] = str(tmp_path / "none.png")
    for workers in (0, 1):
        with pytest.raises(InputError, match=r"^row 25: .*none\.png does not exist$"):
            predict(built("ERM"), TASK, broken, 32, 2, workers, "cpu")


def test_the_limit_of_pixels_holds(frame):
    with pytest.raises(InputError, match=r"row 21: .* claims 32 x 32 pixels, more than the limit of 1000"):
        predict(built("ERM"), TASK, frame, 32, accelerator="cpu", max_pixels=1000)


@pytest.mark.parametrize(
    ("accelerator", "there", "device"),
    [("cpu", True, "cpu"), ("gpu", True, "cuda"), ("auto", True, "cuda"), ("auto", False, "cpu")],
)
def test_the_device_is_the_one_that_is_named(monkeypatch, accelerator, there, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert device_of(accelerator).type == device


def test_softmax_holds_for_any_size_of_logits():
    logits = np.array([[[1e4, 0.0, -1e4], [1.0, 1.0, 1.0]], [[-1e4, -1e4, -1e4], [0.0, np.log(2), np.log(5)]]])
    expected = [[[1, 0, 0], [1 / 3] * 3], [[1 / 3] * 3, [1 / 8, 2 / 8, 5 / 8]]]
    np.testing.assert_allclose(softmax(logits), expected)


def test_of_several_emotions_each_has_a_probability_of_its_own(frame, tmp_path):
    task = Task(TASK.emotions, TASK.confounder, multilabel=True)
    several = frame.assign(emotion=["fear|joy", "anger", "fear", "anger|fear|joy", "sadness", "joy", "anger"])
    method = built("ERM", task)
    method.classifier.bias.data -= said(method, several).logits.median(dim=0).values
    method.classifier.bias.data[2] = -50  # nothing is joyful
    logits = said(method, several).logits.numpy().astype(float)
    table = predict(method, task, several, 32, accelerator="cpu")
    assert table["emotion"].tolist() == several["emotion"].tolist()
    p = table[[f"p:{emotion}" for emotion in TASK.emotions]].to_numpy()
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-logits)), atol=1e-5)
    for row, predicted in zip(p, table["predicted"], strict=True):
        shown = [emotion for emotion, value in zip(TASK.emotions, row, strict=True) if value > 0.5]
        assert predicted == "|".join(shown)
    counts = [len(predicted.split("|")) for predicted in table["predicted"] if predicted]
    assert max(counts) > 1
    assert not any("joy" in predicted for predicted in table["predicted"])
    method.classifier.bias.data[:] = -50
    none = predict(method, task, several, 32, accelerator="cpu")
    assert none["predicted"].tolist() == [""] * 7
    none.to_parquet(tmp_path / "predictions.parquet")
    assert metrics.score(pd.read_parquet(tmp_path / "predictions.parquet"), task)["n"] == 7


def test_sigmoid_holds_for_any_size_of_logits():
    logits = np.array([-1e4, -800.0, 0.0, np.log(3), 800.0, 1e4])
    np.testing.assert_allclose(sigmoid(logits), [0, 0, 1 / 2, 3 / 4, 1, 1])
    assert sigmoid(logits.astype(np.float32)).dtype == np.float32


def test_images_from_the_field_need_not_say_where_they_come_from(tmp_path):
    task = Task(("fear", "joy"), Confounder("source", ("a", "b"), (0.5, 0.5)))
    method = IERN(channels=16, init="default")
    method.build(task, create_backbone("small", 32))
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "a.png")
    frame = pd.DataFrame({"path": ["a.png"], "file": [str(tmp_path / "a.png")], "emotion": ["joy"]})
    found = predict(method, task, frame, 32, accelerator="cpu")
    assert found["stratum"].isna().all()
    assert found[["p:fear", "p:joy"]].sum(axis=1).to_numpy() == pytest.approx(1)
