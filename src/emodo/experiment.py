"""`emodo experiment cross-dataset`: train on each data set, test on all of them; Table 4 of the IERN paper."""

from __future__ import annotations

import csv
import io
import json as jsons
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from emodo import runs, statistics
from emodo.cells import Cell, Entry, Outcome, entries, execute
from emodo.files import sha256, write_text
from emodo.parallel import Died, cores, gpus, on_this_machine
from emodo.records import InputError, Unfinished, check_least

if TYPE_CHECKING:
    import pandas as pd

RECORD, FAILURES = "experiment.json", "failures"
SEEDS = [0, 1, 2]
Outcomes = dict[tuple[str, str, int], Outcome]  # by data set trained on, data set tested on, and seed


@dataclass(frozen=True)
class Job:
    """A training on the data set `name`, and the manifests of the others, whose test parts it is tested on too."""

    name: str
    cell: Cell
    others: dict[str, Path]

    @property
    def names(self) -> list[str]:
        """All data sets that it is tested on."""
        return [self.name, *self.others]

    def scores(self, name: str) -> Path:
        """The file of the scores on a data set; those on its own are the run's."""
        return (self.cell.run if name == self.name else self.cell.run / f"evaluation-{name}") / runs.SCORES


def cross_dataset(
    manifests: list[Path],
    *,
    method: str = "ERM",
    out: Path | None = None,
    seeds: list[int] | None = None,
    settings: dict[str, Any] | None = None,
    processes: int | None = None,
    json: bool = False,
) -> None:
    """emodo experiment cross-dataset a.csv b.csv c.csv --method IERN --out runs/cross

    Train a method on the training part of every data set, from every seed, and test each run on the test parts of all:
    the matrix of the IERN paper's Table 4. Each is a normal run in OUT/runs, with the folder of an `emodo evaluate` for
    every other data set. Stopped in any way, the same command continues, and what is finished is never run again; data
    sets and seeds can be added later. A run that fails stops no other.

    Args:
        manifests: The data sets, two or more: manifests with a column `split` and the same emotions.
        method: Name of a method of `emodo.methods`.
        out: Folder for the runs and the table (table.json, table.csv, table.md); by default runs/cross-dataset-METHOD.
        seeds: Seeds of each training; by default 0 to 2.
        settings: Settings of `emodo train`, as in backbone=small epochs=40; method.lr=1e-3 goes to the method.
        processes: Runs at a time; by default the CPU cores, or the GPUs where there are any and they are not refused.
        json: Print the table as JSON.

    Raises:
        InputError: Whatever is wrong with the manifests or the settings, or OUT holds something else; nothing has been
            written then.
        Unfinished: Some cells could not be made; the others and the table are there.
    """
    [entry] = entries([method], settings or {})
    seeds = SEEDS if seeds is None else seeds
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise InputError(f"--seeds {' '.join(map(str, seeds))}: name one or more different numbers, 0 or more")
    check_least(1, processes=processes)
    named = _named(manifests)
    copies = _copies(_load(named, entry.settings["emotions"]))
    out = out or Path("runs") / f"cross-dataset-{entry.folder}"
    _prepare(out, entry, named)
    jobs = [
        Job(
            name,
            Cell(entry, manifest, seed, out / "runs" / f"{name}-seed{seed}"),
            {other: named[other] for other in named if other != name},
        )
        for seed in seeds
        for name, manifest in named.items()
    ]
    try:
        outcomes = _run(jobs, out, processes)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command continues; what is finished stays") from None
    table = _table(jobs, outcomes, copies)
    write_text(out / "table.json", jsons.dumps(table, indent=2) + "\n")
    write_text(out / "table.csv", _comma_separated(table))
    write_text(out / "table.md", _markdown(table))
    _print(table, json)
    if table["failures"]:
        logs = f" and {out / FAILURES}" if (out / FAILURES).is_dir() else ""
        raise Unfinished(
            f"{len(table['failures'])} of {len(outcomes)} cells could not be made, see above{logs}; the same command "
            "tries them again"
        )


# ------------------------------------------------------------------------------------------ the data


def _named(manifests: Sequence[Path]) -> dict[str, Path]:
    """Name the data sets after their files, or their folders too where the files are named alike."""
    names = [manifest.stem for manifest in manifests]
    if len(set(names)) < len(names):
        names = [f"{manifest.resolve().parent.name}-{manifest.stem}" for manifest in manifests]
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError("name two or more data sets, each a manifest in a file or folder of its own name")
    return dict(zip(names, manifests, strict=True))


def _load(named: Mapping[str, Path], emotions: Sequence[str] | None) -> dict[str, pd.DataFrame]:
    from emodo import manifest as tables
    from emodo.splits import check

    frames: dict[str, pd.DataFrame] = {}
    for name, file in named.items():
        frame = tables.load(file, tuple(emotions) if emotions else None)
        if "split" not in frame:
            raise InputError(f"{file} has no column split: make one, as with `emodo split random`")
        try:
            check(frame)
        except InputError as error:
            raise InputError("\n".join(f"{file}: {line}" for line in str(error).split("\n"))) from None
        first = next(iter(frames), name)
        frames[name] = frame
        apart = sorted(set(frame["emotion"]) ^ set(frames[first]["emotion"]))
        if apart:
            raise InputError(
                f"{named[first]} and {file} need the same emotions, and only one of them has {', '.join(apart)}: "
                "rename them or drop their rows"
            )
    return frames


