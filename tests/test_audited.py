"""The ranking, the verdict and the tables of an audit."""

import pytest

from emodo import audited, tabular


def column(name, v, p=0.001, told=None, chance=0.5, **more):
    image = None
    if told is not None:
        image = {
            "images": 8,
            "accuracy": told,
            "low": told - 0.05,
            "high": min(1, told + 0.05),
            "chance": chance,
            "strata": ["a", "b"],
            "left_out": [],
            "confusion": [[3, 1], [0, 4]],
        }
    cell = {"stratum": "a", "emotion": "joy", "images": 0, "expected": 2.0, "missing": 2}
    estimate = {"value": v, "low": max(0, v - 0.1), "high": min(1, v + 0.1)}
    one = {
        "column": name,
        "strata": ["a", "b"],
        "binned": False,
        "rows": [4, 4],
        "counts": [[4, 0], [1, 3]],
        "given": [[1, 0], [0.25, 0.75]],
        "association": {"cramers_v": estimate, "conditional_entropy": estimate, "p_holm": p},
        "bayes": {"accuracy": 0.8, "majority": 0.6},
        "image": image,
        "importance": [0.1, 0.2],
        "entropies": {"anger": {"strata": 2, "zero": 0.5, "mean": 0.4}, "joy": {"strata": 1, "zero": 0, "mean": 0.8}},
        "gaps": {"cells": 4, "empty": 1, "thin": 1, "missing": 2, "gaps": [cell], "worst": cell},
        "methods": {"possible": ["ERM"], "impossible": [{"methods": ["DFR"], "why": "a cell is empty"}]},
        "biased": p is not None and p < 0.05,
    }
    return one | {"danger": audited.danger(one)} | more


def result(*columns, **more):
    found = {
        "manifest": "m.csv",
        "cluster": "subject",
        "clusters": 40,
        "emotions": {"anger": 5, "joy": 3},
        "images": {"looked_at": 8, "features": "looks"},
        "columns": audited.ranked(columns),
        "skipped": [{"column": "title", "why": "a name"}],
        "leakage": [],
        "notes": ["8 rows"],
    } | more
    return {"verdict": audited.verdict(found)} | found


def test_danger_is_the_association_times_what_the_image_tells():
    assert column("a", 0.4)["danger"] == 0.4
    assert column("a", 0.4, told=0.75)["danger"] == pytest.approx(0.2)
    assert column("a", 0.4, told=0.4)["danger"] == 0
    assert column("a", 0.4, told=0.6, chance=0.2)["danger"] == pytest.approx(0.2)


def test_what_goes_with_the_emotion_comes_first_then_the_more_dangerous():
    found = audited.ranked(
        [
            column("chance", 0.9, p=0.2, told=1.0),
            column("unseen", 0.6, told=0.5),
            column("b", 0.3, told=1.0),
            column("a", 0.4, told=0.8),
            column("alone", 0.8, p=None),
        ]
    )
    assert [one["column"] for one in found] == ["b", "a", "unseen", "chance", "alone"]


def test_the_verdict_is_one_sentence():
    said = result(column("source", 0.4, told=0.9), column("age", 0.1, told=0.6))["verdict"]
    assert said == (
        "source is the most dangerous: it goes with the emotion (Cramer's V 0.40 [0.30, 0.50], p 0.001), and the image "
        "tells it (90 % right, by chance 50); age goes with the emotion too"
    )
    assert "the image was not asked for it" in result(column("source", 0.4), images=None)["verdict"]
    assert "the image could not be asked for it" in result(column("source", 0.4))["verdict"]
    assert "but these features do not tell it" in result(column("rater", 0.4, told=0.52))["verdict"]
    nothing = result(column("source", 0.1, p=0.5, told=1.0), column("age", 0.1, p=1.0))["verdict"]
    assert nothing == "no column goes with the emotion beyond chance (2 columns, 40 subjects)"
    few = result(column("source", 0.9, p=0.2), clusters=4)["verdict"]
    assert few.endswith("(1 column, 4 subjects): so few could not show that any does")


def test_the_tables_hold_the_ranking_the_cells_and_what_was_skipped(capsys):
    found = result(column("source", 0.4, told=0.9), column("age", 0.1, p=0.5, told=0.5))
    tabular.show(audited.tables(found), audited.notes(found))
    lines = capsys.readouterr().out.splitlines()
    rows = [" ".join(line.split()) for line in lines]
    assert (
        "source 2 0.32 0.40 [0.30, 0.50] 0.001 0.40 [0.30, 0.50] 80 (60) 90 [85, 95] (50) 1/4 joy x a: 0 of 2" in rows
    )
    assert "b 1 3 4 0.500 0.2000" in rows
    assert "a 3 1" in rows
    assert "title a name" in rows
    assert "- source: 2 images missing: 2 of joy x a" in rows
    assert "- source: not DFR: a cell is empty" in rows
    assert not any(row.startswith("- age") for row in rows)  # it goes with nothing


def test_leaks_are_told_where_there_are_any():
    leak = {"gate": "subject", "rows": 3, "of": 9, "said": "3 of 9 leak", "pairs": []}
    clean = {"gate": "identical", "rows": 0, "of": 9, "said": "0 of 9 leak", "pairs": []}
    assert audited.notes(result(column("a", 0.4), leakage=[leak, clean]))[-1] == "3 of 9 leak"
    assert audited.notes(result(column("a", 0.4), leakage=[clean]))[-1] == "nothing leaks, by these gates: identical"


def test_the_page_takes_nothing_for_html():
    evil = "<script>alert(1)</script>"
    one = column(evil, 0.4, told=0.9)
    one["strata"][0] = evil
    written = audited.page(result(one, manifest=f"{evil}\n.csv", skipped=[{"column": evil, "why": evil}]))
    assert "<script" not in written
    assert written.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 5
    assert written.splitlines()[0].endswith(".csv")


def test_many_emotions_and_strata_are_cut_short():
    wide = {f"e{at}": 1 for at in range(20)}
    strata = [f"s{at}" for at in range(30)]
    one = column("scene", 0.4) | {
        "strata": strata,
        "rows": [20] * 30,
        "counts": [[1] * 19 + [0]] * 30,
        "given": [[0.05] * 20] * 30,
        "importance": list(range(30)),
    }
    head, rows = audited.tables(result(one, emotions=wide))[1]
    assert head == ["scene", "most frequent", "empty", "rows", "P(d)", "importance"]
    assert rows[0] == ["s29", "e0 5 %", "1", "20", "0.033", "29.0000"]
    assert rows[-1] == ["... and 15 more", "", "", "", "", ""]
    assert len(rows) == 16
