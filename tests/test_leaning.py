"""Flips, shifts and changes as counted by hand; intervals that stay within 0 and 1; verdicts by the stated rules."""

import numpy as np
import pytest
from scipy import stats

from emodo import leaning
from emodo.leaning import Images, compare, findings, leans, measure, verdict, within
from emodo.statistics import differences, holm

DOSES = [("gray", 0.5), ("gray", 1.0), ("mirror", 1.0)]
EMOTIONS = ("anger", "fear", "joy")


def of(emotion, cluster=None, stratum=None, strata=("a", "b")):
    emotion = np.array(emotion)
    cluster = np.arange(len(emotion)) if cluster is None else np.array(cluster)
    stratum = np.full(len(emotion), -1) if stratum is None else np.array(stratum)
    return Images(EMOTIONS, emotion, cluster, strata, stratum)


def sure(answers, share=0.8):
    """Probabilities, [N, 3], of which `share` is for the answer."""
    return np.where(np.eye(3)[answers] > 0, share, (1 - share) / 2)


BEFORE = [0, 0, 1, 1, 2, 2]
HAND = np.stack(
    [sure([0, 0, 1, 2, 2, 2]), sure([0, 1, 1, 2, 2, 2]), sure([1, 1, 1, 1, 0, 0]), sure([0, 0, 1, 2, 2, 2])]
)


@pytest.fixture(scope="module")
def hand():
    return measure(HAND, DOSES, of(BEFORE, stratum=[0, 0, 0, 1, 1, -1]), 500, 0)


def test_what_is_counted_by_hand(hand):
    mild, strong, mirror = hand["doses"]
    assert hand["accuracy"]["value"] == pytest.approx(5 / 6)
    assert (mild["flip"]["value"], strong["flip"]["value"], mirror["flip"]["value"]) == pytest.approx((1 / 6, 5 / 6, 0))
    assert (mild["after"]["value"], strong["after"]["value"]) == pytest.approx((4 / 6, 2 / 6))
    assert (mild["change"]["estimate"], strong["change"]["estimate"]) == pytest.approx((-1 / 6, -3 / 6))
    assert (strong["lost"], strong["gained"]) == (4, 1)
    assert (mirror["lost"], mirror["gained"]) == (0, 0)
    # two rows exchange .8 and .1: half of .7 + .7; image 3 goes from joy to fear, a flip that is a gain
    assert mild["shift"]["value"] == pytest.approx(0.7 / 6)
    assert strong["shift"]["value"] == pytest.approx(5 * 0.7 / 6)
    assert mild["excess"]["estimate"] == pytest.approx(1 / 6)
    assert mirror["excess"] is None


def test_the_same_by_emotion_and_by_stratum(hand):
    strong = hand["doses"][1]
    assert {name: each["flip"]["value"] for name, each in strong["emotions"].items()} == {
        "anger": 1.0,
        "fear": 0.5,
        "joy": 1.0,
    }
    assert {name: each["change"]["estimate"] for name, each in strong["emotions"].items()} == {
        "anger": -1.0,
        "fear": 0.5,
        "joy": -1.0,
    }
    assert {name: each["n"] for name, each in strong["strata"].items()} == {"a": 3, "b": 2}
    assert strong["strata"]["a"]["flip"]["value"] == pytest.approx(2 / 3)
    assert strong["strata"]["b"]["after"]["value"] == pytest.approx(1 / 2)


def test_the_effect_is_the_change_by_its_deviation(hand):
    changes = np.array([-1, -1, 0, 1, -1, -1])
    strong = hand["doses"][1]
    assert strong["effect"]["estimate"] == pytest.approx(changes.mean() / changes.std(ddof=1))
    assert strong["effect"]["low"] == pytest.approx(strong["change"]["low"] / changes.std(ddof=1))
    assert hand["doses"][2]["effect"]["estimate"] == 0
    assert strong["emotions"]["anger"]["effect"]["estimate"] is None  # both lost: no deviation to divide by


def test_intervals_are_those_of_the_paired_bootstrap_over_clusters(hand):
    answers = HAND.argmax(axis=2)
    right = (answers == BEFORE).astype(float)
    [[_], [expected], _, _] = [
        found[:1] for found in differences([each[None] for each in right], 0, np.arange(6), np.array(BEFORE), 3, 500, 0)
    ]
    change = hand["doses"][0]["change"]
    assert (change["low"], change["high"], change["p"]) == pytest.approx((expected.low, expected.high, expected.p))


def test_holms_p_is_over_all_doses(hand):
    rows = hand["doses"]
    assert [row["change"]["p_holm"] for row in rows] == pytest.approx(holm([row["change"]["p"] for row in rows]))
    assert [row["excess"]["p_holm"] for row in rows[:2]] == pytest.approx(
        holm([row["excess"]["p"] for row in rows[:2]])
    )


