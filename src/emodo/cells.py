"""The cells of a grid: a method with its settings, on one manifest, from one seed; each a normal run folder."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import re
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from emodo import confounders, runs
from emodo.files import locked, write_text
from emodo.records import InputError

SHARED = "method."  # settings that every method which has them is given, as in `emodo train --method.lr`
# What the grid itself decides; and cells run side by side, so each has one device, and are compared by accuracy.
DECIDED = ("manifest", "method", "run", "seed", "resume", "overwrite", "devices", "nodes", "multilabel")
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
        return folder(self.name)

    @property
    def rates(self) -> dict[str, float]:
        """The learning rates among the hyper-parameters."""
        return {name: value for name, value in self.init_args.items() if name == "lr" or name.endswith("_lr")}

    def faster(self, factor: float) -> Entry:
        """The same with every learning rate of the method times `factor`."""
        return replace(self, init_args=self.init_args | {name: rate * factor for name, rate in self.rates.items()})


@dataclass(frozen=True)
class Cell:
    """What is trained, and the run folder it is trained in."""

    entry: Entry
    manifest: Path
    seed: int
    run: Path

    @property
    def lock(self) -> Path:
        """What is locked while it is trained: a killed grid's processes take a moment to end, others share its work."""
        return self.run.with_name(f".{self.run.name}.lock")

    def by_whole_paths(self) -> Cell:
        """The same for a process that has another working folder."""
        given = {name: self.entry.settings[name] for name in ("confounder", "pretrained")}
        files = {name: str(Path(value).resolve()) for name, value in given.items() if isinstance(value, str | Path)}
        entry = replace(self.entry, settings=self.entry.settings | files)
        return Cell(entry, self.manifest.resolve(), self.seed, self.run.resolve())


@dataclass(frozen=True)
class Outcome:
    """How a cell went: done; refused for a reason of the data or a setting; or failed, with all that is known of it."""

    status: Literal["done", "refused", "failed"]
    seconds: float
    reason: str = ""
    detail: str = ""


def folder(name: str) -> str:
    """Name the folder that an entry of this name has its runs in."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.")


def entries(
    methods: Iterable[str] | Mapping[str, Mapping[str, Any] | None], settings: Mapping[str, Any]
) -> list[Entry]:
    """Check and complete the methods of a grid.

    methods: names of methods; or by any name its hyper-parameters, with `method` where the name is another, and
    `settings` for what this entry alone trains with. settings: for all; `method.NAME` is given to every method that has
    a hyper-parameter NAME and does not set it itself.

    Raises InputError for a method, setting or value that there is not, a name twice, or a setting that a grid decides.
    """
    given = (
        [(str(name), _mapping(str(name), entry)) for name, entry in methods.items()]
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


def _mapping(what: str, given: Any) -> dict[str, Any]:
    if given is None or isinstance(given, Mapping):
        return dict(given or {})
    raise InputError(f"{what} is {given!r}: give settings with their values, as in {{lr: 0.001}}")


def _entry(name: str, given: dict[str, Any], common: dict[str, Any], shared: dict[str, Any]) -> Entry:
    from jsonargparse import ArgumentParser

    from emodo.training import complete, train

    kind = method_class(str(given.pop("method", name)))
    own = _mapping(f"{name}: settings", given.pop("settings", None))
    for setting in (*common, *own):
        if setting in DECIDED:
            raise InputError(f"{name}: {setting} is not a setting of a grid's cells: leave it out")
    if "emotions" in own:
        raise InputError(f"{name}: emotions are the same for all methods: give them in the settings of the grid")
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(kind)
    hyperparameters = list(inspect.signature(kind).parameters)
    of_all = {key: value for key, value in shared.items() if key in hyperparameters}
    method = kind(**_parsed(parser, of_all | given, hyperparameters, name))
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_function_arguments(train, skip=set(DECIDED))
    known = [key for key in inspect.signature(train).parameters if key not in DECIDED]
    settings = _parsed(parser, common | own, known, name)
    try:
        complete(settings | {"devices": 1, "nodes": 1, "seed": 0})
        if settings["confounder"]:
            confounders.load(Path(settings["confounder"]))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return Entry(name, kind.__name__, method.hyperparameters(), settings)


def _parsed(parser: Any, values: Mapping[str, Any], known: Sequence[str], name: str) -> dict[str, Any]:
    from jsonargparse import ArgumentError

    unknown = [key for key in values if key not in known]
    if unknown:
        raise InputError(f"{name}: there is no setting {unknown[0]!r}: there are {', '.join(known)}")
    plain = {key: value if isinstance(value, str) else json.dumps(value, default=str) for key, value in values.items()}
    words = [f"--{key}={value}" for key, value in plain.items()]
    try:
        return parser.parse_args(words).as_dict()
    except ArgumentError as error:
        raise InputError(f"{name}: {' '.join(str(error).split()).replace('Parser key', 'the setting')}") from None


def finished(run: Path) -> bool:
    """Whether a cell's run is complete, so that it is never run again."""
    return (run / runs.SCORES).is_file()


def outdated(cell: Cell) -> bool:
    """Whether the cell's run was begun with other learning rates, as a search had chosen then."""
    try:
        begun: dict[str, Any] = runs.config(cell.run)["method"]["init_args"]
        return any(begun[name] != rate for name, rate in cell.entry.rates.items())
    except (InputError, LookupError):  # no run, or a damaged one, which training it will name
        return False


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
    started = time.monotonic()

    def took() -> float:
        return time.monotonic() - started

    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), locked(cell.lock):
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
