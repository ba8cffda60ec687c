"""What a run costs: seconds, and the most memory that it held at once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PEAK = "5"  # what resets the peak of resident memory, proc(5)


def measured() -> Callable[[], dict[str, float | None]]:
    """Begin to measure; what is returned tells {seconds, memory, gpu_memory}, in bytes, from then on.

    memory: the peak of this process's resident memory; that of processes which decode images is not in it. On Linux it
    counts from here, so that a process which trains one method after another tells each one's own; elsewhere from the
    start of the process. gpu_memory: the peak of what tensors held on this process's GPU, None where it used none.
    """
    import torch

    started = time.monotonic()
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    try:
        CLEAR.write_text(PEAK)
        of_process = False
    except OSError:
        of_process = True

    def told() -> dict[str, float | None]:
        return {
            "seconds": time.monotonic() - started,
            "memory": _of_process() if of_process else _peak(),
            "gpu_memory": torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None,
        }

    return told


def _peak() -> int:
    [line] = [line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(line.split()[1])


def _of_process() -> int:
    """The peak since the process began: kilobytes on Linux, bytes on macOS."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
