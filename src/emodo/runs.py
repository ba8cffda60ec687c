"""The run folder: what a training writes, and everything after it reads.

config.yaml          the arguments of `emodo train`, repeatable with --config
task.json            emotions in logit order, the confounder's column, strata and prior, whether rows hold several
confounder.safetensors  the confounder's dictionary, where it has one (see `emodo.confounders`)
checkpoints/last.ckpt   state after the last whole epoch, for --resume
provenance.json      versions, and the sha256 of the manifest and of the confounder file
metrics.csv          losses by name, one row an epoch; tensorboard/ holds the same
weights.safetensors  the trained method
predictions.parquet  one row a test image (see `emodo.metrics`)
cost.json            seconds of training and testing (null where it was resumed), and the most memory held, in bytes
scores.json          the scores of these predictions

A folder that `emodo save-pretrained` has made is read like one, as far as it goes: config.json holds what the first
files, provenance.json and scores.json say, model.safetensors the weights; there are no predictions and no checkpoint.
"""

from __future__ import annotations

import inspect
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import yaml

from emodo import confounders
from emodo.files import new_folder, write_text
from emodo.records import Confounder, InputError, Task

if TYPE_CHECKING:
    import pandas as pd

    from emodo.methods import Method

CONFIG, TASK, PROVENANCE, WEIGHTS = "config.yaml", "task.json", "provenance.json", "weights.safetensors"
PREDICTIONS, SCORES, METRICS = "predictions.parquet", "scores.json", "metrics.csv"
COST = "cost.json"
CHECKPOINT, CONFOUNDER = "checkpoints/last.ckpt", "confounder.safetensors"
SHARED, SHARED_WEIGHTS = "config.json", "model.safetensors"
SHARED_PARTS = {CONFIG: "config", TASK: "task", PROVENANCE: "provenance", SCORES: "scores"}  # keys in `SHARED`


def create(
    run: Path,
    config: dict[str, Any],
    task: Task,
    provenance: dict[str, str],
    overwrite: bool = False,
    method: Method | None = None,
) -> None:
    """Create the folder `run` with its configuration, task and provenance, all at once or not at all.

    method: one that is trained already, whose weights go into the folder as well.

    Raises InputError where the folder exists already and `overwrite` is not set.
    """
    ensure_absent(run, overwrite)
    if run.exists():
        shutil.rmtree(run)
    with new_folder(run) as folder:
        write_text(folder / CONFIG, yaml.safe_dump(config, sort_keys=False))
        write_text(folder / TASK, json.dumps(plain(task), indent=2) + "\n")
        if task.confounder and task.confounder.prototypes is not None:
            confounders.save(task.confounder, folder / CONFOUNDER)
        write_text(folder / PROVENANCE, json.dumps(provenance, indent=2) + "\n")
        if method:
            from safetensors.torch import save_model

            save_model(method, str(folder / WEIGHTS))


def ensure_absent(run: Path, overwrite: bool = False) -> None:
    """Raise InputError where `run` exists already, unless it may be overwritten.

    Only a run is ever overwritten: a folder without a configuration is somebody's, and is refused.
    """
    if not run.exists():
        return
    if not overwrite:
        raise InputError(
            f"{run} exists already: choose another --run, continue it with --resume {run}, "
            "or replace it with --overwrite"
        )
    if not (run / CONFIG).is_file():
        raise InputError(f"{run} is not a run (it has no {CONFIG}), so it is not overwritten: choose another --run")


def config(run: Path) -> dict[str, Any]:
    """Read the arguments of `emodo train` that made this run."""
    if is_shared(run):
        return _json(run, CONFIG)
    try:
        found = yaml.safe_load(_file(run, CONFIG).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{run / CONFIG} is damaged ({' '.join(str(error).split())})") from error
    if not isinstance(found, dict):
        raise InputError(f"{run / CONFIG} is damaged: it holds no settings")
    return found


def task(run: Path) -> Task:
    """Read the emotions and the confounder that this run was trained for."""
    plain = _json(run, TASK)
    try:
        found = plain["confounder"]
        confounder = found and Confounder(found["column"], tuple(found["strata"]), tuple(found["prior"]))
        emotions, dictionary = tuple(plain["emotions"]), found and found.get("dictionary")
        multilabel = bool(plain.get("multilabel", False))  # older runs do not say
    except KeyError as error:
        raise InputError(f"{run / TASK} is damaged: it lacks {error}") from error
    except TypeError as error:
        raise InputError(f"{run / TASK} is damaged ({error})") from error
    if dictionary:
        stored = confounders.load(run / CONFOUNDER)
        if stored != confounder:
            raise InputError(f"{run / CONFOUNDER} is not this run's: it has other strata than {run / TASK}")
        confounder = stored
    return Task(emotions, confounder, multilabel)


def provenance(run: Path) -> dict[str, str]:
    """Read the versions and the manifest's sha256 of this run."""
    return _json(run, PROVENANCE)


def predictions(run: Path) -> pd.DataFrame:
    """Read the test predictions of a finished run."""
    import pandas as pd

    return pd.read_parquet(_file(run, PREDICTIONS))


def scores(run: Path) -> dict[str, Any]:
    """Read the scores of a finished run."""
    return _json(run, SCORES)


def cost(run: Path) -> dict[str, float | None]:
    """Read what a run has cost, {seconds, memory, gpu_memory}; nothing of a run that was made before this was kept."""
    return _json(run, COST) if (run / COST).is_file() else {}


def create_method(config: dict[str, Any]) -> Method:
    """Create the method that a configuration names, not yet built.

    Only the methods of `emodo.methods` are created: a configuration from elsewhere runs no other code.
    """
    from emodo import methods

    try:
        name = str(config["method"]["class_path"]).removeprefix("emodo.methods.")
        arguments = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in config["method"].get("init_args", {}).items()
        }
        found = getattr(methods, name) if name in methods.__all__ else None
        if not (isinstance(found, type) and issubclass(found, methods.Method)) or inspect.isabstract(found):
            raise InputError(f"no method of emodo is called {name!r}")
        return found(**arguments)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the configuration of the method is damaged ({error})") from error


