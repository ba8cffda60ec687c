"""Intervals of `emodo repair` hold what they promise, planted faults are mended, and nothing planted is not."""

import numpy as np
import pytest
from scipy.special import softmax

from emodo import heldout, repaired, repairs
from emodo.heldout import Labelled

EXPERIMENTS, EMOTIONS, WIDTH, IMAGES = 40, 3, 12, 6
TRAINED = np.full(EMOTIONS, 1 / EMOTIONS)
MEANS = np.zeros((EMOTIONS, WIDTH))
MEANS[:, :EMOTIONS] = 2.0 * np.eye(EMOTIONS)  # the emotion is in the first features
CUE = np.zeros((EMOTIONS, WIDTH))
CUE[:, EMOTIONS : 2 * EMOTIONS] = 2.0 * np.eye(EMOTIONS)  # in training a cue went with it
PERSON = 0.5  # deviation of what a person's images have in common


def people(random, subjects, planted):
    """Labelled images of a field, and what a run with the planted fault says of them."""
    prior = np.array([0.7, 0.2, 0.1]) if planted == "prior" else TRAINED
    cluster = np.repeat(np.arange(subjects), IMAGES)
    n = len(cluster)
    truth, cue = random.choice(EMOTIONS, n, p=prior), random.integers(0, EMOTIONS, n)
    x = (
        MEANS[truth]
        + CUE[cue]
        + random.normal(size=(n, WIDTH))
        + PERSON * random.normal(size=(subjects, WIDTH))[cluster]
    )
    weight = MEANS / (1 + PERSON**2)  # the best there is for other people, at the emotions of training
    if planted == "dfr":
        weight = weight + CUE / (1 + PERSON**2)
    logits = x @ weight.T * (3 if planted == "temperature" else 1)
    return Labelled(logits, x, truth, cue, cluster)


def experiment(seed, subjects, planted, new):
    """Rows and abstention as `emodo repair` judges them, and what the fitted repairs do to other people in truth."""
    images = people(np.random.default_rng(seed), subjects, planted)
    fold = repairs.folds(images.truth, images.cluster, heldout.FOLDS, 0)
    answers = {name: heldout.held_out(name, images, fold, TRAINED, 0) for name in repaired.JUDGED}
    _, levels, changes = heldout.compare(images, answers, 500, 0)
    rows = [{"name": name, "change": changes[name], "measures": levels[name]} for name in answers]
    abstention = heldout.abstain(images.logits, images, fold, (0.8, None), 500, 0)
    repaired.judge(rows, abstention)
    truth = dict.fromkeys([*answers, "abstention"], 0.0)
    for at in range(heldout.FOLDS):
        share, part = (fold == at).mean(), images.part(fold != at)
        for name, measure in repaired.JUDGED.items():
            fitted = heldout.fit(name, part, TRAINED, 0).answer(new.logits, new.features)
            truth[name] += share * (measured(fitted, new)[measure] - measured(new.logits, new)[measure])
        limit = repairs.threshold_for_coverage(softmax(part.logits, axis=1).max(axis=1), 0.8)
        wrong = new.logits.argmax(axis=1) != new.truth
        answered = softmax(new.logits, axis=1).max(axis=1) >= limit
        truth["abstention"] += share * (wrong[answered].mean() - wrong.mean())
    return rows, abstention, truth


def measured(logits, images):
    right = logits.argmax(axis=1) == images.truth
    return {
        "accuracy": right.mean(),
        "macro_accuracy": np.mean([right[images.truth == emotion].mean() for emotion in range(EMOTIONS)]),
        "nll": repairs.nll(logits, images.truth).mean(),
    }


@pytest.mark.parametrize("subjects", [25, 100])
@pytest.mark.parametrize("planted", ["prior", "temperature", "dfr", "nothing"])
def test_intervals_hold_the_truth_and_verdicts_what_was_planted(subjects, planted, capsys):
    new = people(np.random.default_rng(999), 1500, planted)
    found = [experiment(seed, subjects, planted, new) for seed in range(EXPERIMENTS)]
    with capsys.disabled():
        print(f"\n{planted}, {subjects} people x {IMAGES} images, {EXPERIMENTS} experiments")
        for name in [*repaired.JUDGED, "abstention"]:
            truth = np.mean([truths[name] for *_, truths in found])
            each = [abstention for _, abstention, _ in found]
            if name in repaired.JUDGED:
                each = [row for rows, *_ in found for row in rows if row["name"] == name]
            changes = [
                row["change"][repaired.JUDGED[name]] if name in repaired.JUDGED else row["change"] for row in each
            ]
            held = np.mean([change["low"] <= truth <= change["high"] for change in changes])
            words = sorted({row["verdict"] for row in each})
            verdicts = {word: np.mean([row["verdict"] == word for row in each]) for word in words}
            told = ", ".join(f"{word} {100 * share:.0f} %" for word, share in verdicts.items())
            print(f"  {name}: in truth {truth:+.3f}, in the interval {100 * held:.0f} %; {told}")
            if name == planted:
                assert held >= 0.85
                assert subjects < 100 or verdicts["helps"] >= 0.75
            elif name != "abstention" and (truth >= 0) == (name == "temperature"):  # in truth it helps nobody
                assert verdicts.get("helps", 0) <= 0.08
