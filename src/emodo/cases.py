"""Chosen test images in a report: some under each stratum, the surest errors, and a map of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emodo import figures, thumbnails
from emodo.compared import Data, Run, shown_strata, strata_of
from emodo.explanations import Contexts, Look
from emodo.figures import Cell, Table, percent
from emodo.thumbnails import Samples

EXAMPLES = 3  # test images under each stratum, once where the run is right and once where it is wrong
SIGNS = "●■▲◆▼✚✖⬢"  # of `figures.MARKS`, for a legend


# ------------------------------------------------------------------------------ under each stratum


def divided(run: Run) -> list[dict[str, Any]]:
    """P(Y | X, d) of each stratum for the test images on which the strata disagree most, right ones first.

    {row, path, emotion, predicted, stratum, p: {stratum: {emotion: p}}, p_do: {emotion: p}} of each.
    """
    emotions, strata, table = run.task.emotions, run.task.strata, run.predictions
    columns = [f"p:{emotion}|{stratum}" for stratum in strata for emotion in emotions]
    combined = [f"p:{emotion}" for emotion in emotions]
    if not strata or not {*columns, *combined} <= set(table.columns):
        return []
    p = table[columns].to_numpy(float).reshape(len(table), len(strata), len(emotions))
    do = table[combined].to_numpy(float)
    paths, truths, guesses = (list(table[name]) for name in ("path", "emotion", "predicted"))
    right = [truth == guess for truth, guess in zip(truths, guesses, strict=True)]
    own = strata_of(table)
    return [
        {
            "row": at,
            "path": paths[at],
            "emotion": truths[at],
            "predicted": guesses[at],
            "stratum": own[at],
            "p": {stratum: dict(zip(emotions, p[at, k].tolist(), strict=True)) for k, stratum in enumerate(strata)},
            "p_do": dict(zip(emotions, do[at].tolist(), strict=True)),
        }
        for at in _most_divided(p, list(zip(truths, own, strict=True)), right)
    ]


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


def example(run: Run, data: Data, found: dict[str, Any], made: Samples) -> tuple[Cell, Table]:
    """An image of `divided` beside its table."""
    emotions, own = run.task.emotions, found["stratum"]
    shown, left_out = shown_strata(run)
    rows: list[tuple[str, Sequence[Cell]]] = [
        (
            f"{stratum} (its own)" if stratum == own else stratum,
            figures.shares(np.array([p[emotion] for emotion in emotions])),
        )
        for stratum, p in found["p"].items()
        if stratum in shown
    ]
    verdict = "recognised" if found["emotion"] == found["predicted"] else f"taken for {found['predicted']}"
    rows.append(("P(Y | do(X))", figures.shares(np.array([found["p_do"][emotion] for emotion in emotions]))))
    sample = made.image(data.test[found["row"]])
    return (
        Cell(found["path"], image=sample, alt=f"Test image: {found['emotion']}, {own}"),
        Table(f"{found['emotion']}, {verdict}{left_out}", "stratum", emotions, rows),
    )


# --------------------------------------------------------------------------------- where it looks


def looks(run: Run, found: Sequence[Look]) -> Table:
    """The surest errors: what the network saw, and where it looked for what it said and for what is true."""
    own, paths = strata_of(run.predictions), list(run.predictions["path"])
    rows: list[tuple[str, Sequence[Cell]]] = []
    for look in found:
        cells = [Cell(own[look.row], image=thumbnails.shown(look.image), alt=f"As the network sees {paths[look.row]}")]
        for emotion, p, heat in ((look.said, look.p_said, look.for_said), (look.true, look.p_true, look.for_true)):
            if heat.any():
                image, where = thumbnails.shown(look.image, heat), strongest(heat)
                alt = f"Map of {emotion}: strongest {where}"
                cells.append(Cell(emotion, detail=f"{percent(p)}, {where}", image=image, alt=alt))
            else:
                cells.append(Cell(emotion, detail=f"{percent(p)}, nothing speaks for it"))
        rows.append((paths[look.row], cells))
    columns = ["seen", "taken for", "is"]
    return Table(f"{run.name}: the surest errors", "image", columns, rows)


def strongest(heat: np.ndarray) -> str:
    """Where a map, [h, w], has its largest value, in words: one of nine places."""
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    down = ("top", "middle", "bottom")[min(2, 3 * int(row) // heat.shape[0])]
    across = ("left", "", "right")[min(2, 3 * int(column) // heat.shape[1])]
    return f"{down} {across}".strip()


# ------------------------------------------------------------------------------- context features


@dataclass(frozen=True)
class ContextMap:
    """A map of context features with its legend, (sign, colour, stratum) each, and the numbers behind it."""

    svg: str
    legend: list[tuple[str, int, str]]
    table: Table


def context_map(at: int, run: Run, found: Contexts) -> ContextMap:
    """The t-SNE map of a run's context features and centers (left side of the paper's Figure 4)."""
    named = sorted(found.groups, key=lambda stratum: -found.groups[stratum]["images"])[: len(SIGNS)]
    shown = [stratum for stratum in found.groups if stratum in named]
    group = np.array(found.strata, dtype=object)
    title = f"{run.name}: map of the context features of {len(found.points)} test images, by stratum"
    svg = figures.scatter(
        f"context-{at}",
        title,
        [(stratum, found.points[group == stratum]) for stratum in shown],
        [(shown.index(name), place) for name, place in found.centers.items() if name in shown],
        found.points[~np.isin(group, shown)],
    )
    columns = ["images", "its own among the 10 nearest", "by chance"]
    if found.centers:
        columns.append("nearest to its own center")
    rows: list[tuple[str, list[Cell]]] = []
    for stratum, each in found.groups.items():
        cells = [Cell(str(each["images"])), *(Cell(percent(each[name])) for name in ("own_neighbours", "by_chance"))]
        if found.centers:
            cells.append(Cell("not known" if each["own_center"] is None else percent(each["own_center"])))
        rows.append((stratum, cells))
    legend = [(SIGNS[slot], slot, stratum) for slot, stratum in enumerate(shown)]
    return ContextMap(svg, legend, Table(f"{run.name}: context features, by stratum", "stratum", columns, rows))
