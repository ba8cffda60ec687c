"""IERN equals a plain transcription of Algorithm 1, appendix A.2 and Eq. 9."""

import pytest
import torch

from emodo.methods import IERN, Disentanglement
from emodo.networks import Backbone, small_body
from emodo.records import Batch, Confounder, Task
from transcription import PlainIERN

TASK = Task(("anger", "fear", "joy", "sadness"), Confounder("source", ("a", "b", "c"), (1 / 3,) * 3))


def build(method, size=64, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    method.build(TASK, Backbone(small_body(), 128, 0, size))
    return method.to(dtype)


def random_batch(n=6, size=64, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, size, size, generator=generator, dtype=dtype)
    emotion = torch.randint(0, 4, (n,), generator=generator)
    stratum = torch.arange(n) % 3
    return Batch(images, emotion, stratum, torch.arange(n))


def optimizers(method):
    return {name: torch.optim.Adam(groups) for name, groups in method.phases().items()}


def step(method, optimizers, batch):
    losses, grads = {}, {}
    names = {id(p): name for name, p in method.named_parameters()}
    for phase, terms in method.losses(batch):
        optimizers[phase].zero_grad()
        sum(terms.values()).backward()
        grads[phase] = {
            names[id(p)]: p.grad.clone() for group in optimizers[phase].param_groups for p in group["params"]
        }
        optimizers[phase].step()
        losses |= {name: value.detach() for name, value in terms.items()}
    return losses, grads


def close(ours, theirs, tolerance):
    scale = theirs.abs().max().clamp(min=1e-300)
    return ((ours - theirs).abs().max() / scale).item() <= tolerance


VARIANTS = [
    {"batchnorm": "stratum"},
    {"batchnorm": "pooled"},
    {"batchnorm": "stratum", "block": "table5", "head_bias": True},
    {"batchnorm": "pooled", "center_loss": "mean", "full_rate_centers": False, "pair_weight": 1.0},
    {"batchnorm": "stratum", "init": "default", "lambda_feature": 0.7, "lambda_classifier": 1.3},
]


@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(str(v) for v in o.values()))
def test_three_steps_equal_algorithm_1(options):
    method = build(IERN(channels=16, **options)).train()
    plain = PlainIERN(method).train()
    ours = optimizers(method)
    for i in range(3):
        batch = random_batch(seed=i)
        losses, grads = step(method, ours, batch)
        plain_losses, plain_grads = plain.step(batch.images, batch.emotion, batch.stratum, keep=True)
        assert losses.keys() == plain_losses.keys()
        assert grads.keys() == plain_grads.keys()
        if i:
            continue
        for name, value in plain_losses.items():
            assert losses[name].item() == pytest.approx(value.item(), rel=1e-9), name
        for phase, expected in plain_grads.items():
            assert grads[phase].keys() == expected.keys()
            for name, gradient in expected.items():
                assert close(grads[phase][name], gradient, 1e-9), (phase, name)
    state = plain.state_dict()
    for name, value in method.state_dict().items():
        assert close(value.double(), state[name].double(), 1e-6), name


