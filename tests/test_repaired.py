"""The words follow the stated rules."""

from xml.etree import ElementTree

import pytest

from emodo import repaired
from emodo.heldout import MEASURES


def change(estimate, reach, p):
    return {"estimate": estimate, "low": estimate - reach, "high": estimate + reach, "p": p}


def row(name, p=0.5, estimate=0.0, reach=0.01, **others):
    """A repair of which only what it is judged by changes, and what `others` says."""
    own = repaired.JUDGED[name]
    changes = {each: change(0.0, 0.01, 1.0) for each in MEASURES} | {own: change(estimate, reach, p)} | others
    level = {"estimate": 0.5, "low": 0.4, "high": 0.6}
    return {"name": name, "change": changes, "measures": dict.fromkeys(MEASURES, level), "temperature": 1.5, "c": 0.3}


@pytest.mark.parametrize(
    ("measure", "estimate", "reach", "p", "said"),
    [
        ("accuracy", 0.1, 0.05, 0.01, repaired.HELPS),
        ("accuracy", -0.1, 0.05, 0.01, repaired.HARMS),
        ("nll", -0.1, 0.05, 0.01, repaired.HELPS),
        ("nll", 0.1, 0.05, 0.01, repaired.HARMS),
        ("risk", -0.1, 0.05, 0.01, repaired.HELPS),
        ("accuracy", 0.04, 0.049, 0.1, repaired.NO_DIFFERENCE),
        ("accuracy", 0.04, 0.051, 0.1, repaired.NOT_ENOUGH),
        ("nll", 0.0, 0.2, 1.0, repaired.NOT_ENOUGH),
        ("accuracy", 0.04, 0.03, 0.06, repaired.NO_DIFFERENCE),  # by itself, but not by Holm
    ],
)
def test_the_verdict_of_a_change(measure, estimate, reach, p, said):
    assert repaired.verdict(change(estimate, reach, p), p, measure) == said


def test_holm_is_over_all_that_were_tried_with_abstention():
    rows = [row("prior", 0.02), row("temperature", 0.03), row("dfr", 0.5)]
    abstention = {"change": change(-0.1, 0.05, 0.01)}
    repaired.judge(rows, abstention)
    assert [each["p_holm"] for each in rows] == pytest.approx([0.06, 0.06, 0.5])
    assert abstention["p_holm"] == pytest.approx(0.04)
    assert abstention["verdict"] == repaired.HELPS
    untried = {"name": "dfr", "verdict": repaired.NOT_TRIED, "why": "no layer"}
    rows = [row("prior", 0.02), row("temperature", 0.03), untried]
    repaired.judge(rows, {})
    assert [each["p_holm"] for each in rows[:2]] == pytest.approx([0.04, 0.04])
    assert untried == {"name": "dfr", "verdict": repaired.NOT_TRIED, "why": "no layer"}


def test_what_else_gets_worse_is_said():
    worse = row("dfr", 0.001, 0.1, 0.05, nll=change(0.3, 0.1, 0.001), ece=change(0.1, 0.2, 0.3))
    repaired.judge([worse], {})
    assert worse["worse"] == ["nll"]
    told = repaired._on_repair(worse)
    assert told == (
        "New last layer (DFR) (c = 0.3): helps; macro accuracy changes by +10.0 [+5.0, +15.0] points; but the negative "
        "log likelihood gets worse, by +0.300 [+0.200, +0.400]."
    )


def test_the_best_is_the_most_accurate_of_those_that_help():
    rows = [row("prior", 0.001, 0.1, 0.05), row("temperature", 0.001, -0.2, 0.1), row("dfr", 0.5)]
    rows[1]["measures"] = rows[1]["measures"] | {"accuracy": {"estimate": 0.7}}
    rows[2]["measures"] = rows[2]["measures"] | {"accuracy": {"estimate": 0.9}}
    repaired.judge(rows, {})
    assert repaired.best(rows) == "temperature"
    assert repaired.best(rows[2:]) is None


