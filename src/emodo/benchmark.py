"""`emodo benchmark`: methods x folds x seeds, every cell a run, and one table that says what helps, how certainly."""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

from emodo import comparison, runs
from emodo import search as searching
from emodo.cells import Cell, Entry, Outcome, entries, execute, finished, outdated, seconds
from emodo.files import remove_folder, write_text
from emodo.grid import RUNS, SEARCH, Folds, prepare
from emodo.parallel import Died, cores, find_ray, on_ray, on_this_machine
from emodo.records import InputError, Unfinished
from emodo.search import Outcomes, Runner
from emodo.statistics import Cluster, clusters

if TYPE_CHECKING:
    import pandas as pd

CELLS, FAILURES = "cells.json", "failures"
Engine = Literal["local", "ray"]


def benchmark(
    manifests: list[Path],
    *,
    methods: list[str] | dict[str, dict[str, Any] | None] | None = None,
    out: Path = Path("runs/benchmark"),
    seeds: list[int] | None = None,
    settings: dict[str, Any] | None = None,
    search: list[float] | None = None,
    baseline: str | None = None,
    cluster: Cluster | None = None,
    replicates: int = 10_000,
    engine: Engine = "local",
    processes: int | None = None,
    json: bool = False,
    overwrite: bool = False,
) -> None:
    """emodo benchmark fold1.csv fold2.csv fold3.csv --methods ERM IERN --out runs/faces

    Train every method on every manifest from every seed, each a normal run in OUT/runs, and compare them over all test
    images. Stopped in any way, the same command continues: a finished run is never trained again, a begun one goes on
    from its last epoch. Methods and seeds can be added later. A run that fails stops no other.

    Args:
        manifests: The folds: manifests with a column `split`, each image in the test part of one of them at most.
        methods: Names of methods, or in YAML {NAME: {hyper-parameter: value}}; `method` there names the method where
            NAME is another, `settings` holds what this entry alone trains with.
        out: Folder for the runs and the table (table.json, table.csv, table.md, benchmark.svg).
        seeds: Seeds of each method on each fold; by default 0 to 4.
        settings: Settings of `emodo train` for all methods, as in backbone=small epochs=40; method.lr=1e-3 goes to
            every method that has the hyper-parameter lr.
        search: Factors on the learning rates, as in 0.3 1 3, from which each method's best is chosen for each fold, by
            the accuracy on training sequences held out; the test part is not looked at. By default none is searched.
        baseline: Method that the others are compared with: by default ERM where it is there, or else the first.
        cluster: What the bootstrap draws: sequence, subject or image; by default the first of these that is known.
        replicates: Draws of the bootstrap.
        engine: local, in processes of this machine; or ray, on the cluster that RAY_ADDRESS names, or else on Ray here.
        processes: Runs at a time; by default the CPU cores, or the GPUs where there are any and they are not refused.
        json: Print the table as JSON.
        overwrite: Where OUT holds runs of other settings or data under the same names, train them anew.

    Raises:
        InputError: Whatever is wrong with the grid; nothing has been written then.
        Unfinished: Some runs could not be made; the others and the table are there.
    """
    entered = entries(methods or [], settings or {})
    seeds = [0, 1, 2, 3, 4] if seeds is None else seeds
    base = _check(entered, seeds, baseline, search, replicates, engine, processes)
    emotions = entered[0].settings["emotions"]
    folds = _folds(manifests, emotions, cluster)
    held_out = {fold: searching.hold_out(file, emotions) for fold, file in folds.items()} if search else {}
    prepare(out, entered, folds, search or [], overwrite)
    run_all = _runner(out, entered, engine, processes)
    try:
        tried = searching.candidates(out / SEARCH, entered, held_out, search or [])
        outcomes = run_all([cell for cells in tried.values() for cell in cells.values()], "search") if tried else {}
        chosen = {key: searching.best(cells) for key, cells in tried.items()}
        cells = [
            Cell(
                entry.faster(chosen.get((entry.name, fold), 1.0)),
                manifest,
                seed,
                out / RUNS / entry.folder / f"{fold}-seed{seed}",
            )
            for seed in seeds
            for fold, manifest in folds.items()
            for entry in entered
        ]
        _drop_outdated(cells)
        outcomes |= run_all(cells, "run")
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command continues; what is finished stays") from None
    table = _table(cells, outcomes, list(folds), base, cluster, replicates)
    if tried:
        table["search"] = searching.summary(tried, chosen)
        table["failures"] += searching.failures(tried, outcomes)
    _write(out, table)
    _print(table, json)
    if table["failures"]:
        count, of = len(table["failures"]), len(outcomes)
        raise Unfinished(
            f"{count} of {of} runs could not be made, see above{_logs(out)}; the same command tries them again"
        )


# ---------------------------------------------------------------------------------------- the grid


