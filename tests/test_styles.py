"""Styles change how an image looks, never its shape or range, and only by PyTorch's generator."""

import colorsys
import math

import numpy as np
import pytest
import torch

from emodo import styles

OFF = {"colour": 0, "gray": 0, "blur": 0, "noise": 0, "amplitude": 0}
ALONE = {"colour": 1.0, "gray": 1.0, "blur": 40.0, "noise": 0.2, "amplitude": 1.0}


def drawn(n=12, height=20, width=24, seed=0):
    random = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n, 3, height, width, generator=random, dtype=torch.float64) - 1


def strata(n=12):
    return torch.arange(n) % 3


@pytest.mark.parametrize("settings", [{}, *({**OFF, name: ALONE[name]} for name in OFF)], ids=["all", *OFF])
def test_every_style_keeps_shape_and_range_and_follows_the_seed(settings):
    images = drawn().float()

    def styled(seed):
        torch.manual_seed(seed)
        return styles.random_style(images, strata(), **settings)

    once = styled(1)
    assert once.shape == images.shape
    assert once.dtype == images.dtype
    assert once.is_contiguous(memory_format=torch.channels_last)
    assert once.abs().max() <= 1
    assert torch.equal(once, styled(1))
    if settings.get("gray") != 1:  # gray has no strength to draw
        assert not torch.equal(once, styled(2))
    changed = (once - images).flatten(1).abs().max(dim=1).values > 1e-3
    assert changed.any()
    if settings and settings["gray"] != 1:
        assert not changed.all()


def test_without_any_change_an_image_stays_itself():
    images = drawn()
    assert torch.equal(styles.random_style(images, strata(), **OFF), images)


def test_every_image_gets_a_style_of_its_own():
    images = drawn(1).expand(30, 3, 20, 24)
    styled = styles.random_style(images, strata(30))
    assert len({tuple(one.flatten()[:5].tolist()) for one in styled}) > 25


def test_the_style_does_not_depend_on_mixed_precision():
    images = drawn().float()
    torch.manual_seed(0)
    plain = styles.random_style(images, strata())
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = styles.random_style(images, strata())
    assert torch.equal(mixed, plain)


# --------------------------------------------------------------------------------------------- partners


def test_partners_are_of_another_stratum():
    stratum = torch.tensor([0, 0, 0, 0, 1, 2, 2, -1])
    seen = [set() for _ in stratum]
    for _ in range(200):
        partner = styles.partners(stratum)
        assert (stratum[partner] != stratum).all()
        for own, found in zip(seen, partner.tolist(), strict=True):
            own.add(found)
    assert seen[4] == {0, 1, 2, 3, 5, 6, 7}  # each of the others is drawn


@pytest.mark.parametrize("stratum", [0, -1])
def test_where_all_are_alike_partners_are_any_others(stratum):
    drawn = {tuple(styles.partners(torch.full((3,), stratum)).tolist()) for _ in range(100)}
    assert all(partner[i] != i for partner in drawn for i in range(3))
    assert len(drawn) == 8
    assert styles.partners(torch.tensor([stratum])).tolist() == [0]


# -------------------------------------------------------------------------------------------- amplitudes


@pytest.mark.parametrize("window", [1.0, 0.32])
def test_swapped_amplitudes_are_a_mixture_and_phases_stay(window):
    images, partner, share = drawn(4), torch.tensor([1, 0, 3, 0]), torch.tensor([0.0, 0.3, 1.0, 0.7]).double()
    found = np.fft.fft2(styles.swap_amplitude(images, partner, share, window).numpy())
    spectrum = np.fft.fft2(images.numpy())
    low = (np.abs(np.fft.fftfreq(20))[:, None] <= window / 2) & (np.abs(np.fft.fftfreq(24)) <= window / 2)
    for i, (j, s) in enumerate(zip(partner.tolist(), share.tolist(), strict=True)):
        expected = np.where(low, (1 - s) * np.abs(spectrum[i]) + s * np.abs(spectrum[j]), np.abs(spectrum[i]))
        np.testing.assert_allclose(np.abs(found[i]), expected, atol=1e-9)
        np.testing.assert_allclose(found[i] / np.abs(found[i]), spectrum[i] / np.abs(spectrum[i]), atol=1e-7)


