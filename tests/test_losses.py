"""Every loss equals its equation, written out in loops of Python floats."""

import math

import numpy as np
import pytest
import torch

from emodo import losses

SEEDS = range(3)


def softmax(logits):
    powers = [math.exp(x) for x in logits]
    return [power / sum(powers) for power in powers]


def cross_entropy(logits, label):
    return -math.log(softmax(logits)[label])


def drawn(seed, *shape):
    return np.random.default_rng([seed, *shape]).normal(0, 2, shape)


def labels(seed, n, classes):
    return np.random.default_rng([seed, n, classes]).integers(0, classes, n)


def equal(ours, oracle):
    assert ours.shape == ()
    assert ours.item() == pytest.approx(oracle, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("seed", SEEDS)
def test_recognition_is_the_cross_entropy_of_equations_3_and_4(seed):
    logits, label = drawn(seed, 7, 5), labels(seed, 7, 5)
    oracle = sum(cross_entropy(row, y) for row, y in zip(logits, label, strict=True)) / 7
    equal(losses.recognition(torch.tensor(logits), torch.tensor(label)), oracle)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("classes", [2, 3, 6])
def test_confusion_is_the_squared_distance_to_uniform_of_equations_3_and_4(seed, classes):
    logits = drawn(seed, 5, classes)
    oracle = 0.0
    for row in logits:
        for p in softmax(row):
            oracle += (p - 1 / classes) ** 2
    equal(losses.confusion(torch.tensor(logits)), oracle / (5 * classes))


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_confusion_is_zero_where_every_class_is_equally_probable_and_nowhere_else(classes):
    uniform = torch.full((4, classes), 3.7, dtype=torch.float64)
    assert losses.confusion(uniform).item() == pytest.approx(0, abs=1e-30)
    certain = torch.zeros(4, classes, dtype=torch.float64)
    certain[:, 0] = 1e3
    largest = ((1 - 1 / classes) ** 2 + (classes - 1) / classes**2) / classes
    assert losses.confusion(certain).item() == pytest.approx(largest)


@pytest.mark.parametrize("seed", SEEDS)
def test_reconstruction_is_the_mean_squared_error_of_equation_5(seed):
    rebuilt, features = drawn(seed, 3, 4, 2, 5), drawn(seed + 10, 3, 4, 2, 5)
    oracle = 0.0
    for index in np.ndindex(3, 4, 2, 5):
        oracle += (rebuilt[index] - features[index]) ** 2
    equal(losses.reconstruction(torch.tensor(rebuilt), torch.tensor(features)), oracle / (3 * 4 * 2 * 5))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_center_is_the_distance_to_the_own_stratums_center_of_equation_6(seed, reduction):
    context, centers, stratum = drawn(seed, 5, 4, 2, 3), drawn(seed, 3, 4, 2, 3), labels(seed, 5, 3)
    oracle = 0.0
    for b, c, h, w in np.ndindex(5, 4, 2, 3):
        oracle += (context[b, c, h, w] - centers[stratum[b], c, h, w]) ** 2
    oracle /= 5 if reduction == "sum" else 5 * 4 * 2 * 3
    found = losses.center(torch.tensor(context), torch.tensor(centers), torch.tensor(stratum), reduction)
    equal(found, oracle)


def test_center_sums_over_the_features_by_default_as_the_released_code_does():
    context, centers, stratum = torch.ones(2, 4, 3, 3), torch.zeros(3, 4, 3, 3), torch.tensor([0, 2])
    assert losses.center(context, centers, stratum).item() == 4 * 3 * 3
    assert losses.center(context, centers, stratum, "mean").item() == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_intervention_is_the_cross_entropy_of_the_mean_logits_of_equation_7(seed):
    logits, emotion = drawn(seed, 4, 3, 6), labels(seed, 4, 6)
    oracle = 0.0
    for b in range(4):
        averaged = [sum(logits[b, k, e] for k in range(3)) / 3 for e in range(6)]
        oracle += cross_entropy(averaged, emotion[b])
    equal(losses.intervention(torch.tensor(logits), torch.tensor(emotion)), oracle / 4)


@pytest.mark.parametrize("seed", SEEDS)
def test_sparse_center_is_the_attention_weighted_distance_of_dacl(seed):
    features, weights, centers = drawn(seed, 5, 4), drawn(seed + 20, 5, 4), drawn(seed, 3, 4)
    emotion = labels(seed, 5, 3)
    oracle = 0.0
    for i in range(5):
        for j in range(4):
            oracle += weights[i, j] * (features[i, j] - centers[emotion[i], j]) ** 2
    found = losses.sparse_center(*map(torch.tensor, (features, weights, centers, emotion)))
    equal(found, oracle / (2 * 5))


@pytest.mark.parametrize(
    "name", ["recognition", "confusion", "reconstruction", "center", "intervention", "sparse_center"]
)
def test_the_gradient_of_every_loss_is_its_slope(name):
    def variable(seed, *shape):
        return torch.tensor(drawn(seed, *shape), requires_grad=True)

    stratum, emotion = torch.tensor(labels(0, 3, 2)), torch.tensor(labels(0, 3, 4))
    arguments = {
        "recognition": (variable(0, 3, 4), emotion),
        "confusion": (variable(0, 3, 4),),
        "reconstruction": (variable(0, 3, 2, 2, 2), variable(1, 3, 2, 2, 2)),
        "center": (variable(0, 3, 2, 2, 2), variable(0, 2, 2, 2, 2), stratum),
        "intervention": (variable(0, 3, 2, 4), emotion),
        "sparse_center": (variable(0, 3, 2), variable(1, 3, 2), variable(2, 4, 2), emotion),
    }[name]
    assert torch.autograd.gradcheck(getattr(losses, name), arguments)


# ------------------------------------------------------------------------ of several emotions a row


def multi_hot(seed, n, classes):
    return np.random.default_rng([seed, n, classes]).integers(0, 2, (n, classes)).astype(float)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("seed", SEEDS)
def test_binary_cross_entropy_is_that_of_each_emotion_by_itself(seed):
    logits, held = drawn(seed, 7, 5), multi_hot(seed, 7, 5)
    oracle = 0.0
    for b, e in np.ndindex(7, 5):
        p = sigmoid(logits[b, e])
        oracle -= math.log(p) if held[b, e] else math.log(1 - p)
    equal(losses.binary_cross_entropy(torch.tensor(logits), torch.tensor(held)), oracle / (7 * 5))


def test_binary_cross_entropy_is_finite_where_a_sigmoid_is_zero():
    logits = torch.tensor([[-800.0, 800.0]], requires_grad=True)
    loss = losses.binary_cross_entropy(logits, torch.tensor([[1.0, 0.0]]))
    loss.backward()
    assert loss.item() == 800
    assert logits.grad is not None
    assert logits.grad.tolist() == [[-0.5, 0.5]]


@pytest.mark.parametrize("seed", SEEDS)
def test_category_weights_are_one_by_the_logarithm_of_the_share_and_a_constant(seed):
    held = multi_hot(seed, 9, 6)
    held[:, 2], held[:, 4] = 0, 1
    found = losses.category_weights(torch.tensor(held)).tolist()
    for e in range(6):
        rows = sum(held[b, e] for b in range(9))
        assert found[e] == pytest.approx(1 / math.log(1.2 + rows / 9) if rows else 0.0001, rel=1e-12)
    assert found[4] == pytest.approx(1 / math.log(2.2))
    assert losses.category_weights(torch.tensor(held), c=2.0)[4].item() == pytest.approx(1 / math.log(3))


@pytest.mark.parametrize("seed", SEEDS)
def test_discrete_category_is_the_weighted_squared_distance_of_emotic(seed):
    logits, held, weights = drawn(seed, 7, 5), multi_hot(seed, 7, 5), np.abs(drawn(seed, 5))
    oracle = 0.0
    for b, e in np.ndindex(7, 5):
        oracle += weights[e] * (sigmoid(logits[b, e]) - held[b, e]) ** 2
    equal(losses.discrete_category(*map(torch.tensor, (logits, held, weights))), oracle / 7)


def test_discrete_category_is_computed_in_the_precision_of_the_labels():
    logits, held = torch.tensor([[3.0, -2.0]]), torch.tensor([[1.0, 0.0]])
    weights = torch.ones(2)
    exact = losses.discrete_category(logits, held, weights)
    assert losses.discrete_category(logits.bfloat16(), held, weights).item() == pytest.approx(exact.item(), rel=1e-6)


# ----------------------------------------------------------------------------- of general methods


@pytest.mark.parametrize("seed", SEEDS)
def test_weighted_is_the_mean_of_each_images_cross_entropy_times_its_weight(seed):
    logits, label, weights = drawn(seed, 6, 4), labels(seed, 6, 4), np.abs(drawn(seed, 6))
    oracle = sum(w * cross_entropy(row, y) for row, y, w in zip(logits, label, weights, strict=True)) / 6
    equal(losses.weighted(torch.tensor(logits), torch.tensor(label), torch.tensor(weights)), oracle)


def test_group_sums_add_up_each_groups_values():
    values, group = torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([2, 0, 2, 3])
    sums, sizes = losses.group_sums(values, group, 5)
    assert sums.tolist() == [2, 0, 5, 8, 0]
    assert sizes.tolist() == [1, 0, 2, 1, 0]


@pytest.mark.parametrize("seed", SEEDS)
def test_exponentiated_weights_are_those_of_group_dro_algorithm_1(seed):
    q, loss, eta = np.abs(drawn(seed, 5)), np.abs(drawn(seed + 1, 5)), 0.3
    q[2] = 0
    raised = [weight * math.exp(eta * value) for weight, value in zip(q, loss, strict=True)]
    found = losses.exponentiated(torch.tensor(q), torch.tensor(loss), eta)
    assert found.tolist() == pytest.approx([value / sum(raised) for value in raised], rel=1e-12)
    assert found[2] == 0


@pytest.mark.parametrize("match_means", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_coral_is_the_mean_over_pairs_of_strata_of_equation_1(seed, match_means):
    features, stratum = drawn(seed, 10, 3), np.array([0, 0, 0, 1, 1, 2, 4, 4, 4, 4])  # 2 is alone, 3 absent
    covariances, means = {}, {}
    for k in (0, 1, 4):
        rows = features[stratum == k]
        means[k] = rows.mean(axis=0)
        covariances[k] = np.cov(rows, rowvar=False)
    pairs = [(0, 1), (0, 4), (1, 4)]
    oracle = 0.0
    for i, j in pairs:
        oracle += ((covariances[i] - covariances[j]) ** 2).sum() / 9
        oracle += match_means * ((means[i] - means[j]) ** 2).sum() / 3
    equal(losses.coral(torch.tensor(features), torch.tensor(stratum), 5, match_means), oracle / 3)


@pytest.mark.parametrize("stratum", [[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 2, 3]], ids=str)
def test_coral_is_zero_where_no_two_strata_can_be_compared(stratum):
    features = torch.tensor(drawn(0, 4, 3), requires_grad=True)
    distance = losses.coral(features, torch.tensor(stratum), 4)
    distance.backward()
    assert distance.item() == 0
    assert features.grad is not None
    assert not features.grad.any()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("q", [0.1, 0.7, 1.0])
def test_generalised_cross_entropy_is_l_q(seed, q):
    logits, label = drawn(seed, 6, 4), labels(seed, 6, 4)
    oracle = sum((1 - softmax(row)[y] ** q) / q for row, y in zip(logits, label, strict=True)) / 6
    equal(losses.generalised_cross_entropy(torch.tensor(logits), torch.tensor(label), q), oracle)


def test_generalised_cross_entropy_has_a_gradient_where_the_label_seems_impossible():
    logits = torch.tensor([[-200.0, 0.0]], requires_grad=True)
    losses.generalised_cross_entropy(logits, torch.tensor([0]), 0.7).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_relative_difficulty_is_the_biased_networks_part_of_both_losses():
    biased, debiased = torch.tensor([3.0, 0.0, 1.0, 0.0]), torch.tensor([1.0, 2.0, 0.0, 0.0])
    assert losses.relative_difficulty(biased, debiased).tolist() == [0.75, 0, 1, 0]


@pytest.mark.parametrize(
    "name", ["weighted", "coral", "generalised_cross_entropy", "binary_cross_entropy", "discrete_category"]
)
def test_the_gradient_of_every_general_loss_is_its_slope(name):
    logits, emotion = torch.tensor(drawn(0, 5, 3), requires_grad=True), torch.tensor(labels(0, 5, 3))
    arguments = {
        "weighted": (logits, emotion, torch.tensor(drawn(1, 5))),
        "coral": (logits, torch.tensor([0, 0, 1, 1, 1]), 2),
        "generalised_cross_entropy": (logits, emotion, 0.7),
        "binary_cross_entropy": (logits, torch.tensor(multi_hot(0, 5, 3))),
        "discrete_category": (logits, torch.tensor(multi_hot(0, 5, 3)), torch.tensor([0.5, 2.0, 1.0])),
    }[name]
    assert torch.autograd.gradcheck(getattr(losses, name), arguments)
