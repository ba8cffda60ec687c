"""IERN's two steps: clusters of scenes by their meaning, and those that bias most; word vectors in GloVe's format."""

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from emodo.records import InputError
from emodo.scenes import importances, semantic_vectors, two_steps, words
from emodo.synthetic.scenes import SCENES
from released import GROUPS, glove, group, meanings, setting

NAME = Path("scenes.csv")
CLASSES = list(SCENES)
SETTINGS = {scene: setting(scene) for scene in CLASSES}


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    file = glove(tmp_path_factory.mktemp("vectors") / "glove.txt", meanings())
    return semantic_vectors(file, CLASSES)[0]


def images(shares, n=600, seed=0):
    """Scenes and emotions of n images; shares: how positive the images of each group are."""
    random = np.random.default_rng(seed)
    scene = random.choice(CLASSES, n)
    chance = np.array([shares[group(one)] for one in scene])
    return scene.astype(object), np.where(random.random(n) < chance, "positive", "negative")


BIASED = {"leisure": 0.95, "nature": 0.9, "home": 0.5, "work": 0.1, "town": 0.5}


def test_scenes_of_one_meaning_are_one_stratum(vectors):
    scene, emotion = images(BIASED)
    found = two_steps(scene, emotion, np.ones(600, bool), vectors, SETTINGS, NAME, clusters=5, keep=5)
    assert adjusted_rand_score([group(one) for one in scene], found.names) == 1
    assert found.agreement == (1, 1, 1)
    for stratum in set(found.names):  # called after one of their own, the nearest to the center
        own = sorted(GROUPS[group(stratum)])
        center = np.mean([vectors[one] for one in own], axis=0)
        assert stratum == min(own, key=lambda one: round(np.linalg.norm(vectors[one] - center), 9))


def test_the_most_important_are_kept_and_the_rest_is_inside_or_outside(vectors):
    scene, emotion = images(BIASED)
    found = two_steps(scene, emotion, np.ones(600, bool), vectors, SETTINGS, NAME, clusters=5, keep=3)
    expected = [group(one) if group(one) in ("leisure", "nature", "work") else setting(one) for one in scene]
    assert adjusted_rand_score(expected, found.names) == 1
    assert {"indoor", "outdoor"} < set(found.names)
    assert len(set(found.names)) == 5
    assert found.clusters["importance"].is_monotonic_decreasing
    assert found.clusters["stratum"].tolist() == ["own"] * 3 + [""] * 2
    assert found.clusters["scenes"].sum() == 12
    assert found.clusters["rows"].sum() == 600


def test_what_is_tested_decides_nothing(vectors):
    scene, emotion = images(BIASED)
    train = np.arange(600) < 400
    one = two_steps(scene, emotion, train, vectors, SETTINGS, NAME, clusters=5, keep=2)
    emotion[~train] = "negative"
    two = two_steps(scene, emotion, train, vectors, SETTINGS, NAME, clusters=5, keep=2)
    assert one.names.tolist() == two.names.tolist()
    assert one.clusters.equals(two.clusters)
    assert one.clusters["rows"].sum() == 400


def test_a_cluster_that_no_training_image_shows_is_no_stratum(vectors):
    scene, emotion = images(BIASED)
    train = np.array([group(one) != "home" for one in scene])
    found = two_steps(scene, emotion, train, vectors, SETTINGS, NAME, clusters=5, keep=8)
    assert len(found.clusters) == 4
    assert set(found.names[~train]) == {"indoor"}


def test_importance_is_as_the_paper_says_it_in_words_and_its_formula_stands_beside():
    counts = np.array([[90, 10], [9, 1], [50, 50], [10, 0], [0, 80], [0, 0]])
    found = importances(counts, counts.sum(axis=1))
    n = counts.sum()
    for c, (p, q) in enumerate(counts):
        entropy = sum(x / (p + q) * math.log(x / (p + q)) for x in (p, q) if x)
        assert found["P(c)"][c] == pytest.approx((p + q) / n)
        assert found["printed"][c] == pytest.approx((p + q) / n * entropy)
        assert found["importance"][c] == pytest.approx((p + q) / n * (entropy + math.log(2)))
    more = found["importance"]
    assert more[0] > more[1] > more[2]  # more images, alike biased; then more biased
    assert more[2] == pytest.approx(0, abs=1e-12)
    assert more[4] == max(more)
    # and as printed, neither direction does so
    assert found["printed"][1] > found["printed"][0]  # downwards: fewer images come first
    assert found["printed"][2] < found["printed"][0]  # upwards: less bias comes first


