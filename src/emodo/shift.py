"""How two sets of images differ, factor by factor, with intervals that count clusters of images and not images.

Of a number: the standardised mean difference, and the area under the ROC curve, which is the chance that an image of
the field has more of it than one of the lab (Mann and Whitney). Of a value: the total variation distance, half the sum
of the differences of the shares. Of both: the balanced accuracy with which the factor alone tells the sets apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from emodo.factors import Factor, shares
from emodo.statistics import LEVEL, MOST_WEIGHTS, holm

PERMUTATIONS = 5000
FOLDS = 5
COMPONENTS = 50  # of features, before they are classified


@dataclass(frozen=True)
class Value:
    """A value with its 95 % interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Shift:
    """How a factor differs. smd, auc: of a number. tv: of a value. told: balanced accuracy of the factor alone."""

    name: str
    smd: Value | None
    auc: Value | None
    tv: Value | None
    told: Value
    p: float
    p_holm: float
    lab: str
    field: str


def shifts(
    factors: Sequence[Factor], lab: np.ndarray, field: np.ndarray, permutations: int = PERMUTATIONS, seed: int = 0
) -> list[Shift]:
    """Compare lab and field by every factor; lab, field: [N] int, the clusters of their rows, two or more each.

    p: of permutations of the clusters between lab and field, of the area under the curve of a number and the total
    variation distance of values. Corrected by Holm over all factors.
    """
    p = permuted(factors, lab, field, permutations, seed)
    found: list[Shift] = []
    for factor, of_factor, corrected in zip(factors, p, holm(p), strict=True):
        told = told_alone(factor, lab, field, seed)
        if factor.numbers is None:
            tv = total_variation(factor, lab, field)
            said = _most(factor)
            found.append(Shift(factor.name, None, None, tv, told, of_factor, corrected, *said))
        else:
            known = [np.isfinite(values) for values in factor.numbers]
            values = [numbers[at] for numbers, at in zip(factor.numbers, known, strict=True)]
            of = values[0], values[1], lab[known[0]], field[known[1]]
            smd, auc = standardised(*of), area(*of)
            said = [f"{np.mean(each):.3g}" if len(each) else "unknown" for each in values]
            found.append(Shift(factor.name, smd, auc, None, told, of_factor, corrected, *said))
    return found


def _most(factor: Factor) -> tuple[str, str]:
    """The share of the value whose share differs most, in lab and in field."""
    lab, field = shares(factor)
    at = int(np.abs(field - lab).argmax())
    return f"{100 * lab[at]:.0f} % {factor.values[at]}", f"{100 * field[at]:.0f} % {factor.values[at]}"


def farness(factor: Factor) -> float:
    """How far the field's distribution lies from the lab's, in the lab's standard deviations.

    Of a number, the difference of the means by the lab's standard deviation (Glass). Of values, the same of their
    indicators together, the root of the sum of (difference of the shares)^2 / share in the lab, over the values that
    the lab has (Cohen's w); for two values they are equal. 0 where the lab does not vary.
    """
    if factor.numbers is not None:
        values = [numbers[np.isfinite(numbers)] for numbers in factor.numbers]
        if not all(len(each) for each in values) or np.ptp(values[0]) == 0:
            return 0.0
        return float(abs(values[1].mean() - values[0].mean()) / values[0].std())
    lab, field = shares(factor)
    if (lab > 0).sum() < 2:
        return 0.0
    return float(np.sqrt(((field - lab)[lab > 0] ** 2 / lab[lab > 0]).sum()))


# ------------------------------------------------------------------------------------ with intervals


def area(lab: np.ndarray, field: np.ndarray, lab_cluster: np.ndarray, field_cluster: np.ndarray) -> Value | None:
    """The area under the ROC curve of a number, [N] each: P(field > lab) + P(field = lab) / 2.

    Its interval is that of Obuchowski (Biometrics 53, 1997): the variance over clusters of the images' placements.
    """
    if not len(lab) or not len(field):
        return None

    def above(of: np.ndarray, among: np.ndarray) -> np.ndarray:
        among = np.sort(among)
        return (np.searchsorted(among, of, "left") + np.searchsorted(among, of, "right")) / (2 * len(among))

    of_lab, of_field = 1 - above(lab, field), above(field, lab)
    auc = float(of_field.mean())
    return _value(auc, [of_lab - auc, of_field - auc], [lab_cluster, field_cluster], 0, 1)


