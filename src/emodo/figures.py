"""Figures as inline SVG, and tables, for a page that loads nothing.

A figure is drawn with stand-in colours that become CSS variables of the page, so that it follows the reader's
light or dark theme; its text stays text, to be read aloud, searched and copied. Sizes are in CSS pixels.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RUN_COLOURS = 8  # --run-0 .. --run-7 in the template; a ninth run takes the first colour again
SHRUNK = 0.8  # of a figure's width
PANELS = 5  # side by side; more go below
DASHES = ("solid", "dashed", "dashdot", "dotted")  # colours alone are not told apart by every reader
MARKS = ("o", "s", "^", "D", "v", "P", "X", "h")  # a stratum has a mark, for the same reason

INK, SHADE, RULE = "#010203", "#040506", "#070809"
VARIABLES = {INK: "var(--ink)", SHADE: "var(--shade)", RULE: "var(--rule)"} | {
    f"#0a0b0{slot}": f"var(--run-{slot})" for slot in range(RUN_COLOURS)
}
# The same in a file of its own: the page's light theme.
COLOURS = {INK: "#17181c", SHADE: "#8fbdea", RULE: "#8a8d94"} | {
    f"#0a0b0{slot}": colour
    for slot, colour in enumerate(
        ["#0b62b4", "#b3541e", "#1d7a4c", "#8a3fa0", "#756500", "#b0205a", "#2f7280", "#5a5a5a"]
    )
}
NOT_XML = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
STAND_IN = re.compile("|".join(VARIABLES))
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # an emotion may be called "$x$"
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": RULE,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

Series = tuple[int, np.ndarray, np.ndarray]  # a run's place among the runs, epochs [T], values [T]
Drawing = tuple[str, tuple[float, float], Callable[["Figure"], None]]  # title, size of the axes, what draws into them


@dataclass(frozen=True)
class Cell:
    """A table's cell: `kind` is a CSS class, `shade`, 0 to 1, its colour, `image` a data: address."""

    text: str
    kind: str = ""
    shade: float = 0.0
    detail: str = ""
    image: str = ""
    alt: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a header for each row and column; `corner` says what the row headers are."""

    caption: str
    corner: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


def percent(share: float | None) -> str:
    """Write an accuracy or share from 0 to 1; None, where nothing was tested, is no number."""
    return "not tested" if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def accuracy_cell(found: dict[str, Any], kind: str = "") -> Cell:
    """Show {n, accuracy}, as `emodo.metrics.score` gives it for an emotion, a stratum or a cell."""
    if not found["n"]:
        return Cell("not tested", "untested")
    return Cell(percent(found["accuracy"]), kind, found["accuracy"], f"of {found['n']}")


def shares(p: np.ndarray) -> list[Cell]:
    """Show probabilities, [E], in whole percent."""
    return [Cell(f"{100 * share:.0f}", shade=share) for share in p.tolist()]


def confusion(name: str, title: str, found: dict[str, Any]) -> tuple[str, Table]:
    """Draw a confusion matrix, {rows, columns, counts} as `emodo.metrics.score` gives it, beside its table.

    Each row is shaded by its shares. In the figure a cell shows its count and its share of the row in
    percent; in one of more than 8 columns the share alone, where it is 1 % or more.
    """
    rows, columns = labels(found["rows"]), labels(found["columns"])
    counts = np.array(found["counts"])
    total = counts.sum(axis=1)
    share = counts / np.maximum(total, 1)[:, None]
    small = len(columns) > 8
    side = 30 if small else 44

    def draw(figure: Figure) -> None:
        from matplotlib.patches import Rectangle

        axes = figure.subplots()
        for row, column in np.ndindex(*counts.shape):
            shade = float(share[row, column])
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=SHADE, alpha=shade))
            text = f"{100 * shade:.0f}" if small else f"{counts[row, column]}\n{100 * shade:.0f} %"
            if total[row] and (shade >= 0.01 or not small):
                axes.text(column, row, text, ha="center", va="center", fontsize=8)
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
        axes.set(xlabel="predicted", ylabel="true")
        axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(rows)), rows)
        axes.spines[:].set_visible(True)
        axes.tick_params(length=0)

    body: list[tuple[str, list[Cell]]] = []
    for at, truth in enumerate(found["rows"]):
        cells = [
            Cell(str(n), shade=of_row, detail=percent(of_row) if total[at] else "")
            for n, of_row in zip(counts[at].tolist(), share[at].tolist(), strict=True)
        ]
        body.append((truth, [*cells, Cell(str(total[at]))]))
    table = Table(f"{title}: images, and share of the row", "true", [*found["columns"], "images"], body)
    return svg(name, title, (side * len(columns), side * len(rows)), draw), table


def joined(found: dict[str, Any], shown: Sequence[str]) -> dict[str, Any]:
    """Join the rows and columns of a confusion matrix that are not `shown`, so that no image is left out."""
    if set(shown) >= {*found["rows"], *found["columns"]}:
        return found
    counts = np.zeros((len(shown) + 1, len(shown) + 1), dtype=int)
    row, column = (
        [shown.index(name) if name in shown else len(shown) for name in found[axis]] for axis in ("rows", "columns")
    )
    np.add.at(counts, np.ix_(row, column), found["counts"])
    names = [*shown, "all others"]
    return {"rows": names, "columns": names, "counts": counts.tolist()}


def bars(
    name: str,
    title: str,
    groups: Sequence[str],
    values: Sequence[Sequence[float | None]],
    measure: str = "accuracy in %",
) -> str:
    """Draw accuracies or the like, [runs][groups] fractions or None, as groups of horizontal bars, one bar a run."""
    thickness = 0.8 / len(values)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for slot, run in enumerate(values):
            for group, value in enumerate(run):
                at = group - 0.4 + (slot + 0.5) * thickness
                axes.barh(at, 100 * (value or 0), thickness * 0.9, color=_run_colour(slot))
                text = "not tested" if value is None else f"{100 * value:.1f}"
                axes.text(100 * (value or 0) + 1, at, text, va="center", fontsize=8)
        axes.set(xlim=(0, 100), ylim=(len(groups) - 0.5, -0.5), xlabel=measure)
        axes.set_yticks(range(len(groups)), labels(groups))
        axes.tick_params(axis="y", length=0)

    return svg(name, title, (230, len(groups) * (14 * len(values) + 10)), draw)


def curves(name: str, loss: str, runs: Sequence[str], series: Sequence[Series]) -> str:
    """Draw one loss by epoch, a line a run."""

    def draw(figure: Figure) -> None:
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        axes = figure.subplots()
        for at, epochs, values in series:
            # A run of one epoch is a point, not an invisible line.
            axes.plot(
                epochs,
                values,
                color=_run_colour(at),
                linestyle=DASHES[at % len(DASHES)],
                marker="o" if len(epochs) == 1 else "",
                markersize=4,
            )
        axes.set(xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        axes.grid(axis="y", color=RULE, alpha=0.5, linewidth=0.5)

    ends = "; ".join(f"{runs[at]} {_ends(values)}" for at, _, values in series)
    return svg(name, f"{loss} by epoch: {ends}", (230, 130), draw)


def distribution(
    name: str, title: str, panels: Sequence[str], groups: Sequence[str], values: Sequence[Sequence[Sequence[float]]]
) -> str:
    """Draw how a stratum's images are spread over the emotions, a panel a stratum.

    values: [panels][groups][2], the share of the stratum's images in training (filled) and in the test (outlined).
    """
    across = min(PANELS, len(panels))
    down = -(-len(panels) // across)
    width, height = 128, 22 * len(groups)
    limit = min(100, 10 * -(-int(100 * np.max(values)) // 10) + 10)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(
            down, across, sharex=True, sharey=True, squeeze=False, gridspec_kw={"wspace": 0.12, "hspace": 32 / height}
        )
        for at, axes in enumerate(grid.flat):
            if at >= len(panels):
                axes.set_visible(False)
                continue
            shares = 100 * np.array(values[at])
            places = np.arange(len(groups))
            axes.barh(places - 0.2, shares[:, 0], 0.36, color=SHADE)
            axes.barh(places + 0.2, shares[:, 1], 0.36, fill=False, edgecolor=INK, linewidth=1)
            axes.set(xlim=(0, limit), xticks=(0, limit / 2), ylim=(len(groups) - 0.5, -0.5))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.set_title(textwrap.shorten(labels([panels[at]])[0], 22, placeholder="..."), fontsize=9)
            axes.set_yticks(places, labels(groups))
            axes.tick_params(axis="y", length=0)
            if at + across >= len(panels):
                axes.tick_params(labelbottom=True)
                axes.set_xlabel("images in %")

    return svg(name, title, (width * across, (height + 32) * down - 32), draw)


def scatter(
    name: str,
    title: str,
    groups: Sequence[tuple[str, np.ndarray]],
    centers: Sequence[tuple[int, np.ndarray]],
    others: np.ndarray,
) -> str:
    """Draw points in a plane, a colour and a mark a group, and a star where a group's center is.

    groups: the name and points, [n, 2], of each. centers: the number of the group and the place, [2], of each. others:
    points of no group, gray.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(others[:, 0], others[:, 1], "o", color=RULE, markersize=2.5, alpha=0.6)
        for at, (_, points) in enumerate(groups):
            axes.plot(
                points[:, 0],
                points[:, 1],
                MARKS[at % len(MARKS)],
                linestyle="none",
                color=_run_colour(at),
                markersize=4,
                markeredgewidth=0,
                alpha=0.75,
            )
        for at, (x, y) in centers:
            axes.plot([x], [y], "*", color=_run_colour(at), markeredgecolor=INK, markeredgewidth=1.2, markersize=16)
        axes.set(xticks=(), yticks=())
        axes.margins(0.08)
        axes.spines[:].set_visible(True)

    return svg(name, title, (300, 260), draw)


