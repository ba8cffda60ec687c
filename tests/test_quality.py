"""Each measure of quality orders images of known degradation, and takes one degradation for no other."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emodo import manifest, quality
from emodo.quality import LUMA, MEASURES, blockiness, blur, jpeg_quality, measure, noise
from emodo.records import InputError, Reading
from emodo.strata import strata
from emodo.synthetic.degradations import apply, degrade
from emodo.synthetic.scenes import Look, draw

READING = Reading(Path("m.csv"), 224, 50_000_000, 7, 0, "cpu")
BLURS = [0, 0.006, 0.012, 0.024]  # of the shorter side
NOISES = [0, 0.03, 0.06, 0.12]


def scene(number, size=112):
    return Image.fromarray(draw(0, "train", number, "positive", Look(size=size)).pixels)


def light(image):
    return np.asarray(image, float) / 255 @ LUMA


def degraded(image, by_blur=0.0, by_noise=0.0, seed=0):
    image = apply(image, "blur", by_blur, 0, np.random.default_rng(seed)) if by_blur else image
    return apply(image, "noise", 0, by_noise, np.random.default_rng(seed)) if by_noise else image


def measured(images, folder, kind="png", crop=False, boxes=None, **options):
    """The measures of images that are written as files first."""
    names = [f"{number}.{kind}" for number in range(len(images))]
    for name, image in zip(names, images, strict=True):
        image.save(folder / name, **options)
    pd.DataFrame({"path": names, "emotion": "joy", **(boxes or {})}).to_csv(folder / "m.csv", index=False)
    return measure(manifest.load(folder / "m.csv"), READING, crop)


# ---------------------------------------------------------------------------------- order, and no confusion


@pytest.mark.parametrize("size", [64, 112, 224])
@pytest.mark.parametrize("number", range(4))
def test_blur_rises_with_blur_and_noise_does_not(number, size):
    images = [degraded(scene(number, size), by_blur) for by_blur in BLURS]
    radii = [blur(light(image)) for image in images]
    assert radii == sorted(radii)
    assert radii[-1] > 2 * radii[0]
    sharp = noise(light(images[0]))
    assert all(noise(light(image)) <= sharp for image in images)


@pytest.mark.parametrize("size", [64, 112, 224])
@pytest.mark.parametrize("number", range(4))
def test_noise_rises_with_noise_and_blur_does_not(number, size):
    images = [degraded(scene(number, size), by_noise=by_noise) for by_noise in NOISES]
    found = [noise(light(image)) for image in images]
    assert found == sorted(found)
    assert found[-1] > (2 if size < 192 else 1.5) * found[0]  # there, grains are two pixels wide
    blurred = blur(light(degraded(scene(number, size), 0.024)))
    assert all(blur(light(image)) < 0.7 * blurred for image in images)


def test_what_is_blurred_and_then_noisy_is_both():
    for number in range(4):
        both = light(degraded(scene(number), 0.012, 0.03))
        clean = light(scene(number))
        assert blur(both) > 1.2 * blur(clean)
        assert noise(both) > noise(clean)


@pytest.mark.parametrize("radius", [1.0, 2.0, 4.0])
def test_blur_is_the_radius_of_an_edge_and_the_width_of_a_pixels_differences(radius):
    at = np.arange(-40, 41)
    edge = np.array([0.5 * (1 + math.erf(x / (radius * math.sqrt(2)))) for x in at])
    expected = math.sqrt(radius**2 + 5 / 24)
    for contrast in (0.1, 0.8):
        assert blur(np.tile(contrast * edge, (30, 1))) == pytest.approx(expected, rel=0.01)
        assert blur(np.tile(contrast * edge, (30, 1)).T) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.2])
def test_noise_is_its_standard_deviation_on_edges_and_ramps_too(sigma):
    random = np.random.default_rng(0)
    ramp = np.add.outer(np.linspace(0, 1, 200), np.linspace(0, 0.5, 200))
    ramp[:, 100:] += 0.5
    assert noise(ramp) < 1e-3 + 0.01  # the edge alone
    assert noise(ramp + random.normal(0, sigma, ramp.shape)) == pytest.approx(sigma, rel=0.1, abs=0.01)


def test_noise_is_immerkaers_sum():
    image = np.random.default_rng(1).random((9, 11))
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    total = sum(abs((image[y : y + 3, x : x + 3] * mask).sum()) for y in range(7) for x in range(9))
    assert noise(image) == pytest.approx(math.sqrt(math.pi / 2) * total / (6 * 9 * 7))


def test_gray_and_brightness_follow_what_was_done(tmp_path):
    image = scene(0)
    gray = Image.fromarray(np.repeat(np.asarray(image.convert("L"))[..., None], 3, axis=2))
    half = Image.blend(image, gray, 0.5)
    dark = Image.fromarray((np.asarray(image) * 0.5).astype(np.uint8))
    found = measured([image, half, gray, dark], tmp_path)
    assert found["gray"][0] < found["gray"][1] < found["gray"][2] == 1
    assert found["brightness"][3] == pytest.approx(found["brightness"][0] / 2, abs=0.01)
    pixels = np.asarray(image, float) / 255
    assert found["brightness"][0] == pytest.approx((pixels @ [0.299, 0.587, 0.114]).mean())
    assert found["gray"][0] == pytest.approx(1 - (pixels.max(axis=2) - pixels.min(axis=2)).mean())


# --------------------------------------------------------------------------------------- compression


def test_the_quality_of_a_jpeg_is_read_from_its_tables(tmp_path):
    file = tmp_path / "a.jpg"
    for wanted in (1, 5, 25, 50, 75, 90, 95, 100):
        scene(0).save(file, quality=wanted)
        assert jpeg_quality(file) == wanted
    scene(0).save(tmp_path / "a.png")
    assert math.isnan(jpeg_quality(tmp_path / "a.png"))


@pytest.mark.parametrize("size", [64, 224])
def test_blocks_show_what_was_compressed_once_it_is_decoded(tmp_path, size):
    for number in range(4):
        found = []
        for wanted in (95, 60, 25, 5):
            scene(number, size).save(tmp_path / "a.jpg", quality=wanted)
            with Image.open(tmp_path / "a.jpg") as image:
                found.append(blockiness(light(image.convert("RGB"))))
        assert found == sorted(found)
        assert found[-1] > 1 > found[0]
        assert blockiness(light(degraded(scene(number, size), 0.012))) < found[2]
        assert blockiness(light(degraded(scene(number, size), by_noise=0.1))) < 0.2


def test_blocks_are_found_where_they_are():
    image = np.add.outer(np.arange(64) // 8, np.arange(64) // 8) / 20
    image = image + np.random.default_rng(0).normal(0, 0.001, image.shape)
    assert blockiness(image) > 10
    assert blockiness(image[3:, 3:]) < 0.1  # elsewhere is not at the borders


def test_compression_is_one_scale_for_all_files(tmp_path, capsys):
    (tmp_path / "jpg").mkdir()
    (tmp_path / "mixed").mkdir()
    jpegs = measured([scene(0), scene(1)], tmp_path / "jpg", "jpg", quality=80)
    assert jpegs["compression"].tolist() == [20, 20]
    assert not capsys.readouterr().err
    scene(0).save(tmp_path / "mixed" / "a.jpg", quality=10)
    scene(0).save(tmp_path / "mixed" / "b.png")
    pd.DataFrame({"path": ["a.jpg", "b.png"], "emotion": "joy"}).to_csv(tmp_path / "mixed" / "m.csv", index=False)
    mixed = measure(manifest.load(tmp_path / "mixed" / "m.csv"), READING, False)["compression"]
    assert mixed[0] > mixed[1] + 0.5
    assert "m.csv: 1 of 2 files tell no JPEG quality" in capsys.readouterr().err


# ------------------------------------------------------------------------------------- of a manifest


def test_the_person_is_measured_and_the_whole_on_demand(tmp_path):
    pixels = np.asarray(scene(0, 64)).copy()
    pixels[:32, :32] = 128
    boxes = {"x1": 0, "y1": 0, "x2": 32, "y2": 32}
    person = measured([Image.fromarray(pixels)], tmp_path, crop=True, boxes=boxes)
    assert person["resolution"][0] == 32 * 32
    assert person["gray"][0] == 1
    assert person["noise"][0] == 0
    assert math.isnan(person["blur"][0])  # one even area
    whole = measured([Image.fromarray(pixels)], tmp_path, crop=False, boxes=boxes)
    assert whole["resolution"][0] == 64 * 64
    assert whole["gray"][0] < 1
    assert whole["compression"][0] == person["compression"][0]  # of the file


def test_what_is_too_small_is_not_measured(tmp_path):
    found = measured([Image.new("RGB", (2, 2)), scene(0, 64)], tmp_path)
    assert found.loc[0, ["blur", "noise", "compression"]].isna().all()
    assert found.loc[1].notna().all()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Generated faces, each blurred, noisy and as it is."""
    from emodo.synthetic.faces import generate

    folder = tmp_path_factory.mktemp("toy")
    faces = generate(folder / "faces", subjects=1, size=64, style=0)
    return degrade(faces, folder / "toy", blur=0.03)


