"""Methods that weigh the (stratum x emotion) cells: reweighting, group DRO, and retraining of the last layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emodo import losses
from emodo.methods.base import Terms
from emodo.methods.erm import Plain
from emodo.methods.state import all_sum, several
from emodo.networks import Backbone, evaluating
from emodo.records import Batch, InputError, Task, Training


def cell(stratum: Tensor, emotion: Tensor, task: Task) -> Tensor:
    """Number of each row's (stratum x emotion) cell, [B]."""
    return stratum * len(task.emotions) + emotion


def cell_sizes(training: Training, task: Task) -> Tensor:
    """How many training rows each of the K * E cells has."""
    cells = cell(training.stratum, training.emotion, task)
    return torch.bincount(cells, minlength=len(task.strata) * len(task.emotions))


class Reweighting(Plain):
    """ERM in which every (stratum x emotion) cell counts equally, by weights instead of by drawing.

    An image weighs 1 / (K * E * its cell's share of the training rows), one on average. Like Resampling a vanilla
    intervention; impossible where a cell has no training image, and refused there.
    """

    needs_strata: ClassVar[bool] = True
    needs_cells: ClassVar[bool] = True
    cell_weights: Tensor  # [K * E]

    def build(self, task: Task, backbone: Backbone) -> None:
        super().build(task, backbone)
        self.task = task
        self.register_buffer("cell_weights", torch.ones(len(task.strata) * len(task.emotions)))

    def begin(self, stage: int, epoch: int, training: Training) -> None:
        sizes = cell_sizes(training, self.task)
        self.cell_weights.copy_(len(training.row) / (len(sizes) * sizes))

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        weights = self.cell_weights[cell(batch.stratum, batch.emotion, self.task)]
        yield "classifier", {"classifier": losses.weighted(self(batch), batch.emotion, weights)}


class GroupDRO(Plain):
    """The loss of the worst cell is minimised (Sagawa et al., ICLR 2020, Algorithm 1).

    Groups are the (stratum x emotion) cells; one without a training image has no weight and the others share it, so
    empty cells are no obstacle, and no cure either. Two things differ from Algorithm 1, both as in the paper's code:
    a step sees a batch of all groups instead of one group's, and batches are drawn as the data is. The strong weight
    decay that the paper adds for large networks is left out: regularisation is ERM's, for a fair comparison.
    """

    needs_strata: ClassVar[bool] = True
    group_weights: Tensor  # [K * E], q of Algorithm 1

    def __init__(
        self, eta: float = 0.01, lr: float = 2e-4, backbone_lr: float = 1e-4, betas: tuple[float, float] = (0.5, 0.999)
    ) -> None:
        """Take the step size of the weights, and the optimizer's settings.

        Args:
            eta: how fast a group's weight follows its loss, eta_q of Algorithm 1 (paper: 0.01).
            lr: learning rate of the linear layer, as in ERM.
            backbone_lr: learning rate of the backbone, as in ERM.
            betas: Adam's decay rates, as in ERM.
        """
        super().__init__(lr, backbone_lr, betas)
        self.eta = eta

    def build(self, task: Task, backbone: Backbone) -> None:
        super().build(task, backbone)
        self.task = task
        self.register_buffer("group_weights", torch.zeros(len(task.strata) * len(task.emotions)))

    def begin(self, stage: int, epoch: int, training: Training) -> None:
        if epoch == 0:
            present = cell_sizes(training, self.task) > 0
            self.group_weights.copy_(present / present.sum())

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        each = F.cross_entropy(self(batch), batch.emotion, reduction="none").to(self.group_weights.dtype)
        groups = cell(batch.stratum, batch.emotion, self.task)
        sums, sizes = losses.group_sums(each, groups, len(self.group_weights))
        # several processes share one set of groups; each averages its gradient with the others', hence the ranks
        sizes = all_sum(sizes).clamp(min=1)
        self.group_weights.copy_(losses.exponentiated(self.group_weights, all_sum(sums.detach()) / sizes, self.eta))
        ranks = torch.distributed.get_world_size() if several() else 1
        yield "classifier", {"classifier": ranks * (self.group_weights * sums / sizes).sum()}


