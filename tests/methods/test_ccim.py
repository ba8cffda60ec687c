"""CCIM equals its equations, written out in loops; its memory does not grow with B x N x d."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from emodo.methods import CCIM, EMOTNet
from emodo.methods.ccim import CHUNK, Intervention, ResidualHead
from emodo.networks import Backbone, small_body
from emodo.records import Batch, Confounder, InputError, Task

N, D, WIDTH, D_M, D_N = 2 * CHUNK + 3, 7, 6, 5, 4
DRAW = np.random.default_rng(0)
PROTOTYPES = torch.tensor(DRAW.normal(0.5, 1, (N, D)))
PRIOR = torch.tensor(DRAW.dirichlet(np.full(N, 3.0)))
SCENES = Confounder("scene", tuple(map(str, range(N))), tuple(PRIOR.tolist()), PROTOTYPES.float())
TASK = Task(("anger", "joy", "sadness"), SCENES)


def intervention(attention="dot_product", scale="prototype", use_prior=True):
    torch.manual_seed(0)
    return Intervention(WIDTH, PROTOTYPES, PRIOR, D_M, D_N, attention, scale, use_prior).double()


def joint_feature(n=3, seed=1):
    return torch.tensor(np.random.default_rng(seed).normal(0, 2, (n, WIDTH)))


def matrix(layer):
    return layer.weight.detach().numpy()


def oracle(module, h, attention, root, use_prior):
    """W_h h + W_g sum_i lambda_i z_i P(z_i) for one joint feature."""
    z, p = PROTOTYPES.numpy(), PRIOR.numpy()
    if attention == "none":
        weights = [1.0] * N
    else:
        scores = []
        for i in range(N):
            query, key = matrix(module.query) @ h, matrix(module.key) @ z[i]
            if attention == "dot_product":
                scores.append(sum(q * k for q, k in zip(query, key, strict=True)) / root)
            else:
                scores.append((matrix(module.energy) @ np.tanh(query + key))[0])
        powers = [math.exp(score) for score in scores]
        weights = [power / sum(powers) for power in powers]
    expected = np.zeros(D)
    for i in range(N):
        expected += weights[i] * z[i] * (p[i] if use_prior else 1)
    return matrix(module.joint) @ h + matrix(module.context) @ expected


@pytest.mark.parametrize("use_prior", [True, False])
@pytest.mark.parametrize("scale", ["prototype", "query"])
@pytest.mark.parametrize("attention", ["dot_product", "additive", "none"])
def test_the_intervention_is_the_equation(attention, scale, use_prior):
    module, h = intervention(attention, scale, use_prior), joint_feature()
    root = math.sqrt(D if scale == "prototype" else D_N)
    found = module(h)
    for b in range(len(h)):
        wanted = oracle(module, h[b].numpy(), attention, root, use_prior)
        np.testing.assert_allclose(found[b].detach().numpy(), wanted, rtol=1e-10, atol=1e-12)
    with torch.no_grad():  # without gradients nothing is computed twice, and all is the same
        torch.testing.assert_close(module(h), found.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("attention", ["dot_product", "additive"])
def test_attention_weights_are_a_distribution_that_depends_on_the_image(attention):
    weights = intervention(attention).weights(joint_feature())
    assert weights.shape == (3, N)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3, dtype=torch.float64))
    assert (weights[0] - weights[1]).abs().max() > 1e-3


@pytest.mark.parametrize("attention", ["dot_product", "additive"])
def test_gradients_are_the_slopes(attention):
    module, h = intervention(attention), joint_feature().requires_grad_()
    names, values = zip(*module.named_parameters(), strict=True)

    def function(h, *values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (h,))

    assert torch.autograd.gradcheck(function, (h, *values))


def test_additive_attention_stays_finite_where_queries_are_large_and_is_full_precision_under_autocast():
    torch.manual_seed(0)
    module = Intervention(WIDTH, PROTOTYPES.float(), PRIOR.float(), D_M, D_N, "additive", "prototype", True)
    h = joint_feature().float()
    with torch.no_grad():
        for scale in (1.0, 1e4):
            query, keys = module.query(scale * h), module.key(module.prototypes)
            wanted = module.energy(torch.tanh(query[:, None] + keys)).squeeze(2).softmax(dim=1)
            torch.testing.assert_close(module.weights(scale * h), wanted, rtol=1e-5, atol=1e-7)
    h.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        weights = module.weights(h)
    assert weights.dtype == torch.float32
    weights[:, 0].sum().backward()
    assert h.grad.isfinite().all()
    assert h.grad.abs().max() > 0


def test_without_attention_every_image_gets_the_same_context():
    module = intervention("none")
    assert not hasattr(module, "query")
    context = module(joint_feature()) - module.joint(joint_feature())
    torch.testing.assert_close(context[0], context[1])
    torch.testing.assert_close(context[0], module.context(PRIOR @ PROTOTYPES))


def largest_kept(module, h):
    """Numbers of the largest tensor that the forward pass keeps for the backward pass."""
    sizes = [0]

    def keep(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(h).sum()
    return max(sizes)


def test_no_tensor_grows_with_images_times_prototypes_times_width():
    images, prototypes, d, d_n = 12, 10 * CHUNK, 50, 40
    draw = torch.Generator().manual_seed(0)
    z, prior = torch.randn(prototypes, d, generator=draw), torch.full((prototypes,), 1 / prototypes)
    h = torch.randn(images, 30, generator=draw)
    for attention in ("dot_product", "additive"):
        module = Intervention(30, z, prior, 20, d_n, attention, "prototype", True)
        largest = prototypes * d  # the dictionary itself
        assert largest < images * CHUNK * d_n * 2 < images * prototypes * d_n / 4
        assert largest_kept(module, h) <= largest, attention


def test_the_residual_head_is_the_released_one():
    torch.manual_seed(0)
    head = ResidualHead(6, 4).double()
    nn.init.normal_(head.layers[0].weight)
    x = torch.randn(5, 6, dtype=torch.float64)
    mean, variance = x.mean(dim=0), x.var(dim=0, unbiased=False)
    head.layers[3].p = head.layers[5].p = 0.0
    hidden = (x - mean) / (variance + 1e-5).sqrt() * head.layers[0].weight + head.layers[0].bias
    hidden = hidden @ head.layers[1].weight.T + head.layers[1].bias
    hidden = 0.5 * hidden * (1 + torch.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)))
    wanted = x + 0.3 * (hidden @ head.layers[4].weight.T + head.layers[4].bias)
    torch.testing.assert_close(head(x), wanted @ head.classifier.weight.T + head.classifier.bias)
    assert [layer.p for layer in ResidualHead(6, 4).layers if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
    assert ResidualHead(6, 4).layers[1].weight.shape == (24, 6)
    with pytest.raises(InputError, match="cannot train on batches of one"):
        head(x[:1])
    assert head.eval()(x[:1]).shape == (1, 4)


# -------------------------------------------------------------------------------------------- method


def built(method, task=TASK):
    torch.manual_seed(0)
    method.build(task, Backbone(small_body(), 128, 0, 32))
    return method


def random_batch(n=4, seed=1):
    images, whole, context = torch.randn(3, n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return Batch(images, torch.arange(n) % 3, torch.full((n,), -1), torch.arange(n), whole, context)


@pytest.mark.parametrize("host", ["caernet", "emotnet", "plain"])
@pytest.mark.parametrize("residual_head", [False, True])
def test_it_wraps_any_host_and_any_number_of_emotions(host, residual_head):
    method = CCIM(host=host, residual_head=residual_head)
    assert method.views == {"caernet": ("context",), "emotnet": ("whole",), "plain": ()}[host]
    for emotions in (2, 26):
        task = Task(tuple(map(str, range(emotions))), SCENES)
        assert built(method, task)(random_batch()).shape == (4, emotions)


def test_its_logits_are_a_linear_layer_on_the_intervention_on_the_hosts_joint_feature():
    method = built(CCIM(d_m=D_M)).eval()
    batch = random_batch()
    h = method.host_model(batch)
    assert h.shape == (4, 256)
    torch.testing.assert_close(method(batch), method.head(method.intervention(h)))
    assert method.head.weight.shape == (3, D_M)


def test_its_host_is_the_one_that_trains_alone():
    alone, inside = built(EMOTNet()).eval(), built(CCIM(host="emotnet")).eval()
    assert torch.equal(alone.host_model(random_batch()), inside.host_model(random_batch()))


def test_the_paper_and_the_released_code_set_the_defaults():
    said = CCIM().hyperparameters()
    assert (said["d_m"], said["d_n"], said["attention"], said["use_prior"]) == (128, 256, "dot_product", True)
    assert (said["residual_head"], said["dictionary"], said["scale"]) == (False, "given", "prototype")


def test_dictionary_and_prior_are_buffers_and_are_not_trained():
    method = built(CCIM(host="plain"))
    buffers = dict(method.named_buffers())
    assert torch.equal(buffers["intervention.prototypes"], PROTOTYPES.float())
    torch.testing.assert_close(buffers["intervention.prior"], PRIOR.float())
    before = SCENES.prototypes.clone()
    buffers["intervention.prototypes"].zero_()
    assert torch.equal(SCENES.prototypes, before)


def test_a_random_dictionary_has_the_shape_and_scale_of_the_given_one_and_follows_the_seed():
    wide = torch.randn(40, 50, generator=torch.Generator().manual_seed(0)) * 3 + 4  # root mean square 5
    task = Task(("a", "b"), Confounder("scene", tuple(map(str, range(40))), (1 / 40,) * 40, wide))
    first, again = (built(CCIM(host="plain", dictionary="random"), task).intervention.prototypes for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == wide.shape
    assert first.square().mean().sqrt().item() == pytest.approx(5, rel=0.05)
    assert abs(first.mean().item()) < 0.5
    torch.manual_seed(1)
    other = CCIM(host="plain", dictionary="random")
    other.build(task, Backbone(small_body(), 128, 0, 32))
    assert not torch.equal(other.intervention.prototypes, first)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_m": 0}, "CCIM has d_m 0 and d_n 256"),
        ({"d_n": -1}, "d_n -1"),
        ({"attention": "cosine"}, "CCIM has attention 'cosine': it can be dot_product, additive, none"),
        ({"scale": "h"}, "CCIM has scale 'h'"),
        ({"dictionary": "imagenet"}, "CCIM has dictionary 'imagenet'"),
        ({"host": "gcn"}, "no host model is called 'gcn'"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        built(CCIM(**settings))


@pytest.mark.parametrize(
    ("prototypes", "prior"),
    [
        (torch.ones(1, 4), (1.0,)),
        (torch.ones(2, 4), (1.0,)),
        (torch.ones(2), (0.5, 0.5)),
        (torch.tensor([[1.0], [torch.nan]]), (0.5, 0.5)),
    ],
)
def test_a_dictionary_that_cannot_be_one_is_refused(prototypes, prior):
    task = Task(("a", "b"), Confounder("scene", ("x", "y"), prior, prototypes))
    with pytest.raises(InputError, match="CCIM needs two prototypes or more"):
        built(CCIM(host="plain"), task)


def test_without_a_dictionary_it_says_how_to_make_one():
    for task in (Task(("a", "b")), Task(("a", "b"), Confounder("scene", ("x", "y"), (0.5, 0.5)))):
        with pytest.raises(InputError, match=r"`emodo strata MANIFEST OUT --by dictionary`.*OUT\.safetensors"):
            built(CCIM(), task)


def test_weights_of_another_dictionary_are_refused_by_its_shape():
    state = built(CCIM(host="plain")).state_dict()
    other = Confounder("scene", ("x", "y"), (0.5, 0.5), torch.ones(2, 9))
    with pytest.raises(InputError, match=f"a dictionary of {N} prototypes of {D} numbers, and this one has 2 of 9"):
        built(CCIM(host="plain"), Task(TASK.emotions, other)).load_state_dict(state)
