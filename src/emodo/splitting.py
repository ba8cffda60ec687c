"""`emodo split`: from a manifest to the same with a column split, through the gates of `emodo.leakage`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from emodo import leakage, splits
from emodo.manifest import EMOTIONS, SPLITS, check_target, read, save, validate
from emodo.records import InputError


def split_table1(
    manifest: Path,
    out: Path,
    fold: int = 1,
    moved: float = 0.0,
    validation: float = 0.0,
    sources: list[str] | None = None,
    emotions: list[str] | None = None,
    seed: int = 0,
    near: int | None = None,
    strict: bool = False,
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
        near: Also look for near duplicates between the parts, as `emodo leakage` does; 16 is a good number of bits.
        strict: Refuse to write a split that leaks, instead of telling what does.
        overwrite: Replace OUT where it exists.
    """
    known = tuple(EMOTIONS | set(emotions or ()))
    return _split(
        manifest,
        out,
        lambda frame: splits.table1(frame, fold, sources, emotions, moved, validation, seed),
        known,
        _Gates(near, strict),
        overwrite,
    )


def split_random(
    manifest: Path,
    out: Path,
    test: float = 0.2,
    validation: float = 0.0,
    emotions: list[str] | None = None,
    seed: int = 0,
    near: int | None = None,
    strict: bool = False,
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
        near: Also look for near duplicates between the parts, as `emodo leakage` does; 16 is a good number of bits.
        strict: Refuse to write a split that leaks, instead of telling what does.
        overwrite: Replace OUT where it exists.
    """
    return _split(
        manifest,
        out,
        lambda frame: splits.by_sequence(frame, test, validation, seed),
        emotions,
        _Gates(near, strict),
        overwrite,
    )


def split_subject(
    manifest: Path,
    out: Path,
    test: float = 0.2,
    validation: float = 0.0,
    emotions: list[str] | None = None,
    seed: int = 0,
    near: int | None = None,
    strict: bool = False,
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
        near: Also look for near duplicates between the parts, as `emodo leakage` does; 16 is a good number of bits.
        strict: Refuse to write a split that leaks, instead of telling what does.
        overwrite: Replace OUT where it exists.
    """
    return _split(
        manifest,
        out,
        lambda frame: splits.by_subject(frame, test, validation, seed),
        emotions,
        _Gates(near, strict, subjects=True),
        overwrite,
    )


def split_kfold(
    manifest: Path,
    out: Path,
    folds: int = 5,
    fold: int = 1,
    by: Literal["sequence", "subject"] = "sequence",
    validation: float = 0.0,
    emotions: list[str] | None = None,
    seed: int = 0,
    near: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> Path:
    """emodo split kfold faces.parquet fold1.parquet --folds 5 --fold 1 --by subject

    One of k folds: over all of them, every sequence or subject is tested once.

    Args:
        manifest: The manifest to split.
        out: The manifest to write (.parquet, .csv or .tsv).
        folds: Number of folds, k.
        fold: The one that is tested, from 1.
        by: What stays together: a sequence, or everything of a subject, whom every row must name then.
        validation: Fraction of the training sequences or subjects kept for validation.
        emotions: The emotions that the manifest may hold, in place of the known ones.
        seed: Decides the folds; they belong together where it is the same.
        near: Also look for near duplicates between the parts, as `emodo leakage` does; 16 is a good number of bits.
        strict: Refuse to write a split that leaks, instead of telling what does.
        overwrite: Replace OUT where it exists.
    """
    return _split(
        manifest,
        out,
        lambda frame: splits.kfold(frame, folds, fold, by, validation, seed),
        emotions,
        _Gates(near, strict, subjects=by == "subject"),
        overwrite,
    )


def split_source(
    manifest: Path,
    out: Path,
    held_out: str | None = None,
    validation: float = 0.0,
    emotions: list[str] | None = None,
    seed: int = 0,
    near: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> Path:
    """emodo split source faces.parquet split.parquet --held-out MMI

    Leave one source out: the model is tested on a data set, camera or site that it never saw.

    Args:
        manifest: The manifest to split; every row needs a source.
        out: The manifest to write (.parquet, .csv or .tsv).
        held_out: The source that is tested.
        validation: Fraction of the training sequences kept for validation.
        emotions: The emotions that the manifest may hold, in place of the known ones.
        seed: Decides which sequences are kept for validation.
        near: Also look for near duplicates between the parts, as `emodo leakage` does; 16 is a good number of bits.
        strict: Refuse to write a split that leaks, instead of telling what does.
        overwrite: Replace OUT where it exists.
    """
    if held_out is None:
        raise InputError("name the source that is tested: --held-out SOURCE")
    return _split(
        manifest,
        out,
        lambda frame: splits.by_source(frame, held_out, validation, seed),
        emotions,
        _Gates(near, strict),
        overwrite,
    )


def split_cell(
    manifest: Path,
    out: Path,
    held_out: list[str] | None = None,
    stratum: str | None = None,
    test: float = 0.0,
    validation: float = 0.0,
    emotions: list[str] | None = None,
    seed: int = 0,
    near: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> Path:
    """emodo split cell faces.parquet split.parquet --held-out fear=MMI anger=CK+

    Leave cells out: these emotions are never seen in these strata, and are tested there.

    Args:
        manifest: The manifest to split.
        out: The manifest to write (.parquet, .csv or .tsv).
        held_out: The cells that are tested, as EMOTION=STRATUM.
        stratum: Column that holds the stratum; by default `stratum`, or else `source`.
        test: Fraction of the sequences of all other cells that is tested too, to compare with.
        validation: Fraction of the training sequences kept for validation.
        emotions: The emotions that the manifest may hold, in place of the known ones.
        seed: Decides which other sequences are tested and kept for validation.
        near: Also look for near duplicates between the parts, as `emodo leakage` does; 16 is a good number of bits.
        strict: Refuse to write a split that leaks, instead of telling what does.
        overwrite: Replace OUT where it exists.
    """
    return _split(
        manifest,
        out,
        lambda frame: splits.by_cell(frame, held_out or [], stratum, test, validation, seed),
        emotions,
        _Gates(near, strict),
        overwrite,
    )


def split_official(
    manifest: Path,
    out: Path,
    validation: float = 0.0,
    emotions: list[str] | None = None,
    seed: int = 0,
    near: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> Path:
    """emodo split official caers.parquet split.parquet --validation 0.1 --near 16

    Keep the split that the manifest has, once it is checked.

    Args:
        manifest: The manifest; it needs the column split.
        out: The manifest to write (.parquet, .csv or .tsv).
        validation: Fraction of the training sequences kept for validation, where the manifest keeps none.
        emotions: The emotions that the manifest may hold, in place of the known ones.
        seed: Decides which sequences are kept for validation.
        near: Also look for near duplicates between the parts, as `emodo leakage` does; 16 is a good number of bits.
        strict: Refuse to write a split that leaks, instead of telling what does.
        overwrite: Replace OUT where it exists.
    """
    return _split(
        manifest,
        out,
        lambda frame: splits.official(frame, validation, seed),
        emotions,
        _Gates(near, strict),
        overwrite,
        keep=True,
    )


@dataclass(frozen=True)
class _Gates:
    near: int | None
    strict: bool
    subjects: bool = False  # whether a subject in two parts is an error in any case


def _split(
    manifest: Path,
    out: Path,
    split: Callable[[pd.DataFrame], pd.DataFrame],
    emotions: Iterable[str] | None,
    gates: _Gates,
    overwrite: bool,
    keep: bool = False,
) -> Path:
    check_target(out, overwrite)
    table = read(manifest)
    if not keep:  # an earlier split is replaced, so its faults are no reason to refuse
        table = table.drop(columns="split", errors="ignore")
    whole = validate(table, manifest, manifest.parent, tuple(emotions) if emotions else None)
    try:
        frame = split(whole)
        splits.check(frame, gates.subjects)
    except InputError as error:
        raise InputError("\n".join(f"{manifest}: {line}" for line in str(error).split("\n"))) from None
    leakage.gate(frame, manifest, gates.near, gates.strict)
    save(frame, out)
    counts, dropped = frame["split"].value_counts(), len(whole) - len(frame)
    told = ", ".join(f"{part} {counts[part]}" for part in SPLITS if part in counts) + " images"
    told += f"; {dropped} of other sources or emotions dropped" * (dropped > 0)
    print(f"{out}: {told}", file=sys.stderr)
    return out
