"""Calibration and risk-coverage against hand values, plain loops, statsmodels, and simulations whose truth is known."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from emodo.calibration import bins_of, brier, calibration_error, coverage_area, reliability, risks, wilson


def drawn(seed, n, distinct=None):
    """Confidences, and answers that are right a little less often than these say."""
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.2, 1, n) if distinct is None else generator.choice(distinct, n)
    return confidence, generator.random(n) < confidence - 0.1


# ------------------------------------------------------------------------------------------- brier


def test_the_brier_score_by_hand():
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    expected = ((0.3**2 + 0.2**2 + 0.1**2) + (0.1**2 + 0.7**2 + 0.6**2)) / 2
    assert brier(p, np.array([0, 1])) == pytest.approx(expected, abs=1e-15)


def test_the_ends_of_the_brier_score_and_of_knowing_nothing():
    sure = np.eye(4)[[0, 1, 2]]
    assert brier(sure, np.array([0, 1, 2])) == 0
    assert brier(sure, np.array([1, 2, 3])) == 2
    assert brier(np.full((5, 4), 0.25), np.arange(5) % 4) == pytest.approx(1 - 1 / 4)


def test_the_probabilities_are_left_as_they_were():
    p = np.full((2, 2), 0.5)
    brier(p, np.array([0, 1]))
    assert (p == 0.5).all()


# -------------------------------------------------------------------------------------------- bins


@pytest.mark.parametrize(("n", "wanted"), [(1, 1), (9, 1), (19, 1), (20, 2), (149, 14), (150, 15), (4000, 15)])
def test_few_images_have_fewer_bins(n, wanted):
    assert bins_of(np.random.default_rng(0).random(n)).max() + 1 == wanted


def test_bins_have_equal_mass_and_follow_confidence():
    confidence = np.random.default_rng(1).random(1000)
    number = bins_of(confidence, 7)
    assert set(np.bincount(number)) <= {1000 // 7, 1000 // 7 + 1}
    assert (np.diff(number[np.argsort(confidence)]) >= 0).all()


def test_equal_confidences_are_in_one_bin_so_that_the_order_of_rows_decides_nothing():
    confidence, right = drawn(2, 300, [0.3, 0.5, 0.9])
    assert bins_of(confidence).max() + 1 == 3
    order = np.random.default_rng(3).permutation(300)
    shuffled = calibration_error(confidence[order], right[order])
    assert shuffled == pytest.approx(calibration_error(confidence, right), abs=1e-12)
    assert (risks(confidence, right) == risks(confidence[order], right[order])).all()
    assert bins_of(np.full(500, 1.0)).max() == 0


# --------------------------------------------------------------------------------------------- ECE


def test_the_calibration_error_by_hand():
    # two bins of ten: mean confidence 0.35 with accuracy 0.3, and 0.9 with accuracy 0.6
    confidence = np.concatenate([np.linspace(0.3, 0.4, 10), np.linspace(0.8, 1.0, 10)])
    right = np.array([1] * 3 + [0] * 7 + [1] * 6 + [0] * 4, bool)
    assert calibration_error(confidence, right)[0] == pytest.approx((0.05 + 0.3) / 2)


def test_the_calibration_error_is_that_of_a_loop():
    confidence, right = drawn(4, 433)
    order = sorted(range(433), key=lambda at: confidence[at])
    error = 0.0
    for at in range(15):
        inside = order[at * 433 // 15 : (at + 1) * 433 // 15]
        gap = sum(right[i] for i in inside) / len(inside) - sum(confidence[i] for i in inside) / len(inside)
        error += len(inside) / 433 * abs(gap)
    assert calibration_error(confidence, right)[0] == pytest.approx(error, abs=1e-12)


@pytest.mark.parametrize("n", [60, 300, 3000])
def test_what_a_calibrated_method_has_by_chance(n):
    generator = np.random.default_rng(5)
    found = []
    for _ in range(400):
        confidence = generator.uniform(0.3, 1, n)
        found.append(calibration_error(confidence, generator.random(n) < confidence))
    error, chance = np.mean(found, axis=0)
    assert chance == pytest.approx(error, rel=0.05)


def test_the_error_of_a_calibrated_method_is_larger_where_images_are_fewer():
    confidence, right = np.full(20_000, 0.7), np.random.default_rng(6).random(20_000) < 0.7
    confidence = confidence + np.linspace(-1e-6, 1e-6, 20_000)
    few, many = calibration_error(confidence[::100], right[::100]), calibration_error(confidence, right)
    assert few[0] > 3 * many[0]
    assert few[1] == pytest.approx(10 * many[1], rel=0.05)  # a hundredth of the images


# ------------------------------------------------------------------------------------- reliability


def test_points_of_the_curve_by_a_loop_with_wilsons_interval():
    confidence, right = drawn(7, 200)
    number = bins_of(confidence)
    points = reliability(confidence, right)
    assert [point["n"] for point in points] == np.bincount(number).tolist()
    for at, point in enumerate(points):
        inside = number == at
        assert point["accuracy"] == pytest.approx(right[inside].mean())
        assert point["confidence"] == pytest.approx(confidence[inside].mean())
        expected = proportion_confint(right[inside].sum(), inside.sum(), 0.05, "wilson")
        assert (point["low"], point["high"]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("hits", [0, 7, 20])
def test_wilsons_interval_is_statsmodels(hits):
    assert wilson(hits / 20, 20) == pytest.approx(proportion_confint(hits, 20, 0.05, "wilson"), abs=1e-12)


def test_images_of_a_cluster_count_once():
    confidence, right = drawn(8, 150)
    single = reliability(confidence, right, bins=5)
    tripled = reliability(np.repeat(confidence, 3), np.repeat(right, 3), np.repeat(np.arange(150), 3), bins=5)
    assert [point["n"] for point in tripled] == [90] * 5
    for one, three in zip(single, tripled, strict=True):
        assert (three["low"], three["high"]) == pytest.approx((one["low"], one["high"]), abs=1e-12)


def test_clusters_of_uneven_size_count_as_kish_says():
    confidence, right = np.full(10, 0.5), np.array([1, 0] * 5, bool)
    (point,) = reliability(confidence, right, np.array([0] * 7 + [1, 2, 3]))
    assert (point["low"], point["high"]) == pytest.approx(wilson(0.5, 10**2 / (7**2 + 3)))


# ----------------------------------------------------------------------------------- risk, coverage


def test_risks_and_areas_by_hand():
    confidence, right = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0], bool)
    assert risks(confidence, right) == pytest.approx([0, 1 / 2, 1 / 3, 2 / 4])
    # best: right, right, wrong, wrong
    assert coverage_area(confidence, right) == pytest.approx((4 / 3 / 4, (4 / 3 - (1 / 3 + 2 / 4)) / 4))


def test_the_area_is_that_of_a_loop():
    confidence, right = drawn(9, 97)
    order = np.argsort(-confidence)
    area, wrong = 0.0, 0
    for k, at in enumerate(order, 1):
        wrong += not right[at]
        area += wrong / k / 97
    best, wrong = 0.0, 0
    for k in range(1, 98):
        wrong += k > right.sum()
        best += wrong / k / 97
    assert coverage_area(confidence, right) == pytest.approx((area, area - best), abs=1e-12)


def test_ties_count_as_the_mean_over_all_orders():
    confidence, right = drawn(10, 60, [0.4, 0.6, 0.8])
    generator = np.random.default_rng(11)
    over_orders = [risks(confidence + generator.uniform(0, 1e-6, 60), right) for _ in range(4000)]
    assert risks(confidence, right) == pytest.approx(np.mean(over_orders, axis=0), abs=0.02)


def test_an_order_without_fault_has_no_excess_and_nothing_right_has_the_whole_area():
    right = np.array([True] * 30 + [False] * 10)
    assert coverage_area(np.linspace(1, 0, 40), right)[1] == pytest.approx(0, abs=1e-15)
    assert coverage_area(np.linspace(1, 0, 40), np.zeros(40, bool)) == pytest.approx((1, 0))
    assert coverage_area(np.linspace(1, 0, 40), np.ones(40, bool)) == (0, 0)
