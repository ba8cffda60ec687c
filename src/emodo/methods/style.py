"""Methods that train on more styles than the data has: of the images, or of early feature maps."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from emodo import losses, styles
from emodo.methods.base import Terms
from emodo.methods.erm import Plain
from emodo.networks import Backbone
from emodo.records import Batch, InputError, Task


class StyleAugmentation(Plain):
    """ERM on images of random style: colour, gray, blur, noise, and amplitudes of another stratum's image.

    See `emodo.styles`; comes after the augmentation of `emodo train`, on the device. Needs no strata: without them
    amplitudes come from any other image.
    """

    def __init__(
        self,
        colour: float = 1.0,
        gray: float = 0.2,
        blur: float = 2.0,
        noise: float = 0.2,
        amplitude: float = 1.0,
        window: float = 1.0,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        """Take the strengths, each off at 0, and the optimizer's settings.

        Args:
            colour: strength of brightness, contrast, saturation, hue and white balance (SimCLR: 1).
            gray: probability of a gray image (SimCLR: 0.2).
            blur: largest standard deviation of the blur, in pixels of an image of 224 (SimCLR: 2).
            noise: largest standard deviation of Gaussian noise, where the range is -1 .. 1 (0.2: between severities 1
                and 2 of ImageNet-C).
            amplitude: largest share of another image's Fourier amplitudes (Xu et al. 2021: 1).
            window: part of the frequencies' range, from zero, that is mixed (Xu et al. 2021: 1, all; FDA: 0.02 - 0.18).
            lr: learning rate of the linear layer, as in ERM.
            backbone_lr: learning rate of the backbone, as in ERM.
            betas: Adam's decay rates, as in ERM.
        """
        super().__init__(lr, backbone_lr, betas)
        self.colour, self.gray, self.blur, self.noise = colour, gray, blur, noise
        self.amplitude, self.window = amplitude, window

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        strengths = (self.colour, self.gray, self.blur, self.noise, self.amplitude, self.window)
        images = styles.random_style(batch.images, batch.stratum, *strengths)
        logits = self.classifier(self.features(images))
        yield "classifier", {"classifier": losses.recognition(logits, batch.emotion)}


class MixStyle(Plain):
    """ERM with the channel statistics of early feature maps mixed between images (Zhou et al., ICLR 2021).

    After each of the first two stages, in every other batch, an image's means and standard deviations are mixed with
    those of an image of another stratum, or of any other where strata are unknown. Prediction mixes nothing.
    """

    def __init__(
        self,
        probability: float = 0.5,
        alpha: float = 0.1,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        """Take the settings of the mixture, and the optimizer's.

        Args:
            probability: how often a stage is mixed in a batch (paper: 0.5).
            alpha: the share of an image's own statistics is drawn from Beta(alpha, alpha) (paper: 0.1).
            lr: learning rate of the linear layer, as in ERM.
            backbone_lr: learning rate of the backbone, as in ERM.
            betas: Adam's decay rates, as in ERM.
        """
        super().__init__(lr, backbone_lr, betas)
        if alpha <= 0:
            raise InputError(f"alpha is {alpha}: it must be more than 0")
        self.probability, self.alpha = probability, alpha

    def build(self, task: Task, backbone: Backbone) -> None:
        backbone.early_stages()  # raises where there are none
        super().build(task, backbone)

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        with self._mixing(batch.stratum):
            logits = self(batch)
        yield "classifier", {"classifier": losses.recognition(logits, batch.emotion)}

    @contextmanager
    def _mixing(self, stratum: Tensor) -> Generator[None]:
        """Mix after the early stages; the hooks are gone afterwards, so nothing of them is copied, saved or folded."""

        def mixed(_: nn.Module, __: Any, features: Tensor) -> Tensor:
            if torch.rand(()).item() >= self.probability:
                return features
            alpha = torch.full((len(features),), self.alpha, device=features.device)
            share = torch.distributions.Beta(alpha, alpha).sample()
            return mix_statistics(features, styles.partners(stratum), share)

        hooks = [stage.register_forward_hook(mixed) for stage in self.backbone.early_stages()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def mix_statistics(features: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Each image's channel means and deviations, mixed with its partner's (Zhou et al. 2021, MixStyle).

    features: [B, C, h, w]. partner: [B] int64. share: [B], lambda: how much of an image's own statistics stays, 1 all.
    Statistics are constants to the gradient, as in the paper. Returns [B, C, h, w].
    """
    precise = features if features.dtype == torch.float64 else features.float()
    share = share.to(precise.dtype)[:, None, None, None]
    mean = precise.mean(dim=(2, 3), keepdim=True).detach()
    deviation = (precise.var(dim=(2, 3), keepdim=True) + 1e-6).sqrt().detach()
    new_mean = torch.lerp(mean[partner], mean, share)
    new_deviation = torch.lerp(deviation[partner], deviation, share)
    return ((precise - mean) / deviation * new_deviation + new_mean).to(features.dtype)
