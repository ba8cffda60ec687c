"""A probe as people read it: tables, what has to be known to read them, a Markdown page and a figure."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emodo import tabular
from emodo.figures import DASHES, RULE, labels, svg_file
from emodo.interventions import CONTROL, INTERVENTIONS
from emodo.tabular import with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tables = list[tuple[list[str], list[list[str]]]]
RUN_COLOURS = 8  # see `figures`
MOST_GROUPS = 12  # columns of a table that are still read
PANEL = (112, 130)


def shown(table: Mapping[str, Any]) -> Tables:
    """Headings and rows: each model's doses; by emotion and by stratum, the strongest dose of each intervention."""
    tables: Tables = []
    for model in table["models"]:
        head = [model["name"], "strength", "flips", "shift", "accuracy", "change", "p (Holm)", "d", "lost / gained"]
        tables.append((head, [_line(row, table["images"]) for row in model["doses"]]))
        for part in ("emotions", "strata"):
            names = list(model[part])
            if len(names) > 1:
                head = [f"{model['name']}: flips / change", *names[:MOST_GROUPS]]
                tables.append(
                    (head, [_group_line(row, part, names[:MOST_GROUPS]) for row in strongest(model["doses"])])
                )
    for pair in table["comparisons"]:
        head = [f"{pair['model']} against {pair['baseline']}", "strength", "flips", "p (Holm)", "change", "p (Holm)"]
        body = [
            [row["intervention"], f"{row['strength']:g}"]
            + [
                text
                for key in ("flip", "change")
                for text in (with_interval(row[key]["estimate"], row[key], "+"), _p(row[key]))
            ]
            for row in pair["doses"]
        ]
        tables.append((head, body))
    return tables


