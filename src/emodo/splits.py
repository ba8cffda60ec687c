"""Splits: which rows are trained on and which are tested, and the gates that no leaking split passes.

Every split moves whole sequences or whole subjects, so no two frames of one recording are on both sides. A
draw depends on the seed and the names of the sequences: not on the order of the rows, not on the machine.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd

from emodo import multilabel
from emodo.manifest import (
    EMOTIONS,
    SPLITS,
    check_target,
    in_two_splits,
    read,
    save,
    sequence_key,
    subject_key,
    validate,
)
from emodo.records import InputError

# Table 1 of the IERN paper: the fold in which an emotion (column: anger, disgust, fear, happiness, sadness,
# surprise) is tested on a source (row: CK+, MMI, Oulu-CASIA).
TABLE_1 = np.array(
    [
        [1, 2, 3, 1, 2, 3],
        [3, 1, 2, 3, 1, 2],
        [2, 3, 1, 2, 3, 1],
    ]
)


def split_table1(
    manifest: Path,
    out: Path,
    fold: int = 1,
    moved: float = 0.0,
    validation: float = 0.0,
    sources: list[str] | None = None,
    emotions: list[str] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """emodo split table1 faces.parquet fold1.parquet --fold 1

    One fold of the IERN paper's Table 1, for any three sources and six emotions: every emotion is tested on a
    source that does not show it in training.

    Args:
        manifest: The manifest to split; it needs the column source.
        out: The manifest to write (.parquet, .csv or .tsv).
        fold: 1, 2 or 3.
        moved: Fraction of the test sequences of each source and emotion that moves into training, 0.1 in the
            paper's modified setting.
        validation: Fraction of the training sequences kept for validation; the paper keeps none.
        sources: The sources in the places of CK+, MMI and Oulu-CASIA, by default all, sorted. Images of other
            sources are dropped.
        emotions: The emotions in the places of anger, disgust, fear, happiness, sadness and surprise, by
            default all, sorted. Images of other emotions are dropped.
        seed: Decides which sequences are moved and kept for validation.
        overwrite: Replace OUT where it exists.
    """
    known = tuple(EMOTIONS | set(emotions or ()))
    return _split(
        manifest, out, overwrite, known, lambda frame: table1(frame, fold, sources, emotions, moved, validation, seed)
    )


def split_random(
    manifest: Path,
    out: Path,
    test: float = 0.2,
    validation: float = 0.0,
    emotions: list[str] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """emodo split random faces.parquet split.parquet --test 0.2

    Whole sequences at random, the same fraction of every source and emotion.

    Args:
        manifest: The manifest to split.
        out: The manifest to write (.parquet, .csv or .tsv).
        test: Fraction of the sequences that is tested.
        validation: Fraction of the training sequences kept for validation.
        emotions: The emotions that the manifest may hold, in place of the known ones.
        seed: Decides which sequences are tested.
        overwrite: Replace OUT where it exists.
    """
    return _split(manifest, out, overwrite, emotions, lambda frame: by_sequence(frame, test, validation, seed))


def split_subject(
    manifest: Path,
    out: Path,
    test: float = 0.2,
    validation: float = 0.0,
    emotions: list[str] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """emodo split subject faces.parquet split.parquet --test 0.2

    Whole subjects at random, the same fraction of every source: nobody who is tested was seen in training.

    Args:
        manifest: The manifest to split; it needs the column subject.
        out: The manifest to write (.parquet, .csv or .tsv).
        test: Fraction of the subjects that is tested.
        validation: Fraction of the training subjects kept for validation.
        emotions: The emotions that the manifest may hold, in place of the known ones.
        seed: Decides which subjects are tested.
        overwrite: Replace OUT where it exists.
    """
    return _split(
        manifest, out, overwrite, emotions, lambda frame: by_subject(frame, test, validation, seed), subjects=True
    )


def table1(
    frame: pd.DataFrame,
    fold: int = 1,
    sources: list[str] | None = None,
    emotions: list[str] | None = None,
    moved: float = 0.0,
    validation: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Split by one fold of Table 1 of the IERN paper: the test part is the cells with the fold's number.

    With `moved`, that fraction of each test cell's sequences goes to training, rounded to the nearest number,
    halves to the even one: 0.1 of CK+'s 45 anger sequences is 4, of its 25 fear sequences 2. It is the rule
    that gives the test sizes of the paper's modified setting, 915 / 852 / 930 images; halves rounded up give
    912 / 852 / 927. `validation` is a fraction of each training cell, to one sequence.

    Raises:
        InputError: Not three sources or six emotions (choose them), a row without a source or with several
            emotions, an impossible fold or fraction.
    """
    if fold not in (1, 2, 3):
        raise InputError(f"Table 1 has folds 1, 2 and 3, not {fold}")
    multilabel.check_single(frame, None, "Table 1 gives an image its fold by its emotion")
    if "source" not in frame:
        raise InputError("Table 1 mixes three sources: the manifest needs the column source")
    row = _places(frame.loc[:, "source"], "sources", 3, sources)
    column = _places(frame.loc[:, "emotion"], "emotions", 6, emotions)
    chosen = (row >= 0) & (column >= 0)
    frame = frame.loc[chosen].reset_index(drop=True)
    test = TABLE_1[row[chosen], column[chosen]] == fold
    sequence, cell = sequence_key(frame).to_numpy(object), _cell(frame, "source", "emotion")
    test[test] = ~_drawn(sequence[test], cell[test], _fraction("moved", moved), seed, per_cell=True)
    return _assign(frame, test, sequence, cell, validation, seed)


