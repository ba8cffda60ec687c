"""Images hashed a second, and the search for near duplicates: python benchmarks/leakage.py

CPU seconds stand beside wall seconds: on a busy machine the former say what one core does.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from emodo.leakage import leaks, nearest, perceptual_hashes

HASHES, NEAR = 100_000, 16


def timed(what: str, run: Callable[[], object], images: int = 0) -> None:
    start = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    rate = f", {images / cpu:.0f} a CPU second" if images else ""
    print(f"{what}, {len(os.sched_getaffinity(0))} core(s): {wall:.1f} s, {cpu:.1f} CPU s{rate}", flush=True)


def draw(folder: Path, count: int, size: int, suffix: str) -> pd.DataFrame:
    """Noise of 16 x 16 fields, enlarged: files of 2 to 7 KB at 64 pixels."""
    random = np.random.default_rng(0)
    files = [str(folder / f"{at}.{suffix}") for at in range(count)]
    for file in files:
        coarse = Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8))
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(file)
    return pd.DataFrame({"path": files, "file": files, "split": np.resize(["test", *["train"] * 4], count)})


def main() -> None:
    every = sorted(os.sched_getaffinity(0))
    for count, size, suffix in ((20_000, 64, "jpg"), (20_000, 64, "png"), (1_000, 1024, "jpg")):
        with tempfile.TemporaryDirectory() as folder:
            frame = draw(Path(folder), count, size, suffix)
            for cores in (every[:1], every):
                os.sched_setaffinity(0, cores)
                hashed = f"{count} {suffix} of {size} pixels hashed"
                timed(hashed, lambda frame=frame: perceptual_hashes(frame, Path("benchmark")), count)
            compared = f"sequences and files of {count} {suffix} of {size} pixels compared"
            timed(compared, lambda frame=frame: leaks(frame, Path("benchmark")), count)
    hashes = np.random.default_rng(0).integers(0, 2**64, (HASHES, 4), np.uint64)
    number = np.arange(HASHES)
    test = number < HASHES // 5
    for cores in (every[:1], every):
        os.sched_setaffinity(0, cores)
        timed(
            f"{test.sum()} hashes of test against {(~test).sum()}",
            lambda: nearest(hashes[test], hashes[~test], NEAR, test[test], test[~test]),
        )
        timed(f"{HASHES} hashes against one another", lambda: nearest(hashes, hashes, NEAR, number, number))


if __name__ == "__main__":
    main()
