"""Intervals and p values against SciPy, plain loops and simulated experiments whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats import contingency_tables

from emodo import statistics
from emodo.records import InputError
from emodo.statistics import Difference, clusters, combined, differences, holm, mcnemar, student


def draw(seed, *shape):
    """Right and wrong answers at random, [shape] bool."""
    return np.random.default_rng(seed).random(shape) < 0.6


def overall(right, cluster, baseline=0, **options):
    """Differences over all images, one a method."""
    one = np.zeros(len(cluster), int)
    return [parts[0] for parts in differences(right, baseline, np.asarray(cluster), one, 0, **options)]


# ------------------------------------------------------------------------------------- over seeds


def test_the_interval_over_seeds_is_students():
    values = [0.41, 0.46, 0.39, 0.52, 0.44]
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert student(values) == pytest.approx(expected, rel=1e-12)


def test_seeds_that_agree_leave_no_interval_and_one_seed_has_none():
    assert student([0.5, 0.5, 0.5]) == (0.5, 0.5)
    assert student([0.5]) is None
    assert student([]) is None


# --------------------------------------------------------------------------------------- clusters


FRAME = pd.DataFrame(
    {
        "path": list("abcdef"),
        "source": ["lab", "lab", "web", "web", "lab", "web"],
        "sequence": ["1", "1", "1", None, "2", None],
        "subject": ["x", "x", "x", "y", "x", "y"],
    }
)


def together(frame, by=None):
    """The images that share a cluster, as sets of their letters."""
    chosen, number = clusters(frame, by)
    assert sorted(set(number)) == list(range(number.max() + 1))
    return chosen, {"".join(frame["path"][number == at]) for at in set(number)}


def test_sequences_are_the_default_and_those_of_two_sources_do_not_merge():
    assert together(FRAME) == ("sequence", {"ab", "c", "e", "d", "f"})


def test_an_image_of_unknown_sequence_is_alone():
    assert {"d", "f"} <= together(FRAME, "sequence")[1]


def test_subjects_gather_the_sequences_of_a_person():
    assert together(FRAME, "subject") == ("subject", {"abe", "c", "df"})
    assert together(FRAME.drop(columns="sequence")) == ("subject", {"abe", "c", "df"})


def test_without_source_names_are_taken_as_they_are():
    assert together(FRAME.drop(columns="source"), "sequence")[1] == {"abc", "d", "e", "f"}


def test_an_image_of_unknown_subject_keeps_its_sequence():
    frame = FRAME.assign(subject=["x", "x", None, "y", None, None])
    assert together(frame, "subject")[1] == {"ab", "c", "d", "e", "f"}


def test_each_image_is_a_cluster_where_nothing_is_known():
    assert together(FRAME, "image") == ("image", set("abcdef"))
    assert together(FRAME[["path"]]) == ("image", set("abcdef"))
    empty = FRAME.assign(sequence=None, subject=None)
    assert together(empty) == ("image", set("abcdef"))


@pytest.mark.parametrize("frame", [FRAME[["path", "sequence"]], FRAME.assign(subject=None)], ids=["missing", "empty"])
def test_a_cluster_that_no_column_tells_is_refused(frame):
    with pytest.raises(InputError, match="--cluster subject: no test image has a subject; choose another"):
        clusters(frame, "subject")


# ------------------------------------------------------------------------------------ differences


def oracle(right, baseline, cluster, group, groups, replicates, seed=0):
    """The same in loops: each replicate's images are listed one by one, and the formulas written out."""
    names = sorted(set(cluster))
    generator = np.random.default_rng(seed)
    chosen = generator.integers(len(names), size=(replicates, len(names)))
    images = {name: np.flatnonzero(cluster == name) for name in names}
    table = []
    for method in right:
        row = []
        for part in range(-1, groups):
            inside = np.full(len(cluster), True) if part < 0 else group == part
            present = [name for name in names if inside[images[name]].any()]
            if method is right[baseline] or len(present) < 2:
                row.append(None)
                continue
            replicated = []
            for drawn in chosen:
                listed = np.concatenate([images[names[at]] for at in drawn])
                listed = listed[inside[listed]]
                if len(listed):
                    of_method, of_baseline = (
                        np.mean([answers[listed].mean() for answers in each]) for each in (method, right[baseline])
                    )
                    replicated.append(of_method - of_baseline)
            c = len(present)
            variance, freedom = [np.var(replicated, ddof=1) * c / (c - 1)], [c - 1]
            for each in (method, right[baseline]):
                seeds = [answers[inside].mean() for answers in each]
                if len(seeds) > 1:
                    variance.append(np.var(seeds, ddof=1) / len(seeds))
                    freedom.append(len(seeds) - 1)
            total = sum(variance)
            # Satterthwaite, Biometrics Bulletin 2, 1946
            df = total**2 / sum(v**2 / f for v, f in zip(variance, freedom, strict=True))
            estimate = np.mean([a[inside].mean() for a in method]) - np.mean(
                [a[inside].mean() for a in right[baseline]]
            )
            low, high = stats.t.interval(0.95, df, loc=estimate, scale=total**0.5)
            row.append(Difference(estimate, low, high, 2 * stats.t.sf(abs(estimate) / total**0.5, df)))
        table.append(row)
    return table


