"""The layer is found whatever the method, and exchanging it changes what it should and nothing else."""

import numpy as np
import pytest
import torch

from emodo.lastlayer import answers, exchange
from emodo.methods import CCIM, CLEF, DFR, ERM, IERN, NWGM, CAERNet, Disentanglement, LfF
from emodo.records import Batch, Confounder, Task
from emodo.repairs import Affine, Layer
from untrained import untrained

PROTOTYPES = torch.randn(4, 10, generator=torch.Generator().manual_seed(4))
TASK = Task(("a", "b", "c", "d"), Confounder("source", ("w", "x", "y", "z"), (0.4, 0.3, 0.2, 0.1), PROTOTYPES))
LAYERS = {
    "ERM": (ERM, {}, "classifier", 128),
    "DFR": (DFR, {}, "last_layer", 128),
    "LfF": (LfF, {}, "classifier", 128),
    "IERN": (IERN, {"channels": 16, "init": "default"}, "classifier", 16),
    "Disentanglement": (Disentanglement, {"channels": 16, "init": "default"}, "classifier", 16),
    "NWGM": (NWGM, {"width": 8}, "classifier", 256),
    "CAERNet": (CAERNet, {"width": 24}, "head", 24),
    "CCIM": (CCIM, {"host": "plain", "d_m": 12, "d_n": 8}, "head", 12),
    "CCIM, as released": (CCIM, {"host": "plain", "d_m": 12, "d_n": 8, "residual_head": True}, "head.classifier", 12),
}


def batches():
    draw = torch.Generator().manual_seed(1)
    for n in (4, 1, 3):  # as many as strata, one, and another number
        images, whole, context = torch.randn(3, n, 3, 32, 32, generator=draw)
        unknown = torch.full((n,), -1)
        yield Batch(images, unknown, unknown, unknown, whole, context)


def of(method):
    return answers(method, batches(), 4, torch.device("cpu"))


@pytest.fixture(params=LAYERS)
def case(request):
    kind, settings, layer, width = LAYERS[request.param]
    method = untrained(kind(**settings), TASK)
    if isinstance(method, NWGM):
        method.dictionary.normal_()
    return method, layer, width


def test_its_last_layer_is_found_by_what_it_is_given(case):
    method, layer, width = case
    found = of(method)
    assert found.layer == layer
    assert found.features.shape == (8, width)
    last = method.get_submodule(layer)
    weight, bias = last.weight.detach().double().numpy(), last.bias.detach().double().numpy()
    assert found.features @ weight.T + bias == pytest.approx(found.logits, abs=1e-4)
    with torch.no_grad():
        expected = torch.cat([method(batch) for batch in batches()]).numpy()
    assert found.logits == pytest.approx(expected, abs=1e-5)
    assert not any(part._forward_hooks for part in method.modules())


@pytest.mark.parametrize(
    "repair",
    [
        Affine(1 / 2.5, np.zeros(4)),
        Affine(1.0, np.array([0.5, -0.25, 0.0, 1.0])),
        None,
    ],
    ids=["temperature", "prior", "dfr"],
)
def test_with_another_layer_the_method_says_what_the_repair_does(case, repair):
    method, layer, width = case
    before = of(method)
    if repair is None:
        repair = Layer(np.random.default_rng(0).normal(size=(4, width)), np.array([0.1, 0.2, -0.3, 0.0]), 1.0)
    others = {name: value.clone() for name, value in method.state_dict().items() if not name.startswith(layer + ".")}
    exchange(method, layer, repair)
    after = of(method)
    assert after.logits == pytest.approx(repair.answer(before.logits, before.features), abs=1e-4)
    assert after.features == pytest.approx(before.features, abs=1e-5)
    state = method.state_dict()
    assert all(torch.equal(state[name], value) for name, value in others.items())
    batch = next(batches())
    with torch.no_grad():
        said, plain = method.predict(batch), method(batch)
    assert said.logits.numpy() == pytest.approx(plain.numpy(), abs=1e-4)  # the way with strata says the same


def test_logits_that_no_layer_gives_are_known_as_such():
    found = of(untrained(CLEF(host="plain"), TASK))
    assert found.logits.shape == (8, 4)
    assert (found.features, found.layer) == (None, None)
