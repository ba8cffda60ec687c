"""The cells of a grid: a method with its settings, on one manifest, from one seed; each a normal run folder."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import re
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from emodo import runs
from emodo.files import locked, write_text
from emodo.records import InputError

SHARED = "method."  # settings that every method which has them is given, as in `emodo train --method.lr`
# What the grid itself decides; and cells run side by side, so each has one device.
DECIDED = ("manifest", "method", "run", "seed", "resume", "overwrite", "devices", "nodes")
CELL = "cell.json"


@dataclass(frozen=True)
class Entry:
    """A method as a grid knows it: its name there, its class, and everything it is given, defaults included."""

    name: str
    method: str
    init_args: dict[str, Any]
    settings: dict[str, Any]

    @property
    def folder(self) -> str:
        """The name as a folder's."""
        return re.sub(r"[^\w.+-]+", "-", self.name).strip("-.")

    def faster(self, factor: float) -> Entry:
        """The same with every learning rate of the method times `factor`."""
        rates = {name: value * factor for name, value in self.init_args.items() if name == "lr" or name.endswith("_lr")}
        return replace(self, init_args=self.init_args | rates)


@dataclass(frozen=True)
class Cell:
    """What is trained, and the run folder it is trained in."""

    entry: Entry
    manifest: Path
    seed: int
    run: Path


@dataclass(frozen=True)
class Outcome:
    """How a cell went: done; refused for a reason of the data or a setting; or failed, with all that is known of it."""

    status: Literal["done", "refused", "failed"]
    seconds: float
    reason: str = ""
    detail: str = ""


def entries(
    methods: Iterable[str] | Mapping[str, Mapping[str, Any] | None], settings: Mapping[str, Any]
) -> list[Entry]:
    """Check and complete the methods of a grid.

    methods: names of methods; or by any name its hyper-parameters, with `method` where the name is another, and
    `settings` for what this entry alone trains with. settings: for all; `method.NAME` is given to every method that has
    a hyper-parameter NAME and does not set it itself.

    Raises InputError for a method, setting or value that there is not, a name twice, or a setting that a grid decides.
    """
    given: list[tuple[str, dict[str, Any]]] = (
        [(str(name), dict(entry or {})) for name, entry in methods.items()]
        if isinstance(methods, Mapping)
        else [(name, {}) for name in methods]
    )
    if not given:
        raise InputError("there is no method to compare: name one or more with --methods")
    shared = {name.removeprefix(SHARED): value for name, value in settings.items() if name.startswith(SHARED)}
    common = {name: value for name, value in settings.items() if not name.startswith(SHARED)}
    found = [_entry(name, entry, common, shared) for name, entry in given]
    for name in shared:
        if not any(name in entry.init_args for entry in found):
            raise InputError(f"--settings {SHARED}{name}: no method of this grid has a setting {name}")
    folders = [entry.folder.lower() for entry in found]
    for at, entry in enumerate(found):
        if not entry.folder or folders[at] in folders[:at]:
            raise InputError(f"the method {entry.name!r} needs a name of its own, of letters and digits")
    return found


def method_class(name: str) -> type[Any]:
    """Find a method by its name; raises InputError that lists the methods there are."""
    from emodo import methods

    known = {
        each: found
        for each in methods.__all__
        if isinstance(found := getattr(methods, each), type)
        and issubclass(found, methods.Method)
        and not inspect.isabstract(found)
    }
    if name not in known:
        raise InputError(f"no method is called {name!r}: there are {', '.join(sorted(known))}")
    return known[name]


