"""The report: what was compared, how it did, where, and on which images, on one page that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import emodo
from emodo import average_precision, figures
from emodo.compared import EVERYWHERE, Data, Run, comparable, data_of, strata_of
from emodo.figures import Cell, Samples, Table, percent
from emodo.files import write_text
from emodo.records import InputError

MOST_STRATA = 12  # a table of more is no longer read; the strata with most test images are shown
MOST_SAMPLES = 120  # thumbnails a split, 3 KB each: the page stays far under 5 MB
EXAMPLES = 3  # test images under each stratum, once where the run is right and once where it is wrong


def report(runs: list[Path], out: str | Path = "report.html", overwrite: bool = False) -> Path:
    """emodo report runs/iern runs/erm --out report.html

    Compare runs on one HTML page, which holds its figures, tables and sample images itself and loads nothing:
    it can be mailed, archived and opened without a network. It is written whole or not at all. The same runs
    and images give the same page. Where the manifest or its images are gone, it is made without samples, and
    says so.

    Args:
        runs: The folders of one or more finished runs. They must have been tested on the same images, with
            the same emotions and, where they know any, the same strata.
        out: The HTML file to write.
        overwrite: Replace `out` if it exists.

    Returns:
        The file that was written.

    Raises:
        InputError: No run is given, or one twice; a folder is not a run, or its training has not finished;
            the runs differ in their emotions, test images or strata; `out` exists and is not to be replaced.
    """
    out = Path(out)
    if out.is_dir() or (out.exists() and not overwrite):
        raise InputError(
            f"{out} exists already: choose another --out" + ("" if out.is_dir() else ", or replace it with --overwrite")
        )
    compared = comparable([Path(run) for run in runs])
    write_text(out, _render(compared, data_of(compared[0])))
    return out


def _render(compared: Sequence[Run], data: Data) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("emodo"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    samples = Samples()
    several = compared[0].task.multilabel
    losses = figures.by_name([run.losses for run in compared])
    images = _image_tables(compared[0], data, samples)
    examples = [(run, _examples(run, data, samples)) for run in compared]
    guesses = [(run, run.scores["confounder"]) for run in compared if run.scores.get("confounder")]
    return pages.get_template("report.html.jinja").render(
        title=f"emodo report: {', '.join(run.name for run in compared)}",
        version=emodo.__version__,
        runs=compared,
        several=several,
        summary=(average_precision.summary if several else _summary)(compared, data),
        unseen=bool(data.unseen),
        notes=[*data.notes, *samples.notes()],
        comparison=average_precision.comparison(compared) if several else _comparison(compared, data),
        bars=(average_precision.bars if several else _bars)(compared),
        images=images,
        cells=_in_strata(compared, data),
        confusions=[
            (
                run,
                figures.confusion(
                    f"emotion-{at}", _title(run, "emotion", run.scores["accuracy"]), run.scores["confusion"]
                ),
            )
            for at, run in enumerate([] if several else compared)
        ],
        confounders=[
            (
                run,
                figures.confusion(
                    f"stratum-{at}",
                    _title(run, "stratum", found["accuracy"]),
                    figures.joined(found["confusion"], _shown(run)[0]),
                ),
            )
            for at, (run, found) in enumerate(guesses)
        ],
        examples=[(run, found) for run, found in examples if found],
        curves=[
            (loss, figures.curves(f"loss-{at}", loss, [run.name for run in compared], series))
            for at, (loss, series) in enumerate(losses.items())
        ],
        losses=figures.loss_table([run.name for run in compared], losses),
    )


def _title(run: Run, what: str, accuracy: float | None) -> str:
    return f"{run.name}: true and predicted {what}, {percent(accuracy)} right"


def _summary(compared: Sequence[Run], data: Data) -> list[str]:
    """What was compared, on what, with what result: one sentence each, made from the numbers."""
    first, several = compared[0], len(compared) > 1
    n, emotions, strata = first.scores["n"], first.task.emotions, first.scores["strata"]
    confounder = first.task.confounder
    ranked = sorted(compared, key=lambda run: -run.scores["accuracy"])
    best, last = ranked[0], ranked[-1]
    gap = 100 * (best.scores["accuracy"] - last.scores["accuracy"])
    said = [
        f"{' and '.join(run.name for run in compared)} {'were' if several else 'was'} tested on "
        f"{'the same ' if several else ''}{n} images of {data.name} (split test), of {len(emotions)} emotions"
        + (f" in {len(strata)} strata of {confounder.column}." if confounder else "."),
        f"{best.name} is right on {percent(best.scores['accuracy'])} of them"
        + (f", {last.name} on {percent(last.scores['accuracy'])}: {gap:.1f} points apart." if several else "."),
    ]
    if data.unseen:
        unseen, cells = _unseen_images(first, data), len(emotions) * len(strata)
        said.append(
            f"Training never showed {len(data.unseen)} of the {cells} combinations of an emotion and "
            f"a stratum; {unseen} of the {n} test images ({percent(unseen / n)}) are of these."
        )
    elif data.unseen is not None:
        said.append("Training showed every combination of an emotion and a stratum.")
    return said


def _comparison(compared: Sequence[Run], data: Data) -> Table:
    columns = {
        "accuracy": [run.scores["accuracy"] for run in compared],
        "macro accuracy": [run.scores["macro_accuracy"] for run in compared],
    }
    # Where all images are of absent combinations, the column would repeat the first one.
    if 0 < _unseen_images(compared[0], data) < compared[0].scores["n"]:
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


def _unseen_images(run: Run, data: Data) -> int:
    """The number of test images whose combination of emotion and stratum training never showed."""
    return sum(run.scores["cells"][emotion][stratum]["n"] for stratum, emotion in data.unseen or ())


def _accuracy_in(run: Run, cells: frozenset[tuple[str, str]]) -> float | None:
    found = [run.scores["cells"][emotion][stratum] for stratum, emotion in cells]
    n = sum(cell["n"] for cell in found)
    return sum(cell["n"] * cell["accuracy"] for cell in found if cell["n"]) / n if n else None


def _bars(compared: Sequence[Run]) -> str:
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


def _shown(run: Run, most: int = MOST_STRATA) -> tuple[list[str], str]:
    """The strata with most test images, in the order of the task, and what to say where some are left out."""
    found = run.scores["strata"]
    largest = sorted(found, key=lambda stratum: -found[stratum]["n"])[:most]
    shown = [stratum for stratum in found if stratum in largest]
    left_out = f"; the {most} of {len(found)} strata with most test images" if len(shown) < len(found) else ""
    return shown, left_out


def _image_tables(run: Run, data: Data, samples: Samples) -> list[Table]:
    """Counts and a sample of each emotion in each stratum: training beside test."""
    emotions = run.task.emotions
    strata, left_out = _shown(run, max(1, min(MOST_STRATA, MOST_SAMPLES // len(emotions))))
    tables: list[Table] = []
    for split, called in (("train", "Training"), ("test", "Test")):
        n = data.rows.get(split, 0)
        rows: list[tuple[str, Sequence[Cell]]] = []
        for stratum in strata or [EVERYWHERE]:
            cells: list[Cell] = []
            for emotion in emotions:
                places = data.images.get((split, stratum, emotion), [])
                unseen = split == "test" and (stratum, emotion) in (data.unseen or ())
                kind = "absent" if not places else "unseen" if unseen else ""
                cells.append(
                    Cell(
                        str(len(places)) if places else "none",
                        kind,
                        image=samples.image(places[0]) if places else "",
                        alt=f"{called} image: {emotion}, {stratum}",
                    )
                )
            rows.append((stratum, cells))
        if n:
            tables.append(Table(f"{called}: {n} images{left_out}", "stratum", emotions, rows))
    return tables


def _in_strata(compared: Sequence[Run], data: Data) -> list[Table]:
    if not compared[0].task.multilabel:
        return [_cell_table(run, data) for run in compared if run.scores["strata"]]
    return [average_precision.in_strata(compared, *_shown(compared[0]))] if compared[0].scores["strata"] else []


def _cell_table(run: Run, data: Data) -> Table:
    strata, left_out = _shown(run)
    unseen = data.unseen or frozenset()
    rows: list[tuple[str, Sequence[Cell]]] = []
    for stratum in strata:
        cells: list[Cell] = []
        for emotion in run.task.emotions:
            found = run.scores["cells"][emotion][stratum]
            cells.append(figures.accuracy_cell(found, "unseen" if (stratum, emotion) in unseen else ""))
        rows.append((stratum, [*cells, figures.accuracy_cell(run.scores["strata"][stratum])]))
    return Table(f"{run.name}{left_out}", "stratum", [*run.task.emotions, "all"], rows)


def _most_divided(p: np.ndarray, cells: list[tuple[str, str]], right: list[bool]) -> list[int]:
    """The rows of `p`, [rows, K, E], on which the strata disagree most, right ones first.

    No two rows of a cell are taken: frames of one sequence would fill the page.
    """
    order = np.argsort(-np.ptp(p, axis=1).max(axis=1), kind="stable").tolist()
    first: dict[tuple[bool, tuple[str, str]], int] = {}
    for at in order:
        first.setdefault((right[at], cells[at]), at)
    picked = list(first.values())
    return [at for at in picked if right[at]][:EXAMPLES] + [at for at in picked if not right[at]][:EXAMPLES]


def _examples(run: Run, data: Data, samples: Samples) -> list[tuple[Cell, Table]]:
    """P(Y | X, d) of each stratum for a few test images."""
    emotions, strata, table = run.task.emotions, run.task.strata, run.predictions
    columns = [f"p:{emotion}|{stratum}" for stratum in strata for emotion in emotions]
    combined = [f"p:{emotion}" for emotion in emotions]
    if not strata or not {*columns, *combined} <= set(table.columns):
        return []
    p = table[columns].to_numpy(float).reshape(len(table), len(strata), len(emotions))
    do = table[combined].to_numpy(float)
    paths, truths, guesses = (list(table[name]) for name in ("path", "emotion", "predicted"))
    right = [truth == guess for truth, guess in zip(truths, guesses, strict=True)]
    shown, left_out = _shown(run)
    own = strata_of(table)
    found: list[tuple[Cell, Table]] = []
    for at in _most_divided(p, list(zip(truths, own, strict=True)), right):
        rows: list[tuple[str, Sequence[Cell]]] = [
            (f"{stratum} (its own)" if stratum == own[at] else stratum, figures.shares(p[at, k]))
            for k, stratum in enumerate(strata)
            if stratum in shown
        ]
        verdict = "recognised" if right[at] else f"taken for {guesses[at]}"
        caption = f"{truths[at]}, {verdict}{left_out}"
        rows.append(("P(Y | do(X))", figures.shares(do[at])))
        sample = samples.image(data.test[at])
        found.append(
            (
                Cell(paths[at], image=sample, alt=f"Test image: {truths[at]}, {own[at]}"),
                Table(caption, "stratum", emotions, rows),
            )
        )
    return found