def by_name(tables: Sequence[pd.DataFrame]) -> dict[str, list[Series]]:
    """Sort the losses of the runs, one table a run as in metrics.csv, by their names."""
    found: dict[str, list[Series]] = {}
    for at, table in enumerate(tables):
        numbers = table.select_dtypes("number")
        epochs = numbers["epoch"].to_numpy(float) if "epoch" in numbers else np.arange(0.0, len(table))
        for name in numbers.columns.drop(["epoch", "step"], errors="ignore"):
            values = numbers[name].to_numpy(float)
            known = np.isfinite(values)
            if known.any():
                found.setdefault(str(name), []).append((at, epochs[known], values[known]))
    return found


def loss_table(runs: Sequence[str], losses: dict[str, list[Series]]) -> Table:
    """Show each loss of each run in its first and last epoch."""
    rows: list[tuple[str, list[Cell]]] = []
    for loss, series in losses.items():
        ends = {at: _ends(values) for at, _, values in series}
        rows.append((loss, [Cell(ends.get(at, "none")) for at in range(len(runs))]))
    return Table("Each loss in the first and the last epoch", "loss", runs, rows)


def _run_colour(slot: int) -> str:
    return f"#0a0b0{slot % RUN_COLOURS}"


def labels(names: Sequence[str]) -> list[str]:
    """Names as XML can hold them: control characters, legal in a table, are not."""
    return [NOT_XML.sub("\N{REPLACEMENT CHARACTER}", name) for name in names]


