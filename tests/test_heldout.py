"""Measures by their definitions, intervals of changes, and that no image judges a repair that has seen it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from emodo import calibration, heldout, repairs, statistics
from emodo.heldout import Labelled


def field(seed=0, subjects=40, images=6, emotions=3, temperature=2.5, strata=2):
    """Images of people whose run is `temperature` times too sure."""
    random = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(subjects), images)
    n = len(cluster)
    calibrated = random.normal(scale=1.5, size=(n, emotions))
    truth = (softmax(calibrated, axis=1).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    stratum = random.integers(0, strata, n)
    return Labelled(calibrated * temperature, calibrated.copy(), truth, stratum, cluster)


def expected(logits, images):
    """Every measure, image by image."""
    p = softmax(logits, axis=1)
    right = logits.argmax(axis=1) == images.truth
    cells = {}
    for stratum, truth, hit in zip(images.stratum, images.truth, right, strict=True):
        cells.setdefault((stratum, truth), []).append(hit)
    one_hot = np.eye(images.emotions)[images.truth]
    return {
        "accuracy": right.mean(),
        "macro_accuracy": np.mean([right[images.truth == emotion].mean() for emotion in set(images.truth)]),
        "worst_cell": min(np.mean(hits) for hits in cells.values() if len(hits) >= 10),
        "nll": -np.mean([np.log(row[truth]) for row, truth in zip(p, images.truth, strict=True)]),
        "ece": calibration.calibration_error(p.max(axis=1), right)[0],
        "brier": np.mean([((row - truth) ** 2).sum() for row, truth in zip(p, one_hot, strict=True)]),
    }


def test_levels_and_changes_are_what_they_are_called():
    images = field()
    cooled = images.logits / 2.5
    random = np.random.default_rng(1).normal(size=cooled.shape)
    before, levels, changes = heldout.compare(images, {"cooled": cooled, "random": random}, 200, 0)
    was = expected(images.logits, images)
    for name, logits in (("cooled", cooled), ("random", random)):
        now = expected(logits, images)
        for measure in heldout.MEASURES:
            assert before[measure]["estimate"] == pytest.approx(was[measure])
            assert levels[name][measure]["estimate"] == pytest.approx(now[measure])
            assert changes[name][measure]["estimate"] == pytest.approx(now[measure] - was[measure])
            for each in (before[measure], levels[name][measure], changes[name][measure]):
                assert each["low"] <= each["estimate"] <= each["high"]


def test_what_does_not_change_has_no_interval_and_no_evidence():
    images = field()
    changes = heldout.compare(images, {"cooled": images.logits / 2}, 200, 0)[2]["cooled"]
    assert changes["accuracy"] == {"estimate": 0, "low": 0, "high": 0, "p": 1}
    assert changes["nll"]["p"] < 0.05


def test_the_interval_of_accuracy_is_that_of_a_comparison_of_runs():
    images = field(subjects=30)
    other = images.logits + np.random.default_rng(2).normal(scale=3, size=images.logits.shape)
    found = heldout.compare(images, {"other": other}, 4000, 0)[2]["other"]["accuracy"]
    right = [(logits.argmax(axis=1) == images.truth)[None] for logits in (images.logits, other)]
    group = np.zeros(len(images.truth), int)
    twin = statistics.differences(right, 0, images.cluster, group, 1, replicates=4000)[1][0]
    assert found["estimate"] == pytest.approx(twin.estimate)
    assert (found["low"], found["high"]) == pytest.approx((twin.low, twin.high), abs=0.005)
    assert found["p"] == pytest.approx(twin.p, abs=0.02)


def test_clusters_that_fail_together_are_worth_less():
    images = field(images=1, subjects=120)
    twice = Labelled(*(np.repeat(each, 4, axis=0) for each in (images.logits, images.features, images.truth)),
                     np.repeat(images.stratum, 4), np.repeat(np.arange(120), 4))  # fmt: skip
    other = np.random.default_rng(3).normal(size=images.logits.shape)
    one = heldout.compare(images, {"other": other}, 2000, 0)[2]["other"]["accuracy"]
    four = heldout.compare(twice, {"other": np.repeat(other, 4, axis=0)}, 2000, 0)[2]["other"]["accuracy"]
    assert four["high"] - four["low"] == pytest.approx(one["high"] - one["low"], rel=0.01)


def test_cells_without_ten_images_are_no_worst_ones():
    images = field(subjects=4, images=2)
    before, levels, changes = heldout.compare(images, {"cooled": images.logits / 2}, 200, 0)
    assert before["worst_cell"] is levels["cooled"]["worst_cell"] is changes["cooled"]["worst_cell"] is None


@pytest.mark.parametrize("name", ["prior", "temperature", "dfr"])
def test_no_image_is_judged_by_a_repair_that_has_seen_it(name):
    images, trained = field(), np.array([0.2, 0.5, 0.3])
    fold = repairs.folds(images.truth, images.cluster, heldout.FOLDS, 0)
    found = heldout.held_out(name, images, fold, trained, 0)
    turned = replace(images, truth=np.where(fold == 2, (images.truth + 1) % 3, images.truth))
    again = heldout.held_out(name, turned, fold, trained, 0)
    assert (again[fold == 2] == found[fold == 2]).all()
    assert (again[fold == 1] != found[fold == 1]).any()
    other = heldout.fit(name, images.part(fold != 2), trained, 0)
    assert (other.answer(images.logits, images.features)[fold == 2] == found[fold == 2]).all()


def test_a_planted_temperature_helps_and_a_calibrated_run_is_not_changed():
    for planted, helps in ((2.5, True), (1.0, False)):
        images = field(seed=4, temperature=planted, subjects=100)
        fold = repairs.folds(images.truth, images.cluster, heldout.FOLDS, 0)
        found = heldout.held_out("temperature", images, fold, None, 0)
        change = heldout.compare(images, {"temperature": found}, 500, 0)[2]["temperature"]
        assert (change["nll"]["high"] < 0 and change["ece"]["high"] < 0) == helps
        assert change["accuracy"]["estimate"] == 0


# ------------------------------------------------------------------------------------- abstention


def test_each_fold_is_abstained_on_by_the_threshold_of_the_others():
    images = field()
    fold = repairs.folds(images.truth, images.cluster, heldout.FOLDS, 0)
    confidence = softmax(images.logits, axis=1).max(axis=1)
    right = images.logits.argmax(axis=1) == images.truth
    found = heldout.abstain(images.logits, images, fold, (0.7, None), 500, 0)
    answered = np.zeros(len(right), bool)
    for at in range(heldout.FOLDS):
        others = np.sort(confidence[fold != at])
        limit = others[len(others) - int(np.ceil(0.7 * len(others)))]
        answered[fold == at] = confidence[fold == at] >= limit
    assert found["coverage"]["estimate"] == pytest.approx(answered.mean())
    assert found["risk"]["estimate"] == pytest.approx(1 - right[answered].mean())
    assert found["change"]["estimate"] == pytest.approx(right.mean() - right[answered].mean())
    assert found["change"]["high"] < 0  # the least sure are wrong more often here
    assert (confidence >= found["threshold"]).mean() == pytest.approx(0.7, abs=0.01)
    assert (found["aurc"], found["excess_aurc"]) == calibration.coverage_area(confidence, right)
    assert found["curve"]["coverage"][-1] == 1
    assert found["curve"]["risk"][-1] == pytest.approx(1 - right.mean())


def test_a_wanted_risk_is_kept_or_said_to_be_out_of_reach():
    images = field(subjects=200)
    fold = repairs.folds(images.truth, images.cluster, heldout.FOLDS, 0)
    found = heldout.abstain(images.logits, images, fold, (None, 0.2), 500, 0)
    assert found["risk"]["low"] <= 0.2 <= found["risk"]["high"]
    assert 0.2 < found["coverage"]["estimate"] < 0.9
    wrong = images.logits.copy()
    wrong[np.arange(len(wrong)), images.truth] = -9
    none = heldout.abstain(wrong, images, fold, (None, 0.2), 500, 0)
    assert (none["threshold"], none["risk"], none["change"]) == (None, None, None)
    assert none["coverage"]["estimate"] == 0


def test_what_is_too_few_for_a_new_layer_is_named():
    images = field()
    assert heldout.too_few(images, "abc") == ""
    assert heldout.too_few(replace(images, truth=images.truth % 2), "abc").startswith("0 images of c; each emotion")
    few = replace(images, truth=np.where(np.arange(240) < 12, 2, images.truth % 2))
    assert heldout.too_few(few, "abc").startswith("12 images of c, of 2 clusters; each emotion")
