"""Backbones, the parts of Table 5, and that the fast ways give what the plain ones give."""

import copy
import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from emodo.methods import IERN
from emodo.networks import (
    Backbone,
    ProjectedBackbone,
    Reconstruction,
    ResidualBlock,
    StratumBlock,
    StratumNorm,
    channels_last,
    convolved_mean,
    create_backbone,
    discriminator,
    fold_batchnorm,
    frozen,
    generator,
    initialise,
    small_body,
)
from emodo.records import Confounder, InputError, Task

# ------------------------------------------------------------------------------------------ Table 5

SIX = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
PAPER = Task(SIX, Confounder("source", ("CK+", "MMI", "Oulu-CASIA"), (1 / 3,) * 3))


def described(module):
    """Layers in the words of Table 5: kind, IC, OC, kernel, stride, padding, bias; or kind and width."""
    layers = []
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            assert part.groups == 1
            assert part.dilation == (1, 1)
            shape = (part.kernel_size, part.stride, part.padding, part.bias is not None)
            layers.append(("conv", part.in_channels, part.out_channels, *shape))
        elif isinstance(part, nn.BatchNorm2d):
            layers.append(("norm", part.num_features))
        elif isinstance(part, StratumNorm):
            layers.append(("norm", len(part.weight)))
        elif isinstance(part, nn.LeakyReLU):
            layers.append(("leaky", part.negative_slope))
        elif isinstance(part, nn.Linear):
            layers.append(("linear", part.in_features, part.out_features, part.bias is not None))
    return layers


def conv(ic, oc, k, s, p, bias):
    return ("conv", ic, oc, (k, k), (s, s), (p, p), bias)


def residual(block):
    layer = [conv(512, 512, 3, 1, 1, False), ("norm", 512)]
    return layer * 2 if block == "released" else layer


@pytest.fixture(scope="module", params=["released", "table5"])
def iern(request):
    """IERN as in the paper, without a single number in memory."""
    with torch.device("meta"):
        method = IERN(block=request.param, head_bias=request.param == "table5", init="default")
        method.build(PAPER, create_backbone("resnet50", 224, pretrained=False))
    return method


def test_the_backbone_is_resnet50_and_a_projection_to_512(iern):
    backbone = iern.backbone.backbone
    assert backbone.grid == (7, 7)
    assert backbone.channels == 2048
    assert described(iern.backbone.projection) == [conv(2048, 512, 1, 1, 0, True)]
    layers = described(backbone)
    assert sum(layer[0] == "conv" for layer in layers) == 53  # 49 of the 50 layers, and 4 shortcuts
    assert layers[0] == conv(3, 64, 7, 2, 3, False)
    assert not any(layer[0] == "linear" for layer in layers)
    images = torch.zeros(2, 3, 224, 224, device="meta")
    assert iern.backbone(images).shape == (2, 512, 7, 7)
    assert sum(p.numel() for p in backbone.parameters()) == 23_508_032  # torchvision's 25,557,032 without its fc


def test_the_generators_are_those_of_table_5(iern):
    expected = [conv(512, 512, 3, 1, 1, True), *residual(iern.block) * 2]
    assert described(iern.emotion_generator) == expected
    assert described(iern.context_generator) == expected
    shared = {id(p) for p in iern.emotion_generator.parameters()} & {id(p) for p in iern.context_generator.parameters()}
    assert not shared


@pytest.mark.parametrize(("name", "classes"), [("emotion_discriminator", 6), ("context_discriminator", 3)])
def test_the_discriminators_are_those_of_table_5(iern, name, classes):
    leaky = ("leaky", 0.01)
    expected = [conv(512, 512, 4, 2, 1, True), leaky, conv(512, 256, 1, 1, 0, True), leaky]
    expected += [conv(256, 128, 1, 1, 0, True), leaky, conv(128, 64, 1, 1, 0, True), leaky]
    expected += [conv(64, classes, 3, 1, 0, iern.head_bias)]
    assert described(getattr(iern, name)) == expected
    assert getattr(iern, name)(torch.zeros(2, 512, 7, 7, device="meta")).shape == (2, classes)