def test_images_that_fail_together_count_once():
    rows = 40
    emotion = np.arange(rows) % 3
    flipped = np.where(np.arange(rows) < 20, (emotion + 1) % 3, emotion)
    p = np.stack([sure(emotion), sure(flipped), sure(flipped), sure(emotion)])
    alone = measure(p, DOSES, of(emotion), 2000, 0)["doses"][0]["flip"]
    together = measure(p, DOSES, of(emotion, cluster=np.arange(rows) // 10), 2000, 0)["doses"][0]["flip"]
    assert alone["value"] == together["value"] == 0.5
    assert together["high"] - together["low"] > 2 * (alone["high"] - alone["low"])


@pytest.mark.parametrize(("share", "reach"), [(0.5, 0.1), (0.03, 0.02), (0.9, 0.3), (0.999, 0.4)])
def test_shares_have_wilsons_interval_of_as_many_images_as_the_reach_is_worth(share, reach):
    t = stats.t.ppf(0.975, 29)
    n = share * (1 - share) * t**2 / reach**2
    for bound in within(share, reach, 30):
        assert 0 < bound < 1
        assert (share - bound) ** 2 == pytest.approx(t**2 * bound * (1 - bound) / n)  # Wilson 1927: the score is t


def test_where_all_images_agree_the_clusters_are_what_is_counted():
    t = stats.t.ppf(0.975, 29)
    assert within(0.0, 0.0, 30) == pytest.approx((0, t**2 / (30 + t**2)))
    assert within(1.0, 0.0, 30) == pytest.approx((30 / (30 + t**2), 1))


def test_one_cluster_says_nothing_of_others():
    found = measure(HAND, DOSES, of(BEFORE, cluster=[0] * 6), 500, 0)
    assert found["doses"][1]["flip"] == {"n": 6, "value": pytest.approx(5 / 6), "low": None, "high": None}
    assert found["doses"][1]["change"]["p"] is None
    told = findings(found, ("anger", 1 / 3), False)
    assert not told
    assert "Nothing can be said of mine" in verdict("mine", found, told)


# ---------------------------------------------------------------------------------------------- rules


def many(flips, mirrored=0, rows=300, lost=True):
    """Probabilities of a model that flips some answers under gray, and others in the mirror."""
    emotion = np.arange(rows) % 3
    at = np.arange(rows)
    start = emotion if lost else (emotion + 2) % 3
    gray, mirror = (np.where(at < count, (start + 1) % 3, start) for count in (flips, mirrored))
    p = np.stack([sure(start), sure(start), sure(gray), sure(mirror)])
    return p, of(emotion)


def judged(*arguments, **options):
    p, images = many(*arguments, **options)
    found = measure(p, DOSES, images, 500, 0)
    told = findings(found, images.most_frequent, False)
    return found, told, verdict("mine", found, told)


def interval(found):
    flip = found["doses"][1]["flip"]
    assert 0.2 < flip["low"] < 0.3 < flip["high"] < 0.4
    return f"[{100 * flip['low']:.1f}, {100 * flip['high']:.1f}]"


def test_a_model_that_flips_more_than_in_the_mirror_leans():
    found, told, said = judged(90)
    assert [leans(row) for row in found["doses"]] == [False, True, False]
    assert [(each["kind"], each["what"], each["strength"]) for each in told] == [("leans", "colour", 1.0)]
    assert said.startswith(
        f"mine leans on colour: gray 1 changes 30.0 % {interval(found)} of its answers and costs 30.0"
    )


def test_answers_that_get_better_lean_as_well():
    _, told, said = judged(90, lost=False)
    assert told[0]["kind"] == "leans"
    assert "gains 30.0 points" in said


def test_what_the_mirror_changes_as_well_is_no_leaning_but_unstable():
    found, told, said = judged(90, mirrored=90)
    assert [each["kind"] for each in told] == ["unstable"]
    assert said == (
        f"mine is unstable under the mirror image: the mirror image alone changes 30.0 % {interval(found)} of its "
        "answers; no sign of colour."
    )


@pytest.mark.parametrize("flips", [0, 5, 14])
def test_what_is_less_than_five_percent_is_none(flips):
    _, told, said = judged(flips)
    assert not told
    assert said == "mine shows no sign of leaning on colour."


def test_few_images_prove_nothing():
    _, told, _ = judged(2, rows=6)
    assert not told


def test_who_is_right_without_the_person_reads_the_surroundings():
    emotion = np.arange(300) % 3
    p = np.stack([sure(emotion)] * 3)
    doses = [("mask", 1.0), ("mirror", 1.0)]
    found = measure(p, doses, of(emotion), 500, 0)
    assert found["doses"][0]["excess"] is None
    chance = of(emotion).most_frequent
    assert chance == ("anger", pytest.approx(1 / 3))
    [told] = findings(found, chance, False)
    assert told["kind"] == "surroundings"
    assert "always answering anger would be right on 33.3 %" in told["said"]
    assert not findings(found, chance, True)
    blind = np.stack([sure(emotion), sure(np.zeros(300, int)), sure(emotion)])
    assert not findings(measure(blind, doses, of(emotion), 500, 0), chance, False)


def test_two_models_are_compared_on_the_same_images():
    (more, images), (less, _) = many(90), many(30)
    pairs = compare(less, more, DOSES, images, 500, 0)
    assert pairs[1]["flip"]["estimate"] == pytest.approx(-60 / 300)
    assert pairs[1]["change"]["estimate"] == pytest.approx(60 / 300)
    assert pairs[1]["flip"]["high"] < 0
    assert pairs[0]["flip"]["estimate"] == 0
    table = leaning.table(["erm", "iern"], [False, False], [more, less], DOSES, images, 500, 0)
    [pair] = table["comparisons"]
    [said] = pair["said"]
    assert said.startswith("iern leans less on colour than erm: gray 1 changes 10.0 % [")
    assert " and 30.0 % [" in said
    assert "of the answers, -20.0 [-2" in said
    same = leaning.table(["erm", "iern"], [False, False], [more, more], DOSES, images, 500, 0)
    assert same["comparisons"][0]["said"][0].startswith("iern and erm cannot be told apart on colour")
