"""What `emodo gap` found, as people read it: a verdict by stated rules, tables, what has to be known, and a figure.

The verdict lays a drop to the first factor in the table that will do, by the rules of `poststratification.reasons`, and
names beside it those that account for nearly as much. Without such a factor it says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from emodo.factors import LEAST, THIN
from emodo.figures import RULE, labels, svg_file
from emodo.poststratification import AS_MUCH, SURE, Account, Drop, reasons
from emodo.shift import Shift, Value
from emodo.tabular import counted, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE = "#0a0b00", "#0a0b01"  # stand for a run's colour, see `figures`
NAMED = 3  # differences in the verdict
BARS = 12  # factors in the figure


def table(
    shifts: Sequence[Shift],
    classifiers: Mapping[str, Value],
    facts: Mapping[str, Any],
    drop: Drop | None,
    order: Sequence[int],
) -> dict[str, Any]:
    """What gap.json holds: {verdict, lab, field, classifiers, differences, drop, factors}; accuracies are fractions.

    differences: by what they tell alone, the best first. drop and factors: None and empty where there is no run or no
    emotion in the field; factors in their order, those that account for most first.
    """
    ranked = sorted(shifts, key=lambda each: (-round(each.told.estimate, 2), -_size(each)))
    named = reasons(drop, order) if drop else []
    found: dict[str, Any] = {
        "verdict": " ".join([*(_on_drop(drop, named, {each.name: each for each in shifts}) if drop else ())]),
        **facts,
        "classifiers": {name: asdict(value) for name, value in classifiers.items()},
        "differences": [asdict(each) for each in ranked],
        "drop": None,
        "factors": [],
    }
    found["verdict"] = f"{found['verdict']} {_on_differences(ranked, classifiers)}".strip()
    if drop:
        found["drop"] = {
            "lab": drop.lab,
            "field": drop.field,
            **asdict(drop.drop),
            "expected_by": drop.expected,
            "reasons": [account.name for account in named],
        }
        found["factors"] = [asdict(drop.accounts[at]) for at in order]
    return found


def _size(shift: Shift) -> float:
    return abs(shift.smd.estimate) if shift.smd else shift.tv.estimate if shift.tv else 0.0


# ------------------------------------------------------------------------------------------ verdict


def _on_drop(drop: Drop, named: Sequence[Account], shifts: Mapping[str, Shift]) -> list[str]:
    fell = f"{100 * drop.lab:.1f} % in the lab and {100 * drop.field:.1f} % in the field"
    if drop.drop.low <= 0:
        points = with_interval(drop.drop.estimate, asdict(drop.drop), "+")
        return [f"The run is right on {fell}: the difference, {points} points, is within chance, and needs no reason."]
    told = [f"The run is right on {fell}, a drop of {with_interval(drop.drop.estimate, asdict(drop.drop))} points."]
    if not named:
        return [*told, f"None of the {len(drop.accounts)} factors accounts for it: look for a reason not in the table."]
    first, *others = named
    share = f"{_percent(asdict(first.share))} % of the drop" if first.share else "the drop"
    told.append(f"First comes {first.name} ({_values(shifts[first.name])}): it accounts for {share}.")
    if first.uncovered >= 0.5:
        told.append(
            f"{100 * first.uncovered:.0f} % of the field's images lie outside what the lab has of it, so this is where "
            "the accuracy is lost, and no proof that it is why."
        )
    if first.only_a_name:
        told.append(f"It only says that the sets are two: nothing in the lab tells what another {first.name} does.")
    if others:
        several = ", ".join(account.name for account in others)
        told.append(f"As much goes with {several}, which cannot be told from it by accuracy.")
    return told


def _percent(share: Mapping[str, Any]) -> str:
    return f"{round(100 * share['estimate'])} [{round(100 * share['low'])}, {round(100 * share['high'])}]"


def _values(shift: Shift) -> str:
    return f"lab {shift.lab}, field {shift.field}"


def _on_differences(ranked: Sequence[Shift], classifiers: Mapping[str, Value]) -> str:
    best = max(classifiers.items(), key=lambda each: each[1].estimate)
    sure = [each for each in ranked if each.p_holm < SURE]
    told = ""
    if best[1].low > 0.5:
        told = f"A classifier tells lab from field by {best[0]}: {100 * best[1].estimate:.0f} % right, chance 50."
    if not sure:
        return f"{told} No factor differs beyond chance between lab and field.".strip()
    most = "; ".join(f"{each.name} ({_values(each)})" for each in sure[:NAMED])
    return f"{told} Lab and field differ in {counted(len(sure), 'factor')}, most in {most}.".strip()


# -------------------------------------------------------------------------------------------- tables


def shown(table: Mapping[str, Any]) -> list[tuple[list[str], list[list[str]]]]:
    """The tables of the drop, of the differences and of the classifiers, as (headings, rows)."""
    drop = ["factor", "accounts for, points", "% of the drop", "p (Holm)", "explained, points", "outside, points"]
    differs = ["differs in", "lab", "field", "told alone, %", "AUC", "SMD", "total variation", "p (Holm)"]
    return [
        ([*drop, "field outside, %"], [_account_line(each) for each in table["factors"]]),
        (differs, [_shift_line(each) for each in table["differences"]]),
        (
            ["lab told from field by", "balanced accuracy, %"],
            [[name, with_interval(value["estimate"], value)] for name, value in table["classifiers"].items()],
        ),
    ]


def _account_line(each: Mapping[str, Any]) -> list[str]:
    share = each["share"]
    return [
        each["name"],
        with_interval(each["accounted"]["estimate"], each["accounted"], "+"),
        "" if share is None else _percent(share),
        _p(each["p_holm"]),
        with_interval(each["explained"]["estimate"], each["explained"], "+"),
        f"{100 * each['outside']['estimate']:+.1f}" if each["uncovered"] else "",
        f"{100 * each['uncovered']:.0f}" + (" (a name)" if each["only_a_name"] else ""),
    ]


def _shift_line(each: Mapping[str, Any]) -> list[str]:
    return [
        each["name"],
        each["lab"],
        each["field"],
        with_interval(each["told"]["estimate"], each["told"]),
        _bounded(each["auc"], 2),
        _bounded(each["smd"], 2, "+"),
        _bounded(each["tv"], 2),
        _p(each["p_holm"]),
    ]


def _bounded(value: Mapping[str, Any] | None, digits: int, sign: str = "") -> str:
    if value is None:
        return ""
    low, high = (f"{value[end]:{sign}.{digits}f}" for end in ("low", "high"))
    return f"{value['estimate']:{sign}.{digits}f} [{low}, {high}]"


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def notes(table: Mapping[str, Any]) -> list[str]:
    """What has to be known to read the tables, a sentence each."""
    told: list[str] = []
    if table["drop"]:
        told.append(
            "Explained: the lab's accuracy less the same post-stratified to the field's shares of the factor. Outside: "
            f"the part of the drop at values that fewer than {LEAST} clusters of the lab have, or a share {THIN} times "
            "smaller than the field's; post-stratification cannot speak of them."
        )
        expected = table["drop"]["expected_by"]
        less = f", which {expected} is not known to explain," if expected else ""
        told.append(
            f"Accounts for: what is explained, and what falls outside{less} and, of a factor that only names the sets, "
            "is not outside another. Factors overlap, and do not add up. Those above zero come first; of those with "
            f"{100 * AS_MUCH:.0f} % of the most, the one farthest from the lab, in its standard deviations."
        )
    told.append(
        "Told alone: balanced accuracy of the factor alone, cross-validated, 50 is chance. AUC: the chance that a "
        "field image has more of it. SMD: difference of the means in standard deviations. All intervals are 95 %, over "
        "clusters; p by permutation of clusters, by Holm over all factors."
    )
    return told


# -------------------------------------------------------------------------------------------- figure


def figure(table: Mapping[str, Any]) -> str:
    """The figure, SVG: how well each factor tells the sets apart, and what it accounts for of the drop."""
    factors, told = table["factors"], {each["name"]: each for each in table["differences"]}
    names = [each["name"] for each in (factors or table["differences"])][:BARS]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 2 if factors else 1, sharey=True, squeeze=False, gridspec_kw={"wspace": 0.1})[0]
        for at, name in enumerate(names):
            _interval(panels[0], at, told[name]["told"], told[name]["p_holm"] < SURE)
            if factors:
                _interval(panels[1], at, factors[at]["accounted"], factors[at]["p_holm"] < SURE)
                panels[1].plot([100 * factors[at]["explained"]["estimate"]], [at], "|", color=ORANGE, markersize=10)
        panels[0].axvline(50, color=RULE, linewidth=0.8)
        panels[0].set(xlabel="told alone, % (chance 50)", ylim=(len(names) - 0.5, -0.5))
        panels[0].set_yticks(range(len(names)), labels(names))
        if factors:
            panels[1].axvline(0, color=RULE, linewidth=0.8)
            panels[1].axvline(100 * table["drop"]["estimate"], color=RULE, linewidth=0.8, linestyle="dashed")
            panels[1].set(xlabel="accounts for, points\n(dashed: the drop; | explained)")
        for axes in panels:
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", color=RULE, alpha=0.3, linewidth=0.5)
            axes.spines["left"].set_visible(False)

    return svg_file(table["verdict"], (520 if factors else 260, 20 * len(names) + 10), draw)


def _interval(axes: Axes, at: int, value: Mapping[str, Any], filled: bool) -> None:
    """A point with its interval, filled where Holm's p says that it is no chance."""
    axes.plot([100 * value["low"], 100 * value["high"]], [at, at], color=BLUE, linewidth=1.5)
    point = 100 * value["estimate"]
    axes.plot([point], [at], "o", color=BLUE, markerfacecolor=BLUE if filled else "white", markersize=6)