def test_reconstruction_classifier_and_centers_are_those_of_table_5(iern):
    expected = [conv(1024, 512, 3, 1, 1, True), *residual(iern.block) * 3]
    assert described(iern.reconstruction) == expected
    assert described(iern.classifier) == [("linear", 512, 6, True)]
    assert iern.centers.shape == (3, 512, 7, 7)
    features = torch.zeros(2, 512, 7, 7, device="meta")
    assert iern.reconstruction(features, features).shape == (2, 512, 7, 7)


@pytest.mark.parametrize("grid", [(2, 2), (3, 3), (4, 4), (5, 3), (7, 7), (8, 14)])
def test_discriminators_fit_any_grid_from_2x2(grid):
    logits = discriminator(16, 5, grid, head_bias=False)(torch.randn(3, 16, *grid))
    assert logits.shape == (3, 5)


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (4, 1)])
def test_a_grid_too_small_for_the_discriminators_is_refused(grid):
    with pytest.raises(InputError, match=f"feature map of {grid[0]}x{grid[1]} is too small"):
        discriminator(16, 5, grid, head_bias=False)


@pytest.mark.parametrize("block", ["released", "table5"])
@pytest.mark.parametrize("kind", [ResidualBlock, StratumBlock])
def test_a_residual_block_adds_its_layers_to_its_input(block, kind):
    torch.manual_seed(0)
    part = kind(8, block) if kind is ResidualBlock else kind(8, 2, block, "pooled")
    part.double().train()
    x = torch.randn(4, 8, 3, 3, dtype=torch.float64)

    def norm(y):
        mean, var = y.mean(dim=(0, 2, 3), keepdim=True), y.var(dim=(0, 2, 3), unbiased=False, keepdim=True)
        return (y - mean) / (var + 1e-5).sqrt()

    hidden = norm(F.conv2d(x, part.conv1.weight, padding=1)).relu()
    if block == "released":
        hidden = norm(F.conv2d(hidden, part.conv2.weight, padding=1))
    torch.testing.assert_close(part(x), x + hidden)


# ------------------------------------------------------------------------------- all strata at once


def moved(reconstruction, seed):
    """Weights and running statistics that are not those of initialisation, and differ between strata."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in reconstruction.modules():
            if isinstance(part, StratumNorm):
                part.weight.add_(0.5 * torch.randn(part.weight.shape, generator=draw))
                part.bias.add_(torch.randn(part.bias.shape, generator=draw))
                part.running_mean.add_(torch.randn(part.running_mean.shape, generator=draw))
                part.running_var.add_(torch.rand(part.running_var.shape, generator=draw))
    return reconstruction


class OnePass(nn.Module):
    """g_r as Table 5 prints it, with torch's own BatchNorm; the weights are those of `reconstruction`."""

    def __init__(self, reconstruction, stratum):
        super().__init__()
        self.merge = reconstruction.merge
        self.blocks = nn.ModuleList(copy.deepcopy(block) for block in reconstruction.blocks)
        for block in self.blocks:
            for name in ("norm1", "norm2"):
                ours = getattr(block, name)
                if ours is None:
                    continue
                row = 0 if ours.pooled else stratum
                norm = nn.BatchNorm2d(len(ours.weight), dtype=ours.weight.dtype)
                norm.weight, norm.bias = ours.weight, ours.bias
                norm.running_mean.copy_(ours.running_mean[row])
                norm.running_var.copy_(ours.running_var[row])
                setattr(block, name, norm)

    def forward(self, emotion, center):
        x = self.merge(torch.cat([emotion, center.expand(len(emotion), -1, -1, -1)], dim=1))
        for block in self.blocks:
            x = block(x)
        return x.mean(dim=(2, 3))


