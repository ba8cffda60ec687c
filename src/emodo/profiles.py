"""What is looked at in predictions: quantities of few values, each a distribution that can be compared over time.

emotion             the likeliest emotion
confidence          its probability, in fifths of the reference
disagreement        how far the strata are apart, likewise (see `emodo.predictor.disagreement`)
emotion given S     the likeliest emotion of P(Y | X, d = S), where the method intervenes
looks like          the training stratum that a row's probabilities look like, where they tell strata apart at all
stratum             the stratum that the table itself names, in place of the former
emotion in S        the likeliest emotion of the rows of stratum S, where the table names it
confidence in S     likewise
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from emodo import statistics
from emodo.drift import Sample, clustered
from emodo.records import Task

BINS = 5
ROUNDED = 2  # digits of a bin's edge: precision of bfloat16 and fp32 differ by less
FOLDS = 5
FEW = 10  # clusters of a stratum below which it is not told from others
TOLD = 0.25  # of the way from chance to certainty that a classifier of strata must have gone
LEAST = 1e-4  # probability below which a logarithm says no more
OTHER = "another"  # stratum, that the run does not know


@dataclass(frozen=True)
class Answers:
    """N rows: p [N, E]; given [N, K, E] and disagreement [N] where they are known; stratum [N] as in `numbered`."""

    p: np.ndarray
    given: np.ndarray | None = None
    disagreement: np.ndarray | None = None
    stratum: np.ndarray | None = None


def numbered(names: pd.Series, strata: Sequence[str]) -> np.ndarray:
    """The number of each stratum, [N] int: its place in `strata`, K for another, -1 where it is missing."""
    found = pd.Categorical(names, categories=list(strata)).codes.astype(int)
    return np.where((found < 0) & names.notna().to_numpy(bool), len(strata), found)


@dataclass(frozen=True)
class Profile:
    """How rows become values.

    edges: of the bins of confidence and disagreement. intervenes: whether there are probabilities given each stratum.
    teller: names the stratum of a row, of those at the places `told`.
    """

    task: Task
    edges: dict[str, np.ndarray]
    intervenes: bool
    teller: Any = None
    told: tuple[int, ...] = ()

    def values(self, quantity: str) -> tuple[str, ...]:
        """The names of a quantity's values, [C]."""
        name = quantity.split(" in ")[0]
        if quantity == "stratum":
            return (*self.task.strata, OTHER)
        if quantity == "looks like":
            return tuple(self.task.strata[at] for at in self.told)
        if name in self.edges:
            ends = [f"{edge:.{ROUNDED}f}" for edge in self.edges[name]]
            return tuple(f"{low} to {high}" for low, high in zip(["0", *ends], [*ends, "1"], strict=True))
        return self.task.emotions

    def codes(self, answers: Answers) -> dict[str, np.ndarray]:
        """The value of every row, [N] int, for each quantity that can be had; -1 where the row does not count."""
        found = {"emotion": answers.p.argmax(axis=1), "confidence": self._binned("confidence", answers.p.max(axis=1))}
        if answers.disagreement is not None and "disagreement" in self.edges:
            found["disagreement"] = self._binned("disagreement", answers.disagreement)
        if answers.given is not None and self.intervenes:
            likeliest = answers.given.argmax(axis=2)  # [N, K]
            found |= {f"emotion given {name}": likeliest[:, at] for at, name in enumerate(self.task.strata)}
        if answers.stratum is not None:
            for at, name in enumerate(self.task.strata):
                rows = answers.stratum == at
                found |= {f"{what} in {name}": np.where(rows, found[what], -1) for what in ("emotion", "confidence")}
            found["stratum"] = answers.stratum
        elif self.teller is not None and (answers.given is not None or not self.intervenes):
            found["looks like"] = self.teller.predict(_features(answers, self.intervenes))
        return found

    def _binned(self, name: str, values: np.ndarray) -> np.ndarray:
        return np.digitize(values, self.edges[name])


@dataclass
class Tally:
    """Counts of each quantity, row by row added: [G, C] of G groups of clusters, or [1, C] of images."""

    profile: Profile
    groups: int | None = None
    tables: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])

    def add(self, answers: Answers, group: np.ndarray | None = None) -> None:
        """Count rows; group: [N] int, the cluster of each, below `groups`."""
        for name, codes in self.profile.codes(answers).items():
            size = len(self.profile.values(name))
            rows = codes >= 0
            at = codes[rows] if group is None else group[rows] * size + codes[rows]
            counts = np.bincount(at, minlength=(self.groups or 1) * size).reshape(-1, size)
            self.tables[name] = self.tables.get(name, 0) + counts

    def samples(self) -> dict[str, Sample]:
        """The sample of each quantity."""
        return {
            name: Sample(table[0]) if self.groups is None else clustered(table) for name, table in self.tables.items()
        }


