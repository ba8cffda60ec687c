"""The figure of `emodo monitor`: a small panel for every quantity, emotion and stratum, over the windows."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emodo.alarms import EFFECT
from emodo.figures import RULE, SHADE, labels, svg_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE = "#0a0b00"  # stands for the first run's colour, see `figures`
WIDTH, HEIGHT, ACROSS = 150, 84, 5  # pixels of a panel; panels in a line
GAP, HEADING = 30, 26  # pixels between panels, and above a part for its heading
MOST = 15  # panels of a part, those that change most
NAME = 13  # letters of a window's name below a panel
Panel = tuple[float, str, Callable[["Axes"], None]]  # how much it changes, its name, what draws into it


def figure(table: Mapping[str, Any]) -> str:
    """Draw a table of `emodo.alarms` as an SVG file.

    Three parts: how far each quantity lies from the test rows, with what chance would give as a shade; the share of
    each predicted emotion, with the test rows' as a line; the share of each stratum, with its interval.
    """
    windows = table["windows"]
    parts = [(heading, _most(panels)) for heading, panels in _parts(table) if panels]
    lines = [-(-len(panels) // ACROSS) for _, panels in parts]
    bottom = 34  # the windows' names
    heights = [HEADING + of * (HEIGHT + GAP) - GAP + bottom for of in lines]
    height, width = sum(heights), ACROSS * (WIDTH + GAP) - GAP

    def draw(figure: Figure) -> None:
        top = 0.0
        for (heading, panels), of_part in zip(parts, heights, strict=True):
            figure.text(0, 1 - (top + 4) / height, heading, va="center", fontsize=9.5, weight="bold")
            across = -(-len(panels) // -(-len(panels) // ACROSS))  # lines of one length, as far as can be
            for at, (_, name, panel) in enumerate(panels):
                x, y = (at % across) * (WIDTH + GAP), top + HEADING + (at // across) * (HEIGHT + GAP)
                axes = figure.add_axes((x / width, 1 - (y + HEIGHT) / height, WIDTH / width, HEIGHT / height))
                panel(axes)
                axes.set_title(textwrap.shorten(labels([name])[0], 30, placeholder="..."), fontsize=8.5, pad=3)
                axes.grid(axis="y", color=RULE, alpha=0.3, linewidth=0.5)
                axes.tick_params(labelsize=7.5, length=2)
                _name_windows(axes, windows, last=at + across >= len(panels))
            top += of_part

    return svg_file(" ".join(table["sentences"]) or "Predictions over time", (width, height), draw)


def _most(
    panels: Sequence[Panel],
) -> list[Panel]:
    """At most `MOST` panels, in their order, without those that change least."""
    least = sorted((change for change, _, _ in panels), reverse=True)[:MOST][-1]
    return [panel for panel in panels if panel[0] >= least][:MOST]


def _parts(table: Mapping[str, Any]) -> list[tuple[str, list[Panel]]]:
    windows, base = table["windows"], table["reference"]["shares"]
    names = dict.fromkeys(
        name for row in windows for name, found in row["quantities"].items() if found["tv"] is not None
    )
    found = {name: [row["quantities"].get(name, {}) for row in windows] for name in names}
    top = max([EFFECT, *(each.get("tv") or 0 for of in found.values() for each in of)]) * 1.1
    far: list[Panel] = [
        (max(each.get("tv") or 0 for each in of), name, lambda axes, of=of: _distances(axes, of, top))
        for name, of in found.items()
    ]
    shares: list[Panel] = []
    emotions = [row["quantities"].get("emotion") for row in windows]
    most = (
        max([0.1, *base["emotion"].values(), *(s for each in emotions if each for s in each["shares"].values())]) * 1.1
    )
    for name, own in base["emotion"].items():
        line = [None if each is None else each["shares"][name] for each in emotions]
        change = max((abs(share - own) for share in line if share is not None), default=0.0)
        shares.append((change, name, lambda axes, line=line, own=own: _shares(axes, line, own, most)))
    strata: list[Panel] = []
    for name in dict.fromkeys(name for row in windows for name in row["strata"] or ()):
        own = base.get("stratum", {}).get(name)
        mixes = [(row["strata"] or {}).get(name) for row in windows]
        change = max(each["estimate"] for each in mixes if each)
        strata.append((change, name, lambda axes, mixes=mixes, own=own: _mixes(axes, mixes, own)))
    told = any("stratum" in row["quantities"] for row in windows)
    return [
        ("Distance from the test rows: filled where it is drift; shaded: chance; line: 0.1", far),
        ("Predicted emotions in %; line: test rows", shares),
        (f"{'Strata' if told else 'Strata that predictions look like'} in %; line: test rows", strata),
    ]


def _distances(axes: Axes, found: Sequence[Mapping[str, Any]], top: float) -> None:
    at = [i for i, each in enumerate(found) if each.get("tv") is not None]
    axes.bar(at, [found[i]["by_chance"] for i in at], 0.9, color=SHADE, alpha=0.45)
    axes.axhline(EFFECT, color=RULE, linewidth=0.8, linestyle="dashed")
    axes.plot(at, [found[i]["tv"] for i in at], color=BLUE, linewidth=0.9)
    for i in at:
        filled = BLUE if found[i]["drift"] else "white"
        axes.plot(
            [i],
            [found[i]["tv"]],
            "o",
            color=BLUE,
            markerfacecolor=filled,
            markersize=4,
            markeredgewidth=1,
            clip_on=False,
        )
    axes.set_ylim(0, top)


def _shares(axes: Axes, line: Sequence[float | None], own: float, most: float) -> None:
    at = [i for i, share in enumerate(line) if share is not None]
    axes.axhline(100 * own, color=RULE, linewidth=0.8, linestyle="dashed")
    axes.plot(at, [100 * (line[i] or 0) for i in at], "o-", color=BLUE, linewidth=0.9, markersize=3, clip_on=False)
    axes.set_ylim(0, 100 * min(1, most))


def _mixes(axes: Axes, mixes: Sequence[Mapping[str, float] | None], own: float | None) -> None:
    known = [(i, each) for i, each in enumerate(mixes) if each]
    if own is not None:
        axes.axhline(100 * own, color=RULE, linewidth=0.8, linestyle="dashed")
    axes.vlines(
        [i for i, _ in known], [100 * each["low"] for _, each in known], [100 * each["high"] for _, each in known],
        color=BLUE, linewidth=1.2,
    )  # fmt: skip
    axes.plot(
        [i for i, _ in known],
        [100 * each["estimate"] for _, each in known],
        "o",
        color=BLUE,
        markersize=3.5,
        clip_on=False,
    )
    axes.set_ylim(0, 102)


def _name_windows(axes: Axes, windows: Sequence[Mapping[str, Any]], last: bool) -> None:
    """Mark every window, and name the first and the last below the lowest panels."""
    axes.set_xlim(-0.6, len(windows) - 0.4)
    axes.set_xticks(range(len(windows)), [""] * len(windows))
    ends = {0: "left", len(windows) - 1: "right"} if len(windows) > 1 else {0: "center"}
    for at, aligned in ends.items() if last else ():
        name = textwrap.shorten(labels([windows[at]["name"]])[0], NAME, placeholder="...")
        x = {"left": -0.6, "right": len(windows) - 0.4, "center": 0}[aligned]
        axes.annotate(
            name, (x, 0), (0, -6), ("data", "axes fraction"), "offset points", ha=aligned, va="top", fontsize=7.5
        )
