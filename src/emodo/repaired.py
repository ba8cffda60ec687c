"""Repairs in words: the verdict on each by stated rules, its tables, notes and figure.

The rules, as docs/repair.md tells them to readers, on held-out images:

- Each repair is judged by one measure: prior correction by accuracy, temperature scaling by the negative log
  likelihood, the new last layer by macro accuracy, abstention by the share of wrong answers among those given.
- It helps (harms) where Holm's p of the change, over all that were tried, is below 0.05.
- Otherwise, where half the interval's width is more than `MARGIN`, there is not enough data to tell; where it is not,
  there is no difference beyond chance.
- With fewer than 50 images or 10 clusters nothing is tried, and there is not enough data to tell.
- Whatever else gets worse (Holm's p over the measures of that repair) is said as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emodo.figures import DASHES, RULE, svg_file
from emodo.heldout import MEASURES, RISING
from emodo.statistics import holm
from emodo.tabular import Rows, counted, with_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HELPS, HARMS, NO_DIFFERENCE = "helps", "harms", "no difference beyond chance"
NOT_ENOUGH, NOT_TRIED = "not enough data to tell", "not tried"
CHANCE = 0.05
MARGIN = {"accuracy": 0.05, "macro_accuracy": 0.05, "nll": 0.05, "risk": 0.05}  # points of 100, and nats
JUDGED = {"prior": "accuracy", "temperature": "nll", "dfr": "macro_accuracy"}
TITLES = {
    "unrepaired": "the run as it is",
    "prior": "prior correction",
    "temperature": "temperature scaling",
    "dfr": "new last layer (DFR)",
    "abstention": "abstention",
}
NAMES = {
    "accuracy": "accuracy",
    "macro_accuracy": "macro accuracy",
    "worst_cell": "the worst cell's accuracy",
    "nll": "the negative log likelihood",
    "ece": "ECE",
    "brier": "the Brier score",
    "risk": "the share of wrong answers",
}
HEADS = ("accuracy, %", "macro accuracy, %", "worst cell, %", "NLL", "ECE, points", "Brier")  # of the tables
UNITS = ("nll", "brier")  # measures that are no share


def judge(rows: Sequence[dict[str, Any]], abstention: dict[str, Any]) -> None:
    """Put a verdict into each row, and into the abstention of the run as it is.

    rows: {name, change: {measure: {estimate, low, high, p}}} of each repair that was tried, {name, why, verdict} of one
    that was not. abstention: as `emodo.heldout.abstain` has it; nothing where none was tried.
    """
    tried = [row for row in rows if "change" in row]
    judged = [(row, row["change"][JUDGED[row["name"]]], JUDGED[row["name"]]) for row in tried]
    if abstention.get("change"):
        judged.append((abstention, abstention["change"], "risk"))
    for (row, change, measure), p in zip(judged, holm([change["p"] for _, change, _ in judged]), strict=True):
        row["judged_by"], row["p_holm"] = measure, p
        row["verdict"] = verdict(change, p, measure)
    for row in tried:
        known = [(measure, row["change"][measure]) for measure in MEASURES if row["change"][measure]]
        corrected = zip(known, holm([change["p"] for _, change in known]), strict=True)
        row["worse"] = [
            measure
            for (measure, change), p in corrected
            if measure != row["judged_by"] and verdict(change, p, measure) == HARMS
        ]


def verdict(change: Mapping[str, float], p_holm: float, measure: str) -> str:
    """What a change, {estimate, low, high}, of a measure says."""
    if p_holm < CHANCE:
        return HELPS if (change["estimate"] > 0) == (measure in RISING) else HARMS
    return NOT_ENOUGH if (change["high"] - change["low"]) / 2 > MARGIN.get(measure, 0) else NO_DIFFERENCE


def best(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The repair to apply: of those that help the one with the highest accuracy, of equals that with the least NLL."""
    helping = [row for row in rows if row["verdict"] == HELPS]
    if not helping:
        return None
    return min(helping, key=lambda row: (-row["measures"]["accuracy"]["estimate"], row["measures"]["nll"]["estimate"]))[
        "name"
    ]


# ----------------------------------------------------------------------------------------- sentences


def sentences(table: Mapping[str, Any]) -> list[str]:
    """The verdict on a table as `emodo repair` makes it: the run, each repair, and what to do."""
    told: list[str] = []
    if table["unrepaired"]:
        accuracy = table["unrepaired"]["accuracy"]
        told.append(
            f"The run is right on {with_interval(accuracy['estimate'], accuracy)} % of {table['images']} images of "
            f"{counted(table['clusters'], table['cluster'])}."
        )
    told += [_on_repair(row) for row in table["repairs"]]
    told.append(_on_abstention(table))
    if table["best"]:
        told.append(f"To apply: {TITLES[table['best']]}.")
    elif any("change" in row for row in table["repairs"]):
        told.append("None of the repairs that change the run helps beyond chance: keep it as it is.")
    return told


def _on_repair(row: Mapping[str, Any]) -> str:
    title = TITLES[row["name"]]
    title = title[:1].upper() + title[1:]
    if "change" not in row:
        return f"{title}: {row['verdict']} ({row['why']})."
    measure = row["judged_by"]
    said = _changed(measure, row["change"][measure])
    worse = "; ".join(f"{NAMES[each]} gets worse, by {_signed(each, row['change'][each])}" for each in row["worse"])
    return f"{title}{_setting(row)}: {row['verdict']}; {said}{worse and f'; but {worse}'}."


