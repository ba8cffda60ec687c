"""An exported run in onnxruntime against the product's own prediction on a CPU, taking turns.

python benchmarks/exported.py RUN FILE.onnx [FILE.onnx ...]     # --batch 1 8 --threads 2
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from emodo import runs
from emodo.records import Batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size, method = runs.config(options.run)["size"], runs.load_method(options.run)
    method.fold()
    method.to(memory_format=torch.channels_last)
    none = torch.empty(0)

    def product(images: np.ndarray) -> None:
        seen = torch.from_numpy(images).mul(2).sub(1).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            method.predict(Batch(seen, none, none, none))

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    contenders = {"product": product}
    for file in options.files:
        session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
        contenders[file.name] = lambda images, s=session: s.run(None, {"images": images})
    for batch in options.batch:
        images = np.random.default_rng(0).random((batch, 3, size, size), dtype=np.float32)
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for i in range(options.rounds + 2):
            for name, predict in contenders.items():
                start = time.perf_counter()
                predict(images)
                if i >= 2:  # two rounds to warm up
                    times[name].append(time.perf_counter() - start)
        medians = {name: statistics.median(found) for name, found in times.items()}
        told = ", ".join(
            f"{name} {1e3 * median:.0f} ms (ratio {medians['product'] / median:.2f})"
            for name, median in medians.items()
        )
        print(f"batch {batch}, {options.threads} threads, median of {options.rounds}: {told}", flush=True)


if __name__ == "__main__":
    main()