def _entry(name: str, given: dict[str, Any], common: dict[str, Any], shared: dict[str, Any]) -> Entry:
    from jsonargparse import ArgumentParser

    from emodo.training import train

    kind = method_class(str(given.pop("method", name)))
    own = given.pop("settings", None) or {}
    for setting in (*common, *own):
        if setting in DECIDED:
            raise InputError(f"{name}: {setting} is not a setting of a grid's cells: leave it out")
    if "emotions" in own:
        raise InputError(f"{name}: emotions are the same for all methods: give them in the settings of the grid")
    hyperparameters = inspect.signature(kind).parameters
    arguments = {key: value for key, value in shared.items() if key in hyperparameters} | given
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(kind)
    method = kind(**_parsed(parser, arguments, name))
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_function_arguments(train, skip=set(DECIDED))
    return Entry(name, kind.__name__, method.hyperparameters(), _parsed(parser, common | own, name))


def _parsed(parser: Any, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    from jsonargparse import ArgumentError

    words = [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()]
    try:
        return parser.parse_args(words).as_dict()
    except ArgumentError as error:
        reason = " ".join(str(error).split()).replace("unrecognized arguments: --", "there is no setting ")
        raise InputError(f"{name}: {reason}") from None


def recorded(out: Path, name: str, what: str) -> dict[str, dict[str, Any]] | None:
    """Read from OUT what decides its results; None where nothing is there yet.

    Raises InputError where OUT is something else, or the record is damaged.
    """
    file = out / name
    if out.is_file() or (out.is_dir() and not file.is_file() and any(out.iterdir())):
        raise InputError(f"{out} is not {what} (it has no {name}): choose another --out")
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {kind: dict(found[kind]) for kind in found}
    except (ValueError, LookupError, TypeError):
        raise InputError(f"{file} is damaged: choose another --out") from None


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Name what differs between two records, of entries or folds, as `epochs 40 -> 6`.

    A setting that emodo did not have when the first was written had today's default.
    """
    if "sha256" in now:
        return [] if before.get("sha256") == now["sha256"] else ["the manifest has changed"]
    from emodo.training import train

    signatures = {"init_args": method_class(now["method"]), "settings": train}
    found = [
        f"{name} {before.get(name)} -> {now.get(name)}"
        for name in ("method", "search")
        if before.get(name) != now.get(name)
    ]
    for part, function in signatures.items():
        defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
        old, new = before.get(part, {}), json.loads(json.dumps(now[part]))
        for name in sorted({*old, *new}):
            was, is_now = old.get(name, defaults.get(name)), new.get(name, defaults.get(name))
            if was != is_now:
                found.append(f"{name} {was} -> {is_now}")
    return found


def finished(run: Path) -> bool:
    """Whether a cell's run is complete, so that it is never run again."""
    return (run / runs.SCORES).is_file()


def seconds(run: Path) -> float | None:
    """How long a finished cell took; None where it was interrupted, so that nobody knows."""
    try:
        return json.loads((run / CELL).read_text(encoding="utf-8"))["seconds"]
    except (OSError, ValueError, KeyError):
        return None


def execute(cell: Cell) -> Outcome:
    """Train a cell, or continue it; never raises, and prints nothing: what the training said is in the outcome."""
    from emodo.training import train

    said = io.StringIO()
    # What a killed grid has left may take a moment to end, and another process may have the same cell.
    lock = cell.run.with_name(f".{cell.run.name}.lock")
    started = time.monotonic()

    def took() -> float:
        return time.monotonic() - started

    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), locked(lock):
            resumed = cell.run.exists()
            if finished(cell.run):
                return Outcome("done", took())
            if resumed:
                train(resume=cell.run)
            else:
                method = runs.create_method(
                    {"method": {"class_path": cell.entry.method, "init_args": cell.entry.init_args}}
                )
                train(cell.manifest, method, run=cell.run, seed=cell.seed, **cell.entry.settings)
            write_text(cell.run / CELL, json.dumps({"seconds": None if resumed else took()}) + "\n")
        return Outcome("done", took())
    except InputError as error:
        return Outcome("refused", took(), str(error))
    except (Exception, SystemExit) as error:
        lines = str(error).strip().splitlines() or [""]
        return Outcome(
            "failed", took(), f"{type(error).__name__}: {lines[0]}", said.getvalue() + traceback.format_exc()
        )