def test_six_emotions_are_measured_from_six_even_odds():
    found = importances(np.array([[5, 5, 5, 5, 5, 5], [30, 0, 0, 0, 0, 0]]), np.array([30, 30]))
    assert found["importance"] == pytest.approx([0, math.log(6) / 2])


def test_a_row_counts_in_each_of_its_emotions(vectors):
    scene, emotion = images(BIASED)
    both = emotion.astype(object)
    both[scene == "office"] = "negative|positive"
    found = two_steps(scene, both, np.ones(600, bool), vectors, SETTINGS, NAME, clusters=5, keep=5)
    work = np.array([group(one) == "work" for one in scene])
    positive = (work & ((emotion == "positive") | (scene == "office"))).sum()
    negative = (work & ((emotion == "negative") | (scene == "office"))).sum()
    p = positive / (positive + negative)
    expected = work.mean() * (p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p)))
    [at] = [one for one in found.clusters.index if group(one) == "work"]
    assert found.clusters.loc[at, "importance"] == pytest.approx(expected)
    assert found.clusters.loc[at, "rows"] == work.sum()


def test_fewer_scenes_than_clusters_are_refused(vectors):
    scene, emotion = images(BIASED, 50)
    with pytest.raises(InputError, match=r"scenes.csv has 12 scene classes that differ .*, fewer than 13 clusters"):
        two_steps(scene, emotion, np.ones(50, bool), vectors, SETTINGS, NAME, clusters=13)
    same = dict.fromkeys(CLASSES, np.ones(3))
    with pytest.raises(InputError, match="has 1 scene classes that differ"):
        two_steps(scene, emotion, np.ones(50, bool), same, SETTINGS, NAME, clusters=2)


# -------------------------------------------------------------------------------------- word vectors


def test_a_scenes_vector_is_the_mean_of_its_words(tmp_path):
    file = tmp_path / "glove.txt"
    lines = ["the 0.1 0.2", ". . . 9 9", "room 1 -2", "caf\u00e9\u00a0noir 5 5", "hospital 3 4e-1", "room 7 7"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    vectors, missing = semantic_vectors(file, ["hospital_room", "room/unheard"])
    assert vectors["hospital_room"].tolist() == [2, -0.8]
    assert vectors["room/unheard"].tolist() == [1, -2]
    assert missing == ["unheard"]
    assert words("basketball_court/indoor") == ["basketball", "court", "indoor"]


def test_no_further_than_needed_is_read(tmp_path):
    file = tmp_path / "glove.txt"
    file.write_bytes(b"room 1 2\nbroken \xff\xfe\n")
    assert semantic_vectors(file, ["room"])[0]["room"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["the 1 2", "room 1"], r"glove.txt, line 2 has 1 numbers, and line 1 has 2"),
        (["the 1 2", "of 1 2 3.5", "room 1 2"], None),
        (["the 1 2", "of 0.5 2 3", "room 1 2"], r"line 2 has more than 2 numbers, and line 1 has 2"),
        (["400000 2", "room 1 2"], r"line 1 has 1 numbers, and expected is a word and its numbers.*without a header"),
        (["PK\x03\x04"], r"line 1 has 0 numbers, and expected is a word and its numbers: .*unpacked"),
        (["the 1 2", "room 1 x"], r"line 2: could not convert string to float.*: expected is a word and its numbers"),
        (["the 1 2", "room 1 nan"], r"line 2 holds a number that is not finite"),
        (["the 1 2", "a 3 4"], r"has no word of the scene 'room' \(1 such\)"),
        (["the 1 2", ""], r"line 2 has 0 numbers"),
    ],
)
def test_a_file_of_another_form_is_refused_by_line(tmp_path, lines, message):
    file = tmp_path / "glove.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if message is None:
        assert semantic_vectors(file, ["room"])[0]["room"].tolist() == [1, 2]
        return
    with pytest.raises(InputError, match=message):
        semantic_vectors(file, ["room"])


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*glove\.txt of word vectors"):
        semantic_vectors(tmp_path / "glove.txt", ["room"])
