"""What both benchmarks share: the two contenders, timed in turn in one run."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from emodo.inference import fold
from emodo.methods import IERN
from emodo.networks import create_backbone
from emodo.records import Batch, Confounder, Task

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from transcription import FastNorm, PlainIERN


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--strata", type=int, nargs="+", default=[3, 10])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32", help="of the product")
    parser.add_argument("--plain-precision", choices=["fp32", "tf32"], default="fp32", help="of the transcription")
    return parser.parse_args()


def contenders(options: argparse.Namespace, strata: int, train: bool) -> tuple[IERN, Batch, PlainIERN, Batch]:
    """The product and the plain transcription with the same weights, each with the batch as it takes it."""
    torch.manual_seed(0)
    task = Task(tuple("abcdef"), Confounder("stratum", tuple(map(str, range(strata))), (1 / strata,) * strata))
    method = IERN()
    method.build(task, create_backbone(options.backbone, options.size, pretrained=False))
    plain = PlainIERN(method, norm=FastNorm).to(options.device).train(train)
    if train:
        method.to(options.device).train().lay_out(torch.device(options.device))
    else:
        fold(method, torch.device(options.device))
    images = torch.randn(options.batch, 3, options.size, options.size, device=options.device)
    labels = torch.arange(options.batch, device=options.device)
    batch = Batch(images, labels % 6, labels % strata, labels)
    return method, replace(batch, images=images.contiguous(memory_format=torch.channels_last)), plain, batch


def alternate(
    what: str, strata: int, product: Callable[[], object], plain: Callable[[], object], options: argparse.Namespace
) -> None:
    """Time both in turn and print medians and the ratio of the two."""
    print(
        f"{what}, {options.backbone}, {options.size} px, batch {options.batch}, N_c = {strata}, "
        f"{options.device} {options.precision}: ",
        end="",
        flush=True,
    )
    times: dict[str, list[float]] = {"product": [], "plain": []}
    for i in range(options.rounds + 2):
        for name, run in (("plain", plain), ("product", product)):
            precision = options.precision if name == "product" else options.plain_precision
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
            start = time.perf_counter()
            run()
            if options.device == "cuda":
                torch.cuda.synchronize()
            if i >= 2:  # two rounds to warm up
                times[name].append(time.perf_counter() - start)
    product_s, plain_s = (statistics.median(times[name]) for name in ("product", "plain"))
    rate = options.batch / product_s
    print(
        f"plain {plain_s * 1e3:8.1f} ms   product {product_s * 1e3:8.1f} ms ({rate:.1f} images/s)   "
        f"ratio {plain_s / product_s:.2f}",
        flush=True,
    )
