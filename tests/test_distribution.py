"""Emotions in each stratum: shares of the stratum, training beside test, and no image lost where strata are joined."""

from __future__ import annotations

import re

from emodo.distribution import MOST_PANELS, OTHERS, spread

EMOTIONS = ("joy", "<b>")


def counted(strata: int) -> dict[str, dict[str, dict[str, int]]]:
    return {
        "train": {f"s{at}": {"joy": at, "<b>": 3 * at} for at in range(strata)},
        "validation": {f"s{at}": {"joy": 99, "<b>": 99} for at in range(strata)},
        "test": {f"s{at}": {"joy": 1, "<b>": 0} for at in range(strata)},
    }


def test_the_table_has_the_shares_and_the_images() -> None:
    found = spread(counted(3), EMOTIONS)
    assert found is not None
    svg, table = found
    rows = {name: [(cell.text, cell.detail) for cell in cells] for name, cells in table.rows}
    assert rows["s2"] == [("25 / 100 %", "2 / 1"), ("75 / 0 %", "6 / 0"), ("8 / 1", "")]
    assert rows["s0"][0] == ("0 / 100 %", "0 / 1")  # nothing to divide by
    assert svg.count("&lt;b&gt;") == 1
    assert {"s0", "s1", "s2"} <= set(re.findall(r">(s\d)</text>", svg))


def test_beyond_ten_strata_the_smallest_are_one_panel() -> None:
    found = spread(counted(14), EMOTIONS)
    assert found is not None
    rows = dict(found[1].rows)
    assert len(rows) == MOST_PANELS
    assert next(iter(rows)) == "s5"
    assert rows[OTHERS][0].detail == f"{sum(range(5))} / 5"
    images = [cells[-1].text.split(" / ") for cells in rows.values()]
    assert [sum(int(pair[at]) for pair in images) for at in (0, 1)] == [4 * sum(range(14)), 14]


def test_without_one_of_the_parts_there_is_nothing_to_compare() -> None:
    assert spread({"test": counted(2)["test"]}, EMOTIONS) is None
