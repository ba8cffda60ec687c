"""The report: what was compared, how it did, where, and on which images, on one page that loads nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

import emodo
from emodo import figures, manifest
from emodo.figures import Cell, Place, Samples, Table, percent
from emodo.files import write_text
from emodo.metrics import score
from emodo.records import InputError, Task
from emodo.runs import CONFIG, METRICS, PROVENANCE, config, predictions, provenance, scores, task

MOST_STRATA = 12  # a table of more is no longer read; the strata with most test images are shown
MOST_SAMPLES = 120  # thumbnails a split, 3 KB each: the page stays far under 5 MB
EXAMPLES = 3  # test images under each stratum, once where the run is right and once where it is wrong
EVERYWHERE = "all images"  # stands for the stratum where the data has none


@dataclass(frozen=True)
class Run:
    """A finished run as the report needs it; `predictions` is sorted by path, so runs align row by row."""

    name: str
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

    images: of each (split, stratum, emotion), all places; None for an image whose manifest is gone.
    test: the place of each row of the predictions, None where the manifest has it no longer.
    unseen: the (stratum, emotion) cells without a training image; None where that is not known.
    """

    name: str
    images: dict[tuple[str, str, str], list[Place | None]]
    test: list[Place | None]
    unseen: frozenset[tuple[str, str]] | None = None
    notes: tuple[str, ...] = ()


def report(runs: list[Path], out: str | Path = "report.html", overwrite: bool = False) -> Path:
    """emodo report runs/iern runs/erm --out report.html

    Compare runs on one HTML page, which holds its figures, tables and sample images itself and loads nothing:
    it can be mailed, archived and opened without a network. It is written whole or not at all. The same runs
    and images give the same page. Where the manifest or its images are gone, it is made without samples, and
    says so.

    Args:
        runs: The folders of one or more finished runs. They must have been tested on the same images, with
            the same emotions and, where they know any, the same strata.
        out: The HTML file to write.
        overwrite: Replace `out` if it exists.

    Returns:
        The file that was written.

    Raises:
        InputError: No run is given, or one twice; a folder is not a run, or its training has not finished;
            the runs differ in their emotions, test images or strata; `out` exists and is not to be replaced.
    """
    out = Path(out)
    if out.is_dir() or (out.exists() and not overwrite):
        raise InputError(
            f"{out} exists already: choose another --out" + ("" if out.is_dir() else ", or replace it with --overwrite")
        )
    compared = _comparable([Path(run) for run in runs])
    write_text(out, _render(compared, _data(compared[0])))
    return out


def _comparable(folders: Sequence[Path]) -> list[Run]:
    """Read the runs and see to it that row i of each is the same test image with the same labels."""
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
    if _strata(grouped.predictions) != _strata(run.predictions):
        raise InputError(
            f"{run.name} groups the test images by other strata than {grouped.name}, so their "
            "cells cannot be compared: report them separately"
        )


def _strata(table: pd.DataFrame, column: str = "stratum") -> list[str]:
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


def _data(run: Run) -> Data:
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
        strata = _strata(run.predictions) if column else [EVERYWHERE] * len(paths)
        note = f"No sample images and no counts of training images: the manifest cannot be used ({problem})."
        return Data(
            file.name,
            _grouped(["test"] * len(paths), strata, list(run.predictions["emotion"]), [None] * len(paths)),
            [None] * len(paths),
            notes=(note,),
        )
    places, splits, emotions = _places(rows), list(rows["split"]), list(rows["emotion"])
    strata = _strata(rows, column) if column else [EVERYWHERE] * len(rows)
    images = _grouped(splits, strata, emotions, places)
    left: dict[str, list[Place | None]] = {}
    for path, split, place in zip(rows["path"], splits, places, strict=True):
        if split == "test":
            left.setdefault(path, []).append(place)
    test = [left[path].pop(0) if left.get(path) else None for path in paths]
    changed = None in test or any(left.values()) or _changed(run)
    note = "The manifest has changed since the training: the runs may have seen other images than these."
    unseen = frozenset(
        (stratum, emotion)
        for stratum in run.scores["strata"]
        for emotion in run.task.emotions
        if ("train", stratum, emotion) not in images
    )
    return Data(file.name, images, test, unseen if column else None, (note,) if changed else ())


def _changed(run: Run) -> bool:
    known = run.provenance.get("manifest_sha256")
    return known is not None and known != hashlib.sha256(run.manifest.read_bytes()).hexdigest()


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
        groups.setdefault((key[0], key[1], key[2]), []).append(place)
    return groups


