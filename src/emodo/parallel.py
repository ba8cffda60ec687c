"""Many jobs at a time: in processes of this machine, or on a Ray cluster. A job that fails stops no other."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from emodo.records import InputError

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess


@dataclass(frozen=True)
class Died:
    """In place of a result: the process that worked on the job has ended, and why."""

    reason: str


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """What CUDA calls the GPUs that this process may use."""
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return (named or [str(at) for at in range(torch.cuda.device_count())])[: torch.cuda.device_count()]


def on_this_machine(
    function: Callable[[Any], Any], jobs: Sequence[Any], processes: int, gpus: Sequence[str] = ()
) -> Generator[tuple[int, Any]]:
    """Yield (the job's number, function(job)), or `Died`, in the order in which the jobs end.

    The processes start fresh and stay, so PyTorch is imported once in each; each computes with its share of the cores.
    gpus: what CUDA calls them; each process sees one, in turn, and one in place of a dead one sees its. Left before
    its end, the generator kills its processes; they also leave when this process is killed. Close it
    (contextlib.closing).
    """
    processes = min(processes, len(jobs))
    start = _Starter(function, max(1, cores() // max(1, processes)), gpus)
    waiting = deque(range(len(jobs)))
    workers: list[_Worker] = []
    try:
        while waiting or any(worker.job is not None for worker in workers):
            while waiting and len(workers) < processes:
                taken = [worker.place for worker in workers]
                workers.append(start(next(place for place in itertools.count() if place not in taken)))
            for worker in workers:
                if waiting and worker.job is None:
                    worker.job = waiting.popleft()
                    with contextlib.suppress(BrokenPipeError):  # it has died while idle: the pipe's end will tell
                        worker.pipe.send(jobs[worker.job])
            busy = {worker.pipe: worker for worker in workers if worker.job is not None}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # pyright: ignore[reportArgumentType]
                job, worker.job = worker.job, None
                assert job is not None
                try:
                    result = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.process.join()
                    workers.remove(worker)
                    result = Died(_reason(worker.process.exitcode))
                yield job, result
        for worker in workers:
            worker.pipe.close()
            worker.process.join()
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


@dataclass
class _Worker:
    place: int
    process: SpawnProcess
    pipe: Connection
    job: int | None = None


@dataclass(frozen=True)
class _Starter:
    function: Callable[[Any], Any]
    threads: int
    gpus: Sequence[str]

    def __call__(self, place: int) -> _Worker:
        # Not forked: a fork would share this process's locks, threads and GPU.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        environment = {"OMP_NUM_THREADS": str(self.threads)}
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[place % len(self.gpus)]
        process = context.Process(target=_work, args=(theirs, self.function, environment))
        process.start()
        theirs.close()  # so that the pipe ends when the process does
        return _Worker(place, process, ours)


def _work(pipe: Connection, function: Callable[[Any], Any], environment: dict[str, str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one decides
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    os.environ.update(environment)
    import torch

    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(function(job))


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = ", perhaps for want of memory: try fewer --processes" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with exit code {code}"


def on_ray(
    function: Callable[[Any], Any], jobs: Sequence[Any], processes: int, gpu: bool = False
) -> Generator[tuple[int, Any]]:
    """The same on the Ray cluster that RAY_ADDRESS names, or else on a local Ray of `processes` CPUs.

    A job takes one CPU and computes on one thread; gpu: and one GPU, where the cluster has any. Files must lie
    under the same paths on every machine.

    Raises InputError as `find_ray`.
    """
    ray = find_ray()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if os.environ.get("RAY_ADDRESS"):
        try:
            ray.init(**quiet)
        except ConnectionError as error:
            raise InputError(f"RAY_ADDRESS is {os.environ['RAY_ADDRESS']}: {error}") from None
    else:
        ray.init(address="local", num_cpus=processes, include_dashboard=False, **quiet)
    try:
        gpus = 1 if gpu and ray.cluster_resources().get("GPU") else 0
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_on_one_thread)
        pending = {remote.remote(function, job): at for at, job in enumerate(jobs)}
        while pending:
            ended, _ = ray.wait(list(pending))
            for reference in ended:
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayError as error:
                    result = Died(" ".join(str(error).split()))
                yield pending.pop(reference), result
    finally:
        ray.shutdown()


def find_ray() -> Any:
    """Import Ray; raises InputError where it is not installed, or nothing answers at RAY_ADDRESS."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future default; else it warns
    try:
        import ray
    except ImportError:
        raise InputError("--engine ray needs Ray: pip install 'emodo[ray]'") from None
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        try:  # Ray itself would go on trying for minutes, and then end this process
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise InputError(f"RAY_ADDRESS is {address}, where no Ray cluster answers ({error})") from None
    return ray


def _on_one_thread(function: Callable[[Any], Any], job: Any) -> Any:
    import torch

    torch.set_num_threads(1)
    return function(job)