def by_sequence(frame: pd.DataFrame, test: float = 0.2, validation: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Split by sequence, the same fraction of every source and emotion (to one sequence).

    Several emotions of a row count as one of its own, their combination. `validation` is a fraction of what is left
    for training.
    """
    sequence, cell = sequence_key(frame).to_numpy(object), _cell(frame, "source", "emotion")
    tested = _drawn(sequence, cell, _fraction("test", test), seed)
    return _assign(frame, tested, sequence, cell, validation, seed)


def by_subject(frame: pd.DataFrame, test: float = 0.2, validation: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Split by subject (within its source), the same fraction of every source's subjects (to one subject).

    `validation` is a fraction of the subjects left for training.

    Raises:
        InputError: A row without a subject, who could be anybody.
    """
    if "subject" not in frame:
        raise InputError("a split by subject needs the column subject")
    unknown = np.flatnonzero(frame.loc[:, "subject"].isna().to_numpy())
    if len(unknown):
        raise InputError(
            f"{len(unknown)} rows have no subject, the first is row {unknown[0] + 1}: fill them in or remove them"
        )
    subject, source = subject_key(frame).to_numpy(object), _cell(frame, "source")
    tested = _drawn(subject, source, _fraction("test", test), seed)
    return _assign(frame, tested, subject, source, validation, seed)


def check(frame: pd.DataFrame, subjects: bool = False) -> None:
    """Refuse a split that leaks or cannot be learned from.

    Raises:
        InputError: All that is wrong, a line each: no train or test part, an emotion without a training
            image, a sequence in two splits and, with `subjects`, a subject in two splits.
    """
    split, emotion = frame.loc[:, "split"], frame.loc[:, "emotion"]
    wrong = [f"the {part} part is empty" for part in ("train", "test") if not (split == part).any()]
    wrong += [
        f"no training image of {name}, which the other parts hold"
        for name in sorted(set(multilabel.apart(emotion)) - set(multilabel.apart(emotion[split == "train"])))
    ]
    for name, key in [("sequence", sequence_key(frame))] + [("subject", subject_key(frame))] * subjects:
        twice = sorted(set(key[in_two_splits(key, split)]))
        if twice:
            example = twice[0].split("\x1f")[-1]
            wrong.append(f"{len(twice)} {name}s are in more than one split, among them {example!r}")
    if wrong:
        raise InputError("\n".join(wrong))


def leakage(frame: pd.DataFrame) -> float:
    """Give the share of the test subjects that are in training too; NaN where no subject is known.

    Information, not an error: the paper's folds are independent by sequence only, and 94-96 % of CK+'s test
    subjects are in training as well.
    """
    if "subject" not in frame:
        return math.nan
    named = frame.loc[frame.loc[:, "subject"].notna()]
    key, split = subject_key(named), named.loc[:, "split"]
    tested = set(key[split == "test"])
    return len(tested & set(key[split == "train"])) / len(tested) if tested else math.nan


def _split(
    manifest: Path,
    out: Path,
    overwrite: bool,
    emotions: Iterable[str] | None,
    split: Callable[[pd.DataFrame], pd.DataFrame],
    subjects: bool = False,
) -> Path:
    check_target(out, overwrite)
    # An earlier split is replaced, so its faults are no reason to refuse.
    table = read(manifest).drop(columns="split", errors="ignore")
    whole = validate(table, manifest, manifest.parent, tuple(emotions) if emotions else None)
    try:
        frame = split(whole)
        check(frame, subjects)
    except InputError as error:
        raise InputError("\n".join(f"{manifest}: {line}" for line in str(error).split("\n"))) from None
    save(frame, out)
    counts = frame["split"].value_counts()
    told = [", ".join(f"{part} {counts[part]}" for part in SPLITS if part in counts) + " images"]
    dropped, seen = len(whole) - len(frame), leakage(frame)
    told += [f"{dropped} of other sources or emotions dropped"] * (dropped > 0)
    told += [f"{seen:.0%} of the test subjects are also in training"] * (not math.isnan(seen))
    print(f"{out}: {'; '.join(told)}", file=sys.stderr)
    return out


def _places(names: pd.Series, what: str, count: int, chosen: list[str] | None) -> np.ndarray:
    """Number each row, [N], by its name's place in Table 1; -1 for a name that was not chosen."""
    found = sorted(set(names.dropna()))
    listed = ", ".join(found)
    if chosen is None and names.isna().any():
        row = int(names.isna().to_numpy().argmax()) + 1
        raise InputError(f"row {row} has no source: fill it in, or choose three with --{what}")
    if chosen is None and len(found) != count:
        raise InputError(
            f"Table 1 needs {count} {what}, the manifest has {len(found)} ({listed}): choose {count} with --{what}"
        )
    if chosen is not None and (len(set(chosen)) != count or len(chosen) != count):
        raise InputError(f"Table 1 needs {count} different --{what}, not {', '.join(chosen)}")
    absent = sorted(set(chosen or found) - set(found))
    if absent:
        raise InputError(f"--{what}: the manifest has no {', '.join(absent)} (found: {listed})")
    place = {name: at for at, name in enumerate(chosen or found)}
    return np.array([place.get(name, -1) for name in names])


def _fraction(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise InputError(f"--{name} is a fraction from 0 to below 1, not {value}")
    return value


def _cell(frame: pd.DataFrame, *columns: str) -> np.ndarray:
    given = [frame.loc[:, column].astype("str").fillna("") for column in columns if column in frame]
    return np.array(["\x1f".join(names) for names in zip(*given, strict=True)] or [""] * len(frame), object)


def _assign(
    frame: pd.DataFrame, test: np.ndarray, unit: np.ndarray, cell: np.ndarray, validation: float, seed: int
) -> pd.DataFrame:
    split = np.where(test, "test", "train").astype(object)
    train = np.flatnonzero(~test)
    kept = _drawn(unit[train], cell[train], _fraction("validation", validation), seed)
    split[train[kept]] = "validation"
    return frame.assign(split=pd.Series(split, index=frame.index, dtype="str"))


def _drawn(unit: np.ndarray, cell: np.ndarray, fraction: float, seed: int, per_cell: bool = False) -> np.ndarray:
    """Mark the rows, [N] bool, of a fraction of the units: of each cell, or of all while true to the cells.

    With `per_cell` each cell's number is rounded for itself. Otherwise the count runs on from cell to cell:
    the total is right where many cells are small, and each cell is right to one unit.
    """
    # A unit with rows in several cells counts in the first by name.
    units = pd.DataFrame({"unit": unit, "cell": cell}).sort_values(["unit", "cell"]).drop_duplicates("unit")
    # A hash orders the units, not a generator: the order survives other rows and other versions of numpy.
    units["unit_rank"] = [_rank(seed, name) for name in units["unit"]]
    units["cell_rank"] = units["cell"].map({name: _rank(seed, name) for name in set(cell)}.__getitem__)
    units = units.sort_values(["cell_rank", "unit_rank"])
    before = units.groupby("cell").cumcount().to_numpy() if per_cell else np.arange(len(units))
    chosen = np.rint((before + 1) * fraction) > np.rint(before * fraction)
    return pd.Series(unit).isin(list(units.loc[chosen, "unit"])).to_numpy()


def _rank(seed: int, name: str) -> int:
    return int.from_bytes(blake2b(f"{seed}\x1f{name}".encode(), digest_size=7).digest())  # fits int64
