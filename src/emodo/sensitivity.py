"""What a sweep found: a row a setting, the setting that held-out rows choose, and a figure."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from emodo.figures import RULE, SHADE, Drawing, svg_file
from emodo.space import Part
from emodo.statistics import over_seeds
from emodo.tabular import counted, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scores = Mapping[int, Mapping[str, Mapping[str, Any]]]  # those of a part, by seed and fold
NAMES: dict[Part, str] = {"held_out": "held-out", "test": "test"}
LEGEND: dict[Part, str] = {"held_out": "training rows held out", "test": "test part"}
# The test part has the first run's colour, the held-out rows the second's, see `figures`.
COLOURS: dict[Part, str] = {"test": "#0a0b00", "held_out": "#0a0b01"}
LINES: dict[Part, Any] = {"test": "solid", "held_out": "dashed"}
DECADE = 10  # values that span as much are drawn on a logarithmic axis
TICKS = 7  # most of them on an axis


def row(setting: Mapping[str, Any], scores: Mapping[Part, Scores], folds: Sequence[str]) -> dict[str, Any]:
    """A setting's accuracies, fractions, over seeds: of the folds together, each image counting once, and of each.

    A seed counts where it has all folds; a part that has no such seed is None.
    """
    return {"setting": dict(setting)} | {part: _accuracy(found, folds) for part, found in scores.items()}


def _accuracy(scores: Scores, folds: Sequence[str]) -> dict[str, Any] | None:
    whole = {seed: found for seed, found in scores.items() if set(found) >= set(folds)}
    if not whole:
        return None
    pooled = [
        sum(found[fold]["n"] * found[fold]["accuracy"] for fold in folds) / sum(found[fold]["n"] for fold in folds)
        for found in whole.values()
    ]
    of_fold = {fold: over_seeds([found[fold]["accuracy"] for found in whole.values()]) for fold in folds}
    return over_seeds(pooled) | {"folds": of_fold}


def best(rows: Sequence[Mapping[str, Any]], fold: str) -> Mapping[str, Any] | None:
    """The row that is most accurate on the held-out rows of a fold, the first of equal ones.

    A setting that failed is not chosen. None where held-out rows were not scored, or every setting failed.
    """
    known = [each for each in rows if _held_out(each, fold) is not None]
    return max(known, key=lambda each: _held_out(each, fold) or 0.0, default=None)


def _held_out(row: Mapping[str, Any], fold: str) -> float | None:
    """The mean over seeds that chooses; None where it may not."""
    return row["held_out"]["folds"][fold]["mean"] if row.get("held_out") and not row["failures"] else None


# ------------------------------------------------------------------------------------------ shown


def shown(table: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows as people read them, accuracies in %: of a grid as given, of a search the best first."""
    parts: list[Part] = table["parts"]
    folds: list[str] = table["folds"]
    by_fold = parts if len(folds) > 1 else []
    head = [*table["varied"], *(NAMES[part] for part in parts), *(f"{NAMES[part]} by fold" for part in by_fold)]
    body: list[list[str]] = []
    for each in _sorted(table):
        line = [value_text(value) for value in each["setting"].values()]
        line += [with_interval(each[part]["mean"], each[part]) if each[part] else "" for part in parts]
        line += [
            " / ".join(f"{100 * each[part]['folds'][fold]['mean']:.1f}" for fold in folds) if each[part] else ""
            for part in by_fold
        ]
        line += ["" if each["seconds"] is None else f"{each['seconds']:.0f}"]
        best_on = [chosen["fold"] for chosen in table["best"] if chosen["setting"] == each["setting"]]
        where = "" if len(best_on) == len(folds) else f" on {', '.join(best_on)}"
        body.append([*line, "failed" if each["failures"] else f"best{where}" if best_on else ""])
    return [*head, "s a run", ""], body


