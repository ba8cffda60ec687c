"""What is looked at in predictions, and what the test rows say of it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emodo import profiles
from emodo.profiles import CELLS, Answers, Profile, Tally, numbered
from emodo.windows import answers
from monitored import EMOTIONS, STRATA, TASK, rows

FILE = Path("predictions.parquet")


def referred(table, task=TASK):
    return profiles.reference(task, answers(table, task, FILE), table)


@pytest.fixture(scope="module")
def table():
    return rows(0, 900)


@pytest.fixture(scope="module")
def reference(table):
    return referred(table)


def test_strata_are_numbered_by_the_task():
    names = pd.Series(["web", None, "lab", "elsewhere"], dtype="str")
    assert numbered(names, STRATA).tolist() == [1, -1, 0, 3]


def test_every_quantity_is_counted_as_it_says(table, reference):
    found = reference.samples
    assert found["emotion"].counts.tolist() == [int((table["predicted"] == name).sum()) for name in EMOTIONS]
    assert found["stratum"].counts.tolist() == [*(int((table["stratum"] == name).sum()) for name in STRATA), 0]
    web = table[table["stratum"] == "web"]
    assert found["emotion in web"].counts.tolist() == [int((web["predicted"] == name).sum()) for name in EMOTIONS]
    given = table[[f"p:{name}|tv" for name in EMOTIONS]].to_numpy().argmax(axis=1)
    assert found["emotion given tv"].counts.tolist() == np.bincount(given, minlength=4).tolist()
    assert reference.profile.values("emotion") == EMOTIONS
    for name, sample in found.items():
        assert len(sample.counts) == len(reference.profile.values(name)), name
    assert {sample.n for name, sample in found.items() if " in " not in name} == {900}


def test_bins_are_fifths_of_the_test_rows(table, reference):
    shares = reference.samples["confidence"].shares
    assert shares == pytest.approx([0.2] * 5, abs=0.04)  # edges have two digits
    ends = [f"{edge:.2f}" for edge in reference.profile.edges["confidence"]]
    assert reference.profile.values("confidence")[0] == f"0 to {ends[0]}"
    assert reference.profile.values("confidence in web")[-1] == f"{ends[-1]} to 1"
    sure = Profile(TASK, {"confidence": np.array([1.0])}, False)
    p = np.array([[0.999, 0.001, 0, 0], [1, 0, 0, 0]])
    assert sure.codes(Answers(p))["confidence"].tolist() == [0, 1]


def test_the_stratum_is_told_of_rows_of_other_clusters(table, reference):
    accuracy, low = reference.accuracy
    assert 0.5 < low < accuracy < 0.8
    assert reference.profile.values("looks like") == STRATA
    assert [sample.n for sample in reference.confused] == table["stratum"].value_counts()[list(STRATA)].tolist()
    own = np.mean([sample.shares[at] for at, sample in enumerate(reference.confused)])
    assert own == pytest.approx(accuracy)
    for by_stratum, by_emotion in reference.cells.values():
        assert (len(by_stratum), len(by_emotion)) == (3, 4)
        assert by_stratum.sum(axis=1) == pytest.approx(np.ones(3))
        assert by_emotion.sum(axis=1) == pytest.approx(np.ones(4))


def test_cells_join_the_emotion_and_the_stratum(table, reference):
    values = reference.profile.values(CELLS["stratum"])
    assert values[:5] == ("anger, lab", "anger, web", "anger, tv", "anger, another", "fear, lab")
    of = (table["predicted"] == "joy") & (table["stratum"] == "tv")
    assert reference.samples[CELLS["stratum"]].counts[values.index("joy, tv")] == of.sum()


def test_strata_that_predictions_do_not_tell_are_not_told(table):
    shuffled = table.assign(stratum=np.random.default_rng(0).permutation(table["stratum"]))
    found = referred(shuffled)
    assert found.accuracy[0] == pytest.approx(1 / 3, abs=0.05)
    assert found.profile.teller is None
    assert "looks like" not in found.samples
    few = referred(table.iloc[:20])
    assert few.accuracy is None
    unknown = referred(table.assign(stratum=pd.Series(None, table.index, dtype="str")))
    assert "stratum" not in unknown.samples


def test_frames_of_a_sequence_are_worth_less(table):
    found = referred(rows(1, 900, frames=6))
    assert found.cluster == "sequence"
    assert found.samples["emotion"].clusters == 150
    assert 150 <= found.samples["emotion"].worth < 200


def test_what_a_window_lacks_is_left_out(table, reference):
    plain = table.drop(columns=[name for name in table if "|" in name] + ["stratum"])
    found = reference.profile.codes(answers(plain, TASK, FILE))
    assert set(found) == {"emotion", "confidence", "disagreement"}
    found = reference.profile.codes(answers(table.drop(columns="stratum"), TASK, FILE))
    assert {"looks like", "emotion given lab", CELLS["looks like"]} <= set(found)
    assert "stratum" not in found


def test_a_tally_of_pieces_is_that_of_the_whole(table, reference):
    whole, piecewise = Tally(reference.profile), Tally(reference.profile, 8)
    whole.add(answers(table, TASK, FILE))
    group = np.arange(len(table)) % 8
    for part in np.array_split(np.arange(len(table)), 3):
        piecewise.add(answers(table.iloc[part], TASK, FILE), group[part])
    for name, sample in whole.samples().items():
        assert piecewise.samples()[name].counts.tolist() == sample.counts.tolist()
        assert piecewise.tables[name].shape == (8, len(sample.counts))
