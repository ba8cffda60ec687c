"""All that tells which method to use, as one table of numbers and sentences that JSON can hold.

`of_runs` is for who has runs that were tested on the same rows, as `emodo.compared.comparable` reads them; `assess` for
who knows already which run is which method's, as a benchmark does. Both give the table of `emodo.comparison.compare`
with, in the row of each method that has a seed,

    calibration    {ece, ece_by_chance, brier, aurc, excess_aurc}, each {mean, low, high, seeds} over seeds
    reliability    points of the curve, over all seeds: see `emodo.calibration.reliability`
    risk_coverage  share of wrong answers among the most confident 5, 10 .. 100 %, mean over seeds
    mcnemar        {seeds: [{seed, gained, lost, p}], p, p_holm} against the baseline, for seeds that both have
    cost           {seconds, memory, gpu_memory}, the median over its runs, None where no run tells it

and, for the table, `sentences`: the verdict in words (`emodo.claims`), the most important first.
"""

from __future__ import annotations

import json
import statistics as descriptive
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emodo import calibration, comparison, metrics, runs, statistics
from emodo.claims import sentences
from emodo.compared import Run, data_of
from emodo.comparison import Tables
from emodo.records import InputError
from emodo.statistics import Cluster

COVERAGES = [at / 20 for at in range(1, 21)]
PLACE = ("manifest", "seed", "accelerator", "devices", "nodes", "workers", "max_pixels")  # not the method's


@dataclass(frozen=True)
class Unseen:
    """The (stratum, emotion) cells that training never showed, of each fold; or None, and the reason.

    column: the manifest's, which holds the strata.
    """

    cells: dict[str, frozenset[tuple[str, str]]] | None
    column: str = ""
    reason: str = ""

    def told(self) -> dict[str, str]:
        """What the table holds of it."""
        return {"unseen_column": self.column, "unseen_reason": self.reason}


def unseen(folds: Mapping[str, Run]) -> Unseen:
    """Ask the manifest of each fold, through a run on it, which cells its training part lacks."""
    cells: dict[str, frozenset[tuple[str, str]]] = {}
    column = ""
    for fold, run in folds.items():
        if run.task.confounder is None:
            return Unseen(None, reason="the manifest names no strata")
        column, data = run.task.confounder.column, data_of(run)
        if data.notes or data.unseen is None:
            note = " ".join(data.notes).removesuffix(".")
            return Unseen(None, column, note[:1].lower() + note[1:])
        cells[fold] = data.unseen
    return Unseen(cells, column)


def assess(
    predictions: Mapping[str, Tables],
    folds: Sequence[str],
    emotions: Sequence[str],
    baseline: str,
    known: Unseen,
    costs: Mapping[str, Sequence[Mapping[str, float | None]]],
    cluster: Cluster | None = None,
    replicates: int = 10_000,
) -> dict[str, Any]:
    """Compare methods with the baseline; returns the table that this module's docstring describes.

    predictions, folds, emotions, baseline, cluster, replicates: as for `emodo.comparison.compare`. known: what
    `unseen` found. costs: what each run of a method has cost, as `emodo.runs.cost` reads it.

    Raises InputError as `emodo.comparison.compare` does, and where predictions hold no probabilities.
    """
    table: dict[str, Any] = known.told()
    table |= comparison.compare(predictions, folds, emotions, baseline, cluster, replicates, known.cells)
    pooled = {
        row["name"]: {
            seed: metrics.pool([predictions[row["name"]][seed][fold] for fold in folds]) for seed in row["seeds"]
        }
        for row in table["methods"]
    }
    reference = next((each for seeds in (pooled.get(baseline, {}), *pooled.values()) for each in seeds.values()), None)
    number = None if reference is None else statistics.clusters(reference, cluster)[1]
    for row in table["methods"]:
        if number is not None and row["seeds"]:
            row |= _trust(row["name"], list(pooled[row["name"]].values()), emotions, number)
        row["cost"] = {name: _median(costs.get(row["name"], ()), name) for name in ("seconds", "memory", "gpu_memory")}
        row["seconds"] = row["cost"]["seconds"]
    _test(table["methods"], pooled, baseline)
    return table | {"sentences": sentences(table)}


def _trust(name: str, seeds: Sequence[pd.DataFrame], emotions: Sequence[str], cluster: np.ndarray) -> dict[str, Any]:
    """Calibration and risk-coverage of a method, one table of predictions a seed."""
    columns = [f"p:{emotion}" for emotion in emotions]
    missing = [column for column in columns if any(column not in table for table in seeds)]
    if missing:
        raise InputError(f"the predictions of {name} have no column {', '.join(missing)}: train it anew")
    found: dict[str, list[float]] = {}
    curves: list[np.ndarray] = []
    confidences: list[np.ndarray] = []
    rights: list[np.ndarray] = []
    for table in seeds:
        p = table[columns].to_numpy(float)
        if not np.isfinite(p).all():
            raise InputError(f"the predictions of {name} hold a probability that is no number: train it anew")
        right = (table["predicted"] == table["emotion"]).to_numpy(bool)
        confidence = p.max(axis=1)
        ece, chance = calibration.calibration_error(confidence, right)
        aurc, excess = calibration.coverage_area(confidence, right)
        truth = pd.Index(list(emotions)).get_indexer(pd.Index(table["emotion"]))
        values = {"ece": ece, "ece_by_chance": chance, "brier": calibration.brier(p, truth)}
        for measure, value in (values | {"aurc": aurc, "excess_aurc": excess}).items():
            found.setdefault(measure, []).append(value)
        n = len(right)
        curves.append(calibration.risks(confidence, right)[[max(1, round(share * n)) - 1 for share in COVERAGES]])
        confidences.append(confidence)
        rights.append(right)
    points = calibration.reliability(np.concatenate(confidences), np.concatenate(rights), np.tile(cluster, len(seeds)))
    return {
        "calibration": {measure: statistics.over_seeds(values) for measure, values in found.items()},
        "reliability": points,
        "risk_coverage": {"coverage": COVERAGES, "risk": np.mean(curves, axis=0).tolist()},
    }


