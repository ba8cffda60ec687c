"""Name That Dataset: what is told from features of other clusters, and what colour and texture show."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emodo import manifest
from emodo.records import InputError, Reading
from emodo.telling import _folds, backbone_features, drawn, looks, narrowed, tell


def reading(folder):
    return Reading(folder / "m.csv", 32, 50_000_000, 7, 0, "cpu")


def features(stratum, strength, seed=0):
    random = np.random.default_rng(seed)
    centers = random.normal(size=(stratum.max() + 1, 6))
    return strength * centers[stratum] + random.normal(size=(len(stratum), 6))


def test_what_features_hold_is_told_and_what_they_do_not_is_chance():
    stratum, cluster = np.repeat([0, 1, 2], 60), np.repeat(np.arange(60), 3)
    sure = tell(features(stratum, 10), stratum, cluster, ("a", "b", "c"))
    assert sure["accuracy"] == sure["low"] == sure["high"] == 1
    assert sure["confusion"] == [[60, 0, 0], [0, 60, 0], [0, 0, 60]]
    assert (sure["images"], sure["chance"], sure["strata"]) == (180, pytest.approx(1 / 3), ["a", "b", "c"])
    blind = tell(features(stratum, 0), stratum, cluster, ("a", "b", "c"))
    assert blind["low"] < 1 / 3 < blind["high"]


def test_no_cluster_is_learned_and_tested():
    """Features that name the cluster, and nothing else, tell nothing of the stratum."""
    random = np.random.default_rng(0)
    cluster = np.repeat(np.arange(40), 5)
    stratum = random.permutation(np.repeat([0, 1], 20))[cluster]
    named = 10 * random.normal(size=(40, 20))[cluster] + 0.01 * random.normal(size=(200, 20))
    found = tell(named, stratum, cluster, ("a", "b"))
    assert found["low"] < 0.5 < found["high"]


def test_folds_hold_whole_clusters_and_some_of_every_stratum():
    cluster = np.repeat(np.arange(23), 4)
    code = (np.arange(23) % 3)[cluster]
    fold = _folds(code, cluster, 5, seed=1)
    assert set(fold) == set(range(5))
    assert all(len(set(fold[cluster == one])) == 1 for one in range(23))
    assert all(set(code[fold == at]) == {0, 1, 2} for at in range(5))


def test_a_large_stratum_counts_no_more_than_a_small_one():
    stratum = np.repeat([0, 1], [190, 10])
    found = tell(features(stratum, 0), stratum, np.arange(200), ("a", "b"))
    assert found["accuracy"] < 0.7  # always saying `a` is right for 95 % of the images


def test_a_stratum_of_one_cluster_is_left_out_and_two_are_needed():
    stratum, cluster = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 2, 3, 4, 4])
    found = tell(features(stratum, 5), stratum, cluster, ("a", "b", "c", "d"))
    assert (found["strata"], found["left_out"]) == (["a", "b"], ["c"])
    assert tell(features(stratum, 5), stratum, np.array([0, 1, 2, 2, 3, 3]), ("a", "b", "c")) is None


def test_images_that_are_all_alike_are_told_by_chance():
    stratum = np.repeat([0, 1], 20)
    assert tell(np.zeros((40, 3)), stratum, np.arange(40), ("a", "b"))["accuracy"] == 0.5


def test_wide_features_are_narrowed_and_constant_ones_do_no_harm():
    random = np.random.default_rng(0)
    assert narrowed(random.normal(size=(300, 200)), 0).shape == (300, 128)
    few = narrowed(np.c_[random.normal(5, 3, (50, 2)), np.ones(50)], 0)
    assert few.std(axis=0) == pytest.approx([1, 1, 0])


def test_whole_clusters_are_drawn_until_there_are_enough():
    cluster = np.repeat(np.arange(30), 3)
    rows = drawn(cluster, 20, seed=2)
    assert len(rows) == 21
    assert all(np.isin(np.flatnonzero(cluster == one), rows).all() for one in set(cluster[rows]))
    assert drawn(cluster, 90, seed=2).tolist() == list(range(90))
    assert not np.array_equal(rows, drawn(cluster, 20, seed=3))


# ------------------------------------------------------------------------------------------- images


def written(folder, *images, boxes=None):
    for at, image in enumerate(images):
        image.save(folder / f"{at}.png")
    frame = pd.DataFrame({"path": [f"{at}.png" for at in range(len(images))], "emotion": "joy"} | (boxes or {}))
    frame.to_csv(folder / "m.csv", index=False)
    return manifest.load(folder / "m.csv")


def test_looks_are_colour_and_texture(tmp_path):
    random = np.random.default_rng(0)
    noisy = Image.fromarray(random.integers(0, 256, (80, 60, 3), dtype=np.uint8))
    frame = written(tmp_path, Image.new("RGB", (50, 40), (255, 0, 51)), noisy, noisy.convert("L"))
    red, grains, gray = looks(frame, reading(tmp_path))
    assert red[:6] == pytest.approx([1, 0, 0.2, 1, 1, 0.3], abs=0.01)  # channels, colourfulness, opponent colours
    assert red[6:12] == pytest.approx(np.zeros(6), abs=1e-5)  # one colour has no spread
    assert gray[3] == pytest.approx(0, abs=1e-5)
    assert (grains[-8:-2] > red[-8:-2]).all()  # steepness at three scales
    assert np.isfinite([red, grains, gray]).all()
    assert red.shape == (73,)


def test_a_person_is_looked_at_in_their_box(tmp_path):
    image = Image.new("RGB", (40, 40), (0, 0, 255))
    image.paste((255, 0, 0), (10, 10, 30, 30))
    whole, person = (
        looks(written(tmp_path, image, boxes=box), reading(tmp_path))[0]
        for box in (None, {"x1": [10], "y1": 10, "x2": 30, "y2": 30})
    )
    assert person[:3] == pytest.approx([1, 0, 0])
    assert whole[2] > 0.5


def test_a_broken_image_is_named_by_its_row(tmp_path):
    frame = written(tmp_path, Image.new("RGB", (9, 9)), Image.new("RGB", (8, 8)))
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"row 2: the image 1\.png is not a readable image"):
        looks(frame, reading(tmp_path))


def test_a_backbones_features_are_asked_instead(faces):
    frame = manifest.load(faces)
    frame = frame.iloc[:20]
    read = Reading(faces, 32, 50_000_000, 8, 0, "cpu")
    found = backbone_features(frame, read, None, "small", None, 0, Path())
    assert found.shape[0] == 20
    assert np.array_equal(found, backbone_features(frame, read, None, "small", None, 0, Path()))