def standardised(
    lab: np.ndarray, field: np.ndarray, lab_cluster: np.ndarray, field_cluster: np.ndarray
) -> Value | None:
    """The standardised mean difference of a number, [N] each: (mean of field - of lab) / s, s^2 the mean variance.

    The interval is by its influence function. None where nothing varies.
    """
    if not len(lab) or not len(field) or lab.var() + field.var() == 0:
        return None
    s2 = (lab.var() + field.var()) / 2
    smd = float((field.mean() - lab.mean()) / np.sqrt(s2))

    def influence(values: np.ndarray, sign: int) -> np.ndarray:
        away = values - values.mean()
        return sign * away / np.sqrt(s2) - smd / (4 * s2) * (away**2 - values.var())

    return _value(smd, [influence(lab, -1), influence(field, 1)], [lab_cluster, field_cluster])


def total_variation(factor: Factor, lab_cluster: np.ndarray, field_cluster: np.ndarray) -> Value:
    """The total variation distance of a factor's values between lab and field, 0 to 1.

    The interval holds the sign of every difference: where there is none the distance of two samples is above zero by
    chance, and the interval does not say so; its p does.
    """
    lab, field = shares(factor)
    sign = np.sign(field - lab)
    tv = float(np.abs(field - lab).sum() / 2)
    rows = [sign[place] / 2 for place in (factor.lab, factor.field)]
    return _value(tv, [each - each.mean() for each in rows], [lab_cluster, field_cluster], 0, 1)


def _value(
    estimate: float,
    influences: Sequence[np.ndarray],
    clusters: Sequence[np.ndarray],
    least: float = -np.inf,
    most: float = np.inf,
) -> Value:
    """The interval of an estimate by its influences, [N] of each sample, whose clusters, [N], are independent.

    The variance is the sum over samples of C / (C - 1) times the sum over clusters of (their sum / N)^2.
    """
    variances: list[tuple[float, int]] = []
    for values, cluster in zip(influences, clusters, strict=True):
        sums = np.bincount(np.unique(cluster, return_inverse=True)[1], values) / len(values)
        count = len(sums)
        if count > 1:
            variances.append((float((sums**2).sum()) * count / (count - 1), count - 1))
    total = sum(variance for variance, _ in variances)
    if total == 0:
        return Value(estimate, estimate, estimate)
    freedom = total**2 / sum(variance**2 / freedom for variance, freedom in variances)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * total**0.5
    return Value(estimate, max(least, estimate - reach), min(most, estimate + reach))


# ------------------------------------------------------------------------------------- permutations