def test_strata_by_degradation_recover_what_was_done(toy, tmp_path, capsys):
    out = strata(
        toy, tmp_path / "out.csv", by="degradation", of=["blur", "noise"], bins=["blur=0.8,100", "noise=0.04,1"]
    )
    frame = manifest.load(out)
    names = {"blur": "blur 0.8-100 x noise under 0.04", "noise": "blur under 0.8 x noise 0.04-1"}
    names["none"] = "blur under 0.8 x noise under 0.04"
    assert (frame["stratum"] == frame["degradation"].map(names)).mean() > 0.95
    assert set(MEASURES) < set(frame)
    assert "the column stratum of" in capsys.readouterr().err

    again = strata(out, tmp_path / "again.csv", by="column", column=["noise"], bins=[2], overwrite=True)
    assert manifest.load(again)["stratum"].value_counts().min() >= 0.49 * len(frame)
    with pytest.raises(InputError, match="edges have to rise"):
        strata(out, tmp_path / "wrong.csv", by="degradation", of=["blur"], bins=[2, 1])
    assert "measured anew" not in capsys.readouterr().err  # nor were images read
    light = strata(out, tmp_path / "light.csv", by="degradation", of=["brightness"])
    assert (
        "measured anew, and replaced: blur, noise, gray, brightness, resolution, compression" in capsys.readouterr().err
    )
    assert manifest.load(light)["stratum"].nunique() == 3


def test_workers_measure_the_same(toy):
    frame = manifest.load(toy).iloc[:12]
    alone = measure(frame, READING, True)
    shared = measure(frame, Reading(Path("m.csv"), 224, 50_000_000, 5, 2, "cpu"), True)
    pd.testing.assert_frame_equal(alone, shared)


def test_names_are_those_of_the_command_line():
    from typing import get_args

    from emodo.strata import Measure

    assert get_args(Measure) == quality.MEASURES
