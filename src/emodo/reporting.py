"""The report: what was compared, how it did, where, and on which images, on one page that loads nothing."""

from __future__ import annotations

import json as jsons
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import emodo
from emodo import (
    accuracies,
    average_precision,
    biases,
    cases,
    confusions,
    distribution,
    figures,
    judgement,
    provenance,
    sensitivity,
)
from emodo.compared import Data, Run, comparable, data_of, shown_strata
from emodo.explanations import Explained, Look, explain
from emodo.figures import Cell, Table
from emodo.files import write_text
from emodo.inference import check_accelerator
from emodo.records import InputError
from emodo.tabular import templates
from emodo.thumbnails import Samples

SWEEP = "sweep.json"
MOST_EXPLAINED = 8  # runs whose networks are asked: each adds a quarter of a megabyte and some seconds


def report(
    runs: list[Path],
    out: str | Path = "report.html",
    sweep: str | Path | None = None,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    json: bool = False,
    overwrite: bool = False,
) -> Path | None:
    """emodo report runs/erm runs/iern --out report.html

    Compare runs on one HTML page, which holds its figures, tables and sample images itself and loads nothing:
    it can be mailed, archived and opened without a network. It is written whole or not at all. The same runs
    and images give the same page. Where the manifest, its images or a run's weights are gone, it is made without what
    needs them, and says so.

    Args:
        runs: The folders of one or more finished runs. They must have been tested on the same
            images, with the same emotions and, where they know any, the same strata.
        out: The HTML file to write.
        sweep: The folder of an `emodo sweep`, whose curve is shown too.
        accelerator: Where the networks run that are asked where they look: cpu, gpu, or auto.
        json: Print all numbers of the page as JSON.
        overwrite: Replace `out` if it exists.

    Returns:
        The file that was written; None with `json`.

    Raises:
        InputError: No run is given, or one twice; a folder is not a run, or its training has not finished;
            the runs differ in their emotions, test images or strata; `sweep` holds no result of a sweep; `out` exists
            and is not to be replaced.
    """
    out = Path(out)
    if out.is_dir() or (out.exists() and not overwrite):
        raise InputError(
            f"{out} exists already: choose another --out" + ("" if out.is_dir() else ", or replace it with --overwrite")
        )
    check_accelerator(accelerator)
    compared = comparable([Path(run) for run in runs])
    swept = None if sweep is None else _swept(Path(sweep))
    found = _found(compared, swept, accelerator)
    write_text(out, _render(found))
    if not json:
        return out
    print(jsons.dumps(_numbers(found)))
    return None


@dataclass(frozen=True)
class _Found:
    """All that the page and its numbers are made from. explained, divided: by a run's name."""

    compared: list[Run]
    data: Data
    counts: distribution.Counts
    parts: list[confusions.Part]
    explained: dict[str, Explained]
    divided: dict[str, list[dict[str, Any]]]
    notes: list[str]
    swept: Mapping[str, Any] | None
    verdict: dict[str, Any] | None
    audit: dict[str, Any] | None


def _found(compared: list[Run], swept: Mapping[str, Any] | None, accelerator: str) -> _Found:
    data = data_of(compared[0])
    inside = confusions.needs_inside(compared, data)
    explained = {run.name: explain(run, data, inside, accelerator) for run in compared[:MOST_EXPLAINED]}
    notes = [*data.notes, *dict.fromkeys(note for each in explained.values() for note in each.notes)]
    if len(compared) > MOST_EXPLAINED:
        notes.append(
            f"Only the networks of the first {MOST_EXPLAINED} of {len(compared)} runs were asked where they look."
        )
    verdict, undecided = judgement.judged(compared)
    audit, unaudited = biases.audited_by(compared[0], data)
    notes += [note for note in (undecided, unaudited) if note]
    scores = {name: each.inside for name, each in explained.items()}
    return _Found(
        compared,
        data,
        distribution.counts(compared[0], data),
        [] if compared[0].task.multilabel else confusions.parts(compared, data, scores),
        explained,
        {run.name: cases.divided(run) for run in compared},
        notes,
        swept,
        verdict,
        audit,
    )


def _swept(folder: Path) -> Mapping[str, Any]:
    """The result of a sweep, as far as the page needs it."""
    file = folder / SWEEP
    if not file.is_file():
        raise InputError(f"{folder} has no {SWEEP}: give the --out folder of an `emodo sweep`")
    try:
        table = jsons.loads(file.read_text(encoding="utf-8"))
        _sensitivity(table)  # whatever it lacks is found before any network is asked
    except (ValueError, LookupError, TypeError, AttributeError) as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())
        raise InputError(f"{file} is damaged ({reason}): run its sweep again") from None
    return table


# ------------------------------------------------------------------------------------------- page