def permuted(
    factors: Sequence[Factor], lab: np.ndarray, field: np.ndarray, permutations: int = PERMUTATIONS, seed: int = 0
) -> list[float]:
    """The p value of every factor: how often clusters dealt at random to lab and field differ as much, with itself.

    Of a number, the statistic is the distance of the area under the curve from 1/2, of values the total variation
    distance. lab, field: [N] int, the clusters of the rows.
    """
    cluster = np.concatenate([lab, field + lab.max() + 1])
    count = int(cluster.max()) + 1
    of_field = np.arange(count) > lab.max()
    columns: list[np.ndarray] = []
    for factor in factors:
        if factor.numbers is None:
            size = len(factor.values)
            at = cluster * size + np.concatenate([factor.lab, factor.field])
            columns.append(np.bincount(at, minlength=count * size).reshape(count, size))
        else:
            numbers = np.concatenate(factor.numbers)
            known = np.isfinite(numbers)
            ranks = np.where(known, stats.rankdata(numbers, nan_policy="omit"), 0.0)
            columns.append(np.stack([np.bincount(cluster, weight) for weight in (known.astype(float), ranks)], axis=1))
    table = np.concatenate(columns, axis=1)
    ends = np.cumsum([column.shape[1] for column in columns])[:-1]
    whole = np.split(table.sum(axis=0), ends)

    def statistics(dealt: np.ndarray) -> np.ndarray:
        """The statistic of every factor, [F, P]; dealt: [P, C], 1 for a cluster of the field."""
        parts = np.split(dealt @ table, ends, axis=1)
        return np.stack(
            [
                _off_half(part, all_of, len(part))
                if factor.numbers is not None
                else np.abs(_over(part) - _over(all_of - part)).sum(axis=1) / 2
                for factor, part, all_of in zip(factors, parts, whole, strict=True)
            ]
        )

    observed = statistics(of_field[None].astype(float))[:, 0]
    generator = np.random.default_rng(seed)
    chunk, as_far = max(1, MOST_WEIGHTS // count), np.ones(len(factors))
    for at in range(0, permutations, chunk):
        dealt = generator.permuted(np.tile(of_field, (min(chunk, permutations - at), 1)), axis=1).astype(float)
        as_far += (statistics(dealt) >= observed[:, None] - 1e-12).sum(axis=1)
    return [float(each) for each in as_far / (permutations + 1)]


def _off_half(part: np.ndarray, whole: np.ndarray, permutations: int) -> np.ndarray:
    """|AUC - 1/2| by the number and the sum of ranks of those dealt to the field, part: [P, 2]; 0 where none is."""
    n, ranks = part.T
    others = whole[0] - n
    pairs = n * others
    auc = np.divide(ranks - n * (n + 1) / 2, pairs, out=np.full(permutations, 0.5), where=pairs > 0)
    return np.abs(auc - 0.5)


def _over(counts: np.ndarray) -> np.ndarray:
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


# -------------------------------------------------------------------------------------- classifiers


def _folds(lab: np.ndarray, field: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """A fold for every row of lab, then of field, [N]: each set's clusters are dealt to `FOLDS`, or to fewer."""
    generator = np.random.default_rng(seed)
    count = min(FOLDS, int(lab.max()) + 1, int(field.max()) + 1)
    dealt = [generator.permutation(int(cluster.max()) + 1) % count for cluster in (lab, field)]
    return np.concatenate([dealt[0][lab], dealt[1][field]]), count


def told_alone(factor: Factor, lab: np.ndarray, field: np.ndarray, seed: int = 0) -> Value:
    """The balanced accuracy with which a factor's value alone tells lab from field; 0.5 is chance.

    A value is taken for the field's where its share is larger there, as other folds have it; a value that they do not
    tell is half right.
    """
    place = np.concatenate([factor.lab, factor.field])
    is_field = np.repeat([False, True], [len(lab), len(field)])
    fold, count = _folds(lab, field, seed)
    right = np.full(len(place), 0.5)
    size = len(factor.values)
    for at in range(count):
        of = [_over(np.bincount(place[(fold != at) & rows], minlength=size)[None])[0] for rows in (~is_field, is_field)]
        tells = (of[1] - of[0])[place[fold == at]]
        right[fold == at] = np.where(tells == 0, 0.5, (tells > 0) == is_field[fold == at])
    return _at_least_chance(_balanced(right, lab, field))


def classified(table: np.ndarray, lab: np.ndarray, field: np.ndarray, seed: int = 0) -> Value:
    """The balanced accuracy of a classifier of lab against field, cross-validated by clusters; 0.5 is chance.

    Logistic regression on standardised columns, in at most `COMPONENTS` principal components; a missing number is the
    mean. table: [N_lab + N_field, D], lab first.
    """
    from sklearn.decomposition import PCA
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    is_field = np.repeat([False, True], [len(lab), len(field)])
    fold, count = _folds(lab, field, seed)
    right = np.zeros(len(table))
    for at in range(count):
        train, test = fold != at, fold == at
        steps: list[Any] = [SimpleImputer(keep_empty_features=True), StandardScaler()]
        if table.shape[1] > COMPONENTS:
            steps.append(PCA(min(COMPONENTS, int(train.sum())), svd_solver="randomized", random_state=seed))
        model = make_pipeline(*steps, LogisticRegression(class_weight="balanced", max_iter=1000))
        model.fit(table[train], is_field[train])
        right[test] = model.predict(table[test]) == is_field[test]
    return _at_least_chance(_balanced(right, lab, field))


def _at_least_chance(told: Value) -> Value:
    """Where two sets are alike, a fold has more of what the others have less of: below chance is chance."""
    return Value(max(0.5, told.estimate), max(0.5, told.low), max(0.5, told.high))


def _balanced(right: np.ndarray, lab: np.ndarray, field: np.ndarray) -> Value:
    """The mean of the accuracies on lab and on field; right: [N_lab + N_field], lab first."""
    parts = np.split(right.astype(float), [len(lab)])
    means = [float(part.mean()) for part in parts]
    influences = [(part - mean) / 2 for part, mean in zip(parts, means, strict=True)]
    return _value(sum(means) / 2, influences, [lab, field], 0, 1)
