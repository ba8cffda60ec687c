"""Each repair equals its formula, written out in float64, and takes back what was planted."""

import numpy as np
import pytest
from scipy.special import softmax

from emodo import repairs


def gaussians(random, n, prior, width=5, apart=1.5):
    """Features of emotions with equal spread, so that a linear layer is the truth: x [N, D], y, the layer's W and b."""
    means = apart * np.eye(len(prior), width)
    y = random.choice(len(prior), n, p=prior)
    x = means[y] + random.normal(size=(n, width))
    return x, y, means, np.log(prior) - (means**2).sum(axis=1) / 2


# ------------------------------------------------------------------------------------------- prior


def test_prior_correction_is_the_posteriors_times_the_ratio_of_the_priors():
    random = np.random.default_rng(0)
    logits = random.normal(size=(7, 3))
    trained, field = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.1, 0.8])
    expected = np.empty((7, 3))
    for i, row in enumerate(softmax(logits, axis=1)):
        products = [field[j] / trained[j] * row[j] for j in range(3)]  # Saerens et al., Eq. 2.4
        expected[i] = [value / sum(products) for value in products]
    found = repairs.prior_correction(trained, field).answer(logits, None)
    assert softmax(found, axis=1) == pytest.approx(expected, rel=1e-12)
    same = repairs.prior_correction(trained, trained)
    assert same.shift == pytest.approx(np.zeros(3), abs=1e-12)


def test_a_shifted_prior_is_taken_back():
    random = np.random.default_rng(1)
    trained, field = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.2, 0.7])
    x, y, weight, bias = gaussians(random, 20_000, field)
    logits = x @ weight.T + bias - np.log(field) + np.log(trained)  # of one who was trained on another prior
    found = repairs.prior_correction(trained, repairs.shares(np.bincount(y))).answer(logits, None)
    best = softmax(x @ weight.T + bias, axis=1)
    assert np.abs(softmax(found, axis=1) - best).max() < 0.02
    assert (found.argmax(axis=1) == y).mean() > (logits.argmax(axis=1) == y).mean() + 0.05


def test_no_share_is_zero():
    assert repairs.shares([0, 3, 5]) == pytest.approx([1 / 11, 4 / 11, 6 / 11])


# ------------------------------------------------------------------------------------- temperature


@pytest.mark.parametrize("planted", [0.5, 1.0, 3.0])
def test_the_temperature_comes_back(planted):
    random = np.random.default_rng(2)
    calibrated = random.normal(scale=2, size=(20_000, 4))
    y = (softmax(calibrated, axis=1).cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1)
    assert repairs.temperature(calibrated * planted, y) == pytest.approx(planted, rel=0.05)


def test_it_is_the_least_of_the_likelihood_lost():
    random = np.random.default_rng(3)
    logits, y = random.normal(scale=3, size=(60, 3)), random.integers(0, 3, 60)

    def lost(t):
        total = 0.0
        for row, truth in zip(logits, y, strict=True):
            powers = [np.exp(value / t) for value in row]  # Guo et al., Eq. 9
            total -= np.log(powers[truth] / sum(powers))
        return total / 60

    found = repairs.temperature(logits, y)
    assert all(lost(found) <= lost(t) + 1e-9 for t in np.geomspace(0.06, 19, 500))
    assert repairs.nll(logits, y).mean() == pytest.approx(lost(1))


# --------------------------------------------------------------------------------------------- DFR


def test_cells_weigh_the_same_but_tiny_ones():
    cell = np.repeat([0, 2, 3], [30, 10, 2])
    weights = repairs.weights_of(cell)
    sums = np.bincount(cell, weights)
    assert weights.mean() == pytest.approx(1)
    assert sums[0] == pytest.approx(sums[2])
    assert sums[3] == pytest.approx(sums[2] * 2 / 5)


@pytest.mark.parametrize("c", [1.0, 0.05])
def test_the_layer_is_where_no_weight_can_do_better(c):
    """The subgradient conditions of the objective, its gradient written out row by row."""
    random = np.random.default_rng(4)
    x, y, *_ = gaussians(random, 80, np.array([0.5, 0.3, 0.2]))
    x = x * np.array([1, 10, 0.1, 1, 1]) + 5
    weights = repairs.weights_of(y)
    layer = repairs.last_layer(x, y, weights, 3, c)
    spread, z = x.std(axis=0), (x - x.mean(axis=0)) / x.std(axis=0)
    gradient, by_bias = np.zeros((3, 5)), np.zeros(3)
    for row, standard, truth, weight in zip(x, z, y, weights, strict=True):
        p = softmax(layer.weight @ row + layer.bias)
        for emotion in range(3):
            slope = weight / weights.sum() * (p[emotion] - (emotion == truth))
            gradient[emotion] += slope * standard
            by_bias[emotion] += slope
    standard = layer.weight * spread
    limit = 1 / (c * 80)
    assert by_bias == pytest.approx(np.zeros(3), abs=1e-4)
    on, off = standard != 0, standard == 0
    assert gradient[on] == pytest.approx(-np.sign(standard[on]) * limit, abs=1e-4)
    assert (np.abs(gradient[off]) <= limit + 1e-4).all()
    assert off.any() if c < 1 else on.sum() > 3


