"""`emodo sweep`: the settings of one method varied, every trial a set of runs; the curve, and what to train with."""

from __future__ import annotations

import json
import math
import shlex
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from inspect import signature
from pathlib import Path
from typing import Any

import yaml

from emodo import runs, space
from emodo.cells import SHARED, Cell, Entry, entries, finished, method_class, seconds
from emodo.files import remove_folder, write_text
from emodo.records import InputError, Unfinished
from emodo.running import FAILURES, Engine, check, logs, runner, say, spent
from emodo.space import Part, Range, Setting
from emodo.tabular import counted
from emodo.trials import JOURNAL, SETTING, WORKERS, Trials, check_installed, held, lock, opened

SETTINGS, RUNS, HELD_OUT = "settings.json", "runs", "held-out"
TRIALS = 30
POLL = 1.0  # seconds between looks at what another process is training
CellsOf = dict[Part, dict[int, dict[str, Cell]]]  # the runs of a setting by part, seed and fold


def sweep(
    manifests: list[Path],
    *,
    method: str | None = None,
    grid: dict[str, Any] | None = None,
    ranges: dict[str, str] | None = None,
    trials: int | None = None,
    parts: list[Part] | None = None,
    out: Path = Path("runs/sweep"),
    seeds: list[int] | None = None,
    settings: dict[str, Any] | None = None,
    engine: Engine = "local",
    processes: int | None = None,
    json: bool = False,
    overwrite: bool = False,
) -> None:
    """emodo sweep fold1.csv fold2.csv fold3.csv --method IERN --grid method.lambda_center=5e-6,5e-5,5e-4,5e-3,5e-2

    Vary the settings of one method: every combination of a grid, or a search over ranges. A setting is trained from
    every seed on every manifest, each a normal run in OUT/runs, and chosen by its accuracy on training rows held out;
    the test part, where it is scored, chooses nothing. Stopped in any way, the same command continues, and given in
    several terminals or on several machines with the same OUT it shares the work. A run that fails stops no other.

    Args:
        manifests: The folds: manifests with a column `split`, each image in the test part of one of them at most. A
            search takes one, as the training part of a fold holds what another one tests.
        method: The method that is varied.
        grid: Values by setting, as in method.lr=1e-4,1e-3 epochs=20,40; every combination is trained. Names are those
            of --settings.
        ranges: Ranges by setting, as in method.lr=1e-4..1e-2:log method.channels=32..128, in which the Tree-structured
            Parzen Estimator of Optuna searches; :log draws by the logarithm.
        trials: Settings that a search tries, by default 30; more can be had later.
        parts: What is scored: held_out (trained on the training rows but the validation rows, or but a fifth of the
            sequences, and scored on those), test (trained on all training rows, scored on the test part). By default
            both for a grid; a search scores held_out alone.
        out: Folder for the runs and the result (sweep.json, sweep.csv, sweep.md, sweep.svg, best-FOLD.yaml).
        seeds: Seeds of each setting on each fold; by default 0 to 2 for a grid, 0 for a search.
        settings: What stays the same: settings of `emodo train`, as in backbone=small epochs=40 method.channels=64.
        engine: local, in processes of this machine; or ray, on the cluster that RAY_ADDRESS names, or else on Ray here.
        processes: Runs at a time; by default the CPU cores, or the GPUs where there are any and they are not refused.
        json: Print the result as JSON.
        overwrite: Where OUT holds runs of another method, other settings or other data, remove them.

    Raises:
        InputError: Whatever is wrong with the settings or the data; nothing has been written then.
        Unfinished: Some runs could not be made; the others and the result are there.
    """
    plan = _plan(manifests, method, grid, ranges, trials, parts, seeds, settings or {}, engine, processes)
    check_installed()
    _prepare(out, plan, overwrite)
    try:
        with opened(out, plan.study, plan.ranges, plan.trials, plan.seeds[0]) as shared:
            _run(out, plan, shared, engine, processes)
            table = _table(out, plan, shared)
            _write(out, plan, table)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command continues; what is finished stays") from None
    _print(table, json)
    failed = sum(bool(row["failures"]) for row in table["settings"])
    if failed:
        raise Unfinished(
            f"{failed} of {len(table['settings'])} settings could not be trained, see above{logs(out)}; the same "
            "command tries them again"
        )


