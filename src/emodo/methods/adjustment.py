"""Interventions on the loss: an image is not held against emotions that its stratum never shows.

A network trained on P(Y | X) learns P(Y | d) from whatever tells the stratum d. Here the loss is given log P(Y | d), so
the network need not learn it, and what it says without is P(Y | do(X)): every emotion as frequent as every other in
every stratum.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from emodo import losses, styles
from emodo.methods.base import Terms
from emodo.methods.erm import Plain
from emodo.networks import Backbone
from emodo.records import Batch, Task, Training


class _Adjusted(Plain, ABC):
    """A plain network that knows how frequent each emotion is in each stratum."""

    needs_strata: ClassVar[bool] = True
    log_prior: Tensor  # [K, E]

    def build(self, task: Task, backbone: Backbone) -> None:
        super().build(task, backbone)
        self.register_buffer("log_prior", torch.zeros(len(task.strata), len(task.emotions)))

    def begin(self, stage: int, epoch: int, training: Training) -> None:
        self.log_prior.copy_(emotion_log_prior(training, *self.log_prior.shape))


class LogitAdjustment(_Adjusted):
    """ERM with log P(Y | d) of the image's stratum added to the logits in the loss, and in the loss alone.

    Menon et al. (ICLR 2021, Eq. 10) add one prior for all images, for long tails; with the prior of each stratum it
    is the logit correction of Liu et al. (ICLR 2023) where the confounder is known. An empty (stratum x emotion)
    cell is no obstacle: its emotion has probability 0 there, so images of that stratum say nothing about it.
    """

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        adjusted = losses.adjusted_recognition(self(batch), self.log_prior[batch.stratum], batch.emotion)
        yield "classifier", {"classifier": adjusted}


class StyleIntervention(_Adjusted):
    """do(D = d) on both sides: images get the look of another stratum, and the loss is that of `LogitAdjustment`.

    The look is the amplitudes of the image's Fourier transform, mixed with those of an image of another stratum (Xu
    et al., CVPR 2021); the phases, in which shapes are, stay. The adjustment takes out what the stratum says of the
    emotion, the look what the network could tell the stratum from. Prediction is one pass of a plain network.
    """

    def __init__(
        self,
        amplitude: float = 1.0,
        probability: float = 0.5,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        """Take the strength of the look's change, and the optimizer's settings.

        Args:
            amplitude: largest share of the other image's amplitudes; each image draws its share from 0 to this.
            probability: share of the images whose look is changed.
            lr: learning rate of the linear layer, as in ERM.
            backbone_lr: learning rate of the backbone, as in ERM.
            betas: Adam's decay rates, as in ERM.
        """
        super().__init__(lr, backbone_lr, betas)
        self.amplitude, self.probability = amplitude, probability

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        share, chance = torch.rand(2, len(batch), device=batch.images.device)
        share = self.amplitude * share * (chance < self.probability)
        changed = styles.swap_amplitude(batch.images, styles.partners(batch.stratum), share).clamp(-1, 1)
        logits = self.classifier(self.features(changed.contiguous(memory_format=torch.channels_last)))
        adjusted = losses.adjusted_recognition(logits, self.log_prior[batch.stratum], batch.emotion)
        yield "classifier", {"classifier": adjusted}


def emotion_log_prior(training: Training, strata: int, emotions: int) -> Tensor:
    """log P(Y | d) in the training rows, [K, E]; minus infinity where a stratum does not show an emotion."""
    cells = torch.bincount(training.stratum * emotions + training.emotion, minlength=strata * emotions)
    counts = cells.view(strata, emotions).double()
    return (counts / counts.sum(dim=1, keepdim=True)).log().float()