def _setting(row: Mapping[str, Any]) -> str:
    if row["name"] == "temperature":
        return f" (T = {row['temperature']:.2f})"
    return f" (c = {row['c']:g})" if row["name"] == "dfr" else ""


def _changed(measure: str, change: Mapping[str, float]) -> str:
    return f"{NAMES[measure]} changes by {_signed(measure, change)}"


def _signed(measure: str, change: Mapping[str, float]) -> str:
    if measure in UNITS:
        return f"{change['estimate']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}]"
    return f"{with_interval(change['estimate'], change, '+')} points"


def _on_abstention(table: Mapping[str, Any]) -> str:
    found, wanted = table["abstention"].get("unrepaired"), table["wanted"]
    title = "Abstention"
    if not found:
        return f"{title}: {NOT_ENOUGH} ({table['too_few']})."
    if found["threshold"] is None:
        return f"{title}: no threshold has a risk of {100 * wanted['risk']:g} % or less."
    if not found["change"]:
        return f"{title}: {NOT_ENOUGH} (nothing is answered at the thresholds of the other folds)."
    risk, coverage = found["risk"], found["coverage"]
    return (
        f"{title} below a probability of {found['threshold']:.3f}: {found['verdict']}; "
        f"{with_interval(coverage['estimate'], coverage)} % are answered, of these "
        f"{with_interval(risk['estimate'], risk)} % wrongly, a change of {_signed('risk', found['change'])}."
    )


# -------------------------------------------------------------------------------------------- tables


def shown(table: Mapping[str, Any]) -> list[tuple[list[str], Rows]]:
    """The tables as (headings, rows): the measures, their changes, and abstention."""
    tried = [row for row in table["repairs"] if "change" in row]
    titles = [TITLES[row["name"]] for row in tried]
    levels: list[list[str]] = []
    changes: list[list[str]] = []
    if table["unrepaired"]:
        for at, name in enumerate(MEASURES):
            own = [table["unrepaired"], *(row["measures"] for row in tried)]
            levels.append([HEADS[at], *(_level(name, each[name]) for each in own)])
            changes.append([HEADS[at], *(_change(name, row["change"][name]) for row in tried)])
    changes.append(["p (Holm) of what it is judged by", *(f"{row['p_holm']:.3f}" for row in tried)])
    abstention = [
        [
            TITLES[name],
            "none" if found["threshold"] is None else f"{found['threshold']:.3f}",
            with_interval(found["coverage"]["estimate"], found["coverage"]),
            with_interval(found["risk"]["estimate"], found["risk"]) if found["risk"] else "",
            f"{100 * found['aurc']:.1f}",
        ]
        for name, found in table["abstention"].items()
    ]
    return [
        (["held out", TITLES["unrepaired"], *titles], levels),
        (["change", *titles], changes if tried else []),
        (["abstaining", "threshold", "answered, %", "of these wrong, %", "AURC, %"], abstention),
    ]


def _level(measure: str, found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    if measure in UNITS:
        return f"{found['estimate']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
    return with_interval(found["estimate"], found)


def _change(measure: str, found: Mapping[str, float] | None) -> str:
    return "" if found is None else _signed(measure, found).removesuffix(" points")


def notes(table: Mapping[str, Any]) -> list[str]:
    """What has to be known to read the tables, a sentence each."""
    drawn = f"95 % intervals over {table['cluster']}s, {table['replicates']} draws"
    if not table["abstention"]:
        return [f"Nothing is repaired; {drawn}."] if table["unrepaired"] else []
    told = [
        f"Held out: {table['folds']} folds that split no {table['cluster']}; each image is judged by a repair that was "
        f"fitted without its fold. {drawn}; p by Holm over all that was tried, with abstention.",
        "Judged by: prior correction by accuracy, temperature scaling by the negative log likelihood (NLL), the last "
        "layer by macro accuracy, abstention by the share of wrong answers. Not enough data: an interval that leaves "
        "the sign open and reaches more than 5 points (NLL: 0.05) to either side.",
        "Abstain where the largest probability of an image is below the threshold of what you use.",
    ]
    if table["unrepaired"]["worst_cell"] is None:
        told.append("No cell has 10 images, so there is no worst one.")
    return told


# -------------------------------------------------------------------------------------------- figure


def figure(table: Mapping[str, Any]) -> str:
    """The risk-coverage curves, SVG: wrong answers by the share that is answered, a dot at each threshold."""
    found: Mapping[str, Any] = table["abstention"]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for slot, (name, each) in enumerate(found.items()):
            colour = f"#0a0b0{slot}"
            axes.plot(
                [100 * share for share in each["curve"]["coverage"]],
                [100 * risk for risk in each["curve"]["risk"]],
                color=colour,
                linestyle=DASHES[slot],
                linewidth=1.2,
                label=TITLES[name],
            )
            if each["risk"]:
                at, risk = 100 * each["coverage"]["estimate"], each["risk"]
                axes.vlines([at], [100 * risk["low"]], [100 * risk["high"]], color=colour, linewidth=1)
                axes.plot([at], [100 * risk["estimate"]], "o", color=colour, markersize=5)
        axes.set(xlabel="answered, %", ylabel="of these wrong, %", xlim=(0, 101), ylim=(0, None))
        axes.grid(color=RULE, alpha=0.3, linewidth=0.5)
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))

    return svg_file(" ".join(table["sentences"]), (420, 260), draw)