# ------------------------------------------------------------------------------------------- plan


@dataclass(frozen=True)
class _Plan:
    """What is trained: `base` with each of the settings of a grid, or with `trials` drawn from ranges."""

    base: Entry
    given: dict[str, Any]  # --settings, as given
    folds: dict[str, Path]
    seeds: list[int]
    parts: list[Part]
    grid: dict[str, list[Any]]
    ranges: dict[str, Range]
    trials: int

    @property
    def varied(self) -> dict[str, Any]:
        """What is varied, as it can be written."""
        return self.grid or {name: str(each) for name, each in self.ranges.items()}

    @property
    def study(self) -> str:
        """The name of these trials in the journal: others where anything differs that a trial's value depends on."""
        content = json.dumps([self.varied, list(self.folds), self.seeds, self.parts])
        return f"{'grid' if self.grid else 'search'}-{blake2b(content.encode(), digest_size=6).hexdigest()}"

    def entry(self, setting: Setting) -> Entry:
        return space.setting_entries(self.base.method, self.given, [setting])[0]

    def cells(self, out: Path, setting: Setting) -> CellsOf:
        entry = self.entry(setting)
        folder = out / RUNS / entry.folder
        held_out = {fold: _held_out(out, fold) for fold in self.folds}
        where: dict[Part, tuple[dict[str, Path], str]] = {
            "held_out": (held_out, "-held-out"),
            "test": (self.folds, ""),
        }
        return {
            part: {
                seed: {
                    fold: Cell(entry, manifest, seed, folder / f"{fold}-seed{seed}{ending}")
                    for fold, manifest in manifests.items()
                }
                for seed in self.seeds
            }
            for part in self.parts
            for manifests, ending in [where[part]]
        }


def _plan(
    manifests: list[Path],
    method: str | None,
    grid: dict[str, Any] | None,
    searched: dict[str, str] | None,
    trials: int | None,
    parts: list[Part] | None,
    seeds: list[int] | None,
    settings: dict[str, Any],
    engine: Engine,
    processes: int | None,
) -> _Plan:
    """Check everything that is given."""
    from emodo.grid import name_folds

    if method is None:
        raise InputError("there is no method to vary: name one with --method")
    if bool(grid) == bool(searched):
        raise InputError("name what is varied in a --grid or in --ranges" + ", not in both" * bool(grid))
    if trials is not None and (grid or trials < 1):
        reason = "a grid has as many trials as combinations" if grid else "it must be 1 or more"
        raise InputError(f"--trials is {trials}: {reason}")
    parts = parts or (["held_out", "test"] if grid else ["held_out"])
    if len(set(parts)) < len(parts):
        raise InputError(f"--parts {' '.join(parts)}: one is there twice")
    if searched and "test" in parts:
        raise InputError(
            "--parts test: a search does not look at the test part; train with what it finds to have that scored"
        )
    if searched and len(manifests) > 1:
        raise InputError(
            "a search over --ranges takes one manifest: the training part of a fold holds what another one tests"
        )
    seeds = seeds if seeds is not None else [0, 1, 2] if grid else [0]
    check(seeds, engine, processes)
    base = entries([method], settings)[0]
    of_grid = space.values(grid, method, settings) if grid else {}
    if of_grid:
        space.setting_entries(method, settings, space.combinations(of_grid))  # to have them checked
    in_ranges = space.ranges(searched, method, settings) if searched else {}
    folds = name_folds(manifests, base.settings["emotions"])
    ordered: list[Part] = [part for part in ("held_out", "test") if part in parts]
    most = (trials or TRIALS) if searched else 0
    return _Plan(base, settings, folds, seeds, ordered, of_grid, in_ranges, most)


