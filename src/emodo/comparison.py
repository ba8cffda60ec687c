"""The table of a grid: how each method did over folds and seeds, against the baseline, with what certainty."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emodo import metrics, statistics, tabular
from emodo.claims import decided, sentences
from emodo.figures import RULE, labels, svg_file
from emodo.records import InputError, Task
from emodo.statistics import Cluster, Difference
from emodo.tabular import with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE = "#0a0b00"  # stands for the first run's colour, see `figures`
Tables = Mapping[int, Mapping[str, pd.DataFrame]]  # predictions by seed and fold


def compare(
    predictions: Mapping[str, Tables],
    folds: Sequence[str],
    emotions: Sequence[str],
    baseline: str,
    cluster: Cluster | None = None,
    replicates: int = 10_000,
    unseen: Mapping[str, frozenset[tuple[str, str]]] | None = None,
) -> dict[str, Any]:
    """Compare methods with the baseline, on the test images of all folds together.

    predictions: {method: {seed: {fold: table}}}, in the order of the table. A seed counts where it has all folds.
    unseen: the (stratum, emotion) cells that training showed in none of its images, of each fold; None where that is
    not known.
    Returns what table.json holds: {"methods": [a row each], ...}; accuracies are fractions, None where there is none.

    Raises InputError where two runs of a fold were not tested on the same images, or `cluster` has no column.
    """
    whole = {
        method: {seed: tables for seed, tables in seeds.items() if set(tables) >= set(folds)}
        for method, seeds in predictions.items()
    }
    reference = next(
        (tables for seeds in (whole.get(baseline, {}), *whole.values()) for tables in seeds.values()), None
    )
    table: dict[str, Any] = {
        "baseline": baseline,
        "folds": list(folds),
        "emotions": list(emotions),
        "level": statistics.LEVEL,
        "replicates": replicates,
    }
    if reference is None:
        return table | {"images": 0, "methods": [{"name": method, "seeds": []} for method in predictions]}
    images = metrics.pool([reference[fold] for fold in folds])
    chosen, number = statistics.clusters(images, cluster)
    absent = np.zeros(len(images), bool) if unseen is None else _absent(reference, folds, unseen)
    table |= {"images": len(images), "cluster": chosen, "clusters": int(number.max()) + 1}
    table["unseen"] = None if unseen is None else int(absent.sum())
    pooled = {
        method: {seed: _aligned(method, seed, tables, reference, folds) for seed, tables in seeds.items()}
        for method, seeds in whole.items()
    }
    rows = [_row(method, pooled[method], folds, emotions) for method in predictions]
    tested = [method for method in predictions if pooled[method]]
    if baseline in tested and len(tested) > 1:
        truth = images["emotion"].to_numpy(str)
        right = [np.stack([each["predicted"].to_numpy(str) == truth for each in pooled[m].values()]) for m in tested]
        group = np.array([list(emotions).index(emotion) for emotion in truth])
        base = tested.index(baseline)
        found = statistics.differences(right, base, number, group, len(emotions), replicates)
        _add(rows, dict(zip(tested, found, strict=True)), emotions)
        table["pairs"] = _pairs(rows, dict(zip(tested, right, strict=True)), number, replicates)
        if 0 < absent.sum() < len(absent):
            found = statistics.differences(right, base, number, np.where(absent, 0, 1), 1, replicates)
            of_absent = {name: each[1] for name, each in zip(tested, found, strict=True) if each[1]}
            for row, difference in _corrected(rows, of_absent):
                row["unseen_difference"] = difference
    return table | {"methods": rows}


def _absent(
    reference: Mapping[str, pd.DataFrame], folds: Sequence[str], unseen: Mapping[str, frozenset[tuple[str, str]]]
) -> np.ndarray:
    """Mark the test images, [N] bool, whose emotion training never showed in their stratum."""
    cells = [
        (stratum, emotion) in unseen[fold]
        for fold in folds
        for stratum, emotion in zip(reference[fold]["stratum"], reference[fold]["emotion"], strict=True)
    ]
    return np.array(cells)


def _aligned(
    method: str,
    seed: int,
    tables: Mapping[str, pd.DataFrame],
    reference: Mapping[str, pd.DataFrame],
    folds: Sequence[str],
) -> pd.DataFrame:
    """The folds of a seed under one another, in the strata of the reference; refused where the images differ."""
    for fold in folds:
        if not tables[fold][["path", "emotion"]].equals(reference[fold][["path", "emotion"]]):
            raise InputError(f"{method}, {fold}, seed {seed}, was tested on other images: train this grid anew")
    pooled = metrics.pool([tables[fold].loc[:, ["path", "emotion", "predicted"]].assign(fold=fold) for fold in folds])
    return pooled.assign(stratum=metrics.pool([reference[fold] for fold in folds])["stratum"])


def _row(
    method: str, seeds: Mapping[int, pd.DataFrame], folds: Sequence[str], emotions: Sequence[str]
) -> dict[str, Any]:
    if not seeds:
        return {"name": method, "seeds": []}
    scores = [metrics.score(table, Task(tuple(emotions))) for table in seeds.values()]
    return {
        "name": method,
        "seeds": list(seeds),
        "accuracy": statistics.over_seeds([found["accuracy"] for found in scores]),
        "macro_accuracy": statistics.over_seeds([found["macro_accuracy"] for found in scores]),
        "worst_cell": _worst(scores),
        "emotions": {
            emotion: statistics.over_seeds([found["emotions"][emotion]["accuracy"] for found in scores])
            for emotion in emotions
            if scores[0]["emotions"][emotion]["n"]
        },
        "folds": {
            fold: statistics.over_seeds([float((part["predicted"] == part["emotion"]).mean()) for part in parts])
            for fold in folds
            for parts in [[table.loc[table["fold"] == fold] for table in seeds.values()]]
        },
    }


def _worst(scores: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The cell that is least accurate on average over seeds: each seed's own least one would be worse by luck."""
    cells = [
        {
            "emotion": emotion,
            "stratum": stratum,
            "n": found["n"],
            "accuracy": float(np.mean([each["cells"][emotion][stratum]["accuracy"] for each in scores])),
        }
        for emotion, strata in scores[0]["cells"].items()
        for stratum, found in strata.items()
        if found["n"]
    ]
    return min(cells, key=lambda cell: (cell["accuracy"], cell["emotion"], cell["stratum"]), default=None)


