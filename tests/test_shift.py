"""Distances of two samples against SciPy, plain loops, and simulated truths."""

import numpy as np
import pytest
from scipy import stats

from emodo.factors import Factor, number
from emodo.shift import area, classified, farness, permuted, shifts, standardised, told_alone, total_variation


def samples(n=40, m=30, shift=0.5, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(0, 1, n).round(1), random.normal(shift, 1.4, m).round(1)


def test_the_area_is_mann_whitneys_and_its_interval_delongs_where_images_are_alone():
    lab, field = samples()
    found = area(lab, field, np.arange(40), np.arange(30))
    pairs = (field[:, None] > lab) + 0.5 * (field[:, None] == lab)
    assert found.estimate == pytest.approx(pairs.mean())
    assert found.estimate == pytest.approx(stats.mannwhitneyu(field, lab).statistic / 1200)
    # DeLong: the variances of the placements over their numbers
    parts = np.array([pairs.mean(axis=0).var(ddof=1) / 40, pairs.mean(axis=1).var(ddof=1) / 30])
    freedom = parts.sum() ** 2 / (parts**2 / [39, 29]).sum()
    assert (found.high - found.low) / 2 == pytest.approx(parts.sum() ** 0.5 * stats.t.ppf(0.975, freedom))


def test_images_of_one_person_are_not_so_many_images():
    lab, field = samples(20, 20)
    alone = area(lab, field, np.arange(20), np.arange(20))
    copied = area(np.repeat(lab, 5), np.repeat(field, 5), np.repeat(np.arange(20), 5), np.repeat(np.arange(20), 5))
    assert copied.estimate == pytest.approx(alone.estimate)
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=1e-6)


def test_the_standardised_difference_and_its_interval_are_the_bootstraps():
    lab, field = samples(300, 200)
    found = standardised(lab, field, np.arange(300), np.arange(200))

    def smd(a, b):
        return (b.mean() - a.mean()) / ((a.var() + b.var()) / 2) ** 0.5

    random = np.random.default_rng(1)
    drawn = [smd(random.choice(lab, 300), random.choice(field, 200)) for _ in range(3000)]
    assert found.estimate == pytest.approx(smd(lab, field))
    assert found.high - found.low == pytest.approx(2 * 1.97 * np.std(drawn), rel=0.05)
    assert standardised(np.ones(5), np.ones(4), np.arange(5), np.arange(4)) is None


def values(lab, field, seed=0, n=200, m=150):
    random = np.random.default_rng(seed)
    return Factor("f", tuple("abc"), random.choice(3, n, p=lab), random.choice(3, m, p=field))


def test_the_total_variation_is_half_the_sum_of_differences():
    factor = values([0.5, 0.3, 0.2], [0.1, 0.3, 0.6])
    found = total_variation(factor, np.arange(200), np.arange(150))
    lab, field = (np.bincount(place, minlength=3) / len(place) for place in (factor.lab, factor.field))
    assert found.estimate == pytest.approx(np.abs(lab - field).sum() / 2)
    sign = np.sign(field - lab) / 2
    error = ((sign[factor.lab].var(ddof=1) / 200) + sign[factor.field].var(ddof=1) / 150) ** 0.5
    assert (found.high - found.low) / 2 == pytest.approx(1.97 * error, rel=0.01)


def test_farness_of_two_values_is_that_of_their_indicator():
    lab, field = np.repeat([0, 1], [80, 20]), np.repeat([0, 1], [30, 70])
    of_values = farness(Factor("f", ("a", "b"), lab, field))
    of_number = farness(Factor("f", ("a", "b"), lab, field, (lab.astype(float), field.astype(float))))
    assert of_values == pytest.approx(of_number) == pytest.approx(0.5 / 0.4)
    assert farness(Factor("f", ("a", "b"), np.zeros(9, int), np.ones(9, int))) == 0
    assert farness(number("n", np.full(9, 2.0), np.arange(9.0), np.arange(9))) == 0


def test_permutations_deal_clusters():
    """Ten people, five images each: a feature of the person is no evidence of fifty images."""
    person = np.repeat(np.arange(10), 5)
    tall = Factor("tall", ("no", "yes"), (person < 3).astype(int), (person < 8).astype(int))
    [of_people] = permuted([tall], person, person, permutations=2000)
    [of_images] = permuted([tall], np.arange(50), np.arange(50), permutations=2000)
    assert of_people == pytest.approx(stats.fisher_exact([[3, 7], [8, 2]])[1], abs=0.04)
    assert of_images < 0.001


def test_p_is_mann_whitneys_of_numbers_that_stand_alone():
    lab, field = samples(25, 20, shift=0.6, seed=3)
    factor = number("n", lab, field, np.arange(25))
    [p] = permuted([factor], np.arange(25), np.arange(20), permutations=4000)
    assert p == pytest.approx(stats.mannwhitneyu(field, lab).pvalue, abs=0.02)


def test_alike_sets_are_found_to_differ_in_five_of_a_hundred():
    found = []
    for seed in range(200):
        factor = values([0.5, 0.3, 0.2], [0.5, 0.3, 0.2], seed, 60, 40)
        found += permuted([factor], np.arange(60), np.arange(40), permutations=199, seed=seed)
    assert 0.01 <= np.mean(np.array(found) < 0.05) <= 0.09


def test_a_factor_that_is_apart_tells_all_and_one_that_is_alike_nothing():
    people = np.arange(100)
    apart = values([1, 0, 0], [0, 1, 0], n=100, m=100)
    assert told_alone(apart, people, people).estimate == 1
    alike = values([0.4, 0.3, 0.3], [0.4, 0.3, 0.3], n=100, m=100)
    told = told_alone(alike, people, people)
    assert 0.5 <= told.low <= told.estimate < 0.65


def test_the_classifier_sees_no_person_twice():
    """What names a person tells nothing of another person."""
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(30), 10)
    own = random.normal(size=(60, 8))
    table = np.concatenate([own[person], own[30 + person]]) + random.normal(0, 0.01, (600, 8))
    assert classified(table, person, person).estimate < 0.7
    shifted = table + np.repeat([0.0, 5.0], 300)[:, None]
    assert classified(shifted, person, person).estimate > 0.95
    wide = np.concatenate([shifted, random.normal(size=(600, 80))], axis=1)
    wide[3, 1] = np.nan
    assert classified(wide, person, person).estimate > 0.9


def test_every_factor_has_its_line_and_holm_counts_them_all():
    people = np.arange(80)
    random = np.random.default_rng(5)
    lab = random.normal(0, 1, 80)
    lab[:4] = np.nan
    made = [number("blur", lab, random.normal(3, 1, 80), people), values([0.5, 0.3, 0.2], [0.5, 0.3, 0.2], n=80, m=80)]
    first, second = shifts(made, people, people, permutations=400)
    assert first.tv is None
    assert first.smd.low > 2
    assert first.p_holm == pytest.approx(2 * first.p)
    assert second.auc is None
    assert second.tv.low <= second.tv.estimate
    assert second.lab.endswith(second.field.split()[-1])
