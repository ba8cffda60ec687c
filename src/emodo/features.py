"""From images to what stands for them: features of a backbone, or of a run's context, a row an image."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from emodo import clusters, runs, weights
from emodo.clusters import Streamed, Table
from emodo.data import Images, check_images, loader, to_device
from emodo.inference import device_of
from emodo.methods import IERN, Disentanglement
from emodo.networks import Backbone, create_backbone
from emodo.records import InputError, Reading, Task

if TYPE_CHECKING:
    import pandas as pd


Seen = Literal["person", "whole", "context"]


def describe(
    frame: pd.DataFrame,
    train: np.ndarray,
    reading: Reading,
    what: Literal["style", "content"],
    view: Seen,
    folder: Path,
    run: Path | None = None,
    backbone: str = "resnet50",
    pretrained: bool | str | Path | None = None,
    seed: int = 0,
) -> tuple[Table, str]:
    """What stands for each row, [N, D] float32, and the sha256 of the weights of the backbone that says so.

    style: mean and standard deviation over the grid of a backbone's first and last maps, or of a run's context
    features, in columns of unit variance in training. content: the mean of the last maps alone, as it is.

    frame: a manifest as loaded. train: [N] bool. folder: where a table of more than `clusters.IN_MEMORY` rows is
    streamed to. run, backbone, pretrained, seed: as in `emodo strata`.

    Raises InputError for an image that cannot be read, a backbone or run that there is not, or too full a disk.
    """
    if run is None:
        torch.manual_seed(seed)
        net = create_backbone(backbone, reading.size, Path(pretrained) if isinstance(pretrained, str) else pretrained)
    else:
        net = runs.load_method(run)
    extractor = next(part for part in net.modules() if isinstance(part, Backbone))
    net.to(device_of(reading.accelerator)).eval()
    check_images(frame, reading.manifest, reading.max_pixels)

    def blocks(images: Tensor) -> list[Tensor]:
        if what == "content":
            return [extractor(images).mean(dim=(2, 3))]
        if isinstance(net, IERN | Disentanglement):
            return [_statistics(net.context_generator(net.backbone(images)))]
        return [_statistics(maps) for maps in _first_and_last(extractor, images)]

    table, widths = described(frame, reading, view, blocks, folder)
    if what == "style":
        if isinstance(table, Streamed):
            clusters.standardise(table, widths, train)
        else:
            table = clusters.standardised(np.split(table, np.cumsum(widths)[:-1], axis=1), train)
    return table, weights.fingerprint(extractor)


def _first_and_last(extractor: Backbone, images: Tensor) -> list[Tensor]:
    """The maps of the first convolution, and the last: [B, C, h, w] each.

    The first answers to colour, contrast and sharpness, in which data sets differ, even where its weights are random;
    the last to what is shown. Every backbone has both, a vision transformer's first being its patches.
    """
    maps: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        maps.append(output)

    first = next((part for part in extractor.modules() if isinstance(part, nn.Conv2d)), None)
    hook = first.register_forward_hook(keep) if first else None
    last = extractor(images)
    if hook:
        hook.remove()
    return [*maps, last]


def _statistics(maps: Tensor) -> Tensor:
    """[B, C, h, w] -> mean and standard deviation over the grid, [B, 2C]: what a style changes."""
    return torch.cat([maps.mean(dim=(2, 3)), maps.std(dim=(2, 3), correction=0)], dim=1)


def described(
    frame: pd.DataFrame, reading: Reading, view: Seen, blocks: Callable[[Tensor], list[Tensor]], folder: Path
) -> tuple[Table, list[int]]:
    """Blocks of features side by side, [N, D] float32, and the width of each.

    view: the person (its box), the whole image, or the context (the person masked; where there is no box, all of it).
    blocks: images [B, 3, S, S] -> blocks of [B, D_i]. folder: as in `describe`.
    """
    from rich.console import Console
    from rich.progress import track

    images = Images(
        _masked(frame, reading.manifest) if view == "context" else frame,
        Task(()),
        reading.size,
        max_pixels=reading.max_pixels,
        views=("context",) if view == "context" else (),
        crop=view == "person",
    )
    batches = loader(images, reading.batch_size, workers=reading.workers)
    device, console = device_of(reading.accelerator), Console(stderr=True)
    table, widths, at = None, list[int](), 0
    with torch.inference_mode():
        for read in track(batches, "features", console=console, disable=not sys.stderr.isatty()):
            batch = to_device(read, device)
            found = blocks(batch.images if batch.context is None else batch.context)
            rows = torch.cat(found, dim=1).float().cpu().numpy()  # [B, D]
            if table is None:
                widths = [block.shape[1] for block in found]
                table = _empty(len(frame), rows.shape[1], folder)
            if isinstance(table, Streamed):
                table.append(rows)
            else:
                table[at : at + len(rows)] = rows
            at += len(rows)
    assert table is not None
    return table, widths


def _empty(rows: int, width: int, folder: Path) -> Table:
    """A table to fill: in memory, or in a file where it has many rows."""
    if rows <= clusters.IN_MEMORY:
        return np.empty((rows, width), np.float32)
    folder = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
    need, free = 4 * rows * width, shutil.disk_usage(folder).free
    if free < need:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB left, and the features of {rows} images take {need / 1e9:.1f} GB while "
            "strata are looked for: write OUT to another disk"
        )
    return Streamed(folder, width)


def _masked(frame: pd.DataFrame, name: Path) -> pd.DataFrame:
    """The rows with an empty box where they have none: nothing is masked there, and the whole image is context."""
    corners = ["x1", "y1", "x2", "y2"]
    boxes = frame.reindex(columns=corners).to_numpy(float, copy=True)
    without = np.isnan(boxes).any(axis=1)
    if without.any():
        print(f"{name}: {without.sum()} of {len(frame)} rows have no box, and nothing is masked there", file=sys.stderr)
    boxes[without] = 0
    return frame.assign(**dict(zip(corners, boxes.T, strict=True)))
