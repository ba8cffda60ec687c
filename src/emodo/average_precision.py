"""What a report shows where rows hold several emotions: average precision in the place of accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from emodo import figures
from emodo.claims import listed
from emodo.compared import Data, Run
from emodo.figures import Cell, Table, percent


def summary(compared: Sequence[Run], data: Data) -> list[str]:
    """What was compared, on what, with what result: one sentence each, made from the numbers."""
    first, several = compared[0], len(compared) > 1
    n, emotions, strata = first.scores["n"], first.task.emotions, first.scores["strata"]
    confounder = first.task.confounder
    ranked = sorted(compared, key=_mean, reverse=True)
    best, last = ranked[0], ranked[-1]
    said = [
        f"{listed([run.name for run in compared])} {'were' if several else 'was'} tested on "
        f"{'the same ' if several else ''}{n} images of {data.name} (split test), which may show several of "
        f"{len(emotions)} emotions" + (f" in {len(strata)} strata of {confounder.column}." if confounder else "."),
        f"{best.name} has a mean average precision of {percent(_mean(best))}"
        + (f", {last.name} of {percent(_mean(last))}: " if several else ".")
        + (f"{100 * (_mean(best) - _mean(last)):.1f} points apart." if several else ""),
    ]
    if data.unseen:
        said.append(
            f"Training never showed {len(data.unseen)} of the {len(emotions) * len(strata)} combinations of an emotion "
            "and a stratum."
        )
    elif data.unseen is not None:
        said.append("Training showed every combination of an emotion and a stratum.")
    return said


def comparison(compared: Sequence[Run]) -> Table:
    """Mean average precision, and that of each emotion with the test images that hold it."""
    columns = _columns(compared)
    rows: list[tuple[str, Sequence[Cell]]] = []
    for at, run in enumerate(compared):
        cells = [Cell(run.method)]
        for name, values in columns.items():
            known = [value for value in values if value is not None]
            best = values[at] is not None and values[at] == max(known) > min(known)
            held = run.scores["emotions"].get(name)
            detail = f"n = {held['n']}" if held and held["n"] else ""
            cells.append(Cell(percent(values[at]), "best" if best else "", detail=detail))
        rows.append((run.name, cells))
    bold = "; the best of each column is bold" if len(compared) > 1 else ""
    return Table(f"Average precision on the test images{bold}", "run", ["method", *columns], rows)


def bars(compared: Sequence[Run]) -> str:
    """The same as a figure."""
    columns = _columns(compared)
    values = [[column[at] for column in columns.values()] for at in range(len(compared))]
    title = "Mean average precision: " + "; ".join(f"{run.name} {percent(_mean(run))}" for run in compared)
    return figures.bars("average-precision", title, list(columns), values, "average precision in %")


def in_strata(compared: Sequence[Run], shown: Sequence[str], left_out: str) -> Table:
    """Mean average precision among the images of each stratum, a column a run."""
    rows: list[tuple[str, Sequence[Cell]]] = []
    for stratum in shown:
        cells: list[Cell] = []
        for run in compared:
            found = run.scores["strata"][stratum]
            cells.append(
                Cell(percent(found["mean_average_precision"]), detail=f"of {found['n']}")
                if found["n"]
                else Cell("not tested", "untested")
            )
        rows.append((stratum, cells))
    return Table(f"Mean average precision{left_out}", "stratum", [run.name for run in compared], rows)


def _columns(compared: Sequence[Run]) -> dict[str, list[float | None]]:
    of_emotions = {
        emotion: [run.scores["emotions"][emotion]["average_precision"] for run in compared]
        for emotion in compared[0].task.emotions
    }
    return {"mean": [_mean(run) for run in compared], **of_emotions}


def _mean(run: Run) -> float:
    return run.scores["mean_average_precision"]
