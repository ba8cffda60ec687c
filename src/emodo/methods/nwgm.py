"""NWGM: the intervention approximated by a dictionary and attention (IERN, appendix C; CONTA, NeurIPS 2020).

Re-implemented from the text: the release behind the citation is incomplete. The width of the attention, the interval
at which the dictionary is rebuilt and the biases are stated nowhere, and are this implementation's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emodo import losses
from emodo.methods.base import Method, Prediction, Terms
from emodo.networks import Backbone, evaluating
from emodo.records import Batch, InputError, Task, Training


class NWGM(Method):
    """P(Y | do(X)) by the normalised weighted geometric mean: the average over strata goes inside the softmax.

    softmax(W_1 x + W_2 E_d[g(d)]) stands for E_d[softmax(W_1 x + W_2 g(d))] (Eq. 12 and 13). x is the pooled feature;
    g(d_i) = a_i z_i, with z_i the mean training feature of stratum i and a = softmax(W_y x . W_z z / sqrt(e)).
    """

    needs_strata: ClassVar[bool] = True
    dictionary: Tensor  # z, [K, D]
    weights: Tensor  # P(d), [K]

    def __init__(
        self,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        width: int = 256,
        prior: Literal["uniform", "data"] = "uniform",
        interval: int = 5,
    ) -> None:
        """Take the hyper-parameters.

        Args:
            lr: learning rate of all but the backbone (as for the other methods: 2e-4).
            backbone_lr: learning rate of the backbone.
            betas: Adam's decay rates.
            width: e, the width of query and key; 256 as in CCIM, since the text gives none.
            prior: P(d), uniform as in the text, or the strata's shares of the training rows.
            interval: epochs between two rebuildings of the dictionary. Each is one pass over the training images
                without gradients, about a third of an epoch, so that every fifth epoch costs little.
        """
        super().__init__()
        self.lr, self.backbone_lr, self.betas = lr, backbone_lr, betas
        self.width, self.prior, self.interval = width, prior, interval

    def build(self, task: Task, backbone: Backbone) -> None:
        self.check_task(task)
        if self.width < 1 or self.interval < 1:
            raise InputError(f"NWGM has width {self.width} and interval {self.interval}: both must be 1 or more")
        strata = len(task.strata)
        self.backbone = backbone
        self.query = nn.Linear(backbone.channels, self.width, bias=False)
        self.key = nn.Linear(backbone.channels, self.width, bias=False)
        self.classifier = nn.Linear(2 * backbone.channels, len(task.emotions))
        self.register_buffer("dictionary", torch.zeros(strata, backbone.channels))
        self.register_buffer("weights", torch.full((strata,), 1 / strata))

    def begin(self, stage: int, epoch: int, training: Training) -> None:
        """Rebuild the dictionary, and count P(d) where the prior is the data's."""
        if epoch % self.interval:
            return
        numbers = torch.arange(len(self.dictionary), device=self.dictionary.device)
        sums, counts = torch.zeros_like(self.dictionary), torch.zeros_like(self.weights)
        with evaluating(self):
            for batch in training.batches():
                members = (batch.stratum[:, None] == numbers).to(sums.dtype)  # [B, K]
                sums += members.T @ self._pooled(batch)
                counts += members.sum(dim=0)
        self.dictionary.copy_(sums / counts.clamp(min=1)[:, None])
        if self.prior == "data":
            self.weights.copy_(counts / counts.sum())

    def forward(self, batch: Batch) -> Tensor:
        x = self._pooled(batch)
        expected = (self._attention(x) * self.weights) @ self.dictionary  # E_d[g(d)], [B, D]
        return self.classifier(torch.cat([x, expected], dim=1))

    def predict(self, batch: Batch) -> Prediction:
        """Logits as in `forward`, and in each stratum alone: W_1 x + W_2 g(d_i)."""
        x = self._pooled(batch)
        own, context = self.classifier.weight.chunk(2, dim=1)
        rest = self._attention(x)[:, :, None] * (self.dictionary @ context.T)  # W_2 g(d_i), [B, K, E]
        strata_logits = F.linear(x, own, self.classifier.bias)[:, None] + rest
        return Prediction(torch.einsum("bke,k->be", strata_logits, self.weights), strata_logits)

    def phases(self) -> dict[str, list[dict[str, Any]]]:
        rest = [p for part in (self.query, self.key, self.classifier) for p in part.parameters()]
        return {
            "classifier": [
                {"params": list(self.backbone.parameters()), "lr": self.backbone_lr, "betas": self.betas},
                {"params": rest, "lr": self.lr, "betas": self.betas},
            ]
        }

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        yield "classifier", {"classifier": losses.recognition(self(batch), batch.emotion)}

    def _pooled(self, batch: Batch) -> Tensor:
        return self.backbone(batch.images).mean(dim=(2, 3))  # x, [B, D]

    def _attention(self, x: Tensor) -> Tensor:
        """softmax_i((W_y x)^T (W_z z_i) / sqrt(e)), [B, K]."""
        return (self.query(x) @ self.key(self.dictionary).T / self.width**0.5).softmax(dim=1)
