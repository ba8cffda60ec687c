"""Splits: which rows are trained on and which are tested (the verbs are in `emodo.splitting`).

Every split moves whole sequences or whole subjects, so no two frames of one recording are on both sides. A
draw depends on the seed and the names of the sequences: not on the order of the rows, not on the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal

import numpy as np
import pandas as pd

from emodo import multilabel
from emodo.manifest import in_two_splits, sequence_key, subject_key
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
    frame = frame.loc[chosen]
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
    _check_filled(frame, "subject", "a split by subject")
    subject, source = subject_key(frame).to_numpy(object), _cell(frame, "source")
    tested = _drawn(subject, source, _fraction("test", test), seed)
    return _assign(frame, tested, subject, source, validation, seed)


def kfold(
    frame: pd.DataFrame,
    folds: int = 5,
    fold: int = 1,
    by: Literal["sequence", "subject"] = "sequence",
    validation: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Split by one of k folds: each sequence, or each subject, is tested in one fold and trained on in the others.

    The folds are of one size (to one sequence or subject), in total and in every source and emotion, or for subjects
    in every source. `validation` is a fraction of what is left for training.

    Raises:
        InputError: Fewer sequences or subjects than folds, a fold that is not one of them, or `by` subject and a row
            without one.
    """
    if by == "subject":
        _check_filled(frame, "subject", "a split by subject")
    key, columns = (subject_key, ("source",)) if by == "subject" else (sequence_key, ("source", "emotion"))
    unit, cell = key(frame).to_numpy(object), _cell(frame, *columns)
    ordered = _ordered(unit, cell, seed)
    if folds < 2 or not 1 <= fold <= folds:
        raise InputError(f"--folds {folds} --fold {fold}: there must be 2 folds or more, and the fold is one of them")
    if folds > len(ordered):
        raise InputError(f"--folds {folds}: the manifest has {len(ordered)} {by}s, and each fold tests one at least")
    tested = pd.Series(unit).isin(list(ordered["unit"].iloc[fold - 1 :: folds])).to_numpy()
    return _assign(frame, tested, unit, cell, validation, seed)


def by_source(frame: pd.DataFrame, held_out: str, validation: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Leave one source out: it is tested, and all others are trained on.

    `validation` is a fraction of the training sequences, the same of every source and emotion.

    Raises:
        InputError: No source of that name or no other one, or a row without a source.
    """
    _check_filled(frame, "source", "leaving a source out")
    source, found = frame.loc[:, "source"], sorted(frame.loc[:, "source"].unique())
    if held_out not in found:
        raise InputError(f"--held-out {held_out}: the manifest has the sources {', '.join(found)}")
    if len(found) < 2:
        raise InputError(f"{held_out} is the manifest's one source: without it there is nothing to train on")
    sequence, cell = sequence_key(frame).to_numpy(object), _cell(frame, "source", "emotion")
    return _assign(frame, (source == held_out).to_numpy(), sequence, cell, validation, seed)


def by_cell(
    frame: pd.DataFrame,
    held_out: Sequence[str],
    stratum: str | None = None,
    test: float = 0.0,
    validation: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Leave cells out: every sequence that shows one of these emotions in its stratum is tested, never trained on.

    held_out: cells as EMOTION=STRATUM. stratum: column of the strata; by default `stratum`, or else `source`. test:
    fraction of the sequences of all other cells that is tested as well, to compare with. `validation` is a fraction of
    what is left for training.

    Raises:
        InputError: No such column or cell, nothing named, or an impossible fraction.
    """
    column = stratum or next((name for name in ("stratum", "source") if name in frame), "stratum")
    if column not in frame:
        raise InputError(f"the manifest has no column {column} with the strata: name another with --stratum")
    named = (frame.loc[:, "emotion"] + "=" + frame.loc[:, column].astype("str")).fillna("")
    absent = sorted(set(held_out) - (set(named) - {""}))
    if absent or not held_out:
        strata = ", ".join(sorted(frame.loc[:, column].dropna().astype("str").unique()))
        raise InputError(
            f"--held-out {' '.join(absent)}: no such cell; name one or more, as EMOTION=STRATUM, with the strata in "
            f"{column}: {strata}"
        )
    sequence, cell = sequence_key(frame).to_numpy(object), _cell(frame, column, "emotion")
    out = np.isin(sequence, sequence[named.isin(list(held_out)).to_numpy()])
    tested = out.copy()
    tested[~out] = _drawn(sequence[~out], cell[~out], _fraction("test", test), seed)
    return _assign(frame, tested, sequence, cell, validation, seed)


def official(frame: pd.DataFrame, validation: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Keep the split that the manifest has.

    `validation` is a fraction of the training sequences that becomes the validation part, the same of every source and
    emotion, where the manifest has none.

    Raises:
        InputError: No split to keep, or a validation part where another one is asked for.
    """
    if "split" not in frame:
        raise InputError("the manifest has no column split to keep: make one, as with `emodo split random`")
    split = frame.loc[:, "split"]
    if validation and (split == "validation").any():
        raise InputError("--validation: the manifest's split has a validation part already, leave it out")
    sequence, cell = sequence_key(frame).to_numpy(object), _cell(frame, "source", "emotion")
    cut = _assign(frame, (split != "train").to_numpy(), sequence, cell, validation, seed)
    return frame.assign(split=cut["split"].where(split == "train", split))


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


def _check_filled(frame: pd.DataFrame, column: str, what: str) -> None:
    if column not in frame:
        raise InputError(f"{what} needs the column {column}")
    unknown = np.flatnonzero(frame.loc[:, column].isna().to_numpy())
    if len(unknown):
        raise InputError(
            f"{len(unknown)} rows have no {column}, the first is row {unknown[0] + 1}: fill them in or remove them"
        )


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
    units = _ordered(unit, cell, seed)
    before = units.groupby("cell").cumcount().to_numpy() if per_cell else np.arange(len(units))
    chosen = np.rint((before + 1) * fraction) > np.rint(before * fraction)
    return pd.Series(unit).isin(list(units.loc[chosen, "unit"])).to_numpy()


def _ordered(unit: np.ndarray, cell: np.ndarray, seed: int) -> pd.DataFrame:
    """The units at random, cell by cell: columns unit and cell, a row each."""
    # A unit with rows in several cells counts in the first by name.
    units = pd.DataFrame({"unit": unit, "cell": cell}).sort_values(["unit", "cell"]).drop_duplicates("unit")
    # A hash orders the units, not a generator: the order survives other rows and other versions of numpy.
    units["unit_rank"] = [_rank(seed, name) for name in units["unit"]]
    units["cell_rank"] = units["cell"].map({name: _rank(seed, name) for name in set(cell)}.__getitem__)
    return units.sort_values(["cell_rank", "unit_rank"])


def _rank(seed: int, name: str) -> int:
    return int.from_bytes(blake2b(f"{seed}\x1f{name}".encode(), digest_size=7).digest())  # fits int64