def _test(rows: list[dict[str, Any]], pooled: Mapping[str, Mapping[int, pd.DataFrame]], baseline: str) -> None:
    """Put McNemar's test of each seed against the baseline's same seed into the rows."""
    right = {
        name: {seed: (each["predicted"] == each["emotion"]).to_numpy(bool) for seed, each in seeds.items()}
        for name, seeds in pooled.items()
    }
    tested: list[dict[str, Any]] = []
    for row in rows:
        common = [seed for seed in row["seeds"] if seed in right.get(baseline, {})]
        if row["name"] == baseline or not common:
            continue
        found = [statistics.mcnemar(right[row["name"]][seed], right[baseline][seed]) for seed in common]
        row["mcnemar"] = {
            "seeds": [{"seed": seed} | asdict(each) for seed, each in zip(common, found, strict=True)],
            "p": statistics.combined([each.p for each in found]),
        }
        tested.append(row["mcnemar"])
    for each, p in zip(tested, statistics.holm([each["p"] for each in tested]), strict=True):
        each["p_holm"] = p


def _median(costs: Sequence[Mapping[str, float | None]], name: str) -> float | None:
    known = [cost for each in costs if (cost := each.get(name)) is not None]
    return descriptive.median(known) if known else None  # a process's first run imports more


# --------------------------------------------------------------------------------------- from runs


def of_runs(
    folds: Mapping[str, Sequence[Run]],
    baseline: str | None = None,
    cluster: Cluster | None = None,
    replicates: int = 10_000,
) -> dict[str, Any]:
    """Compare runs of several methods, seeds and folds; returns the table that this module's docstring describes.

    folds: the runs that were tested on the same rows, by a name of these rows; of one set of runs as `emodo report` has
    them, {"test": runs}. Runs whose configurations differ in seed, manifest and place alone are one method. It is
    called by its class, and by what sets it apart where the class has several. baseline: by default ERM where it is
    there, or else the first. In each method's row, `runs` are the names of its runs.

    Raises InputError where runs recognise several emotions a row, two are the same method, seed and fold, a method or
    a seed of it lacks a fold, or `baseline` is no method here.
    """
    every = [run for of_fold in folds.values() for run in of_fold]
    several = next((run for run in every if run.task.multilabel), None)
    if several:
        raise InputError(f"{several.name} recognises several emotions a row: compare such runs with `emodo report`")
    names = _named(every)
    grid: dict[str, dict[int, dict[str, Run]]] = {}
    for fold, of_fold in folds.items():
        for run in of_fold:
            seed = int(run.config.get("seed", 0))
            other = grid.setdefault(names[run.folder], {}).setdefault(seed, {}).setdefault(fold, run)
            if other is not run:
                raise InputError(f"{other.name} and {run.name} are the same method, seed and test rows: give one")
    for name, seeds in grid.items():
        for seed, found in seeds.items():
            for fold, of_fold in folds.items():
                if fold not in found:
                    raise InputError(
                        f"{name}, seed {seed}, was not tested on the rows of {of_fold[0].name}: give its run on them, "
                        "or compare the runs of the same test rows alone"
                    )
    if baseline is not None and baseline not in grid:
        raise InputError(f"--baseline {baseline} is not among the methods: they are {', '.join(grid)}")
    first = {fold: next((run for run in of_fold if run.task.confounder), of_fold[0]) for fold, of_fold in folds.items()}
    table = assess(
        {
            name: {seed: {fold: run.predictions for fold, run in found.items()} for seed, found in seeds.items()}
            for name, seeds in grid.items()
        },
        list(folds),
        every[0].task.emotions,
        baseline or ("ERM" if "ERM" in grid else next(iter(grid))),
        unseen(first),
        {
            name: [runs.cost(run.folder) for found in seeds.values() for run in found.values()]
            for name, seeds in grid.items()
        },
        cluster,
        replicates,
    )
    for row in table["methods"]:
        row["runs"] = [run.name for found in grid[row["name"]].values() for run in found.values()]
    return table


def _named(every: Sequence[Run]) -> dict[Path, str]:
    """Name the method of each run, {folder: method}: its class, and what sets it apart from others of the class."""
    settings = {run.folder: _settings(run) for run in every}
    names: dict[Path, str] = {}
    for kind in dict.fromkeys(run.method for run in every):
        of_kind = [run.folder for run in every if run.method == kind]
        keys = dict.fromkeys(key for folder in of_kind for key in settings[folder])
        apart = [key for key in keys if len({settings[folder].get(key, "unknown") for folder in of_kind}) > 1]
        for folder in of_kind:
            names[folder] = ", ".join([kind, *(f"{key} {settings[folder].get(key, 'unknown')}" for key in apart)])
    return names


def _settings(run: Run) -> dict[str, str]:
    """All that makes the run's method what it is, as text."""
    given: Any = run.config["method"]
    of_method: dict[str, Any] = given.get("init_args", {}) if isinstance(given, dict) else {}
    others = {key: value for key, value in run.config.items() if key not in (*PLACE, "method")}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in (of_method | others).items()}