@pytest.mark.parametrize("options", VARIANTS[:3], ids=lambda o: "-".join(str(v) for v in o.values()))
def test_prediction_equals_equation_9_stratum_by_stratum(options):
    method = build(IERN(channels=32, **options), dtype=torch.float32).train()
    ours = optimizers(method)
    for i in range(3):  # running statistics that differ between strata
        step(method, ours, random_batch(dtype=torch.float32, seed=i))
    plain = PlainIERN(method).eval()
    method.eval()
    batch = random_batch(dtype=torch.float32, seed=9)
    with torch.no_grad():
        prediction = method.predict(batch)
        emotion = plain.emotion_generator(plain.base(batch.images))
        expected = torch.stack([plain.predict_in(emotion, i) for i in range(3)], dim=1)
        assert prediction.strata_logits is not None
        torch.testing.assert_close(prediction.strata_logits, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(method(batch), plain.predict(batch.images), rtol=0, atol=1e-5)
        assert (expected[:, 0] - expected[:, 1]).abs().max() > 1e-3  # the strata do differ


@pytest.mark.parametrize("method", [IERN(channels=16), Disentanglement(channels=16)], ids=["IERN", "Disentanglement"])
def test_each_phase_changes_its_own_parameters_and_no_others(method):
    build(method).train()
    ours = optimizers(method)
    owned = {
        "discriminators": {"emotion_discriminator", "context_discriminator"},
        "features": {"emotion_generator", "context_generator", "reconstruction", "centers"},
        "classifier": {"backbone", "emotion_generator", "classifier"},
    }
    if isinstance(method, Disentanglement):
        owned["features"].remove("centers")
    for phase, terms in method.losses(random_batch()):
        before = {name: p.detach().clone() for name, p in method.named_parameters()}
        ours[phase].zero_grad()
        sum(terms.values()).backward()
        ours[phase].step()
        changed = {name.split(".")[0] for name, p in method.named_parameters() if not torch.equal(p, before[name])}
        assert changed == owned[phase]


def test_classifier_phase_computes_no_gradient_for_the_reconstruction_network():
    method = build(IERN(channels=16)).train()
    for phase, terms in method.losses(random_batch()):
        for p in method.reconstruction.parameters():
            p.grad = None
        sum(terms.values()).backward()
        arrived = [p.grad is not None for p in method.reconstruction.parameters()]
        assert all(arrived) if phase == "features" else not any(arrived)


@pytest.mark.parametrize("full", [True, False])
def test_centers_move_at_the_full_rate_of_the_released_code(full):
    method = build(IERN(channels=16, lambda_center=0.01, full_rate_centers=full)).train()
    batch = random_batch()
    context = method.context_generator(method.backbone(batch.images).detach())
    method._gather(context, batch.stratum).backward()
    # d/dC_i of sum over the features, mean over the batch: 2 (C_i - c) / B for each image of the stratum
    expected = torch.zeros_like(method.centers)
    for image, stratum in zip(context, batch.stratum, strict=True):
        expected[stratum] += 2 * (method.centers[stratum] - image) / len(batch)
    assert method.centers.grad is not None
    torch.testing.assert_close(method.centers.grad, expected.detach() * (1 if full else 0.01))


def test_feature_losses_leave_the_backbone_alone():
    method = build(IERN(channels=16)).train()
    for phase, terms in method.losses(random_batch()):
        for p in method.backbone.parameters():
            p.grad = None
        sum(terms.values()).backward()
        assert all((p.grad is not None) == (phase == "classifier") for p in method.backbone.parameters())


@pytest.mark.parametrize("method", [IERN(backbone_lr=0.0), Disentanglement(backbone_lr=0.0)], ids=["IERN", "Dis"])
def test_a_backbone_rate_of_zero_is_zero(method):
    build(method)
    assert [group["lr"] for group in method.phases()["classifier"]] == [0.0, 2e-4]


def plain_layout(parameter):
    return parameter.is_contiguous()


def channels_last_layout(parameter):
    return parameter.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("method", [IERN(channels=16), Disentanglement(channels=16)])
def test_on_a_cpu_only_the_backbone_has_its_channels_last(method):
    method = build(method)
    large = {name: p for name, p in method.named_parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[-1] > 1}
    method.lay_out(torch.device("cpu"))
    for name, parameter in large.items():
        backbone = name.startswith("backbone.")
        assert (channels_last_layout if backbone else plain_layout)(parameter), name
    for phase, terms in method.losses(random_batch()):
        sum(terms.values()).backward()
        for name, parameter in large.items():  # so that Adam copies none of them
            if parameter.grad is not None and not name.startswith("backbone."):
                assert plain_layout(parameter.grad), (phase, name)
    method.lay_out(torch.device("cuda"))
    assert all(channels_last_layout(p) and not plain_layout(p) for p in large.values())


def test_losses_and_gradients_do_not_depend_on_the_layout():
    found = []
    for device in ("cuda", "cpu"):
        method = build(IERN(channels=16))
        method.lay_out(torch.device(device))
        terms = {}
        for _, losses in method.losses(random_batch()):
            sum(losses.values()).backward()
            terms |= losses
        found.append((terms, {name: p.grad for name, p in method.named_parameters()}))
    for ours, theirs in zip(*found, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-9, atol=1e-12)
