"""Images a second of `emodo predict` from files to a folder of parts, and what of it decoding and the network take.

python benchmarks/predict_images.py                                  # ERM and IERN, small and resnet18, 96 pixels
python benchmarks/predict_images.py --backbones resnet50 --size 224
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_model

from emodo import runs
from emodo.data import collate_found
from emodo.methods import ERM, IERN
from emodo.networks import create_backbone
from emodo.prediction import load, predict
from emodo.records import Confounder, Task
from emodo.synthetic.faces import EMOTIONS, generate

STRATA = ("blue", "dim", "gray")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["small", "resnet18"])
    parser.add_argument("--methods", nargs="+", choices=["ERM", "IERN"], default=["ERM", "IERN"])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--subjects", type=int, default=40, help="54 images of each")
    parser.add_argument("--workers", type=int, nargs="+", default=[None], help="by default the command's own")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        generate(folder / "faces", subjects=options.subjects, size=options.size)
        files = sorted(str(file) for file in (folder / "faces").rglob("*.png"))
        for name, backbone in itertools.product(options.methods, options.backbones):
            run = untrained(folder / f"{name} {backbone}", name, backbone, options.size)
            alone(run, files, options.precision)
            for workers in options.workers:
                out = folder / f"{run.name} {workers}"
                start = clock()
                predict(run, files, out, workers=workers, part=1000, precision=options.precision)
                wall, cpu = since(start)
                print(
                    f"{run.name}, {options.size} px, {options.precision}, --workers {workers}: {len(files)} images, "
                    f"{len(files) / wall:.0f} images/s, {len(files) / cpu:.0f} a second of processor time",
                    flush=True,
                )


def untrained(run: Path, name: str, backbone: str, size: int) -> Path:
    """The folder of a run whose weights are random: as fast as any."""
    torch.manual_seed(0)
    method = {"ERM": ERM, "IERN": IERN}[name]()
    task = Task(EMOTIONS, Confounder("source", STRATA, (1 / 3,) * 3))
    method.build(task, create_backbone(backbone, size, pretrained=False))
    settings = {"backbone": backbone, "size": size, "max_pixels": 50_000_000}
    settings["method"] = {"class_path": f"emodo.methods.{name}", "init_args": method.hyperparameters()}
    runs.create(run, settings, task, {})
    save_model(method, str(run / runs.WEIGHTS))
    return run


def alone(run: Path, files: list[str], precision: str) -> None:
    """Decoding alone, in this process, and the network alone, of the first images."""
    predictor = load(run, precision=precision)
    files = files[:256]
    start = clock()
    items = [predictor.images[file, None] for file in files]
    print(f"{run.name}: decoding alone {len(files) / since(start)[1]:.0f} images a second of processor time; ", end="")
    batches = [collate_found(items[at : at + 64])[0] for at in range(0, len(items), 64)]
    predictor.logits(batches[0])
    start = clock()
    for batch in batches:
        predictor.logits(batch)
    print(f"the network alone {len(files) / since(start)[1]:.0f}", flush=True)


def clock() -> tuple[float, float]:
    used = os.times()
    return time.perf_counter(), used.user + used.system + used.children_user + used.children_system


def since(start: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = (now - then for now, then in zip(clock(), start, strict=True))
    return wall, cpu


if __name__ == "__main__":
    sys.exit(main())
