"""Which columns of a manifest may confound the emotion, and what each has to do with it, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emodo import columns as binning
from emodo.associations import associate, grouped, presence_entropies, tables
from emodo.manifest import as_text, sequence_key, subject_key
from emodo.records import InputError
from emodo.scenes import importances

PEOPLE = ("subject", "sequence")  # what rows are clustered by
CONFOUNDERS = ("source", "stratum")  # columns that are no label, whatever they look like
GROUPS = 5.0  # that a column of numbers is parted in
NUMERIC = 0.9  # of a column's different values are numbers, at least, if it holds numbers; what else it says is unknown
PER_STRATUM = 5  # rows of a stratum on average, at least: of fewer nothing can be said
FOLDS = 10


@dataclass(frozen=True)
class Characteristic:
    """A column that is audited: its strata, and the one of each row, [N] int.

    unknown: rows without a value, which are a stratum of their own. binned: whether numbers were grouped.
    """

    column: str
    strata: tuple[str, ...]
    stratum: np.ndarray
    unknown: int
    binned: bool


@dataclass(frozen=True)
class Skipped:
    """A column that is not audited, and why."""

    column: str
    why: str


def characteristics(
    frame: pd.DataFrame, name: Path, columns: Sequence[str] = (), bins: Sequence[float | str] = ()
) -> tuple[list[Characteristic], list[Skipped]]:
    """The columns to audit, and those that cannot be, with the reason.

    frame: a manifest's rows. name: what messages call it. columns: those to look at, by default all but path, emotion,
    split and box. bins: as in `emodo strata`; by default, columns of more than ten numbers are parted in five groups of
    equal size, and a word among them, such as NA, is no value.

    Raises InputError where a named column is missing or can never be a confounder, or no column is left.
    """
    never = (*binning.KEPT, *PEOPLE)
    for column in columns:
        if column in never:
            what = "is what rows are clustered by" if column in PEOPLE else "cannot be a confounder"
            raise InputError(f"the column {column!r} {what}: leave it out of --columns")
        if column not in frame:
            there = ", ".join(each for each in frame.columns if each not in never)
            raise InputError(f"{name} has no column {column!r} to audit; it has {there or 'no other'}")
    for word in bins:
        if isinstance(word, str) and "=" in word and word.rpartition("=")[0] not in frame:
            raise InputError(f"--bins {word} names a column that {name} does not have: correct it")
    chosen = list(dict.fromkeys(columns)) or [column for column in frame.columns if column not in never]
    people = {key: pd.factorize(of(frame))[0] for key, of in (("sequence", sequence_key), ("subject", subject_key))}
    emotion = pd.factorize(frame.loc[:, "emotion"])[0]
    found: list[Characteristic] = []
    skipped: list[Skipped] = []
    for column in chosen:
        text = as_text(frame.loc[:, column])
        binned = _bins_of(column, text, bins)
        if binned and not any("=" in str(word) for word in binned):  # bins that name the column refuse other words
            text = text.where(np.isfinite(_numbers(text)))
        why = _no_confounder(text, bool(binned))
        if why is None and not binned:
            code = pd.factorize(text)[0]
            named = [key for key in people if key in frame and _one_to_one(code, people[key])]
            if column not in (*columns, *CONFOUNDERS) and _one_to_one(code, emotion):
                why = (
                    "one value for each emotion and back: it is the label, not a confounder; if it is none, audit it "
                    f"with --columns {column}, for nothing in this data tells it from the emotion"
                )
            elif named:
                why = f"one value for each {named[0]} and back: it names these, which rows are clustered by"
        if why is None:
            found.append(_characteristic(frame, name, column, text, binned))
        else:
            skipped.append(Skipped(column, why))
    if not found:
        reasons = "; ".join(f"{each.column}: {each.why}" for each in skipped)
        raise InputError(
            f"{name} has no column to audit" + (f" ({reasons})" if reasons else ": add one, such as source")
        )
    return found, skipped


def _bins_of(column: str, text: pd.Series, bins: Sequence[float | str]) -> list[float | str]:
    """The bins of a column: those that name it, else the general ones where it holds many numbers, else none."""
    own: list[float | str] = [word for word in bins if isinstance(word, str) and word.startswith(f"{column}=")]
    if own:
        return own
    known = text.dropna().drop_duplicates()
    numbers = _numbers(known)
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) <= binning.MOST or len(numbers) < NUMERIC * len(known):
        return []
    if len(numbers) == len(text) and (numbers % 1 == 0).all():
        return []  # a number for every row is its name
    return [word for word in bins if not (isinstance(word, str) and "=" in word)] or [GROUPS]


def _no_confounder(text: pd.Series, binned: bool) -> str | None:
    """Why nothing can be said of a column, if so."""
    values, rows = text.nunique(), len(text)
    if not values:
        return "it is empty"
    if values == 1 and not text.isna().any():
        return f"one value, {text.iloc[0]!r}, in all rows"
    if binned:
        return None
    if values == rows:
        return "a value of its own for every row: a name, a path or free text"
    if values * PER_STRATUM > rows:
        return (
            f"{values} values in {rows} rows, fewer than {PER_STRATUM} rows each: names or free text; group what is "
            "neither, as with `emodo strata --by column`"
        )
    return None


def _one_to_one(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = pd.DataFrame({"one": one, "other": other}).drop_duplicates()
    return bool(pairs["one"].is_unique and pairs["other"].is_unique)


def _characteristic(
    frame: pd.DataFrame, name: Path, column: str, text: pd.Series, bins: list[float | str]
) -> Characteristic:
    every = np.ones(len(frame), bool)
    binned = frame.assign(**{column: text})
    names = binning.product(binned, every, name, [column], bins) if bins else text.fillna(f"unknown {column}")
    stratum, strata = pd.factorize(pd.Series(names, dtype="str"), sort=True)
    if bins:  # groups of numbers in their order, those without one last
        least = np.full(len(strata), np.inf)
        np.minimum.at(least, stratum, np.nan_to_num(_numbers(text), nan=np.inf))
        order = np.argsort(least, kind="stable")
        strata, stratum = strata[order], np.argsort(order)[stratum]
    return Characteristic(column, tuple(str(each) for each in strata), stratum, int(text.isna().sum()), bool(bins))


def _numbers(text: pd.Series) -> np.ndarray:
    return pd.Series(pd.to_numeric(text, errors="coerce"), dtype=float).to_numpy()


# ---------------------------------------------------------------------------------------------- numbers


def described(
    one: Characteristic,
    shown: np.ndarray,
    emotions: tuple[str, ...],
    cluster: np.ndarray,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """All that is counted of a column, as it can be written to JSON (`emodo.audit.examine` says what the keys are).

    shown: [N, E], 1 for each emotion of a row. cluster: [N] int from 0, rows that belong together.
    """
    strata = len(one.strata)
    rows = np.bincount(one.stratum, minlength=strata)
    group = grouped(cluster, seed)
    by_group = tables(group, one.stratum, shown)  # [C, D, E]
    counts = by_group.sum(axis=0)
    association = associate(by_group, replicates, seed, independent=bool(np.bincount(cluster).max() == 1))
    given = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # P(e|d)
    measured = importances(counts, rows)
    from_emotion = float(given.max(axis=0).sum() / strata)
    entropies = {
        emotion: dict(zip(("strata", "zero", "mean"), presence_entropies(counts[:, e], rows), strict=True))
        for e, emotion in enumerate(emotions)
    }
    return {
        "column": one.column,
        "strata": list(one.strata),
        "unknown": one.unknown,
        "binned": one.binned,
        "rows": rows.tolist(),
        "counts": counts.astype(int).tolist(),
        "given": given.tolist(),
        "association": asdict(association),
        "importance": measured["importance"].tolist(),
        "importance_as_printed": measured["printed"].tolist(),
        "entropies": entropies,
        "bayes": _bayes(one.stratum, rows, shown, group),
        "from_emotion": from_emotion,
    }


def _bayes(stratum: np.ndarray, rows: np.ndarray, shown: np.ndarray, cluster: np.ndarray) -> dict[str, float]:
    """How often the emotion is guessed from the stratum alone, in folds of whole clusters, and from nothing.

    The guess is the emotion most frequent in the stratum among the other folds' rows, and it is right where the row has
    that emotion. majority: the share of rows that have the most frequent emotion.
    """
    held = tables(cluster % FOLDS, stratum, shown)  # [K, D, E]
    learned = held.sum(axis=0) - held
    learned += 1e-6 * learned.sum(axis=1, keepdims=True)  # a stratum that was not seen is guessed as any other
    rule = learned.argmax(axis=2)  # [K, D]
    right = np.take_along_axis(held, rule[:, :, None], axis=2).sum()
    return {"accuracy": float(right / rows.sum()), "majority": float(shown.sum(axis=0).max() / rows.sum())}
