"""NWGM: its dictionary is the strata's mean features, and Eq. 12 and 13 of the IERN paper hold where they should."""

import pytest
import torch

from emodo.methods import NWGM
from emodo.networks import Backbone, small_body
from emodo.records import Batch, Confounder, InputError, Task, Training

TASK = Task(("anger", "fear", "joy", "sadness"), Confounder("source", ("a", "b", "c"), (1 / 3,) * 3))


def build(method, task=TASK):
    torch.manual_seed(0)
    method.build(task, Backbone(small_body(), 128, 0, 32))
    return method.double()


def random_batch(n=6, seed=1, strata=3):
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, 32, 32, generator=draw, dtype=torch.float64)
    return Batch(images, torch.arange(n) % 4, torch.arange(n) % strata, torch.arange(n))


def rows(*batches):
    joined = [torch.cat([getattr(b, name) for b in batches]) for name in ("emotion", "stratum", "row")]
    return Training(*joined, lambda: iter(batches))


def ready(**options):
    """A method after one begun epoch, with strata and attention that differ as in a trained one."""
    method = build(NWGM(width=5, **options)).eval()
    method.begin(0, 0, rows(random_batch(5), random_batch(3, seed=2)))
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        method.dictionary.normal_(0, 5, generator=draw)
        method.query.weight.normal_(0, 1, generator=draw)
    return method


def test_the_dictionary_is_the_mean_feature_of_each_stratum_over_all_batches():
    method = build(NWGM(width=5)).train()
    batches = [random_batch(5), random_batch(3, seed=2)]
    before = {name: value.clone() for name, value in method.backbone.state_dict().items()}
    method.begin(0, 0, rows(*batches))
    assert method.training
    assert all(torch.equal(value, before[name]) for name, value in method.backbone.state_dict().items())
    method.eval()
    found = {0: [], 1: [], 2: []}
    with torch.no_grad():
        for batch in batches:
            for i, stratum in enumerate(batch.stratum.tolist()):
                found[stratum].append(method.backbone(batch.images[i : i + 1])[0].flatten(1).mean(dim=1))
    expected = torch.stack([sum(found[k]) / len(found[k]) for k in range(3)])
    torch.testing.assert_close(method.dictionary, expected)
    assert (expected[0] - expected[1]).abs().max() > 1e-3


def test_rows_of_unknown_stratum_are_in_no_prototype():
    batch = random_batch(6)
    one, other = build(NWGM()), build(NWGM())
    one.begin(0, 0, rows(Batch(batch.images[:3], batch.emotion[:3], batch.stratum[:3], batch.row[:3])))
    batch.stratum[3:] = -1
    other.begin(0, 0, rows(batch))
    torch.testing.assert_close(one.dictionary, other.dictionary)
    assert one.dictionary.abs().sum() > 0


def test_the_dictionary_is_rebuilt_at_its_interval_and_at_no_other_epoch():
    method = build(NWGM(interval=3))
    passes = []
    for epoch in range(7):
        shown = rows(random_batch(seed=epoch))
        counted = Training(
            shown.emotion, shown.stratum, shown.row, lambda e=epoch, s=shown: (passes.append(e), s.batches())[1]
        )
        method.begin(0, epoch, counted)
    assert passes == [0, 3, 6]


def test_the_prior_is_uniform_or_the_shares_of_the_training_rows():
    shown = rows(random_batch(5), random_batch(3, seed=2))  # strata 0 1 2 0 1, 0 1 2
    uniform, data = build(NWGM()), build(NWGM(prior="data"))
    uniform.begin(0, 0, shown)
    data.begin(0, 0, shown)
    assert uniform.weights.tolist() == pytest.approx([1 / 3] * 3)
    assert data.weights.tolist() == pytest.approx([3 / 8, 3 / 8, 2 / 8])


@pytest.mark.parametrize("prior", ["uniform", "data"])
def test_the_logits_equal_the_text_image_by_image(prior):
    method = ready(prior=prior)
    batch = random_batch(4, seed=7)
    logits = method(batch)
    weight, bias = method.classifier.weight, method.classifier.bias
    for i in range(4):
        x = method.backbone(batch.images[i : i + 1])[0].flatten(1).mean(dim=1)
        query = method.query.weight @ x
        score = torch.stack([query @ (method.key.weight @ z) for z in method.dictionary]) / 5**0.5
        attention = score.exp() / score.exp().sum()
        expected = sum(a * p * z for a, p, z in zip(attention, method.weights, method.dictionary, strict=True))
        torch.testing.assert_close(logits[i], weight @ torch.cat([x, expected]) + bias)
    assert attention.max() > 0.4  # the attention does choose


@pytest.mark.parametrize("prior", ["uniform", "data"])
def test_equation_13_with_a_linear_head_the_approximation_is_the_average_over_the_strata(prior):
    method = ready(prior=prior)
    batch = random_batch(4, seed=7)
    with torch.no_grad():
        x = method.backbone(batch.images).mean(dim=(2, 3))
        g = method._attention(x)[:, :, None] * method.dictionary  # g(d_i), [B, K, D]
        f = torch.stack([method.classifier(torch.cat([x, g[:, i]], dim=1)) for i in range(3)])  # f(X, d_i)
        average = sum(p * one for p, one in zip(method.weights, f, strict=True))
        torch.testing.assert_close(method(batch), average)
        prediction = method.predict(batch)
    assert prediction.strata_logits is not None
    torch.testing.assert_close(prediction.strata_logits, f.transpose(0, 1))
    torch.testing.assert_close(prediction.logits, average)


def test_equation_12_with_the_softmax_outside_the_approximation_is_not_the_average_but_the_geometric_mean():
    method = ready()
    with torch.no_grad():
        prediction = method.predict(random_batch(4, seed=7))
    assert prediction.strata_logits is not None
    given = prediction.strata_logits.softmax(dim=2)  # softmax(f(X, d)), [B, K, E]
    inside = prediction.logits.softmax(dim=1)
    outside = torch.einsum("bke,k->be", given, method.weights)
    assert (inside - outside).abs().max() > 0.01
    geometric = (given.log() * method.weights[:, None]).sum(dim=1).exp()  # prod_d softmax(f(X, d))^P(d)
    torch.testing.assert_close(inside, geometric / geometric.sum(dim=1, keepdim=True))


def test_query_and_key_are_trained_through_the_attention():
    method = ready().train()
    [(_, terms)] = method.losses(random_batch())
    terms["classifier"].backward()
    for part in (method.query, method.key):
        assert part.weight.grad is not None
        assert part.weight.grad.abs().max() > 0
    assert not method.dictionary.requires_grad


@pytest.mark.parametrize("options", [{"interval": 0}, {"width": 0}])
def test_settings_that_cannot_be_are_refused(options):
    with pytest.raises(InputError, match="both must be 1 or more"):
        build(NWGM(**options))
