"""The verdict on a page is that of `emodo.assessment`, and where there is none it is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emodo import assessment, judgement
from emodo.compared import comparable


def test_sentences_and_numbers_are_those_of_the_assessment(trained: list[Path]) -> None:
    compared = comparable(trained)
    table, why = judgement.judged(compared)
    assert table == assessment.of_runs({"test": compared})
    assert why == ""
    assert table is not None
    shown = judgement.shown(table)
    assert shown.sentences == table["sentences"]
    assert [name for name, _ in shown.differences.rows] == ["ERM", "IERN"]
    for found in (shown.differences, shown.trust, shown.reliability[1], shown.coverage[1]):
        assert {len(cells) for _, cells in found.rows} == {len(found.columns)}
        assert [name for name, _ in found.rows] == ["ERM", "IERN"]
    _, iern = table["methods"]
    assert shown.trust.rows[1][1][0].text == f"{100 * iern['calibration']['ece']['mean']:.1f}"
    assert shown.trust.rows[1][1][2].text == f"{iern['calibration']['brier']['mean']:.3f}"
    first = iern["reliability"][0]
    assert shown.reliability[1].rows[1][1][0].detail == f"at {100 * first['confidence']:.1f}, n = {first['n']}"
    assert shown.coverage[1].rows[1][1][-1].text == f"{100 * iern['risk_coverage']['risk'][-1]:.1f}"
    assert shown.coverage[1].columns[-1] == "100 %"


def test_columns_that_no_run_fills_are_left_out(trained: list[Path]) -> None:
    table, _ = judgement.judged(comparable(trained))
    assert table is not None
    assert "s a run" in judgement.shown(table).differences.columns
    for row in table["methods"]:
        row["seconds"] = None
    assert "s a run" not in judgement.shown(table).differences.columns


def test_one_run_has_no_verdict_and_two_of_a_kind_a_reason(trained: list[Path]) -> None:
    erm, iern = comparable(trained)
    assert judgement.judged([iern]) == (None, "")
    several = [replace(run, task=replace(run.task, multilabel=True)) for run in (erm, iern)]
    assert judgement.judged(several) == (None, "")
    table, why = judgement.judged([erm, replace(erm, name="again", folder=Path("again"))])
    assert table is None
    assert why == "No verdict: ERM and again are the same method, seed and test rows: give one."
