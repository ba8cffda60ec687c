"""The released checkpoints become a run that predicts what the released test path does, or are refused by name."""

import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn import functional as F

from emodo import runs
from emodo.__main__ import main
from emodo.evaluation import evaluate
from emodo.official import EMOTIONS, NETWORKS, STRATA, import_official
from emodo.records import Batch, InputError
from emodo.training import train

WIDTH, SIDE = 512, 7


# ------------------------------------------- names and shapes as released, and its test path in plain functions


def conv(state, name, width_in, width, kernel, bias=True):
    scale = (width_in * kernel**2) ** -0.5
    state[f"{name}.weight"] = torch.randn(width, width_in, kernel, kernel) * scale
    if bias:
        state[f"{name}.bias"] = torch.randn(width) * 0.1


def norm(state, name, width):
    state[f"{name}.weight"], state[f"{name}.bias"] = torch.rand(width) + 0.5, torch.randn(width) * 0.1
    state[f"{name}.running_mean"], state[f"{name}.running_var"] = torch.randn(width) * 0.1, torch.rand(width) + 0.5
    state[f"{name}.num_batches_tracked"] = torch.tensor(14)


def blocks(name, width_in, count):
    state = {}
    conv(state, f"{name}.0", width_in, WIDTH, 3)
    for i in range(1, count + 1):
        for at in (0, 3):
            conv(state, f"{name}.{i}.conv_block.{at}", WIDTH, WIDTH, 3, bias=False)
            norm(state, f"{name}.{i}.conv_block.{at + 1}", WIDTH)
    return state


def discriminator(classes):
    state = {}
    conv(state, "model.0", WIDTH, WIDTH, 4)
    for i, width in enumerate((512, 256, 128)):
        conv(state, f"model.{2 * i + 2}", width, width // 2, 1)
    conv(state, "model.8", 64, classes, 3, bias=False)
    return state


def base():
    """A ResNet-50 of torchvision without its pooling and classifier, and the 1x1 convolution, as one Sequential.

    Its running statistics are those of some images, as in a trained network: activations neither grow nor vanish.
    """
    layers = list(torchvision.models.resnet50(weights=None).children())[:-2]
    net = nn.Sequential(*layers, nn.Conv2d(2048, WIDTH, 1)).train()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        net(pictures(16, 96))
    return net.state_dict()


def pictures(n, size, seed=0):
    """Images in -1 .. 1 that differ as photographs do, in large shapes and in their colours."""
    coarse = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(coarse, (size, size), mode="bicubic").clamp(-1, 1)


@pytest.fixture(scope="module")
def states():
    torch.manual_seed(0)
    return {
        "Base": base(),
        "EmoGen": blocks("feat_encoder", WIDTH, 2),
        "ConGen": blocks("feat_encoder", WIDTH, 2),
        "Recons": blocks("feat_decoder", 2 * WIDTH, 3),
        "EmoDis": discriminator(6),
        "ConDis": discriminator(3),
        "Cnfnd": {"mem_tensors": torch.randn(3, WIDTH, SIDE, SIDE)},
        "Cls": {"fc.weight": torch.randn(6, WIDTH) * 0.02, "fc.bias": torch.randn(6) * 0.1},
    }


def normed(x, state, name):
    weights = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, *weights, training=False)


def residual(x, state, name):
    y = F.conv2d(x, state[f"{name}.conv_block.0.weight"], padding=1)
    y = F.relu(normed(y, state, f"{name}.conv_block.1"))
    y = F.conv2d(y, state[f"{name}.conv_block.3.weight"], padding=1)
    return x + normed(y, state, f"{name}.conv_block.4")


def encoder(x, state, name, count):
    x = F.conv2d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"], padding=1)
    for i in range(1, count + 1):
        x = residual(x, state, f"{name}.{i}")
    return x


