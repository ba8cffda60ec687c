"""Styles are mixed in training only, between strata, and leave the content where it is."""

import copy

import pytest
import torch

from emodo import styles
from emodo.methods import ERM, MixStyle, StyleAugmentation
from emodo.methods.style import mix_statistics
from emodo.networks import Backbone, create_backbone, small_body
from emodo.records import Batch, Confounder, InputError, Task

TASK = Task(("anger", "joy", "sadness"), Confounder("source", ("a", "b"), (0.5, 0.5)))


def build(method):
    torch.manual_seed(0)
    method.build(TASK, Backbone(small_body(), 128, 0, 32))
    return method.train()


def random_batch(n=6):
    draw = torch.Generator().manual_seed(1)
    images = 2 * torch.rand(n, 3, 32, 32, generator=draw) - 1
    return Batch(images, torch.arange(n) % 3, torch.arange(n) % 2, torch.arange(n))


def loss(method, seed=3):
    torch.manual_seed(seed)
    [(_, terms)] = method.losses(random_batch())
    return terms["classifier"]


# --------------------------------------------------------------------------------------------- MixStyle


def features(seed=0, n=4):
    return torch.randn(n, 5, 6, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_share_of_one_is_the_identity():
    own = features()
    mixed = mix_statistics(own, torch.tensor([1, 2, 3, 0]), torch.ones(4))
    torch.testing.assert_close(mixed, own, rtol=1e-12, atol=1e-12)


def test_a_share_of_zero_takes_the_partners_statistics():
    own, partner = 3 * features() + 1, torch.tensor([1, 2, 3, 0])
    mixed = mix_statistics(own, partner, torch.zeros(4))
    torch.testing.assert_close(mixed.mean(dim=(2, 3)), own.mean(dim=(2, 3))[partner])
    torch.testing.assert_close(mixed.std(dim=(2, 3)), own.std(dim=(2, 3))[partner], rtol=1e-5, atol=0)


def test_mixed_statistics_are_those_of_the_paper():
    own, partner, share = 3 * features() + 1, [1, 0, 0, 2], [0.2, 0.9, 0.5, 0.0]
    mixed = mix_statistics(own, torch.tensor(partner), torch.tensor(share))
    for b, c in [(0, 0), (1, 4), (2, 2), (3, 1)]:
        x, other, lam = own[b, c], own[partner[b], c], share[b]
        sigma, sigma_other = ((y.var().item() + 1e-6) ** 0.5 for y in (x, other))
        gamma = lam * sigma + (1 - lam) * sigma_other
        beta = lam * x.mean() + (1 - lam) * other.mean()
        torch.testing.assert_close(mixed[b, c], gamma * (x - x.mean()) / sigma + beta, rtol=1e-7, atol=1e-7)


def test_statistics_are_constants_to_the_gradient():
    own = features().requires_grad_()
    mix_statistics(own, torch.tensor([1, 0, 3, 2]), torch.full((4,), 0.25)).sum().backward()
    with torch.no_grad():
        sigma = (own.var(dim=(2, 3), keepdim=True) + 1e-6).sqrt()
        slope = (0.25 * sigma + 0.75 * sigma[[1, 0, 3, 2]]) / sigma
    torch.testing.assert_close(own.grad, slope.expand_as(own))


def test_without_mixing_mixstyle_is_erm():
    assert torch.equal(loss(build(MixStyle(probability=0))), loss(build(ERM())))
    assert not torch.equal(loss(build(MixStyle(probability=1))), loss(build(ERM())))


def test_mixing_is_between_strata_where_they_are_known(monkeypatch):
    seen = []

    def partners(stratum):
        seen.append(stratum.tolist())
        return torch.arange(len(stratum))

    monkeypatch.setattr(styles, "partners", partners)
    mixed, plain = loss(build(MixStyle(probability=1))), loss(build(ERM()))
    torch.testing.assert_close(mixed, plain)  # each image its own partner
    assert seen == [[0, 1, 0, 1, 0, 1]] * 2  # after two stages


def test_prediction_mixes_nothing_and_no_hook_is_left():
    method = build(MixStyle(probability=1))
    loss(method)
    assert not any(part._forward_hooks for part in method.modules())
    method.eval()
    batch = random_batch()
    before = method(batch)
    assert torch.equal(method(batch), before)
    folded = copy.deepcopy(method)
    folded.fold()
    torch.testing.assert_close(folded(batch), before, rtol=1e-4, atol=1e-5)


def test_a_failing_step_leaves_no_hook():
    method = build(MixStyle())
    batch = random_batch()
    batch.images = batch.images[:, :2]
    with pytest.raises(RuntimeError):
        next(method.losses(batch))
    assert not any(part._forward_hooks for part in method.modules())


def test_mixing_keeps_precision_and_layout():
    method = build(MixStyle(probability=1)).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(method).isfinite()


def test_a_backbone_without_early_maps_is_refused_before_training():
    with pytest.raises(InputError, match="no feature maps at a quarter"):
        MixStyle().build(TASK, create_backbone("vit_tiny_patch16_224", 32, pretrained=False))


def test_alpha_must_be_positive():
    with pytest.raises(InputError, match="alpha is 0"):
        MixStyle(alpha=0)


# ------------------------------------------------------------------------------------- StyleAugmentation


def test_without_any_change_style_augmentation_is_erm():
    off = StyleAugmentation(colour=0, gray=0, blur=0, noise=0, amplitude=0)
    torch.testing.assert_close(loss(build(off)), loss(build(ERM())))
    assert not torch.isclose(loss(build(StyleAugmentation())), loss(build(ERM())), rtol=1e-4)


def test_it_trains_on_styled_images_of_its_settings(monkeypatch):
    given = {}

    def random_style(images, stratum, *strengths):
        given.update(images=images, stratum=stratum, strengths=strengths)
        return images

    monkeypatch.setattr(styles, "random_style", random_style)
    loss(build(StyleAugmentation(colour=0.1, gray=0.3, blur=1.5, noise=0.4, amplitude=0.5, window=0.6)))
    assert given["strengths"] == (0.1, 0.3, 1.5, 0.4, 0.5, 0.6)
    assert torch.equal(given["images"], random_batch().images)
    assert torch.equal(given["stratum"], random_batch().stratum)


def test_prediction_styles_nothing():
    method = build(StyleAugmentation()).eval()
    assert torch.equal(method(random_batch()), method(random_batch()))
    torch.testing.assert_close(method(random_batch()), build(ERM()).eval()(random_batch()))
