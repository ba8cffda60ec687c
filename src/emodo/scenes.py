"""IERN's two steps from scenes to strata: scene classes by their meaning, then the clusters that bias most."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from emodo.clusters import KMEANS, SEEDS, check_number
from emodo.multilabel import apart, multi_hot
from emodo.records import InputError


@dataclass(frozen=True)
class Sources:
    """Where scenes come from, as `emodo strata --by scene` names it, a column or a network; and files about them."""

    column: str | None
    network: Path | None
    categories: Path | None
    io: Path | None
    vectors: Path | None


@dataclass(frozen=True)
class SceneStrata:
    """Which stratum each row is in, and what speaks for it.

    names: [N] text. clusters: a row a cluster that has training rows, the most important first; its name is the index,
    its columns are scenes (how many classes), rows, `P(c)`, `printed` and `importance` (see `two_steps`), and stratum,
    `own` where it is kept. agreement: adjusted Rand index of every two of the strata from several seeds, over the
    training rows.
    """

    names: np.ndarray
    clusters: pd.DataFrame
    agreement: tuple[float, ...]


def two_steps(
    scene: np.ndarray,
    emotion: np.ndarray,
    train: np.ndarray,
    vectors: Mapping[str, np.ndarray],
    settings: Mapping[str, str],
    name: Path,
    clusters: int = 30,
    keep: int = 8,
    seed: int = 0,
) -> SceneStrata:
    """The strata of IERN's Section 4.2: about 30 clusters of scenes, the 8 most important kept, the rest in or out.

    First, k-means++ groups the scene classes, all of them, whether or not they occur, by their `vectors`; a cluster is
    called by the scene that is nearest to its center. Second, clusters are sorted by importance over the training rows;
    the first `keep` are strata, and the scenes of the others are `indoor` or `outdoor` as `settings` says of each.

    The paper prints I(c) = P(c) sum_e P(e|c) log P(e|c), and says that a cluster with more images and more biases is
    more important. As printed, I(c) is minus an entropy times P(c): sorted downwards it puts clusters with few images
    first, sorted upwards those without bias. Taken here is what the text says, with the same sum measured from even
    odds instead of from certainty,

        importance(c) = P(c) sum_e P(e|c) log(E P(e|c)) = I(c) + P(c) log E,

    for E emotions: 0 where a cluster tells nothing of the emotion, P(c) log E where it has one alone. Both are given.

    Args:
        scene: [N] text, the scene of every row, a key of `vectors`.
        emotion: [N] text; of several emotions in a row (see `emodo.multilabel`), each counts.
        train: [N] bool, the rows that count.
        vectors: [d] of every scene class.
        settings: indoor or outdoor of every scene class.
        name: What the messages call the manifest.
        clusters: Their number (the paper: around 30 of 365 classes).
        keep: How many become strata (the paper: 8).
        seed: Decides the k-means.

    Raises:
        InputError: See `check_classes`.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    classes = sorted(vectors)
    table = np.stack([vectors[one] for one in classes]).astype(np.float64)  # [S, d]
    check_classes(vectors, clusters, name)
    label = pd.Series(emotion[train])
    shown = multi_hot(label, sorted(set(apart(label))))  # [n, E]; a row counts in each of its emotions
    at = pd.Index(classes).get_indexer(pd.Index(scene))  # [N]

    def draw(seed: int) -> tuple[np.ndarray, pd.DataFrame]:
        model = KMeans(clusters, random_state=seed, **KMEANS).fit(table)
        cluster = np.asarray(model.labels_)  # [S]
        distance = np.linalg.norm(table - model.cluster_centers_[cluster], axis=1).round(9)  # of two alike, the first
        called = [classes[min(np.flatnonzero(cluster == c), key=lambda s: distance[s])] for c in range(clusters)]
        counts = np.zeros((clusters, shown.shape[1]))
        np.add.at(counts, cluster[at[train]], shown)
        measured = importances(counts, np.bincount(cluster[at[train]], minlength=clusters))
        order = np.lexsort((-measured["rows"], -measured["importance"]))
        order = order[measured["rows"][order] > 0]
        kept = set(order[:keep].tolist())
        stratum = [called[c] if c in kept else settings[one] for one, c in zip(classes, cluster.tolist(), strict=True)]
        found = {"scenes": np.bincount(cluster, minlength=clusters), **measured}
        ranked = pd.DataFrame({key: values[order] for key, values in found.items()}, [called[c] for c in order])
        return np.array(stratum, object)[at], ranked.assign(stratum=["own" if c in kept else "" for c in order])

    draws = [draw(seed + i) for i in range(SEEDS)]
    strata = [names[train].astype(str) for names, _ in draws]
    agreement = tuple(float(adjusted_rand_score(a, b)) for a, b in combinations(strata, 2))
    return SceneStrata(*draws[0], agreement)


