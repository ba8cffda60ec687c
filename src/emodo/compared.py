"""What a report compares: runs that were tested on the same images, and what the manifest tells of these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from emodo import manifest
from emodo.files import sha256
from emodo.metrics import score
from emodo.multilabel import JOIN
from emodo.records import InputError, Task
from emodo.runs import CONFIG, METRICS, PROVENANCE, config, predictions, provenance, scores, task
from emodo.thumbnails import Place

EVERYWHERE = "all images"  # stands for the stratum where the data has none
MOST_STRATA = 12  # a table of more is no longer read; the strata with most test images are shown


@dataclass(frozen=True)
class Run:
    """A finished run as the report needs it; `predictions` is sorted by path, so runs align row by row."""

    name: str
    folder: Path
    method: str
    manifest: Path
    config: dict[str, Any]
    config_text: str
    provenance: dict[str, str]
    task: Task
    predictions: pd.DataFrame
    losses: pd.DataFrame
    scores: dict[str, Any]


@dataclass(frozen=True)
class Data:
    """What the manifest tells about the images, and `notes` on what it does not.

    images: of each (split, stratum, emotion), all places; None for an image whose manifest is gone. A row of several
    emotions is in each. rows: how many there are of each split.
    test: the place of each row of the predictions, None where the manifest has it no longer; matched: its row there,
    counted from 0 in `frame`, the manifest as loaded, which is None where it cannot be used.
    unseen: the (stratum, emotion) cells without a training image; None where that is not known.
    """

    name: str
    images: dict[tuple[str, str, str], list[Place | None]]
    test: list[Place | None]
    rows: dict[str, int]
    unseen: frozenset[tuple[str, str]] | None = None
    notes: tuple[str, ...] = ()
    frame: pd.DataFrame | None = None
    matched: tuple[int | None, ...] = ()


def comparable(folders: Sequence[Path]) -> list[Run]:
    """Read the runs and see to it that row i of each is the same test image with the same labels.

    Raises InputError as `emodo.reporting.report` says.
    """
    if not folders:
        raise InputError("there is no run to report: give the folder of at least one")
    full = [folder.resolve() for folder in folders]
    for at, folder in enumerate(full):
        if folder in full[:at]:
            raise InputError(f"{folders[at]} is given twice: give each run once")
    names = [folder.name for folder in full]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    read = [_read(folder, name) for folder, name in zip(folders, names, strict=True)]
    first = read[0]
    grouped = next((run for run in read if run.task.confounder), first)
    for run in read:
        _same_emotions(first, run)
        _same_rows(first, run)
        if run.task.confounder:
            _same_strata(grouped, run)
    return [_scored(run, first, grouped) for run in read]


def _read(folder: Path, name: str) -> Run:
    try:
        complete = scores(folder)  # they are written last; the page scores anew, by the strata it shows
        arguments = config(folder)
        method = arguments["method"]
        losses = folder / METRICS
        return Run(
            name=name,
            folder=folder,
            method=str(method["class_path"] if isinstance(method, dict) else method).rpartition(".")[2],
            manifest=Path(arguments["manifest"]),
            config=arguments,
            config_text=(folder / CONFIG).read_text(encoding="utf-8"),
            task=task(folder),
            provenance=provenance(folder) if (folder / PROVENANCE).is_file() else {},
            predictions=predictions(folder).sort_values("path", kind="stable", ignore_index=True),
            losses=pd.read_csv(losses) if losses.is_file() else pd.DataFrame(),
            scores=complete,
        )
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())
        raise InputError(f"{folder} cannot be read as a run ({reason})") from None


def _same_emotions(first: Run, run: Run) -> None:
    if set(first.task.emotions) != set(run.task.emotions):
        raise InputError(
            f"{run.name} has other emotions ({', '.join(run.task.emotions)}) than {first.name} "
            f"({', '.join(first.task.emotions)}): report them separately"
        )
    if first.task.multilabel != run.task.multilabel:
        one, other = (run, first) if first.task.multilabel else (first, run)
        raise InputError(f"{one.name} recognises one emotion a row and {other.name} several: report them separately")


def _same_rows(first: Run, run: Run) -> None:
    ours, theirs = list(first.predictions["path"]), list(run.predictions["path"])
    if ours != theirs:
        alone = sorted(set(ours) ^ set(theirs))
        example = f", and only one of them has {alone[0]}" if alone else ""
        raise InputError(
            f"{run.name} was tested on other images than {first.name} ({len(theirs)} rows and "
            f"{len(ours)}{example}): report them separately"
        )
    labels = zip(ours, first.predictions["emotion"], run.predictions["emotion"], strict=True)
    differs = [f"{path} is {theirs}, not {ours}" for path, ours, theirs in labels if ours != theirs]
    if differs:
        raise InputError(
            f"{run.name} has another true emotion than {first.name} in {len(differs)} rows "
            f"({differs[0]}): report them separately"
        )


def _same_strata(grouped: Run, run: Run) -> None:
    if strata_of(grouped.predictions) != strata_of(run.predictions):
        raise InputError(
            f"{run.name} groups the test images by other strata than {grouped.name}, so their "
            "cells cannot be compared: report them separately"
        )


def strata_of(table: pd.DataFrame, column: str = "stratum") -> list[str]:
    """The stratum of each row, "" where unknown."""
    return ["" if pd.isna(stratum) else str(stratum) for stratum in table[column]]


def _scored(run: Run, first: Run, grouped: Run) -> Run:
    """Score a run with the emotions in the first one's order; one without a confounder borrows the strata."""
    confounder = run.task.confounder or grouped.task.confounder
    shared = replace(run.task, emotions=first.task.emotions, confounder=confounder)
    labelled = run.predictions.assign(stratum=grouped.predictions["stratum"])
    try:
        return replace(run, task=shared, predictions=labelled, scores=score(labelled, shared))
    except InputError as problem:
        raise InputError(f"{run.name}: {problem}") from None