def _ends(values: np.ndarray) -> str:
    return f"{values[0]:.3g} to {values[-1]:.3g}"


def svg_file(title: str, size: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    """Draw into axes of `size` for a file of its own, on white."""
    text = _saved("figure", size, draw, transparent=False, metadata={"Title": labels([title])[0]})
    return STAND_IN.sub(lambda found: COLOURS[found[0]], text)


def svg(name: str, title: str, size: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    """Draw into axes of `size`, for a page: an <svg> element whose ids begin with `name`."""
    return _inline(ElementTree.fromstring(_saved(name, size, draw)), name, labels([title])[0])


def _saved(
    name: str,
    size: tuple[float, float],
    draw: Callable[[Figure], None],
    transparent: bool = True,
    metadata: dict[str, str] | None = None,
) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    written = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The reader's browser draws the text: letters that matplotlib's own font lacks are no loss.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=(size[0] / 96, size[1] / 96))
        figure.subplots_adjust(left=0, right=1, bottom=0, top=1)
        draw(figure)
        figure.savefig(
            written,
            format="svg",
            transparent=transparent,
            bbox_inches="tight",
            pad_inches=0.04,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None} | (metadata or {}),
        )
    return written.getvalue()


def _inline(root: ElementTree.Element, name: str, title: str) -> str:
    """Make a file's SVG part of a page: own ids, the page's colours and font, a title, nothing else."""
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for child in list(element):
            # The style sheet inside would apply to the whole page.
            if child.tag.endswith(("}metadata", "}style")):
                element.remove(child)
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            key = key.rpartition("}")[2]
            if key == "id":
                value = f"{name}-{value}"
            elif key in ("href", "clip-path"):
                value = value.replace("#", f"#{name}-")
            elif key == "style":
                value = re.sub(r"font-family:[^;]*;?", "", value)
                value = STAND_IN.sub(lambda found: VARIABLES[found[0]], value)
            element.set(key, value)
    root.attrib.pop("version", None)
    # A narrow page shrinks a figure while its text can still be read; below that the figure scrolls.
    root.set("style", f"min-width: {SHRUNK * 4 / 3 * float(root.attrib['width'].removesuffix('pt')):.0f}px")
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title")
    heading = ElementTree.Element("title", {"id": f"{name}-title"})
    heading.text = title
    root.insert(0, heading)
    return ElementTree.tostring(root, encoding="unicode")
