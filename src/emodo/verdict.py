"""`emodo compare`: which method to use, in words by stated rules, and the numbers behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emodo import assessment, cells, comparison, panels, runs, tabular
from emodo.claims import sentences
from emodo.compared import Run, comparable
from emodo.figures import svg_file
from emodo.files import new_folder, write_text
from emodo.grid import GRID, RUNS
from emodo.records import InputError, check_least
from emodo.statistics import Cluster
from emodo.tabular import with_interval

if TYPE_CHECKING:
    import pandas as pd

TABLE = "table.json"  # a benchmark's


def compare(
    runs: list[Path],
    *,
    baseline: str | None = None,
    cluster: Cluster | None = None,
    replicates: int = 10_000,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """emodo compare runs/benchmark --out verdict

    Say which method is better, by how much and how certainly, from finished runs or from the folder of `emodo
    benchmark`: in words first, by the rules of docs/compare.md, then in tables. Nothing is trained.

    Args:
        runs: Folders of runs, each method tested on the same rows, or on the same folds from each of its seeds; or
            the folder of one benchmark, of which all finished runs are taken.
        baseline: Method that the others are compared with: by default the benchmark's, or ERM where it is there, or
            else the first.
        cluster: What the bootstrap draws: sequence, subject or image; by default the benchmark's, or the first of
            these that is known.
        replicates: Draws of the bootstrap.
        out: Folder to write, new or empty: compare.json, compare.md, reliability.svg, risk-coverage.svg.
        json: Print all numbers and sentences as JSON.

    Raises:
        InputError: A folder is no finished run and no benchmark; the runs differ in test rows or emotions, or
            recognise several emotions a row; a method lacks a fold; `out` holds anything. Nothing was written then.
    """
    check_least(100, replicates=replicates)
    if out is not None and out.exists() and (out.is_file() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder: choose another --out")
    grids = [folder for folder in runs if (folder / GRID).is_file()]
    if grids and len(runs) > 1:
        raise InputError(f"{grids[0]} is the folder of a benchmark: give it alone, or give run folders")
    if grids:
        table = _of_benchmark(grids[0], baseline, cluster, replicates)
    else:
        table = assessment.of_runs(_folds(runs), baseline, cluster, replicates)
    if out is not None:
        _write(out, table)
    _print(table, json)


# ---------------------------------------------------------------------------------------- the runs


def _folds(folders: Sequence[Path]) -> dict[str, list[Run]]:
    """Group the runs by the rows they were tested on, each group read and checked, named after its manifest."""
    if not folders:
        raise InputError("there is nothing to compare: give run folders, or the folder of a benchmark")
    groups: dict[tuple[str, ...], list[Path]] = {}
    emotions: dict[Path, frozenset[str]] = {}
    owner: dict[str, tuple[str, ...]] = {}
    for folder in folders:
        emotions[folder] = frozenset(runs.task(folder).emotions)
        differs = emotions[folder] ^ emotions[folders[0]]
        if differs:
            raise InputError(
                f"{folder} and {folders[0]} do not have the same emotions ({', '.join(sorted(differs))}): compare runs "
                "of the same labels"
            )
        rows = _rows(folder)
        other = next((owner[path] for path in rows if owner.get(path, rows) != rows), None)
        if other is not None:
            [first, *_] = groups[other]
            alone = sorted(set(rows) ^ set(other))
            example = f", and only one of them has {alone[0]}" if alone else ""
            raise InputError(
                f"{folder} and {first} were tested on different rows that overlap ({len(rows)} and {len(other)} rows"
                f"{example}): compare runs over the same test rows"
            )
        owner.update(dict.fromkeys(rows, rows))
        groups.setdefault(rows, []).append(folder)
    folds = [comparable(group) for group in groups.values()]
    names = [of_fold[0].manifest.stem for of_fold in folds]
    if len(set(names)) < len(names):
        names = [f"{name} ({at})" for at, name in enumerate(names, 1)]
    return dict(zip(names, folds, strict=True))


def _rows(folder: Path) -> tuple[str, ...]:
    """The test rows of a run, in one order, by their paths."""
    table = _predictions(folder)
    if "path" not in table:
        raise InputError(f"{folder / runs.PREDICTIONS} is damaged: it has no column path")
    return tuple(sorted(map(str, table["path"])))


def _predictions(folder: Path) -> pd.DataFrame:
    try:
        return runs.predictions(folder)
    except InputError:
        raise
    except (OSError, ValueError) as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())
        raise InputError(f"{folder / runs.PREDICTIONS} cannot be read ({reason})") from None


def _of_benchmark(folder: Path, baseline: str | None, cluster: Cluster | None, replicates: int) -> dict[str, Any]:
    """Compare all finished runs of a benchmark's folder; what its own table says of the search is kept."""
    grid = _json(folder / GRID)
    before = _json(folder / TABLE) if (folder / TABLE).is_file() else {}
    try:
        names, folds = list(grid["methods"]), list(before.get("folds", grid["folds"]))
        noted = {row["name"]: row["note"] for row in before.get("methods", ()) if "note" in row}
    except (LookupError, TypeError):
        raise InputError(f"{folder / GRID} or {TABLE} is damaged: run the benchmark again") from None
    if baseline is not None and baseline not in names:
        raise InputError(f"--baseline {baseline} is not in this benchmark: it has {', '.join(names)}")
    found = {name: _finished(folder / RUNS / cells.folder(name), folds) for name in names}
    every = [run for seeds in found.values() for of_seed in seeds.values() for run in of_seed.values()]
    if not every:
        raise InputError(f"{folder} has no finished run: run its benchmark to the end")
    shown = {_fold(run): run for run in reversed(every)}  # the first of each fold tells its training cells
    table = assessment.assess(
        {
            name: {seed: {fold: _predictions(run) for fold, run in of_seed.items()} for seed, of_seed in seeds.items()}
            for name, seeds in found.items()
        },
        folds,
        runs.task(every[0]).emotions,
        baseline or before.get("baseline") or ("ERM" if "ERM" in names else names[0]),
        assessment.unseen({fold: comparable([run])[0] for fold, run in shown.items()}),
        {name: [_cost(run) for of in seeds.values() for run in of.values()] for name, seeds in found.items()},
        cluster or before.get("cluster"),
        replicates,
    )
    for row in table["methods"]:
        if not row["seeds"] and row["name"] in noted:
            row["note"] = noted[row["name"]]
    if "search" in before:
        table["search"] = before["search"]
    return table | {"sentences": sentences(table)}