def check_classes(vectors: Mapping[str, np.ndarray], clusters: int, name: Path) -> None:
    """Raise InputError where fewer scene classes than clusters differ by their vectors."""
    different = len(np.unique(np.stack(list(vectors.values())), axis=0))
    check_number(name, different, clusters, "scene classes that differ by their vectors")


def importances(counts: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Rows, `P(c)`, the paper's I(c) as `printed`, and `importance` (see `two_steps`) of each cluster, [C] each.

    counts: [C, E], the training rows of each cluster and emotion. rows: [C], those of each cluster. Logarithms are
    natural, and 0 log 0 is 0.
    """
    prior = rows / rows.sum()
    given = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # P(e|c)
    printed = prior * (given * np.log(np.where(given > 0, given, 1))).sum(axis=1)
    importance = printed + prior * math.log(counts.shape[1])
    return {"rows": rows, "P(c)": prior, "printed": printed, "importance": importance}


# -------------------------------------------------------------------------------------- word vectors


def words(scene: str) -> list[str]:
    """The words of a scene's name: `basketball_court/indoor` -> basketball, court, indoor."""
    return [word for word in re.split(r"[_/\s]+", scene.lower()) if word]


def semantic_vectors(file: Path, scenes: Sequence[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The mean of the word vectors of each scene's name, [d] float64, and the words that the file does not have.

    file: GloVe's text format: UTF-8, no header, a line a word, the word and its d numbers parted by single spaces. A
    few of its tokens hold spaces themselves, so numbers are counted from the right. It is read line by line, and no
    further than the last word that is needed; only these are kept.

    Raises InputError where there is no such file, a line has not as many numbers as the first, or a number of a needed
    word is none, by file and line; and where no word of a scene is known.
    """
    if not file.is_file():
        raise InputError(f"there is no file {file} of word vectors")
    wanted = {word.encode(): word for scene in scenes for word in words(scene)}
    found: dict[str, np.ndarray] = {}
    width = 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            line = line.rstrip(b"\r\n")
            width = width or line.count(b" ")
            if line.count(b" ") != width or width < 2:
                _check_width(line, width, file, number)
                continue  # a token that holds spaces is no word of ours
            token, _, values = line.partition(b" ")
            if token in wanted and wanted[token] not in found:
                found[wanted[token]] = _vector(values, file, number)
                if len(found) == len(wanted):
                    break
    vectors = {scene: [found[word] for word in words(scene) if word in found] for scene in scenes}
    unknown = [scene for scene, known in vectors.items() if not known]
    if unknown:
        raise InputError(f"{file} has no word of the scene {unknown[0]!r} ({len(unknown)} such): use a larger file")
    missing = sorted(set(wanted.values()) - set(found))
    return {scene: np.mean(known, axis=0) for scene, known in vectors.items()}, missing


def _check_width(line: bytes, width: int, file: Path, number: int) -> None:
    """Raise InputError unless a line is a token with spaces and its `width` numbers."""
    token, *values = line.rsplit(b" ", width)
    last = token.rpartition(b" ")[2]
    if len(values) < width or width < 2:
        problem = f"has {line.count(b' ')} numbers"
    elif re.fullmatch(rb"[-+]?\d+\.\d+(e[-+]?\d+)?", last):
        problem = f"has more than {width} numbers"
    else:
        return
    expected = "expected is a word and its numbers" if number == 1 else f"line 1 has {width}"
    raise InputError(
        f"{file}, line {number} {problem}, and {expected}: use GloVe's text file, unpacked, whole and without a header"
    )


def _vector(values: bytes, file: Path, number: int) -> np.ndarray:
    try:
        vector = np.array([float(value) for value in values.split(b" ")])
    except ValueError as error:
        raise InputError(f"{file}, line {number}: {error}: expected is a word and its numbers") from None
    if not np.isfinite(vector).all():
        raise InputError(f"{file}, line {number} holds a number that is not finite")
    return vector