def _check(
    entered: Sequence[Entry],
    seeds: Sequence[int],
    baseline: str | None,
    search: Sequence[float] | None,
    replicates: int,
    engine: Engine,
    processes: int | None,
) -> str:
    """Refuse impossible numbers; returns the baseline."""
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise InputError(
            f"--seeds {' '.join(map(str, seeds)) or 'is empty'}: name one or more different numbers, 0 or more"
        )
    factors = [f"{factor:g}" for factor in search or []]  # as their runs are named
    if search is not None and (len(set(factors)) < max(2, len(factors)) or not all(0 < f < math.inf for f in search)):
        raise InputError(f"--search {' '.join(factors) or 'is empty'}: name two or more different factors above 0")
    if replicates < 100:
        raise InputError(f"--replicates is {replicates}: it must be 100 or more")
    if processes is not None and processes < 1:
        raise InputError(f"--processes is {processes}: it must be 1 or more")
    if engine == "ray":
        find_ray()
    names = [entry.name for entry in entered]
    if baseline is not None and baseline not in names:
        raise InputError(f"--baseline {baseline} is not in the grid: it has {', '.join(names)}")
    return baseline or ("ERM" if "ERM" in names else names[0])


def _folds(manifests: Sequence[Path], emotions: Sequence[str] | None, cluster: Cluster | None) -> Folds:
    """Name the folds after their files, or their folders too where the files are named alike; all are checked."""
    from emodo import manifest as tables
    from emodo import metrics

    names = [manifest.stem for manifest in manifests]
    if len(set(names)) < len(names):
        names = [f"{manifest.resolve().parent.name}-{manifest.stem}" for manifest in manifests]
    if not names or len(set(names)) < len(names):
        raise InputError("the folds need different names: name one or more manifests, each in a file of its own name")
    shown: dict[Path, set[str]] = {}
    tests: list[pd.DataFrame] = []
    tested: dict[tuple[Any, ...], Path] = {}
    for manifest in manifests:
        frame = tables.load(manifest, tuple(emotions) if emotions else None)
        if "split" not in frame:
            raise InputError(f"{manifest} has no column split: make one with `emodo split`")
        test = frame.loc[frame["split"] == "test"]
        if test.empty:
            raise InputError(f"{manifest} has no row whose split is `test`: split the data otherwise")
        shown[manifest] = set(emotions or frame["emotion"])
        other = shown[manifests[0]] ^ shown[manifest]
        if other:
            raise InputError(
                f"{manifests[0]} and {manifest} do not hold the same emotions ({', '.join(sorted(other))}): the folds "
                "of a benchmark have all emotions in common"
            )
        # a person in an image is its box, where there is one
        place = test[[name for name in ("file", *tables.BOX) if name in test]].fillna(dict.fromkeys(tables.BOX, -1))
        for row in place.itertuples(index=False, name=None):
            if tested.setdefault(row, manifest) is not manifest:
                raise InputError(f"{manifest} and {tested[row]} test the same image, {row[0]}")
        tests.append(test)
    clusters(metrics.pool(tests), cluster)
    return dict(zip(names, manifests, strict=True))


# ------------------------------------------------------------------------------------ running cells


def _runner(out: Path, entered: Sequence[Entry], engine: Engine, processes: int | None) -> Runner:
    """Give the function that brings cells to their end, those that are finished already left out."""
    on_gpu = any(entry.settings["accelerator"] != "cpu" for entry in entered)
    gpus = _gpus() if on_gpu and engine == "local" else []
    at_once = processes or len(gpus) or cores()

    def run_all(cells: Sequence[Cell], what: str) -> Outcomes:
        left = [cell for cell in cells if not finished(cell.run)]
        if len(left) < len(cells):
            _say(f"{len(cells) - len(left)} of {len(cells)} {what}s are finished already")
        outcomes = {cell.run: Outcome("done", 0.0) for cell in cells}
        if not left:
            return outcomes
        jobs = [cell.by_whole_paths() for cell in left]
        results = (
            on_ray(execute, jobs, at_once, on_gpu) if engine == "ray" else on_this_machine(execute, jobs, at_once, gpus)
        )
        with closing(results), _progress(len(left), what) as tell:
            for at, result in results:
                cell = left[at]
                outcome = Outcome("failed", 0.0, result.reason, result.reason) if isinstance(result, Died) else result
                outcomes[cell.run] = outcome
                file = out / FAILURES / cell.run.parent.name / f"{cell.run.name}.txt"
                if outcome.detail:
                    write_text(file, outcome.detail)
                else:
                    file.unlink(missing_ok=True)
                tell(f"{cell.entry.name} {cell.run.name}: {_told(cell, outcome)}")
        return outcomes

    return run_all