def _copies(frames: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Test images of a data set that are byte for byte in train or validation of one, its own included."""
    import pandas as pd

    from emodo.leakage import leaks

    found: list[dict[str, Any]] = []
    for train, test in product(frames, frames):
        learned, tested = frames[train], frames[test]
        parts = [learned.loc[learned["split"] != "test"], tested.loc[tested["split"] == "test"]]
        both = pd.concat([part.loc[:, ["file", "path", "split"]] for part in parts])
        leak = next(leak for leak in leaks(both, Path(test)) if leak.gate == "identical")
        if len(leak.rows):
            found.append({"train": train, "test": test, "images": len(leak.rows), "of": leak.of})
    return found


def _prepare(out: Path, entry: Entry, named: Mapping[str, Path]) -> None:
    """Keep in OUT what decides the results; a folder that holds runs of anything else is refused."""
    file = out / RECORD
    if out.is_file() or (out.is_dir() and not file.is_file() and any(out.iterdir())):
        raise InputError(f"{out} is not an experiment (it has no {RECORD}): choose another --out")
    now: dict[str, dict[str, Any]] = {
        "method": jsons.loads(jsons.dumps(asdict(entry))),
        "data": {name: sha256(each) for name, each in named.items()},
    }
    if file.is_file():
        try:
            before = jsons.loads(file.read_text(encoding="utf-8"))
            changed = [
                f"{name} {before['method'][part].get(name)} -> {value}"
                for part in ("init_args", "settings")
                for name, value in now["method"][part].items()
                if before["method"][part].get(name) != value
            ]
            if before["method"]["method"] != entry.method:
                changed = [f"method {before['method']['method']} -> {entry.method}"]
            changed += [
                f"manifest {name}" for name, each in now["data"].items() if before["data"].get(name, each) != each
            ]
            now["data"] = before["data"] | now["data"]
        except (ValueError, LookupError, TypeError, AttributeError):
            raise InputError(f"{file} is damaged: choose another --out") from None
        if changed:
            raise InputError(f"{out} holds runs of something else ({', '.join(changed)}): choose another --out")
    write_text(file, jsons.dumps(now, indent=2) + "\n")


# ------------------------------------------------------------------------------------------- running


def _run(jobs: Sequence[Job], out: Path, processes: int | None) -> Outcomes:
    """Bring all jobs to their end; those that are finished already are left out."""
    outcomes = {(job.name, name, job.cell.seed): Outcome("done", 0.0) for job in jobs for name in job.names}
    left = [job for job in jobs if not all(job.scores(name).is_file() for name in job.names)]
    if len(left) < len(jobs):
        _say(f"{len(jobs) - len(left)} of {len(jobs)} runs are finished already")
    devices = gpus() if left and left[0].cell.entry.settings["accelerator"] != "cpu" else []
    results = on_this_machine(_train_and_test, left, processes or len(devices) or cores(), devices)
    started = time.monotonic()
    with closing(results):
        for ended, (at, result) in enumerate(results, 1):
            job = left[at]
            if isinstance(result, Died):
                died = Outcome("failed", 0.0, result.reason, result.reason)
                result = dict.fromkeys(job.names, died)
            outcomes |= {(job.name, name, job.cell.seed): outcome for name, outcome in result.items()}
            details = {outcome.detail for outcome in result.values() if outcome.detail}
            file = out / FAILURES / f"{job.cell.run.name}.txt"
            if details:
                write_text(file, "\n".join(sorted(details)))
            else:
                file.unlink(missing_ok=True)
            rest = (time.monotonic() - started) / ended * (len(left) - ended)
            told = ", ".join(_told(job, name, outcome) for name, outcome in result.items())
            _say(f"{ended}/{len(left)}, {job.cell.run.name}: {told}; about {rest / 60:.0f} min left")
    return outcomes


def _train_and_test(job: Job) -> dict[str, Outcome]:
    """Train, and test on the other data sets; never raises, like `cells.execute`."""
    trained = execute(job.cell)
    if trained.status != "done":
        return dict.fromkeys(job.names, trained)
    return {job.name: trained} | {name: _test(job, name) for name in job.others}


def _test(job: Job, name: str) -> Outcome:
    from emodo.evaluation import evaluate

    settings = job.cell.entry.settings
    try:
        if not job.scores(name).is_file():
            evaluate(
                job.cell.run,
                job.others[name],
                out=job.scores(name).parent,
                batch_size=settings["batch_size"],
                workers=settings["workers"],
                accelerator=settings["accelerator"],
                overwrite=True,  # a folder without scores was cut short
            )
        return Outcome("done", 0.0)
    except InputError as error:
        return Outcome("refused", 0.0, str(error))
    except Exception as error:
        return Outcome("failed", 0.0, f"{type(error).__name__}: {error}", traceback.format_exc())


def _accuracy(job: Job, name: str) -> float:
    return jsons.loads(job.scores(name).read_text(encoding="utf-8"))["accuracy"]


def _told(job: Job, name: str, outcome: Outcome) -> str:
    if outcome.status == "done":
        return f"{name} {_accuracy(job, name):.1%}"
    return f"{name} {'not possible' if outcome.status == 'refused' else 'failed'} ({shorten(outcome.reason, 120)})"


def _say(text: str) -> None:
    print(f"emodo experiment cross-dataset: {text}", file=sys.stderr, flush=True)


# ----------------------------------------------------------------------------------------- the table


def _table(jobs: Sequence[Job], outcomes: Outcomes, copies: list[dict[str, Any]]) -> dict[str, Any]:
    """What table.json holds: accuracies as fractions over all test images, by seed and their mean; failures."""
    names = jobs[0].names
    rows: list[dict[str, Any]] = []
    for name in names:
        found: dict[str, dict[int, float]] = {
            test: {
                job.cell.seed: _accuracy(job, test)
                for job in jobs
                if job.name == name and outcomes[name, test, job.cell.seed].status == "done"
            }
            for test in names
        }
        others = [found[test] for test in names if test != name]
        whole = [seed for seed in others[0] if all(seed in each for each in others)]
        means = {seed: sum(each[seed] for each in others) / len(others) for seed in whole}
        tests = {test: _mean(accuracies) for test, accuracies in found.items()}
        rows.append({"train": name, "tests": tests, "self_test": tests[name], "mean_others": _mean(means)})
    failures = [
        {"train": train, "test": test, "seed": seed, "status": outcome.status, "reason": outcome.reason}
        for (train, test, seed), outcome in outcomes.items()
        if outcome.status != "done"
    ]
    return {
        "method": jobs[0].cell.entry.name,
        "seeds": list(dict.fromkeys(job.cell.seed for job in jobs)),
        "data": names,
        "level": statistics.LEVEL,
        "rows": rows,
        "copies": copies,
        "failures": failures,
    }


def _mean(accuracies: Mapping[int, float]) -> dict[str, Any] | None:
    if not accuracies:
        return None
    values = list(accuracies.values())
    low, high = statistics.student(values) or (None, None)
    seeds = {str(seed): accuracy for seed, accuracy in accuracies.items()}
    return {"mean": sum(values) / len(values), "low": low, "high": high, "seeds": seeds}


def _columns(row: Mapping[str, Any]) -> list[dict[str, Any] | None]:
    return [*row["tests"].values(), row["self_test"], row["mean_others"]]


def _lines(table: Mapping[str, Any]) -> list[list[str]]:
    """The matrix as people read it, headings first, accuracies in %."""

    def shown(cell: Mapping[str, Any] | None) -> str:
        if cell is None:
            return "-"
        interval = "" if cell["low"] is None else f" [{100 * cell['low']:.1f}, {100 * cell['high']:.1f}]"
        return f"{100 * cell['mean']:.1f}{interval}"

    head = ["train on \\ test on", *table["data"], "Self Test", "Mean Others"]
    return [head, *([row["train"], *map(shown, _columns(row))] for row in table["rows"])]


def _notes(table: Mapping[str, Any]) -> list[str]:
    seeds = ", ".join(map(str, table["seeds"]))
    told = [
        f"{table['method']}, seeds {seeds}. Accuracy in % over all test images of a data set; mean and 95 % interval "
        "over seeds (Student's t). Self Test: on the data set that was trained on. Mean Others: the mean of the others."
    ]
    told += [
        f"{found['images']} of {found['of']} test images of {found['test']} are byte for byte in the training or "
        f"validation part of {found['train']}, and the accuracy counts them."
        for found in table["copies"]
    ]
    told += [
        f"{failure['train']} on {failure['test']}, seed {failure['seed']}: "
        f"{'not possible' if failure['status'] == 'refused' else 'failed'}: {failure['reason']}"
        for failure in table["failures"]
    ]
    return told


def _markdown(table: Mapping[str, Any]) -> str:
    head, *body = ([cell.replace("|", "\\|") for cell in line] for line in _lines(table))
    rows = [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body)]
    return "\n".join([*rows, "", *(f"- {note}".replace("\n", " ") for note in _notes(table))]) + "\n"


def _comma_separated(table: Mapping[str, Any]) -> str:
    """The matrix of means as CSV, fractions; the intervals and seeds are in table.json."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(["train", *table["data"], "self_test", "mean_others"])
    for row in table["rows"]:
        rows.writerow([row["train"], *(cell and cell["mean"] for cell in _columns(row))])
    return written.getvalue()


def _print(table: Mapping[str, Any], as_json: bool) -> None:
    """Print the table on stdout."""
    if as_json:
        print(jsons.dumps(table))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)
    head, *body = _lines(table)
    shown = Table(box=box.SIMPLE)
    for at, heading in enumerate(head):
        shown.add_column(heading, justify="right" if at else "left")
    for line in body:
        shown.add_row(*line)
    console.print(shown, markup=False)
    for note in _notes(table):
        console.print(f"- {note}", markup=False, highlight=False, soft_wrap=True)
