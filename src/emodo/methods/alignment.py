"""Methods that make the features of all strata alike: adversarially (DANN), or in mean and covariance (CORAL)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from emodo import losses
from emodo.methods.base import Prediction, Terms
from emodo.methods.erm import Plain
from emodo.networks import Backbone
from emodo.records import Batch, Task, Training


class DANN(Plain):
    """Domain-adversarial training (Ganin et al., JMLR 2016) with the stratum as the domain.

    A discriminator learns to name the stratum from the pooled features; its gradient reaches the backbone with the
    opposite sign, times 2 / (1 + exp(-gamma p)) - 1, where p goes from 0 to 1 over the training, epoch by epoch.
    """

    needs_strata: ClassVar[bool] = True

    def __init__(
        self,
        lambda_stratum: float = 1.0,
        gamma: float = 10.0,
        hidden: int = 1024,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        """Take the settings of the adversary, and the optimizer's.

        Args:
            lambda_stratum: weight of the discriminator's loss (paper: 1).
            gamma: how fast the reversed gradient reaches its full strength (paper: 10).
            hidden: width of the discriminator's two hidden layers (paper, for AlexNet: 1024).
            lr: learning rate of the linear layer, as in ERM, and of the discriminator.
            backbone_lr: learning rate of the backbone, as in ERM.
            betas: Adam's decay rates, as in ERM.
        """
        super().__init__(lr, backbone_lr, betas)
        self.lambda_stratum, self.gamma, self.hidden = lambda_stratum, gamma, hidden
        self.reversal = 0.0

    def build(self, task: Task, backbone: Backbone) -> None:
        super().build(task, backbone)
        self.discriminator = nn.Sequential(
            nn.Linear(backbone.channels, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, len(task.strata)),
        )

    def phases(self) -> dict[str, list[dict[str, Any]]]:
        phases = super().phases()
        phases["classifier"].append(self.group(self.discriminator, self.lr))
        return phases

    def begin(self, stage: int, epoch: int, training: Training) -> None:
        self.reversal = 2 / (1 + math.exp(-self.gamma * training.progress)) - 1

    def predict(self, batch: Batch) -> Prediction:
        features = self.features(batch.images)
        return Prediction(self.classifier(features), confounder_logits=self.discriminator(features))

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        features = self.features(batch.images)
        named = self.discriminator(reverse_gradient(features, self.reversal))
        terms = {
            "classifier": losses.recognition(self.classifier(features), batch.emotion),
            "stratum": self.lambda_stratum * losses.recognition(named, batch.stratum),
        }
        yield "classifier", terms


class _ReverseGradient(torch.autograd.Function):
    """The identity, whose gradient is turned round."""

    @staticmethod
    def forward(features: Tensor, strength: float) -> Tensor:
        return features.view_as(features)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.strength = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse_gradient(features: Tensor, strength: float) -> Tensor:
    """Pass `features` on, and their gradient back times -strength (Ganin et al., gradient reversal layer)."""
    return _ReverseGradient.apply(features, strength)  # pyright: ignore[reportReturnType, reportUnknownVariableType]


class CORAL(Plain):
    """ERM plus the distance between the strata's feature covariances and means (Sun and Saenko 2016; see `coral`)."""

    needs_strata: ClassVar[bool] = True

    def __init__(
        self,
        lambda_coral: float = 1.0,
        match_means: bool = True,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        """Take the weight of the alignment, and the optimizer's settings.

        Args:
            lambda_coral: weight of the distance (DomainBed: 1; the paper balances it with the recognition loss).
            match_means: compare means as well as covariances, as DomainBed does; the paper compares covariances, and
                divides by 4, which here belongs to the weight.
            lr: learning rate of the linear layer, as in ERM.
            backbone_lr: learning rate of the backbone, as in ERM.
            betas: Adam's decay rates, as in ERM.
        """
        super().__init__(lr, backbone_lr, betas)
        self.lambda_coral, self.match_means = lambda_coral, match_means

    def build(self, task: Task, backbone: Backbone) -> None:
        super().build(task, backbone)
        self.strata = len(task.strata)

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        features = self.features(batch.images)
        with torch.autocast(features.device.type, enabled=False):  # a covariance in 8 bits is noise
            single = features if features.dtype == torch.float64 else features.float()
            distance = losses.coral(single, batch.stratum, self.strata, self.match_means)
        terms = {
            "classifier": losses.recognition(self.classifier(features), batch.emotion),
            "coral": self.lambda_coral * distance,
        }
        yield "classifier", terms
