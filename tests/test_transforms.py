"""Images become network input, and augmentation is a function of its key."""

import numpy as np
import pytest
import torch

from emodo.data import Images
from emodo.records import Task
from emodo.transforms import augment, normalise, prepare

KINDS = ["released", "light", "none"]


def noise(height=40, width=40, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8))


def key(*numbers):
    return np.random.default_rng(numbers)


def test_normalise_maps_bytes_to_minus_one_to_one():
    image = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).repeat(3, 1, 1)
    found = normalise(image)
    assert found.dtype == torch.float32
    for byte in (0, 51, 127, 255):  # (x / 255 - .5) / .5
        assert found[0].flatten()[byte].item() == pytest.approx((byte / 255 - 0.5) / 0.5, abs=1e-6)
    assert image[0, 0, 1].item() == 1  # the image itself is left alone


@pytest.mark.parametrize("size", [2, 16, 40, 57])
@pytest.mark.parametrize("shape", [(40, 40), (20, 90), (1, 1), (1, 300)])
def test_prepare_gives_a_square_from_any_image(shape, size):
    found = prepare(noise(*shape), size)
    assert found.shape == (3, size, size)
    assert found.dtype == torch.float32
    assert found.min() >= -1
    assert found.max() <= 1


def test_prepare_leaves_an_image_of_the_size_as_it_is():
    torch.testing.assert_close(prepare(noise(), 40), noise().float() / 127.5 - 1)


def test_prepare_keeps_colours_and_places():
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    image[0, :30, :40] = 255  # the upper left quarter is red
    found = prepare(image, 20)
    assert found[0, :9, :9].min() > 0.95
    assert found[0, 11:].max() < -0.95
    assert found[0, :, 11:].max() < -0.95
    assert found[1:].max() < -0.95


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [16, 32, 48])
@pytest.mark.parametrize("shape", [(48, 48), (20, 90), (1, 7)])
def test_augmentation_gives_the_shape_and_range_of_prepare(kind, size, shape):
    for row in range(5):
        found = augment(noise(*shape), size, kind, key(0, 0, row))
        assert found.shape == (3, size, size)
        assert found.dtype == torch.float32
        assert found.min() >= -1
        assert found.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_key_gives_the_same_image_and_the_image_is_left_alone(kind):
    image = noise()
    before = image.clone()
    for row in range(5):
        assert torch.equal(augment(image, 32, kind, key(1, 2, row)), augment(image, 32, kind, key(1, 2, row)))
    assert torch.equal(image, before)


@pytest.mark.parametrize("kind", KINDS)
def test_augmentation_takes_no_number_from_global_generators(kind):
    def state():
        return torch.get_rng_state(), np.random.get_state()[1]

    before = [part.copy() if isinstance(part, np.ndarray) else part.clone() for part in state()]
    augment(noise(), 32, kind, key(0))
    assert torch.equal(state()[0], before[0])
    assert (state()[1] == before[1]).all()


@pytest.mark.parametrize("kind", ["released", "light"])
def test_other_keys_give_other_images(kind):
    found = [augment(noise(), 32, kind, key(0, 0, row)) for row in range(40)]
    different = {image.numpy().tobytes() for image in found}
    assert len(different) >= 20  # `light` has 6 x 6 places and two sides only


def test_none_is_prepare():
    assert torch.equal(augment(noise(), 32, "none", key(0)), prepare(noise(), 32))


def test_light_is_a_crop_flipped_or_not_and_nothing_else():
    size = 28  # resized to 32: five places each way
    image = noise(32, 32)
    crops = {}
    for top in range(5):
        for left in range(5):
            crop = normalise(image[:, top : top + size, left : left + size])
            crops[crop.numpy().tobytes()] = (top, left, False)
            crops[crop.flip(2).contiguous().numpy().tobytes()] = (top, left, True)
    seen = [crops[augment(image, size, "light", key(row)).numpy().tobytes()] for row in range(400)]
    assert {top for top, _, _ in seen} == {left for _, left, _ in seen} == set(range(5))
    assert 0.4 < np.mean([flipped for _, _, flipped in seen]) < 0.6


def test_released_changes_the_look_a_little():
    gray = torch.full((3, 64, 64), 128, dtype=torch.uint8)
    levels, turned = [], 0
    for row in range(200):
        found = augment(gray, 56, "released", key(row))
        levels.append((found[:, 28, 28].mean().item() + 1) * 127.5)
        corners = found[:, [0, 0, -1, -1], [0, -1, 0, -1]]
        turned += (corners == -1).all(dim=0).any().item()  # a corner that lies outside the image is black
    assert min(levels) >= 128 * 0.9 - 1.5  # brightness by a tenth; contrast is about the gray itself
    assert max(levels) <= 128 * 1.1 + 1.5
    assert np.std(levels) > 4
    assert turned > 150


@pytest.mark.parametrize("size", [32, 224])
def test_released_blurs_every_other_image_by_the_released_radius(monkeypatch, size):
    from emodo import transforms

    sigmas = []
    blur = transforms.tv.gaussian_blur

    def spy(image, kernel, sigma):
        sigmas.append(sigma[0] * 224 / size)
        assert sigma[0] == sigma[1]
        assert kernel[0] == kernel[1]
        assert kernel[0] % 2 == 1
        assert kernel[0] >= 2 * 3 * sigma[0]  # three deviations to each side
        return blur(image, kernel, sigma)

    monkeypatch.setattr(transforms.tv, "gaussian_blur", spy)
    image = noise(size * 8 // 7, size * 8 // 7)
    for row in range(100):
        augment(image, size, "released", key(row))
    assert 35 <= len(sigmas) <= 65
    assert min(sigmas) >= 0.1
    assert max(sigmas) <= 1.5
    assert np.ptp(sigmas) > 1


# ------------------------------------------------------------------ keyed on (seed, epoch, row)


@pytest.fixture
def frame(tmp_path):
    import pandas as pd
    from PIL import Image

    file = tmp_path / "face.png"
    Image.fromarray(noise(64, 64).permute(1, 2, 0).numpy()).save(file)
    return pd.DataFrame({"path": ["face.png"] * 3, "emotion": "joy", "file": str(file)})


def image_of(frame, i, kind, seed, epoch):
    return Images(frame, Task(("joy",)), 48, kind, seed, epoch)[i][0]["images"]


@pytest.mark.parametrize("kind", ["released", "light"])
def test_an_images_augmentation_differs_by_seed_epoch_and_row_and_repeats(frame, kind):
    keys = [(row, seed, epoch) for row in range(3) for seed in range(3) for epoch in range(3)]
    found = {k: image_of(frame, k[0], kind, *k[1:]) for k in keys}
    if kind == "released":
        assert len({image.numpy().tobytes() for image in found.values()}) == 27
    else:
        assert len({image.numpy().tobytes() for image in found.values()}) > 20
    assert all(torch.equal(image_of(frame, k[0], kind, *k[1:]), image) for k, image in found.items())


def test_the_row_is_that_of_the_manifest_wherever_it_stands(frame):
    whole = image_of(frame, 2, "released", 0, 0)
    part = image_of(frame[frame.index == 2], 0, "released", 0, 0)
    assert torch.equal(whole, part)
    assert not torch.equal(whole, image_of(frame, 0, "released", 0, 0))


def test_without_an_epoch_nothing_is_augmented(frame):
    assert torch.equal(image_of(frame, 1, "released", 0, None), prepare(noise(64, 64), 48))
    assert torch.equal(image_of(frame, 1, "none", 3, 5), prepare(noise(64, 64), 48))
