"""Each intervention changes what it says, by as much as it says, and nothing else; the same seed, the same pixels."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from emodo.data import GRAY
from emodo.interventions import (
    CONTROL,
    INTERVENTIONS,
    Shown,
    background,
    generator,
    intervene,
    mask,
    partners,
    without_person,
)

BOX = np.array([10.0, 5.0, 30.0, 25.0])
DOSES = [(name, strength) for name, each in INTERVENTIONS.items() for strength in each.strengths]


def picture(seed=0, height=40, width=50):
    """Smooth colours with an edge, [3, H, W] uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [128 + 90 * np.sin(7 * (a * x + b * y) + c) for a, b, c in random.normal(0, 1, (3, 3))]
    image = np.stack(waves)
    image[:, :, width // 2 :] *= 0.7
    return torch.from_numpy(image.round().clip(0, 255).astype(np.uint8))


def done(name, strength, image, seed=0, box=BOX, other=None):
    return intervene((name, strength), Shown(image, box), generator(seed, "a.png"), other or Shown(picture(9), None))


@pytest.mark.parametrize("dose", DOSES)
def test_every_dose_changes_the_image_and_leaves_the_one_that_came_in(dose):
    image = picture(height=100, width=120)
    before = image.clone()
    found = done(*dose, image)
    assert torch.equal(image, before)
    assert found.image.dtype == torch.uint8
    assert found.image.shape == image.shape
    assert not torch.equal(found.image, image)


@pytest.mark.parametrize("dose", DOSES)
def test_the_same_seed_and_path_give_the_same_pixels(dose):
    assert torch.equal(done(*dose, picture()).image, done(*dose, picture()).image)


def test_another_seed_or_path_gives_other_noise_and_nothing_else_is_random():
    assert not torch.equal(done("noise", 0.1, picture()).image, done("noise", 0.1, picture(), seed=1).image)
    other = intervene(("noise", 0.1), Shown(picture()), generator(0, "b.png"))
    assert not torch.equal(done("noise", 0.1, picture()).image, other.image)
    for name in set(INTERVENTIONS) - {"noise", "background"}:
        strength = INTERVENTIONS[name].strengths[0]
        assert torch.equal(done(name, strength, picture()).image, done(name, strength, picture(), seed=1).image)


@pytest.mark.parametrize("name", [name for name in INTERVENTIONS if name not in (CONTROL, "compression")])
def test_the_strength_that_changes_nothing_changes_nothing(name):
    assert torch.equal(done(name, INTERVENTIONS[name].unchanged, picture()).image, picture())


@pytest.mark.parametrize("name", [name for name in INTERVENTIONS if name not in (CONTROL, "brightness")])
def test_strengths_go_from_mild_to_strong(name):
    image = picture().float()
    far = [
        (done(name, strength, picture()).image.float() - image).abs().mean()
        for strength in INTERVENTIONS[name].strengths
    ]
    assert far == sorted(far)
    assert len(far) >= 3


def test_strengths_of_brightness_lie_ever_farther_from_one():
    away = [abs(np.log(strength)) for strength in INTERVENTIONS["brightness"].strengths]
    assert away == sorted(away)


def test_gray_is_the_luma_and_half_of_it_half_of_the_colour():
    image = picture()
    luma = (torch.tensor([0.2989, 0.587, 0.114])[:, None, None] * image).sum(dim=0)
    gray = done("gray", 1, image).image
    assert (gray - luma).abs().max() <= 1
    assert torch.equal(gray[0], gray[1])
    half = done("gray", 0.5, image).image
    assert (half - (image + gray.float()) / 2).abs().max() <= 1


def test_brightness_multiplies_and_ends_at_white():
    image = picture()
    for factor in (0.3, 2):
        found = done("brightness", factor, image).image
        assert (found - (factor * image.float()).clamp(0, 255)).abs().max() <= 1


def test_noise_has_the_deviation_that_it_says_and_blur_the_radius():
    even = torch.full((3, 128, 128), 128, dtype=torch.uint8)
    noisy = done("noise", 0.1, even).image.float()
    assert noisy.std() == pytest.approx(25.5, rel=0.02)
    edge = torch.zeros(3, 100, 100, dtype=torch.uint8)
    edge[:, :, 50:] = 200
    profile = done("blur", 0.05, edge).image[0, 50].numpy().astype(float)
    slope = np.diff(profile)
    at = np.arange(len(slope))
    center = (slope * at).sum() / slope.sum()
    assert np.sqrt((slope * (at - center) ** 2).sum() / slope.sum()) == pytest.approx(5, rel=0.05)


def test_noise_is_one_pattern_at_every_strength():
    even = torch.full((3, 64, 64), 128, dtype=torch.uint8)
    mild, strong = (done("noise", strength, even).image.float().flatten() - 128 for strength in (0.05, 0.1))
    assert torch.corrcoef(torch.stack([mild, strong]))[0, 1] > 0.99


def test_compression_is_that_of_a_jpeg_file():
    image = picture()
    held = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(held, "JPEG", quality=10)
    with Image.open(held) as found:
        expected = np.array(found)
    assert np.array_equal(done("compression", 10, image).image.permute(1, 2, 0).numpy(), expected)


def test_a_mirror_takes_the_box_with_it_and_undoes_itself():
    image = picture()
    found = done("mirror", 1, image)
    assert found.box.tolist() == [20, 5, 40, 25]
    assert torch.equal(found.image[:, 5:25, 20:40].flip(-1), image[:, 5:25, 10:30])
    again = done("mirror", 1, found.image, box=found.box)
    assert torch.equal(again.image, image)
    assert again.box.tolist() == BOX.tolist()
    assert done("mirror", 1, image, box=None).box is None


def test_a_mask_fills_its_share_of_the_box_from_the_middle():
    image = picture(3)
    image[image == GRAY] += 1
    whole = mask(image, BOX, 1)
    assert (whole[:, 5:25, 10:30] == GRAY).all()
    assert (whole == GRAY).all(dim=0).sum() == 400
    quarter = (mask(image, BOX, 0.25) == GRAY).all(dim=0)
    assert quarter.sum() == 100
    assert quarter[10:20, 15:25].all()


def test_a_background_is_anothers_and_the_person_stays():
    image, other = picture(), Shown(picture(1, 20, 90))
    found = background(image, BOX, 1, other)
    inside = torch.zeros(40, 50, dtype=torch.bool)
    inside[5:25, 10:30] = True
    assert torch.equal(found[:, inside], image[:, inside])
    stretched = np.asarray(
        Image.fromarray(other.image.permute(1, 2, 0).numpy()).resize((50, 40), Image.Resampling.BICUBIC)
    )
    expected = torch.from_numpy(stretched.copy()).permute(2, 0, 1)
    assert (found[:, ~inside].float() - expected[:, ~inside]).abs().max() <= 2
    half = background(image, BOX, 0.5, other)[:, ~inside].float()
    assert (half - (image[:, ~inside].float() + found[:, ~inside]) / 2).abs().max() <= 1


def test_the_others_person_is_no_background():
    image = torch.full((3, 40, 50), 60, dtype=torch.uint8)
    image[:, 5:25, 10:30] = 250  # the person
    image[:, 30:, :] = 120
    found = without_person(Shown(image, BOX))
    around = torch.ones(40, 50, dtype=torch.bool)
    around[5:25, 10:30] = False
    assert (found[:, 5:25, 10:30] == round(float(image[0][around].float().mean()))).all()
    assert torch.equal(found[:, around], image[:, around])
    everywhere = np.array([0.0, 0, 50, 40])
    assert torch.equal(without_person(Shown(image, everywhere)), image)


def test_partners_are_of_another_emotion_and_stratum_where_there_are_any():
    emotion, stratum = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 1])
    paths = [f"{row}.png" for row in range(5)]
    seen = [partners(emotion, stratum, paths, seed) for seed in range(20)]
    for drawn in seen:
        assert (emotion[drawn] != emotion).all()
        assert (stratum[drawn] != stratum).all()
    assert {int(drawn[0]) for drawn in seen} == {3, 4}
    assert np.array_equal(seen[0], partners(emotion, stratum, paths, 0))


def test_partners_are_the_best_that_there_are():
    one = np.zeros(3, int)
    drawn = partners(np.array([0, 0, 1]), one, ["a", "b", "c"], 0)
    assert drawn[0] == drawn[1] == 2
    assert partners(one, one, ["a", "a", "b"], 0).tolist()[:2] == [2, 2]  # two people in one image
    assert partners(one, one, ["a", "a", "a"], 0) is None


def test_there_is_no_other_intervention():
    with pytest.raises(KeyError):
        done("sharpen", 1, picture())
