"""What is missing where, and which methods the data allows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emodo.remedies import all_methods, gaps, possible

COUNTS = np.array([[10, 0, 10], [10, 20, 2]])
STRATA, EMOTIONS = ("lab", "web"), ("anger", "fear", "joy")


def test_gaps_are_cells_with_less_than_half_of_what_independence_gives():
    found = gaps(COUNTS, COUNTS.sum(axis=1), STRATA, EMOTIONS)
    assert (found["cells"], found["empty"], found["thin"]) == (6, 1, 2)
    fear = {"stratum": "lab", "emotion": "fear", "images": 0, "expected": pytest.approx(20 * 20 / 52), "missing": 8}
    joy = {"stratum": "web", "emotion": "joy", "images": 2, "expected": pytest.approx(32 * 12 / 52), "missing": 6}
    assert found["gaps"] == [fear, joy]
    assert found["worst"] == fear
    assert found["missing"] == 14


def test_where_nothing_is_missing_there_is_a_worst_cell_all_the_same():
    found = gaps(np.full((2, 3), 4), np.array([12, 12]), STRATA, EMOTIONS)
    assert (found["thin"], found["missing"], found["worst"]["missing"]) == (0, 0, 0)


def asked(counts, emotions=EMOTIONS, **columns):
    frame = pd.DataFrame({"emotion": ["anger", "fear"]} | columns)
    able, others = possible(frame, Path("m.csv"), "source", STRATA, emotions, counts)
    return set(able), {name: group["why"] for group in others for name in group["methods"]}


def test_an_empty_cell_rules_out_what_needs_all():
    able, others = asked(COUNTS)
    assert {"Resampling", "Reweighting", "DFR"} <= set(others)
    assert others["Resampling"] == "every (stratum x emotion) cell needs an image, and 1 have none"
    assert {"ERM", "IERN", "LogitAdjustment", "StyleIntervention"} <= able
    assert {"Resampling", "Reweighting", "DFR"} <= asked(np.ones((2, 3)))[0]
    assert able | set(others) == set(all_methods())


def test_boxes_dictionaries_and_trees_are_asked_for():
    _, others = asked(COUNTS)
    assert "has no boxes" in others["CAERNet"]
    assert "needs a dictionary" in others["CCIM"]
    box = {"x1": [0, 1], "y1": [0, 1], "x2": [5, 6], "y2": [5, 6]}
    assert {"CAERNet", "EMOTNet", "CLEF"} <= asked(COUNTS, **box)[0]
    assert "has no place for" in asked(COUNTS, ("bored", "fear", "joy"))[1]["Curriculum"]


def test_several_emotions_a_row_leave_few_methods():
    able, others = asked(COUNTS, emotion=["anger|joy", "fear"])
    assert able == {"ERM"}
    assert "takes one emotion a row" in others["IERN"]
