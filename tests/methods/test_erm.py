"""ERM is backbone, average pooling, one linear layer and cross-entropy; Resampling differs in its batches only."""

import copy

import pytest
import torch
from torch.nn import functional as F

from emodo.methods import ERM, Resampling
from emodo.networks import Backbone, small_body
from emodo.records import Batch, Confounder, Task

TASK = Task(("anger", "joy", "sadness"), Confounder("source", ("a", "b"), (0.5, 0.5)))


def build(method):
    torch.manual_seed(0)
    method.build(TASK, Backbone(small_body(), 128, 0, 64))
    return method.double().train()


def random_batch(n=6, seed=1):
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, 64, 64, generator=draw, dtype=torch.float64)
    return Batch(images, torch.arange(n) % 3, torch.arange(n) % 2, torch.arange(n))


@pytest.mark.parametrize("kind", [ERM, Resampling])
def test_one_step_equals_plain_supervised_training(kind):
    method = build(kind(lr=1e-2, backbone_lr=1e-3, betas=(0.4, 0.9)))
    body, weight, bias = copy.deepcopy(method.backbone.body), *copy.deepcopy(method.classifier).parameters()
    batch = random_batch()

    plain = torch.optim.Adam(
        [{"params": list(body.parameters()), "lr": 1e-3}, {"params": [weight, bias], "lr": 1e-2}], betas=(0.4, 0.9)
    )
    features = body(batch.images)
    log_p = torch.log_softmax(features.sum(dim=(2, 3)) / 16 @ weight.T + bias, dim=1)
    loss = -sum(log_p[i, y] for i, y in enumerate(batch.emotion)) / 6
    loss.backward()
    plain.step()

    ours = torch.optim.Adam(method.phases()["classifier"])
    [(phase, terms)] = method.losses(batch)
    assert phase == "classifier"
    assert terms.keys() == {"classifier"}
    assert terms["classifier"].item() == pytest.approx(loss.item(), rel=1e-12)
    terms["classifier"].backward()
    ours.step()
    torch.testing.assert_close(dict(method.backbone.body.named_parameters()), dict(body.named_parameters()))
    torch.testing.assert_close([method.classifier.weight, method.classifier.bias], [weight, bias])


def test_its_logits_are_linear_in_the_pooled_features():
    method = build(ERM()).eval()
    batch = random_batch()
    pooled = F.adaptive_avg_pool2d(method.backbone(batch.images), 1).flatten(1)
    torch.testing.assert_close(method(batch), method.classifier(pooled))
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.logits, method(batch))
    assert prediction.strata_logits is None
    assert prediction.confounder_logits is None


def test_its_loss_sees_no_stratum():
    method = build(ERM()).eval()
    batch = random_batch()
    [(_, before)] = method.losses(batch)
    batch.stratum = torch.full((6,), -1)
    [(_, after)] = method.losses(batch)
    assert torch.equal(before["classifier"], after["classifier"])


def test_resampling_is_erm_but_for_its_batches():
    erm, resampling = build(ERM()), build(Resampling())
    assert resampling.sampling == "balanced"
    assert resampling.needs_strata
    assert (erm.sampling, erm.needs_strata) == ("shuffled", False)
    torch.testing.assert_close(dict(resampling.named_parameters()), dict(erm.named_parameters()))
    torch.testing.assert_close(resampling.eval()(random_batch()), erm.eval()(random_batch()))


def test_the_paper_and_the_released_code_set_the_defaults():
    assert ERM().hyperparameters() == {"lr": 2e-4, "backbone_lr": 1e-4, "betas": [0.5, 0.999], "loss": None}
