"""What is looked at in predictions: quantities of few values, each a distribution that can be compared over time.

emotion             the likeliest emotion
confidence          its probability, in fifths of the reference
disagreement        how far the strata are apart, likewise (see `emodo.predictor.disagreement`)
emotion given S     the likeliest emotion of P(Y | X, d = S), where the method intervenes
looks like          the training stratum that a row's probabilities look like, where they tell strata apart at all
stratum             the stratum that the table itself names, in place of the former
emotion in S        the likeliest emotion of the rows of stratum S, where the table names it
confidence in S     likewise

And one that is no quantity of its own: `cells`, the likeliest emotion together with the stratum, by which it is asked
whether other strata or other emotions account for a drift.
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
CELLS = {"stratum": "emotion, stratum", "looks like": "emotion, looks like"}


@dataclass(frozen=True)
class Answers:
    """N rows: p [N, E]; given [N, K, E] and disagreement [N] where they are known; stratum [N] as in `numbered`."""

    p: np.ndarray
    given: np.ndarray | None = None
    disagreement: np.ndarray | None = None
    stratum: np.ndarray | None = None


def numbered(names: pd.Series, strata: Sequence[str]) -> np.ndarray:
    """The number of each stratum, [N] int: its place in `strata`, K for another, -1 where it is missing."""
    found = pd.Index(strata, dtype="str").get_indexer(pd.Index(names))
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
        for strata, cells in CELLS.items():
            if quantity == cells:
                return tuple(f"{emotion}, {of}" for emotion in self.task.emotions for of in self.values(strata))
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
        return found | self.cells(found)

    def cells(self, codes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The emotion and the stratum of every row as one number, where both are known."""
        return {
            cells: np.where(codes[strata] < 0, -1, codes["emotion"] * len(self.values(strata)) + codes[strata])
            for strata, cells in CELLS.items()
            if strata in codes
        }

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

    samples: of each quantity. cells: of each kind of `CELLS`, P(cell | stratum) [K, C] and P(cell | emotion) [E, C], by
    the true ones. confused: what was told of the rows of each stratum that `Profile.told` names. accuracy: balanced, of
    the classifier of strata on rows of other clusters, with its lower end; None where none was made.
    """

    profile: Profile
    samples: dict[str, Sample]
    rows: int
    cluster: str
    cells: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict[str, tuple[np.ndarray, np.ndarray]])
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
    made = Reference(plain, {}, len(table), by)
    codes = plain.codes(answers)
    truth = numbered(table.loc[:, "emotion"], task.emotions)
    strata: list[int] = []
    if answers.stratum is not None:
        made.cells[CELLS["stratum"]] = _cells(plain, "stratum", codes, answers.stratum, truth)
        strata = [at for at in range(len(task.strata)) if len(np.unique(cluster[answers.stratum == at])) >= FEW]
    if len(strata) >= 2 and answers.stratum is not None:
        teller, told = _teller(answers, strata, cluster, seed)
        known = told >= 0
        right = told == np.searchsorted(strata, answers.stratum)
        accuracy = _balanced(right[known], answers.stratum[known], cluster[known])
        made = replace(made, accuracy=accuracy)
        if accuracy[1] >= 1 / len(strata) + TOLD * (1 - 1 / len(strata)):
            profile = replace(plain, teller=teller, told=tuple(strata))
            codes["looks like"] = told
            made.cells[CELLS["looks like"]] = _cells(profile, "looks like", codes, answers.stratum, truth)
            confused = [np.where(answers.stratum == at, told, -1) for at in strata]
            size = len(strata)
            made = replace(made, profile=profile, confused=tuple(_sample(of, size, by, cluster) for of in confused))
    profile = made.profile
    for name, of in (codes | profile.cells(codes)).items():
        made.samples[name] = _sample(of, len(profile.values(name)), by, cluster)
    return made


def _sample(codes: np.ndarray, size: int, by: str, cluster: np.ndarray) -> Sample:
    """The sample of [N] codes, -1 where a row does not count, in clusters, or for themselves where these are images."""
    rows = codes >= 0
    if by == "image":
        return Sample(np.bincount(codes[rows], minlength=size))
    table = np.bincount(cluster[rows] * size + codes[rows], minlength=(int(cluster.max()) + 1) * size)
    return clustered(table.reshape(-1, size))


def _cells(
    profile: Profile, strata: str, codes: dict[str, np.ndarray], stratum: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """P(cell | stratum), [K', C], and P(cell | emotion), [E', C], of those strata and emotions that have rows."""
    cells = profile.cells(codes)[CELLS[strata]]
    size = len(profile.values(CELLS[strata]))

    def given(of: np.ndarray) -> np.ndarray:
        found = [np.bincount(cells[(of == at) & (cells >= 0)], minlength=size) for at in range(int(of.max()) + 1)]
        return np.stack([counts / counts.sum() for counts in found if counts.sum()])

    return given(stratum), given(truth)


def _edges(values: np.ndarray) -> np.ndarray:
    """Where fifths of the values end, at most four edges; fewer where values are alike."""
    ends = np.quantile(values, np.arange(1, BINS) / BINS)
    return np.unique(np.round(ends, ROUNDED))


def _features(answers: Answers, intervenes: bool) -> np.ndarray:
    """Logarithms of the probabilities, [N, E], and of those given each stratum, [N, E + K E]."""
    parts = [answers.p, *(np.moveaxis(answers.given, 1, 0) if intervenes and answers.given is not None else [])]
    return np.log(np.maximum(np.concatenate(parts, axis=1), LEAST))


def _teller(answers: Answers, strata: Sequence[int], cluster: np.ndarray, seed: int) -> tuple[Any, np.ndarray]:
    """A classifier of the strata from probabilities, and what it tells of rows of other clusters.

    Balanced logistic regression. The latter, [N], are places in `strata`; -1 where the row is of no such stratum.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    assert answers.stratum is not None
    rows = np.isin(answers.stratum, strata)
    table, truth = _features(answers, answers.given is not None), np.searchsorted(strata, answers.stratum)
    fold = (np.random.default_rng(seed).permutation(int(cluster.max()) + 1) % FOLDS)[cluster]

    def fitted(which: np.ndarray) -> Any:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000))
        return model.fit(table[which], truth[which])

    told = np.full(len(rows), -1)
    for at in range(FOLDS):
        held = rows & (fold == at)
        if held.any():
            told[held] = fitted(rows & (fold != at)).predict(table[held])
    return fitted(rows), told


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