def _add(rows: list[dict[str, Any]], found: Mapping[str, list[Difference | None]], emotions: Sequence[str]) -> None:
    """Put the differences into the rows; p corrected over all methods, and within a method over its emotions."""
    overall = {method: parts[0] for method, parts in found.items() if parts[0]}
    for row, difference in _corrected(rows, overall):
        of_emotion = {
            emotion: each for emotion, each in zip(emotions, found[row["name"]][1:], strict=True) if each is not None
        }
        row["difference"] = difference
        by_emotion = statistics.holm([each.p for each in of_emotion.values()])
        row["emotion_differences"] = {
            emotion: asdict(each) | {"p_holm": p}
            for (emotion, each), p in zip(of_emotion.items(), by_emotion, strict=True)
        }
        row["worse"] = [emotion for emotion, each in of_emotion.items() if each.high < 0]
        row["better"] = [emotion for emotion, each in of_emotion.items() if each.low > 0]


def _corrected(
    rows: Sequence[dict[str, Any]], found: Mapping[str, Difference]
) -> list[tuple[dict[str, Any], dict[str, float]]]:
    """Each row that has a difference, and that with its p corrected over all of them."""
    corrected = dict(zip(found, statistics.holm([each.p for each in found.values()]), strict=True))
    return [(row, asdict(found[name]) | {"p_holm": corrected[name]}) for row in rows if (name := row["name"]) in found]


def _pairs(
    rows: Sequence[dict[str, Any]], right: Mapping[str, np.ndarray], cluster: np.ndarray, replicates: int
) -> list[dict[str, Any]]:
    """The methods that are better than the baseline, each with each: by how much `name` is above `than`.

    The more accurate of two is the first, and pairs of the most accurate come first. p is corrected over all pairs,
    as which of them is looked at is chosen by the same images.
    """
    better = [row for row in rows if "difference" in row and decided(row["difference"]) == "better"]
    names = [row["name"] for row in sorted(better, key=lambda row: -row["accuracy"]["mean"])]
    found: list[tuple[str, str, Difference]] = []
    alike = np.zeros(len(cluster), int)
    for at, name in enumerate(names):
        others = names[at + 1 :]
        of_name = statistics.differences([right[each] for each in (name, *others)], 0, cluster, alike, 0, replicates)
        # differences are the other's minus that of `name`
        found += [(name, other, each) for other, (each,) in zip(others, of_name[1:], strict=True) if each]
    corrected = statistics.holm([each.p for _, _, each in found])
    return [
        {"name": name, "than": than, "estimate": -each.estimate, "low": -each.high, "high": -each.low}
        | {"p": each.p, "p_holm": p}
        for (name, than, each), p in zip(found, corrected, strict=True)
    ]


