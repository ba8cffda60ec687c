"""DACL: attention on the feature map, the sparse center loss, and centers that move as released."""

import pytest
import torch
from torch import nn

from emodo.methods import DACL
from emodo.networks import Backbone, small_body
from emodo.records import Batch, InputError, Task

TASK = Task(("anger", "fear", "joy", "sadness"))


def build(method, size=64):
    torch.manual_seed(0)
    method.build(TASK, Backbone(small_body(), 128, 0, size))
    return method.double().train()


def random_batch(n=6, size=64, seed=1):
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, size, size, generator=draw, dtype=torch.float64)
    return Batch(images, torch.tensor([0, 1, 1, 2, 0, 1])[:n], torch.full((n,), -1), torch.arange(n))


def attended(method, features):
    """A, [B, C]: the second of each two-way softmax, in plain arithmetic."""
    logits = method.attention(features)
    return (logits[:, 1::2].exp() / (logits[:, 0::2].exp() + logits[:, 1::2].exp())).detach()


def test_the_losses_are_cross_entropy_and_lambda_times_the_sparse_center_loss():
    method = build(DACL(lambda_center=0.3))
    batch = random_batch()
    features = method.backbone(batch.images)
    pooled, weights = features.flatten(2).mean(dim=2), attended(method, features)
    recognised, center = 0.0, 0.0
    for i, y in enumerate(batch.emotion.tolist()):
        recognised -= method.classifier(pooled[i]).log_softmax(dim=0)[y].item() / 6
        center += (weights[i] * (pooled[i] - method.centers[y]) ** 2).sum().item() / (2 * 6)
    [(phase, terms)] = method.losses(batch)
    assert phase == "classifier"
    assert terms["classifier"].item() == pytest.approx(recognised, rel=1e-10)
    assert terms["center"].item() == pytest.approx(0.3 * center, rel=1e-10)
    assert 0.01 < weights.min() < weights.max() < 0.99


@pytest.mark.parametrize("full", [True, False])
def test_the_centers_step_by_their_own_rate(full):
    method = build(DACL(lambda_center=0.2, alpha=0.4, full_rate_centers=full))
    batch = random_batch()
    features = method.backbone(batch.images)
    pooled, weights, before = features.mean(dim=(2, 3)), attended(method, features), method.centers.detach().clone()
    expected = before.clone()
    for y in range(4):
        members = [i for i, emotion in enumerate(batch.emotion.tolist()) if emotion == y]
        pull = sum((weights[i] * (before[y] - pooled[i]).detach() for i in members), torch.zeros(128).double())
        # released: the mean over 1 + n images, whatever lambda; printed: lambda / B
        expected[y] -= 0.4 * pull * (1 / (1 + len(members)) if full else 0.2 / 6)
    sgd = torch.optim.SGD(method.phases()["classifier"])
    [(_, terms)] = method.losses(batch)
    sum(terms.values()).backward()
    sgd.step()
    torch.testing.assert_close(method.centers.detach(), expected)
    assert (expected[0] - before[0]).abs().max() > 1e-4
    moved = method.centers.detach().clone()
    sgd.zero_grad(set_to_none=False)
    sgd.step()  # neither momentum nor decay moves them without a gradient
    assert torch.equal(method.centers, moved)


def test_a_weight_of_zero_leaves_the_centers_where_they_are():
    method = build(DACL(lambda_center=0.0))
    [(_, terms)] = method.losses(random_batch())
    sum(terms.values()).backward()
    assert method.centers.grad is not None
    assert method.centers.grad.abs().max() == 0


def test_the_attention_network_learns_from_the_center_loss_alone():
    method = build(DACL())
    [(_, terms)] = method.losses(random_batch())
    arrived = {}
    for name, value in terms.items():
        method.zero_grad()
        value.backward(retain_graph=True)
        arrived[name] = [p.grad is not None and p.grad.abs().max() > 0 for p in method.attention.parameters()]
    assert all(arrived["center"])
    assert not any(arrived["classifier"])


def layers(method):
    return [(part.in_features, part.out_features) for part in method.attention if isinstance(part, nn.Linear)]


def test_the_attention_network_is_the_papers_on_the_papers_map():
    class Map(nn.Module):
        def forward(self, images):
            return images.new_zeros(len(images), 512, 7, 7)

    method = DACL()
    with torch.device("meta"):  # 92 million weights that nobody needs
        backbone = Backbone(Map(), 512, 0, 224)
        method.build(TASK, backbone)
    assert layers(method) == [(25088, 3584), (3584, 512), (512, 64), (64, 1024)]
    kinds = [type(part).__name__ for part in method.attention]
    assert kinds == ["Flatten", *["Linear", "BatchNorm1d", "ReLU"] * 2, "Linear", "BatchNorm1d", "Tanh", "Linear"]


@pytest.mark.parametrize(
    ("size", "widths", "expected"),
    [
        (64, (3584, 512, 64), [(2048, 292), (292, 292), (292, 64), (64, 256)]),
        (32, (3584, 512, 64), [(512, 73), (73, 73), (73, 64), (64, 256)]),
        (16, (3584, 512, 64), [(128, 18), (18, 18), (18, 18), (18, 256)]),
        (64, (100, 50, 200), [(2048, 100), (100, 50), (50, 50), (50, 256)]),
    ],
)
def test_on_smaller_maps_its_layers_are_narrower(size, widths, expected):
    assert layers(build(DACL(widths=widths), size)) == expected


def test_it_trains_by_sgd_in_steps_with_the_papers_settings():
    method = build(DACL())
    backbone, rest, centers = method.phases()["classifier"]
    assert (method.optimizer, method.decay) == ("sgd", "step")
    for group in (backbone, rest):
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.01, 0.9, 5e-4)
    assert centers["lr"] == 0.5
    sgd = torch.optim.SGD(method.phases()["classifier"])
    assert (sgd.param_groups[2]["momentum"], sgd.param_groups[2]["weight_decay"]) == (0, 0)
    assert method.lambda_center == 0.01


def test_it_uses_no_stratum():
    method = build(DACL())
    batch = random_batch()
    [(_, before)] = method.losses(batch)
    batch.stratum = torch.arange(6) % 3
    [(_, after)] = method.losses(batch)
    assert before["center"].item() == after["center"].item()
    assert not method.needs_strata


def test_widths_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="DACL has widths 8, 0, 4: each must be 1 or more"):
        build(DACL(widths=(8, 0, 4)))
