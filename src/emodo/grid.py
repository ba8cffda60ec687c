"""The folds of a grid, and what decides its results, kept beside its runs: other settings never pass for the same."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodo.cells import Entry, folder, method_class
from emodo.files import remove_folder, sha256, write_text
from emodo.records import InputError
from emodo.statistics import Cluster, clusters

if TYPE_CHECKING:
    import pandas as pd

GRID, RUNS, SEARCH = "grid.json", "runs", "search"
Folds = dict[str, Path]  # manifests by name


def name_folds(manifests: Sequence[Path], emotions: Sequence[str] | None, cluster: Cluster | None = None) -> Folds:
    """Name the folds after their files, or their folders too where the files are named alike.

    Raises InputError where names or test images are there twice, a fold tests nothing or has other emotions, or the
    test images do not know their `cluster`.
    """
    from emodo import manifest as tables
    from emodo import metrics
    from emodo.multilabel import check_single

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
        check_single(
            frame, manifest, "a grid compares accuracies: train each run, and compare them with `emodo report`"
        )
        test = frame.loc[frame["split"] == "test"]
        if test.empty:
            raise InputError(f"{manifest} has no row whose split is `test`: split the data otherwise")
        shown[manifest] = set(emotions or frame["emotion"])
        other = shown[manifests[0]] ^ shown[manifest]
        if other:
            raise InputError(
                f"{manifests[0]} and {manifest} do not hold the same emotions ({', '.join(sorted(other))}): the folds "
                "have all emotions in common"
            )
        # a person in an image is its box, where there is one
        place = test[[name for name in ("file", *tables.BOX) if name in test]].fillna(dict.fromkeys(tables.BOX, -1))
        for row in place.itertuples(index=False, name=None):
            if tested.setdefault(row, manifest) is not manifest:
                raise InputError(f"{manifest} and {tested[row]} test the same image, {row[0]}")
        tests.append(test)
    clusters(metrics.pool(tests), cluster)
    return dict(zip(names, manifests, strict=True))


def prepare(out: Path, entered: Sequence[Entry], folds: Folds, search: Sequence[float], overwrite: bool) -> None:
    """Add this grid to what OUT holds, and write it; runs of other settings or data under a name of it are removed.

    Raises InputError where there are such runs and `overwrite` is not set, or OUT is anything else.
    """
    before, grid = recorded(out, GRID, "a benchmark"), described(entered, folds, search)
    for entry in entered:
        other = next((name for name in before["methods"] if folder(name).lower() == entry.folder.lower()), entry.name)
        if other != entry.name:
            raise InputError(f"{out} holds runs of {other!r} where those of {entry.name!r} would be: rename it")
    changed = {
        (kind, name): (found, _runs_of(out, kind, name))
        for kind in ("folds", "methods")
        for name, entry in grid[kind].items()
        if name in before[kind] and (found := changes(before[kind][name], entry))
    }
    refused = [(name, found) for (_, name), (found, held) in changed.items() if held and not overwrite]
    if refused:
        name, found = refused[0]
        raise InputError(
            f"{out} holds runs of {name} with other settings ({', '.join(found)}): choose another --out, or train them "
            "anew with --overwrite"
        )
    for (kind, name), (_, held) in changed.items():
        for run in held:
            remove_folder(run)
        if kind == "folds":
            (out / SEARCH / f"{name}.parquet").unlink(missing_ok=True)
    write_text(out / GRID, json.dumps({kind: before[kind] | grid[kind] for kind in before}, indent=2) + "\n")


def described(entered: Sequence[Entry], folds: Folds, search: Sequence[float]) -> dict[str, dict[str, Any]]:
    """What decides the results, as it can be written: {"folds": {name: ...}, "methods": {name: ...}}."""
    return {
        "folds": {fold: {"manifest": str(file.resolve()), "sha256": sha256(file)} for fold, file in folds.items()},
        "methods": {entry.name: _with_files(entry) | {"search": list(search)} for entry in entered},
    }


def _with_files(entry: Entry) -> dict[str, Any]:
    confounder = entry.settings["confounder"]
    return asdict(entry) | ({"confounder_sha256": sha256(Path(confounder))} if confounder else {})


def recorded(out: Path, record: str, what: str) -> dict[str, dict[str, Any]]:
    """Read what an earlier call has described in the file `record` of OUT; nothing where there was none.

    Raises InputError where OUT holds anything else than `what`, or the record is damaged.
    """
    file = out / record
    if not file.is_file():
        # hidden files: what a killed process leaves of the first write
        if out.is_file() or (out.is_dir() and any(not found.name.startswith(".") for found in out.iterdir())):
            raise InputError(f"{out} is not {what} (it has no {record}): choose another --out")
        return {"folds": {}, "methods": {}}
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
        return {kind: {name: dict(entry) for name, entry in before[kind].items()} for kind in ("folds", "methods")}
    except (ValueError, LookupError, TypeError, AttributeError):
        raise InputError(f"{file} is damaged: choose another --out") from None


def _runs_of(out: Path, kind: str, name: str) -> list[Path]:
    """Find the run folders of a method, or of a fold, finished or not."""
    of_fold = re.compile(re.escape(name) + r"-(seed|times)[\d.e+-]+")
    return [
        run
        for part in (RUNS, SEARCH)
        for run in sorted((out / part).glob("*/[!.]*"))
        if run.is_dir() and (run.parent.name == folder(name) if kind == "methods" else of_fold.fullmatch(run.name))
    ]


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Name what differs in a fold or method, as `epochs 40 -> 6`.

    A setting that emodo did not have when the first was described had today's default.
    """
    if "sha256" in now:
        return [] if before.get("sha256") == now["sha256"] else ["the manifest has changed"]
    from emodo.training import train

    signatures = {"init_args": method_class(now["method"]), "settings": train}
    found = [
        f"{name} {before.get(name)} -> {now[name]}" for name in ("method", "search") if before.get(name) != now[name]
    ]
    was, is_now = before.get("confounder_sha256"), now.get("confounder_sha256")
    found += ["the confounder file has changed"] * (was is not None and is_now is not None and was != is_now)
    for part, function in signatures.items():
        defaults: dict[str, Any] = {
            name: list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            for name, parameter in inspect.signature(function).parameters.items()
        }
        old, new = before.get(part, {}), json.loads(json.dumps(now[part]))
        for name in sorted({*old, *new}):
            was, is_now = old.get(name, defaults.get(name)), new.get(name, defaults.get(name))
            if was != is_now:
                found.append(f"{name} {was} -> {is_now}")
    return found
