"""The contract: a method yields its losses, the trainer steps."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from emodo.networks import Backbone, channels_last, fold_batchnorm
from emodo.records import Batch, InputError, Task, Training, View

Terms = dict[str, Tensor]


class Prediction(NamedTuple):
    """What a method says of B images.

    logits: [B, E] of P(Y | do(X)). strata_logits: [B, K, E] of P(Y | X, d_i), where the method intervenes.
    confounder_logits: [B, K], where the method recognises the stratum.
    """

    logits: Tensor
    strata_logits: Tensor | None = None
    confounder_logits: Tensor | None = None


class Context(NamedTuple):
    """What a method holds for the context of B images.

    features: [B, C, h, w]. centers: [K, C, h, w], one a stratum, where the method learns them.
    """

    features: Tensor
    centers: Tensor | None = None


class Method(nn.Module, ABC):
    """A way to train an emotion recogniser.

    The constructor takes hyper-parameters only, each kept as an attribute of the same name; `build` creates the
    networks once emotions, strata and backbone are known. What decides a result and is no hyper-parameter lives in
    parameters or buffers, so that a checkpoint holds it; random numbers come from PyTorch's generator, which the
    trainer seeds for each epoch.

    multilabel: whether rows may hold several emotions. needs_strata: whether training rows need a stratum.
    needs_dictionary: whether the confounder needs prototypes. needs_cells: whether every (stratum x emotion) cell needs
    a training row. sampling: see `emodo.sampling`; "balanced" needs all cells. optimizer, decay: Adam with linear
    decay, or SGD divided by ten after each third of a stage, for every phase; further settings stand in the groups of
    `phases`. stages: shares of the epochs after which optimizers and learning rate start afresh. views: what `Batch`
    has to hold beside `images`.
    """

    multilabel: ClassVar[bool] = False
    needs_strata: ClassVar[bool] = False
    needs_dictionary: ClassVar[bool] = False
    needs_cells: ClassVar[bool] = False
    sampling: ClassVar[Literal["shuffled", "balanced"]] = "shuffled"
    optimizer: ClassVar[Literal["adam", "sgd"]] = "adam"
    decay: ClassVar[Literal["linear", "step"]] = "linear"
    stages: tuple[float, ...] = (1.0,)
    views: tuple[View, ...] = ()

    @abstractmethod
    def build(self, task: Task, backbone: Backbone) -> None:
        """Create the networks for this task on this backbone."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Logits of P(Y | do(X)), [B, E]; what is exported."""

    @abstractmethod
    def phases(self) -> dict[str, list[dict[str, Any]]]:
        """Parameter groups by optimizer name, in the order in which the optimizers step."""

    @abstractmethod
    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield (optimizer name, losses by name); what follows a yield runs after that optimizer's step."""

    def begin(self, stage: int, epoch: int, training: Training) -> None:
        """Prepare an epoch, counted from 0 within its stage; called before its first batch. Here, nothing."""

    def predict(self, batch: Batch) -> Prediction:
        """All that the method knows of a batch; here, its logits."""
        return Prediction(self(batch))

    def context(self, batch: Batch) -> Context | None:
        """The context of a batch, where the method separates it from the emotion; here, nothing."""
        return None

    def answer(self, batch: Batch) -> Prediction:
        """The same of the emotion alone; where recognising the stratum takes networks of its own, they rest."""
        return self.predict(batch)

    def lay_out(self, device: torch.device) -> None:
        """Lay out the weights in memory as training on `device` is fastest: here, channels last on every device."""
        channels_last(self)

    def fold(self) -> None:
        """Make the method predict faster: BatchNorm goes into the convolutions, and it cannot be trained further."""
        self.eval()
        for name, part in self.named_children():
            if isinstance(part, nn.Sequential):
                setattr(self, name, fold_batchnorm(part))
            for backbone in part.modules():
                if isinstance(backbone, Backbone):
                    backbone.body = fold_batchnorm(backbone.body)

    def hyperparameters(self) -> dict[str, Any]:
        """The constructor's arguments, as they can be written to a configuration."""
        return {name: _plain(getattr(self, name)) for name in inspect.signature(type(self)).parameters}

    def check_task(self, task: Task) -> None:
        """Raise InputError where the method takes one emotion a row and not several, or lacks strata or prototypes."""
        if task.multilabel and not self.multilabel:
            from emodo import methods

            able = [name for name in sorted(methods.__all__) if getattr(getattr(methods, name), "multilabel", False)]
            raise InputError(
                f"{type(self).__name__} takes one emotion a row, and rows of this manifest may hold several: use "
                f"{', '.join(able[:-1])} or {able[-1]}"
            )
        if self.needs_strata and len(task.strata) < 2:
            raise InputError(f"{type(self).__name__} needs a confounder of two strata or more")
        if self.needs_dictionary and (task.confounder is None or task.confounder.prototypes is None):
            raise InputError(
                f"{type(self).__name__} needs a dictionary of the confounder's prototypes: make one with `emodo strata "
                "MANIFEST OUT --by dictionary`, and pass it with --confounder OUT.safetensors"
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
