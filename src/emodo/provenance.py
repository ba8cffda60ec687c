"""Where the runs of a report come from: the command of each training, versions, and hashes of what it was made with."""

from __future__ import annotations

import json
import shlex
from inspect import signature
from pathlib import Path
from typing import Any

from emodo import methods
from emodo.compared import Run
from emodo.figures import Cell, Table
from emodo.files import sha256
from emodo.runs import WEIGHTS
from emodo.training import train


def command(run: Run) -> str:
    """The `emodo train` that makes this run again: whatever is not the default."""
    settings = {name: value for name, value in run.config.items() if name not in ("manifest", "method")}
    given = run.config["method"]
    init_args: dict[str, Any] = given.get("init_args", {}) if isinstance(given, dict) else {}
    found = getattr(methods, run.method, None) if run.method in methods.__all__ else None
    defaults = {name: each.default for name, each in signature(train).parameters.items()}
    of_method = {name: each.default for name, each in signature(found).parameters.items()} if found else {}
    words = ["emodo", "train", str(run.manifest), "--method", run.method]
    for prefix, values, known in (("method.", init_args, of_method), ("", settings, defaults)):
        for name, value in values.items():
            if json.dumps(value) != json.dumps(known.get(name)):
                words += [f"--{prefix}{name}", value if isinstance(value, str) else json.dumps(value)]
    return shlex.join([*words, "--run", str(run.folder)])


def origin(run: Run) -> dict[str, str]:
    """Versions as they were at the training, and sha256 of the manifest then, of that now, and of the weights."""
    now = {
        "manifest_sha256_now": _known_sha256(run.manifest),
        "weights_sha256": _known_sha256(run.folder / WEIGHTS),
    }
    return run.provenance | {name: value or "the file is gone" for name, value in now.items()}


def table(runs: list[Run]) -> Table:
    """The same of all runs, a column a run."""
    found = [{"method": run.method, "seed": str(run.config.get("seed", "not set"))} | origin(run) for run in runs]
    names = list(dict.fromkeys(name for each in found for name in each))
    rows = [(name, [Cell(each.get(name, "not known")) for each in found]) for name in names]
    return Table("Versions, seeds and hashes", "", [run.name for run in runs], rows)


def _known_sha256(file: Path) -> str | None:
    return sha256(file) if file.is_file() else None