@pytest.mark.parametrize("grid", [(2, 2), (4, 4), (5, 3)])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("statistics", ["stratum", "pooled"])
@pytest.mark.parametrize("block", ["released", "table5"])
def test_intervene_equals_a_plain_pass_for_each_stratum(block, statistics, training, grid):
    torch.manual_seed(0)
    part = moved(Reconstruction(6, 3, block, statistics).double(), 1).train(training)
    emotion = torch.randn(5, 6, *grid, dtype=torch.float64)
    centers = torch.randn(3, 6, *grid, dtype=torch.float64)
    plain = [OnePass(part, i).train(training)(emotion, centers[i]) for i in range(3)]
    found = part.intervene(emotion, centers)
    assert found.shape == (3, 5, 6)
    torch.testing.assert_close(found, torch.stack(plain), rtol=1e-9, atol=1e-9)
    assert (found[0] - found[1]).abs().max() > 1e-2  # the strata do differ


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_intervene_has_the_gradients_of_the_plain_passes(training):
    torch.manual_seed(0)
    part = moved(Reconstruction(6, 3, "released", "stratum").double(), 1).train(training)
    emotion = torch.randn(4, 6, 3, 3, dtype=torch.float64, requires_grad=True)
    centers = torch.randn(3, 6, 3, 3, dtype=torch.float64)
    weight = torch.randn(3, 4, 6, dtype=torch.float64)
    inputs = [emotion, part.merge.weight, part.merge.bias]
    plain = torch.stack([OnePass(part, i).train(training)(emotion, centers[i]) for i in range(3)])
    expected = torch.autograd.grad((plain * weight).sum(), inputs)
    found = torch.autograd.grad((part.intervene(emotion, centers) * weight).sum(), inputs)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (2, 2), (5, 3), (7, 7)])
