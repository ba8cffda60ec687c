"""The training engine, and the only file that imports Lightning.

A method yields (optimizer name, losses); one loop, in `_Loop.training_step`, steps whichever optimizer is named.
Known prices of the Trainer, all paid here: several phases need `find_unused_parameters`; `global_step` counts
optimizer steps, so everything goes by epochs; clipping and the learning rate are the loop's own.
"""

from __future__ import annotations

import csv
import io
import logging
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor
from torch.utils.data import DataLoader

from emodo import runs
from emodo.data import to_device
from emodo.files import atomic, write_text
from emodo.inference import device_of
from emodo.methods import Method
from emodo.records import Batch, InputError, Training

Precision = Literal["fp32", "tf32", "bf16"]
MARK = "emodo_checkpoint"  # how a checkpoint of ours is told from another


@dataclass(frozen=True)
class Plan:
    """How long, how fast and where to train; the words are those of `emodo train`."""

    epochs: int
    warmup: int
    constant: int
    seed: int
    clip: float | None
    precision: Precision
    accelerator: str
    devices: int
    nodes: int


def fit(
    run: Path,
    method: Method,
    batches: Callable[[int, int, int], DataLoader[Any]],
    training: Training,
    plan: Plan,
    resume: bool,
) -> bool:
    """Train `method` in the run folder `run`, from its last checkpoint where `resume` is set.

    batches: (epoch, rank, ranks) -> loader of that epoch. training: what `Method.begin` is shown. Writes a
    checkpoint and metrics.csv after every epoch.
    Returns whether this process is the one that writes what follows (rank 0).

    Raises InputError for a checkpoint that emodo did not write, or a batch that cannot be read.
    """
    checkpoint = run / runs.CHECKPOINT
    if resume and checkpoint.is_file():
        check_checkpoint(checkpoint)
    parallel = plan.devices * plan.nodes > 1
    if plan.precision == "tf32":
        torch.set_float32_matmul_precision("high")
    method.lay_out(device_of(plan.accelerator))
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # advice that is followed elsewhere: workers are the user's choice, and the log goes by epochs
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*logging interval.*")
        warnings.filterwarnings("ignore", ".*find_unused_parameters=True was specified.*")
        warnings.filterwarnings("ignore", ".*treespec.*")
        progress = [RichProgressBar(console_kwargs={"stderr": True})] if sys.stderr.isatty() else []
        trainer = pl.Trainer(
            accelerator=plan.accelerator,
            devices=plan.devices,
            num_nodes=plan.nodes,
            strategy="ddp_find_unused_parameters_true" if parallel else "auto",
            precision="bf16-mixed" if plan.precision == "bf16" else "32-true",
            max_epochs=plan.epochs,
            callbacks=[_EveryEpoch(run, plan), *progress],
            logger=TensorBoardLogger(str(run), name="tensorboard", version=""),
            plugins=[_AtomicCheckpoints()],
            use_distributed_sampler=False,
            reload_dataloaders_every_n_epochs=1,  # the loader of an epoch is a function of the epoch
            enable_checkpointing=True,
            enable_progress_bar=bool(progress),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1_000_000,
        )
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(
                _Loop(method, batches, training, plan),
                ckpt_path=str(checkpoint) if resume and checkpoint.is_file() else None,
            )
        except SystemExit:
            if not trainer.interrupted:
                raise
            # the Trainer turns Ctrl-C into exit code 1 and leaves later ones ignored
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt(f"continue with `emodo train --resume {run}`") from None
    return trainer.is_global_zero


class Moment(NamedTuple):
    """Where in the training an epoch is: its stage, its number within the stage, and the stage's epochs."""

    stage: int
    epoch: int
    epochs: int


def moment(epoch: int, epochs: int, shares: tuple[float, ...]) -> Moment:
    """Find the place of `epoch` in a training of `epochs` whose stages take `shares` of it, at least one epoch each."""
    ends = [0]
    for i in range(len(shares)):
        left = len(shares) - 1 - i  # stages still to come
        ends.append(min(epochs - left, max(ends[-1] + 1, round(epochs * sum(shares[: i + 1]) / sum(shares)))))
    stage = next(i for i, end in enumerate(ends[1:]) if epoch < end)
    return Moment(stage, epoch - ends[stage], ends[stage + 1] - ends[stage])


