"""The audit on a page is that of `emodo audit`, with the images where they are there and without where they are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emodo import audited, biases
from emodo.compared import comparable, data_of


def test_columns_are_ranked_and_the_image_is_asked_where_it_is_there(trained: list[Path]) -> None:
    run, _ = comparable(trained)
    data = data_of(run)
    found, why = biases.audited_by(run, data)
    assert why == ""
    assert found is not None
    assert found["images"]["features"] == "colour and texture"
    shown = biases.shown(found)
    assert shown.verdict == found["verdict"]
    assert shown.tables[0].rows[0][0] == found["columns"][0]["column"] == "source"
    assert shown.notes == audited.notes(found)
    for table in shown.tables:
        assert table.rows
        assert {len(cells) for _, cells in table.rows} == {len(table.columns)}
    assert f"{100 * found['columns'][0]['association']['cramers_v']['value']:.1f}" in shown.svg

    assert data.frame is not None
    gone = replace(data, frame=data.frame.assign(file="nowhere.png"))
    without, why = biases.audited_by(run, gone)
    assert why == ""
    assert without is not None
    assert without["images"] is None
    assert "told by the image" not in biases.shown(without).svg


def test_where_nothing_can_be_audited_it_is_said(trained: list[Path]) -> None:
    run, _ = comparable(trained)
    data = data_of(run)
    assert biases.audited_by(run, replace(data, frame=None)) == (None, "")
    assert data.frame is not None
    one = data.frame.loc[data.frame["emotion"] == "anger"]
    found, why = biases.audited_by(run, replace(data, frame=one))
    assert found is None
    assert why.startswith("No data audit: ")
    assert "one emotion" in why
