"""Strata from columns: values as they are, numbers in groups, products, and what cannot be."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emodo.columns import product
from emodo.records import InputError

NAME = Path("faces.csv")
PEOPLE = pd.DataFrame(
    {
        "path": [f"{i}.png" for i in range(6)],
        "emotion": ["joy", "fear"] * 3,
        "gender": ["female", "male", "female", None, "male", "female"],
        "ethnicity": ["asian", "black", None, "asian", "black", "asian"],
        "age": ["17", "18", "39", "40", "60", None],
    }
)
ALL = np.ones(6, bool)


def test_the_values_of_a_column_are_strata_and_a_missing_one_is_named():
    assert product(PEOPLE, ALL, NAME, ["gender"]).tolist() == [
        "female",
        "male",
        "female",
        "unknown gender",
        "male",
        "female",
    ]


def test_a_product_of_columns_names_both():
    names = product(PEOPLE, ALL, NAME, ["gender", "ethnicity"])
    assert names[[0, 1, 2, 3]].tolist() == [
        "female x asian",
        "male x black",
        "female x unknown ethnicity",
        "unknown gender x asian",
    ]


@pytest.mark.parametrize("bins", [[18, 40, 60], ["18", "40", "60"], ["age=18,40,60"]])
def test_an_edge_begins_a_group(bins):
    names = product(PEOPLE, ALL, NAME, ["age"], bins)
    assert names.tolist() == ["under 18", "18-40", "18-40", "40-60", "60+", "unknown age"]


def test_other_columns_of_a_product_are_left_as_they_are():
    assert product(PEOPLE, ALL, NAME, ["gender", "age"], [18, 40])[:2].tolist() == ["female x under 18", "male x 18-40"]


def test_groups_of_several_columns_of_numbers_are_told_apart():
    frame = PEOPLE.assign(height=[1.5, 1.6, 1.7, 1.8, 1.9, 2.0])
    names = product(frame, ALL, NAME, ["age", "height"], ["age=18,40", "height=1.65,1.85"])
    assert names[0] == "age under 18 x height under 1.65"
    assert names[2] == "age 18-40 x height 1.65-1.85"
    assert names[5] == "unknown age x height 1.85+"
    assert product(frame, ALL, NAME, ["height"], [1.6, 1.7], labelled=True)[0] == "height under 1.6"


def test_negative_edges_are_not_read_as_ranges():
    frame = PEOPLE.assign(valence=[-3, -1, 0, 1, 2, 3])
    names = product(frame, ALL, NAME, ["valence"], [-2, -0.5, 2])
    assert names.tolist() == ["under -2", "-2 to -0.5", "-0.5 to 2", "-0.5 to 2", "2+", "2+"]


@pytest.mark.parametrize("count", [2, 3, 7])
def test_one_number_makes_groups_of_equal_size_of_the_training_rows(count):
    random = np.random.default_rng(count)
    values = random.gamma(2, 0.01, 700)
    train = np.arange(700) < 420
    values[~train] += 5  # what is tested moves no edge
    frame = pd.DataFrame({"blur": values})
    names = product(frame, train, NAME, ["blur"], [count])
    sizes = pd.Series(names[train]).value_counts()
    assert len(sizes) == count
    assert abs(sizes - 420 / count).max() <= 0.01 * 420 + 1
    assert set(names[~train]) == {name for name in names if name.endswith("+")}


def test_what_a_name_says_is_what_was_done():
    values = 1000 + np.random.default_rng(0).normal(0, 0.01, 300)
    frame = pd.DataFrame({"x": values})
    names = product(frame, np.ones(300, bool), NAME, ["x"], [3])
    for name in set(names):
        low, high = {"under": (-np.inf, name.split()[-1]), "+": (name[:-1], np.inf)}.get(
            "under" if name.startswith("under") else name[-1], tuple(name.split("-"))
        )
        inside = (values >= float(low)) & (values < float(high))
        assert ((names == name) == inside).all()
    assert pd.Series(names).value_counts().min() > 80


def test_rows_with_one_value_stay_together():
    frame = pd.DataFrame({"gray": [0.0] * 60 + list(np.linspace(0.1, 1, 40))})
    names = product(frame, np.ones(100, bool), NAME, ["gray"], [4])
    assert len(set(names[:60])) == 1
    assert names[0] not in set(names[60:])


def test_many_numbers_are_told_of_and_fractions_are_refused(capsys):
    frame = pd.DataFrame({"subject": [str(i) for i in range(12)], "blur": np.linspace(0, 1, 12)})
    assert len(set(product(frame, np.ones(12, bool), NAME, ["subject"]))) == 12
    assert "faces.csv: subject has 12 numbers in the training rows, each a stratum" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"blur has 12 numbers in the training rows, too many.*--bins"):
        product(frame, np.ones(12, bool), NAME, ["blur"])


@pytest.mark.parametrize(
    ("columns", "bins", "message"),
    [
        (["sex"], [], r"faces.csv has no column 'sex' .*; it has gender, ethnicity, age"),
        (["emotion"], [], "the column 'emotion' cannot be a confounder"),
        (["path"], [], "the column 'path' cannot be a confounder"),
        (["age", "age"], [], "a column is named twice"),
        (["age"], [1], "--bins 1: one number is how many groups are made, 2 to 10; for edges name two or more"),
        (["age"], [40], "--bins 40: one number"),
        (["age"], [2.5], "--bins 2.5: one number"),
        (["age"], [40, 18], "--bins 40 18: edges have to rise"),
        (["age"], [18, 18], "--bins 18 18: edges have to rise"),
        (["age"], ["nan", "1"], "edges have to rise"),
        (["age"], ["old"], "--bins old: write numbers"),
        (["age"], ["height=1,2"], "--bins names 'height', and the columns are age"),
        (["gender"], [2], "--bins groups numbers, and gender holds none"),
        (["gender"], ["gender=1,2"], r"faces.csv, row 1: gender 'female' is no number"),
        (["constant"], [], r"constant is 'a' in every training row, and there is nothing to intervene on"),
        (["one"], [2], "the training rows have one value of one"),
        (["none"], ["none=2"], "the training rows have no value of none"),
        (["typo"], [2], r"row 5: typo '6O' is no number"),
        (["age", "height"], [1, 2], r"age height hold numbers: write --bins age=1,2 height=1,2"),
    ],
)
def test_what_cannot_be_is_refused(columns, bins, message):
    frame = PEOPLE.assign(
        constant="a", one="3", none=None, typo=["1", "2", "3", "4", "6O", "6"], height=[1, 2, 3, 4, 5, 6]
    )
    with pytest.raises(InputError, match=message):
        product(frame, ALL, NAME, columns, bins)
