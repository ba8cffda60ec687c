"""DANN turns the discriminator's gradient round before the backbone; CORAL draws the strata's features together."""

import math
from dataclasses import replace

import pytest
import torch

from emodo import losses
from emodo.methods import CORAL, DANN
from emodo.methods.alignment import reverse_gradient
from emodo.networks import Backbone, small_body
from emodo.records import Batch, Confounder, Task, Training

TASK = Task(("anger", "joy", "sadness"), Confounder("source", ("a", "b"), (0.5, 0.5)))


def build(method):
    torch.manual_seed(0)
    method.build(TASK, Backbone(small_body(), 128, 0, 32))
    return method.train()


def random_batch(n=12):
    draw = torch.Generator().manual_seed(1)
    return Batch(torch.randn(n, 3, 32, 32, generator=draw), torch.arange(n) % 3, torch.arange(n) % 2, torch.arange(n))


def training(progress):
    batch = random_batch()
    return Training(batch.emotion, batch.stratum, batch.row, lambda: iter([batch]), progress)


def test_the_reversal_is_the_identity_with_a_gradient_turned_round():
    features = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    passed = reverse_gradient(features, 0.3)
    assert torch.equal(passed, features)
    weights = torch.randn(4, 3, dtype=torch.float64)
    (passed * weights).sum().backward()
    torch.testing.assert_close(features.grad, -0.3 * weights)


@pytest.mark.parametrize("gamma", [10.0, 3.0])
def test_the_reversal_grows_with_the_progress_of_the_training(gamma):
    method = DANN(gamma=gamma)
    for progress in (0.0, 0.25, 0.9):
        method.begin(0, 1, training(progress))
        assert method.reversal == pytest.approx(2 / (1 + math.exp(-gamma * progress)) - 1)


def gradients(method, progress):
    """The gradient of each parameter from one batch."""
    method.begin(0, 0, training(progress))
    [(_, terms)] = method.losses(random_batch())
    method.zero_grad()
    torch.stack(list(terms.values())).sum().backward()
    return {name: p.grad.clone() for name, p in method.named_parameters()}


def test_the_discriminator_descends_and_the_backbone_ascends():
    method = build(DANN(hidden=16, lambda_stratum=0.7)).eval()  # BatchNorm stays as it is
    batch = random_batch()
    features = method.features(batch.images)
    backbone, discriminator = list(method.backbone.parameters()), list(method.discriminator.parameters())
    emotion = losses.recognition(method.classifier(features), batch.emotion)
    stratum = 0.7 * losses.recognition(method.discriminator(features), batch.stratum)
    toward_emotion = torch.autograd.grad(emotion, backbone, retain_graph=True)
    toward_stratum = torch.autograd.grad(stratum, backbone, retain_graph=True)
    own = torch.autograd.grad(stratum, discriminator)

    found = gradients(method, 0.2)
    strength = 2 / (1 + math.exp(-2)) - 1
    for name, expected in zip(dict(method.discriminator.named_parameters()), own, strict=True):
        torch.testing.assert_close(found[f"discriminator.{name}"], expected)
    for i, name in enumerate(dict(method.backbone.named_parameters())):
        torch.testing.assert_close(found[f"backbone.{name}"], toward_emotion[i] - strength * toward_stratum[i])


def test_the_strata_that_dann_recognises_are_predicted():
    method = build(DANN(hidden=16)).eval()
    batch = random_batch()
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.confounder_logits, method.discriminator(method.features(batch.images)))


def test_coral_draws_strata_together_that_differ_in_brightness():
    batch = random_batch(24)
    batch = replace(batch, images=batch.images + 2.0 * batch.stratum[:, None, None, None])
    distances = []
    for weight in (1.0, 0.0):
        method = build(CORAL(lambda_coral=weight))
        optimizer = torch.optim.Adam([{**group, "lr": 1e-3} for group in method.phases()["classifier"]])
        for _ in range(40):
            [(_, terms)] = method.losses(batch)
            optimizer.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            optimizer.step()
        features = method.features(batch.images).detach()
        distances.append(losses.coral(features / features.std(), batch.stratum, 2).item())
    assert distances[0] < 0.5 * distances[1]


def test_coral_adds_its_distance_to_the_recognition_loss():
    method = build(CORAL(lambda_coral=0.3, match_means=False)).eval()
    batch = random_batch()
    features = method.features(batch.images)
    [(phase, terms)] = method.losses(batch)
    assert phase == "classifier"
    torch.testing.assert_close(terms["classifier"], losses.recognition(method(batch), batch.emotion))
    torch.testing.assert_close(terms["coral"], 0.3 * losses.coral(features, batch.stratum, 2, match_means=False))


def test_coral_is_precise_in_mixed_precision():
    method = build(CORAL()).eval()
    with torch.autocast("cpu", torch.bfloat16):
        [(_, terms)] = method.losses(random_batch())
    assert terms["coral"].dtype == torch.float32
