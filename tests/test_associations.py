"""Cramer's V, mutual information and entropies are those of scipy and of the formulas; clusters count once."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mutual_info_score

from emodo import associations
from emodo.associations import (
    associate,
    conditional_entropy,
    cramers_v,
    draws,
    entropy,
    grouped,
    mutual_information,
    phi_square,
    presence_entropies,
    tables,
)

TABLE = np.array([[30.0, 4, 9], [7, 22, 0]])


def alone(table):
    """Every row of a table as a cluster of its own, [N, D, E]."""
    cell = np.repeat(np.arange(table.size), table.astype(int).ravel())
    return np.eye(table.size)[cell].reshape(len(cell), *table.shape)


# -------------------------------------------------------------------------------------- the measures


def test_chi_square_is_scipys():
    found = stats.chi2_contingency(TABLE, correction=False).statistic
    assert phi_square(TABLE) * TABLE.sum() == pytest.approx(found)
    assert phi_square(np.stack([TABLE, 2 * TABLE])) * TABLE.sum() == pytest.approx([found, found])


def test_cramers_v_is_bergsmas_by_hand_and_scipys_on_many_rows():
    n, d, e = TABLE.sum(), 2, 3
    phi = stats.chi2_contingency(TABLE, correction=False).statistic / n - (d - 1) * (e - 1) / (n - 1)
    narrow = min(d - (d - 1) ** 2 / (n - 1), e - (e - 1) ** 2 / (n - 1)) - 1
    assert cramers_v(TABLE) == pytest.approx(math.sqrt(phi / narrow))
    many = 10**6 * TABLE
    assert cramers_v(many) == pytest.approx(stats.contingency.association(many.astype(int)), rel=1e-5)


def test_cramers_v_of_nothing_of_all_and_with_empty_strata():
    assert cramers_v(np.outer([3, 5], [2, 7, 1])) == 0
    assert cramers_v(np.diag([50, 50, 50])) == pytest.approx(1)
    assert cramers_v(np.array([[5, 3]])) == 0
    wider = np.zeros((3, 4))
    wider[:2, 1:] = TABLE
    assert cramers_v(wider) == pytest.approx(cramers_v(TABLE))


def test_entropies_are_scipys_and_sklearns():
    assert mutual_information(TABLE) == pytest.approx(mutual_info_score(None, None, contingency=TABLE))
    emotion = TABLE.sum(axis=0)
    assert entropy(emotion) == pytest.approx(stats.entropy(emotion))
    of_stratum = [stats.entropy(row) for row in TABLE]
    left = np.average(of_stratum, weights=TABLE.sum(axis=1)) / stats.entropy(emotion)
    assert conditional_entropy(TABLE) == pytest.approx(left)
    assert conditional_entropy(np.diag([4, 4])) == pytest.approx(0)
    assert conditional_entropy(np.array([[4.0, 0], [2, 0]])) == 1


def test_the_entropy_of_an_emotion_over_its_most_frequent_strata():
    shown, rows = np.array([8, 5, 3, 1, 0]), np.array([8, 10, 12, 1, 7])
    n, zero, mean = presence_entropies(shown, rows, most=3)
    each = [0, 1, stats.entropy([3, 9], base=2)]
    assert (n, zero) == (3, pytest.approx(1 / 3))
    assert mean == pytest.approx(np.mean(each))
    assert presence_entropies(shown, rows)[:2] == (4, 0.5)


def test_rows_are_counted_by_cluster_and_each_emotion_of_a_row():
    shown = np.array([[1, 0], [1, 1], [0, 1]], np.float32)
    found = tables(np.array([0, 2, 2]), np.array([1, 0, 0]), shown)
    expected = np.zeros((3, 2, 2))
    expected[0, 1, 0] = expected[2, 0, 0] = 1
    expected[2, 0, 1] = 2
    assert np.array_equal(found, expected)


def test_many_clusters_are_drawn_in_groups(monkeypatch):
    assert grouped(np.array([5, 5, 9, 2])).tolist() == [1, 1, 2, 0]
    monkeypatch.setattr(associations, "GROUPS", 10)
    cluster = np.repeat(np.arange(95), 2)
    group = grouped(cluster, seed=3)
    assert np.array_equal(group[::2], group[1::2])
    assert sorted(np.bincount(group[::2])) == [9] * 5 + [10] * 5
    assert np.array_equal(group, grouped(cluster, seed=3))


def test_draws_are_with_replacement():
    found = draws(7, 50, 0)
    assert found.shape == (50, 7)
    assert (found.sum(axis=1) == 7).all()
    assert found.mean(axis=0) == pytest.approx(np.ones(7), abs=0.5)


# ----------------------------------------------------------------------------- clusters, test, interval


def test_a_clusters_deviations_are_those_of_its_rows_and_add_up_to_chi_square():
    counts = alone(TABLE)
    found = associations._deviations(counts)
    assert (found.sum(axis=0) ** 2).sum() == pytest.approx(phi_square(TABLE) * TABLE.sum())
    n, d, e = TABLE.sum(), TABLE.sum(axis=1) / TABLE.sum(), TABLE.sum(axis=0) / TABLE.sum()
    of = counts[0]  # a row in the first stratum with the first emotion
    each = np.outer(of.sum(axis=1) - d, of.sum(axis=0) - e) / np.sqrt(n * np.outer(d, e))
    assert found[0] == pytest.approx(each.ravel())
    pairs = counts[:72].reshape(36, 2, 2, 3).sum(axis=1)
    expected = associations._deviations(counts[:72]).reshape(36, 2, 6).sum(axis=1)
    assert associations._deviations(pairs) == pytest.approx(expected)


def test_on_independent_rows_p_is_near_chi_squares():
    table = np.array([[30.0, 22, 28], [18, 30, 12]])
    found = associate(alone(table), replicates=5000, independent=True)
    assert found.p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, abs=0.01)
    assert found.chi_square == pytest.approx(stats.chi2_contingency(table, correction=False).statistic)
    assert found.cramers_v.value == pytest.approx(cramers_v(table))
    assert found.cramers_v.low < found.cramers_v.value < found.cramers_v.high


def test_frames_of_a_sequence_are_one_witness():
    table = np.array([[8.0, 4], [5, 9]])
    once, thrice = associate(alone(table)), associate(3 * alone(table))
    assert stats.chi2_contingency(3 * table, correction=False).pvalue < 0.05
    assert thrice.p == once.p > 0.05
    assert thrice.cramers_v == once.cramers_v


def test_subjects_who_show_every_emotion_alike_are_no_evidence():
    counts = np.zeros((12, 2, 3))
    counts[:6, 0] = counts[6:, 1] = [2, 4, 1]
    found = associate(counts)
    assert found.p == 1
    assert (found.cramers_v.value, found.cramers_v.low, found.cramers_v.high) == pytest.approx((0, 0, 0), abs=1e-4)
    assert found.conditional_entropy.value == pytest.approx(1)


def test_few_clusters_give_no_small_p_and_one_gives_none():
    counts = np.zeros((4, 2, 2))
    counts[:2, 0, 0] = counts[2:, 1, 1] = 50
    assert associate(counts).p >= 2 / 2**4 - 0.02
    found = associate(counts.sum(axis=0, keepdims=True))
    assert found.p is None
    assert found.cramers_v.low is None
    assert found.cramers_v.value == pytest.approx(1, abs=0.01)


def test_the_same_seed_gives_the_same_numbers():
    counts = alone(TABLE)
    assert associate(counts, seed=4) == associate(counts, seed=4)
    assert associate(counts, seed=4) != associate(counts, seed=5)


def test_the_interval_is_the_bootstraps_without_its_bias():
    counts = alone(TABLE)
    weights = draws(len(counts), 2000, 1)
    replicates = mutual_information((weights @ counts.reshape(len(counts), -1)).reshape(-1, 2, 3))
    centre = 2 * mutual_information(TABLE) - replicates.mean()
    reach = stats.t.ppf(0.975, 71) * replicates.std() * math.sqrt(72 / 71)
    found = associate(counts).mutual_information
    assert (found.value, found.low, found.high) == pytest.approx((centre, centre - reach, centre + reach))
