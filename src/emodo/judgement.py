"""The verdict on a page: which method to use, in sentences, with the numbers that they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emodo import assessment, comparison, figures, panels
from emodo.compared import Run
from emodo.figures import Cell, Table
from emodo.records import InputError


@dataclass(frozen=True)
class Judgement:
    """What a page shows of a verdict; reliability, coverage: a figure and its numbers each."""

    sentences: list[str]
    differences: Table
    notes: list[str]
    trust: Table
    reliability: tuple[str, Table]
    coverage: tuple[str, Table]


def judged(compared: Sequence[Run]) -> tuple[dict[str, Any] | None, str]:
    """The table of `emodo.assessment.of_runs`, or None and why not; nothing where there is nothing to compare."""
    if len(compared) < 2 or compared[0].task.multilabel:
        return None, ""
    try:
        return assessment.of_runs({"test": compared}), ""
    except InputError as problem:
        return None, f"No verdict: {problem}."


def shown(table: Mapping[str, Any]) -> Judgement:
    """The same for a page."""
    rows = [row for row in table["methods"] if row["seeds"]]
    (names, lines), *_ = comparison.shown(table)
    filled = [at for at in range(len(names)) if any(line[at] for line in lines)]  # no run may know what it cost
    head, body = [names[at] for at in filled], [[line[at] for at in filled] for line in lines]
    baseline = table["baseline"]
    title = f"Differences to {baseline} in points, with 95 % intervals"
    bins = max(len(row["reliability"]) for row in rows)
    part = [f"part {at}" for at in range(1, bins + 1)]
    coverage = [f"{100 * share:.0f} %" for share in rows[0]["risk_coverage"]["coverage"]]
    return Judgement(
        table["sentences"],
        Table(title, head[0], head[1:], [(line[0], [Cell(text) for text in line[1:]]) for line in body]),
        comparison.notes(table),
        Table(
            "How far probabilities can be trusted",
            "method",
            ["ECE in points", "by chance", "Brier", "AURC in %", "excess in %"],
            [(row["name"], _trust(row["calibration"])) for row in rows],
        ),
        (
            figures.svg("reliability", *panels.reliability(rows)),
            Table(
                "Accuracy at each confidence, in %, with its 95 % interval",
                "method",
                part,
                [(row["name"], _padded([_point(point) for point in row["reliability"]], bins)) for row in rows],
            ),
        ),
        (
            figures.svg("coverage", *panels.risk_coverage(rows, baseline)),
            Table(
                "Wrong answers in %, by the share that is answered",
                "method",
                coverage,
                [(row["name"], [Cell(f"{100 * risk:.1f}") for risk in row["risk_coverage"]["risk"]]) for row in rows],
            ),
        ),
    )


def _trust(found: Mapping[str, Mapping[str, float]]) -> list[Cell]:
    means = {name: each["mean"] for name, each in found.items()}
    points = [f"{100 * means[name]:.1f}" for name in ("ece", "ece_by_chance", "aurc", "excess_aurc")]
    return [Cell(text) for text in (*points[:2], f"{means['brier']:.3f}", *points[2:])]


def _point(found: Mapping[str, float]) -> Cell:
    low, high = 100 * found["low"], 100 * found["high"]
    return Cell(
        f"{100 * found['accuracy']:.1f} [{low:.1f}, {high:.1f}]",
        detail=f"at {100 * found['confidence']:.1f}, n = {found['n']}",
    )


def _padded(cells: list[Cell], length: int) -> list[Cell]:
    return cells + [Cell("none")] * (length - len(cells))