@pytest.mark.parametrize("shape", [(5, 7), (8, 8), (1, 1)])
def test_a_share_of_zero_leaves_the_image_of_any_size(shape):
    images = drawn(2, *shape)
    torch.testing.assert_close(styles.swap_amplitude(images, torch.tensor([1, 0]), torch.zeros(2).double()), images)


def test_a_blank_image_has_amplitudes_to_swap():
    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    assert styles.swap_amplitude(images, torch.tensor([1, 0]), torch.ones(2)).isfinite().all()


# ------------------------------------------------------------------------------------------------ colour


def test_jitter_is_brightness_contrast_saturation_hue_gain_and_shift_in_turn():
    images = drawn(5)
    torch.manual_seed(3)
    found = styles.jitter(images, 0.5)
    torch.manual_seed(3)
    b, c, s, turn = (2 * torch.rand(4, 5, dtype=torch.float64) - 1).numpy()
    gains, shifts = (2 * torch.rand(2, 5, 3, dtype=torch.float64) - 1).numpy()
    for i, image in enumerate((images.numpy() + 1) / 2):  # light in 0 .. 1
        luma = np.array(styles.LUMA)
        x = image * (1 + 0.4 * b[i])
        x = (1 + 0.4 * c[i]) * x - 0.4 * c[i] * np.tensordot(luma, x, 1).mean()
        x = (1 + 0.4 * s[i]) * x - 0.4 * s[i] * np.tensordot(luma, x, 1)
        axis, angle = np.ones(3) / math.sqrt(3), 0.1 * turn[i] * 2 * math.pi
        x = (
            x * math.cos(angle)
            + np.cross(axis, x, axisb=0, axisc=0) * math.sin(angle)
            + axis[:, None, None] * np.tensordot(axis, x, 1) * (1 - math.cos(angle))
        )
        x = x * (1 + 0.2 * gains[i])[:, None, None] + 0.05 * shifts[i][:, None, None]
        np.testing.assert_allclose(found[i].numpy(), 2 * x - 1, atol=1e-12)


def test_a_third_of_a_turn_moves_red_to_green_and_gray_nowhere():
    turned = styles.hue_rotation(torch.tensor([2 * math.pi / 3], dtype=torch.float64))[0]
    assert colorsys.rgb_to_hsv(*(turned @ torch.tensor([1.0, 0, 0]).double()).tolist())[0] == pytest.approx(1 / 3)
    torch.testing.assert_close(turned @ torch.ones(3).double(), torch.ones(3).double())


def test_a_gray_image_has_the_luma_in_all_channels():
    images = drawn(2)
    found = styles.grayscale(images)
    red, green, blue = images[1, :, 4, 5].tolist()
    assert found[1, :, 4, 5].tolist() == pytest.approx([0.299 * red + 0.587 * green + 0.114 * blue] * 3)
    torch.testing.assert_close(styles.grayscale(found), found)


# -------------------------------------------------------------------------------------------------- blur


def test_blur_is_a_gaussian_of_each_images_own_width():
    images, sigma = drawn(3, 11, 7), torch.tensor([0.5, 1.0, 2.5], dtype=torch.float64)
    found = styles.gaussian_blur(images, sigma)
    for i, y, x in [(0, 5, 3), (1, 0, 6), (2, 10, 0)]:
        total, weighed = 0.0, 0.0
        for v, u in np.ndindex(11, 7):
            weight = math.exp(-((y - v) ** 2 + (x - u) ** 2) / (2 * sigma[i].item() ** 2))
            total += weight
            weighed += weight * images[i, 1, v, u].item()
        assert found[i, 1, y, x].item() == pytest.approx(weighed / total, abs=1e-12)


def test_blur_keeps_what_is_even_and_hardly_moves_what_is_narrow():
    even = torch.full((2, 3, 9, 5), 0.3)
    torch.testing.assert_close(styles.gaussian_blur(even, torch.tensor([0.1, 30.0])), even)
    images = drawn(1)
    torch.testing.assert_close(styles.gaussian_blur(images, torch.tensor([0.01])), images)