def _render(found: _Found) -> str:
    pages = templates()
    compared, data = found.compared, found.data
    samples = Samples()
    several = compared[0].task.multilabel
    losses = figures.by_name([run.losses for run in compared])
    images = distribution.samples(compared[0], data, samples)
    examples = [
        (run, [cases.example(run, data, each, samples) for each in found.divided[run.name]])
        for run in compared
        if found.divided[run.name]
    ]
    of_runs = [(at, run, found.explained[run.name]) for at, run in enumerate(compared) if run.name in found.explained]
    return pages.get_template("report.html.jinja").render(
        title=f"emodo report: {', '.join(run.name for run in compared)}",
        version=emodo.__version__,
        runs=compared,
        several=several,
        summary=(average_precision.summary if several else accuracies.summary)(compared, data),
        unseen=bool(data.unseen),
        notes=[*found.notes, *samples.notes()],
        audit=found.audit and biases.shown(found.audit),
        verdict=found.verdict and judgement.shown(found.verdict),
        comparison=(average_precision.comparison(compared) if several else accuracies.comparison(compared, data)),
        bars=(average_precision.bars if several else accuracies.bars)(compared),
        images=images,
        spread=distribution.spread(found.counts, compared[0].task.emotions),
        cells=_in_strata(compared, data),
        parts=[(part, confusions.matrices(compared, part, at)) for at, part in enumerate(found.parts)],
        inside=confusions.side_by_side(compared, found.parts) if len(found.parts) > 1 else None,
        contexts=[(run, cases.context_map(at, run, each.contexts)) for at, run, each in of_runs if each.contexts],
        confounders=[
            (run, confusions.confounder(at, run, run.scores["confounder"]))
            for at, run in enumerate(compared)
            if run.scores.get("confounder")
        ],
        examples=examples,
        looks=[(run, cases.looks(run, each.looks)) for _, run, each in of_runs if each.looks],
        swept=found.swept and _sensitivity(found.swept),
        curves=[
            (loss, figures.curves(f"loss-{at}", loss, [run.name for run in compared], series))
            for at, (loss, series) in enumerate(losses.items())
        ],
        losses=figures.loss_table([run.name for run in compared], losses),
        origins=provenance.table(compared),
        commands={run.name: provenance.command(run) for run in compared},
    )


def _in_strata(compared: Sequence[Run], data: Data) -> list[Table]:
    if not compared[0].task.multilabel:
        return [accuracies.in_strata(run, data) for run in compared if run.scores["strata"]]
    found = average_precision.in_strata(compared, *shown_strata(compared[0]))
    return [found] if compared[0].scores["strata"] else []


def _sensitivity(table: Mapping[str, Any]) -> dict[str, Any]:
    """The figure of a sweep with its table and what has to be known to read it."""
    head, body = sensitivity.shown(table)
    drawing = sensitivity.drawing(table)
    rows = [(line[0], [Cell(cell) for cell in line[1:]]) for line in body]
    title = f"{table['method']}: accuracy in % by {', '.join(table['varied'])}"
    return {
        "svg": drawing and figures.svg("sweep", *drawing),
        "table": Table(title, head[0], head[1:], rows),
        "notes": sensitivity.notes(table),
    }


# ---------------------------------------------------------------------------------------- numbers


def _numbers(found: _Found) -> dict[str, Any]:
    """All numbers of the page, as JSON can hold them; accuracies and probabilities are fractions."""
    data = found.data
    return {
        "verdict": found.verdict,
        "audit": found.audit,
        "manifest": data.name,
        "counts": found.counts,
        "unseen": None if data.unseen is None else [list(cell) for cell in sorted(data.unseen)],
        "parts": [{"name": part.name, "known": part.known, "scores": part.scores} for part in found.parts],
        "runs": [_numbers_of(run, found) for run in found.compared],
        "sweep": found.swept,
        "notes": found.notes,
    }


def _numbers_of(run: Run, found: _Found) -> dict[str, Any]:
    explained = found.explained.get(run.name, Explained())
    contexts = explained.contexts
    return {
        "name": run.name,
        "method": run.method,
        "scores": run.scores,
        "contexts": contexts
        and {
            "strata": contexts.strata,
            "points": contexts.points.tolist(),
            "centers": {name: place.tolist() for name, place in contexts.centers.items()},
            "groups": contexts.groups,
        },
        "divided": found.divided[run.name],
        "looks": [_look(run, look) for look in explained.looks],
        "losses": run.losses.astype(object).where(run.losses.notna(), None).to_dict("list"),
        "provenance": provenance.origin(run),
        "command": provenance.command(run),
        "config": run.config,
    }


def _look(run: Run, look: Look) -> dict[str, Any]:
    return {
        "path": run.predictions["path"].iloc[look.row],
        "said": look.said,
        "true": look.true,
        "p_said": look.p_said,
        "p_true": look.p_true,
        "for_said": look.for_said.tolist(),
        "for_true": look.for_true.tolist(),
    }