# ------------------------------------------------------------------------------------------ shown


def headings(table: Mapping[str, Any]) -> list[str]:
    """The columns of the table as people read it."""
    baseline = table["baseline"]
    return [
        "method",
        "seeds",
        "accuracy",
        "macro",
        "worst cell",
        f"against {baseline}",
        "p (Holm)",
        "emotions worse",
        "s a run",
    ]


def lines(table: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the table as people read it, accuracies in %, differences in points."""
    return [_line(row, row["name"] == table["baseline"]) for row in table["methods"]]


def _line(row: Mapping[str, Any], is_baseline: bool) -> list[str]:
    seconds = row.get("seconds")
    took = "" if seconds is None else f"{seconds:.0f}"
    if not row["seeds"]:
        return [row["name"], "0", row.get("note", "not finished"), "", "", "", "", "", took]
    worst = row["worst_cell"]
    line = [
        row["name"],
        str(len(row["seeds"])),
        with_interval(row["accuracy"]["mean"], row["accuracy"]),
        f"{100 * row['macro_accuracy']['mean']:.1f}",
        f"{100 * worst['accuracy']:.1f} {worst['emotion']} x {worst['stratum']}" if worst else "",
    ]
    found = row.get("difference")
    if found is None:
        return [*line, "baseline" if is_baseline else "", "", "", took]
    return [
        *line,
        with_interval(found["estimate"], found, "+"),
        "<0.001" if found["p_holm"] < 0.001 else f"{found['p_holm']:.3f}",
        f"{len(row['worse'])}: {', '.join(row['worse'])}" if row["worse"] else "0",
        took,
    ]


def emotion_lines(table: Mapping[str, Any]) -> list[list[str]]:
    """A row a method: its accuracy on each emotion in %, with - or + where it differs from the baseline."""
    found: list[list[str]] = []
    for row in table["methods"]:
        if row["seeds"]:
            marks = dict.fromkeys(row.get("worse", ()), " -") | dict.fromkeys(row.get("better", ()), " +")
            shown = {
                emotion: f"{100 * each['mean']:.1f}{marks.get(emotion, '')}"
                for emotion, each in row["emotions"].items()
            }
            found.append([row["name"], *(shown.get(emotion, "not tested") for emotion in table["emotions"])])
    return found


def notes(table: Mapping[str, Any]) -> list[str]:
    """What has to be known to read the table, a sentence each."""
    told = [
        f"{table['images']} test images of {len(table['folds'])} fold(s), pooled. Accuracy: mean and 95 % interval "
        "over seeds (Student's t)."
    ]
    if any("difference" in row for row in table["methods"]):
        drawn = "images" if table["cluster"] == "image" else f"{table['cluster']}s of the images"
        told.append(
            f"Against {table['baseline']}: paired over the same images, in points; 95 % interval over seeds and over "
            f"the {table['clusters']} {drawn} (bootstrap, {table['replicates']} draws); p corrected by Holm over all "
            "methods."
        )
        told.append(
            f"An emotion is worse (-) or better (+) where the interval of its own difference to {table['baseline']} "
            "leaves out zero; these are not corrected."
        )
    elif len(table["methods"]) > 1:
        told.append(
            f"Nothing is compared with {table['baseline']}: that takes two methods with all folds, and test images of "
            f"two {table.get('cluster', 'image')}s at least."
        )
    search = table.get("search")
    if search:
        told.append(search["note"])
        told += [
            f"{method}: learning rates times {', '.join(f'{factor:g} ({fold})' for fold, factor in chosen.items())}."
            for method, chosen in search["chosen"].items()
        ]
    else:
        told.append("No setting was searched for: each method ran once a cell, with the settings given.")
    seeds: dict[tuple[str, str, str, str], list[str]] = {}
    for failure in table.get("failures", ()):
        what = "not possible" if failure["status"] == "refused" else "failed"
        where = failure["fold"] + (f", search times {failure['factor']:g}" if "factor" in failure else "")
        seeds.setdefault((failure["method"], where, what, failure["reason"]), []).append(str(failure["seed"]))
    told += [
        f"{method}, {where}, seed {', '.join(found)}: {what}: {reason}"
        for (method, where, what, reason), found in seeds.items()
    ]
    return told


def shown(table: Mapping[str, Any]) -> list[tuple[list[str], list[list[str]]]]:
    """The table, and that of the emotions, as (headings, rows)."""
    return [(headings(table), lines(table)), (["accuracy on", *table["emotions"]], emotion_lines(table))]


def markdown(table: Mapping[str, Any]) -> str:
    """The table as a Markdown page, its verdict in words at the top."""
    return tabular.markdown(shown(table), notes(table), sentences(table))


def comma_separated(table: Mapping[str, Any]) -> str:
    """The table as CSV, all numbers as fractions, a row a method."""
    written = io.StringIO()
    head = ["method", "seeds", "accuracy", "low", "high", "macro_accuracy", "worst_cell", "worst_cell_accuracy"]
    head += ["difference", "difference_low", "difference_high", "p", "p_holm", "worse", "seconds"]
    head += [f"accuracy:{emotion}" for emotion in table["emotions"]]
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(head)
    for row in table["methods"]:
        accuracy, worst, found = row.get("accuracy", {}), row.get("worst_cell") or {}, row.get("difference", {})
        line = [row["name"], len(row["seeds"]), accuracy.get("mean"), accuracy.get("low"), accuracy.get("high")]
        line += [row.get("macro_accuracy", {}).get("mean")]
        line += [f"{worst['emotion']} x {worst['stratum']}" if worst else None, worst.get("accuracy")]
        line += [found.get(name) for name in ("estimate", "low", "high", "p", "p_holm")]
        line += [" ".join(row["worse"]) if "worse" in row else None, row.get("seconds")]
        line += [row.get("emotions", {}).get(emotion, {}).get("mean") for emotion in table["emotions"]]
        rows.writerow(line)
    return written.getvalue()


def figure(table: Mapping[str, Any]) -> str:
    """The table as a figure, SVG: accuracy with its interval and every seed, and the difference to the baseline."""
    rows = [row for row in table["methods"] if row["seeds"]]
    differing = any("difference" in row for row in rows)

    def draw(figure: Figure) -> None:
        left, *right = figure.subplots(
            1, 2 if differing else 1, sharey=True, squeeze=False, gridspec_kw={"wspace": 0.1}
        )[0]
        for at, row in enumerate(rows):
            found = row["accuracy"]
            left.plot(
                [100 * each for each in found["seeds"]], [at] * len(found["seeds"]), "o", color=BLUE, alpha=0.3, ms=4
            )
            _interval(left, at, found["mean"], found, BLUE)
            if "difference" in row:
                found = row["difference"]
                # filled where Holm's p says that it is no chance
                _interval(right[0], at, found["estimate"], found, BLUE if found["p_holm"] < 0.05 else "white")
        left.set(xlabel="accuracy in %", ylim=(max(1, len(rows)) - 0.5, -0.5))
        left.set_yticks(range(len(rows)), labels([row["name"] for row in rows]))
        for axes in right:
            axes.axvline(0, color=RULE, linewidth=0.8)
            axes.set(xlabel=labels([f"points above {table['baseline']}"])[0])
        for axes in (left, *right):
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", color=RULE, alpha=0.3, linewidth=0.5)
            axes.spines["left"].set_visible(False)

    title = "; ".join(f"{row['name']} {with_interval(row['accuracy']['mean'], row['accuracy'])}" for row in rows)
    size = (520 if differing else 260, 22 * len(rows) + 10)
    return svg_file(f"Accuracy in %: {title or 'no method has all folds'}", size, draw)


def _interval(axes: Axes, at: int, value: float, interval: Mapping[str, Any], filled: str) -> None:
    if interval["low"] is not None:
        axes.plot([100 * interval["low"], 100 * interval["high"]], [at, at], color=BLUE, linewidth=1.5)
    axes.plot([100 * value], [at], "o", color=BLUE, markerfacecolor=filled, markersize=6)
