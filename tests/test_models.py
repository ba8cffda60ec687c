"""A run, an ONNX file and a callable that are one network answer alike; what does not fit is named."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from conftest import SMALL
from emodo import runs
from emodo.inference import softmax
from emodo.methods import ERM
from emodo.models import Model, Preprocessing, of_onnx, of_run, probabilities
from emodo.records import InputError
from emodo.training import train

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper

from onnxfiles import WEIGHTS, built, expected, saved

EMOTIONS = ("anger", "fear", "joy")


class Tiny(nn.Module):
    """Means of the channels through a linear layer, [B, 3, H, W] -> [B, 3]."""

    def forward(self, images):
        return images.mean(dim=(2, 3)) @ torch.from_numpy(WEIGHTS)


@pytest.fixture
def plain(tmp_path):
    return built(tmp_path / "plain.onnx")


def images(n=5, size=16):
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (n, 3, size, size), np.uint8))


def answers(model, seen=None):
    return model.answers({"images": images() if seen is None else seen})


# ------------------------------------------------------------------------------------- what is answered


def test_a_network_that_pytorch_exports_answers_as_itself(tmp_path):
    file = tmp_path / "exported.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = ({0: torch.export.Dim("batch")},)
        program = torch.onnx.export(
            Tiny(), (torch.rand(2, 3, 16, 16),), dynamic_shapes=free, dynamo=True, verbose=False
        )
    program.save(file)
    found = of_onnx(file, EMOTIONS)
    itself = Model("itself", EMOTIONS, lambda seen: Tiny()(seen / 255), size=16)
    assert answers(found) == pytest.approx(answers(itself), abs=1e-5)
    assert answers(found) == pytest.approx(expected(images() / 255), abs=1e-5)


@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_a_file_answers_for_any_number_of_images(tmp_path, batch):
    model = of_onnx(built(tmp_path / "model.onnx", (batch, 3, 16, 16)), EMOTIONS)
    assert model.size == 16
    for n in (1, 5, 6):
        assert answers(model, images(n)) == pytest.approx(expected(images(n) / 255), abs=1e-5)


def test_images_are_prepared_as_it_was_said(plain):
    given = {"range": "0,255", "mean": "100,110,120", "std": [10, 20, 30], "channels": "BGR"}
    found = answers(of_onnx(plain, EMOTIONS, given))
    mean, std = (torch.tensor(values)[:, None, None] for values in ([100.0, 110, 120], [10.0, 20, 30]))
    assert found == pytest.approx(expected((images().float().flip(1) - mean) / std), abs=1e-4)


def test_channels_may_come_last_or_be_one(tmp_path):
    last = of_onnx(built(tmp_path / "last.onnx", ("batch", 16, 16, 3)), EMOTIONS)
    assert answers(last) == pytest.approx(expected(images() / 255), abs=1e-5)
    gray = of_onnx(built(tmp_path / "gray.onnx", ("batch", 1, 16, 16)), EMOTIONS)
    luma = (images() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)
    assert answers(gray) == pytest.approx(expected(luma / 255), abs=1e-5)


def test_metadata_says_it_and_what_is_given_comes_before(tmp_path):
    said = {"emotions": EMOTIONS, "size": 16, "mean": [0.5] * 3, "std": [0.5] * 3, "crop": False, "version": "9"}
    file = built(tmp_path / "said.onnx", said=said)
    model = of_onnx(file)
    assert (model.emotions, model.size, model.crop) == (EMOTIONS, 16, False)
    assert answers(model) == pytest.approx(expected(images() / 255 * 2 - 1), abs=1e-5)
    model = of_onnx(file, ["joy", "fear", "anger"], {"mean": 0, "std": "1", "crop": "true"})
    assert (model.emotions, model.crop) == (("joy", "fear", "anger"), True)
    assert answers(model) == pytest.approx(expected(images() / 255), abs=1e-5)


def test_views_are_fed_by_their_names(tmp_path):
    shape = ["batch", 3, 16, 16]
    nodes = [
        helper.make_node("Sub", ["images", "context"], ["rest"]),
        helper.make_node("GlobalAveragePool", ["rest"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["probabilities"]),
    ]
    said = {"emotions": EMOTIONS, "inputs": ["images", "context"]}
    inputs = {"images": shape, "context": shape}
    model = of_onnx(saved(tmp_path / "views.onnx", nodes, inputs, {"probabilities": ["batch", 3]}, said))
    assert model.views == ("context",)
    seen = {"images": images(), "context": images().flip(0)}
    both = (images().numpy() / 255).mean(axis=(2, 3))
    assert model.answers(seen) == pytest.approx(both - both[::-1], abs=1e-5)


def test_probabilities_are_kept_and_logits_become_some(plain, tmp_path):
    logits = answers(of_onnx(plain, EMOTIONS))
    p = answers(of_onnx(built(tmp_path / "probable.onnx", probable=True), EMOTIONS))
    assert probabilities(p) == pytest.approx(p, abs=1e-5)
    assert probabilities(logits) == pytest.approx(softmax(logits))
    assert probabilities(logits) == pytest.approx(p, abs=1e-5)
    some = np.array([[0.5, 0.5], [0.7, 0.4]])  # the second row is none
    assert probabilities(some) == pytest.approx(softmax(some))


def test_a_run_answers_with_the_probabilities_of_its_predictions(faces, tmp_path):
    run = train(faces, ERM(), run=tmp_path / "erm", **SMALL | {"epochs": 1})
    table = runs.predictions(run)
    model = of_run(run, "cpu")
    assert (model.name, model.emotions, model.size, model.crop) == (str(run), runs.task(run).emotions, 32, True)
    from emodo.data import read_image

    paths = [faces.parent / path for path in pd.read_csv(faces).query("split == 'test'")["path"][:8]]
    found = probabilities(answers(model, torch.stack([read_image(path) for path in paths])))
    assert found == pytest.approx(table[[f"p:{emotion}" for emotion in model.emotions]].to_numpy()[:8], abs=1e-5)


def test_a_callable_answers_with_a_tensor_or_an_array():
    for function in (lambda seen: seen.float().mean(dim=(2, 3)), lambda seen: seen.numpy().mean(axis=(2, 3))):
        found = answers(Model("mine", EMOTIONS, function, size=16))
        assert found == pytest.approx(images().numpy().mean(axis=(2, 3)), rel=1e-5)


# ---------------------------------------------------------------------------------------- what does not fit


def message(call):
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


def one_input(file, shape, kind=TensorProto.FLOAT):
    return saved(file, [helper.make_node("Identity", ["x"], ["y"])], {"x": shape}, {"y": shape}, kind=kind)


@pytest.mark.parametrize(
    ("shape", "kind", "found"),
    [
        ([2, 48], TensorProto.FLOAT, "its input 'x' is tensor(float) [2, 48]: expected floats, [B, 3, H, W] or"),
        ([2, 5, 16, 16], TensorProto.FLOAT, "its input 'x' is tensor(float) [2, 5, 16, 16]: expected floats"),
        ([1, 3, 16, 16], TensorProto.UINT8, "its input 'x' is tensor(uint8) [1, 3, 16, 16]: expected floats"),
        ([2, 3, 16, 24], TensorProto.FLOAT, "its input 'x' is [2, 3, 16, 24]: expected a square"),
        ([1, 3, 16, 16], TensorProto.FLOAT, "gives 'y' [1, 3, 16, 16]: expected [B, E]"),
    ],
)
def test_what_does_not_fit_is_named_with_its_shape(tmp_path, shape, kind, found):
    assert found in message(lambda: of_onnx(one_input(tmp_path / "x.onnx", shape, kind), EMOTIONS))


def test_two_inputs_that_are_no_views_are_refused(tmp_path):
    shape = [1, 3, 16, 16]
    add = [helper.make_node("Add", ["face", "scene"], ["y"])]
    file = saved(tmp_path / "two.onnx", add, {"face": shape, "scene": shape}, {"y": shape})
    assert "takes 'face' [1, 3, 16, 16], 'scene' [1, 3, 16, 16]: expected one input" in message(
        lambda: of_onnx(file, EMOTIONS)
    )


def test_a_size_is_asked_for_where_there_is_none_and_must_not_contradict(tmp_path, plain):
    free = built(tmp_path / "free.onnx", ("batch", 3, "h", "w"))
    assert "takes images of any size: name the one it was trained on with --onnx size=224" in message(
        lambda: of_onnx(free, EMOTIONS)
    )
    assert answers(of_onnx(free, EMOTIONS, {"size": "16"})) == pytest.approx(expected(images() / 255), abs=1e-5)
    assert "is [batch, 3, 16, 16], 16 pixels wide, and size is 32" in message(
        lambda: of_onnx(plain, EMOTIONS, {"size": 32})
    )


def test_what_the_network_itself_cannot_take_is_told(tmp_path):
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "weights"], ["y"])]
    weights = [helper.make_tensor("weights", TensorProto.FLOAT, [5, 3], [0.0] * 15)]
    file = saved(tmp_path / "x.onnx", nodes, {"x": ["b", 3, "h", "w"]}, {"y": ["b", 3]}, weights=weights)
    model = of_onnx(file, EMOTIONS, {"size": 16})
    assert "cannot take 'x' [5, 3, 16, 16]" in message(lambda: answers(model))


def test_emotions_have_to_be_known_and_as_many_as_outputs(plain):
    assert "name them in their order with --emotions" in message(lambda: of_onnx(plain))
    assert "its output 'scores' is [batch, 3], and 2 emotions are named: name 3" in message(
        lambda: of_onnx(plain, ["joy", "fear"])
    )
    assert "joy, fear, joy: name two or more, each once" in message(lambda: of_onnx(plain, ["joy", "fear", "joy"]))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"colour": "RGB"}, "colour is no setting of an ONNX file: there are size, range, mean, std, channels, crop"),
        ({"size": "big"}, "size is 'big': it must be a number of pixels"),
        ({"size": "[1"}, "size is '\\[1': it must be a number of pixels"),
        ({"mean": "0.5,x"}, "mean is '0.5,x': it must be numbers"),
        ({"std": 0}, "std is 0: it must be numbers, and std not 0"),
        ({"range": "1"}, "range is '1': it must be two numbers"),
        ({"channels": "BRG"}, "channels is 'BRG': it must be RGB, BGR or gray"),
        ({"crop": 1}, "crop is 1: it must be true or false"),
        ({"mean": "1,2"}, "mean has 2 numbers: give one, or one for each of 3 channels"),
        ({"channels": "gray"}, "has 3 channels: channels is RGB or BGR, not gray"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(plain, given, wanted):
    with pytest.raises(InputError, match=wanted):
        of_onnx(plain, EMOTIONS, given)


def test_damaged_files_and_metadata_are_named(tmp_path):
    file = tmp_path / "broken.onnx"
    file.write_bytes(b"\x80\x04K\x01.")
    assert "broken.onnx cannot be read as ONNX" in message(lambda: of_onnx(file, EMOTIONS))
    assert "is missing: no such file" in message(lambda: of_onnx(tmp_path / "none.onnx", EMOTIONS))
    for said, why in (("{", "is damaged"), ("[]", "it holds no table of values"), ('{"multilabel": true}', "several")):
        assert why in message(lambda said=said: of_onnx(built(file, said=said), EMOTIONS))


def test_answers_of_another_shape_or_without_a_number_are_refused():
    short = Model("mine", EMOTIONS, lambda seen: torch.zeros(len(seen), 2), size=16)
    assert "mine answers with [5, 2] for 5 images, and [5, 3] was expected" in message(lambda: answers(short))
    empty = Model("mine", EMOTIONS, lambda seen: torch.full((len(seen), 3), torch.nan), size=16)
    assert "mine answers with numbers that are not finite" in message(lambda: answers(empty))


def test_preprocessing_is_what_its_words_say():
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).repeat(3, 1)[None, :, None]  # [1, 3, 1, 2]
    found = Preprocessing(range=(-1, 1), mean=(0.5,), std=(2.0,))(black_and_white)
    assert found[0, :, 0].tolist() == [[-0.75, 0.25]] * 3
