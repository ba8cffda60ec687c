"""Bringing the cells of a grid to their end: several at a time, none twice, with progress on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Literal

from emodo import runs
from emodo.cells import Cell, Entry, Outcome, execute, finished
from emodo.files import write_text
from emodo.parallel import Died, cores, find_ray, gpus, on_ray, on_this_machine
from emodo.records import InputError, check_least

FAILURES = "failures"
Engine = Literal["local", "ray"]
Outcomes = dict[Path, Outcome]  # by run folder


def check(seeds: Sequence[int], engine: Engine, processes: int | None) -> None:
    """Raise InputError where seeds or the number of processes are impossible, or there is no Ray to run on."""
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise InputError(
            f"--seeds {' '.join(map(str, seeds)) or 'is empty'}: name one or more different numbers, 0 or more"
        )
    check_least(1, processes=processes)
    if engine == "ray":
        find_ray()


@dataclass(frozen=True)
class Runner:
    """What brings cells to their end, `at_once` at a time; how a cell failed is kept in OUT/failures."""

    verb: str
    out: Path
    engine: Engine
    at_once: int
    on_gpu: bool
    gpus: Sequence[str]

    def __call__(self, cells: Sequence[Cell], what: str) -> Outcomes:
        """Run the cells that are not finished already; `what` is the word for one of them."""
        left = [cell for cell in cells if not finished(cell.run)]
        if len(left) < len(cells):
            say(self.verb, f"{len(cells) - len(left)} of {len(cells)} {what}s are finished already")
        outcomes = {cell.run: Outcome("done", 0.0) for cell in cells}
        if not left:
            return outcomes
        jobs = [cell.by_whole_paths() for cell in left]
        results = (
            on_ray(execute, jobs, self.at_once, self.on_gpu)
            if self.engine == "ray"
            else on_this_machine(execute, jobs, self.at_once, self.gpus)
        )
        with closing(results), _progress(self.verb, len(left), what) as tell:
            for at, result in results:
                cell = left[at]
                outcome = Outcome("failed", 0.0, result.reason, result.reason) if isinstance(result, Died) else result
                outcomes[cell.run] = outcome
                file = self.out / FAILURES / cell.run.parent.name / f"{cell.run.name}.txt"
                if outcome.detail:
                    write_text(file, outcome.detail)
                else:
                    file.unlink(missing_ok=True)
                tell(f"{cell.entry.name} {cell.run.name}: {_told(cell, outcome)}")
        return outcomes


def runner(verb: str, out: Path, entered: Sequence[Entry], engine: Engine, processes: int | None) -> Runner:
    """Choose how many cells of these entries run at a time, and on which GPUs."""
    on_gpu = any(entry.settings["accelerator"] != "cpu" for entry in entered)
    seen = gpus() if on_gpu and engine == "local" else []
    return Runner(verb, out, engine, processes or len(seen) or cores(), on_gpu, seen)


def logs(out: Path) -> str:
    """Where to read how runs have failed, as the end of a sentence; "" where none has left more than its reason."""
    return f" and {out / FAILURES}" if (out / FAILURES).is_dir() and any((out / FAILURES).rglob("*.txt")) else ""


def _told(cell: Cell, outcome: Outcome) -> str:
    if outcome.status != "done":
        return ("not possible: " if outcome.status == "refused" else "failed: ") + shorten(outcome.reason, 120)
    return f"{runs.scores(cell.run)['accuracy']:.1%} in {spent(outcome.seconds)}"


@contextmanager
def _progress(verb: str, total: int, what: str) -> Generator[Callable[[str], None]]:
    """Yield what tells of a cell that has ended: under a bar on a terminal, else a line each, on stderr."""
    started, ended = time.monotonic(), 0

    def left() -> str:
        took = time.monotonic() - started
        return f"about {spent(took / ended * (total - ended))} left" if ended < total else f"in {spent(took)}"

    if not sys.stderr.isatty():

        def line(text: str) -> None:
            nonlocal ended
            ended += 1
            say(verb, f"{what} {ended}/{total}, {text}; {left()}")

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn(f"{what}s"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bar:  # nothing moves in between
        task = bar.add_task("", total=total, left="")
        bar.refresh()

        def advance(text: str) -> None:
            nonlocal ended
            ended += 1
            bar.console.print(text, markup=False, highlight=False)
            bar.update(task, advance=1, left=left(), refresh=True)

        yield advance


def spent(seconds: float) -> str:
    """Write a time in seconds, minutes or hours, whichever reads best."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def say(verb: str, text: str) -> None:
    """Tell how far a verb is, on stderr."""
    print(f"emodo {verb}: {text}", file=sys.stderr, flush=True)
