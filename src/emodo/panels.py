"""Figures of many methods, a small panel each: how true their probabilities are, and what being sure is worth.

Each function returns (title, size, draw) as `emodo.figures.svg_file` takes them. rows: those of a table of
`emodo.assessment`; methods without a seed are left out.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emodo.figures import RULE, labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE = "#0a0b00"  # stands for the first run's colour, see `figures`
SIDE, ACROSS = 120, 5  # pixels of a panel; panels in a line
Row = Mapping[str, Any]
Drawing = tuple[str, tuple[float, float], Callable[["Figure"], None]]


def reliability(rows: Sequence[Row]) -> Drawing:
    """Accuracy by confidence, with intervals: on the diagonal, probabilities are true; below it, too high."""

    def panel(axes: Axes, row: Row) -> None:
        points = row["reliability"]
        confidence = [100 * point["confidence"] for point in points]
        axes.plot([0, 100], [0, 100], color=RULE, linewidth=0.8)
        low, high = ([100 * point[end] for point in points] for end in ("low", "high"))
        axes.vlines(confidence, low, high, color=BLUE, linewidth=1)
        axes.plot(
            confidence, [100 * point["accuracy"] for point in points], "o", color=BLUE, markersize=3, clip_on=False
        )

    return _panels("ECE in points", "ece", rows, "confidence in %", "accuracy in %", panel)


def risk_coverage(rows: Sequence[Row], baseline: str) -> Drawing:
    """Wrong answers among the images that a method is most sure of; the baseline is gray in every panel."""
    base = next((row for row in _shown(rows) if row["name"] == baseline), None)

    def panel(axes: Axes, row: Row) -> None:
        for each, colour in ((base, RULE), (row, BLUE)):
            if each is not None:
                found = each["risk_coverage"]
                axes.plot(
                    [100 * share for share in found["coverage"]],
                    [100 * risk for risk in found["risk"]],
                    color=colour,
                    clip_on=False,
                )

    return _panels("AURC in %", "aurc", rows, "answered in %", "wrong in %", panel)


def _shown(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["seeds"]]


def _panels(
    title: str, measure: str, rows: Sequence[Row], x: str, y: str, panel: Callable[[Axes, Row], None]
) -> Drawing:
    shown = _shown(rows)
    values = [f"{100 * row['calibration'][measure]['mean']:.1f}" for row in shown]
    across = min(ACROSS, max(1, len(shown)))
    down = max(1, -(-len(shown) // across))

    def draw(figure: Figure) -> None:
        grid = figure.subplots(
            down, across, sharex=True, sharey=True, squeeze=False, gridspec_kw={"wspace": 0.3, "hspace": 0.5}
        )
        for at, axes in enumerate(grid.flat):
            if at >= len(shown):
                axes.set_visible(False)
                continue
            axes.set(xlim=(0, 100), ylim=(0, 102), xticks=(0, 50, 100), yticks=(0, 50, 100))
            name = textwrap.fill(labels([shown[at]["name"]])[0], 24)
            axes.set_title(f"{name}\n{title.split()[0]} {values[at]}", fontsize=8.5)
            panel(axes, shown[at])
            axes.tick_params(labelbottom=at + across >= len(shown))
            if at + across >= len(shown):
                axes.set_xlabel(x)
            if at % across == 0:
                axes.set_ylabel(y)

    told = "; ".join(f"{row['name']} {value}" for row, value in zip(shown, values, strict=True))
    return f"{title}: {told}", (1.2 * SIDE * across, 1.45 * SIDE * down), draw
