"""`emodo train`: from a manifest to a run."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emodo import __version__, costs, runs
from emodo.files import atomic, sha256, write_text
from emodo.methods import ERM, Method
from emodo.records import InputError, Task, Training

SMALLEST = 16
MOST_PIXELS = 178_956_970  # Pillow opens nothing larger

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def train(
    manifest: str | Path | None = None,
    method: Method | None = None,
    *,
    run: str | Path | None = None,
    stratum: str | None = None,
    confounder: str | Path | None = None,
    emotions: list[str] | None = None,
    multilabel: bool = False,
    backbone: str = "resnet50",
    pretrained: bool | str | Path | None = None,
    size: int = 224,
    crop: bool = True,
    augmentation: Literal["released", "light", "none"] = "released",
    epochs: int = 160,
    warmup: int | None = None,
    constant: int | None = None,
    batch_size: int = 64,
    clip: float | None = None,
    precision: Literal["fp32", "tf32", "bf16"] = "fp32",
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    devices: int = 1,
    nodes: int = 1,
    workers: int = 0,
    seed: int = 0,
    max_pixels: int = 50_000_000,
    overwrite: bool = False,
    resume: str | Path | None = None,
) -> Path:
    """emodo train faces.parquet --method IERN --stratum source

    Train a method on the rows whose `split` is train, then predict and score the rows whose `split` is test.
    What is tested is never used to choose anything.

    Args:
        manifest: Manifest with a column `split` (see `emodo split`).
        method: ERM (default), IERN or another of `emodo.methods`; its own settings follow as --method.NAME.
        run: Folder to write, by default runs/METHOD-MANIFEST-SEED.
        stratum: Column that holds the confounder's stratum; by default `stratum`, or else `source`.
        confounder: Confounder file with a dictionary of contexts, for methods as CCIM (`emodo strata --by dictionary`
            makes one); it names its own column, which only methods that need strata look for.
        emotions: Emotions in the order of the logits; by default all of the manifest, sorted.
        multilabel: Let a row hold several emotions, though none of this manifest does; where one does, they may anyway.
        backbone: Any timm model, or `small`, a net for CPUs.
        pretrained: true downloads timm's weights, false starts at random, a path reads a state dict. By default
            true for every timm model that has weights, as the paper starts from ImageNet.
        size: Side of the input in pixels.
        crop: Crop each image to its box, where the manifest has one; false shows the whole image.
        augmentation: As in the released code, light (crop and flip only), or none.
        epochs: Length of the training; the released code of IERN has 160, the paper 80.
        warmup: Epochs of linear warm-up, by default 5 in 160.
        constant: Epochs at the full rate before the linear decay, by default 15 in 160.
        batch_size: Images in a step, in each process.
        clip: Largest norm of a phase's gradient; by default gradients are not clipped.
        precision: fp32, tf32 (GPU), or bf16 mixed precision.
        accelerator: cpu, gpu, or whichever there is.
        devices: Processes on each node.
        nodes: Number of nodes; start one process each with torchrun or SLURM.
        workers: Processes that decode images, in each training process.
        seed: Decides initial weights, order and augmentation.
        max_pixels: Larger images are refused before they are decoded.
        overwrite: Replace RUN where it exists.
        resume: Continue this run from its last whole epoch; its own configuration is used.

    Returns:
        The run folder.

    Raises:
        InputError: Whatever is wrong with the data, the folder or a setting; nothing has been written then.
    """
    if resume is not None:
        if manifest is not None or method is not None or run is not None:
            raise InputError(f"--resume {resume} takes manifest, method and settings from the run: leave them out")
        config = runs.config(Path(resume))
        if config.get("manifest") is None:
            raise InputError(f"{resume} was not trained here, and there is nothing to continue: train a new run")
        return _train(Path(resume), config, resume=True, overwrite=False)
    if manifest is None:
        raise InputError("there is nothing to train on: pass a manifest, or --resume RUN")
    manifest = Path(manifest)
    method = method or ERM()
    config = {
        "manifest": str(manifest.resolve()),
        "method": {"class_path": f"emodo.methods.{type(method).__name__}", "init_args": method.hyperparameters()},
        "stratum": stratum,
        "confounder": None if confounder is None else str(Path(confounder).resolve()),
        "emotions": emotions,
        "multilabel": multilabel,
        "backbone": backbone,
        "pretrained": str(Path(pretrained).resolve()) if isinstance(pretrained, str | Path) else pretrained,
        "size": size,
        "crop": crop,
        "augmentation": augmentation,
        "epochs": epochs,
        "warmup": warmup,
        "constant": constant,
        "batch_size": batch_size,
        "clip": clip,
        "precision": precision,
        "accelerator": accelerator,
        "devices": devices,
        "nodes": nodes,
        "workers": workers,
        "seed": seed,
        "max_pixels": max_pixels,
    }
    config = complete(config)
    run = run or Path("runs") / f"{type(method).__name__}-{manifest.stem}-{seed}"
    return _train(Path(run), config, resume=False, overwrite=overwrite)


def complete(config: dict[str, Any]) -> dict[str, Any]:
    """Fill in the settings that follow from others; raises InputError where a number is out of its range."""
    epochs = config["epochs"]
    for name, of_160 in (("warmup", 5), ("constant", 15)):
        config = config | {name: round(epochs * of_160 / 160) if config[name] is None else config[name]}
    for name in ("epochs", "batch_size", "devices", "nodes", "max_pixels"):
        if config[name] < 1:
            raise InputError(f"--{name} is {config[name]}: it must be 1 or more")
    if config["max_pixels"] > MOST_PIXELS:
        raise InputError(f"--max_pixels is {config['max_pixels']}: it can be {MOST_PIXELS} at most")
    for name in ("warmup", "constant", "workers", "seed"):
        if config[name] < 0:
            raise InputError(f"--{name} is {config[name]}: it must be 0 or more")
    if config["size"] < SMALLEST:
        raise InputError(f"--size is {config['size']}: it must be {SMALLEST} or more")
    if config["warmup"] + config["constant"] > config["epochs"]:
        raise InputError(
            f"--warmup {config['warmup']} and --constant {config['constant']} do not fit into "
            f"--epochs {config['epochs']}"
        )
    if config["stratum"] is not None and config["confounder"] is not None:
        raise InputError(
            f"--stratum {config['stratum']} and --confounder {config['confounder']} each name a confounder: give one"
        )
    if config["clip"] is not None and config["clip"] <= 0:
        raise InputError(f"--clip is {config['clip']}: it must be more than 0")
    return config


def _train(run: Path, config: dict[str, Any], resume: bool, overwrite: bool) -> Path:
    """Train by a configuration, whether new or continued."""
    if resume and (run / runs.SCORES).is_file():
        print(f"{run} is complete", file=sys.stderr)
        return run
    first = _is_first_process()
    if not resume and first:
        runs.ensure_absent(run, overwrite)
    manifest = Path(config["manifest"])
    cost = costs.measured()
    frame, task, method, cells = _prepare(config)
    provenance = _provenance(manifest, config.get("confounder"))
    if resume:
        _check_unchanged(run, task, provenance)
    elif first:
        runs.create(run, config, task, provenance, overwrite)
    if _fit(run, config, frame, task, method, cells, resume):
        _finish(run, config, frame, task, method, (lambda: cost() | {"seconds": None}) if resume else cost)
    return run


def _prepare(config: dict[str, Any]) -> tuple[pd.DataFrame, Task, Method, np.ndarray | None]:
    """Load and check everything that can be wrong before anything is written."""
    import torch

    from emodo import confounders
    from emodo import manifest as manifests
    from emodo.data import check_boxes, check_images, define_task, training_cells
    from emodo.inference import check_accelerator
    from emodo.networks import create_backbone

    path = Path(config["manifest"])
    method = runs.create_method(config)
    frame = manifests.load(path, tuple(config["emotions"]) if config["emotions"] else None)
    confounder = confounders.load(Path(config["confounder"])) if config.get("confounder") else None
    task = define_task(
        frame,
        path,
        config["stratum"],
        config["emotions"],
        method.needs_strata,
        confounder,
        config.get("multilabel", False),
    )
    method.check_task(task)
    split = frame.loc[:, "split"]
    train = frame.loc[split == "train"]
    if "test" not in set(split):
        raise InputError(f"{path} has no row whose split is `test`: split the data otherwise")
    cells = training_cells(train, task, path, type(method).__name__) if method.needs_cells else None
    check_accelerator(config["accelerator"], config["devices"])
    if len(train) < config["devices"] * config["nodes"]:
        raise InputError(f"{path} has {len(train)} training rows, fewer than --devices times --nodes: use fewer")
    check_images(frame, path, config["max_pixels"])
    if method.views:
        check_boxes(frame, path, type(method).__name__)
    if config["epochs"] < len(method.stages):
        raise InputError(
            f"--epochs is {config['epochs']}: {type(method).__name__} trains in {len(method.stages)} stages, and each "
            "takes one at least"
        )
    torch.manual_seed(config["seed"])
    pretrained = config["pretrained"]
    backbone = create_backbone(
        config["backbone"], config["size"], Path(pretrained) if isinstance(pretrained, str) else pretrained
    )
    method.build(task, backbone)
    return frame, task, method, cells


def _fit(
    run: Path,
    config: dict[str, Any],
    frame: pd.DataFrame,
    task: Task,
    method: Method,
    cells: np.ndarray | None,
    resume: bool,
) -> bool:
    import numpy as np
    import torch

    from emodo import engine, sampling
    from emodo.data import Images, labels, loader

    train = frame.loc[frame["split"] == "train"]
    seed, batch_size, workers = config["seed"], config["batch_size"], config["workers"]

    def images(epoch: int | None) -> Images:
        return Images(
            train,
            task,
            config["size"],
            config["augmentation"],
            seed,
            epoch,
            config["max_pixels"],
            method.views,
            config.get("crop", True),
        )

    def batches(epoch: int, rank: int, ranks: int) -> Any:
        if cells is not None and method.sampling == "balanced":
            order = sampling.balanced(cells, seed, epoch)
        else:
            order = sampling.shuffled(len(train), seed, epoch)
        return loader(images(epoch), batch_size, sampling.shard(order, batch_size, rank, ranks), workers)

    emotion, stratum = (torch.from_numpy(np.array(found)) for found in labels(train, task))
    rows = torch.from_numpy(train.index.to_numpy(copy=True))
    training = Training(emotion, stratum, rows, lambda: iter(loader(images(None), batch_size, workers=workers)))
    plan = engine.Plan(**{name: config[name] for name in engine.Plan.__dataclass_fields__})
    return engine.fit(run, method, batches, training, plan, resume)


def _finish(
    run: Path,
    config: dict[str, Any],
    frame: pd.DataFrame,
    task: Task,
    method: Method,
    cost: Callable[[], dict[str, float | None]],
) -> None:
    """Write the weights, the test predictions, what it cost, then the scores, which mark the run as complete."""
    from safetensors.torch import save_model

    from emodo import metrics
    from emodo.inference import predict

    method.cpu()
    with atomic(run / runs.WEIGHTS) as temporary:
        save_model(method, str(temporary))
    test = frame.loc[frame["split"] == "test"]
    table = predict(
        method,
        task,
        test,
        config["size"],
        config["batch_size"],
        config["workers"],
        config["accelerator"],
        config["max_pixels"],
        config.get("crop", True),
    )
    with atomic(run / runs.PREDICTIONS) as temporary:
        table.to_parquet(temporary)
    write_text(run / runs.COST, json.dumps(cost()) + "\n")
    write_text(run / runs.SCORES, json.dumps(metrics.score(table, task), indent=2) + "\n")


def _provenance(manifest: Path, confounder: str | None) -> dict[str, str]:
    import torch

    found = {
        "emodo": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "manifest_sha256": sha256(manifest),
    }
    if confounder is not None:
        found["confounder_sha256"] = sha256(Path(confounder))
    return found


def _check_unchanged(run: Path, task: Task, provenance: dict[str, str]) -> None:
    """Refuse to continue on other data: the result would be neither the old run's nor a new one's."""
    begun = runs.provenance(run)
    if begun.get("confounder_sha256") != provenance.get("confounder_sha256"):
        raise InputError(
            f"the confounder file of {run} has changed since this run began, so it cannot be resumed: restore it, "
            "or train anew"
        )
    if task != runs.task(run) or begun.get("manifest_sha256") != provenance["manifest_sha256"]:
        raise InputError(
            f"the manifest of {run} has changed since this run began, so it cannot be resumed: restore it, "
            "or train anew"
        )


def _is_first_process() -> bool:
    """Whether this is rank 0: torchrun, SLURM and Lightning's own launcher name the rank in the environment."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID"))
