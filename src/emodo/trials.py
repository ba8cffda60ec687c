"""The trials of a sweep, in a journal of Optuna's that survives SIGKILL and that several processes share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from emodo.files import is_locked, locked
from emodo.records import InputError
from emodo.space import Range, Setting

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

JOURNAL, WORKERS = "journal.log", ".workers"
# What a trial carries: its values as they are trained, who works on it, the trial that it repeats, what failed.
SETTING, WORKER, AGAIN, FAILURES = "setting", "worker", "again", "failures"
Failure = dict[str, Any]


@dataclass(frozen=True)
class Trials:
    """The trials of one sweep. A trial is taken, trained by whoever took it, and told.

    Everything is done under the lock beside OUT, so that no two processes take the same trial and none begins one too
    many. A process is alive while it holds the lock on its file in OUT/.workers: what a dead one had taken is taken
    again. `most` trials are drawn from `ranges` by TPE, seeded by `seed` and the trial's number, so that a sweep which
    was killed draws what it would have drawn.
    """

    study: Study
    out: Path
    worker: str
    ranges: Mapping[str, Range]
    most: int
    seed: int

    def take(self, count: int) -> list[Trial]:
        """Take up to `count` trials; none is left for this process where the list is empty."""
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        taken: list[Trial] = []
        with held(self.out):
            self._bury()
            while len(taken) < count:
                begun = sum(AGAIN not in trial.user_attrs for trial in self._known())
                if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)) and begun >= self.most:
                    break
                self.study.sampler = TPESampler(seed=1000 * self.seed + begun)
                trial = self.study.ask(_distributions(self.ranges))
                if SETTING not in trial.user_attrs:
                    drawn = {name: each.rounded(trial.params[name]) for name, each in self.ranges.items()}
                    trial.set_user_attr(SETTING, drawn)
                trial.set_user_attr(WORKER, self.worker)
                taken.append(trial)
        return taken

    def tell(self, trial: Trial, value: float | None, failures: Sequence[Failure]) -> None:
        """End a trial: with its value, or where it has none with what failed."""
        from optuna.trial import TrialState

        with held(self.out):
            if value is not None:
                self.study.tell(trial, value)
            else:
                trial.set_user_attr(FAILURES, list(failures))
                self.study.tell(trial, state=TrialState.FAIL)

    def others(self) -> int:
        """How many trials other processes are working on."""
        from optuna.trial import TrialState

        with held(self.out):
            return len(self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    def left(self) -> int:
        """How many trials have not ended, those that nobody has begun included."""
        from optuna.trial import TrialState

        with held(self.out):
            known = self._known()
        begun = sum(AGAIN not in trial.user_attrs for trial in known)
        open_ = sum(trial.state in (TrialState.WAITING, TrialState.RUNNING) for trial in known)
        return open_ + max(0, self.most - begun)

    def ended(self) -> list[tuple[Setting, list[Failure]]]:
        """Every setting with what failed in its last trial, in the order in which they were first taken or named."""
        with held(self.out):
            last = {json.dumps(trial.user_attrs[SETTING]): trial for trial in self._known()}
        return [(trial.user_attrs[SETTING], trial.user_attrs.get(FAILURES, [])) for trial in last.values()]

    def begin(self, settings: Sequence[Setting], is_whole: Callable[[Setting], bool]) -> None:
        """Queue what is to be done: settings that no trial has yet, and trials that failed or whose runs are gone."""
        from optuna.trial import TrialState

        with held(self.out):
            self._bury()
            repeated = {trial.user_attrs.get(AGAIN) for trial in self._known()}
            for trial in self._known():
                failed = trial.state == TrialState.FAIL
                lost = trial.state == TrialState.COMPLETE and not is_whole(trial.user_attrs[SETTING])
                if trial.number not in repeated and (failed or lost):
                    self._queue_again(trial)
            known = [trial.user_attrs[SETTING] for trial in self._known()]
            for setting in settings:
                if setting not in known:
                    self.study.enqueue_trial({}, user_attrs={SETTING: setting})

    def _known(self) -> list[FrozenTrial]:
        """The trials that have their values; one whose process was killed before that is nothing."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if SETTING in trial.user_attrs]

    def _bury(self) -> None:
        """Fail the trials of processes that have ended, and queue them again."""
        from optuna.trial import TrialState

        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            worker = self.out / WORKERS / trial.user_attrs.get(WORKER, "none")
            if not is_locked(worker):
                worker.unlink(missing_ok=True)
                self.study.tell(trial.number, state=TrialState.FAIL)
                if SETTING in trial.user_attrs:
                    self._queue_again(trial)

    def _queue_again(self, trial: FrozenTrial) -> None:
        attributes = {SETTING: trial.user_attrs[SETTING], AGAIN: trial.number}
        self.study.enqueue_trial(trial.params, user_attrs=attributes)  # as drawn: what is drawn later depends on it


@contextmanager
def opened(out: Path, name: str, ranges: Mapping[str, Range], most: int, seed: int) -> Generator[Trials]:
    """Open the sweep `name` of a folder, or begin it, and be alive in it.

    Raises InputError where the journal is damaged.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    worker = out / WORKERS / uuid4().hex
    with locked(worker):
        try:
            with held(out):
                try:
                    storage = JournalStorage(JournalFileBackend(str(out / JOURNAL)))
                except (ValueError, LookupError, TypeError, AssertionError):
                    raise InputError(f"{out / JOURNAL} is damaged: remove it, and the runs stay") from None
                study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
            yield Trials(study, out, worker.name, ranges, most, seed)
        finally:
            worker.unlink()


@contextmanager
def held(out: Path) -> Generator[None]:
    """Hold the lock on a sweep; its journal is whole then: what a process killed while it wrote has left is removed."""
    with locked(lock(out)):
        journal = out / JOURNAL
        journal.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)  # Optuna's own
        if journal.is_file():
            written = journal.read_bytes()
            if not written.endswith(b"\n"):
                os.truncate(journal, written.rfind(b"\n") + 1)
        yield


def lock(out: Path) -> Path:
    """Where the lock on a sweep lies: beside OUT, so that it can be held before there is an OUT."""
    return out.resolve().with_name(f".{out.resolve().name}.lock")


def check_installed() -> None:
    """Raise InputError where Optuna is not installed."""
    if find_spec("optuna") is None:
        raise InputError("a sweep needs Optuna: pip install 'emodo[sweep]'")


def _distributions(ranges: Mapping[str, Range]) -> dict[str, BaseDistribution]:
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        name: IntDistribution(each.low, each.high, log=each.log)
        if isinstance(each.low, int) and isinstance(each.high, int)
        else FloatDistribution(each.low, each.high, log=each.log)
        for name, each in ranges.items()
    }