def _finished(folder: Path, folds: Sequence[str]) -> dict[int, dict[str, Path]]:
    """The finished runs of a method by seed and fold."""
    found: dict[int, dict[str, Path]] = {}
    for run in folder.glob("*-seed*"):
        seed = run.name.rpartition("-seed")[2]
        if _fold(run) in folds and seed.isdigit() and cells.finished(run):
            found.setdefault(int(seed), {})[_fold(run)] = run
    return {seed: {fold: of[fold] for fold in folds if fold in of} for seed, of in sorted(found.items())}


def _fold(run: Path) -> str:
    return run.name.rpartition("-seed")[0]


def _cost(run: Path) -> dict[str, float | None]:
    """What a run has cost; of one that was made before runs kept it, the benchmark has the seconds."""
    return {"seconds": cells.seconds(run)} | runs.cost(run)


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error}): run the benchmark again") from None
    if not isinstance(found, dict):
        raise InputError(f"{file} is damaged: run the benchmark again")
    return found


# ------------------------------------------------------------------------------------------- shown


def _tables(table: Mapping[str, Any]) -> list[tuple[list[str], list[list[str]]]]:
    """The benchmark's tables, and those of trust and cost, and of the images out of distribution."""
    baseline, rows = table["baseline"], [row for row in table["methods"] if row["seeds"]]
    head = ["method", "ECE", "by chance", "Brier", "AURC", "excess", "only it is right", f"only {baseline}"]
    head += ["McNemar p (Holm)", "GB", "GPU GB"]
    trust = [_trust(row) for row in rows]
    absent = [
        [row["name"], with_interval(found["estimate"], found, "+"), _p(found["p_holm"])]
        for row in rows
        if (found := row.get("unseen_difference"))
    ]
    return [
        *comparison.shown(table),
        (head, trust),
        (["out of distribution", f"against {baseline}", "p (Holm)"], absent),
    ]


def _trust(row: Mapping[str, Any]) -> list[str]:
    found = row["calibration"]
    line = [row["name"], *(f"{100 * found[name]['mean']:.1f}" for name in ("ece", "ece_by_chance"))]
    line += [f"{found['brier']['mean']:.3f}", *(f"{100 * found[name]['mean']:.1f}" for name in ("aurc", "excess_aurc"))]
    test = row.get("mcnemar")
    if test:
        means = [np.mean([each[name] for each in test["seeds"]]) for name in ("gained", "lost")]
        line += [*(f"{mean:.0f}" for mean in means), _p(test["p_holm"])]
    else:
        line += ["", "", ""]
    held = [row["cost"][name] for name in ("memory", "gpu_memory")]
    return line + ["" if each is None else f"{each / 1e9:.2f}" for each in held]


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _notes(table: Mapping[str, Any]) -> list[str]:
    """What has to be known to read the tables, a sentence each."""
    told = [
        "ECE: how far confidence is from accuracy, in points, over bins of equal mass, mean over seeds; by chance: "
        "what a method whose every probability is true would show on as many images. Brier: 0 is best, 2 worst.",
        "AURC: wrong answers in %, averaged over answering 0 to 100 % of the images, the surest first; excess: above "
        "the best order that this accuracy allows.",
    ]
    if any("mcnemar" in row for row in table["methods"]):
        told.append(
            "McNemar takes each image for independent and each seed for itself (exact; p of the seeds combined): where "
            "images come in sequences its p is too small, and the interval against "
            f"{table['baseline']} is the one to believe."
        )
    return [*comparison.notes(table), *told]


def _write(out: Path, table: Mapping[str, Any]) -> None:
    rows = table["methods"]
    with new_folder(out) as folder:
        write_text(folder / "compare.json", json.dumps(table, indent=2) + "\n")
        write_text(folder / "compare.md", tabular.markdown(_tables(table), _notes(table), table["sentences"]))
        write_text(folder / "reliability.svg", svg_file(*panels.reliability(rows)))
        write_text(folder / "risk-coverage.svg", svg_file(*panels.risk_coverage(rows, table["baseline"])))


def _print(table: Mapping[str, Any], as_json: bool) -> None:
    """Print the verdict and the tables on stdout."""
    if as_json:
        print(json.dumps(table))
        return
    tabular.show(_tables(table), _notes(table), table["sentences"])
