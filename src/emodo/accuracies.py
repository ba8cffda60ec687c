"""What a report shows where rows hold one emotion: accuracies, of runs, emotions and strata."""

from __future__ import annotations

from collections.abc import Sequence

from emodo import figures
from emodo.claims import listed
from emodo.compared import EVERYWHERE, Data, Run, shown_strata
from emodo.figures import Cell, Table, percent


def summary(compared: Sequence[Run], data: Data) -> list[str]:
    """What was compared, on what, with what result: one sentence each, made from the numbers."""
    first, several = compared[0], len(compared) > 1
    n, emotions, strata = first.scores["n"], first.task.emotions, first.scores["strata"]
    confounder = first.task.confounder
    ranked = sorted(compared, key=lambda run: -run.scores["accuracy"])
    best, last = ranked[0], ranked[-1]
    gap = 100 * (best.scores["accuracy"] - last.scores["accuracy"])
    said = [
        f"{listed([run.name for run in compared])} {'were' if several else 'was'} tested on "
        f"{'the same ' if several else ''}{n} images of {data.name} (split test), of {len(emotions)} emotions"
        + (f" in {len(strata)} strata of {confounder.column}." if confounder else "."),
        f"{best.name} is right on {percent(best.scores['accuracy'])} of them"
        + (f", {last.name} on {percent(last.scores['accuracy'])}: {gap:.1f} points apart." if several else "."),
    ]
    if data.unseen:
        unseen, cells = unseen_images(first, data), len(emotions) * len(strata)
        said.append(
            f"Training never showed {len(data.unseen)} of the {cells} combinations of an emotion and "
            f"a stratum; {unseen} of the {n} test images ({percent(unseen / n)}) are of these."
        )
    elif data.unseen is not None:
        said.append("Training showed every combination of an emotion and a stratum.")
    return said


def comparison(compared: Sequence[Run], data: Data) -> Table:
    """Accuracies of each run: pooled, macro, on what training never showed, in the worst cell, on each emotion."""
    columns = {
        "accuracy": [run.scores["accuracy"] for run in compared],
        "macro accuracy": [run.scores["macro_accuracy"] for run in compared],
    }
    # Where all images are of absent combinations, the column would repeat the first one.
    if 0 < unseen_images(compared[0], data) < compared[0].scores["n"]:
        columns["absent from training"] = [_accuracy_in(run, data.unseen or frozenset()) for run in compared]
    worst = [run.scores["worst_cell"] for run in compared]
    if all(worst):
        columns["worst cell"] = [cell["accuracy"] for cell in worst]
    columns |= {
        emotion: [run.scores["emotions"][emotion]["accuracy"] for run in compared]
        for emotion in compared[0].task.emotions
    }
    rows: list[tuple[str, Sequence[Cell]]] = []
    for at, run in enumerate(compared):
        cells = [Cell(run.method)]
        for name, values in columns.items():
            best = values[at] is not None and values[at] == max(values) > min(values)
            cell = worst[at] if name == "worst cell" else None
            detail = f"{cell['emotion']}, {cell['stratum']} (n = {cell['n']})" if cell else ""
            cells.append(Cell(percent(values[at]), "best" if best else "", detail=detail))
        rows.append((run.name, cells))
    bold = "; the best of each column is bold" if len(compared) > 1 else ""
    return Table(f"Accuracy on the test images{bold}", "run", ["method", *columns], rows)


def bars(compared: Sequence[Run]) -> str:
    """The same as a figure."""
    emotions = compared[0].task.emotions
    values = [
        [
            run.scores["accuracy"],
            run.scores["macro_accuracy"],
            *(run.scores["emotions"][emotion]["accuracy"] for emotion in emotions),
        ]
        for run in compared
    ]
    title = "Accuracy: " + "; ".join(f"{run.name} {percent(run.scores['accuracy'])}" for run in compared)
    return figures.bars("accuracy", title, [EVERYWHERE, "macro", *emotions], values)


def in_strata(run: Run, data: Data) -> Table:
    """Accuracy on each emotion in each stratum."""
    strata, left_out = shown_strata(run)
    unseen = data.unseen or frozenset()
    rows: list[tuple[str, Sequence[Cell]]] = []
    for stratum in strata:
        cells: list[Cell] = []
        for emotion in run.task.emotions:
            found = run.scores["cells"][emotion][stratum]
            cells.append(figures.accuracy_cell(found, "unseen" if (stratum, emotion) in unseen else ""))
        rows.append((stratum, [*cells, figures.accuracy_cell(run.scores["strata"][stratum])]))
    return Table(f"{run.name}{left_out}", "stratum", [*run.task.emotions, "all"], rows)


def unseen_images(run: Run, data: Data) -> int:
    """The number of test images whose combination of emotion and stratum training never showed."""
    return sum(run.scores["cells"][emotion][stratum]["n"] for stratum, emotion in data.unseen or ())


def _accuracy_in(run: Run, cells: frozenset[tuple[str, str]]) -> float | None:
    found = [run.scores["cells"][emotion][stratum] for stratum, emotion in cells]
    n = sum(cell["n"] for cell in found)
    return sum(cell["n"] * cell["accuracy"] for cell in found if cell["n"]) / n if n else None