def _held_out(out: Path, fold: str) -> Path:
    return out / HELD_OUT / f"{fold}.parquet"


def _prepare(out: Path, plan: _Plan, overwrite: bool) -> None:
    """Describe in OUT what all its runs share; a folder of other runs is refused, or emptied."""
    from emodo import manifest
    from emodo.grid import described
    from emodo.search import hold_out

    now = described([plan.base], plan.folds, [])
    try:
        _check_same(out, now, overwrite)  # before there is a lock to leave behind
    except InputError:
        if not lock(out).is_file():  # else another process may just be making OUT: wait for it, and look again
            raise
    frames = {
        fold: hold_out(file, plan.base.settings["emotions"])
        for fold, file in plan.folds.items()
        if "held_out" in plan.parts
    }
    with held(out):
        before = _check_same(out, now, overwrite)
        if before is None:
            for name in (RUNS, HELD_OUT, FAILURES, WORKERS):
                if (out / name).is_dir():
                    remove_folder(out / name)
            (out / JOURNAL).unlink(missing_ok=True)
        folds = before["folds"] | now["folds"] if before else now["folds"]
        write_text(out / SETTINGS, json.dumps(now | {"folds": folds}, indent=2) + "\n")
        for fold, frame in frames.items():
            if not _held_out(out, fold).is_file():
                manifest.save(frame, _held_out(out, fold))


def _check_same(out: Path, now: Mapping[str, Any], overwrite: bool) -> dict[str, dict[str, Any]] | None:
    """What OUT holds already; None where it holds nothing, or what it holds is to be removed."""
    from emodo.grid import changes, recorded

    before = recorded(out, SETTINGS, "a sweep")
    found = [
        change
        for was, is_now in zip(before["methods"].values(), now["methods"].values(), strict=False)
        for change in changes(was, is_now)
    ]
    for fold, each in now["folds"].items():
        found += [f"{fold}: {change}" for change in changes(before["folds"].get(fold, each), each)]
    if found and not overwrite:
        raise InputError(
            f"{out} holds runs with other settings ({', '.join(found)}): choose another --out, or remove them with "
            "--overwrite"
        )
    return None if found or not before["methods"] else before


# ---------------------------------------------------------------------------------------- running


def _run(out: Path, plan: _Plan, shared: Trials, engine: Engine, processes: int | None) -> None:
    """Train what is left, a few trials at a time, and wait for what other processes have begun."""
    run_all = runner("sweep", out, [plan.base], engine, processes)
    at_once = math.ceil(run_all.at_once / (len(plan.parts) * len(plan.seeds) * len(plan.folds)))
    started, ended, waiting = time.monotonic(), 0, False
    shared.begin(space.combinations(plan.grid), lambda setting: _is_whole(plan.cells(out, setting)))
    while True:
        taken = shared.take(at_once)
        if taken:
            of_trial = [plan.cells(out, trial.user_attrs[SETTING]) for trial in taken]
            outcomes = run_all([cell for cells in of_trial for cell in _flat(cells)], "run")
            for trial, cells in zip(taken, of_trial, strict=True):
                failed = [
                    {"run": cell.run.name, "status": outcome.status, "reason": outcome.reason}
                    for cell in _flat(cells)
                    if (outcome := outcomes[cell.run]).status != "done"
                ]
                shared.tell(trial, None if failed else _value(plan, cells), failed)
            ended += len(taken)
            left = shared.left()
            took = time.monotonic() - started
            say("sweep", f"{counted(left, 'setting')} left" + f", about {spent(took / ended * left)}" * bool(left))
        elif others := shared.others():
            if not waiting:
                say("sweep", f"another process is training {counted(others, 'setting')}: waiting for it")
            waiting = True
            time.sleep(POLL)
        else:
            return


def _flat(cells: CellsOf) -> list[Cell]:
    return [cell for of_part in cells.values() for of_seed in of_part.values() for cell in of_seed.values()]


def _is_whole(cells: CellsOf) -> bool:
    return all(finished(cell.run) for cell in _flat(cells))


