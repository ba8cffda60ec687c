"""The losses of IERN (Chen et al., ACM MM 2022) as pure functions, one equation each."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Reduction = Literal["sum", "mean"]


def recognition(logits: Tensor, labels: Tensor) -> Tensor:
    """l_CE, the first terms of Eq. 3 and 4: a discriminator names the emotion or the stratum.

    logits: [B, N]. labels: [B] int64. Returns the mean over the batch.
    """
    return F.cross_entropy(logits, labels)


def confusion(logits: Tensor) -> Tensor:
    """l_MSE(softmax(logits), 1 / N), the second terms of Eq. 3 and 4: the other discriminator cannot tell.

    logits: [B, N]. Returns the mean over batch and classes; 0 where every class is equally probable.
    """
    probabilities = logits.softmax(dim=1)
    return F.mse_loss(probabilities, torch.full_like(probabilities, 1 / logits.shape[1]))


def reconstruction(rebuilt: Tensor, features: Tensor) -> Tensor:
    """l_MSE(g_r(g_e(f), g_c(f)), f), Eq. 5. Both [B, C, h, w]; the mean over all elements."""
    return F.mse_loss(rebuilt, features)


def center(context: Tensor, centers: Tensor, stratum: Tensor, reduction: Reduction = "sum") -> Tensor:
    """Distance of each context feature to the center of its own stratum, Eq. 6.

    context: [B, C, h, w]. centers: [K, C, h, w]. stratum: [B] int64. The paper prints a mean squared error
    ("mean"); the released code sums over the features of an image and averages over the batch ("sum", the
    default, because lambda_2 = 5e-4 belongs to it).
    """
    squared = (context - centers[stratum]).square()
    return squared.mean() if reduction == "mean" else squared.sum() / len(context)


def intervention(strata_logits: Tensor, emotion: Tensor) -> Tensor:
    """Cross-entropy of the logits averaged over the strata, Eq. 7: every stratum weighs 1 / K.

    strata_logits: [B, K, E], f_c(g_r(g_e(f), C_i)) for each stratum i. emotion: [B] int64.
    """
    return F.cross_entropy(strata_logits.mean(dim=1), emotion)
