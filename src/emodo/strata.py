"""`emodo strata`: strata for confounders that nobody named, as a column for any method."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from emodo.records import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import Tensor

    from emodo.clusters import Clusters
    from emodo.networks import Backbone

Seen = Literal["person", "whole", "context"]
DICTIONARY = 256  # clusters of a dictionary (CCIM on EMOTIC and GroupWalk; 128 on CAER-S)


def strata(
    manifest: Path,
    out: Path,
    by: Literal["clusters", "errors", "dictionary"] = "clusters",
    run: Path | None = None,
    clusters: int | None = None,
    rule: Literal["jtt", "eiil"] = "jtt",
    view: Seen | None = None,
    backbone: str = "resnet50",
    pretrained: bool | str | Path | None = None,
    size: int = 224,
    components: int = 50,
    emotions: list[str] | None = None,
    batch_size: int = 64,
    workers: int = 0,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    seed: int = 0,
    max_pixels: int = 50_000_000,
    overwrite: bool = False,
) -> Path:
    """emodo strata fold1.parquet strata.parquet --by clusters

    Find strata where none are named, and write them as the manifest's column stratum. They are found on the training
    rows alone, where the manifest has a split. Prints the training rows of each stratum and emotion, P(d), and how
    stable the clusters are over three seeds.

    Args:
        manifest: The manifest to look at.
        out: The manifest to write (.parquet, .csv or .tsv); of a dictionary also OUT.safetensors, a confounder file.
        by: clusters (of the images' style, by a backbone's features), errors (of a reference run on its training
            rows; other rows get no stratum), or dictionary (CCIM's contexts, the person masked where there is a box).
        run: A finished run whose backbone is used; of IERN and Disentanglement the context features. For errors, the
            reference: an ERM run that still makes mistakes in training, so one of few epochs.
        clusters: Number of clusters; by default the one of 2 to 10 with the largest silhouette, and 256 for a
            dictionary.
        rule: Of errors: jtt (right and wrong), or eiil (the two environments in which the reference's confidence
            differs most).
        view: What is looked at: the person (its box), the whole image, or the context (the person masked). By default
            the person for clusters and the context for a dictionary.
        backbone: Any timm model, or `small`, where there is no run.
        pretrained: true downloads timm's weights, false starts at random, a path reads a state dict. By default
            true for every timm model that has weights.
        size: Side of the input in pixels; with a run, the run's.
        components: Principal components in which is clustered, at most; CCIM does not say how many it took.
        emotions: Emotions that the manifest may hold, in place of the known ones and a run's. Of errors, the run's.
        batch_size: Images at a time.
        workers: Processes that decode images.
        accelerator: cpu, gpu, or whichever there is.
        seed: Decides the clusters, and the weights of a backbone that starts at random.
        max_pixels: Larger images are refused before they are decoded.
        overwrite: Replace OUT where it exists.

    Returns:
        OUT.

    Raises:
        InputError: The manifest, the run or a setting does not fit, there are fewer images than clusters, or the
            reference makes no mistake; nothing has been written then.
    """
    import numpy as np

    from emodo import confounders, runs
    from emodo import manifest as manifests
    from emodo.clusters import check_number, cluster, prototypes
    from emodo.inference import check_accelerator

    _check_settings(
        by,
        run,
        clusters=2 if clusters is None else clusters,
        size=size,
        components=components,
        batch_size=batch_size,
        workers=workers,
        seed=seed,
        max_pixels=max_pixels,
    )
    check_accelerator(accelerator)
    manifests.check_target(out, overwrite)
    dictionary = out.with_suffix(".safetensors")
    if by == "dictionary" and dictionary.exists() and not overwrite:
        raise InputError(f"{dictionary} exists already: choose another OUT, or replace it with --overwrite")
    own = runs.task(run).emotions if run else ()
    known = own if by == "errors" else tuple(emotions or sorted({*own, *manifests.EMOTIONS}))
    frame = manifests.load(manifest, known)
    train = (frame["split"] == "train").to_numpy() if "split" in frame else np.ones(len(frame), bool)
    if not train.any():
        raise InputError(f"{manifest} has no row whose split is `train`, on which the strata are found")
    if run:
        config = runs.config(run)
        size, max_pixels = config["size"], config["max_pixels"]
    reading = _Reading(manifest, size, max_pixels, batch_size, workers, accelerator)

    confounder = None
    if by == "errors":
        assert run is not None
        names = np.full(len(frame), None, object)
        names[train] = _by_errors(frame.loc[train], reading, run, rule)
    else:
        wanted = DICTIONARY if by == "dictionary" and clusters is None else clusters
        check_number(manifest, int(train.sum()), wanted)  # before an hour of reading images
        features = _features(frame, train, reading, by, run, view, backbone, pretrained, seed)
        found = cluster(features, train, manifest, wanted, components, seed)
        print(_how_sure(found))
        names = found.names
        if by == "dictionary":
            how = f"{train.sum()} images, {run or backbone}, k-means++ in {found.components} principal components"
            confounder = prototypes(features[train], names[train], how)
    print(_coverage(frame.loc[train], names[train]))

    if "stratum" in frame:
        print(f"{out}: the column stratum of {manifest} is replaced", file=sys.stderr)
    if confounder is not None:
        confounders.save(confounder, dictionary)
        print(f"{dictionary}: {len(confounder.strata)} prototypes", file=sys.stderr)
    manifests.save(frame.assign(stratum=names), out)
    return out


@dataclass(frozen=True)
class _Reading:
    """Which images are read, and how."""

    manifest: Path
    size: int
    max_pixels: int
    batch_size: int
    workers: int
    accelerator: str


def _check_settings(by: str, run: Path | None, **values: int) -> None:
    for name, value in values.items():
        least = {"clusters": 2, "size": 16, "workers": 0, "seed": 0}.get(name, 1)
        if value < least:
            raise InputError(f"--{name} is {value}: it must be {least} or more")
    if by == "errors" and run is None:
        raise InputError("--by errors needs a reference: name an ERM run of few epochs with --run")


# ------------------------------------------------------------------------------------------- features


def _features(
    frame: pd.DataFrame,
    train: np.ndarray,
    reading: _Reading,
    by: str,
    run: Path | None,
    view: Seen | None,
    backbone: str,
    pretrained: bool | str | Path | None,
    seed: int,
) -> np.ndarray:
    """What stands for each row, [N, D] float32.

    At N = 20 000 and D = 2048 the table takes 160 MB, and its principal components need as much again.
    """
    import torch

    from emodo import runs
    from emodo.clusters import standardised
    from emodo.data import check_images
    from emodo.inference import device_of
    from emodo.methods import IERN, Disentanglement
    from emodo.networks import Backbone, create_backbone

    if run is None:
        torch.manual_seed(seed)
        net = create_backbone(backbone, reading.size, Path(pretrained) if isinstance(pretrained, str) else pretrained)
    else:
        net = runs.load_method(run)
    extractor = next(part for part in net.modules() if isinstance(part, Backbone))
    net.to(device_of(reading.accelerator)).eval()
    check_images(frame, reading.manifest, reading.max_pixels)

    def describe(images: Tensor) -> list[Tensor]:
        if by == "dictionary":
            return [extractor(images).mean(dim=(2, 3))]
        if isinstance(net, IERN | Disentanglement):
            return [_statistics(net.context_generator(net.backbone(images)))]
        return [_statistics(maps) for maps in _first_and_last(extractor, images)]

    blocks = _described(frame, reading, view or ("context" if by == "dictionary" else "person"), describe)
    return blocks[0] if by == "dictionary" else standardised(blocks, train)


def _first_and_last(extractor: Backbone, images: Tensor) -> list[Tensor]:
    """The maps of the first convolution, and the last: [B, C, h, w] each.

    The first answers to colour, contrast and sharpness, in which data sets differ, even where its weights are random;
    the last to what is shown. Every backbone has both, a vision transformer's first being its patches.
    """
    from torch import nn

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
    import torch

    return torch.cat([maps.mean(dim=(2, 3)), maps.std(dim=(2, 3), correction=0)], dim=1)


def _described(
    frame: pd.DataFrame, reading: _Reading, view: Seen, describe: Callable[[Tensor], list[Tensor]]
) -> list[np.ndarray]:
    """Blocks of features, [N, D] float32 each; describe: images [B, 3, S, S] -> blocks of [B, D]."""
    import numpy as np
    import torch
    from rich.console import Console
    from rich.progress import track

    from emodo.data import Images, loader, to_device
    from emodo.inference import device_of
    from emodo.records import Task

    images = Images(
        _masked(frame, reading.manifest) if view == "context" else frame,
        Task(()),
        reading.size,
        max_pixels=reading.max_pixels,
        views=("context",) if view == "context" else (),
        crop=view == "person",
    )
    batches = loader(images, reading.batch_size, workers=reading.workers)
    device, blocks, at = device_of(reading.accelerator), list[np.ndarray](), 0
    console = Console(stderr=True)
    with torch.inference_mode():
        for read in track(batches, "features", console=console, disable=not sys.stderr.isatty()):
            batch = to_device(read, device)
            seen = batch.images if batch.context is None else batch.context
            described = [block.float().cpu().numpy() for block in describe(seen)]
            if not blocks:
                blocks = [np.empty((len(frame), block.shape[1]), np.float32) for block in described]
            for block, rows in zip(blocks, described, strict=True):
                block[at : at + len(batch)] = rows
            at += len(batch)
    return blocks


def _masked(frame: pd.DataFrame, name: Path) -> pd.DataFrame:
    """The rows with an empty box where they have none: nothing is masked there, and the whole image is context."""
    import numpy as np

    corners = ["x1", "y1", "x2", "y2"]
    boxes = frame.reindex(columns=corners).to_numpy(float, copy=True)
    without = np.isnan(boxes).any(axis=1)
    if without.any():
        print(f"{name}: {without.sum()} of {len(frame)} rows have no box, and nothing is masked there", file=sys.stderr)
    boxes[without] = 0
    return frame.assign(**dict(zip(corners, boxes.T, strict=True)))


# --------------------------------------------------------------------------------------------- errors


def _by_errors(rows: pd.DataFrame, reading: _Reading, run: Path, rule: str) -> np.ndarray:
    """Name the stratum of each of the training rows, [N], by how the reference run does on it."""
    import numpy as np

    from emodo import runs
    from emodo.clusters import environments
    from emodo.data import check_boxes, check_images, labels
    from emodo.inference import predict
    from emodo.multilabel import check_single

    task, method = runs.task(run), runs.load_method(run)
    if task.multilabel:
        raise InputError(f"--by errors needs a reference that is right or wrong, and {run} recognises several emotions")
    check_single(rows, reading.manifest, f"{run} recognises one a row")
    check_images(rows, reading.manifest, reading.max_pixels)
    if method.views:
        check_boxes(rows, reading.manifest, type(method).__name__)
    table = predict(
        method,
        task,
        rows,
        reading.size,
        reading.batch_size,
        reading.workers,
        reading.accelerator,
        reading.max_pixels,
        runs.config(run).get("crop", True),
    )
    if rule == "jtt":
        apart, usual, odd = (table["emotion"] != table["predicted"]).to_numpy(bool), "right", "wrong"
    else:
        logits = table[[f"logit:{emotion}" for emotion in task.emotions]].to_numpy(float)
        apart, usual, odd = environments(logits, labels(rows, task)[0]), "environment1", "environment2"
    if apart.all() or not apart.any():
        raise InputError(
            f"{reading.manifest}: all {len(rows)} training images are {odd if apart.all() else usual!r} to {run}, and "
            "there is nothing to tell apart: take a run of other length; one of few epochs has not yet learned its "
            "training images by heart"
        )
    return np.where(apart, odd, usual).astype(object)


# --------------------------------------------------------------------------------- what is printed


def _how_sure(found: Clusters) -> str:
    """The silhouettes that chose the number of clusters, and the agreement of several seeds."""
    scores = found.silhouettes
    best = max(scores, key=lambda count: scores[count], default=0)
    lines = [f"{count:8}  {score:10.3f}{'  <-' * (count == best)}" for count, score in scores.items()]
    return "\n".join(
        [
            *(["clusters  silhouette", *lines, ""] if scores else []),
            f"{found.components} principal components hold {found.kept:.0%} of the variance",
            f"stability over three seeds: adjusted Rand index {sum(found.agreement) / len(found.agreement):.2f}, "
            f"at least {min(found.agreement):.2f}",
            "",
        ]
    )


def _coverage(frame: pd.DataFrame, names: np.ndarray) -> str:
    """The rows of each stratum and emotion, P(d), the empty cells, and which known columns the strata agree with."""
    import pandas as pd
    from sklearn.metrics import adjusted_rand_score

    from emodo.multilabel import apart, several

    stratum, emotion = pd.Series(names, frame.index, dtype="str"), frame.loc[:, "emotion"]
    each = apart(emotion)  # a row counts in each of its emotions
    counts = pd.crosstab(stratum.loc[each.index].to_numpy(), each.to_numpy())
    rows = stratum.value_counts().reindex(counts.index)
    table = counts.assign(rows=rows, **{"P(d)": (rows / rows.sum()).map("{:.3f}".format)})
    empty = int((counts == 0).to_numpy().sum())
    same = [
        f"{column} {adjusted_rand_score(frame[column].astype(str).to_numpy(), names.astype(str)):.2f}"
        for column in ("emotion", "source", "subject")
        if column in frame and not (column == "emotion" and several(emotion).any())
    ]
    return "\n".join(
        [
            table.rename_axis(index=None, columns=None).to_string(),
            "",
            f"{empty} of {counts.size} cells (stratum x emotion) are empty",
            f"adjusted Rand index with known columns: {', '.join(same) or 'there are none'}",
        ]
    )