def shown_strata(run: Run, most: int = MOST_STRATA) -> tuple[list[str], str]:
    """The strata with most test images, in the order of the task, and what to say where some are left out."""
    found = run.scores["strata"]
    largest = sorted(found, key=lambda stratum: -found[stratum]["n"])[:most]
    shown = [stratum for stratum in found if stratum in largest]
    left_out = f"; the {most} of {len(found)} strata with most test images" if len(shown) < len(found) else ""
    return shown, left_out


def data_of(run: Run) -> Data:
    """Read the run's manifest, as far as it is still there."""
    file = run.manifest
    column = run.task.confounder.column if run.task.confounder else None
    paths: list[str] = list(run.predictions["path"])
    try:
        rows = manifest.load(file, emotions=(*manifest.EMOTIONS, *run.task.emotions), check_files=False)
        lacking = [name for name in ("split", column) if name and name not in rows]
        if lacking:
            raise InputError(f"{file} has no column {' and no column '.join(lacking)}")
    except InputError as problem:
        strata = strata_of(run.predictions) if column else [EVERYWHERE] * len(paths)
        note = f"No sample images and no counts of training images: the manifest cannot be used ({problem})."
        return Data(
            file.name,
            _grouped(["test"] * len(paths), strata, list(run.predictions["emotion"]), [None] * len(paths)),
            [None] * len(paths),
            {"test": len(paths)},
            notes=(note,),
        )
    places, splits, emotions = _places(rows), list(rows["split"]), list(rows["emotion"])
    strata = strata_of(rows, column) if column else [EVERYWHERE] * len(rows)
    images = _grouped(splits, strata, emotions, places)
    left: dict[str, list[int]] = {}
    for at, (path, split) in enumerate(zip(rows["path"], splits, strict=True)):
        if split == "test":
            left.setdefault(path, []).append(at)
    matched = tuple(left[path].pop(0) if left.get(path) else None for path in paths)
    changed = None in matched or any(left.values()) or _changed(run)
    note = "The manifest has changed since the training: the runs may have seen other images than these."
    unseen = frozenset(
        (stratum, emotion)
        for stratum in run.scores["strata"]
        for emotion in run.task.emotions
        if ("train", stratum, emotion) not in images
    )
    return Data(
        file.name,
        images,
        [None if at is None else places[at] for at in matched],
        dict(Counter(splits)),
        unseen if column else None,
        (note,) if changed else (),
        rows,
        matched,
    )


def _changed(run: Run) -> bool:
    known = run.provenance.get("manifest_sha256")
    return known is not None and known != sha256(run.manifest)


def _places(rows: pd.DataFrame) -> list[Place | None]:
    files = [Path(file) for file in rows["file"]]
    if not set(manifest.BOX) <= set(rows.columns):
        return [(file, None) for file in files]
    boxes = rows[list(manifest.BOX)].to_numpy(float)
    return [
        (file, None if np.isnan(box).any() else (box[0], box[1], box[2], box[3]))
        for file, box in zip(files, boxes.tolist(), strict=True)
    ]


def _grouped(
    splits: list[str], strata: list[str], emotions: list[str], places: list[Place | None]
) -> dict[tuple[str, str, str], list[Place | None]]:
    groups: dict[tuple[str, str, str], list[Place | None]] = {}
    for *key, place in zip(splits, strata, emotions, places, strict=True):
        for emotion in key[2].split(JOIN):
            groups.setdefault((key[0], key[1], emotion), []).append(place)
    return groups
