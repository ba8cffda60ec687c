"""Logit adjustment and the intervention on the look of images."""

import math

import pytest
import torch

from emodo import losses, styles
from emodo.methods import ERM, IERN, LogitAdjustment, StyleIntervention
from emodo.methods.adjustment import emotion_log_prior
from emodo.networks import Backbone, small_body
from emodo.records import Batch, Confounder, Task, Training

TASK = Task(("fear", "joy", "sadness"), Confounder("source", ("lab", "web"), (0.5, 0.5)))


def training_rows(stratum, emotion):
    rows = torch.arange(len(stratum))
    return Training(torch.tensor(emotion), torch.tensor(stratum), rows, lambda: iter([]))


# lab: fear 1, joy 3; web: joy 1, sadness 1
ROWS = training_rows([0, 0, 0, 0, 1, 1], [0, 1, 1, 1, 1, 2])


def built(method):
    torch.manual_seed(0)
    method.build(TASK, Backbone(small_body(), 128, 0, 32))
    return method.train()


def random_batch(n=8):
    draw = torch.Generator().manual_seed(1)
    images = torch.rand(n, 3, 32, 32, generator=draw) * 2 - 1
    return Batch(images, torch.arange(n) % 2, torch.zeros(n, dtype=torch.int64), torch.arange(n))


def test_the_prior_is_how_frequent_each_emotion_is_in_each_stratum():
    prior = emotion_log_prior(ROWS, 2, 3).exp()
    torch.testing.assert_close(prior, torch.tensor([[0.25, 0.75, 0], [0, 0.5, 0.5]]))


def test_the_loss_is_bayes_rule_with_the_stratums_prior():
    draw = torch.Generator().manual_seed(2)
    logits = torch.randn(5, 4, generator=draw, dtype=torch.float64)
    prior = torch.rand(5, 4, generator=draw, dtype=torch.float64)
    prior = prior / prior.sum(dim=1, keepdim=True)
    labels = torch.tensor([0, 3, 1, 2, 2])
    expected = 0.0
    for x, p, y in zip(logits.tolist(), prior.tolist(), labels.tolist(), strict=True):
        joint = [q * math.exp(f) for q, f in zip(p, x, strict=True)]
        expected -= math.log(joint[y] / sum(joint)) / 5
    assert losses.adjusted_recognition(logits, prior.log(), labels).item() == pytest.approx(expected, rel=1e-12)


def test_an_emotion_that_the_stratum_never_shows_gets_no_gradient():
    logits = torch.zeros(2, 3, requires_grad=True)
    prior = emotion_log_prior(ROWS, 2, 3)
    losses.adjusted_recognition(logits, prior[[0, 1]], torch.tensor([0, 2])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 2] == 0
    assert logits.grad[1, 0] == 0
    assert (logits.grad != 0).sum() == 4


def test_without_a_difference_between_strata_the_adjustment_is_erm():
    batch = random_batch()
    adjusted, plain = built(LogitAdjustment()), built(ERM())
    ((_, ours),) = adjusted.losses(batch)
    ((_, theirs),) = plain.losses(batch)
    torch.testing.assert_close(ours["classifier"], theirs["classifier"])
    adjusted.begin(0, 0, ROWS)
    ((_, ours),) = adjusted.losses(batch)
    assert (ours["classifier"] - theirs["classifier"]).abs() > 0.01


def test_prediction_knows_no_prior():
    method, batch = built(LogitAdjustment()), random_batch()
    before = method.eval()(batch)
    method.begin(0, 0, ROWS)
    assert torch.equal(method(batch), before)


def test_an_intervention_of_no_strength_is_the_adjustment():
    batch = random_batch()
    for nothing in (StyleIntervention(amplitude=0.0), StyleIntervention(probability=0.0)):
        method = built(nothing)
        method.begin(0, 0, ROWS)
        ((_, ours),) = method.losses(batch)
        reference = built(LogitAdjustment())
        reference.begin(0, 0, ROWS)
        ((_, theirs),) = reference.losses(batch)
        torch.testing.assert_close(ours["classifier"], theirs["classifier"], rtol=1e-4, atol=1e-5)


def test_the_intervention_changes_looks_and_only_in_training(monkeypatch):
    shares = []

    def seen(images, partner, share, window=1.0):
        shares.append(share)
        return images

    monkeypatch.setattr(styles, "swap_amplitude", seen)
    method, batch = built(StyleIntervention(amplitude=0.5, probability=0.5)), random_batch(400)
    list(method.losses(batch))
    assert 0.4 < (shares[0] > 0).float().mean() < 0.6
    assert 0.45 < shares[0].max() <= 0.5
    method.eval()(batch)
    assert len(shares) == 1


def test_iern_adjusts_the_averaged_logits():
    batch = random_batch()
    found = {}
    for adjust in (False, True):
        method = built(IERN(channels=16, init="default", adjust=adjust))
        method.begin(0, 0, ROWS)
        method.eval()  # no statistics of the batch, so that the terms can be computed once more
        for phase, terms in method.losses(batch):
            found[adjust, phase] = terms
        logits = method(batch)
        prior = emotion_log_prior(ROWS, 2, 3)[batch.stratum] if adjust else torch.zeros(8, 3)
        torch.testing.assert_close(
            found[adjust, "classifier"]["classifier"], losses.adjusted_recognition(logits, prior, batch.emotion)
        )
    for name, value in found[False, "features"].items():
        assert torch.equal(value, found[True, "features"][name])