def _scores(cells: CellsOf) -> dict[Part, dict[int, dict[str, dict[str, Any]]]]:
    """The scores of the runs that are finished."""
    return {
        part: {
            seed: {fold: runs.scores(cell.run) for fold, cell in of_seed.items() if finished(cell.run)}
            for seed, of_seed in of_part.items()
        }
        for part, of_part in cells.items()
    }


def _value(plan: _Plan, cells: CellsOf) -> float:
    """What Optuna is told: the accuracy that chooses, or that of the test part where nothing is chosen."""
    from emodo import sensitivity

    return sensitivity.row({}, _scores(cells), list(plan.folds))[plan.parts[0]]["mean"]


# ----------------------------------------------------------------------------------------- result


def _table(out: Path, plan: _Plan, shared: Trials) -> dict[str, Any]:
    from emodo import sensitivity

    rows: list[dict[str, Any]] = []
    for setting, failures in shared.ended():
        cells = plan.cells(out, setting)
        took = [each for cell in _flat(cells) if (each := seconds(cell.run)) is not None]
        rows.append(
            sensitivity.row(setting, _scores(cells), list(plan.folds))
            | {
                "runs": str(Path(RUNS, plan.entry(setting).folder)),
                "seconds": statistics.median(took) if took else None,  # a process's first run imports PyTorch
                "failures": failures,
            }
        )
    best = [
        {
            "fold": fold,
            "setting": row["setting"],
            "held_out": row["held_out"]["folds"][fold]["mean"],
            "command": _command(plan, row["setting"], manifest),
        }
        for fold, manifest in plan.folds.items()
        if (row := sensitivity.best(rows, fold))
    ]
    return {
        "kind": "grid" if plan.grid else "search",
        "method": plan.base.method,
        "varied": plan.varied,
        "folds": list(plan.folds),
        "seeds": plan.seeds,
        "parts": plan.parts,
        "settings": rows,
        "best": best,
    }


def _command(plan: _Plan, setting: Setting, manifest: Path) -> str:
    """The `emodo train` of a setting: what is varied, and whatever is not the default."""
    from emodo.training import train

    entry = plan.entry(setting)
    defaults = {SHARED + name: each.default for name, each in signature(method_class(entry.method)).parameters.items()}
    defaults |= {name: each.default for name, each in signature(train).parameters.items()}
    given = {SHARED + name: value for name, value in entry.init_args.items()} | entry.settings
    words = ["emodo", "train", str(manifest), "--method", entry.method]
    for name, value in given.items():
        if name in setting or json.dumps(value) != json.dumps(defaults[name]):
            words += [f"--{name}", space.text(value)]
    return shlex.join(words)


def _write(out: Path, plan: _Plan, table: dict[str, Any]) -> None:
    from emodo import sensitivity, tabular

    with held(out):
        write_text(out / "sweep.json", json.dumps(table, indent=2) + "\n")
        write_text(out / "sweep.csv", sensitivity.comma_separated(table))
        write_text(out / "sweep.md", tabular.markdown([sensitivity.shown(table)], sensitivity.notes(table)))
        if figure := sensitivity.figure(table):
            write_text(out / "sweep.svg", figure)
        best = {chosen["fold"]: plan.entry(chosen["setting"]) for chosen in table["best"]}
        for fold, manifest in plan.folds.items():
            file = out / f"best-{fold}.yaml"
            if fold in best:
                method = {"class_path": f"emodo.methods.{best[fold].method}", "init_args": best[fold].init_args}
                config = {"manifest": str(manifest.resolve()), "method": method} | best[fold].settings
                write_text(file, yaml.safe_dump(config, sort_keys=False))
            else:
                file.unlink(missing_ok=True)


def _print(table: dict[str, Any], as_json: bool) -> None:
    from emodo import sensitivity, tabular

    if as_json:
        print(json.dumps(table))
    else:
        tabular.show([sensitivity.shown(table)], sensitivity.notes(table))