def is_shared(run: Path) -> bool:
    """Whether this folder is a model that was made to be shared, and no run itself."""
    if (run / CONFIG).is_file() or not (run / SHARED).is_file():
        return False
    try:
        found = json.loads((run / SHARED).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(found, dict) and "emodo" in found


def deciding_files(run: Path) -> list[Path]:
    """The files of a finished run that decide what it predicts."""
    return [run / name for name in ((SHARED, SHARED_WEIGHTS) if is_shared(run) else (CONFIG, TASK, WEIGHTS))]


def weights_file(run: Path) -> Path:
    """The file that holds the weights of a finished run."""
    return _file(run, WEIGHTS)


def load_method(run: Path) -> Method:
    """Load the trained method of a run, ready to predict.

    Raises InputError where the run is not finished, its settings build no network, or its weights are damaged or
    another's.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    from emodo.networks import create_backbone

    settings, wanted = config(run), task(run)
    file = run / (SHARED if is_shared(run) else CONFIG)
    lacking = [name for name in ("backbone", "size") if name not in settings]
    if lacking:
        raise InputError(f"{file} is damaged: it lacks {', '.join(lacking)}")
    size = settings["size"]
    if type(size) is not int or size < 1:
        raise InputError(f"{file} is damaged: size is {size!r}, and it has to be a whole number of pixels, 1 or more")
    try:
        method = create_method(settings)
        method.build(wanted, create_backbone(str(settings["backbone"]), size, pretrained=False))
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    except (TypeError, ValueError, RuntimeError) as error:
        name = settings["method"]["class_path"].rpartition(".")[2]
        raise InputError(f"{file} is damaged: {name} cannot be built as it says ({_first(str(error))})") from error
    weights = weights_file(run)
    try:
        load_model(method, weights)
    except SafetensorError as error:
        raise InputError(f"{weights} is damaged ({_first(str(error))}): copy the run anew, or train it anew") from error
    except RuntimeError as error:
        difference = _first(str(error).partition(":\n")[2] or str(error)).partition(": copying")[0]
        raise InputError(
            f"{weights} does not hold the weights of this run ({difference}): they are another's, or {file} has been "
            "changed; train it anew"
        ) from error
    return method.eval()


def _first(said: str) -> str:
    """The first line of what PyTorch says, short enough for a sentence."""
    return shorten(next(iter(said.strip().splitlines()), ""), 120, placeholder=" ...")


def _file(run: Path, name: str) -> Path:
    if is_shared(run):
        file = run / {WEIGHTS: SHARED_WEIGHTS}.get(name, name)
        if not file.is_file():
            raise InputError(f"{run} is a shared model without {file.name}: the run that it was made from has it")
        return file
    if not (run / CONFIG).is_file():
        raise InputError(f"{run} is not a run: it has no {CONFIG}")
    if not (run / name).is_file():
        raise InputError(
            f"{run} has no {name}: its training has not finished; continue it with `emodo train --resume {run}`"
        )
    return run / name


def _json(run: Path, name: str) -> dict[str, Any]:
    shared = is_shared(run)
    file = run / SHARED if shared else _file(run, name)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error})") from error
    if shared:
        found = found.get(SHARED_PARTS[name])
    if not isinstance(found, dict):
        part = f" under {SHARED_PARTS[name]!r}" if shared else ""
        raise InputError(f"{file} is damaged: it holds no table of values{part}")
    return found


def plain(task: Task) -> dict[str, Any]:
    """A task as JSON can hold it; the prototypes of its confounder stay in their own file."""
    found = asdict(task)
    if found["confounder"]:
        del found["confounder"]["how"], found["confounder"]["provenance"]
        if found["confounder"].pop("prototypes") is not None:
            found["confounder"]["dictionary"] = CONFOUNDER
    return found
