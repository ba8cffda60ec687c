"""The distance of two samples, what clusters leave of them, and mixes, against oracles from the equations."""

import numpy as np
import pytest
from scipy import stats

from emodo.drift import Sample, clustered, distance, mix, mixture
from monitored import sample


def test_the_distance_is_total_variation_and_pearsons_test():
    found = distance(sample(50, 30, 20), sample(20, 40, 60))
    assert found is not None
    assert found.tv == pytest.approx((abs(50 / 100 - 20 / 120) + abs(0.3 - 40 / 120) + abs(0.2 - 0.5)) / 2)
    expected = stats.chi2_contingency(np.array([[50, 30, 20], [20, 40, 60]]), correction=False)
    assert found.p == pytest.approx(expected.pvalue)


def test_what_chance_gives_is_what_samples_of_one_population_give():
    random, p = np.random.default_rng(0), [0.5, 0.3, 0.15, 0.05]
    drawn = [[Sample(random.multinomial(n, p)) for n in (300, 200)] for _ in range(2000)]
    found = [distance(*pair) for pair in drawn]
    assert np.mean([each.tv for each in found]) == pytest.approx(np.mean([each.by_chance for each in found]), rel=0.05)
    assert np.mean([each.p < 0.05 for each in found]) == pytest.approx(0.05, abs=0.02)


def test_copies_of_an_image_are_worth_one():
    random = np.random.default_rng(1)
    codes = random.integers(0, 3, 200)
    table = 5 * np.eye(3, dtype=int)[codes]
    found = clustered(table)
    assert (found.n, found.clusters) == (1000, 200)
    assert found.worth == pytest.approx(200, rel=0.01)
    images = Sample(np.bincount(codes, minlength=3))
    other = sample(90, 60, 50)
    assert distance(found, other).p == pytest.approx(distance(images, other).p, rel=0.1)


def test_the_design_effect_is_the_ratio_of_variances_by_clusters_and_by_images():
    table = np.array([[3, 0], [2, 1], [0, 3], [4, 0], [0, 0]])
    p, n = 9 / 13, 13
    residuals = [rows[0] - rows.sum() * p for rows in table[:4]]
    variance = 4 / 3 * sum(each**2 for each in residuals) / n**2
    found = clustered(table)
    assert found.clusters == 4
    assert found.design == pytest.approx(variance / (p * (1 - p) / n))
    assert clustered(np.tile([1, 1], (50, 1))).design == 1.0  # alike within, no less than images


def test_clusters_keep_the_level():
    random = np.random.default_rng(2)

    def videos(count):
        return clustered(np.stack([random.multinomial(8, each) for each in random.dirichlet([2, 1, 1], count)]))

    p = np.array([distance(videos(60), videos(40)).p for _ in range(2000)])
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.02)
    images = np.array(
        [distance(Sample(videos(60).counts), Sample(videos(40).counts)).p for _ in range(300)]
    )  # what it would be, were every frame taken for itself
    assert (images < 0.05).mean() > 0.15


def test_rare_values_are_joined_and_few_images_tell_nothing():
    rare = distance(sample(500, 480, 1, 2, 1), sample(260, 239, 0, 0, 1))
    joined = stats.chi2_contingency(np.array([[500, 484], [260, 240]]), correction=False)
    assert rare.p == pytest.approx(joined.pvalue)  # the rare ones, and then the rarest other
    assert distance(sample(3, 2), sample(50, 50)) is None
    assert distance(sample(0, 0), sample(50, 50)) is None
    assert distance(sample(50, 50), clustered(np.array([[10, 40]]))) is None  # one cluster
    assert distance(sample(100, 0), sample(50, 0)).p == 1.0


def test_a_mixture_is_found_where_its_parts_are_known():
    confusion = np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]])
    weights = np.array([0.1, 0.3, 0.6])
    assert mixture(weights @ confusion, confusion) == pytest.approx(weights, abs=1e-3)
    assert mixture(np.array([1.0, 0, 0]), confusion) == pytest.approx([1, 0, 0], abs=1e-6)
    unheard = np.array([[0.5, 0.5, 0], [0.2, 0.8, 0]])  # no part tells the last value, and all that was told is that
    assert mixture(np.array([0.0, 0, 1]), unheard) == pytest.approx([0.5, 0.5])
    wide = np.array([[0.5, 0.3, 0.1, 0.1], [0.1, 0.1, 0.4, 0.4]])  # fewer parts than values
    assert mixture(np.array([0.25, 0.75]) @ wide, wide) == pytest.approx([0.25, 0.75], abs=1e-3)


def test_the_interval_of_a_mix_holds_the_truth():
    random = np.random.default_rng(3)
    confusion, weights = np.array([[0.75, 0.25], [0.3, 0.7]]), np.array([0.7, 0.3])
    inside = []
    for seed in range(50):
        known = [Sample(random.multinomial(200, row)) for row in confusion]
        told = Sample(random.multinomial(300, weights @ confusion))
        share = mix(told, known, replicates=200, seed=seed)[0]
        inside.append(share.low <= 0.7 <= share.high)
    assert sum(inside) >= 44
