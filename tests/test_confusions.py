"""Inside and outside: which rows are which, and that each matrix holds the rows it says."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from emodo import confusions
from emodo.compared import Data, Run
from emodo.metrics import score
from emodo.records import Confounder, Task

TASK = Task(("joy", "fear"), Confounder("place", ("lab", "web"), (0.5, 0.5)))
ROWS = [
    ("joy", "lab", "joy"),
    ("joy", "web", "fear"),
    ("fear", "lab", "fear"),
    ("fear", "web", "fear"),
    ("joy", "web", "joy"),
]


def predicted(rows: list[tuple[str, str, str]]) -> tuple[Run, dict]:
    table = pd.DataFrame(rows, columns=["emotion", "stratum", "predicted"])
    table.insert(0, "path", [f"{at}.png" for at in range(len(rows))])
    scores = score(table, TASK)
    return Run("erm", Path("erm"), "ERM", Path("m.csv"), {}, "", {}, TASK, table, pd.DataFrame(), scores), scores


def data(unseen: set[tuple[str, str]]) -> Data:
    return Data("m.csv", {}, [], {}, frozenset(unseen))


def test_test_rows_are_told_apart_by_what_training_showed() -> None:
    run, scores = predicted(ROWS)
    known = data({("web", "joy")})
    assert not confusions.needs_inside([run], known)
    every, inside, outside = confusions.parts([run], known, {})
    assert (every.known, inside.known, outside.known) == (None, True, False)
    assert every.scores["erm"] == scores
    assert inside.scores["erm"]["confusion"]["counts"] == [[1, 0], [0, 2]]
    assert outside.scores["erm"]["confusion"]["counts"] == [[1, 1], [0, 0]]
    table = confusions.side_by_side([run], [every, inside, outside])
    (_, cells) = table.rows[0]
    assert [cell.text.replace("\N{NO-BREAK SPACE}", " ") for cell in cells] == ["100.0 %", "50.0 %", "-50.0 points"]
    assert [cell.detail for cell in cells] == ["of 3", "of 2", ""]


def test_otherwise_validation_rows_are_the_inside() -> None:
    run, scores = predicted(ROWS)
    for unseen, known in ((set(), None), ({("lab", "joy"), ("web", "joy"), ("lab", "fear"), ("web", "fear")}, False)):
        assert confusions.needs_inside([run], data(unseen))
        inside, test = confusions.parts([run], data(unseen), {"erm": scores, "later": None})
        assert (inside.known, test.known) == (True, known)
        [alone] = confusions.parts([run], data(unseen), {"erm": None})
        assert alone == test
    [(_, (svg, table))] = confusions.matrices([run], inside, 0)
    assert "80.0" in table.caption
    assert "<svg" in svg