def table(**changes):
    rows = [row("prior", 0.001, 0.1, 0.05), row("temperature", 0.9, 0.01, 0.02), row("dfr", 0.3, 0.05, 0.1)]
    share = {"estimate": 0.3, "low": 0.2, "high": 0.4}
    found = {
        "threshold": 0.61,
        "coverage": {"estimate": 0.8, "low": 0.7, "high": 0.9},
        "risk": share,
        "change": change(-0.1, 0.02, 0.001),
        "aurc": 0.2,
        "curve": {"coverage": [0.5, 1.0], "risk": [0.1, 0.4]},
    }
    repaired.judge(rows, found)
    of = {"images": 200, "clusters": 20, "cluster": "subject", "folds": 5, "replicates": 2000, "too_few": ""}
    wanted = {"coverage": 0.8, "risk": None}
    level = {"estimate": 0.5, "low": 0.4, "high": 0.6}
    whole = {"unrepaired": dict.fromkeys(MEASURES, level), "repairs": rows, "abstention": {"unrepaired": found}}
    made = of | whole | {"wanted": wanted, "best": repaired.best(rows)} | changes
    return made | {"sentences": repaired.sentences(made)}


def test_the_sentences_of_a_table():
    assert table()["sentences"] == [
        "The run is right on 50.0 [40.0, 60.0] % of 200 images of 20 subjects.",
        "Prior correction: helps; accuracy changes by +10.0 [+5.0, +15.0] points.",
        "Temperature scaling (T = 1.50): no difference beyond chance; the negative log likelihood changes by +0.010 "
        "[-0.010, +0.030].",
        "New last layer (DFR) (c = 0.3): not enough data to tell; macro accuracy changes by +5.0 [-5.0, +15.0] points.",
        "Abstention below a probability of 0.610: helps; 80.0 [70.0, 90.0] % are answered, of these 30.0 [20.0, 40.0] "
        "% wrongly, a change of -10.0 [-12.0, -8.0] points.",
        "To apply: prior correction.",
    ]


def test_without_a_threshold_or_without_data_it_says_so():
    none = table()["abstention"]["unrepaired"] | {"threshold": None, "risk": None, "change": None}
    told = table(abstention={"unrepaired": none}, wanted={"coverage": None, "risk": 0.05})["sentences"]
    assert "Abstention: no threshold has a risk of 5 % or less." in told
    rows = [{"name": name, "verdict": repaired.NOT_ENOUGH, "why": "30 images"} for name in repaired.JUDGED]
    few = table(unrepaired=None, repairs=rows, abstention={}, best=None, too_few="30 images")
    assert few["sentences"] == [
        "Prior correction: not enough data to tell (30 images).",
        "Temperature scaling: not enough data to tell (30 images).",
        "New last layer (DFR): not enough data to tell (30 images).",
        "Abstention: not enough data to tell (30 images).",
    ]
    assert [body for _, body in repaired.shown(few)] == [[], [], []]
    assert repaired.notes(few) == []
    known = table(repairs=rows, abstention={}, best=None, too_few="30 images")
    assert known["sentences"][0].startswith("The run is right on 50.0")
    assert [len(body) for _, body in repaired.shown(known)] == [6, 0, 0]
    assert repaired.notes(known) == ["Nothing is repaired; 95 % intervals over subjects, 2000 draws."]


def test_tables_and_figure_hold_every_repair_that_was_tried():
    made = table()
    (heads, levels), (_, changes), (_, abstention) = repaired.shown(made)
    assert heads == ["held out", "the run as it is", "prior correction", "temperature scaling", "new last layer (DFR)"]
    assert [line[0] for line in levels] == list(repaired.HEADS)
    assert changes[0][1:] == ["+10.0 [+5.0, +15.0]", "+0.0 [-1.0, +1.0]", "+0.0 [-1.0, +1.0]"]
    assert abstention == [["the run as it is", "0.610", "80.0 [70.0, 90.0]", "30.0 [20.0, 40.0]", "20.0"]]
    drawn = "".join(ElementTree.fromstring(repaired.figure(made)).itertext())
    assert "the run as it is" in drawn
    assert "answered, %" in drawn
