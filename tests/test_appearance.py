"""What is measured follows what was done to an image, and equals `emodo.quality` where it has its name."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from emodo import manifest, quality
from emodo.appearance import MEASURES, appearance
from emodo.records import Reading
from emodo.synthetic.scenes import Look, draw

READING = Reading(Path("m.csv"), 64, 50_000_000, 3, 0, "cpu")


@pytest.fixture(scope="module")
def original():
    return Image.fromarray(draw(0, "train", 0, "positive", Look(size=64)).pixels)


def scaled(image, *factors):
    return Image.fromarray((np.asarray(image) * np.array(factors)).astype(np.uint8))


def measured(images, folder, kind="png", crop=False, **columns):
    names = [f"{at}.{kind}" for at in range(len(images))]
    for name, image in zip(names, images, strict=True):
        image.save(folder / name)
    pd.DataFrame({"path": names, "emotion": "joy", **columns}).to_csv(folder / "m.csv", index=False)
    frame = manifest.load(folder / "m.csv")
    return appearance(frame, READING, crop), frame


def test_degradations_are_those_of_quality(original, tmp_path):
    images = [original, original.filter(ImageFilter.GaussianBlur(2)), scaled(original, 0.5)]
    found, frame = measured(images, tmp_path)
    shared = [name for name in quality.MEASURES if name in MEASURES]
    expected = quality.measure(frame, READING, False)
    expected["noise"] /= expected["brightness"]
    pd.testing.assert_frame_equal(found[shared], expected[shared], rtol=1e-6)
    assert list(found) == list(MEASURES)
    assert set(shared) == set(quality.MEASURES)


def test_contrast_and_colour_are_shares_that_light_does_not_change(original, tmp_path):
    found, _ = measured([original, scaled(original, 0.6), scaled(original, 1, 1, 0.5), original.convert("L")], tmp_path)
    bright, dark, warm, gray = (found.iloc[at] for at in range(4))
    assert dark["brightness"] == pytest.approx(0.6 * bright["brightness"], abs=0.01)
    for name in ("noise", "contrast", "saturation", "warmth", "green"):
        assert dark[name] == pytest.approx(bright[name], abs=0.02)
    assert warm["warmth"] > bright["warmth"] + 0.1
    assert gray["saturation"] == pytest.approx(0)
    assert gray["warmth"] == pytest.approx(0)
    assert gray["green"] == pytest.approx(1 / 3)


def test_size_and_shape_are_the_persons_with_a_box(original, tmp_path):
    box = {"x1": 0, "y1": 0, "x2": 40, "y2": 20}
    found, _ = measured([original], tmp_path, crop=True, **box)
    assert found.loc[0, ["resolution", "shape"]].tolist() == [800, 2]
    found, _ = measured([original], tmp_path, **box)
    assert found.loc[0, ["resolution", "shape"]].tolist() == [64 * 64, 1]


def test_what_cannot_be_measured_is_missing(tmp_path):
    found, _ = measured([Image.new("RGB", (20, 20))], tmp_path)
    assert found.loc[0, ["blur", "contrast", "warmth", "green"]].isna().all()
    assert found.loc[0, "saturation"] == 0


def test_compression_is_the_quality_where_every_file_tells_it(original, tmp_path):
    found, _ = measured([original, original], tmp_path, "jpg")
    assert (found["compression"] == 25).all()  # Pillow's quality 75
