"""The losses of IERN (Chen et al., ACM MM 2022), and of the methods beside it, as pure functions, one equation each."""

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


def adjusted_recognition(logits: Tensor, log_prior: Tensor, labels: Tensor) -> Tensor:
    """-log P(y | x, d), where P(y | x, d) is in proportion to P(y | d) exp(f_y(x)): logits that need not hold P(Y | d).

    The logit-adjusted loss of Menon et al. (ICLR 2021, Eq. 10) with the prior of each image's stratum.

    logits: [B, E], f(x). log_prior: [B, E], log P(Y | d) of each image's stratum, minus infinity where it is 0; the
    label's is finite, as the image itself shows it. labels: [B] int64. Returns the mean over the batch.
    """
    return F.cross_entropy(logits + log_prior, labels)


# ------------------------------------------------------------------------ of several emotions a row

ABSENT = 1e-4  # weight of a category that no row holds, as in the released code of EMOTIC


def binary_cross_entropy(logits: Tensor, emotions: Tensor) -> Tensor:
    """-y log p - (1 - y) log(1 - p) with p = sigmoid(logit), each emotion by itself; the mean over batch and emotions.

    logits: [B, E]. emotions: [B, E], y, 0 or 1.
    """
    return F.binary_cross_entropy_with_logits(logits, emotions)


def category_weights(emotions: Tensor, c: float = 1.2) -> Tensor:
    """w_i = 1 / ln(c + p_i), p_i the share of the rows that hold emotion i: the rarer, the heavier.

    The weights of EMOTIC's discrete loss (Kosti et al., TPAMI 2019, with c as in their code); `ABSENT` for an emotion
    that no row holds. The released code (rkosti/emotic) has the number of rows in place of their share, over all
    training rows or over each batch.

    emotions: [N, E] of 0 and 1, the training rows' or a batch's. Returns [E].
    """
    share = emotions.mean(dim=0)
    return torch.where(share > 0, 1 / torch.log(c + share), ABSENT)


def discrete_category(logits: Tensor, emotions: Tensor, weights: Tensor) -> Tensor:
    """sum_i w_i (p_i - y_i)^2, EMOTIC's weighted Euclidean loss (Kosti et al., TPAMI 2019); the mean over the batch.

    Here p = sigmoid(logit), so that predictions are probabilities; the released code compares the last linear layer's
    output itself with y. logits: [B, E]. emotions: [B, E], y, 0 or 1. weights: [E], see `category_weights`.
    """
    return (weights * (logits.to(emotions.dtype).sigmoid() - emotions).square()).sum(dim=1).mean()


# ----------------------------------------------------------------------------- of general methods


def weighted(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of each image times its weight, the mean over the batch.

    logits: [B, N]. labels: [B] int64. weights: [B]; they are not normalised, so that an image weighs the same in
    every batch.
    """
    return (F.cross_entropy(logits, labels, reduction="none") * weights).mean()


def group_sums(values: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Sum of the values of each group, and how many there are: [G] each. values: [B]. group: [B] int64."""
    zeros = values.new_zeros(groups)
    return zeros.index_add(0, group, values), zeros.index_add(0, group, torch.ones_like(values))


def exponentiated(weights: Tensor, group_losses: Tensor, eta: float) -> Tensor:
    """Weights of the groups, raised where the loss is: q_g exp(eta l_g), normalised.

    Algorithm 1 of group DRO (Sagawa et al., ICLR 2020). weights, group_losses: [G]. Returns [G]; a weight of 0 stays 0.
    """
    raised = weights * torch.exp(eta * group_losses)
    return raised / raised.sum()


def coral(features: Tensor, stratum: Tensor, strata: int, match_means: bool = True) -> Tensor:
    """Mean distance of covariance and mean between the features of every two strata in the batch.

    Deep CORAL (Sun and Saenko, ECCV 2016 workshops, Eq. 1) for two strata compares covariances,
    ||C_i - C_j||^2 / (4 d^2). DomainBed (Gulrajani and Lopez-Paz, ICLR 2021) averages over all pairs, leaves out
    the 4, and adds ||m_i - m_j||^2 / d, as here; `match_means=False` leaves the means out again.

    features: [B, d]. stratum: [B] int64. A stratum with fewer than two images in the batch has no covariance and is
    left out; 0 where fewer than two strata remain.
    """
    members = F.one_hot(stratum, strata).to(features.dtype).T  # [K, B]
    sizes = members.sum(dim=1)
    means = members @ features / sizes.clamp(min=1)[:, None]  # [K, d]
    centred = members[:, :, None] * (features - means[stratum])  # [K, B, d]
    covariances = centred.transpose(1, 2) @ centred / (sizes - 1).clamp(min=1)[:, None, None]  # [K, d, d]
    present = (sizes >= 2).to(features.dtype)

    def mean_distance(parts: Tensor) -> Tensor:
        """Mean over pairs of |p_i - p_j|^2: 2 / (n - 1) times the sum of |p_i - mean p|^2, without any pair."""
        center = present @ parts / present.sum().clamp(min=1)
        squared = (parts - center).square().mean(dim=1)
        return 2 * present @ squared / (present.sum() - 1).clamp(min=1)

    distance = mean_distance(covariances.flatten(1))
    return distance + mean_distance(means) if match_means else distance


def generalised_cross_entropy(logits: Tensor, labels: Tensor, q: float) -> Tensor:
    """(1 - p_y^q) / q, L_q of Zhang and Sabuncu (NeurIPS 2018), which dwells on what is already easy.

    logits: [B, N]. labels: [B] int64. q: in (0, 1]; cross-entropy as q goes to 0. Returns the mean over the batch.
    """
    return (-torch.expm1(-q * F.cross_entropy(logits, labels, reduction="none")) / q).mean()


def relative_difficulty(biased: Tensor, debiased: Tensor) -> Tensor:
    """Weight of each image by its losses under two networks, [B]: l_B / (l_B + l_D), W(x) of LfF (Nam et al. 2020)."""
    return biased / (biased + debiased).clamp(min=torch.finfo(biased.dtype).tiny)


def sparse_center(features: Tensor, weights: Tensor, centers: Tensor, emotion: Tensor) -> Tensor:
    """Attention-weighted distance of each feature to the center of its own emotion: DACL's sparse center loss.

    (1 / 2B) sum_i sum_j A_ij (f_ij - c_yj)^2 (Farzaneh and Qi, WACV 2021, Section 3). features, weights A: [B, C].
    centers: [E, C]. emotion: [B] int64.
    """
    return (weights * (features - centers[emotion]).square()).sum() / (2 * len(features))


# ------------------------------------------------------------------------------------------- of CLEF


def divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """KL(softmax(logits) || softmax(reference)), the mean over the batch. Both [B, N], or broadcast to it."""
    log_p, log_q = logits.log_softmax(dim=1), reference.log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()
