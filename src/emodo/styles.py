"""The look of an image, drawn anew: random functions on normalised batches, [B, 3, H, W] in -1 .. 1, on any device.

Every image gets a style of its own; nothing loops over images. Random numbers are PyTorch's. Ranges are those of the
papers named beside them, chosen once and not tuned on any data of ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as torchvision's grayscale


def random_style(
    images: Tensor,
    stratum: Tensor,
    colour: float = 1.0,
    gray: float = 0.2,
    blur: float = 2.0,
    noise: float = 0.2,
    amplitude: float = 1.0,
    window: float = 1.0,
) -> Tensor:
    """Give every image a random style; what it shows stays where it is.

    Colour is changed in 8 of 10 images and blurred in 5, as in SimCLR (Chen et al. 2020, appendix A); noise and
    amplitudes are changed in 5 of 10. Strength 0 switches a change off.

    Args:
        images: [B, 3, H, W] in -1 .. 1.
        stratum: [B] int64, -1 where unknown; amplitudes come from an image of another stratum where there is one.
        colour: strength of `jitter` (SimCLR: 1).
        gray: probability of a gray image (SimCLR: 0.2).
        blur: largest standard deviation of the blur in pixels of an image of 224, scaled with its side (SimCLR: 2).
        noise: largest standard deviation of Gaussian noise on this scale (0.2: between severities 1 and 2 of
            ImageNet-C, Hendrycks and Dietterich 2019).
        amplitude: largest share of another image's amplitudes, the eta of Xu et al. 2021 (theirs: 1).
        window: see `swap_amplitude` (1, as Xu et al. 2021).

    Returns [B, 3, H, W] in -1 .. 1, channels-last.
    """
    styled = images
    if amplitude:
        swapped = swap_amplitude(styled, partners(stratum), amplitude * _uniform(images), window)
        styled = _sometimes(0.5, swapped, styled)
    if colour:
        styled = _sometimes(0.8, jitter(styled, colour), styled)
    if gray:
        styled = _sometimes(gray, grayscale(styled), styled)
    if blur:
        sigma = (0.1 + (blur - 0.1) * _uniform(images)) * images.shape[-1] / 224
        styled = _sometimes(0.5, gaussian_blur(styled, sigma), styled)
    if noise:
        drawn = torch.randn_like(styled) * noise * _uniform(images)[:, None, None, None]
        styled = _sometimes(0.5, styled + drawn, styled)
    return styled.clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def partners(stratum: Tensor) -> Tensor:
    """For each image another one, drawn from the other strata of the batch where there are any, else from all.

    stratum: [B] int64. Returns [B] int64, indices into the batch; an image alone is its own partner.
    """
    others = stratum[:, None] != stratum[None, :]  # [B, B]
    itself = torch.eye(len(stratum), device=stratum.device)
    return (torch.rand(others.shape, device=stratum.device) + others.float() - 2 * itself).argmax(dim=1)


def swap_amplitude(images: Tensor, partner: Tensor, share: Tensor, window: float = 1.0) -> Tensor:
    """Amplitudes mixed with a partner's, phases kept: amplitude mix of Xu et al. (CVPR 2021).

    images: [B, 3, H, W]. partner: [B] int64. share: [B], their lambda: how much of the amplitude is the partner's.
    window: side of the square of low frequencies that are mixed, as a part of all; 1 mixes all (Xu et al.), twice
    the beta of FDA (Yang and Soatto, CVPR 2020) those that FDA swaps. Returns [B, 3, H, W], its range not limited.
    """
    height, width = images.shape[-2:]
    spectrum = torch.fft.rfft2(images)  # [B, 3, H, W // 2 + 1]
    amplitude = spectrum.abs()
    mixed = torch.lerp(amplitude, amplitude[partner], share[:, None, None, None])
    low_y = torch.fft.fftfreq(height, device=images.device).abs() <= window / 2
    low_x = torch.fft.rfftfreq(width, device=images.device).abs() <= window / 2
    mixed = torch.where(low_y[:, None] & low_x, mixed, amplitude)
    return torch.fft.irfft2(mixed * spectrum.sgn(), s=(height, width))


def jitter(images: Tensor, strength: float) -> Tensor:
    """Random brightness, contrast, saturation and hue, and a gain and a shift of each channel, for each image.

    The first four have the ranges of SimCLR: factors within 1 +- 0.8 strength, hue within 0.2 strength of a turn
    about the gray axis. Gains within 1 +- 0.4 strength and shifts within 0.1 strength of the range are ours, and
    stand for white balance. All of it is one 3x3 matrix and one shift an image. Returns [B, 3, H, W], its range not
    limited.
    """
    brightness, contrast, saturation = (
        (1 + 0.8 * strength * (2 * _uniform(images) - 1)).clamp_min(0)[:, None, None] for _ in range(3)
    )
    turn = 0.2 * strength * (2 * _uniform(images) - 1) * 2 * math.pi
    drawn = 2 * torch.rand(2, len(images), 3, 1, device=images.device, dtype=images.dtype) - 1
    gain, shift = 1 + 0.4 * strength * drawn[0], 0.2 * strength * drawn[1]  # the range of -1 .. 1 is 2
    luma = images.new_tensor(LUMA).expand(3, 3)
    eye = torch.eye(3, device=images.device, dtype=images.dtype)
    mean_gray = (grayscale(images).mean(dim=(1, 2, 3)) + 1)[:, None, None]
    shift = shift + gain * (1 - contrast) * brightness * mean_gray  # [B, 3, 1]; gray stays gray in the matrices
    with torch.autocast(images.device.type, enabled=False):
        matrix = hue_rotation(turn) @ (saturation * eye + (1 - saturation) * luma)  # [B, 3, 3]
        matrix = gain * contrast * brightness * matrix
        light = matrix @ (images + 1).flatten(2)  # a pixel without light is -1
    return (light + shift).view_as(images) - 1


def hue_rotation(angle: Tensor) -> Tensor:
    """Rotations of RGB about the gray axis (Rodrigues' formula). angle: [B] in radians. Returns [B, 3, 3]."""
    angle = angle[:, None, None]
    eye = torch.eye(3, device=angle.device, dtype=angle.dtype)
    cross = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=angle.device, dtype=angle.dtype)
    return angle.cos() * eye + (1 - angle.cos()) / 3 + angle.sin() / math.sqrt(3) * cross