def resnet(x, state):
    x = F.relu(normed(F.conv2d(x, state["0.weight"], stride=2, padding=3), state, "1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for layer, count in ((4, 3), (5, 4), (6, 6), (7, 3)):
        for i in range(count):
            name, stride = f"{layer}.{i}", 2 if i == 0 and layer > 4 else 1
            y = F.relu(normed(F.conv2d(x, state[f"{name}.conv1.weight"]), state, f"{name}.bn1"))
            y = F.conv2d(y, state[f"{name}.conv2.weight"], stride=stride, padding=1)
            y = F.relu(normed(y, state, f"{name}.bn2"))
            y = normed(F.conv2d(y, state[f"{name}.conv3.weight"]), state, f"{name}.bn3")
            if i == 0:
                x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
                x = normed(x, state, f"{name}.downsample.1")
            x = F.relu(x + y)
    return F.conv2d(x, state["8.weight"], state["8.bias"])


def released(images, states):
    """The released test path: [B, 3, 224, 224], normalised -> logits in each stratum, [3, B, 6]."""
    with torch.no_grad():
        emotion = encoder(resnet(images, states["Base"]), states["EmoGen"], "feat_encoder", 2)
        logits = []
        for stratum in range(3):
            context = states["Cnfnd"]["mem_tensors"][stratum].expand(len(images), -1, -1, -1)
            joint = encoder(torch.cat([emotion, context], dim=1), states["Recons"], "feat_decoder", 3)
            pooled = torch.flatten(F.adaptive_avg_pool2d(joint, (1, 1)), 1)
            logits.append(F.linear(pooled, states["Cls"]["fc.weight"], states["Cls"]["fc.bias"]))
        return torch.stack(logits)


def write(folder, states, epoch="160"):
    folder.mkdir(exist_ok=True)
    for net, state in states.items():
        torch.save(state, folder / f"{epoch}_net_{net}.pth")
    return folder


@pytest.fixture(scope="module")
def folder(states, tmp_path_factory):
    return write(tmp_path_factory.mktemp("pretrained_models") / "fold_bias100v1", states)


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return import_official(folder, tmp_path_factory.mktemp("runs") / "official")


@pytest.fixture
def copy(folder, tmp_path):
    """A folder of links, so that one file can be another's without 400 MB being copied."""
    (tmp_path / "copy").mkdir()
    for file in folder.iterdir():
        (tmp_path / "copy" / file.name).symlink_to(file)
    return tmp_path / "copy"


# --------------------------------------------------------------------------------------------- the tests


def predicted(method, images):
    none = torch.empty(0)
    with torch.no_grad():
        return method.predict(Batch(images, none, none, none))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_the_run_predicts_what_the_released_test_path_does(run, states, dtype, tolerance):
    images = pictures(2, 224, seed=1).to(dtype)
    exact = {net: {name: value.to(dtype) for name, value in state.items()} for net, state in states.items()}
    expected = released(images, exact)
    assert (expected[0] - expected[1]).abs().max() > 0.01  # the strata count
    method = runs.load_method(run).to(dtype)
    found = predicted(method, images)
    torch.testing.assert_close(found.strata_logits, expected.transpose(0, 1), atol=tolerance, rtol=0)
    torch.testing.assert_close(found.logits, expected.mean(dim=0), atol=tolerance, rtol=0)
    method.fold()  # as `emodo evaluate` does
    folded, probabilities = predicted(method, images).logits.softmax(dim=1), expected.mean(dim=0).softmax(dim=1)
    torch.testing.assert_close(folded, probabilities, atol=tolerance, rtol=0)


def test_from_image_to_probability_on_aligned_faces(run, states, tmp_path):
    """As released: 256 pixels, their central 224, mean and standard deviation .5; the box cuts out the same."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    faces = [Image.fromarray(face).resize((256, 256), Image.Resampling.BICUBIC) for face in pixels]
    for i, face in enumerate(faces):
        face.save(tmp_path / f"{i}.png")
    rows = {"path": ["0.png", "1.png"], "emotion": ["anger", "fear"], "source": ["MMI", "CK+"]}
    pd.DataFrame(rows).assign(x1=16, y1=16, x2=240, y2=240).to_csv(tmp_path / "faces.csv", index=False)
    table = pd.read_parquet(evaluate(run, tmp_path / "faces.csv", accelerator="cpu") / runs.PREDICTIONS)
    shown = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize([256, 256], torchvision.transforms.InterpolationMode.BICUBIC),
            torchvision.transforms.CenterCrop([224, 224]),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize((0.5,) * 3, (0.5,) * 3),
        ]
    )
    expected = released(torch.stack([shown(face) for face in faces]), states).mean(dim=0).softmax(dim=1)
    found = table[[f"p:{emotion}" for emotion in EMOTIONS]].to_numpy()
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5, rtol=0)
    assert list(table["predicted"]) == [EMOTIONS[i] for i in expected.argmax(dim=1)]


def test_the_run_says_what_it_is_and_has_no_training(run, folder):
    task = runs.task(run)
    assert task.emotions == EMOTIONS == ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
    assert (task.confounder.column, task.strata) == ("source", STRATA)
    assert runs.config(run)["method"]["init_args"]["batchnorm"] == "pooled"
    assert {f"{file.name}_sha256" for file in folder.iterdir()} <= set(runs.provenance(run))
    with pytest.raises(InputError, match=r"was not trained here, and there is nothing to continue"):
        train(resume=run)
    with pytest.raises(InputError, match=r"was not trained here and has no manifest of its own: name one"):
        evaluate(run)


def test_names_of_ones_own_and_no_counters(copy, states, tmp_path):
    def drop(state):
        for name in [name for name in state if name.endswith("num_batches_tracked")]:
            del state[name]

    changed("EmoGen", drop)(copy, states)  # files of PyTorch 0.4 lack them
    mine = list("fedcba")
    run = import_official(copy, tmp_path / "run", emotions=mine, strata=["x", "y", "z"], column="site")
    task = runs.task(run)
    assert (task.emotions, task.strata, task.confounder.column) == (tuple(mine), ("x", "y", "z"), "site")
    assert (run / runs.WEIGHTS).is_file()


def test_one_epoch_of_several_is_named(copy, tmp_path):
    (copy / "latest_net_Cls.pth").symlink_to((copy / "160_net_Cls.pth").resolve())
    with pytest.raises(InputError, match=r"holds the epochs 160, latest: choose one with --epoch"):
        import_official(copy, tmp_path / "run")
    with pytest.raises(InputError, match=r"lacks latest_net_Base\.pth, latest_net_EmoGen\.pth, .*: download all 8"):
        import_official(copy, tmp_path / "run", epoch="latest")
    with pytest.raises(InputError, match=r"holds no epoch '80': it has 160, latest"):
        import_official(copy, tmp_path / "run", epoch="80")
    assert not (tmp_path / "run").exists()


def changed(net, change):
    def apply(copy, states):
        state = dict(states[net])
        change(state)
        (copy / f"160_net_{net}.pth").unlink()
        torch.save(state, copy / f"160_net_{net}.pth")

    return apply


def with_width(name, width):
    return lambda state: state.update({name: torch.zeros(width, *state[name].shape[1:])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda copy, _: (copy / "160_net_Recons.pth").unlink(), r"copy lacks 160_net_Recons\.pth: download all 8"),
        (lambda copy, _: [file.unlink() for file in copy.iterdir()], r"holds no released checkpoint: its files are"),
        (lambda copy, _: shutil.rmtree(copy), r"there is no folder .*copy of released checkpoints"),
        (changed("Cls", with_width("fc.weight", 8)), r"net_Cls\.pth knows 8 emotions, and 6 are named .* --emotions"),
        (changed("Cnfnd", with_width("mem_tensors", 2)), r"Cnfnd\.pth knows 2 strata, and 3 are named .* --strata"),
        (
            changed("EmoDis", with_width("model.8.weight", 7)),
            r"EmoDis\.pth .*: model\.8\.weight is 7 x 64 x 3 x 3 there",
        ),
        (
            changed("EmoGen", lambda s: s.pop("feat_encoder.0.bias")),
            r"EmoGen\.pth .*: it lacks feat_encoder\.0\.bias, 512",
        ),
        (
            changed("Base", lambda s: s.update({"9.weight": torch.zeros(2)})),
            r"Base\.pth .*: it also holds 9\.weight, 2",
        ),
        (
            changed("Recons", with_width("feat_decoder.1.conv_block.1.running_mean", 1)),
            r"running_mean is 1 there, and 512",
        ),
    ],
)
def test_what_is_not_the_release_is_named(copy, states, tmp_path, change, message):
    change(copy, states)
    with pytest.raises(InputError, match=message):
        import_official(copy, tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def test_nothing_in_a_file_is_run(copy, tmp_path):
    (copy / "160_net_ConDis.pth").unlink()
    torch.save({"model.0.weight": Evil(str(tmp_path / "ran"))}, copy / "160_net_ConDis.pth")
    with pytest.raises(InputError, match=r"ConDis\.pth holds no readable weights"):
        import_official(copy, tmp_path / "run")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "run").exists()


def test_the_command_and_an_existing_run(copy, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "IERN-copy").mkdir(parents=True)
    (tmp_path / "runs" / "IERN-copy" / "mine").touch()
    assert main(["import-official", "copy", "--overwrite"]) == 2
    assert re.search(r"runs/IERN-copy is not a run", capsys.readouterr().err)
    with pytest.raises(InputError, match=r"official exists already: .* --overwrite"):
        import_official(copy, run)
    with pytest.raises(InputError, match=r"--emotions names one of them twice"):
        import_official(copy, tmp_path / "run", emotions=["joy", "joy"])
    assert set(NETWORKS) == {file.name.split("_")[2].removesuffix(".pth") for file in copy.iterdir()}