def learning_rate(at: Moment, plan: Plan, decay: Literal["linear", "step"] = "linear") -> float:
    """The factor on every learning rate in an epoch.

    "linear": linear warm-up, constant, linear decay to almost zero; the released code of IERN has 5 + 15 + 140
    epochs, and a stage its share of each. "step": a tenth after each third (DACL: 20 of 60 epochs).
    """
    if decay == "step":
        return 0.1 ** (3 * at.epoch // at.epochs)
    warmup, constant = (round(part * at.epochs / plan.epochs) for part in (plan.warmup, plan.constant))
    if at.epoch < warmup:
        return (at.epoch + 1) / (warmup + 1)
    decaying = at.epochs - warmup - constant
    return 1 - max(0, at.epoch - warmup - constant + 1) / (decaying + 1)


def check_checkpoint(file: Path) -> None:
    """Raise InputError unless `file` is a whole checkpoint that emodo wrote. Nothing in it is executed."""
    try:
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise InputError(
            f"{file} is not a checkpoint of emodo ({type(error).__name__}): remove it to start this run anew"
        ) from error
    if not isinstance(found, dict) or MARK not in found:
        raise InputError(f"{file} is not a checkpoint of emodo: remove it to start this run anew")


class _Loop(pl.LightningModule):
    """The one training loop: for each phase that the method yields, backward, clip, step."""

    def __init__(
        self, method: Method, batches: Callable[[int, int, int], DataLoader[Any]], training: Training, plan: Plan
    ) -> None:
        super().__init__()
        self.training_rows = training
        self.automatic_optimization = False
        self.method = method
        self.batches = batches
        self.plan = plan
        self.sums: dict[str, Tensor] = {}
        self.steps = 0

    def train_dataloader(self) -> DataLoader[Any]:
        return self.batches(self.current_epoch, self.global_rank, self.trainer.world_size)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        self.phases = self.method.phases()
        create = torch.optim.SGD if self.method.optimizer == "sgd" else torch.optim.Adam
        optimizers: list[torch.optim.Optimizer] = [create(groups, fused=True) for groups in self.phases.values()]
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["base_lr"] = group["lr"]
        return optimizers

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Batch:
        return to_device(batch, device)

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(self.plan.seed * 1_000_003 + self.current_epoch * 1009 + self.global_rank)
        at = moment(self.current_epoch, self.plan.epochs, self.method.stages)
        factor = learning_rate(at, self.plan, self.method.decay)
        for optimizer in self._optimizers().values():
            if at.epoch == 0:
                optimizer.state.clear()
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
        shown = replace(self.training_rows, batches=self._whole_training, progress=at.epoch / at.epochs)
        self.method.begin(at.stage, at.epoch, shown)
        self.sums, self.steps = {}, 0

    def _whole_training(self) -> Iterator[Batch]:
        for batch in self.training_rows.batches():
            yield to_device(batch, self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        optimizers = self._optimizers()
        for phase, terms in self.method.losses(batch):
            optimizer = optimizers[phase]
            optimizer.zero_grad()
            self.manual_backward(torch.stack(list(terms.values())).sum())
            if self.plan.clip is not None:
                self.clip_gradients(optimizer, self.plan.clip, "norm")
            optimizer.step()
            for name, value in terms.items():
                self.sums[name] = self.sums.get(name, 0) + value.detach()
        self.steps += 1

    def _optimizers(self) -> dict[str, Any]:
        found = self.optimizers()
        return dict(zip(self.phases, found if isinstance(found, list) else [found], strict=True))

    def means(self) -> dict[str, float]:
        """Mean of every loss over the epoch, over all processes."""
        means = torch.stack(list(self.sums.values())) / self.steps
        if self.trainer.world_size > 1:
            means = self.trainer.strategy.reduce(means, reduce_op="mean")
        return dict(zip(self.sums, torch.as_tensor(means).tolist(), strict=True))


class _EveryEpoch(Checkpoint):
    """After each epoch: the losses into metrics.csv and TensorBoard, and the state into the checkpoint."""

    def __init__(self, run: Path, plan: Plan) -> None:
        self.run, self.plan = run, plan
        self.history: list[dict[str, float]] = []
        self.started = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, _Loop)
        means = pl_module.means()
        self.history.append({"epoch": trainer.current_epoch + 1, **means})
        assert trainer.logger is not None
        trainer.logger.log_metrics(means, trainer.current_epoch + 1)
        trainer.save_checkpoint(self.run / runs.CHECKPOINT)
        if trainer.is_global_zero:
            self._write()
            self._say(trainer.current_epoch + 1, means)

    def _write(self) -> None:
        text = io.StringIO()
        names = dict.fromkeys(name for means in self.history for name in means)  # stages may have losses of their own
        table = csv.DictWriter(text, list(names), lineterminator="\n")
        table.writeheader()
        table.writerows(self.history)
        write_text(self.run / runs.METRICS, text.getvalue())

    def _say(self, epoch: int, means: dict[str, float]) -> None:
        """Where no progress bar can be drawn, a line now and then."""
        if sys.stderr.isatty() or epoch % max(1, self.plan.epochs // 10):
            return
        losses = ", ".join(f"{name} {value:.3g}" for name, value in means.items())
        seconds = time.monotonic() - self.started
        print(f"epoch {epoch}/{self.plan.epochs} ({seconds:.1f} s): {losses}", file=sys.stderr, flush=True)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = state_dict["history"]


class _AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are whole or absent, and are read without unpickling objects."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with atomic(Path(path)) as temporary:
            torch.save({MARK: 1, **checkpoint}, temporary)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)