def spurious(random, n, with_cue):
    """Two emotions; one feature is the emotion, noisily, another a cue that goes with it in `with_cue` of the rows."""
    y = random.integers(0, 2, n)
    cue = np.where(random.random(n) < with_cue, y, 1 - y)
    x = np.column_stack([2 * y - 1, 2 * (2 * cue - 1), np.zeros(n)]) + random.normal(size=(n, 3)) * [0.7, 0.3, 1]
    return x, y, cue


def test_a_layer_that_leans_on_a_cue_is_mended_on_balanced_cells():
    random = np.random.default_rng(5)
    x, y, _ = spurious(random, 2000, 0.99)
    leaning = repairs.last_layer(x, y, np.ones(2000), 2, 1.0)
    x, y, cue = spurious(random, 300, 0.9)
    mended = repairs.dfr(x, y, cue * 2 + y, np.arange(300), 2, 0)
    x, y, cue = spurious(random, 4000, 0.5)

    def worst(layer):
        right = layer.answer(np.empty(0), x).argmax(axis=1) == y
        return min(right[(y == emotion) & (cue == value)].mean() for emotion in (0, 1) for value in (0, 1))

    assert worst(leaning) < 0.4
    assert worst(mended) > 0.8
    assert mended.c in repairs.PENALTIES


def test_a_layer_on_noise_is_told_to_stay_small():
    random = np.random.default_rng(6)
    x, y = random.normal(size=(100, 50)), random.integers(0, 2, 100)
    assert repairs.dfr(x, y, y, np.arange(100), 2, 0).c < 1


def test_a_repaired_layer_gives_the_repaired_logits():
    random = np.random.default_rng(7)
    x, weight, bias = random.normal(size=(6, 4)), random.normal(size=(3, 4)), random.normal(size=3)
    new = repairs.Layer(random.normal(size=(3, 4)), random.normal(size=3), 1.0)
    for repair in (repairs.Affine(0.4, np.array([1.0, -1, 2])), new):
        changed = repair.layer(weight, bias)
        assert x @ changed[0].T + changed[1] == pytest.approx(repair.answer(x @ weight.T + bias, x))


# ------------------------------------------------------------------------------ folds, thresholds


def test_folds_split_no_cluster_and_spread_the_emotions():
    random = np.random.default_rng(8)
    cluster = np.repeat(np.arange(40), 5)
    y = random.integers(0, 4, 200)
    fold = repairs.folds(y, cluster, 5, seed=0)
    assert all(len(set(fold[cluster == each])) == 1 for each in range(40))
    assert np.bincount(fold).min() >= 25
    assert min(np.bincount(y[fold == at], minlength=4).min() for at in range(5)) >= 4
    assert (fold == repairs.folds(y, cluster, 5, seed=0)).all()
    assert (fold != repairs.folds(y, cluster, 5, seed=1)).any()
    rare = np.where(np.arange(200) < 2, 4, y)  # two rows of an emotion, fewer than folds
    assert set(repairs.folds(rare, cluster, 5, seed=0)) == set(range(5))


def test_thresholds():
    confidence = np.array([0.9, 0.8, 0.8, 0.7, 0.5])
    right = np.array([True, True, False, True, False])
    assert repairs.threshold_for_coverage(confidence, 0.2) == 0.9
    assert repairs.threshold_for_coverage(confidence, 0.21) == 0.8
    assert repairs.threshold_for_coverage(confidence, 0.8) == 0.7
    assert repairs.threshold_for_coverage(confidence, 1.0) == 0.5
    # wrong from the top: 0 of 1, 1 of 3 (tied), 1 of 4, 2 of 5
    assert repairs.threshold_for_risk(confidence, right, 0.0) == 0.9
    assert repairs.threshold_for_risk(confidence, right, 0.25) == 0.7
    assert repairs.threshold_for_risk(confidence, right, 0.4) == 0.5
    assert repairs.threshold_for_risk(confidence, ~right, 0.1) is None