def grayscale(images: Tensor) -> Tensor:
    """Luma in all three channels, [B, 3, H, W] -> the same."""
    luma = images.new_tensor(LUMA)[:, None, None]
    return (images * luma).sum(dim=1, keepdim=True).expand_as(images)


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image with a standard deviation of its own.

    images: [B, 3, H, W]. sigma: [B] in pixels, more than 0. Two products with a matrix an image, [H, H] and [W, W],
    whose rows sum to one also at the borders. Returns [B, 3, H, W].
    """

    def kernel(length: int) -> Tensor:
        at = torch.arange(length, device=images.device, dtype=images.dtype)
        weights = torch.exp(-0.5 * ((at[:, None] - at) / sigma[:, None, None]).square())  # [B, length, length]
        return weights / weights.sum(dim=2, keepdim=True)

    with torch.autocast(images.device.type, enabled=False):
        vertical, horizontal = kernel(images.shape[-2]), kernel(images.shape[-1])
        return vertical[:, None] @ images @ horizontal[:, None].transpose(2, 3)


def _uniform(images: Tensor) -> Tensor:
    """One number in 0 .. 1 for each image, [B]."""
    return torch.rand(len(images), device=images.device, dtype=images.dtype)


def _sometimes(probability: float, changed: Tensor, unchanged: Tensor) -> Tensor:
    """Each image of `changed` with that probability, else the one of `unchanged`."""
    return torch.where((_uniform(unchanged) < probability)[:, None, None, None], changed, unchanged)
