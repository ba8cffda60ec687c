"""`emodo benchmark`: methods x folds x seeds, every cell a run, and one table that says what helps, how certainly."""

from __future__ import annotations

import json
import math
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emodo import comparison, running, runs, tabular
from emodo.cells import Cell, Entry, changes, entries, finished, recorded, seconds
from emodo.files import write_text
from emodo.folds import Folds, fingerprints, hold_out, name_folds
from emodo.manifest import save
from emodo.records import InputError, Unfinished
from emodo.running import FAILURES, Engine, Outcomes, Runner

if TYPE_CHECKING:
    import pandas as pd

GRID, CELLS, RUNS, SEARCH = "grid.json", "cells.json", "runs", "search"


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
    folds = name_folds(manifests, (settings or {}).get("emotions"))
    _prepare(out, _grid(entered, folds, search), overwrite)
    run_all = running.runner("benchmark", out, entered, engine, processes)
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
    running.check(seeds, processes)
    if search and (len(set(search)) < 2 or len(set(search)) < len(search) or min(search) <= 0):
        raise InputError(f"--search {' '.join(f'{f:g}' for f in search)}: name two or more different factors above 0")
    if replicates < 100:
        raise InputError(f"--replicates is {replicates}: it must be 100 or more")
    names = [entry.name for entry in entered]
    if baseline is not None and baseline not in names:
        raise InputError(f"--baseline {baseline} is not in the grid: it has {', '.join(names)}")
    return baseline or ("ERM" if "ERM" in names else names[0])


def _grid(entered: Sequence[Entry], folds: Folds, search: Sequence[float] | None) -> dict[str, Any]:
    """What decides the results, as it is kept in OUT."""
    return {
        "folds": fingerprints(folds),
        "methods": {entry.name: asdict(entry) | {"search": list(search or [])} for entry in entered},
    }


def _prepare(out: Path, grid: dict[str, Any], overwrite: bool) -> None:
    """Add this grid to what OUT holds; other settings under the same name are refused, or their runs removed."""
    before = recorded(out, GRID, "a benchmark") or {"folds": {}, "methods": {}}
    changed = {
        (kind, name): found
        for kind in ("folds", "methods")
        for name, entry in grid[kind].items()
        if name in before[kind] and (found := changes(before[kind][name], entry))
    }
    if changed and not overwrite:
        (kind, name), found = next(iter(changed.items()))
        raise InputError(
            f"{out} holds runs of {name} with other settings ({', '.join(found)}): choose another --out, or train them "
            "anew with --overwrite"
        )
    for kind, name in changed:
        folder = grid["methods"][name]["folder"] if kind == "methods" else None
        for run in [run for part in (RUNS, SEARCH) for run in (out / part).glob("*/*") if run.is_dir()]:
            if run.parent.name == folder or (kind == "folds" and run.name.startswith(f"{name}-")):
                shutil.rmtree(run)
        (out / SEARCH / f"{name}.parquet").unlink(missing_ok=True)
    merged = {kind: before[kind] | grid[kind] for kind in ("folds", "methods")}
    write_text(out / GRID, json.dumps(merged, indent=2) + "\n")


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
            save(hold_out(manifest, entered[0].settings["emotions"]), held_out)
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
    tabular.show(comparison.shown(table), comparison.notes(table))
