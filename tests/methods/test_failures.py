"""JTT's second network is shown the first one's errors; LfF weighs by relative difficulty."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from emodo import losses
from emodo.methods import ERM, JTT, LfF
from emodo.networks import Backbone, small_body
from emodo.records import Batch, InputError, Task, Training

TASK = Task(("anger", "joy", "sadness"))


def build(method):
    torch.manual_seed(0)
    method.build(TASK, Backbone(small_body(), 128, 0, 32))
    return method.train()


def random_batch(n=9, seed=1):
    """Rows 2, 4, 6 ...: training rows are some of the manifest."""
    draw = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randn(n, 3, 32, 32, generator=draw), torch.arange(n) % 3, torch.full((n,), -1), 2 * torch.arange(n) + 2
    )


def some(batch, at):
    return Batch(*(field[at] for field in (batch.images, batch.emotion, batch.stratum, batch.row)))


def training(batch):
    halves = [some(batch, slice(0, 5)), some(batch, slice(5, None))]
    return Training(batch.emotion, batch.stratum, batch.row, lambda: iter(halves))


def steps(method, batch, n):
    optimizers = {
        name: torch.optim.Adam([{**g, "lr": 1e-3} for g in groups]) for name, groups in method.phases().items()
    }
    for _ in range(n):
        for phase, terms in method.losses(batch):
            optimizers[phase].zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            optimizers[phase].step()


# -------------------------------------------------------------------------------------------------- JTT


def test_the_error_set_is_the_misclassified_rows_and_weighs_lambda_times_as_much():
    method, batch = build(JTT(upweight=7.0)), random_batch()
    method.begin(0, 0, training(batch))
    steps(method, some(batch, slice(0, 4)), 10)
    with torch.no_grad():
        wrong = method.eval()(batch).argmax(dim=1) != batch.emotion
    method.train().begin(1, 0, training(batch))
    assert 0 < wrong.sum() < 9
    weights = method.row_weight[batch.row]
    torch.testing.assert_close(weights / weights.min(), torch.where(wrong, 7.0, 1.0))
    assert weights.mean().item() == pytest.approx(1)


def test_the_second_training_starts_where_the_first_did():
    method, batch = build(JTT()), random_batch()
    start = copy.deepcopy(method.state_dict())
    method.begin(0, 0, training(batch))
    steps(method, batch, 3)
    assert not torch.equal(method.classifier.weight, start["classifier.weight"])
    method.begin(1, 0, training(batch))
    for name, value in method.state_dict().items():
        assert name == "row_weight" or torch.equal(value, start[name]), name
    steps(method, batch, 1)
    moved = method.classifier.weight.clone()
    method.begin(1, 1, training(batch))  # the next epoch goes on
    assert torch.equal(method.classifier.weight, moved)


def test_the_losses_of_jtt_are_erms_and_then_weighted_by_the_errors():
    method, erm, batch = build(JTT(upweight=3.0)), build(ERM()), random_batch()
    method.begin(0, 0, training(batch))
    [(_, first)] = method.losses(batch)
    [(_, plain)] = erm.losses(batch)
    assert torch.equal(first["classifier"], plain["classifier"])
    method.begin(1, 0, training(batch))
    [(_, second)] = method.losses(batch)
    each = F.cross_entropy(method(batch), batch.emotion, reduction="none")
    torch.testing.assert_close(second["classifier"], (each * method.row_weight[batch.row]).mean())


def test_without_errors_the_second_training_is_erm():
    method, batch = build(JTT()), random_batch()
    batch.emotion = method.eval()(batch).argmax(dim=1)
    method.train().begin(1, 0, training(batch))
    assert method.row_weight[batch.row].tolist() == [1] * 9


@pytest.mark.parametrize("settings", [{"identification": 0.0}, {"identification": -1.0}], ids=str)
def test_jtt_needs_a_first_training(settings):
    with pytest.raises(InputError, match="identification is"):
        JTT(**settings)


def test_the_first_training_is_a_fifth_of_the_second_as_on_waterbirds():
    assert JTT().stages == (0.2, 1.0)
    assert JTT().upweight == 100


# -------------------------------------------------------------------------------------------------- LfF


def cross_entropies(logits, emotion):
    return [-math.log(row.softmax(0)[y]) for row, y in zip(logits.double(), emotion, strict=True)]


def test_the_weights_of_lff_are_relative_difficulties_of_moving_averages():
    method, batch = build(LfF(q=0.6, memory=0.3)).eval(), random_batch()
    method.begin(0, 0, training(batch))
    averages = [{}, {}]  # of the biased and of the debiased network, by row
    for part in (slice(0, 6), slice(3, 9)):  # rows 3 - 5 are seen twice
        seen = some(batch, part)
        with torch.no_grad():
            biased = method.biased_classifier(method.biased_backbone(seen.images).mean(dim=(2, 3)))
            debiased = method(seen)
        relative = []
        for average, logits in zip(averages, (biased, debiased), strict=True):
            for row, loss in zip(seen.row.tolist(), cross_entropies(logits, seen.emotion), strict=True):
                average[row] = 0.3 * average[row] + 0.7 * loss if row in average else loss
            emotion_of = dict(zip(batch.row.tolist(), batch.emotion.tolist(), strict=True))
            largest = [max(v for row, v in average.items() if emotion_of[row] == e) for e in range(3)]
            relative.append([average[row] / largest[emotion_of[row]] for row in seen.row.tolist()])
        weights = [b / (b + d) for b, d in zip(*relative, strict=True)]
        oracle = sum(w * loss for w, loss in zip(weights, cross_entropies(debiased, seen.emotion), strict=True)) / 6
        (first, one), (second, two) = method.losses(seen)
        assert (first, second) == ("biased", "classifier")
        torch.testing.assert_close(one["biased"], losses.generalised_cross_entropy(biased, seen.emotion, 0.6))
        assert two["classifier"].item() == pytest.approx(oracle, rel=1e-5)


def test_both_networks_start_from_the_same_backbone_and_part():
    method, batch = build(LfF()), random_batch()
    ours, other = method.backbone.state_dict(), method.biased_backbone.state_dict()
    assert all(torch.equal(ours[name], other[name]) for name in ours)
    method.begin(0, 0, training(batch))
    steps(method, batch, 2)
    assert not torch.equal(method.backbone.body[0].weight, method.biased_backbone.body[0].weight)


def test_averages_outlive_an_epoch_and_start_anew_with_a_training():
    method, batch = build(LfF()), random_batch()
    method.begin(0, 0, training(batch))
    list(method.losses(batch))
    kept = method.biased_loss.clone()
    assert (kept[batch.row] >= 0).all()
    method.begin(0, 1, training(batch))
    assert torch.equal(method.biased_loss, kept)
    method.begin(0, 0, training(batch))
    assert (method.biased_loss < 0).all()


@pytest.mark.parametrize("q", [0.0, 1.5])
def test_an_exponent_out_of_range_is_refused(q):
    with pytest.raises(InputError, match="q is"):
        LfF(q=q)


@pytest.mark.parametrize("create", [JTT, LfF])
def test_row_by_row_state_survives_a_checkpoint_whatever_its_length(create):
    method, batch = build(create()), random_batch()
    for stage in range(len(method.stages)):
        method.begin(stage, 0, training(batch))
        steps(method, batch, 1)
    again = build(create())
    again.load_state_dict(method.state_dict())
    saved = method.state_dict()
    assert saved.keys() == again.state_dict().keys()
    for name, value in again.state_dict().items():
        assert torch.equal(value, saved[name]), name
        assert value.dtype == saved[name].dtype, name