@dataclass(frozen=True)
class Reference:
    """What the windows are compared with: the run's test rows.

    samples: of each quantity. confused: what was told of the rows of each stratum that `Profile.told` names. accuracy:
    balanced, of the classifier of strata on rows of other clusters, with its lower end; None where none was made.
    """

    profile: Profile
    samples: dict[str, Sample]
    rows: int
    cluster: str
    confused: tuple[Sample, ...] = ()
    accuracy: tuple[float, float] | None = None


def reference(task: Task, answers: Answers, table: pd.DataFrame, seed: int = 0) -> Reference:
    """The run's own test rows, `table`, whose answers are given, as what windows are compared with.

    Clusters are sequences, or people, or images, the first that is known, as everywhere.
    """
    by, cluster = statistics.clusters(table)
    edges = {"confidence": _edges(answers.p.max(axis=1))}
    if answers.disagreement is not None:
        edges["disagreement"] = _edges(answers.disagreement)
    plain = Profile(task, edges, answers.given is not None)
    made = _tally(plain, answers, by, cluster)
    strata = [
        at
        for at in range(len(task.strata))
        if answers.stratum is not None and len(np.unique(cluster[answers.stratum == at])) >= FEW
    ]
    if len(strata) < 2 or answers.stratum is None:
        return Reference(plain, made, len(table), by)
    teller, told, rows = _teller(answers, strata, cluster, seed)
    accuracy = _balanced(told == np.searchsorted(strata, answers.stratum[rows]), answers.stratum[rows], cluster[rows])
    if accuracy[1] < 1 / len(strata) + TOLD * (1 - 1 / len(strata)):
        return Reference(plain, made, len(table), by, accuracy=accuracy)

    def sample(of: np.ndarray) -> Sample:
        number = np.unique(cluster[rows][of], return_inverse=True)[1]
        counts = np.zeros((int(number.max()) + 1, len(strata)), int)
        np.add.at(counts, (number, told[of]), 1)
        return Sample(counts.sum(axis=0)) if by == "image" else clustered(counts)

    made["looks like"] = sample(np.ones(len(told), bool))
    confused = tuple(sample(answers.stratum[rows] == at) for at in strata)
    return Reference(replace(plain, teller=teller, told=tuple(strata)), made, len(table), by, confused, accuracy)


def _edges(values: np.ndarray) -> np.ndarray:
    """Where fifths of the values end, at most four edges; fewer where values are alike."""
    ends = np.quantile(values, np.arange(1, BINS) / BINS)
    return np.unique(np.round(ends, ROUNDED))


def _tally(profile: Profile, answers: Answers, by: str, cluster: np.ndarray) -> dict[str, Sample]:
    tally = Tally(profile, None if by == "image" else int(cluster.max()) + 1)
    tally.add(answers, None if by == "image" else cluster)
    return tally.samples()


def _features(answers: Answers, intervenes: bool) -> np.ndarray:
    """Logarithms of the probabilities, [N, E], and of those given each stratum, [N, E + K E]."""
    parts = [answers.p, *(np.moveaxis(answers.given, 1, 0) if intervenes and answers.given is not None else [])]
    return np.log(np.maximum(np.concatenate(parts, axis=1), LEAST))


def _teller(
    answers: Answers, strata: Sequence[int], cluster: np.ndarray, seed: int
) -> tuple[Any, np.ndarray, np.ndarray]:
    """A classifier of the strata from probabilities, what it tells of rows of other clusters, [n], and those rows, [n].

    Balanced logistic regression. The last are rows of `strata`; what is told are places in it.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    assert answers.stratum is not None
    rows = np.flatnonzero(np.isin(answers.stratum, strata))
    table = _features(answers, answers.given is not None)[rows]
    truth = np.searchsorted(strata, answers.stratum[rows])
    dealt = np.random.default_rng(seed).permutation(int(cluster.max()) + 1) % FOLDS
    fold = dealt[cluster[rows]]

    def fitted(which: np.ndarray) -> Any:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000))
        return model.fit(table[which], truth[which])

    told = np.zeros(len(rows), int)
    for at in range(FOLDS):
        if (fold == at).any():
            told[fold == at] = fitted(fold != at).predict(table[fold == at])
    return fitted(np.ones(len(rows), bool)), told, rows


def _balanced(right: np.ndarray, stratum: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """The mean of the strata's accuracies, and the lower end of its 95 % interval over clusters."""
    means, influence = list[float](), np.zeros(len(right))
    names = np.unique(stratum)
    for name in names:
        rows = stratum == name
        means.append(float(right[rows].mean()))
        influence[rows] = (right[rows] - means[-1]) / rows.sum() / len(names)
    error = float((np.bincount(cluster, influence) ** 2).sum() ** 0.5)
    return sum(means) / len(means), sum(means) / len(means) - 1.96 * error
