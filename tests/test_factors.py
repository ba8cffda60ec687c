"""Values and bins of what may differ, and which of them the lab does not have."""

import numpy as np
import pandas as pd
import pytest

from emodo.factors import Factor, column, inside, is_a_name, number, shares


def series(*values):
    return pd.Series(list(values), dtype="object")


def random(n, mean=0.0, seed=0):
    return np.random.default_rng(seed).normal(mean, 1, n)


def test_a_field_that_lies_elsewhere_has_bins_of_its_own():
    cluster = np.arange(200)
    factor = number("blur", random(200), random(100, 20, 1), cluster)
    assert len(factor.values) == 8
    assert factor.lab.max() == 3
    assert factor.field.min() == 4
    assert inside(factor, cluster).tolist() == [True] * 4 + [False] * 4


def test_bins_weigh_both_sets_alike_and_equal_numbers_lie_together():
    factor = number("n", random(1000), random(10, 0, 1), np.arange(1000))
    pooled = shares(factor).mean(axis=0)
    assert pooled.max() < 2 / len(factor.values)
    tied = number("n", np.repeat([0.0, 1.0, 2.0], 50), np.repeat([1.0, 2.0], 30), np.arange(150))
    assert tied.values == ("under 0.5", "0.5 to 1.5", "1.5+")
    assert (np.bincount(tied.lab), np.bincount(tied.field)) == (pytest.approx([50] * 3), pytest.approx([0, 30, 30]))


def test_few_clusters_make_few_bins_and_none_is_outside_for_that():
    cluster = np.repeat(np.arange(12), 20)
    age = np.arange(12.0)[cluster] * 3
    factor = number("age", age, age, cluster)
    assert len(factor.values) == 2
    assert inside(factor, cluster).all()


def test_what_is_not_known_is_a_value():
    values = random(50)
    values[:9] = np.nan
    factor = number("blur", values, random(50), np.arange(50))
    assert factor.values[-1] == "unknown"
    assert (factor.lab == len(factor.values) - 1).sum() == 9
    places = column("g", series("a", None, "a", "", "b", "b"), series("b", "b"), np.arange(6))
    assert places.values == ("a", "b", "unknown")
    assert places.lab.tolist() == [0, 2, 0, 2, 1, 1]


def test_what_never_varies_is_no_factor_and_what_differs_in_every_row_is_a_name():
    assert number("n", np.ones(9), np.ones(5), np.arange(9)) is None
    assert column("c", series(*"aaaa"), series(*"aa"), np.arange(4)) is None
    assert column("c", series(*"abcd"), series(*"ef"), np.arange(4)) is None
    assert column("c", series(*"abab"), series(*"ab"), np.arange(4)) is not None


def test_a_column_of_many_numbers_is_a_number_and_one_of_few_is_not():
    many = column("age", series(*map(str, range(40))), series(*map(str, range(40))), np.arange(40))
    assert many.numbers is not None
    few = column("frame", series(*"123" * 9), series(*"123"), np.arange(27))
    assert few.numbers is None
    assert few.values == ("1", "2", "3")


@pytest.mark.parametrize(
    ("lab", "field", "expected"),
    [
        ([100, 5, 4], [10, 1, 1], [True, True, False]),  # five clusters at least
        ([95, 5], [4, 6], [True, False]),  # 60 % of the field and 5 % of the lab
        ([95, 5], [6, 4], [True, True]),
    ],
)
def test_a_value_is_outside_where_the_lab_has_few_or_far_fewer(lab, field, expected):
    places = [np.repeat(np.arange(len(each)), each) for each in (lab, field)]
    factor = Factor("f", tuple("abc"[: len(lab)]), *places)
    assert inside(factor, np.arange(len(places[0]))).tolist() == expected
    assert not inside(factor, np.zeros(len(places[0]), int)).any()  # all of one person


def test_a_name_says_only_that_there_are_two_sets():
    cluster = np.arange(60)

    def name(factor):
        return is_a_name(factor, inside(factor, cluster))

    lab, field = series(*["studio"] * 60), series(*["phone"] * 30)
    assert name(column("camera", lab, field, cluster))
    assert name(column("camera", series(*["a", "b"] * 30), field, cluster))
    assert not name(column("camera", series(*["a", "b"] * 30), series(*["b", "c"] * 15), cluster))
    assert name(number("size", np.full(60, 10.0), np.full(30, 20.0), cluster))
    assert not name(number("blur", random(60), random(30, 50, 1), cluster))