class DFR(Plain):
    """Deep feature reweighting (Kirichenko et al., ICLR 2023): ERM, then a new last layer on balanced cells.

    In the second stage the backbone is fixed and in evaluation mode. Every training image passes it once, unaugmented;
    a logistic regression is trained on the standardised features of a subset with as many rows of each (stratum x
    emotion) cell as the smallest has, with an L1 penalty. The paper's DFR-Tr: the subset is taken from the training
    rows, as there are no others. The paper averages ten subsets; here every epoch draws one. The paper's solver is
    exact, and Adam comes near it.
    """

    needs_strata: ClassVar[bool] = True
    needs_cells: ClassVar[bool] = True
    center: Tensor  # [C], of the training features
    spread: Tensor

    def __init__(
        self,
        retraining: float = 0.2,
        c: float = 1.0,
        last_lr: float = 1e-2,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        """Take the settings of the retraining, and the optimizer's.

        Args:
            retraining: part of the epochs that retrains the last layer; no image passes the backbone in it but once.
            c: inverse strength of the L1 penalty, 1 / (c * rows) times the sum of the absolute weights (paper: the
                best of 1, 0.7, 0.3, 0.1 ... on validation rows; here the weakest, as nothing is chosen).
            last_lr: learning rate of the new last layer; it is alone and its features are standardised, so that the
                large rate is safe, and lr would leave it far from the optimum.
            lr: learning rate of ERM's linear layer, as in ERM.
            backbone_lr: learning rate of the backbone, as in ERM.
            betas: Adam's decay rates, as in ERM.
        """
        super().__init__(lr, backbone_lr, betas)
        if not 0 < retraining < 1:
            raise InputError(f"retraining is {retraining}: it is a part of the epochs, more than 0 and less than 1")
        if c <= 0:
            raise InputError(f"c is {c}: it must be more than 0")
        self.retraining, self.c, self.last_lr = retraining, c, last_lr
        self.stages = (1 - retraining, retraining)

    def build(self, task: Task, backbone: Backbone) -> None:
        super().build(task, backbone)
        self.task = task
        self.last_layer = nn.Linear(backbone.channels, len(task.emotions))
        self.register_buffer("center", torch.zeros(backbone.channels))
        self.register_buffer("spread", torch.ones(backbone.channels))
        # Functions of the fixed backbone, so a resumed run finds them anew: standardised features of all training
        # rows [N, C], their emotions [N], and the rows of this epoch's balanced subset [M].
        self.standardised: Tensor | None = None
        self.emotions = torch.zeros(0)
        self.subset = torch.zeros(0)

    def phases(self) -> dict[str, list[dict[str, Any]]]:
        return {**super().phases(), "last_layer": [self.group(self.last_layer, self.last_lr)]}

    def forward(self, batch: Batch) -> Tensor:
        return self.last_layer((self.features(batch.images) - self.center) / self.spread)

    def begin(self, stage: int, epoch: int, training: Training) -> None:
        if stage == 0:
            self.standardised = None
            return
        if self.standardised is None:
            self._pass(training)
        self.subset = balanced_subset(cell(training.stratum, training.emotion, self.task)).to(self.center.device)

    def _pass(self, training: Training) -> None:
        with evaluating(self):
            parts = [(self.features(batch.images), batch.emotion) for batch in training.batches()]
        features, self.emotions = (torch.cat(part) for part in zip(*parts, strict=True))
        self.center.copy_(features.mean(dim=0))
        spread = features.std(dim=0)
        self.spread.copy_(torch.where(spread > 0, spread, 1.0))
        self.standardised = (features - self.center) / self.spread

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        if self.standardised is None:
            logits = self.classifier(self.features(batch.images))
            yield "classifier", {"classifier": losses.recognition(logits, batch.emotion)}
        else:
            drawn = self.subset[torch.randint(len(self.subset), (len(batch),), device=self.subset.device)]
            logits = self.last_layer(self.standardised[drawn])
            terms = {
                "last_layer": losses.recognition(logits, self.emotions[drawn]),
                "sparsity": self.last_layer.weight.abs().sum() / (self.c * len(self.subset)),
            }
            yield "last_layer", terms


def balanced_subset(cells: Tensor) -> Tensor:
    """As many rows of each cell as the smallest has, at random. cells: [N] int64. Returns [M] int64, positions."""
    order = torch.randperm(len(cells), device=cells.device)
    order = order[cells[order].sort(stable=True).indices]  # by cell, at random within
    sizes = torch.bincount(cells)
    sizes = sizes[sizes > 0]
    within = torch.arange(len(cells), device=cells.device) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return order[within < sizes.min()]
