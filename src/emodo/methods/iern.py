"""IERN (Chen et al., "Towards Unbiased Visual Emotion Recognition via Causal Intervention", ACM MM 2022).

Equations and Algorithm 1 are the paper's. Where the released code (donydchen/causal_emotion) differs, the
difference is an option whose default is the released code's value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from emodo import losses
from emodo.methods.adjustment import emotion_log_prior
from emodo.methods.base import Context, Method, Prediction, Terms
from emodo.networks import (
    Backbone,
    Block,
    Initialisation,
    ProjectedBackbone,
    Reconstruction,
    Statistics,
    channels_last,
    discriminator,
    frozen,
    generator,
    initialise,
)
from emodo.records import Batch, Task, Training


class _Disentangling(Method):
    """What IERN and its ablation share: f_b, and g_e, d_e, g_c, d_c, g_r of Eq. 3 - 5."""

    needs_strata: ClassVar[bool] = True
    block: Block
    init: Initialisation

    def __init__(
        self,
        channels: int,
        lambda_feature: float,
        lambda_classifier: float,
        lr: float,
        backbone_lr: float,
        betas: tuple[float, float],
        pair_weight: float,
        block: Block,
        head_bias: bool,
        init: Initialisation,
    ) -> None:
        super().__init__()
        self.channels, self.lambda_feature, self.lambda_classifier = channels, lambda_feature, lambda_classifier
        self.lr, self.backbone_lr, self.betas = lr, backbone_lr, betas
        self.pair_weight, self.block, self.head_bias, self.init = pair_weight, block, head_bias, init

    def _build(self, task: Task, backbone: Backbone, statistics: Statistics) -> None:
        self.check_task(task)
        emotions, strata = len(task.emotions), len(task.strata)
        self.backbone = ProjectedBackbone(backbone, self.channels)
        self.emotion_generator = generator(self.channels, self.block)
        self.context_generator = generator(self.channels, self.block)
        self.emotion_discriminator = discriminator(self.channels, emotions, backbone.grid, self.head_bias)
        self.context_discriminator = discriminator(self.channels, strata, backbone.grid, self.head_bias)
        self.reconstruction = Reconstruction(self.channels, strata, self.block, statistics)
        self.classifier = nn.Linear(self.channels, emotions)
        for name, part in self.named_children():
            initialise(self.backbone.projection if name == "backbone" else part, self.init)

    def lay_out(self, device: torch.device) -> None:
        """Channels last; on a CPU the backbone alone.

        What follows has large weights and small maps, and there PyTorch copies every channels-last gradient twice: on
        its way out of a convolution, and on its way into the fused Adam.
        """
        channels_last(self.backbone if device.type == "cpu" else self)

    def _base_features(self, images: Tensor) -> Tensor:
        """f_b(x), [B, C, h, w], in the layout of `lay_out`: a convolution follows that of its input."""
        features = self.backbone(images)
        return features.contiguous() if features.device.type == "cpu" else features

    def _group(self, *modules: nn.Module, lr: float | None = None) -> dict[str, Any]:
        parameters = [p for module in modules for p in module.parameters()]
        return {"params": parameters, "lr": self.lr if lr is None else lr, "betas": self.betas}

    def phases(self) -> dict[str, list[dict[str, Any]]]:
        return {
            "discriminators": [self._group(self.emotion_discriminator, self.context_discriminator)],
            "features": [self._group(self.emotion_generator, self.context_generator, self.reconstruction)],
            # g_r has no learning rate in this phase (appendix A.2, line 10): here it is frozen and left out
            "classifier": [
                self._group(self.backbone, lr=self.backbone_lr),
                self._group(self.emotion_generator, self.classifier),
            ],
        }

    def _discriminate(self, emotion: Tensor, context: Tensor, batch: Batch) -> Terms:
        """First terms of Eq. 3 and 4, for d_e and d_c alone (Algorithm 1, line 3)."""
        half = self.lambda_feature * self.pair_weight
        named_emotion = self.emotion_discriminator(emotion.detach())
        named_stratum = self.context_discriminator(context.detach())
        return {
            "emotion_discriminator": half * losses.recognition(named_emotion, batch.emotion),
            "context_discriminator": half * losses.recognition(named_stratum, batch.stratum),
        }

    def _disentangle(self, emotion: Tensor, context: Tensor, features: Tensor) -> Terms:
        """Second terms of Eq. 3 and 4, and Eq. 5, for g_e, g_c and g_r (Algorithm 1, line 4)."""
        half = self.lambda_feature * self.pair_weight
        with frozen(self.emotion_discriminator, self.context_discriminator):
            return {
                "emotion_generator": half * losses.confusion(self.context_discriminator(emotion)),
                "context_generator": half * losses.confusion(self.emotion_discriminator(context)),
                "reconstruction": self.lambda_feature
                * losses.reconstruction(self.reconstruction(emotion, context), features),
            }


class Disentanglement(_Disentangling):
    """IERN without its Confounder Builder: g_e's output goes straight into f_c (the paper's ablation, Table 2)."""

    def __init__(
        self,
        channels: int = 512,
        lambda_feature: float = 1.0,
        lambda_classifier: float = 1.0,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        pair_weight: float = 0.5,
        block: Block = "released",
        head_bias: bool = False,
        init: Initialisation = "normal",
    ) -> None:
        """Take the hyper-parameters; they mean what they mean in IERN.

        Args:
            channels: width of the features (Table 5: 512).
            lambda_feature: lambda_1 of Eq. 8.
            lambda_classifier: lambda_3 of Eq. 8.
            lr: learning rate of all but the backbone.
            backbone_lr: learning rate of the backbone (paper: 2e-4, released code: 1e-4).
            betas: Adam's decay rates (released code: 0.5, 0.999).
            pair_weight: weight of each loss of a discriminator or generator pair (paper: 1, released code: 0.5).
            block: residual blocks of the released code, or as Table 5 lists them.
            head_bias: whether the discriminators' last layer has a bias (released code: no).
            init: N(0, 0.02) of the released code, or PyTorch's default.
        """
        super().__init__(
            channels, lambda_feature, lambda_classifier, lr, backbone_lr, betas, pair_weight, block, head_bias, init
        )

    def build(self, task: Task, backbone: Backbone) -> None:
        self._build(task, backbone, "pooled")

    def forward(self, batch: Batch) -> Tensor:
        return self._recognise(self.backbone(batch.images))

    def predict(self, batch: Batch) -> Prediction:
        features = self.backbone(batch.images)
        return Prediction(
            self._recognise(features),
            confounder_logits=self.context_discriminator(self.context_generator(features)),
        )

    def context(self, batch: Batch) -> Context:
        return Context(self.context_generator(self.backbone(batch.images)))

    def answer(self, batch: Batch) -> Prediction:
        return Prediction(self(batch))

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        features = self._base_features(batch.images)
        fixed = features.detach()
        emotion, context = self.emotion_generator(fixed), self.context_generator(fixed)
        yield "discriminators", self._discriminate(emotion, context, batch)
        yield "features", self._disentangle(emotion, context, fixed)
        logits = self._recognise(features)
        yield "classifier", {"classifier": self.lambda_classifier * losses.recognition(logits, batch.emotion)}

    def _recognise(self, features: Tensor) -> Tensor:
        return self.classifier(self.emotion_generator(features).mean(dim=(2, 3)))


class IERN(_Disentangling):
    """Interventional Emotion Recognition Network: P(Y | do(X)) by Eq. 9, trained by Algorithm 1."""

    centers: nn.Parameter
    center_loss: losses.Reduction
    batchnorm: Statistics
    log_prior: Tensor  # [K, E], with `adjust`

    def __init__(
        self,
        channels: int = 512,
        lambda_feature: float = 1.0,
        lambda_center: float = 5e-4,
        lambda_classifier: float = 1.0,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        pair_weight: float = 0.5,
        center_loss: losses.Reduction = "sum",
        full_rate_centers: bool = True,
        block: Block = "released",
        batchnorm: Statistics = "stratum",
        adjust: bool = False,
        head_bias: bool = False,
        init: Initialisation = "normal",
    ) -> None:
        """Take the hyper-parameters of the paper, with the released code's values where the two differ.

        Args:
            channels: width of the features (Table 5: 512).
            lambda_feature: lambda_1 of Eq. 8.
            lambda_center: lambda_2 of Eq. 8; 5e-4 belongs to `center_loss="sum"`.
            lambda_classifier: lambda_3 of Eq. 8.
            lr: learning rate of all but the backbone.
            backbone_lr: learning rate of the backbone (paper: 2e-4, released code: 1e-4).
            betas: Adam's decay rates (released code: 0.5, 0.999).
            pair_weight: weight of each loss of a discriminator or generator pair (paper: 1, released code: 0.5).
            center_loss: Eq. 6 as a mean (paper) or as a sum over the features (released code).
            full_rate_centers: divide the gradient of the centers by lambda_center (released code) or not (paper).
            block: residual blocks of the released code, or as Table 5 lists them.
            batchnorm: running statistics of g_r for each stratum, or pooled as in the released code. The only
                default that is not the released code's: one average over all passes fits no single stratum.
            adjust: add log P(Y | d) of each image's stratum to the averaged logits in Eq. 7, as `LogitAdjustment`
                does. Not the paper's; it is what helps most out of distribution (docs/results.md).
            head_bias: whether the discriminators' last layer has a bias (released code: no).
            init: N(0, 0.02) of the released code, or PyTorch's default.
        """
        super().__init__(
            channels, lambda_feature, lambda_classifier, lr, backbone_lr, betas, pair_weight, block, head_bias, init
        )
        self.lambda_center, self.center_loss, self.full_rate_centers = lambda_center, center_loss, full_rate_centers
        self.batchnorm, self.adjust = batchnorm, adjust

    def build(self, task: Task, backbone: Backbone) -> None:
        self._build(task, backbone, self.batchnorm)
        if self.adjust:
            self.register_buffer("log_prior", torch.zeros(len(task.strata), len(task.emotions)))
        self.centers = nn.Parameter(torch.randn(len(task.strata), self.channels, *backbone.grid))

    def phases(self) -> dict[str, list[dict[str, Any]]]:
        phases = super().phases()
        phases["features"][0]["params"].append(self.centers)
        return phases

    def begin(self, stage: int, epoch: int, training: Training) -> None:
        if self.adjust:
            self.log_prior.copy_(emotion_log_prior(training, *self.log_prior.shape))

    def forward(self, batch: Batch) -> Tensor:
        return self._intervene(self.backbone(batch.images)).mean(dim=1)

    def predict(self, batch: Batch) -> Prediction:
        features = self.backbone(batch.images)
        strata_logits = self._intervene(features)
        confounder_logits = self.context_discriminator(self.context_generator(features))
        return Prediction(strata_logits.mean(dim=1), strata_logits, confounder_logits)

    def context(self, batch: Batch) -> Context:
        return Context(self.context_generator(self.backbone(batch.images)), self.centers)

    def answer(self, batch: Batch) -> Prediction:
        strata_logits = self._intervene(self.backbone(batch.images))
        return Prediction(strata_logits.mean(dim=1), strata_logits)

    def fold(self) -> None:
        super().fold()
        self.reconstruction.fold(self.centers)

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        # Algorithm 1, line 2. The feature losses train nothing in f_b, so they see constants.
        features = self._base_features(batch.images)
        fixed = features.detach()
        emotion, context = self.emotion_generator(fixed), self.context_generator(fixed)

        yield "discriminators", self._discriminate(emotion, context, batch)  # line 3

        terms = self._disentangle(emotion, context, fixed)
        terms["confounder"] = self._gather(context, batch.stratum)
        yield "features", terms  # line 4

        # Lines 5 - 7. f_b has not moved, g_e has: it is forwarded again. (The released code reuses the features
        # from before the step, which PyTorch has refused as an in-place error since 1.5.)
        with frozen(self.reconstruction):
            strata_logits = self._intervene(features)
        if self.adjust:
            strata_logits = strata_logits + self.log_prior[batch.stratum][:, None]
        yield "classifier", {"classifier": self.lambda_classifier * losses.intervention(strata_logits, batch.emotion)}

    def _gather(self, context: Tensor, stratum: Tensor) -> Tensor:
        """lambda_2 times Eq. 6; with `full_rate_centers`, C receives the gradient of Eq. 6 itself."""
        centers = self.centers.view_as(self.centers)
        if self.full_rate_centers and centers.requires_grad and self.lambda_center:
            centers.register_hook(lambda gradient: gradient / self.lambda_center)
        return self.lambda_center * losses.center(context, centers, stratum, self.center_loss)

    def _intervene(self, features: Tensor) -> Tensor:
        """f_c(g_r(g_e(f), C_i)) for every stratum i: [B, K, E]."""
        pooled = self.reconstruction.intervene(self.emotion_generator(features), self.centers.detach())
        return self.classifier(pooled).transpose(0, 1)
