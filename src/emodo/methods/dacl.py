"""DACL (Farzaneh and Qi, "Facial Expression Recognition in the Wild via Deep Attentive Center Loss", WACV 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from emodo import losses
from emodo.methods.base import Method, Terms
from emodo.networks import Backbone
from emodo.records import Batch, InputError, Task


class DACL(Method):
    """ERM plus a center loss whose weight on each feature an attention network chooses for each image.

    It knows no confounder. Batch 64 and 60 epochs belong to it, with the rates divided by ten every 20.
    """

    optimizer: ClassVar[Literal["adam", "sgd"]] = "sgd"
    decay: ClassVar[Literal["linear", "step"]] = "step"
    centers: nn.Parameter  # [E, C]

    def __init__(
        self,
        lr: float = 0.01,
        backbone_lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        lambda_center: float = 0.01,
        alpha: float = 0.5,
        full_rate_centers: bool = True,
        widths: tuple[int, int, int] = (3584, 512, 64),
    ) -> None:
        """Take the hyper-parameters of the paper and its released code.

        Args:
            lr: learning rate of attention network and classifier.
            backbone_lr: learning rate of the backbone (the paper has one rate for all).
            momentum: SGD's momentum, for all but the centers.
            weight_decay: SGD's weight decay, for all but the centers.
            lambda_center: lambda, the weight of the sparse center loss.
            alpha: learning rate of the centers, which have neither momentum nor weight decay. The released code keeps
                it constant; here it falls with the other rates.
            full_rate_centers: give the centers the released code's gradient, which lambda does not weaken, and in
                which an emotion's n images are averaged over 1 + n; or (false) the gradient of the loss as printed.
            widths: layers of the attention network, made for a flattened map of 512x7x7 = 25 088. On a smaller map
                the first is at most a seventh of it, as 3584 is of 25 088, and no later layer is wider than the one
                before. On ResNet-50's 2048x7x7 the first alone has 360 million weights: less width will do there.
        """
        super().__init__()
        self.lr, self.backbone_lr, self.momentum, self.weight_decay = lr, backbone_lr, momentum, weight_decay
        self.lambda_center, self.alpha, self.full_rate_centers = lambda_center, alpha, full_rate_centers
        self.widths = widths

    def build(self, task: Task, backbone: Backbone) -> None:
        self.check_task(task)
        if min(self.widths) < 1:
            raise InputError(f"DACL has widths {', '.join(map(str, self.widths))}: each must be 1 or more")
        emotions = len(task.emotions)
        flat = backbone.channels * backbone.grid[0] * backbone.grid[1]
        self.backbone = backbone
        self.attention = _attention(flat, self.widths, backbone.channels)
        self.classifier = nn.Linear(backbone.channels, emotions)
        self.centers = nn.Parameter(torch.randn(emotions, backbone.channels) * (2 / emotions) ** 0.5)

    def forward(self, batch: Batch) -> Tensor:
        return self.classifier(self.backbone(batch.images).mean(dim=(2, 3)))

    def phases(self) -> dict[str, list[dict[str, Any]]]:
        decaying = {"momentum": self.momentum, "weight_decay": self.weight_decay}
        rest = [*self.attention.parameters(), *self.classifier.parameters()]
        return {
            "classifier": [
                {"params": list(self.backbone.parameters()), "lr": self.backbone_lr, **decaying},
                {"params": rest, "lr": self.lr, **decaying},
                {"params": [self.centers], "lr": self.alpha},
            ]
        }

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        features = self.backbone(batch.images)  # [B, C, h, w]
        pooled = features.mean(dim=(2, 3))
        # two-way softmaxes, "left out" and "taken": [B, 2C] -> A, [B, C]
        weights = self.attention(features).unflatten(1, (-1, 2)).softmax(dim=2)[:, :, 1]
        centers = self._moving(batch.emotion)
        yield (
            "classifier",
            {
                "classifier": losses.recognition(self.classifier(pooled), batch.emotion),
                "center": self.lambda_center * losses.sparse_center(pooled, weights, centers, batch.emotion),
            },
        )

    def _moving(self, emotion: Tensor) -> Tensor:
        """The centers, which with `full_rate_centers` receive sum A (c - f) / (1 + n) over their emotion's n images."""
        centers = self.centers.view_as(self.centers)
        if self.full_rate_centers and centers.requires_grad and self.lambda_center:
            images = torch.bincount(emotion, minlength=len(centers))
            scale = len(emotion) / self.lambda_center / (1 + images)
            centers.register_hook(lambda gradient: gradient * scale[:, None])
        return centers


def _attention(flat: int, widths: tuple[int, int, int], channels: int) -> nn.Sequential:
    """Feature maps, [B, C, h, w] of `flat` numbers each -> the logits of C two-way softmaxes, [B, 2C]."""
    first = max(1, min(widths[0], flat // 7))
    second = min(widths[1], first)
    third = min(widths[2], second)
    layers: list[nn.Module] = [nn.Flatten()]
    for (width_in, width), activation in zip(
        pairwise((flat, first, second, third)), (nn.ReLU(), nn.ReLU(), nn.Tanh()), strict=True
    ):
        # BatchNorm takes away any bias before it
        layers += [_linear(width_in, width, bias=False), nn.BatchNorm1d(width), activation]
    return nn.Sequential(*layers, _linear(third, 2 * channels, bias=True))


def _linear(width_in: int, width: int, bias: bool) -> nn.Linear:
    """A linear layer as the released code starts it."""
    layer = nn.Linear(width_in, width, bias)
    nn.init.kaiming_normal_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