def test_differences_are_those_of_plain_loops():
    generator = np.random.default_rng(0)
    cluster, group = generator.integers(8, size=40), generator.integers(3, size=40)  # of 4: nobody is in the last
    right = [draw(1, 3, 40), draw(2, 2, 40), draw(3, 1, 40)]
    found = differences(right, 1, cluster, group, 4, replicates=300, seed=5)
    expected = oracle(right, 1, cluster, group, 4, 300, seed=5)
    assert [[each is None for each in row] for row in found] == [[each is None for each in row] for row in expected]
    assert found[1] == [None] * 5
    assert found[0][4] is None
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            if one is not None:
                assert vars(one) == pytest.approx(vars(other), rel=1e-9, abs=1e-12)


def test_with_one_seed_it_is_the_paired_t_test_over_clusters():
    cluster = np.repeat(np.arange(12), 4)
    one, other = draw(4, 1, 48), draw(5, 1, 48)
    (found,) = [each for each in overall([other, one], cluster, replicates=40_000) if each]
    means = [each.reshape(12, 4).mean(axis=1) for each in (one, other)]
    expected = stats.ttest_rel(*means)
    low, high = expected.confidence_interval(0.95)
    assert found.estimate == pytest.approx(means[0].mean() - means[1].mean(), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02 * (high - low))
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)


def test_what_both_find_hard_cancels():
    # whole clusters are easy or hard; the methods differ on one image in ten
    easy = np.repeat(np.random.default_rng(6).random(40) < 0.5, 10)
    one = np.stack([easy] * 3)
    other = one.copy()
    other[:, ::10] = True
    (paired,) = [each for each in overall([one, other], np.repeat(np.arange(40), 10)) if each]
    # as if it were another test set: the clusters of the second method do not match
    (unpaired,) = [each for each in overall([one, other[:, ::-1]], np.repeat(np.arange(40), 10)) if each]
    assert paired.estimate == pytest.approx(unpaired.estimate)
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 4
    assert paired.low > 0 > unpaired.low


def test_a_method_that_is_the_baseline_differs_by_nothing():
    right = draw(7, 4, 60)
    (found,) = [each for each in overall([right, right.copy()], np.repeat(np.arange(20), 3)) if each]
    assert (found.estimate, found.p) == (0, 1)
    assert found.low <= 0 <= found.high


