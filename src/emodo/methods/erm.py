"""The baseline, and the re-sampling of its training images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from emodo import losses
from emodo.methods.base import Method, Terms
from emodo.methods.recognition import Recognition, Several
from emodo.networks import Backbone
from emodo.records import Batch, Task, Training


class Plain(Method):
    """Backbone, global average pooling, one linear layer; what is to be minimised is left open."""

    backbone: Backbone
    classifier: nn.Linear

    def __init__(self, lr: float = 2e-4, backbone_lr: float = 1e-4, betas: tuple[float, float] = (0.5, 0.999)) -> None:
        """Take the optimizer's settings.

        Args:
            lr: learning rate of the linear layer (paper: 2e-4).
            backbone_lr: learning rate of the backbone (released code: 1e-4; the paper states 2e-4 for all).
            betas: Adam's decay rates (released code: 0.5, 0.999).
        """
        super().__init__()
        self.lr, self.backbone_lr, self.betas = lr, backbone_lr, betas

    def build(self, task: Task, backbone: Backbone) -> None:
        self.check_task(task)
        self.backbone = backbone
        self.classifier = nn.Linear(backbone.channels, len(task.emotions))

    def features(self, images: Tensor) -> Tensor:
        """Pooled features, [B, C]."""
        return self.backbone(images).mean(dim=(2, 3))

    def forward(self, batch: Batch) -> Tensor:
        return self.classifier(self.features(batch.images))

    def group(self, module: nn.Module, lr: float) -> dict[str, Any]:
        """The weights of a module with their optimizer's settings."""
        return {"params": list(module.parameters()), "lr": lr, "betas": self.betas}

    def phases(self) -> dict[str, list[dict[str, Any]]]:
        return {"classifier": [self.group(self.backbone, self.backbone_lr), self.group(self.classifier, self.lr)]}


class ERM(Plain):
    """Empirical risk minimisation, the paper's Baseline: P(Y | X), whatever it rests on (Table 2)."""

    multilabel: ClassVar[bool] = True
    loss: Several | None

    def __init__(
        self,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        loss: Several | None = None,
    ) -> None:
        """Take the optimizer's settings, and the loss.

        Args:
            lr: learning rate of the linear layer (paper: 2e-4).
            backbone_lr: learning rate of the backbone (released code: 1e-4; the paper states 2e-4 for all).
            betas: Adam's decay rates (released code: 0.5, 0.999).
            loss: where a row may hold several emotions: `bce`, binary cross-entropy (default), `discrete`, EMOTIC's
                weighted squares with the weights of all training rows, or `discrete_batch`, with those of each batch.
        """
        super().__init__(lr, backbone_lr, betas)
        self.loss = loss

    def build(self, task: Task, backbone: Backbone) -> None:
        super().build(task, backbone)
        self.recognition = Recognition(task, self.loss)

    def begin(self, stage: int, epoch: int, training: Training) -> None:
        self.recognition.begin(training)

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        yield "classifier", {"classifier": self.recognition(self(batch), batch.emotion)}


class Resampling(Plain):
    """ERM on batches in which every (stratum x emotion) cell is drawn equally often (Section 4.1, Table 3).

    A vanilla intervention; impossible where a cell has no training image, and refused there.
    """

    needs_strata: ClassVar[bool] = True
    needs_cells: ClassVar[bool] = True
    sampling: ClassVar[Literal["shuffled", "balanced"]] = "balanced"

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        yield "classifier", {"classifier": losses.recognition(self(batch), batch.emotion)}
