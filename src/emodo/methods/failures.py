"""Methods for unknown strata: what a first network gets wrong weighs more in a second one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emodo import losses
from emodo.methods.base import Terms
from emodo.methods.erm import Plain
from emodo.methods.state import all_joined, row_buffer
from emodo.networks import Backbone, evaluating
from emodo.records import Batch, InputError, Task, Training

UNSEEN = -1.0  # in place of a loss


class JTT(Plain):
    """Just train twice (Liu et al., ICML 2021): ERM, then again from the start with the first one's errors upweighted.

    The error set is the training rows that the first network misclassifies, unaugmented and in evaluation mode. An
    error weighs `upweight` times as much as another row. The paper repeats errors in the training set; weights that
    are one on average have the same expectation at ERM's number of steps. Where the first network makes no error,
    the second one is ERM: keep the first stage short.
    """

    row_weight: Tensor  # [rows], of the second stage; empty in the first

    def __init__(
        self,
        identification: float = 0.2,
        upweight: float = 100.0,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        """Take the settings of the two trainings, and the optimizer's.

        Args:
            identification: length of the first training as a part of the second's (paper, Waterbirds: 60 of 300
                epochs; CelebA: 1 of 50). Both together take the epochs of `emodo train`.
            upweight: lambda_up (paper, Waterbirds: 100; CelebA: 50).
            lr: learning rate of the linear layer, as in ERM.
            backbone_lr: learning rate of the backbone, as in ERM.
            betas: Adam's decay rates, as in ERM.
        """
        super().__init__(lr, backbone_lr, betas)
        if identification <= 0:
            raise InputError(f"identification is {identification}: it must be more than 0")
        self.identification, self.upweight = identification, upweight
        self.stages = (identification, 1.0)

    def build(self, task: Task, backbone: Backbone) -> None:
        super().build(task, backbone)
        row_buffer(self, "row_weight")
        # where the second training starts; a resumed run builds the same from its seed, so no checkpoint holds it
        self.start = copy.deepcopy((self.backbone.state_dict(), self.classifier.state_dict()))

    def begin(self, stage: int, epoch: int, training: Training) -> None:
        if stage == 1 and epoch == 0:
            self._identify(training)
            for part, weights in zip((self.backbone, self.classifier), self.start, strict=True):
                part.load_state_dict(weights)

    def _identify(self, training: Training) -> None:
        """Find the error set with the first network: [rows] weights, one on average over the training rows."""
        weight = self.classifier.weight.new_ones(int(training.row.max()) + 1)
        errors = 0
        with evaluating(self):
            for batch in training.batches():
                wrong = self(batch).argmax(dim=1) != batch.emotion
                weight[batch.row[wrong]] = self.upweight
                errors = errors + wrong.sum()
        self.row_weight = weight / (1 + (self.upweight - 1) * errors / len(training.row))

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        logits = self(batch)
        if len(self.row_weight):
            yield "classifier", {"classifier": losses.weighted(logits, batch.emotion, self.row_weight[batch.row])}
        else:
            yield "classifier", {"classifier": losses.recognition(logits, batch.emotion)}


class LfF(Plain):
    """Learning from failure (Nam et al., NeurIPS 2020): two networks, the second learns what the first finds hard.

    A biased network follows the generalised cross-entropy, which dwells on the easy images. The network that predicts
    weighs each image by its relative difficulty l_B / (l_B + l_D). As in the released code, l_B and l_D are moving
    averages of each row's cross-entropy, divided by their largest value among the rows of the same emotion. Both
    networks start from the same backbone.
    """

    biased_loss: Tensor  # [rows], moving average of each row's loss under the biased network
    debiased_loss: Tensor
    row_emotion: Tensor  # [rows], the number of emotions where the row is not for training

    def __init__(
        self,
        q: float = 0.7,
        memory: float = 0.7,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        """Take the settings of the two networks, and the optimizers'.

        Args:
            q: exponent of the generalised cross-entropy (paper: 0.7).
            memory: how much of a row's average stays when the row is seen again (released code: 0.7).
            lr: learning rate of the linear layers, as in ERM.
            backbone_lr: learning rate of the backbones, as in ERM.
            betas: Adam's decay rates, as in ERM.
        """
        super().__init__(lr, backbone_lr, betas)
        if not 0 < q <= 1:
            raise InputError(f"q is {q}: it must be more than 0 and at most 1")
        self.q, self.memory = q, memory

    def build(self, task: Task, backbone: Backbone) -> None:
        super().build(task, backbone)
        self.emotions = len(task.emotions)
        self.biased_backbone = copy.deepcopy(backbone)
        self.biased_classifier = nn.Linear(backbone.channels, self.emotions)
        for name in ("biased_loss", "debiased_loss", "row_emotion"):
            row_buffer(self, name)

    def phases(self) -> dict[str, list[dict[str, Any]]]:
        return {
            "biased": [
                self.group(self.biased_backbone, self.backbone_lr),
                self.group(self.biased_classifier, self.lr),
            ],
            **super().phases(),
        }

    def begin(self, stage: int, epoch: int, training: Training) -> None:
        if epoch == 0:
            rows = int(training.row.max()) + 1
            device = self.classifier.weight.device
            self.biased_loss, self.debiased_loss = (torch.full((rows,), UNSEEN, device=device) for _ in range(2))
            self.row_emotion = torch.full((rows,), self.emotions, device=device)
            self.row_emotion[training.row] = training.emotion.to(device)

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        biased = self.biased_classifier(self.biased_backbone(batch.images).mean(dim=(2, 3)))
        yield "biased", {"biased": losses.generalised_cross_entropy(biased, batch.emotion, self.q)}
        logits = self(batch)
        weights = losses.relative_difficulty(
            self._relative(self.biased_loss, biased, batch), self._relative(self.debiased_loss, logits, batch)
        )
        yield "classifier", {"classifier": losses.weighted(logits, batch.emotion, weights)}

    def _relative(self, average: Tensor, logits: Tensor, batch: Batch) -> Tensor:
        """Bring the rows' averages up to date; those of the batch, relative to the largest of their emotion: [B]."""
        fresh = all_joined(F.cross_entropy(logits.detach(), batch.emotion, reduction="none").to(average.dtype))
        rows = all_joined(batch.row)
        before = average[rows]
        average[rows] = torch.where(before == UNSEEN, fresh, torch.lerp(fresh, before, self.memory))
        largest = average.new_zeros(self.emotions + 1).scatter_reduce(0, self.row_emotion.long(), average, "amax")
        return average[batch.row] / largest[batch.emotion].clamp(min=torch.finfo(average.dtype).tiny)