@pytest.mark.parametrize("seeds", [(1, 1), (3, 5), (7, 3)])
@pytest.mark.parametrize("n", [7, 36, 49])
def test_equal_answers_of_every_seed_are_no_difference_whatever_rounding_says(seeds, n):
    answers = draw(8, n)
    right = [np.stack([answers] * s) for s in seeds]
    (found,) = [each for each in overall(right, np.arange(n) // 3) if each]
    assert found.p == 1
    assert abs(found.estimate) < 1e-12


def test_a_difference_on_every_image_is_certain():
    right = [np.zeros((2, 12), bool), np.ones((2, 12), bool)]
    assert overall(right, np.arange(12) // 2)[1] == Difference(1, 1, 1, 0)


def test_a_group_of_one_cluster_says_nothing_of_other_people():
    cluster, group = np.repeat(np.arange(6), 5), np.repeat([0, 1, 1, 1, 1, 1], 5)
    whole, alone, others = differences([draw(9, 3, 30), draw(10, 3, 30)], 0, cluster, group, 2)[1]
    assert alone is None
    assert whole is not None
    assert others is not None
    assert overall([draw(9, 3, 30), draw(10, 3, 30)], np.zeros(30, int)) == [None, None]


def test_one_seed_means_an_interval_about_the_images_only():
    right = [draw(11, 5, 90), draw(12, 5, 90)]
    cluster = np.repeat(np.arange(30), 3)
    many = overall(right, cluster)[1]
    # five copies of a seed vary no more than one
    copies = overall([np.stack([each[0]] * 5) for each in right], cluster)[1]
    single = overall([each[:1] for each in right], cluster)[1]
    assert vars(single) == pytest.approx(vars(copies), abs=1e-12)
    assert many != single


def test_seeds_that_vary_more_widen_the_interval():
    base = draw(13, 1, 300)
    steady = np.concatenate([base] * 4)
    wild = steady.copy()
    wild[:2], wild[2:] = base | draw(14, 1, 300), base & draw(15, 1, 300)
    cluster = np.repeat(np.arange(100), 3)
    narrow, wide = (overall([steady, each], cluster)[1] for each in (base | draw(16, 4, 300), wild))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_same_seed_gives_the_same_numbers_in_pieces_too(monkeypatch):
    right, cluster = [draw(17, 3, 60), draw(18, 3, 60)], np.repeat(np.arange(20), 3)
    found = overall(right, cluster, replicates=500)
    assert found == overall(right, cluster, replicates=500)
    assert found != overall(right, cluster, replicates=500, seed=1)
    monkeypatch.setattr(statistics, "MOST_WEIGHTS", 20 * 64)  # 64 draws at a time, the last piece shorter
    pieces = overall(right, cluster, replicates=500)
    assert vars(pieces[1]) == pytest.approx(vars(found[1]), rel=0.1)
    assert pieces[1].estimate == found[1].estimate


# ------------------------------------------------------------------------------------- corrections


def holm_by_definition(p):
    """Reject in the order of p, each at 0.05 over what is left; the adjusted value is where it would just be."""
    adjusted = []
    for value in p:
        smaller = [other for other in sorted(p) if other <= value]
        adjusted.append(min(1, max((len(p) - rank) * other for rank, other in enumerate(smaller))))
    return adjusted


def test_holm_of_known_values():
    # 4 * 0.01, then 3 * 0.015, then 2 * 0.04, then 1 * 0.05, which may not fall below the one before
    assert holm([0.04, 0.01, 0.05, 0.015]) == pytest.approx([0.08, 0.04, 0.08, 0.045])


@pytest.mark.parametrize("p", [[], [0.03], [0.5, 0.9, 0.7], [0.02, 0.02, 0.02], [0.0, 1.0, 0.2, 0.2, 0.01]])
def test_holm_is_its_definition(p):
    assert holm(p) == pytest.approx(holm_by_definition(p))


# ---------------------------------------------------------------------------------------- coverage


def experiment(generator, seeds, people, frames, spread):
    """Answers of two methods on frames of people, [S, N] each, whose true accuracies are 61.8 % both.

    An answer is right where 0.3 plus normal parts is above zero: of the person, of the method on the person, of the
    training (`spread`) and of the frame, of variance 1 in all: P(right) is Phi(0.3).
    """
    person = generator.normal(0, 0.6, people)
    rest = (1 - 0.6**2 - 0.3**2 - spread**2) ** 0.5
    answers = []
    for _ in range(2):
        own = person + generator.normal(0, 0.3, people)
        training = generator.normal(0, spread, (seeds, 1, 1))
        latent = 0.3 + own[:, None] + training + generator.normal(0, rest, (seeds, people, frames))
        answers.append((latent > 0).reshape(seeds, -1))
    return answers


@pytest.mark.parametrize(("seeds", "people", "spread"), [(3, 20, 0.05), (3, 20, 0.4), (5, 60, 0.2)])
def test_the_interval_holds_the_truth_as_often_as_it_says(seeds, people, spread):
    generator = np.random.default_rng(19)
    cluster = np.repeat(np.arange(people), 3)
    found = [
        overall(experiment(generator, seeds, people, 3, spread), cluster, replicates=200, seed=at)[1]
        for at in range(400)
    ]
    hits = sum(each.low <= 0 <= each.high for each in found)
    assert sum(each.p >= 0.05 for each in found) == hits  # the p value says the same as the interval
    # What a coverage of 95 to 98 % gives in 99 of 100 such studies. It is above 95 % where trainings differ by chance
    # on single frames only: that is counted twice, between the seeds and between the people.
    assert stats.binom.ppf(0.005, len(found), 0.95) <= hits <= stats.binom.ppf(0.995, len(found), 0.98)


# ----------------------------------------------------------------------------------------- McNemar


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (6, 0), (9, 4), (12, 12), (3, 21), (40, 22), (300, 410)])
def test_mcnemars_p_is_statsmodels_exact_one(gained, lost):
    method = np.repeat([True, False, True, False], [gained, lost, 17, 5])
    baseline = np.repeat([False, True, True, False], [gained, lost, 17, 5])
    found = mcnemar(method, baseline)
    assert (found.gained, found.lost) == (gained, lost)
    expected = contingency_tables.mcnemar([[17, gained], [lost, 5]], exact=True)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)


