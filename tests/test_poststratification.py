"""Post-stratification against its formula in plain loops, and the rules by which a factor claims what others leave."""

import numpy as np
import pytest
from scipy import stats

from emodo.factors import Factor, inside, number
from emodo.poststratification import Account, Answers, Drop, Part, explain, ordered, reasons, resampled


def answers(right, images=1):
    right = np.asarray(right, bool)
    return Answers(right, np.arange(len(right)) // images)


def chances(p, seed):
    return np.random.default_rng(seed).random(len(p)) < p


def three(seed=0, lab=300, field=200):
    """A factor of three values, of which the lab has two, and how a model does."""
    random = np.random.default_rng(seed)
    values = random.choice(3, lab, p=[0.7, 0.3, 0]), random.choice(3, field, p=[0.2, 0.5, 0.3])
    of_lab = answers(random.random(lab) < np.array([0.9, 0.6, 0])[values[0]], 2)
    of_field = answers(random.random(field) < np.array([0.8, 0.5, 0.2])[values[1]], 2)
    return Factor("light", ("day", "dusk", "night"), *values), of_lab, of_field


def test_the_drop_is_explained_outside_and_left_as_the_formula_says():
    factor, lab, field = three()
    found = explain([factor], lab, field, replicates=200)
    [account] = found.accounts
    a, f = lab.right.mean(), field.right.mean()
    explained = outside = left = 0.0
    for z, known in enumerate(inside(factor, lab.cluster)):
        here = factor.field == z
        p, f_z = here.mean(), field.right[here].mean()
        if known:
            a_z = lab.right[factor.lab == z].mean()
            explained, left = explained + p * (a - a_z), left + p * (a_z - f_z)
        else:
            outside += p * (a - f_z)
    assert found.drop.estimate == pytest.approx(a - f)
    assert account.explained.estimate == pytest.approx(explained)
    assert account.outside.estimate == pytest.approx(outside)
    assert explained + outside + left == pytest.approx(a - f)
    assert account.uncovered == pytest.approx((factor.field == 2).mean())


def test_alone_a_factor_accounts_for_what_it_explains_and_what_falls_outside():
    factor, lab, field = three()
    [account] = explain([factor], lab, field, replicates=200).accounts
    # outside the only factor nothing better is expected than the lab's accuracy
    assert account.accounted.estimate == pytest.approx(account.explained.estimate + account.outside.estimate)
    assert account.share.estimate == pytest.approx(account.accounted.estimate / (lab.right.mean() - field.right.mean()))


def test_a_shift_that_the_model_does_not_mind_explains_nothing():
    random = np.random.default_rng(3)
    values = random.choice(2, 4000, p=[0.8, 0.2]), random.choice(2, 4000, p=[0.2, 0.8])
    lab, field = answers(random.random(4000) < 0.8), answers(random.random(4000) < 0.5)
    found = explain([Factor("f", ("a", "b"), *values)], lab, field, replicates=300)
    part = found.accounts[0].explained
    assert part.low < 0 < part.high
    assert abs(part.estimate) < 0.02
    assert not reasons(found, [0])


def test_the_intervals_are_those_of_the_bootstrap_written_out():
    factor, lab, field = three()
    found = explain([factor], lab, field, replicates=4000).accounts[0].explained
    random = np.random.default_rng(9)

    def value(i, j):
        a = lab.right[i].mean()
        p = [(factor.field[j] == z).mean() for z in (0, 1)]
        return sum(p[z] * (a - lab.right[i][factor.lab[i] == z].mean()) for z in (0, 1))

    def draw(cluster):
        size = cluster.max() + 1
        return np.concatenate([np.flatnonzero(cluster == c) for c in random.integers(size, size=size)])

    every = np.arange(len(lab.right)), np.arange(len(field.right))
    sizes = lab.cluster.max() + 1, field.cluster.max() + 1
    drawn = (
        [value(draw(lab.cluster), every[1]) for _ in range(1000)],
        [value(every[0], draw(field.cluster)) for _ in range(1000)],
    )
    variance = [np.var(each, ddof=1) * c / (c - 1) for each, c in zip(drawn, sizes, strict=True)]
    freedom = sum(variance) ** 2 / sum(v**2 / (c - 1) for v, c in zip(variance, sizes, strict=True))
    reach = stats.t.ppf(0.975, freedom) * sum(variance) ** 0.5
    assert (found.high - found.low) / 2 == pytest.approx(reach, rel=0.1)
    assert (found.high + found.low) / 2 == pytest.approx(found.estimate)


def test_clusters_are_drawn_whole():
    table = np.eye(5)
    sums = resampled(table, 3000, 0)
    assert (sums.sum(axis=1) == 5).all()
    assert sums.mean(axis=0) == pytest.approx(np.ones(5), abs=0.06)
    assert sums.var(axis=0) == pytest.approx(np.full(5, 0.8), abs=0.1)  # binomial, n (1/n) (1 - 1/n)


def lab_and_field(n=600, seed=0):
    """What a lab of sharp images and a field of blurred ones have in common, and what not: noise and size."""
    random = np.random.default_rng(seed)
    blur = random.normal(0.6, 0.1, n), random.normal(2, 0.2, n)
    noise = random.normal(0.02, 0.004, n), random.normal(0.004, 0.001, n)
    cluster = np.arange(n)
    made = [
        number("size", np.full(n, 4.0), np.full(n, 9.0), cluster),
        number("noise", *noise, cluster),
        number("blur", *blur, cluster),
        Factor("sex", ("f", "m"), random.integers(2, size=n), random.integers(2, size=n)),
    ]
    return made, answers(random.random(n) < 0.9), answers(random.random(n) < 0.4)


def test_what_is_outside_alike_is_in_the_order_of_its_distance_and_a_name_claims_what_is_left():
    made, lab, field = lab_and_field()
    found = explain(made, lab, field, replicates=300)
    by_name = {account.name: account for account in found.accounts}
    for name in ("noise", "blur"):
        assert by_name[name].uncovered == 1
        assert by_name[name].accounted.estimate == pytest.approx(found.drop.estimate)
        assert by_name[name].share.estimate == pytest.approx(1)
    assert by_name["size"].only_a_name
    assert by_name["size"].outside.estimate == pytest.approx(found.drop.estimate)
    assert by_name["size"].accounted.estimate == pytest.approx(0)
    order = ordered(found.accounts, [0, 4, 14, 0.1])
    assert [found.accounts[at].name for at in order][:2] == ["blur", "noise"]
    assert [account.name for account in reasons(found, order)] == ["blur", "noise"]


def test_a_name_alone_is_named_where_nothing_else_is_known():
    made, lab, field = lab_and_field()
    found = explain([made[0], made[3]], lab, field, replicates=300)
    assert [account.name for account in reasons(found, ordered(found.accounts, [0, 0.1]))] == ["size"]


def test_what_a_factor_explains_is_not_claimed_by_one_that_is_outside():
    """The field has more of what the model is bad at, and another size, which harms nothing."""
    random = np.random.default_rng(2)
    n = 1000
    glasses = random.choice(2, n, p=[0.8, 0.2]), random.choice(2, n, p=[0.1, 0.9])
    blur = random.normal(0.6, 0.1, n), random.normal(2, 0.2, n)
    lab, field = (answers(random.random(n) < np.array([0.95, 0.3])[values]) for values in glasses)
    made = [Factor("glasses", ("no", "yes"), *glasses), number("blur", *blur, np.arange(n))]
    found = explain(made, lab, field, replicates=300)
    assert found.expected == "glasses"
    first, second = found.accounts
    assert first.share.estimate == pytest.approx(1, abs=0.15)
    assert second.outside.estimate == pytest.approx(found.drop.estimate)
    rate = [lab.right[glasses[0] == z].mean() for z in (0, 1)]
    expected = np.mean([rate[z] for z in glasses[1]]) - field.right.mean()
    assert second.accounted.estimate == pytest.approx(second.explained.estimate + expected)
    assert reasons(found, ordered(found.accounts, [1, 14]))[0].name == "glasses"


def account(name, estimate, p=0.001, uncovered=0.0, low=None, name_only=False):
    part = Part(estimate, estimate - 0.05, estimate + 0.05, p)
    share = Part(2 * estimate, 2 * estimate - 0.1 if low is None else low, 2 * estimate + 0.1, p)
    return Account(name, part, part, uncovered, part, share, p, name_only)


def named(*accounts, drop=0.5):
    found = Drop(0.9, 0.9 - drop, Part(drop, drop - 0.1, drop + 0.1, 0.0), list(accounts), None)
    return [each.name for each in reasons(found, ordered(accounts, [1.0] * len(accounts)))]


def test_what_will_do_as_a_reason():
    assert named(account("a", 0.3), account("b", 0.29), account("c", 0.2)) == ["a", "b"]
    assert named(account("a", 0.3, p=0.06)) == []
    assert named(account("a", -0.3)) == []
    assert named(account("a", 0.04)) == []  # under a tenth of the drop
    assert named(account("a", 0.3, uncovered=0.2, low=0.19)) == []  # no more than its share of the images
    assert named(account("a", 0.3, uncovered=0.2, low=0.21)) == ["a"]
    assert named(account("a", 0.3, uncovered=0.3, low=0.19)) == ["a"]
    assert named(account("size", 0.4, name_only=True), account("a", 0.1)) == ["a"]
    assert named(account("size", 0.4, name_only=True)) == ["size"]
    assert named() == []


def test_those_above_zero_come_before_larger_ones_that_are_not():
    accounts = [account("luck", 0.4, p=0.5), account("a", 0.2)]
    assert ordered(accounts, [9, 1]) == [1, 0]
    assert ordered([], []) == []
