"""Cells are weighed as the papers say: equally, by their loss, or in a balanced last layer."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from emodo.methods import DFR, ERM, GroupDRO, Reweighting
from emodo.methods.reweighting import balanced_subset, cell_sizes
from emodo.networks import Backbone, small_body
from emodo.records import Batch, Confounder, InputError, Task, Training

TASK = Task(("anger", "joy"), Confounder("source", ("a", "b", "c"), (1 / 3, 1 / 3, 1 / 3)))


def build(method):
    torch.manual_seed(0)
    method.build(TASK, Backbone(small_body(), 128, 0, 32))
    return method.train()


def batch_of(emotion, stratum, seed=1):
    draw = torch.Generator().manual_seed(seed)
    n = len(emotion)
    return Batch(
        torch.randn(n, 3, 32, 32, generator=draw), torch.tensor(emotion), torch.tensor(stratum), torch.arange(n)
    )


def training(batch):
    return Training(batch.emotion, batch.stratum, batch.row, lambda: iter([batch]))


# cells a-anger, a-joy, b-anger, b-joy, c-anger, c-joy have 3, 1, 2, 2, 1, 1 rows
UNEVEN = ([0, 0, 0, 1, 0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
SIZES = [3, 1, 2, 2, 1, 1]
HOLES = ([0, 0, 0, 1, 0, 1], [0, 0, 1, 1, 2, 2])  # a-joy is empty


def test_cells_are_counted_stratum_by_emotion():
    assert cell_sizes(training(batch_of(*UNEVEN)), TASK).tolist() == SIZES
    assert cell_sizes(training(batch_of([1], [2])), TASK).tolist() == [0, 0, 0, 0, 0, 1]


# ------------------------------------------------------------------------------------------ Reweighting


def test_each_cell_counts_equally_in_reweighting():
    method, batch = build(Reweighting()), batch_of(*UNEVEN)
    method.begin(0, 0, training(batch))
    [(_, terms)] = method.losses(batch)
    each = F.cross_entropy(method(batch), batch.emotion, reduction="none")
    cells = (batch.stratum * 2 + batch.emotion).tolist()
    means = [sum(each[i] for i, c in enumerate(cells) if c == cell) / SIZES[cell] for cell in range(6)]
    torch.testing.assert_close(terms["classifier"], sum(means) / 6)


def test_an_image_weighs_the_same_in_every_batch():
    method, batch = build(Reweighting()).eval(), batch_of(*UNEVEN)
    method.begin(0, 0, training(batch))
    alone = Batch(*(field[4:6] for field in (batch.images, batch.emotion, batch.stratum, batch.row)))
    [(_, terms)] = method.losses(alone)
    each = F.cross_entropy(method(alone), alone.emotion, reduction="none")
    torch.testing.assert_close(terms["classifier"], (each * 10 / (6 * 2)).mean())


# --------------------------------------------------------------------------------------------- GroupDRO


def test_a_step_of_group_dro_is_that_of_algorithm_1():
    method, batch = build(GroupDRO(eta=0.5)), batch_of(*HOLES)
    method.begin(0, 0, training(batch))
    assert method.group_weights.tolist() == pytest.approx([0.2, 0, 0.2, 0.2, 0.2, 0.2])
    seen = Batch(*(field[[0, 1, 3, 4]] for field in (batch.images, batch.emotion, batch.stratum, batch.row)))
    each = F.cross_entropy(method(seen), seen.emotion, reduction="none").tolist()
    group = {0: (each[0] + each[1]) / 2, 3: each[2], 4: each[3]}
    raised = [0.2 * torch.tensor(0.5 * group.get(g, 0.0)).exp().item() * (g != 1) for g in range(6)]
    q = [weight / sum(raised) for weight in raised]
    [(_, terms)] = method.losses(seen)
    assert method.group_weights.tolist() == pytest.approx(q, rel=1e-5)
    assert terms["classifier"].item() == pytest.approx(sum(q[g] * loss for g, loss in group.items()), rel=1e-5)


def test_the_weights_move_to_the_worst_group():
    method, batch = build(GroupDRO(eta=0.5)), batch_of(*UNEVEN)
    method.begin(0, 0, training(batch))
    odd = replace(batch, emotion=torch.where(batch.stratum == 2, 1 - batch.emotion, batch.emotion))
    optimizer = torch.optim.Adam([{**group, "lr": 1e-3} for group in ERM.phases(method)["classifier"]])
    for _ in range(15):  # learn the labels, turned round in stratum c
        optimizer.zero_grad()
        F.cross_entropy(method(odd), odd.emotion).backward()
        optimizer.step()
    for _ in range(5):
        list(method.losses(batch))
    assert method.group_weights[4:].sum() > 0.8
    assert method.group_weights.sum().item() == pytest.approx(1)


def test_group_weights_start_anew_with_a_training_and_outlive_an_epoch():
    method, batch = build(GroupDRO(eta=1.0)), batch_of(*UNEVEN)
    method.begin(0, 0, training(batch))
    list(method.losses(batch))
    moved = method.group_weights.clone()
    method.begin(0, 1, training(batch))
    assert torch.equal(method.group_weights, moved)
    method.begin(0, 0, training(batch))
    assert method.group_weights.tolist() == pytest.approx([1 / 6] * 6)


# -------------------------------------------------------------------------------------------------- DFR


def test_a_balanced_subset_has_as_many_rows_of_each_cell_as_the_smallest():
    cells = torch.tensor([0, 3, 3, 5, 0, 3, 5, 0, 0])
    seen = set()
    for _ in range(50):
        subset = balanced_subset(cells)
        assert len(set(subset.tolist())) == len(subset)
        assert torch.bincount(cells[subset]).tolist() == [2, 0, 0, 2, 0, 2]
        seen |= set(subset.tolist())
    assert seen == set(range(9))


def steps(method, batch, n, lr=1e-3):
    """Steps as the engine takes them."""
    optimizers = {name: torch.optim.Adam([{**g, "lr": lr} for g in groups]) for name, groups in method.phases().items()}
    for _ in range(n):
        for phase, terms in method.losses(batch):
            optimizers[phase].zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            optimizers[phase].step()


def test_dfr_leaves_all_but_the_last_layer_bit_identical():
    method, batch = build(DFR()), batch_of(*UNEVEN)
    method.begin(0, 0, training(batch))
    steps(method, batch, 3)
    before = copy.deepcopy(method.state_dict())
    method.begin(1, 0, training(batch))
    steps(method, batch, 3)
    after = method.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"last_layer.weight", "last_layer.bias", "center", "spread"}
    assert any("running_var" in name for name in before)


def test_the_first_stage_of_dfr_is_erm():
    dfr, erm, batch = build(DFR()), build(ERM()), batch_of(*UNEVEN)
    dfr.begin(0, 0, training(batch))
    steps(dfr, batch, 3)
    steps(erm, batch, 3)
    torch.testing.assert_close(dfr.classifier(dfr.features(batch.images)), erm(batch))


def test_the_last_layer_learns_standardised_features_of_the_subset():
    method, batch = build(DFR(c=2.0)), batch_of(*UNEVEN)
    method.begin(1, 0, training(batch))
    method.eval()
    features = method.features(batch.images).detach()
    standardised = (features - features.mean(dim=0)) / features.std(dim=0)
    standardised = standardised.nan_to_num(0)  # some of the net's ReLUs are silent
    torch.testing.assert_close(method(batch), method.last_layer(standardised))
    assert len(method.subset) == 6
    torch.manual_seed(5)
    [(phase, terms)] = method.losses(batch)
    torch.manual_seed(5)
    rows = method.subset[torch.randint(6, (10,))]
    loss = F.cross_entropy(method.last_layer(standardised[rows]), batch.emotion[rows])
    assert phase == "last_layer"
    torch.testing.assert_close(terms["last_layer"], loss)
    torch.testing.assert_close(terms["sparsity"], method.last_layer.weight.abs().sum() / (2.0 * 6))


def test_a_resumed_last_stage_finds_its_features_again():
    first, batch = build(DFR()), batch_of(*UNEVEN)
    first.begin(1, 0, training(batch))
    second = build(DFR())
    second.load_state_dict(first.state_dict())
    for method in (first, second):
        torch.manual_seed(7)
        method.begin(1, 1, training(batch))
    assert torch.equal(first.standardised, second.standardised)
    assert torch.equal(first.subset, second.subset)


def test_a_feature_that_never_varies_is_no_obstacle():
    method, batch = build(DFR()), batch_of(*UNEVEN)
    with torch.no_grad():
        method.backbone.body[10].weight.zero_()
    method.begin(1, 0, training(batch))
    assert method(batch).isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"retraining": 0.0}, "retraining is 0"), ({"retraining": 1.0}, "retraining is 1"), ({"c": 0.0}, "c is 0")],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        DFR(**settings)
