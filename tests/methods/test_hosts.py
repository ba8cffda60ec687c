"""The host models look at their own views, fuse them as their papers say, and keep their streams apart."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from emodo.methods import CAERNet, EMOTNet
from emodo.methods.hosts import HOSTS, WIDTHS, create_host, views_of
from emodo.networks import Backbone, small_body
from emodo.records import Batch, InputError, Task

TASK = Task(("anger", "joy", "sadness"))


def small_backbone():
    torch.manual_seed(0)
    return Backbone(small_body(), 128, 0, 32)


def random_batch(n=4, seed=1):
    draw = torch.Generator().manual_seed(seed)
    images, whole, context = torch.randn(3, n, 3, 32, 32, generator=draw, dtype=torch.float64)
    return Batch(images, torch.arange(n) % 3, torch.full((n,), -1), torch.arange(n), whole, context)


def built(method):
    method.build(TASK, small_backbone())
    return method.double().eval()


def linear(x, layer):
    return layer.weight.detach().numpy() @ x + (0 if layer.bias is None else layer.bias.detach().numpy())


def softmax(x):
    powers = np.exp(x - np.max(x))
    return powers / powers.sum()


def test_caernet_weighs_person_and_context_by_a_softmax_over_the_two():
    host = built(CAERNet(width=20)).host_model
    batch = random_batch()
    with torch.no_grad():
        person = host.person_backbone(batch.images).numpy()
        context = host.context_backbone(batch.context)
        norm, conv = host.place[1], host.place[3]
        scores = conv(torch.relu(norm(F.conv2d(context, host.place[0].weight, padding=1)))).numpy()
        found = host(batch).numpy()
    context = context.numpy()
    for b in range(len(batch)):
        x_f = person[b].mean(axis=(1, 2))
        places = softmax(scores[b, 0].ravel()).reshape(scores.shape[2:])  # over all positions of the map
        x_c = sum(places[i, j] * context[b, :, i, j] for i, j in np.ndindex(places.shape))

        def weight(x, net):
            return linear(np.maximum(linear(x, net[0]), 0), net[2])[0]

        weights = softmax([weight(x_f, host.person_weight), weight(x_c, host.context_weight)])
        joined = np.concatenate([weights[0] * x_f, weights[1] * x_c])
        np.testing.assert_allclose(found[b], np.maximum(linear(joined, host.fusion[0]), 0), rtol=1e-10, atol=1e-12)


def test_emotnet_joins_the_pooled_features_of_body_and_whole_image():
    host = built(EMOTNet(width=20)).host_model
    batch = random_batch()
    with torch.no_grad():
        body, whole = host.person_backbone(batch.images).numpy(), host.whole_backbone(batch.whole).numpy()
        found = host(batch).numpy()
    for b in range(len(batch)):
        joined = np.concatenate([body[b].mean(axis=(1, 2)), whole[b].mean(axis=(1, 2))])
        np.testing.assert_allclose(found[b], np.maximum(linear(joined, host.fusion[0]), 0), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_looks_at_its_own_views_and_at_nothing_else(name):
    host = create_host(name, small_backbone(), None, 0.5).double().eval()
    batch = random_batch()
    with torch.no_grad():
        before = host(batch)
        for view in ("images", "whole", "context"):
            other = random_batch()
            setattr(other, view, torch.zeros_like(batch.images))
            seen = not torch.equal(host(other), before)
            assert seen == (view == "images" or view in views_of(name)), view


@pytest.mark.parametrize("name", HOSTS)
def test_the_joint_feature_has_the_papers_width_or_the_backbones(name):
    host = create_host(name, small_backbone(), None, 0.5).double()
    expected = {"caernet": 128, "emotnet": 256, "plain": 128}[name]
    assert host.width == expected
    assert host(random_batch()).shape == (4, expected)
    if name in WIDTHS:
        assert create_host(name, small_backbone(), 10, 0.5).width == 10


@pytest.mark.parametrize("method", [CAERNet, EMOTNet])
def test_every_stream_starts_from_the_same_weights_and_is_trained_by_itself(method):
    method = built(method()).train()
    streams = [part for part in method.modules() if isinstance(part, Backbone)]
    assert len(streams) == 2
    torch.testing.assert_close(dict(streams[0].named_parameters()), dict(streams[1].named_parameters()))
    assert not {id(p) for p in streams[0].parameters()} & {id(p) for p in streams[1].parameters()}
    optimizer = torch.optim.Adam(method.phases()["classifier"])
    [(_, terms)] = method.losses(random_batch())
    terms["classifier"].backward()
    optimizer.step()
    moved = next(streams[0].parameters()) - next(streams[1].parameters())
    assert moved.abs().max() > 0


@pytest.mark.parametrize("method", [CAERNet, EMOTNet])
def test_backbones_have_a_learning_rate_of_their_own(method):
    method = built(method(lr=3e-3, backbone_lr=1e-3))
    deep, rest = method.phases()["classifier"]
    assert (deep["lr"], rest["lr"]) == (1e-3, 3e-3)
    streams = [p for part in method.modules() if isinstance(part, Backbone) for p in part.parameters()]
    assert {id(p) for p in deep["params"]} == {id(p) for p in streams}
    assert len(deep["params"]) + len(rest["params"]) == len(list(method.parameters()))


def test_the_joint_feature_is_dropped_in_training_only():
    method = built(EMOTNet(dropout=0.5))
    batch = random_batch()
    assert torch.equal(method(batch), method(batch))
    method.train()
    torch.manual_seed(0)
    dropped = (method.host_model(batch) == 0).double().mean()
    kept = (built(EMOTNet(dropout=0.0)).train().host_model(batch) == 0).double().mean()
    assert dropped > kept + 0.15


def test_the_loss_is_the_cross_entropy_of_the_logits():
    method = built(CAERNet())
    batch = random_batch()
    [(phase, terms)] = method.losses(batch)
    log_p = torch.log_softmax(method(batch), dim=1)
    assert phase == "classifier"
    assert terms["classifier"].item() == pytest.approx(
        -sum(log_p[i, y].item() for i, y in enumerate(batch.emotion)) / 4
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("gcn", None, 0.5), "no host model is called 'gcn': take caernet, emotnet, plain"),
        (("plain", 64, 0.5), r"`plain` is as wide as the backbone \(128\)"),
        (("emotnet", 0, 0.5), "width of the host's joint feature is 0"),
        (("caernet", None, 1.0), "the host's dropout is 1.0"),
        (("emotnet", None, -0.1), "the host's dropout is -0.1"),
    ],
)
def test_a_host_that_cannot_be_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        create_host(settings[0], small_backbone(), *settings[1:])
