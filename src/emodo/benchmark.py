"""`emodo benchmark`: methods x folds x seeds, every cell a run, and one table that says what helps, how certainly."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

from emodo import comparison, runs
from emodo.cells import Cell, Entry, Outcome, entries, execute, finished, method_class, seconds
from emodo.files import write_text
from emodo.parallel import Died, cores, on_ray, on_this_machine
from emodo.records import InputError, Unfinished

if TYPE_CHECKING:
    import pandas as pd

GRID, CELLS, RUNS, SEARCH, FAILURES = "grid.json", "cells.json", "runs", "search", "failures"
HELD_OUT = 0.2  # of the training sequences, to choose a learning rate on
Engine = Literal["local", "ray"]
Folds = dict[str, Path]
Outcomes = dict[Path, Outcome]  # by run folder
Runner = Callable[[Sequence[Cell], str], Outcomes]


def benchmark(
    manifests: list[Path],
    *,
    methods: list[str] | dict[str, dict[str, Any] | None] | None = None,
    out: Path = Path("runs/benchmark"),
    seeds: list[int] | None = None,
    settings: dict[str, Any] | None = None,
    search: list[float] | None = None,
    baseline: str | None = None,
    cluster: Literal["sequence", "subject", "image"] | None = None,
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
    base = _check(entered, seeds, baseline, search, replicates, processes)
    folds = _folds(manifests, (settings or {}).get("emotions"))
    _prepare(out, _grid(entered, folds, search), overwrite)
    run_all = _runner(out, entered, engine, processes)
    try:
        factors = _search(out, entered, folds, seeds[0], search, run_all) if search else {}
        cells = [
            Cell(
                entry.faster(factors.get((entry.name, fold), 1.0)),
                manifest,
                seed,
                out / RUNS / entry.folder / f"{fold}-seed{seed}",
            )
            for seed in seeds
            for fold, manifest in folds.items()
            for entry in entered
        ]
        outcomes = run_all(cells, "run")
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command continues; what is finished stays") from None
    table = _table(cells, outcomes, list(folds), base, cluster, replicates)
    if search:
        table["search"] = _searched(search, factors, len(entered) * len(folds), seeds[0])
    _write(out, table)
    _print(table, json)
    if table["failures"]:
        count = len(table["failures"])
        raise Unfinished(
            f"{count} of {len(cells)} runs could not be made, see above and {out / FAILURES}; the same command tries "
            "them again"
        )


# ---------------------------------------------------------------------------------------- the grid


def _check(
    entered: Sequence[Entry],
    seeds: Sequence[int],
    baseline: str | None,
    search: Sequence[float] | None,
    replicates: int,
    processes: int | None,
) -> str:
    """Refuse impossible numbers; returns the baseline."""
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise InputError(f"--seeds {' '.join(map(str, seeds))}: name one or more different numbers, 0 or more")
    if search and (len(set(search)) < 2 or len(set(search)) < len(search) or min(search) <= 0):
        raise InputError(f"--search {' '.join(f'{f:g}' for f in search)}: name two or more different factors above 0")
    if replicates < 100:
        raise InputError(f"--replicates is {replicates}: it must be 100 or more")
    if processes is not None and processes < 1:
        raise InputError(f"--processes is {processes}: it must be 1 or more")
    names = [entry.name for entry in entered]
    if baseline is not None and baseline not in names:
        raise InputError(f"--baseline {baseline} is not in the grid: it has {', '.join(names)}")
    return baseline or ("ERM" if "ERM" in names else names[0])


def _folds(manifests: Sequence[Path], emotions: Sequence[str] | None) -> Folds:
    """Name the folds after their files, or their folders too where the files are named alike; all are checked."""
    from emodo import manifest as tables
    from emodo.multilabel import check_single

    names = [manifest.stem for manifest in manifests]
    if len(set(names)) < len(names):
        names = [f"{manifest.resolve().parent.name}-{manifest.stem}" for manifest in manifests]
    if not names or len(set(names)) < len(names):
        raise InputError("the folds need different names: name one or more manifests, each in a file of its own name")
    tested: dict[str, Path] = {}
    for manifest in manifests:
        frame = tables.load(manifest, tuple(emotions) if emotions else None)
        if "split" not in frame:
            raise InputError(f"{manifest} has no column split: make one with `emodo split`")
        check_single(
            frame, manifest, "a grid compares accuracies: train each run, and compare them with `emodo report`"
        )
        places = frame.loc[frame["split"] == "test"].drop(columns=["path", "emotion", "split"])
        for place in set(places[[c for c in ("file", *tables.BOX) if c in places]].astype("str").agg("|".join, axis=1)):
            if place in tested:
                raise InputError(f"{manifest} and {tested[place]} test the same image, {place.split('|')[0]}")
            tested[place] = manifest
    return dict(zip(names, manifests, strict=True))


def _grid(entered: Sequence[Entry], folds: Folds, search: Sequence[float] | None) -> dict[str, Any]:
    """What decides the results, as it is kept in OUT."""
    return {
        "folds": {
            fold: {"manifest": str(file.resolve()), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
            for fold, file in folds.items()
        },
        "methods": {entry.name: asdict(entry) | {"search": list(search or [])} for entry in entered},
    }


def _prepare(out: Path, grid: dict[str, Any], overwrite: bool) -> None:
    """Add this grid to what OUT holds; other settings under the same name are refused, or their runs removed."""
    file = out / GRID
    if out.is_file() or (out.is_dir() and not file.is_file() and any(out.iterdir())):
        raise InputError(f"{out} is not a benchmark (it has no {GRID}): choose another --out")
    before: dict[str, Any] = {"folds": {}, "methods": {}}
    if file.is_file():
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
            before = {kind: dict(before[kind]) for kind in before}
        except (ValueError, LookupError, TypeError):
            raise InputError(f"{file} is damaged: choose another --out") from None
    changes = {
        (kind, name): _changes(before[kind][name], entry)
        for kind in ("folds", "methods")
        for name, entry in grid[kind].items()
        if name in before[kind]
    }
    changes = {key: found for key, found in changes.items() if found}
    if changes and not overwrite:
        (kind, name), found = next(iter(changes.items()))
        raise InputError(
            f"{out} holds runs of {name} with other settings ({', '.join(found)}): choose another --out, or train them "
            "anew with --overwrite"
        )
    for kind, name in changes:
        folder = grid["methods"][name]["folder"] if kind == "methods" else None
        for run in [run for part in (RUNS, SEARCH) for run in (out / part).glob("*/*") if run.is_dir()]:
            if run.parent.name == folder or (kind == "folds" and run.name.startswith(f"{name}-")):
                shutil.rmtree(run)
        (out / SEARCH / f"{name}.parquet").unlink(missing_ok=True)
    merged = {kind: before[kind] | grid[kind] for kind in ("folds", "methods")}
    write_text(file, json.dumps(merged, indent=2) + "\n")


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Name what differs, as `epochs 40 -> 6`. A setting that emodo did not have then had today's default."""
    if "sha256" in now:
        return [] if before.get("sha256") == now["sha256"] else ["the manifest has changed"]
    from emodo.training import train

    signatures = {"init_args": method_class(now["method"]), "settings": train}
    found = [
        f"{name} {before.get(name)} -> {now[name]}" for name in ("method", "search") if before.get(name) != now[name]
    ]
    for part, function in signatures.items():
        defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
        old, new = before.get(part, {}), json.loads(json.dumps(now[part]))
        for name in sorted({*old, *new}):
            was, is_now = old.get(name, defaults.get(name)), new.get(name, defaults.get(name))
            if was != is_now:
                found.append(f"{name} {was} -> {is_now}")
    return found


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
        results = (
            on_ray(execute, left, at_once, on_gpu) if engine == "ray" else on_this_machine(execute, left, at_once, gpus)
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
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total, left="")

        def advance(text: str) -> None:
            nonlocal ended
            ended += 1
            bar.console.print(text, markup=False, highlight=False)
            bar.update(task, advance=1, left=left())

        yield advance


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _say(text: str) -> None:
    print(f"emodo benchmark: {text}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------- the search


def _search(
    out: Path, entered: Sequence[Entry], folds: Folds, seed: int, search: Sequence[float], run_all: Runner
) -> dict[tuple[str, str], float]:
    """Choose the factor on each method's learning rates, for each fold by itself.

    For each fold, as the training part of one fold holds what another one tests. Where all candidates fail, the factor
    is 1, and the runs will say why.
    """
    candidates: dict[tuple[str, str], list[tuple[float, Cell]]] = {}
    for fold, manifest in folds.items():
        held_out = out / SEARCH / f"{fold}.parquet"
        if not held_out.is_file():
            _hold_out(manifest, held_out, entered[0].settings["emotions"])
        for entry in entered:
            candidates[entry.name, fold] = [
                (
                    factor,
                    Cell(entry.faster(factor), held_out, seed, out / SEARCH / entry.folder / f"{fold}-times{factor:g}"),
                )
                for factor in search
            ]
    run_all([cell for found in candidates.values() for _, cell in found], "search")

    def best(found: list[tuple[float, Cell]]) -> float:
        scored = [
            (runs.scores(cell.run)["accuracy"], -abs(math.log(factor)), factor)
            for factor, cell in found
            if finished(cell.run)
        ]
        return max(scored)[2] if scored else 1.0  # of equal ones the nearest to the settings given

    return {key: best(found) for key, found in candidates.items()}


def _hold_out(manifest: Path, target: Path, emotions: Sequence[str] | None) -> None:
    """Write a manifest of the training and validation rows alone, the latter as what is tested.

    Without validation rows, a fifth of the training sequences is taken, the same fraction of every source and emotion.
    """
    from emodo import manifest as tables
    from emodo.splits import by_sequence, check

    frame = tables.load(manifest, tuple(emotions) if emotions else None)
    known = frame.loc[frame["split"] != "test"].reset_index(drop=True)
    if (known["split"] == "validation").any():
        known = known.assign(split=known["split"].replace("validation", "test"))
    else:
        known = by_sequence(known, HELD_OUT)
    try:
        check(known)
    except InputError as error:
        raise InputError(f"{manifest}: --search holds out a part of the training rows, and then {error}") from None
    tables.save(known, target)


def _searched(
    search: Sequence[float], factors: dict[tuple[str, str], float], choices: int, seed: int
) -> dict[str, Any]:
    chosen: dict[str, dict[str, float]] = {}
    for (method, fold), factor in factors.items():
        chosen.setdefault(method, {})[fold] = factor
    note = (
        f"Searched for every method alike: learning rates times {', '.join(f'{factor:g}' for factor in search)}, on "
        f"each fold by itself, by the accuracy on training sequences held out, with seed {seed}; "
        f"{choices * len(search)} runs more."
    )
    return {"factors": list(search), "note": note, "chosen": chosen}


# -------------------------------------------------------------------------------------- the table


def _table(
    cells: Sequence[Cell],
    outcomes: Outcomes,
    folds: Sequence[str],
    baseline: str,
    cluster: Literal["sequence", "subject", "image"] | None,
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
                shown.add_column(heading, justify="right" if at else "left")
            for row in body:
                shown.add_row(*row)
            console.print(shown, markup=False)
    for note in comparison.notes(table):
        console.print(f"- {note}", markup=False, highlight=False, soft_wrap=True)