def _drop_outdated(cells: Sequence[Cell]) -> None:
    """Remove runs of learning rates that are no longer the best, as a failed candidate was made since."""
    old = [cell for cell in cells if outdated(cell)]
    if old:
        _say(f"{len(old)} runs are trained anew, with the learning rates that the search has chosen now")
    for cell in old:
        remove_folder(cell.run)


def _logs(out: Path) -> str:
    return f" and {out / FAILURES}" if (out / FAILURES).is_dir() and any((out / FAILURES).rglob("*.txt")) else ""


def _gpus() -> list[str]:
    """What CUDA calls the GPUs that this process may use."""
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return (named or [str(at) for at in range(torch.cuda.device_count())])[: torch.cuda.device_count()]


def _told(cell: Cell, outcome: Outcome) -> str:
    if outcome.status != "done":
        return ("not possible: " if outcome.status == "refused" else "failed: ") + shorten(outcome.reason, 120)
    return f"{runs.scores(cell.run)['accuracy']:.1%} in {_time(outcome.seconds)}"


@contextmanager
def _progress(total: int, what: str) -> Generator[Callable[[str], None]]:
    """Yield what tells of a cell that has ended: under a bar on a terminal, else a line each, on stderr."""
    started, ended = time.monotonic(), 0

    def left() -> str:
        took = time.monotonic() - started
        return f"about {_time(took / ended * (total - ended))} left" if ended < total else f"in {_time(took)}"

    if not sys.stderr.isatty():

        def line(text: str) -> None:
            nonlocal ended
            ended += 1
            _say(f"{what} {ended}/{total}, {text}; {left()}")

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn(f"{what}s"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bar:  # nothing moves in between
        task = bar.add_task("", total=total, left="")
        bar.refresh()

        def advance(text: str) -> None:
            nonlocal ended
            ended += 1
            bar.console.print(text, markup=False, highlight=False)
            bar.update(task, advance=1, left=left(), refresh=True)

        yield advance


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _say(text: str) -> None:
    print(f"emodo benchmark: {text}", file=sys.stderr, flush=True)


# -------------------------------------------------------------------------------------- the table


def _table(
    cells: Sequence[Cell],
    outcomes: Outcomes,
    folds: Sequence[str],
    baseline: str,
    cluster: Cluster | None,
    replicates: int,
) -> dict[str, Any]:
    def fold(cell: Cell) -> str:
        return cell.run.name.rpartition("-seed")[0]

    predictions: dict[str, dict[int, dict[str, pd.DataFrame]]] = {}
    took: dict[str, list[float]] = {}
    told: list[dict[str, Any]] = []
    for cell in cells:
        name, outcome = cell.entry.name, outcomes[cell.run]
        of_method = predictions.setdefault(name, {})
        if outcome.status == "done":
            of_method.setdefault(cell.seed, {})[fold(cell)] = runs.predictions(cell.run)
            time_taken = seconds(cell.run)
            took.setdefault(name, []).extend([] if time_taken is None else [time_taken])
            told.append({"status": "done", "seconds": time_taken, "reason": ""})
        else:
            told.append({"status": outcome.status, "seconds": None, "reason": outcome.reason})
        told[-1] = {"method": name, "fold": fold(cell), "seed": cell.seed, **told[-1]}
    done = next((cell for cell in cells if outcomes[cell.run].status == "done"), None)
    emotions = runs.task(done.run).emotions if done else ()
    table = comparison.compare(predictions, folds, emotions, baseline, cluster, replicates)
    for row in table["methods"]:
        found = took.get(row["name"])
        row["seconds"] = statistics.median(found) if found else None  # a process's first run imports PyTorch
        reasons = {each["status"] for each in told if each["method"] == row["name"]} - {"done"}
        if reasons:
            row["note"] = "not possible" if reasons == {"refused"} else "failed"
    return table | {"cells": told, "failures": [each for each in told if each["status"] != "done"]}


def _write(out: Path, table: dict[str, Any]) -> None:
    write_text(out / CELLS, json.dumps(table["cells"], indent=2) + "\n")
    write_text(out / "table.json", json.dumps(table, indent=2) + "\n")
    write_text(out / "table.csv", comparison.comma_separated(table))
    write_text(out / "table.md", comparison.markdown(table))
    write_text(out / "benchmark.svg", comparison.figure(table))


def _print(table: dict[str, Any], as_json: bool) -> None:
    """Print the table on stdout."""
    if as_json:
        print(json.dumps(table))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)
    for head, body in (
        (comparison.headings(table), comparison.lines(table)),
        (["accuracy on", *table["emotions"]], comparison.emotion_lines(table)),
    ):
        if body:
            shown = Table(box=box.SIMPLE)
            for at, heading in enumerate(head):
                shown.add_column(heading, justify="right" if at else "left", overflow="fold")
            for row in body:
                shown.add_row(*row)
            console.print(shown, markup=False)
    for note in comparison.notes(table):
        console.print(f"- {note}", markup=False, highlight=False, soft_wrap=True)