def strongest(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last dose of each intervention."""
    return list({row["intervention"]: row for row in rows}.values())


def _line(row: Mapping[str, Any], images: int) -> list[str]:
    effect = row["effect"]["estimate"]
    return [
        row["intervention"] + f" ({row['n']} images)" * (row["n"] < images),
        f"{row['strength']:g}",
        with_interval(row["flip"]["value"], row["flip"]),
        f"{row['shift']['value']:.2f}",
        with_interval(row["after"]["value"], row["after"]),
        with_interval(row["change"]["estimate"], row["change"], "+"),
        _p(row["change"]),
        "" if effect is None else f"{effect:+.2f}",
        f"{row['lost']} / {row['gained']}",
    ]


def _p(found: Mapping[str, Any]) -> str:
    p = found.get("p_holm")
    return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _group_line(row: Mapping[str, Any], part: str, names: Sequence[str]) -> list[str]:
    line = [f"{row['intervention']} {row['strength']:g}"]
    for name in names:
        found = row[part].get(name)
        if found is None:  # none of these has a box
            line.append("")
            continue
        change = found["change"]
        mark = "" if change["low"] is None or change["low"] <= 0 <= change["high"] else " *"
        line.append(f"{100 * found['flip']['value']:.0f} / {100 * change['estimate']:+.0f}{mark}")
    return line


def notes(table: Mapping[str, Any]) -> list[str]:
    """The verdicts, then what has to be known to read the tables, a sentence each."""
    told = [model["verdict"] for model in table["models"]]
    told += [said for pair in table["comparisons"] for said in pair["said"]]
    accuracies = "; ".join(
        f"{model['name']} {with_interval(model['accuracy']['value'], model['accuracy'])}" for model in table["models"]
    )
    drawn = f"{table['clusters']} {'images' if table['cluster'] == 'image' else table['cluster'] + 's'}"
    told += [
        f"{table['images']} images of {table['manifest']} ({table['split']}). Accuracy as they are, in %: {accuracies}."
        f" Always answering {table['most_frequent']['emotion']} would be right on "
        f"{100 * table['most_frequent']['share']:.1f} %.",
        "Flips: answers that change, in %. Shift: mean total variation between the probabilities, 0 to 1. Change: of "
        f"the accuracy, paired, in points. d: the same by its deviation (d_z). 95 % intervals over {drawn} (bootstrap, "
        f"{table['replicates']} draws); p corrected by Holm over all doses.",
        "The mirror is the control: a model leans on something where taking it away changes at least 5 % more of its "
        "answers than the mirror does, with Holm's p below 0.05. A model that always answers alike never flips, so "
        "read its accuracy too.",
    ]
    if any(len(model[part]) > 1 for model in table["models"] for part in ("emotions", "strata")):
        told.append("By emotion and stratum: * where the interval of the change leaves out zero; not corrected.")
    needing = [name for name in _names(table) if INTERVENTIONS[name].boxed]
    if needing and table["boxed"] < table["images"]:
        told.append(
            f"{' and '.join(needing)}: done to the {table['boxed']} of {table['images']} images that have a box, and "
            "all numbers of them are of these."
        )
    told += [f"{name} is left out: {why}." for name, why in table["skipped"].items()]
    told += table["remarks"]
    return told


def markdown(table: Mapping[str, Any]) -> str:
    """The same as a Markdown page, with the figure beside it; what looks like HTML is text."""

    def plain(text: str) -> str:
        return html.escape(text, quote=False)

    escaped = [([*map(plain, head)], [[*map(plain, row)] for row in body]) for head, body in shown(table)]
    done = "\n".join(f"- {describe(name)}" for name in _names(table))
    page = tabular.markdown(escaped, [plain(note) for note in notes(table)])
    return f"# What the model leans on\n\n![Accuracy and flips by strength](probe.svg)\n\n{page}\n{done}\n"


def _names(table: Mapping[str, Any]) -> list[str]:
    """The interventions that were done, in their order."""
    return list(dict.fromkeys(row["intervention"] for row in table["doses"]))


def describe(name: str) -> str:
    """One line about an intervention, and what its strength is."""
    each = INTERVENTIONS[name]
    unit = f" (strength: {each.unit}; {each.unchanged:g} changes nothing)" if each.unit else ""
    return f"`{name}`: {each.what}{unit}"


# ----------------------------------------------------------------------------------------- figure


def figure(table: Mapping[str, Any]) -> str:
    """Accuracy and flips over strength, SVG: a column an intervention, a line a model, bars for the intervals."""
    names = _names(table)
    gap = 0.16

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, len(names), sharey="row", squeeze=False, gridspec_kw={"wspace": gap, "hspace": 0.12})
        for column, name in enumerate(names):
            upper, lower = grid[0][column], grid[1][column]
            for slot, model in enumerate(table["models"]):
                aside = 0.1 * (slot - (len(table["models"]) - 1) / 2)
                rows = [row for row in model["doses"] if row["intervention"] == name]
                at = places(name, [row["strength"] for row in rows])
                own = {"value": 0.0, "low": 0.0, "high": 0.0}
                for axes, key, start in ((upper, "after", rows[0]["before"]), (lower, "flip", own)):
                    points = [(at[None], start), *((at[row["strength"]], row[key]) for row in rows)]
                    _curve(axes, sorted(points, key=lambda point: point[0]), aside, slot, model["name"])
            _ticks(upper, lower, name, [row["strength"] for row in table["doses"] if row["intervention"] == name])
        grid[0][0].set(ylabel="accuracy in %", ylim=(0, 102))
        grid[1][0].set(ylabel="flips in %", ylim=(-2, 102))
        if len(table["models"]) > 1:
            grid[0][0].figure.legend(
                *grid[0][0].get_legend_handles_labels(),
                loc="lower left",
                bbox_to_anchor=(0, 1.06),
                ncols=len(table["models"]),
                frameon=False,
            )

    size = (PANEL[0] * len(names) * (1 + gap), 2 * PANEL[1])
    return svg_file(" ".join(model["verdict"] for model in table["models"]), size, draw)


def places(name: str, strengths: Sequence[float]) -> dict[float | None, int]:
    """Where the strengths of an intervention lie, one beside the other; None is the image as it is.

    It comes first, and strengths of either side of it, as those of brightness are, have it between them.
    """
    unchanged = INTERVENTIONS[name].unchanged
    if name == CONTROL:
        return {None: 0} | dict.fromkeys(strengths, 1)
    ordered = sorted({*strengths, unchanged}, reverse=unchanged > max(strengths))
    found: dict[float | None, int] = {strength: at for at, strength in enumerate(ordered)}
    return found | {None: found[unchanged]}


def _curve(axes: Axes, points: Sequence[tuple[int, Mapping[str, Any]]], aside: float, slot: int, name: str) -> None:
    colour = f"#0a0b0{slot % RUN_COLOURS}"
    x = [at + aside for at, _ in points]
    bounded = [(at + aside, found) for at, found in points if found["low"] is not None]
    axes.vlines(
        [at for at, _ in bounded],
        [100 * found["low"] for _, found in bounded],
        [100 * found["high"] for _, found in bounded],
        color=colour,
        linewidth=1,
    )
    axes.plot(
        x,
        [100 * found["value"] for _, found in points],
        marker="o",
        markersize=3.5,
        linewidth=1.2,
        linestyle=DASHES[slot % len(DASHES)],
        color=colour,
        label=labels([name])[0],
    )


def _ticks(upper: Axes, lower: Axes, name: str, strengths: Sequence[float]) -> None:
    at = places(name, strengths)
    written = {place: "as is" if strength is None else f"{strength:g}" for strength, place in at.items()}
    if name == CONTROL:
        written = {0: "as is", 1: "mirror"}
    for axes in (upper, lower):
        axes.set_xticks(list(written), [])
        axes.set_xlim(-0.5, max(written) + 0.5)
        axes.grid(axis="y", color=RULE, alpha=0.3, linewidth=0.5)
    lower.set_xticks(list(written), list(written.values()), rotation=40, ha="right", rotation_mode="anchor")
    upper.set_title(name, fontsize=9)
    lower.set_xlabel(INTERVENTIONS[name].unit, fontsize=7.5)
    lower.xaxis.set_label_coords(0.5, -0.42)
