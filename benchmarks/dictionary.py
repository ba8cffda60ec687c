"""A dictionary of contexts from many images: seconds by the clock and of processor time, and peak memory.

python benchmarks/dictionary.py features     # 300,000 x 2048 generated features, streamed, 256 clusters
python benchmarks/dictionary.py images       # emodo strata --by dictionary over 20,000 generated scenes, 64 pixels
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from emodo.clusters import Streamed, cluster, prototypes
from emodo.synthetic.scenes import generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["features", "images"])
    parser.add_argument("--rows", type=int, help="of features or images")
    parser.add_argument("--width", type=int, default=2048, help="of features")
    parser.add_argument("--clusters", type=int, default=256)
    parser.add_argument("--folder", type=Path, help="where features and images are written for the time being")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.part == "features":
            features(Path(folder), options.rows or 300_000, options.width, options.clusters)
        else:
            images(Path(folder), options.rows or 20_000, options.clusters)


def features(folder: Path, rows: int, width: int, clusters: int) -> None:
    """Groups of unequal size around centers that lie close together, as pooled features do."""
    random = np.random.default_rng(0)
    centers = random.gamma(1, 0.5, (clusters, width)).astype(np.float32)
    share = random.dirichlet(np.full(clusters, 2.0))
    start = clock()
    table = Streamed(folder, width)
    for at in range(0, rows, 1000):
        own = random.choice(clusters, min(1000, rows - at), p=share)
        table.append(centers[own] + random.standard_normal((len(own), width), dtype=np.float32))
    print(f"written: {rows} x {width} in {since(start)}", flush=True)
    start = clock()
    found = cluster(table, np.ones(rows, bool), Path("features"), clusters, 50, 0)
    print(f"clustered: {since(start)}; three seeds agree by {min(found.agreement):.2f} or more", flush=True)
    start = clock()
    confounder = prototypes(table, found.names, "")
    print(f"{len(confounder.strata)} prototypes: {since(start)}")


def images(folder: Path, count: int, clusters: int) -> None:
    start = clock()
    manifest = generate(folder / "scenes", images=count, size=64, people=1)
    print(f"drawn: {count} scenes in {since(start)}", flush=True)
    words = ["--by", "dictionary", "--backbone", "small", "--size", "64", "--clusters", str(clusters)]
    start = clock(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "emodo", "strata", manifest, folder / "out.parquet", *words],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    print(f"emodo strata {' '.join(words)}: {since(start, resource.RUSAGE_CHILDREN)}")


def clock(whose: int = resource.RUSAGE_SELF) -> tuple[float, float]:
    used = resource.getrusage(whose)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def since(start: tuple[float, float], whose: int = resource.RUSAGE_SELF) -> str:
    wall, cpu = (now - then for now, then in zip(clock(whose), start, strict=True))
    peak = resource.getrusage(whose).ru_maxrss / 1e6
    return f"{wall:.0f} s ({cpu:.0f} s of processor time), peak of memory {peak:.2f} GB"


if __name__ == "__main__":
    main()
