"""Several emotions in a row are one text, and come apart again."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emodo.multilabel import apart, check_single, joined, multi_hot, ordered, several
from emodo.records import InputError

ORDER = ("joy", "doubt/confusion", "at ease", "fear")


def emotions(*cells, index=None):
    return pd.Series(list(cells), index=index, dtype="str")


def test_emotions_come_apart_under_their_rows():
    found = apart(emotions("joy|at ease", "fear", "doubt/confusion|fear|joy", index=[7, 8, 20]))
    assert found.tolist() == ["joy", "at ease", "fear", "doubt/confusion", "fear", "joy"]
    assert found.index.tolist() == [7, 7, 8, 20, 20, 20]
    assert apart(emotions("joy", "fear")).tolist() == ["joy", "fear"]


def test_a_row_with_several_is_told_from_one_with_one():
    assert several(emotions("joy|fear", "joy", "doubt/confusion", "a|b|c")).tolist() == [True, False, False, True]


def test_equal_sets_are_equal_texts():
    found = ordered(emotions("joy|at ease|fear", "fear|joy|at ease", "fear", index=[3, 1, 2]))
    assert found.tolist() == ["at ease|fear|joy", "at ease|fear|joy", "fear"]
    assert found.index.tolist() == [3, 1, 2]


def test_multi_hot_marks_each_emotion_in_the_order_that_is_given():
    hot = multi_hot(emotions("fear|joy", "at ease", "fear|joy", "doubt/confusion|awe", index=[5, 6, 9, 2]), ORDER)
    assert hot.dtype == np.float32
    assert hot.tolist() == [[1, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 0]]


def test_joined_takes_multi_hot_back():
    cells = emotions("joy|fear", "at ease", "joy|doubt/confusion|at ease|fear")
    assert joined(multi_hot(cells, ORDER), ORDER) == cells.tolist()
    assert joined(np.zeros((2, 4), bool), ORDER) == ["", ""]


def test_what_takes_one_emotion_names_the_first_row_with_several():
    frame = pd.DataFrame({"emotion": ["joy", "fear|joy", "joy|fear"]}, index=[0, 6, 7])
    check_single(frame[:1], Path("faces.csv"), "this takes one")
    with pytest.raises(InputError, match=r"^faces\.csv, row 7: 'fear\|joy' are several emotions, and this takes one$"):
        check_single(frame, Path("faces.csv"), "this takes one")
    with pytest.raises(InputError, match=r"^row 7: "):
        check_single(frame, None, "this takes one")