def test_convolved_mean_is_the_mean_of_the_convolution(grid):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, *grid, dtype=torch.float64)
    weight = torch.randn(5, 4, 3, 3, dtype=torch.float64)
    plain = F.conv2d(x.flatten(0, 1), weight, padding=1).mean(dim=(2, 3)).unflatten(0, (2, 3))
    torch.testing.assert_close(convolved_mean(x, weight), plain, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------- running statistics


def passes(seed=0):
    """Three strata, [3, 4, 2, 2, 3], each with a mean and a spread of its own."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 4, 2, 2, 3, generator=draw, dtype=torch.float64)
    return x * torch.tensor([1.0, 2.0, 5.0]).view(3, 1, 1, 1, 1) + torch.tensor([0.0, 4.0, -7.0]).view(3, 1, 1, 1, 1)


def moments(one):
    """Mean and unbiased variance of a channel by hand, over 4 x 2 x 3 = 24 numbers."""
    values = [one[:, c].flatten().tolist() for c in range(2)]
    means = [sum(v) / 24 for v in values]
    return means, [sum((x - m) ** 2 for x in v) / 23 for v, m in zip(values, means, strict=True)]


def test_running_statistics_by_stratum_see_their_own_pass_only():
    norm = StratumNorm(2, 3, "stratum").double().train()
    x = passes()
    norm.strata(x)
    assert norm.running_mean.shape == (3, 2)
    for i in range(3):
        mean, var = moments(x[i])
        assert norm.running_mean[i].tolist() == pytest.approx([0.1 * m for m in mean])
        assert norm.running_var[i].tolist() == pytest.approx([0.9 + 0.1 * v for v in var])


def test_pooled_running_statistics_are_one_average_over_the_passes_in_order():
    norm = StratumNorm(2, 3, "pooled").double().train()
    x = passes()
    norm.strata(x)
    assert norm.running_mean.shape == (1, 2)
    mean, var = [0.0, 0.0], [1.0, 1.0]
    for one in x:
        of_pass = moments(one)
        mean = [0.9 * old + 0.1 * new for old, new in zip(mean, of_pass[0], strict=True)]
        var = [0.9 * old + 0.1 * new for old, new in zip(var, of_pass[1], strict=True)]
    assert norm.running_mean[0].tolist() == pytest.approx(mean)
    assert norm.running_var[0].tolist() == pytest.approx(var)


@pytest.mark.parametrize("statistics", ["stratum", "pooled"])
def test_the_reconstruction_pass_counts_in_the_pooled_statistics_only(statistics):
    norm = StratumNorm(2, 3, statistics).double().train()
    x = passes()[1]
    found = norm(x)
    assert found.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-9)
    changed = (norm.running_mean != 0).any().item()
    assert changed == (statistics == "pooled")


@pytest.mark.parametrize("statistics", ["stratum", "pooled"])
def test_evaluation_uses_and_leaves_the_running_statistics(statistics):
    norm = StratumNorm(2, 3, statistics).double().train()
    norm.strata(passes())
    before = norm.running_mean.clone(), norm.running_var.clone()
    x = passes(seed=1)
    found = norm.eval().strata(x)
    for i in range(3):
        row = 0 if statistics == "pooled" else i
        mean, var = before[0][row].view(1, 2, 1, 1), before[1][row].view(1, 2, 1, 1)
        torch.testing.assert_close(found[i], (x[i] - mean) / (var + 1e-5).sqrt())
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.running_var, before[1])


# --------------------------------------------------------------------------- frozen, initialise, fold


def test_frozen_weights_pass_gradients_and_receive_none():
    first, second = nn.Linear(3, 3), nn.Linear(3, 1)
    x = torch.randn(2, 3)
    with frozen(second):
        assert not any(p.requires_grad for p in second.parameters())
        loss = second(first(x)).sum()
    assert all(p.requires_grad for p in second.parameters())
    loss.backward()
    assert first.weight.grad is not None
    assert second.weight.grad is None


def test_frozen_restores_what_was_trainable_and_only_that_also_on_an_exception():
    module = nn.Linear(3, 3)
    module.bias.requires_grad_(False)

    def fail():
        with frozen(module, nn.Linear(1, 1)):
            assert not module.weight.requires_grad
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert module.weight.requires_grad
    assert not module.bias.requires_grad


def test_initialise_draws_as_the_released_code_does():
    torch.manual_seed(0)
    parts = [nn.Conv2d(64, 64, 3), nn.BatchNorm2d(4096), StratumNorm(4096, 3, "stratum"), nn.Linear(64, 512)]
    module = nn.Sequential(*parts)
    initialise(module, "normal")
    for part, mean in zip(parts, (0, 1, 1, 0), strict=True):
        assert part.weight.mean().item() == pytest.approx(mean, abs=2e-3)
        assert part.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not part.bias.any()


def test_initialise_leaves_the_default_and_biasless_layers_alone():
    module = nn.Sequential(nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4))
    before = copy.deepcopy(module.state_dict())
    initialise(module, "default")
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    initialise(module, "normal")
    assert not torch.equal(module[0].weight, before["0.weight"])


def test_iern_initialises_everything_but_the_pretrained_backbone():
    torch.manual_seed(0)
    body = small_body()
    before = copy.deepcopy(body.state_dict())
    method = IERN(channels=64)
    method.build(PAPER, Backbone(body, 128, 0, 64))
    assert all(torch.equal(value, before[name]) for name, value in body.state_dict().items())
    for part in (method.backbone.projection, method.emotion_generator[0], method.reconstruction.merge):
        assert part.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not part.bias.any()
    assert method.centers.std().item() == pytest.approx(1, rel=0.05)  # C ~ N(0, 1)


def trained_norms(module, seed=0):
    """A module whose BatchNorm does something, as after training."""
    draw = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.copy_(0.3 * torch.randn(part.running_mean.shape, generator=draw))
            part.running_var.copy_(0.5 + torch.rand(part.running_var.shape, generator=draw))
            nn.init.uniform_(part.weight, 0.5, 1.5, generator=draw)
            nn.init.uniform_(part.bias, -0.5, 0.5, generator=draw)
    return module


@pytest.mark.parametrize("name", ["resnet18", "small"])
def test_folded_batchnorm_leaves_the_features_equal(name):
    torch.manual_seed(0)
    backbone = trained_norms(create_backbone(name, 64, pretrained=False)).eval()
    images = torch.randn(2, 3, 64, 64)
    folded = fold_batchnorm(backbone.body)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    assert any(isinstance(part, nn.BatchNorm2d) for part in backbone.modules())  # a copy was folded
    with torch.no_grad():
        features = backbone.body(images)
        assert features.abs().max() > 1e-2
        torch.testing.assert_close(folded(images), features, rtol=0, atol=1e-4 * features.abs().max().item())


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.norm(self.conv(x))
        return x if x.sum() > 0 else -x  # a branch on data


def test_a_module_that_cannot_be_traced_is_returned_as_it_is():
    module = Untraceable().eval()
    before = copy.deepcopy(module.state_dict())
    assert fold_batchnorm(module) is module
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


# ----------------------------------------------------------------------------------------- backbones


@pytest.mark.parametrize(
    ("name", "size", "channels", "grid"),
    [
        ("small", 64, 128, (4, 4)),
        ("resnet18", 64, 512, (2, 2)),
        ("vit_tiny_patch16_224", 64, 192, (4, 4)),  # tokens [B, 1 + 16, C]
        ("swin_tiny_patch4_window7_224", 64, 768, (2, 2)),  # channels last [B, h, w, C]
        ("test_vit4", 64, None, None),  # register tokens
    ],
)
def test_every_kind_of_backbone_gives_feature_maps(name, size, channels, grid):
    torch.manual_seed(0)
    backbone = create_backbone(name, size, pretrained=False)
    features = backbone.eval()(torch.randn(2, 3, size, size))
    assert features.shape == (2, channels or backbone.channels, *(grid or backbone.grid))
    assert backbone.grid == features.shape[2:]
    assert backbone.channels == features.shape[1]


def test_tokens_become_the_grid_they_were_cut_from():
    class Tokens(nn.Module):
        """Two tokens of its own, then each patch's number, row by row."""

        def forward(self, images):
            patches = torch.arange(16.0).view(1, 16, 1).expand(len(images), 16, 3)
            return torch.cat([torch.full((len(images), 2, 3), -1.0), patches], dim=1)

    features = Backbone(Tokens(), 3, 2, 64)(torch.zeros(2, 3, 64, 64))
    assert features[1, 2].tolist() == torch.arange(16.0).view(4, 4).tolist()


def test_channels_last_features_are_turned():
    class Last(nn.Module):
        def forward(self, images):
            return torch.arange(2.0 * 3 * 5).view(1, 2, 3, 5).expand(len(images), 2, 3, 5)

    backbone = Backbone(Last(), 5, 0, 8)
    assert backbone.grid == (2, 3)
    features = backbone(torch.zeros(4, 3, 8, 8))
    assert features.shape == (4, 5, 2, 3)
    assert features[0, :, 1, 2].tolist() == [25, 26, 27, 28, 29]


def test_asking_for_the_grid_leaves_mode_and_statistics_of_the_body():
    body = small_body().train()
    backbone = Backbone(body, 128, 0, 32)
    assert backbone.training
    assert body[1].num_batches_tracked.item() == 0
    assert not Backbone(small_body().eval(), 128, 0, 32).training


def test_a_projected_backbone_is_a_1x1_convolution_of_its_backbone():
    backbone = create_backbone("small", 32)
    projected = ProjectedBackbone(backbone, 7).eval()
    images = torch.randn(2, 3, 32, 32)
    weight, bias = projected.projection.weight[:, :, 0, 0], projected.projection.bias
    expected = torch.einsum("bchw,oc->bohw", backbone(images), weight) + bias.view(1, -1, 1, 1)
    torch.testing.assert_close(projected(images), expected)


def test_generators_keep_the_shape():
    for block in ("released", "table5"):
        assert generator(8, block)(torch.randn(2, 8, 5, 3)).shape == (2, 8, 5, 3)


def test_an_unknown_backbone_is_refused_with_near_names():
    with pytest.raises(InputError, match=r"no backbone is called 'resnet5o'.*such as .*resnet"):
        create_backbone("resnet5o", 64, pretrained=False)
    with pytest.raises(InputError, match=r"no backbone is called 'zzz': take `small` or a timm model$"):
        create_backbone("zzz", 64, pretrained=False)


def test_the_small_backbone_has_no_pretrained_weights():
    with pytest.raises(InputError, match="`small` has no pretrained weights"):
        create_backbone("small", 32, pretrained=True)


def unreachable(*arguments, pretrained, **options):
    if pretrained:
        raise OSError("We couldn't connect to 'https://huggingface.co'")
    raise AssertionError("weights were not asked for")


@pytest.mark.parametrize("pretrained", [True, None])
def test_without_a_network_the_message_says_what_to_do(monkeypatch, pretrained):
    monkeypatch.setattr("timm.create_model", unreachable)
    with pytest.raises(InputError, match=r"weights of resnet50 could not be downloaded.*--pretrained false"):
        create_backbone("resnet50", 64, pretrained=pretrained)


@pytest.mark.parametrize(
    ("pretrained", "exist", "asked"), [(None, True, True), (None, False, False), (False, True, False)]
)
def test_weights_are_asked_for_by_default_where_there_are_any(monkeypatch, pretrained, exist, asked):
    import timm

    seen = []
    create = timm.create_model

    def spy(*arguments, pretrained, **options):
        seen.append(pretrained)
        return create(*arguments, pretrained=False, **options)

    monkeypatch.setattr("timm.create_model", spy)
    monkeypatch.setattr("timm.is_model_pretrained", lambda name: exist)
    create_backbone("test_byobnet", 64, pretrained)
    assert set(seen) == {asked}


# --------------------------------------------------------------------------------- pretrained files


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(7)
    return {name: value.clone() for name, value in small_body().state_dict().items()}


def written(file, state):
    save_file(state, file) if file.suffix == ".safetensors" else torch.save(state, file)
    return file


def with_classifier(state):
    return state | {"fc.weight": torch.zeros(1000, 128)}


SHAPES_OF_FILES = {
    "plain": lambda state: state,
    "DataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "with a classifier": with_classifier,
}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("kind", SHAPES_OF_FILES)
def test_pretrained_weights_are_read_from_a_file(tmp_path, state, suffix, kind):
    file = written(tmp_path / f"weights{suffix}", SHAPES_OF_FILES[kind](state))
    backbone = create_backbone("small", 32, pretrained=file)
    for name, value in backbone.body.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_a_checkpoint_holding_a_state_dict_is_read(tmp_path, state):
    file = written(tmp_path / "checkpoint.pth", {"state_dict": state, "epoch": 90})
    backbone = create_backbone("small", 32, pretrained=file)
    assert torch.equal(backbone.body.state_dict()["0.weight"], state["0.weight"])


def test_pretrained_weights_of_a_timm_model_are_read_from_a_file(tmp_path):
    import timm

    torch.manual_seed(3)
    theirs = timm.create_model("test_byobnet", pretrained=False).state_dict()  # with its classifier
    file = written(tmp_path / "weights.safetensors", {name: value.contiguous() for name, value in theirs.items()})
    ours = create_backbone("test_byobnet", 64, pretrained=file).body.model.state_dict()
    assert ours
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def smaller(state):
    return state | {"3.weight": torch.zeros(1, 1, 3, 3)}


def lacking(state):
    return {name: value for name, value in state.items() if name != "3.weight"}


@pytest.mark.parametrize("spoil", [smaller, lacking])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_another_net_are_refused(tmp_path, state, spoil, suffix):
    file = written(tmp_path / f"weights{suffix}", spoil(state))
    with pytest.raises(InputError, match=r"does not fit the backbone: 1 of 24 tensors .* the first is 3\.weight"):
        create_backbone("small", 32, pretrained=file)


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def test_a_pickle_that_would_run_code_is_refused_unrun(tmp_path):
    mark = tmp_path / "was-here"
    torch.save({"0.weight": Evil(str(mark))}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"a \.pth file of plain tensors, which alone is unpickled"):
        create_backbone("small", 32, pretrained=tmp_path / "weights.pth")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.safetensors", b""), ("text.safetensors", b"no weights" * 50), ("text.pth", b"no weights" * 50)],
)
def test_a_file_without_weights_is_refused(tmp_path, name, content):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputError, match="weights"):
        create_backbone("small", 32, pretrained=file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*none\.pth"):
        create_backbone("small", 32, pretrained=tmp_path / "none.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_truncated_file_is_refused(tmp_path, state, suffix):
    file = written(tmp_path / f"weights{suffix}", state)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(InputError, match=f"weights{suffix} holds no readable weights"):
        create_backbone("small", 32, pretrained=file)


DAMAGED = {
    "empty": b"",
    "bytes": b"\x01\x02",
    "tensor": torch.zeros(3),
    "list": [torch.zeros(2)],
    "none": None,
    "number for a name": {0: 1},
    "list for a state dict": {"state_dict": [1]},
    "number for a tensor": {**small_body().state_dict(), "0.weight": 3},
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_weights_are_refused_in_one_sentence(tmp_path, content):
    file = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(InputError, match=r"weights\.pth (holds no|does not fit)"):
        create_backbone("small", 32, pretrained=file)


def test_a_backbone_without_a_feature_map_of_this_size_is_refused():
    with pytest.raises(
        InputError, match=r"gives no feature map for images of 8 pixels \(.*\): choose another --size or"
    ):
        create_backbone("vit_tiny_patch16_224", 8, pretrained=False)


@pytest.mark.parametrize(
    ("name", "given"), [("coat_tiny", "a list"), ("coat_lite_tiny", r"\[1, 5, 320\]")], ids=["list", "class token"]
)
def test_a_backbone_without_any_feature_map_is_refused(name, given):
    message = rf"gives no feature map of \d+ channels and no square of tokens, but {given} for an image: choose another"
    with pytest.raises(InputError, match=message):
        create_backbone(name, 64, pretrained=False)


def test_a_feature_map_of_other_channels_is_refused():
    with pytest.raises(InputError, match=r"no feature map of 5 channels .* but \[1, 128, 2, 2\] for an image"):
        Backbone(small_body(), 5, 0, 32)


def test_channels_last_leaves_other_ranks_as_they_are():
    module = nn.Conv2d(3, 4, 3)
    module.register_buffer("mask", torch.zeros(1, 2, 3, 4, 5))
    weight = module.weight.detach().clone()
    channels_last(module)
    assert module.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(module.weight, weight)
    assert module.mask.is_contiguous()


# ---------------------------------------------------------------------------------------- early stages


@pytest.mark.parametrize(
    ("name", "sides"), [("small", (16, 8)), ("resnet18", (8, 4)), ("convnext_atto", (8, 4)), ("vgg11_bn", (8, 4))]
)
def test_early_stages_are_feature_maps_of_an_eighth_of_the_side_or_more(name, sides):
    backbone = create_backbone(name, 32, pretrained=False)
    seen = []
    for stage in backbone.early_stages():
        stage.register_forward_hook(lambda *given: seen.append(given[-1].shape))
    with torch.no_grad():
        backbone(torch.zeros(2, 3, 32, 32))
    assert [tuple(shape[2:]) for shape in seen] == [(side, side) for side in sides]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_a_backbone_without_early_stages_of_the_usual_form_says_so(name):
    with pytest.raises(InputError, match="no feature maps at a quarter and an eighth"):
        create_backbone(name, 224, pretrained=False).early_stages()
