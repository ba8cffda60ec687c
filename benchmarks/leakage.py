"""Images hashed a second on one core, and the search for near duplicates: python benchmarks/leakage.py [HASHES]

Small images are photograph-like noise of 64 pixels, as JPEG and PNG. CPU seconds beside wall seconds: on a busy
machine the former say what one core does.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from emodo.leakage import nearest, perceptual_hashes

IMAGES, NEAR = 20_000, 16


def timed(what: str, count: int, unit: str, run: Callable[[], object]) -> None:
    start = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    rate = f", {count / cpu:.0f} {unit} a CPU second" if unit else ""
    print(f"{what}: {wall:.1f} s, {cpu:.1f} CPU s{rate}", flush=True)


def draw(folder: Path, suffix: str) -> pd.DataFrame:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (IMAGES, 8, 8, 3), np.uint8)
    files = [str(folder / f"{at}.{suffix}") for at in range(IMAGES)]
    for file, pixels in zip(files, coarse, strict=True):
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(file)
    return pd.DataFrame({"path": files, "file": files})


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("jpg", "png"):
            frame = draw(Path(folder), suffix)
            for used in (cores[:1], cores):
                os.sched_setaffinity(0, used)
                timed(
                    f"{IMAGES} {suffix} of 64 pixels hashed, {len(used)} core(s)",
                    IMAGES,
                    "images",
                    lambda frame=frame: perceptual_hashes(frame, Path("benchmark")),
                )
    random = np.random.default_rng(0)
    hashed = random.integers(0, 2**64, (count, 4), np.uint64)
    number, test = np.arange(count), np.arange(count) < count // 5
    for used in (cores[:1], cores):
        os.sched_setaffinity(0, used)
        of = f"on {len(used)} core(s)"
        timed(
            f"{count // 5} test hashes against {count - count // 5} {of}",
            1,
            "",
            lambda: nearest(hashed[test], hashed[~test], NEAR, test[test], test[~test]),
        )
        timed(f"{count} hashes against one another {of}", 1, "", lambda: nearest(hashed, hashed, NEAR, number, number))


if __name__ == "__main__":
    main()
