"""Confusion matrices of runs beside each other, inside and outside of the distribution that they were trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emodo import figures
from emodo.compared import Data, Run, shown_strata
from emodo.figures import Cell, Table, percent
from emodo.metrics import score

Matrix = tuple[Run, tuple[str, Table]]
Scores = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """Some rows, whether training shows such rows, and the scores of each run on them, by its name."""

    name: str
    known: bool | None
    scores: dict[str, Scores]


def needs_inside(compared: Sequence[Run], data: Data) -> bool:
    """Whether only validation rows could tell how the runs do inside of the distribution."""
    n = compared[0].scores["n"]
    return not compared[0].task.multilabel and not 0 < len(_unseen(compared[0], data)) < n


def parts(compared: Sequence[Run], data: Data, inside: Mapping[str, Scores | None]) -> list[Part]:
    """The parts of the rows that the paper's Figure 1 tells apart: where training showed such rows, and where not.

    Test rows of combinations of emotion and stratum that training showed, and of others, where there are both;
    otherwise validation rows, drawn as the training rows are, and the test rows. inside: the scores of each run on
    validation rows, None where there are none.
    """
    first = compared[0]
    unseen = _unseen(first, data)
    if 0 < len(unseen) < first.scores["n"]:
        never = first.predictions.index.isin(unseen)
        return [Part("all test images", None, {run.name: run.scores for run in compared})] + [
            Part(name, known, {run.name: score(run.predictions.loc[rows], run.task) for run in compared})
            for name, known, rows in (
                ("test images of known combinations", True, ~never),
                ("test images of unknown combinations", False, never),
            )
        ]
    test = Part("test images", False if unseen else None, {run.name: run.scores for run in compared})
    validated = {name: found for name, found in inside.items() if found is not None}
    if not validated:
        return [test]
    return [Part("validation images", True, validated), test]


def _unseen(run: Run, data: Data) -> list[int]:
    """The test rows whose combination of emotion and stratum training never showed."""
    rows = zip(run.predictions["stratum"], run.predictions["emotion"], strict=True)
    return [at for at, cell in enumerate(rows) if cell in (data.unseen or ())]


def matrices(compared: Sequence[Run], part: Part, number: int) -> list[Matrix]:
    """The confusion of emotions of each run that has scores of a part."""
    return [
        (
            run,
            figures.confusion(
                f"emotion-{number}-{at}",
                f"{run.name}, {part.name}: true and predicted emotion, {percent(part.scores[run.name]['accuracy'])} "
                "right",
                part.scores[run.name]["confusion"],
            ),
        )
        for at, run in enumerate(compared)
        if run.name in part.scores
    ]


def side_by_side(compared: Sequence[Run], found: Sequence[Part]) -> Table:
    """The accuracy of each run inside and outside, the last two of the parts, and the points between them."""
    found = found[-2:]
    rows: list[tuple[str, list[Cell]]] = []
    for run in compared:
        values = [part.scores[run.name]["accuracy"] if run.name in part.scores else None for part in found]
        sizes = [part.scores[run.name]["n"] if run.name in part.scores else 0 for part in found]
        cells = [
            Cell("not known" if value is None else percent(value), detail=f"of {n}" if n else "")
            for value, n in zip(values, sizes, strict=True)
        ]
        within, without = values
        change = "not known" if within is None or without is None else f"{100 * (without - within):+.1f} points"
        rows.append((run.name, [*cells, Cell(change)]))
    return Table("Accuracy inside and outside", "run", [*(part.name for part in found), "difference"], rows)


def confounder(at: int, run: Run, found: Scores) -> tuple[str, Table]:
    """The confusion of the predicted stratum (right side of the paper's Figure 4)."""
    title = f"{run.name}: true and predicted stratum, {percent(found['accuracy'])} right"
    return figures.confusion(f"stratum-{at}", title, figures.joined(found["confusion"], shown_strata(run)[0]))
