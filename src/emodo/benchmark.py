"""`emodo benchmark`: methods x folds x seeds, every cell a run, and one table that says what helps, how certainly."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodo import claims, comparison, running, runs, tabular
from emodo import search as searching
from emodo.assessment import unseen
from emodo.cells import Cell, Entry, entries, outdated, seconds
from emodo.compared import comparable
from emodo.files import remove_folder, write_text
from emodo.grid import RUNS, SEARCH, name_folds, prepare
from emodo.records import InputError, Unfinished, check_least
from emodo.running import Engine, Outcomes, logs
from emodo.statistics import Cluster

if TYPE_CHECKING:
    import pandas as pd

CELLS = "cells.json"


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
    folds = name_folds(manifests, emotions, cluster)
    held_out = {fold: searching.hold_out(file, emotions) for fold, file in folds.items()} if search else {}
    prepare(out, entered, folds, search or [], overwrite)
    run_all = running.runner("benchmark", out, entered, engine, processes)
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
            f"{count} of {of} runs could not be made, see above{logs(out)}; the same command tries them again"
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
    running.check(seeds, engine, processes)
    factors = [f"{factor:g}" for factor in search or []]  # as their runs are named
    if search is not None and (len(set(factors)) < max(2, len(factors)) or not all(0 < f < math.inf for f in search)):
        raise InputError(f"--search {' '.join(factors) or 'is empty'}: name two or more different factors above 0")
    check_least(100, replicates=replicates)
    names = [entry.name for entry in entered]
    if baseline is not None and baseline not in names:
        raise InputError(f"--baseline {baseline} is not in the grid: it has {', '.join(names)}")
    return baseline or ("ERM" if "ERM" in names else names[0])


def _drop_outdated(cells: Sequence[Cell]) -> None:
    """Remove runs of learning rates that are no longer the best, as a failed candidate was made since."""
    old = [cell for cell in cells if outdated(cell)]
    if old:
        running.say(
            "benchmark", f"{len(old)} runs are trained anew, with the learning rates that the search has chosen now"
        )
    for cell in old:
        remove_folder(cell.run)


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
    shown = {fold(cell): cell.run for cell in cells if outcomes[cell.run].status == "done"}
    known = unseen({name: comparable([run])[0] for name, run in shown.items()})
    table = comparison.compare(predictions, folds, emotions, baseline, cluster, replicates, known.cells)
    table |= known.told()
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
    tabular.show(comparison.shown(table), comparison.notes(table), claims.sentences(table))