def test_mcnemars_p_by_hand():
    # of six images won by one alone, all by the method: twice 1 / 64
    assert mcnemar(np.ones(6, bool), np.zeros(6, bool)).p == pytest.approx(2 / 64)


def test_mcnemar_takes_the_frames_of_a_sequence_for_more_than_they_are():
    people = np.random.default_rng(17).random((2, 12)) < [[0.8], [0.5]]
    frames = np.repeat(people, 10, axis=1)  # each person's ten frames are right or wrong together
    (clustered,) = [each for each in overall([frames[1:], frames[:1]], np.repeat(np.arange(12), 10)) if each]
    assert mcnemar(*frames).p < 0.001 < 0.05 < clustered.p
    assert mcnemar(*people).p > 0.05


def test_the_p_values_of_seeds_are_combined_by_the_middle_one():
    assert combined([0.03]) == 0.03
    assert combined([0.04, 0.01]) == pytest.approx(2 * 0.01)
    assert combined([0.01, 0.5, 0.02, 0.03, 0.9]) == pytest.approx(0.03 * 5 / 3)
    assert combined([0.9, 1.0, 1.0]) == 1


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_a_combined_p_is_below_5_percent_in_5_percent_at_most_however_seeds_depend(correlation):
    generator = np.random.default_rng(18)
    shared, own = generator.normal(size=(4000, 1)), generator.normal(size=(4000, 5))
    p = 2 * stats.norm.sf(abs(correlation**0.5 * shared + (1 - correlation) ** 0.5 * own))
    # the binomial's own 99.9 % above 0.05
    assert np.mean([combined(row) < 0.05 for row in p]) <= stats.binom.ppf(0.999, 4000, 0.05) / 4000
