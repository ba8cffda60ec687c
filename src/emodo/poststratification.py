"""How much of an accuracy's drop from lab to field each factor explains, by post-stratification.

Of a factor with values z, the field has the shares p(z); the lab's accuracy is A, and A(z) at a value. Post-stratified
to the field's shares, the lab's accuracy is the sum of p(z) A(z), which is what the field's would be if nothing but the
factor's shares differed. Where the lab does not have a value (`factors.inside`), A(z) is not known, and
post-stratification cannot speak. With F the field's accuracy and F(z) at a value, the drop is the sum of three parts,
without a remainder:

    A - F  =  sum over z inside of p(z) (A - A(z))         explained: the field has more of what the model is bad at
           +  sum over z outside of p(z) (A - F(z))        outside: falls on images of which the lab has none like them
           +  sum over z inside of p(z) (A(z) - F(z))      left: the model is worse at the same value

A factor *accounts for* what it explains and for what falls outside. Many factors may be outside at once, and not all
can be the reason. So each may claim only what those that know better leave:

1. The factor that explains most, among those whose explained part is above zero (Holm's p below 0.05 over all factors),
   sets what is expected of an image of the field, A(z) at its value z, or A where it is outside.
2. Every factor claims, of the images outside it, what is expected less what is right: sum over them of (expected -
   right) / N_field. What it accounts for is what it explains and claims.
3. A factor that only names the sets (`factors.is_a_name`: another data set, another size of all images) claims so too,
   but no image that is outside the factor which accounts for most under 2, if that is above zero.

Factors that account for nearly as much as the one that accounts for most (`AS_MUCH`) cannot be told from it by
accuracy; among these, the one whose distribution lies farthest from the lab's stands first (see `ordered`).

Intervals are of a bootstrap of clusters (sequences or people), drawn with replacement in lab and field apart: the
variance of each, times C / (C - 1), their sum, and Student's t with Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from emodo.factors import Factor, inside, is_a_name
from emodo.statistics import LEVEL, MOST_WEIGHTS, ROUNDING, holm

REPLICATES = 2000
SURE = 0.05  # Holm's p below which a part is above zero
LEAST_SHARE = 0.1  # of the drop, for a reason
MANY = 0.25  # of the field's images: the rest no longer tells what those outside are like
AS_MUCH = 0.9  # of what the first accounts for: a difference as small is not one


@dataclass(frozen=True)
class Answers:
    """A model on a set of images. right: [N] bool. cluster: [N] int from 0, images that fail together."""

    right: np.ndarray
    cluster: np.ndarray


@dataclass(frozen=True)
class Part:
    """A part of a drop, as a fraction of the images, its 95 % interval, and the two-sided p value of its being zero."""

    estimate: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Account:
    """What a factor accounts for (see the module).

    explained, outside: parts of the drop. uncovered: share of the field's images that are outside. accounted: what is
    explained and claimed. share: of the drop, None where the drop is not above zero. p_holm: of accounted, over all
    factors. only_a_name: `factors.is_a_name`.
    """

    name: str
    explained: Part
    outside: Part
    uncovered: float
    accounted: Part
    share: Part | None
    p_holm: float
    only_a_name: bool


@dataclass(frozen=True)
class Drop:
    """Accuracies of lab and field, their difference, and a factor's account each, in the order of the factors.

    expected: the factor of rule 1, or None.
    """

    lab: float
    field: float
    drop: Part
    accounts: list[Account]
    expected: str | None


def explain(
    factors: Sequence[Factor], lab: Answers, field: Answers, replicates: int = REPLICATES, seed: int = 0
) -> Drop:
    """Post-stratify the lab's accuracy to each factor of the field.

    factors: of the rows of `lab` and `field`. Both need images of two clusters.
    """
    within = [inside(factor, lab.cluster) for factor in factors]
    out = [~at[factor.field] for at, factor in zip(within, factors, strict=True)]  # [N_field] bool each
    of_lab = _Sums(lab, [(factor.lab, len(factor.values), None) for factor in factors], replicates, seed)
    of_field = _Sums(field, [(factor.field, len(factor.values), None) for factor in factors], replicates, seed + 1)

    def interval(value: Callable[[_Sums, _Sums], np.ndarray]) -> Part:
        """A part by its function of the sums in lab and field."""
        with np.errstate(invalid="ignore"):  # a draw without any image at a value
            both = value(of_lab.whole, of_field.whole)
            parts = value(of_lab, of_field.whole), value(of_lab.whole, of_field)
        return _part(float(both), parts, (of_lab.clusters, of_field.clusters))

    def accuracy(sums: _Sums) -> np.ndarray:
        return sums.total[1] / sums.total[0]

    drop = interval(lambda a, b: accuracy(a) - accuracy(b))

    def explained(at: int) -> Callable[[_Sums, _Sums], np.ndarray]:
        def value(a: _Sums, b: _Sums) -> np.ndarray:
            shares = b.n[at][..., within[at]] / b.total[0][..., None]
            better = accuracy(a)[..., None] - a.right[at][..., within[at]] / a.n[at][..., within[at]]
            return (shares * better).sum(axis=-1)

        return value

    first = [interval(explained(at)) for at in range(len(factors))]
    sure = _above_zero(first)
    expecting = max(sure, key=lambda at: first[at].estimate, default=None)

    def claimed(rows: np.ndarray, by: int | None) -> Callable[[_Sums, _Sums], np.ndarray]:
        """What is expected (by a factor, or else the lab's accuracy) less what is right, of some rows of the field."""
        place = np.zeros(len(rows), int) if by is None else np.where(out[by], 0, 1 + factors[by].field)
        size = 1 if by is None else 1 + len(factors[by].values)
        here = _Sums(field, [(place, size, rows)], replicates, seed + 1)

        def value(a: _Sums, b: _Sums) -> np.ndarray:
            c = here.whole if b is of_field.whole else here
            expected = accuracy(a)[..., None]
            if by is not None:
                known = np.where(within[by], a.right[by] / a.n[by], 0.0)
                expected = np.concatenate([expected, known], axis=-1)
            # a value that no row here has counts for nothing, even where the lab's accuracy at it is not a number
            due = np.where((here.whole.n[0] > 0), c.n[0] * expected, 0.0).sum(axis=-1)
            return (due - c.right[0].sum(axis=-1)) / b.total[0]

        return value

    def accounted(at: int, rows: np.ndarray) -> Callable[[_Sums, _Sums], np.ndarray]:
        of, claim = explained(at), claimed(rows, None if expecting == at else expecting)
        return lambda a, b: of(a, b) + claim(a, b)

    names = [is_a_name(factor, at) for factor, at in zip(factors, within, strict=True)]
    values = [accounted(at, out[at]) for at in range(len(factors))]
    found = [interval(value) for value in values]
    known = [at for at in _above_zero(found) if not names[at]]
    if known:
        taken = out[max(known, key=lambda at: found[at].estimate)]
        for at in np.flatnonzero(names).tolist():
            values[at] = accounted(at, out[at] & ~taken)
            found[at] = interval(values[at])
    corrected = holm([each.p for each in found])

    def share(at: int) -> Part | None:
        if drop.low <= 0:
            return None
        ratio = found[at].estimate / drop.estimate
        part = interval(lambda a, b: (values[at](a, b) - ratio * (accuracy(a) - accuracy(b))) / drop.estimate)
        return Part(ratio, ratio + part.low - part.estimate, ratio + part.high - part.estimate, found[at].p)

    accounts = [
        Account(
            name=factor.name,
            explained=first[at],
            outside=interval(claimed(out[at], None)),
            uncovered=float(out[at].mean()),
            accounted=found[at],
            share=share(at),
            p_holm=corrected[at],
            only_a_name=names[at],
        )
        for at, factor in enumerate(factors)
    ]
    expected = None if expecting is None else factors[expecting].name
    return Drop(float(lab.right.mean()), float(field.right.mean()), drop, accounts, expected)


def ordered(accounts: Sequence[Account], farness: Sequence[float]) -> list[int]:
    """The places of the accounts: those above zero (Holm's p), then the others, each by what they account for.

    Of those that account for `AS_MUCH` of the most, the one whose distribution is farthest comes first; one that only
    names the sets comes behind them. farness: of each factor, see `shift.farness`.
    """
    sure = [_above(account) for account in accounts]
    most = {
        of: max(
            (account.accounted.estimate for account, at in zip(accounts, sure, strict=True) if at == of), default=0.0
        )
        for of in (True, False)
    }

    def key(at: int) -> tuple[bool, bool, bool, float]:
        account = accounts[at]
        near = most[sure[at]] > 0 and account.accounted.estimate >= AS_MUCH * most[sure[at]]
        last = -farness[at] if near else -account.accounted.estimate
        return not sure[at], not near, near and account.only_a_name, last

    return sorted(range(len(accounts)), key=key)


def reasons(drop: Drop, order: Sequence[int]) -> list[Account]:
    """The factors that the drop may be laid to: the first that will do, and those that account for nearly as much.

    A factor will do where the drop is above zero, what it accounts for is (Holm's p over all factors), and that is at
    least `LEAST_SHARE` of the drop. Where images are outside, but fewer than `MANY`, more of the drop must fall to the
    factor than its share of the images (by the interval): else those outside are no worse than the others. One that
    only names the sets will do where nothing else accounts for anything above zero.
    """
    significant = [at for at in order if _above(drop.accounts[at])]
    known = any(not drop.accounts[at].only_a_name for at in significant)

    def will_do(account: Account) -> bool:
        share = account.share
        if share is None or share.estimate < LEAST_SHARE or (account.only_a_name and known):
            return False
        return account.uncovered >= MANY or share.low > account.uncovered

    standing = [account for at in significant if will_do(account := drop.accounts[at])]
    return [each for each in standing if each.accounted.estimate >= AS_MUCH * standing[0].accounted.estimate]


def _above(account: Account) -> bool:
    return account.p_holm < SURE and account.accounted.estimate > 0


def _above_zero(parts: Sequence[Part]) -> list[int]:
    return [
        at
        for at, (part, p) in enumerate(zip(parts, holm([part.p for part in parts]), strict=True))
        if p < SURE and part.estimate > 0
    ]


class _Sums:
    """Images and right answers at each value, of the whole set and in replicates of its clusters.

    n, right: [replicates, Z] each, one pair a factor. total: [replicates] each, images and right answers.
    """

    def __init__(
        self,
        answers: Answers,
        places: Sequence[tuple[np.ndarray, int, np.ndarray | None]],
        replicates: int,
        seed: int,
    ) -> None:
        """places: of each factor [N] int, the number of its values, and the rows that count, [N] bool, or all."""
        self.clusters = int(answers.cluster.max()) + 1
        columns: list[np.ndarray] = []
        for place, size, rows in (*places, (np.zeros_like(answers.cluster), 1, None)):
            counted = np.ones(len(place)) if rows is None else rows.astype(float)
            at = answers.cluster * size + place
            columns += [
                np.bincount(at, weight, minlength=self.clusters * size).reshape(self.clusters, size)
                for weight in (counted, counted * answers.right)
            ]
        ends = np.cumsum([column.shape[1] for column in columns])[:-1]
        table = np.concatenate(columns, axis=1)  # [C, all values of all factors, twice]
        self._set(np.split(resampled(table, replicates, seed), ends, axis=1))
        self.whole = _Sums.__new__(_Sums)
        self.whole.clusters = self.clusters
        self.whole._set(np.split(table.sum(axis=0), ends))

    def _set(self, parts: list[np.ndarray]) -> None:
        *of_factors, total, right = parts
        self.n, self.right = of_factors[::2], of_factors[1::2]
        self.total = total[..., 0], right[..., 0]


def resampled(table: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """Sums of the rows of a table, [C, K], drawn with replacement as often as there are: [replicates, K]."""
    generator = np.random.default_rng(seed)
    size = len(table)
    chunk = max(1, MOST_WEIGHTS // size)
    found: list[np.ndarray] = []
    for at in range(0, replicates, chunk):
        many = min(chunk, replicates - at)
        drawn = generator.integers(size, size=(many, size)) + size * np.arange(many)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * many).reshape(many, size)
        found.append(weights.astype(float) @ table)
    return np.concatenate(found)


def _part(estimate: float, replicated: Sequence[np.ndarray], clusters: Sequence[int]) -> Part:
    """An estimate's interval and p, from its replicates over the clusters of lab and of field, [replicates] each.

    A replicate without any image at a value is not a number, and says nothing.
    """
    # C clusters drawn from C vary by (C - 1) / C of what C other clusters would
    variances = [
        (float(np.nanvar(values, ddof=1)) * count / (count - 1), count - 1)
        for values, count in zip(replicated, clusters, strict=True)
    ]
    variances = [(variance, freedom) for variance, freedom in variances if variance > ROUNDING**2]
    if abs(estimate) < ROUNDING:
        estimate = 0.0
    if not variances:
        return Part(estimate, estimate, estimate, 0.0 if estimate else 1.0)
    total = sum(variance for variance, _ in variances)
    freedom = total**2 / sum(variance**2 / freedom for variance, freedom in variances)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * total**0.5
    return Part(
        estimate, estimate - reach, estimate + reach, float(2 * stats.t.sf(abs(estimate) / total**0.5, freedom))
    )