def _render(compared: Sequence[Run], data: Data) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("emodo"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    samples = Samples()
    losses = figures.by_name([run.losses for run in compared])
    images = _image_tables(compared[0], data, samples)
    examples = [(run, _examples(run, data, samples)) for run in compared]
    guesses = [(run, run.scores["confounder"]) for run in compared if run.scores["confounder"]]
    return pages.get_template("report.html.jinja").render(
        title=f"emodo report: {', '.join(run.name for run in compared)}",
        version=emodo.__version__,
        runs=compared,
        summary=_summary(compared, data),
        unseen=bool(data.unseen),
        notes=[*data.notes, *samples.notes()],
        comparison=_comparison(compared, data),
        bars=_bars(compared),
        images=images,
        cells=[_cell_table(run, data) for run in compared if run.scores["strata"]],
        confusions=[
            (
                run,
                figures.confusion(
                    f"emotion-{at}", _title(run, "emotion", run.scores["accuracy"]), run.scores["confusion"]
                ),
            )
            for at, run in enumerate(compared)
        ],
        confounders=[
            (
                run,
                figures.confusion(
                    f"stratum-{at}",
                    _title(run, "stratum", found["accuracy"]),
                    figures.joined(found["confusion"], _shown(run)[0]),
                ),
            )
            for at, (run, found) in enumerate(guesses)
        ],
        examples=[(run, found) for run, found in examples if found],
        curves=[
            (loss, figures.curves(f"loss-{at}", loss, [run.name for run in compared], series))
            for at, (loss, series) in enumerate(losses.items())
        ],
        losses=figures.loss_table([run.name for run in compared], losses),
    )


def _title(run: Run, what: str, accuracy: float | None) -> str:
    return f"{run.name}: true and predicted {what}, {percent(accuracy)} right"


def _summary(compared: Sequence[Run], data: Data) -> list[str]:
    """What was compared, on what, with what result: one sentence each, made from the numbers."""
    first, several = compared[0], len(compared) > 1
    n, emotions, strata = first.scores["n"], first.task.emotions, first.scores["strata"]
    confounder = first.task.confounder
    ranked = sorted(compared, key=lambda run: -run.scores["accuracy"])
    best, last = ranked[0], ranked[-1]
    gap = 100 * (best.scores["accuracy"] - last.scores["accuracy"])
    said = [
        f"{' and '.join(run.name for run in compared)} {'were' if several else 'was'} tested on "
        f"{'the same ' if several else ''}{n} images of {data.name} (split test), of {len(emotions)} emotions"
        + (f" in {len(strata)} strata of {confounder.column}." if confounder else "."),
        f"{best.name} is right on {percent(best.scores['accuracy'])} of them"
        + (f", {last.name} on {percent(last.scores['accuracy'])}: {gap:.1f} points apart." if several else "."),
    ]
    if data.unseen:
        unseen, cells = _unseen_images(first, data), len(emotions) * len(strata)
        said.append(
            f"Training never showed {len(data.unseen)} of the {cells} combinations of an emotion and "
            f"a stratum; {unseen} of the {n} test images ({percent(unseen / n)}) are of these."
        )
    elif data.unseen is not None:
        said.append("Training showed every combination of an emotion and a stratum.")
    return said


def _comparison(compared: Sequence[Run], data: Data) -> Table:
    columns = {
        "accuracy": [run.scores["accuracy"] for run in compared],
        "macro accuracy": [run.scores["macro_accuracy"] for run in compared],
    }
    # Where all images are of absent combinations, the column would repeat the first one.
    if 0 < _unseen_images(compared[0], data) < compared[0].scores["n"]:
        columns["absent from training"] = [_accuracy_in(run, data.unseen or frozenset()) for run in compared]
    worst = [run.scores["worst_cell"] for run in compared]
    if all(worst):
        columns["worst cell"] = [cell["accuracy"] for cell in worst]
    columns |= {
        emotion: [run.scores["emotions"][emotion]["accuracy"] for run in compared]
        for emotion in compared[0].task.emotions
    }
    rows: list[tuple[str, Sequence[Cell]]] = []
    for at, run in enumerate(compared):
        cells = [Cell(run.method)]
        for name, values in columns.items():
            best = values[at] is not None and values[at] == max(values) > min(values)
            cell = worst[at] if name == "worst cell" else None
            detail = f"{cell['emotion']}, {cell['stratum']} (n = {cell['n']})" if cell else ""
            cells.append(Cell(percent(values[at]), "best" if best else "", detail=detail))
        rows.append((run.name, cells))
    bold = "; the best of each column is bold" if len(compared) > 1 else ""
    return Table(f"Accuracy on the test images{bold}", "run", ["method", *columns], rows)


def _unseen_images(run: Run, data: Data) -> int:
    """The number of test images whose combination of emotion and stratum training never showed."""
    return sum(run.scores["cells"][emotion][stratum]["n"] for stratum, emotion in data.unseen or ())


def _accuracy_in(run: Run, cells: frozenset[tuple[str, str]]) -> float | None:
    found = [run.scores["cells"][emotion][stratum] for stratum, emotion in cells]
    n = sum(cell["n"] for cell in found)
    return sum(cell["n"] * cell["accuracy"] for cell in found if cell["n"]) / n if n else None


def _bars(compared: Sequence[Run]) -> str:
    emotions = compared[0].task.emotions
    values = [
        [
            run.scores["accuracy"],
            run.scores["macro_accuracy"],
            *(run.scores["emotions"][emotion]["accuracy"] for emotion in emotions),
        ]
        for run in compared
    ]
    title = "Accuracy: " + "; ".join(f"{run.name} {percent(run.scores['accuracy'])}" for run in compared)
    return figures.bars("accuracy", title, [EVERYWHERE, "macro", *emotions], values)


def _shown(run: Run, most: int = MOST_STRATA) -> tuple[list[str], str]:
    """The strata with most test images, in the order of the task, and what to say where some are left out."""
    found = run.scores["strata"]
    largest = sorted(found, key=lambda stratum: -found[stratum]["n"])[:most]
    shown = [stratum for stratum in found if stratum in largest]
    left_out = f"; the {most} of {len(found)} strata with most test images" if len(shown) < len(found) else ""
    return shown, left_out


def _image_tables(run: Run, data: Data, samples: Samples) -> list[Table]:
    """Counts and a sample of each emotion in each stratum: training beside test."""
    emotions = run.task.emotions
    strata, left_out = _shown(run, max(1, min(MOST_STRATA, MOST_SAMPLES // len(emotions))))
    tables: list[Table] = []
    for split, called in (("train", "Training"), ("test", "Test")):
        n = sum(len(places) for key, places in data.images.items() if key[0] == split)
        rows: list[tuple[str, Sequence[Cell]]] = []
        for stratum in strata or [EVERYWHERE]:
            cells: list[Cell] = []
            for emotion in emotions:
                places = data.images.get((split, stratum, emotion), [])
                unseen = split == "test" and (stratum, emotion) in (data.unseen or ())
                kind = "absent" if not places else "unseen" if unseen else ""
                cells.append(
                    Cell(
                        str(len(places)) if places else "none",
                        kind,
                        image=samples.image(places[0]) if places else "",
                        alt=f"{called} image: {emotion}, {stratum}",
                    )
                )
            rows.append((stratum, cells))
        if n:
            tables.append(Table(f"{called}: {n} images{left_out}", "stratum", emotions, rows))
    return tables


def _cell_table(run: Run, data: Data) -> Table:
    strata, left_out = _shown(run)
    unseen = data.unseen or frozenset()
    rows: list[tuple[str, Sequence[Cell]]] = []
    for stratum in strata:
        cells: list[Cell] = []
        for emotion in run.task.emotions:
            found = run.scores["cells"][emotion][stratum]
            cells.append(figures.accuracy_cell(found, "unseen" if (stratum, emotion) in unseen else ""))
        rows.append((stratum, [*cells, figures.accuracy_cell(run.scores["strata"][stratum])]))
    return Table(f"{run.name}{left_out}", "stratum", [*run.task.emotions, "all"], rows)


def _most_divided(p: np.ndarray, cells: list[tuple[str, str]], right: list[bool]) -> list[int]:
    """The rows of `p`, [rows, K, E], on which the strata disagree most, right ones first.

    No two rows of a cell are taken: frames of one sequence would fill the page.
    """
    order = np.argsort(-np.ptp(p, axis=1).max(axis=1), kind="stable").tolist()
    first: dict[tuple[bool, tuple[str, str]], int] = {}
    for at in order:
        first.setdefault((right[at], cells[at]), at)
    picked = list(first.values())
    return [at for at in picked if right[at]][:EXAMPLES] + [at for at in picked if not right[at]][:EXAMPLES]


def _examples(run: Run, data: Data, samples: Samples) -> list[tuple[Cell, Table]]:
    """P(Y | X, d) of each stratum for a few test images."""
    emotions, strata, table = run.task.emotions, run.task.strata, run.predictions
    columns = [f"p:{emotion}|{stratum}" for stratum in strata for emotion in emotions]
    combined = [f"p:{emotion}" for emotion in emotions]
    if not strata or not {*columns, *combined} <= set(table.columns):
        return []
    p = table[columns].to_numpy(float).reshape(len(table), len(strata), len(emotions))
    do = table[combined].to_numpy(float)
    paths, truths, guesses = (list(table[name]) for name in ("path", "emotion", "predicted"))
    right = [truth == guess for truth, guess in zip(truths, guesses, strict=True)]
    shown, left_out = _shown(run)
    own = _strata(table)
    found: list[tuple[Cell, Table]] = []
    for at in _most_divided(p, list(zip(truths, own, strict=True)), right):
        rows: list[tuple[str, Sequence[Cell]]] = [
            (f"{stratum} (its own)" if stratum == own[at] else stratum, figures.shares(p[at, k]))
            for k, stratum in enumerate(strata)
            if stratum in shown
        ]
        verdict = "recognised" if right[at] else f"taken for {guesses[at]}"
        caption = f"{truths[at]}, {verdict}{left_out}"
        rows.append(("P(Y | do(X))", figures.shares(do[at])))
        sample = samples.image(data.test[at])
        found.append(
            (
                Cell(paths[at], image=sample, alt=f"Test image: {truths[at]}, {own[at]}"),
                Table(caption, "stratum", emotions, rows),
            )
        )
    return found