def _sorted(table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = table["settings"]
    if table["kind"] == "grid":
        return rows
    return sorted(rows, key=lambda each: -each["held_out"]["mean"] if each["held_out"] else 1)


def notes(table: Mapping[str, Any]) -> list[str]:
    """What has to be known to read the table, a sentence each."""
    seeds, folds = table["seeds"], table["folds"]
    pooled = f"{counted(len(folds), 'fold')} pooled; by fold: {' / '.join(folds)}" if len(folds) > 1 else folds[0]
    interval = "mean and 95 % interval over them (Student's t)" if len(seeds) > 1 else "which gives no interval"
    told = [f"{table['method']} on {pooled}. {counted(len(seeds), 'seed')}, {interval}."]
    if "held_out" in table["parts"]:
        told.append(
            "held-out: training rows that were not trained on (the validation rows, else a fifth of the training "
            "sequences). This accuracy, and nothing else, chooses."
        )
    if "test" in table["parts"]:
        told.append(
            "test: the test part, after training on all training rows. It describes how sensitive the method is, as "
            "Figure 8 of the IERN paper does, and chooses nothing: a setting picked by it would look better than it is."
        )
    for chosen in table["best"]:
        share = chosen["held_out"]
        equal = sum(_held_out(each, chosen["fold"]) == share for each in table["settings"]) - 1
        tie = f" (as good as {counted(equal, 'other')})" * bool(equal)
        told.append(f"Best on {chosen['fold']}, {100 * share:.1f} % held-out{tie}: {chosen['command']}")
    if table["best"]:
        told.append(
            f"The best of {len(table['settings'])} owes some of its held-out accuracy to luck: expect less elsewhere."
        )
    elif "held_out" not in table["parts"]:
        told.append("No setting is chosen: for that, score held-out rows too.")
    told += [f"{_described(each['setting'])} failed: {reason}" for each in table["settings"] for reason in _why(each)]
    return told


def _why(row: Mapping[str, Any]) -> list[str]:
    """Each reason why a setting failed, its first line, with the runs that it ended."""
    runs: dict[str, list[str]] = {}
    for failure in row["failures"]:
        runs.setdefault(failure["reason"].partition("\n")[0], []).append(failure["run"])
    return [f"{reason} ({', '.join(found)})" for reason, found in runs.items()]


def _described(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value_text(value)}" for name, value in setting.items())


def value_text(value: Any) -> str:
    """A value as people write it: 5e-4, not 0.0005 and not 5e-04."""
    if isinstance(value, float):
        if 0 < abs(value) < 0.01:
            mantissa, exponent = f"{value:.5e}".split("e")
            return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def comma_separated(table: Mapping[str, Any]) -> str:
    """The table as CSV, a row a setting in the order of their training, accuracies as fractions."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    head = [*table["varied"]]
    for part in table["parts"]:
        head += [part, f"{part}_low", f"{part}_high", *(f"{part}:{fold}" for fold in table["folds"])]
    rows.writerow([*head, "seeds", "failures", "seconds"])
    for each in table["settings"]:
        line = [value if isinstance(value, str | float) else json.dumps(value) for value in each["setting"].values()]
        for part in table["parts"]:
            found = each[part] or {}
            line += [found.get(name) for name in ("mean", "low", "high")]
            line += [found.get("folds", {}).get(fold, {}).get("mean") for fold in table["folds"]]
        counted = max(len(each[part]["seeds"]) if each[part] else 0 for part in table["parts"])
        rows.writerow([*line, counted, len(each["failures"]), each["seconds"]])
    return written.getvalue()


# ----------------------------------------------------------------------------------------- figure


def figure(table: Mapping[str, Any]) -> str | None:
    """`drawing` as a file, SVG."""
    drawn = drawing(table)
    return drawn and svg_file(*drawn)


def drawing(table: Mapping[str, Any]) -> Drawing | None:
    """The table as a figure: a curve, a heat map, or a panel a parameter; None where every setting failed.

    One parameter of a grid is a curve, with the interval of the mean as a band and every seed as a point; two are a
    heat map. More parameters, or a search's, are points, a panel a parameter.
    """
    rows = [each for each in table["settings"] if any(each[part] for part in table["parts"])]
    if not rows:
        return None
    names, parts, method = list(table["varied"]), table["parts"], table["method"]
    title = f"{method}, accuracy in % by {', '.join(names)}"
    if table["kind"] == "grid" and len(names) == 1:
        return title, (440, 260), lambda figure: _curve(figure.subplots(), method, names[0], parts, rows)
    if table["kind"] == "grid" and len(names) == 2:
        across, down = (table["varied"][name] for name in names)
        width, gap = 52 * len(across), 24
        size = (len(parts) * width + (len(parts) - 1) * gap, 34 * len(down))
        return title, size, lambda figure: _heat(figure, gap / width, names, across, down, parts, rows)
    return title, (210 * len(names), 220), lambda figure: _panels(figure, names, parts, rows)


def _curve(axes: Axes, method: str, name: str, parts: Sequence[Part], rows: Sequence[Mapping[str, Any]]) -> None:
    at, ordered = _axis(axes, [each["setting"][name] for each in rows])
    for part in reversed(parts):  # the test part first
        colour = COLOURS[part]
        aside = 0.0 if ordered else 0.05 * (len(parts) - 1) * (-1 if part == "test" else 1)
        known = sorted(
            ((x + aside, each[part]) for x, each in zip(at, rows, strict=True) if each[part]),
            key=lambda point: point[0],
        )
        axes.plot(
            [x for x, _ in known],
            [100 * found["mean"] for _, found in known],
            "o",
            linestyle=LINES[part] if ordered else "none",
            color=colour,
            markersize=5,
            label=LEGEND[part],
        )
        bounded = [(x, found) for x, found in known if found["low"] is not None]
        places = [x for x, _ in bounded]
        low = [100 * max(0, found["low"]) for _, found in bounded]
        high = [100 * min(1, found["high"]) for _, found in bounded]
        if ordered:
            axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
        else:
            axes.vlines(places, low, high, color=colour, linewidth=1.5)
        points = [(x, 100 * value) for x, found in bounded for value in found["seeds"]]
        axes.plot([x for x, _ in points], [y for _, y in points], "o", color=colour, alpha=0.35, markersize=3)
    axes.set(xlabel=f"{name} of {method}", ylabel="accuracy in %")
    axes.grid(axis="y", color=RULE, alpha=0.3, linewidth=0.5)
    axes.legend(frameon=False)


def _heat(
    figure: Figure,
    gap: float,
    names: Sequence[str],
    across: Sequence[Any],
    down: Sequence[Any],
    parts: Sequence[Part],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    from matplotlib.patches import Rectangle

    panels = figure.subplots(1, len(parts), sharey=True, squeeze=False, gridspec_kw={"wspace": gap})[0]
    for axes, part in zip(panels, reversed(parts), strict=True):
        known = [each for each in rows if each[part]]
        means = [each[part]["mean"] for each in known]
        low, high = min(means, default=0), max(means, default=0)
        for each, mean in zip(known, means, strict=True):
            x, y = (values.index(each["setting"][name]) for values, name in zip((across, down), names, strict=True))
            shade = (mean - low) / (high - low) if high > low else 0
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=SHADE, alpha=shade))
            axes.text(x, y, f"{100 * mean:.1f}", ha="center", va="center")
        axes.set(xlim=(-0.5, len(across) - 0.5), ylim=(len(down) - 0.5, -0.5), xlabel=names[0])
        axes.set_title(f"accuracy in %, {LEGEND[part]}", fontsize=9)
        axes.set_xticks(range(len(across)), [value_text(value) for value in across])
        axes.set_yticks(range(len(down)), [value_text(value) for value in down])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(True)
    panels[0].set(ylabel=names[1])


def _panels(figure: Figure, names: Sequence[str], parts: Sequence[Part], rows: Sequence[Mapping[str, Any]]) -> None:
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.12})[0]
    for axes, name in zip(panels, names, strict=True):
        at, _ = _axis(axes, [each["setting"][name] for each in rows])
        for part in reversed(parts):
            known = [(x, 100 * each[part]["mean"]) for x, each in zip(at, rows, strict=True) if each[part]]
            axes.plot(
                [x for x, _ in known],
                [y for _, y in known],
                "o" if part == "test" else "D",
                color=COLOURS[part],
                alpha=0.6,
                markersize=4.5,
                label=LEGEND[part],
            )
        axes.set(xlabel=name)
        axes.grid(axis="y", color=RULE, alpha=0.3, linewidth=0.5)
    panels[0].set(ylabel="accuracy in %" if len(parts) > 1 else f"{NAMES[parts[0]]} accuracy in %")
    if len(parts) > 1:
        panels[-1].legend(frameon=False)


def _axis(axes: Axes, values: Sequence[Any]) -> tuple[list[float], bool]:
    """Set up the axis of a parameter; returns where its values lie, and whether they have an order.

    Logarithmic where they span decades; one beside the other where they are no numbers, or a 0 stands among decades.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    different = list({json.dumps(value): value for value in values}.values())
    numbers = sorted(value for value in different if isinstance(value, int | float) and not isinstance(value, bool))
    above = [value for value in numbers if value > 0]
    wide = bool(above) and above[-1] >= DECADE * above[0]
    if len(numbers) < len(different) or (wide and len(above) < len(numbers)):
        ordered = len(numbers) == len(different)
        beside: list[Any] = numbers if ordered else different
        axes.set_xticks(range(len(beside)), [value_text(value) for value in beside])
        axes.set_xlim(-0.5, len(beside) - 0.5)
        return [float(beside.index(value)) for value in values], ordered
    places = [math.log10(value) for value in numbers] if wide else [float(value) for value in numbers]
    roomy = all(b - a >= (places[-1] - places[0]) / TICKS for a, b in pairwise(places))
    if wide:
        axes.set_xscale("log")
        first, last = math.floor(places[0]), math.ceil(places[-1])
        decades = [10.0**exponent for exponent in range(first, last + 1, 1 + (last - first) // TICKS)]
        axes.minorticks_off()
        axes.set_xticks(numbers if roomy else decades)
    elif roomy:
        axes.set_xticks(numbers)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: value_text(float(value))))
    return [float(value) for value in values], True
