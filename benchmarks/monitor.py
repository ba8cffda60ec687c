"""Rows a second and memory of `emodo monitor` on a million predictions: python benchmarks/monitor.py"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from emodo.monitor import monitor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from monitored import predicted, rows, run

PART, PARTS, DAYS = 10_000, 20, 5


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = run(folder / "run", rows(0, 2000))
        part = rows(1, PART)
        for day in range(DAYS):
            predicted(folder / "days" / f"day{day}", pd.concat([part] * PARTS, ignore_index=True), PARTS)
        for cluster in ("image", "folder"):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            start = time.perf_counter(), time.process_time()
            monitor(trained, [str(folder / "days")], cluster=cluster)  # pyright: ignore[reportArgumentType]
            wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            images = PART * PARTS * DAYS
            print(
                f"--cluster {cluster}: {images:,} rows, {wall:.1f} s, {cpu:.1f} CPU s, {images / cpu:,.0f} rows a CPU "
                f"second; at most {after:.0f} MB held, {before:.0f} MB before",
                file=sys.stderr,
            )


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
