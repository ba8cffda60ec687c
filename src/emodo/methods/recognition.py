"""The loss of an emotion classifier, whether a row holds one emotion or several."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from emodo import losses
from emodo.records import InputError, Task, Training

Several = Literal["bce", "discrete", "discrete_batch"]


class Recognition(nn.Module):
    """Cross-entropy where a row holds one emotion; where it may hold several, what the method's `loss` names.

    bce (None means it): binary cross-entropy of each emotion. discrete: EMOTIC's weighted Euclidean loss, with the
    weights of all training rows. discrete_batch: the same, with the weights of each batch.

    Raises InputError for an unknown loss, and for one of these where a row holds one emotion.
    """

    weights: Tensor  # [E]; every training finds them anew, so no checkpoint holds them

    def __init__(self, task: Task, loss: Several | None) -> None:
        super().__init__()
        if loss is not None and loss not in get_args(Several):
            raise InputError(f"no loss for several emotions is called {loss!r}: take {', '.join(get_args(Several))}")
        if loss is not None and not task.multilabel:
            raise InputError(
                f"the loss {loss!r} is for several emotions a row, and each row of this manifest has one: leave "
                "--method.loss out, or add --multilabel true"
            )
        self.loss = (loss or "bce") if task.multilabel else None
        self.register_buffer("weights", torch.ones(len(task.emotions)), persistent=False)

    def begin(self, training: Training) -> None:
        """Count the emotions of the training rows, where their weights are theirs."""
        if self.loss == "discrete":
            self.weights.copy_(losses.category_weights(training.emotion))

    def forward(self, logits: Tensor, emotion: Tensor) -> Tensor:
        """The mean over the batch. logits: [B, E]. emotion: as in `Batch`."""
        if self.loss is None:
            return losses.recognition(logits, emotion)
        if self.loss == "bce":
            return losses.binary_cross_entropy(logits, emotion)
        weights = self.weights if self.loss == "discrete" else losses.category_weights(emotion)
        return losses.discrete_category(logits, emotion, weights)
