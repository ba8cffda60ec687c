"""CLEF equals its equations, written out in loops, and each loss trains what it should."""

import math

import pytest
import torch

from emodo import losses
from emodo.methods import CLEF
from emodo.networks import Backbone, small_body
from emodo.records import Batch, Task

TASK = Task(("anger", "joy", "sadness"))


def built(method=None):
    torch.manual_seed(0)
    method = method or CLEF()
    method.build(TASK, Backbone(small_body(), 128, 0, 32))
    torch.nn.init.normal_(method.absent)
    return method.double().eval()


def random_batch(n=4, seed=1):
    draw = torch.Generator().manual_seed(seed)
    images, whole, context = torch.randn(3, n, 3, 32, 32, generator=draw, dtype=torch.float64)
    return Batch(images, torch.arange(n) % 3, torch.full((n,), -1), torch.arange(n), whole, context)


def log_sigmoid(x):
    return -math.log(1 + math.exp(-x))


def softmax(scores):
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def branches(method, batch):
    """Y_c and Y_e."""
    with torch.no_grad():
        context = method.context_head(method.context_backbone(batch.context).mean(dim=(2, 3)))
        return context.tolist(), method.head(method.host_model(batch)).tolist()


def scored(method, batch):
    """Y_ce and Y_ce* of each image."""
    context, ensemble = branches(method, batch)
    absent = method.absent.tolist()
    factual = [[log_sigmoid(c + e) for c, e in zip(*row, strict=True)] for row in zip(context, ensemble, strict=True)]
    return factual, [[log_sigmoid(c + a) for c, a in zip(row, absent, strict=True)] for row in context]


def test_it_predicts_the_total_indirect_effect():
    method, batch = built(), random_batch()
    factual, counterfactual = scored(method, batch)
    wanted = [[f - c for f, c in zip(*rows, strict=True)] for rows in zip(factual, counterfactual, strict=True)]
    torch.testing.assert_close(method(batch), torch.tensor(wanted, dtype=torch.float64))


def test_its_losses_are_the_equations():
    method, batch = built(), random_batch()
    [(phase, terms)] = method.losses(batch)
    assert phase == "classifier"
    factual, counterfactual = scored(method, batch)
    labels = batch.emotion.tolist()

    def cross_entropy(scores):
        return sum(-math.log(softmax(row)[y]) for row, y in zip(scores, labels, strict=True)) / len(labels)

    kl = 0.0
    for p_row, q_row in zip(counterfactual, factual, strict=True):
        for p, q in zip(softmax(p_row), softmax(q_row), strict=True):
            kl += p * math.log(p / q)
    assert terms["factual"].item() == pytest.approx(cross_entropy(factual), rel=1e-10)
    assert terms["counterfactual"].item() == pytest.approx(cross_entropy(counterfactual), rel=1e-10)
    assert terms["divergence"].item() == pytest.approx(kl / len(labels), rel=1e-10)


def trained_by(method, term):
    for p in method.parameters():
        p.grad = None
    [(_, terms)] = method.losses(random_batch())
    terms[term].backward()
    return {name.partition(".")[0] for name, p in method.named_parameters() if p.grad is not None}


def test_the_divergence_trains_the_absent_ensemble_alone():
    method = built()
    assert trained_by(method, "divergence") == {"absent"}
    assert trained_by(method, "factual") == {"context_backbone", "context_head", "host_model", "head"}
    assert trained_by(method, "counterfactual") == {"context_backbone", "context_head", "absent"}


def test_the_absent_ensemble_starts_uniform_and_is_one_vector_for_all():
    method = CLEF()
    method.build(TASK, Backbone(small_body(), 128, 0, 32))
    assert torch.equal(method.absent, torch.zeros(3))


@pytest.mark.parametrize(
    ("host", "views"), [("caernet", {"context"}), ("emotnet", {"whole", "context"}), ("plain", {"context"})]
)
def test_it_sees_the_masked_image_beside_what_its_host_sees(host, views):
    method = CLEF(host=host)
    assert set(method.views) == views
    assert len(method.views) == len(views)
    assert built(method)(random_batch()).shape == (4, 3)


def test_the_context_branch_starts_as_a_copy_of_the_backbone_and_is_its_own():
    method = built(CLEF(host="plain"))
    host, branch = method.host_model.backbone, method.context_backbone
    torch.testing.assert_close(dict(host.named_parameters()), dict(branch.named_parameters()))
    assert not {id(p) for p in host.parameters()} & {id(p) for p in branch.parameters()}


@pytest.mark.parametrize("seed", range(3))
def test_divergence_is_the_kullback_leibler_divergence_of_the_softmaxes(seed):
    draw = torch.Generator().manual_seed(seed)
    one, other = torch.randn(2, 5, 4, generator=draw, dtype=torch.float64) * 2
    wanted = 0.0
    for p_row, q_row in zip(one.tolist(), other.tolist(), strict=True):
        wanted += sum(p * math.log(p / q) for p, q in zip(softmax(p_row), softmax(q_row), strict=True))
    assert losses.divergence(one, other).item() == pytest.approx(wanted / 5, rel=1e-12)
    assert losses.divergence(one, one + 3).item() == pytest.approx(0, abs=1e-12)
    assert losses.divergence(one, other).item() != pytest.approx(losses.divergence(other, one).item())
    assert torch.autograd.gradcheck(losses.divergence, (one.requires_grad_(), other.requires_grad_()))
