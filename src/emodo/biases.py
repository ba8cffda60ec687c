"""The data audit on a page: what a model could cheat with in the manifest of the runs, before any training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emodo import audited, figures, telling
from emodo.audit import examine
from emodo.compared import Data, Run
from emodo.figures import Cell, Table
from emodo.images import MAX_PIXELS
from emodo.records import InputError, Reading

SAMPLE = 1000  # images that are looked at; `emodo audit` looks at more
MOST_FILES = 20_000  # rows whose files are opened to look for copies
MOST_BARS = 10  # columns of a figure, the most dangerous ones


@dataclass(frozen=True)
class Audit:
    """What a page shows of an audit: one sentence, a figure, tables, and what has to be known to read them."""

    verdict: str
    svg: str
    tables: list[Table]
    notes: list[str]


def audited_by(run: Run, data: Data) -> tuple[dict[str, Any] | None, str]:
    """What `emodo.audit.examine` finds in the training rows of a run's manifest, or None and why not."""
    frame = data.frame
    if frame is None:
        return None, ""  # the page says already that the manifest is gone
    there = len(frame) <= MOST_FILES and all(Path(file).is_file() for file in frame["file"])
    reading = Reading(run.manifest, telling.SIDE, run.config.get("max_pixels", MAX_PIXELS), 64, 0, "cpu")
    features = (lambda rows: telling.looks(rows, reading)) if there else None
    try:
        return examine(frame, run.manifest, features=features, how="colour and texture", sample=SAMPLE), ""
    except InputError as problem:
        return None, f"No data audit: {problem}."


def shown(found: dict[str, Any]) -> Audit:
    """The same for a page."""
    ranking, *others = audited.tables(found)
    columns = found["columns"][:MOST_BARS]
    values: list[list[float | None]] = [[one["association"]["cramers_v"]["value"] for one in columns]]
    if found["images"]:
        values.append([_told(one["image"]) for one in columns])
    first = columns[0]["column"]
    svg = figures.bars(
        "audit",
        f"What a model could cheat with, the most dangerous first: {first}",
        [one["column"] for one in columns],
        values,
        "Cramer's V x 100" + (", and told by the image in % above chance" if found["images"] else ""),
    )
    return Audit(
        found["verdict"],
        svg,
        [_table("Columns of the manifest, the most dangerous first", ranking)]
        + [_table(f"{each[0][0]}: in the training rows", each) for each in others if each[1]],
        audited.notes(found),
    )


def _told(image: dict[str, Any] | None) -> float | None:
    return None if image is None else max(0.0, (image["accuracy"] - image["chance"]) / (1 - image["chance"]))


def _table(caption: str, shown: tuple[Sequence[str], Sequence[Sequence[str]]]) -> Table:
    head, body = shown
    return Table(caption, head[0], head[1:], [(line[0], [Cell(text) for text in line[1:]]) for line in body])
