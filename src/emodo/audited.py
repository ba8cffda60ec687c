"""What an audit says: its ranking, its verdict in plain words, and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from emodo import tabular
from emodo.tabular import Rows, counted

SURE = 0.05  # Holm's p below which a column goes with the emotion beyond chance
FEW = 8  # clusters: with fewer, no column of several can be told from chance
SHOWN = 3  # biased columns whose cells are printed, the first column in any case; the written page has all
LONGEST = 15  # strata in a table
WIDEST = 12  # emotions in a table

Tables = list[tuple[Sequence[str], Rows]]


def danger(column: dict[str, Any]) -> float:
    """How dangerous a column is: Cramer's V, times how well the image tells the stratum, where images were looked at.

    A model that cheats has to do two things: read the stratum in the image, then go from the stratum to the emotion.
    Each is of no use without the other, so the two measures are multiplied: 0 where either is impossible, 1 where both
    are certain. The second is (accuracy - chance) / (1 - chance), not below 0. A column whose strata could not be told
    because each was seen in one cluster alone counts as told: nothing speaks against it.
    """
    value, image = column["association"]["cramers_v"]["value"], column["image"]
    if image is None:
        return value
    return value * max(0.0, (image["accuracy"] - image["chance"]) / (1 - image["chance"]))


def ranked(columns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The columns that go with the emotion beyond chance first, then by danger, then by Cramer's V."""
    return sorted(
        columns,
        key=lambda one: (
            not one["biased"],
            -one["danger"],
            -one["association"]["cramers_v"]["value"],
            one["column"],
        ),
    )


def verdict(result: dict[str, Any]) -> str:
    """One sentence on what a model could cheat with."""
    biased = [one for one in result["columns"] if one["biased"]]
    if not biased:
        told = f"no column goes with the emotion beyond chance ({counted(len(result['columns']), 'column')}, "
        told += f"{counted(result['clusters'], _word(result))})"
        return told + (": so few could not show that any does" if result["clusters"] < FEW else "")
    first = biased[0]
    v = first["association"]["cramers_v"]
    told = f"Cramer's V {_between(v, 2)}, p {_p(first['association']['p_holm'])}"
    others = ", ".join(one["column"] for one in biased[1:])
    after = f"; {others} {'goes' if len(biased) == 2 else 'go'} with the emotion too" if others else ""
    image = first["image"]
    if image is None:
        seen = "the image was not asked" if result["images"] is None else "the image could not be asked"
        return f"{first['column']} is the most dangerous: it goes with the emotion ({told}); {seen} for it{after}"
    right = f"{100 * image['accuracy']:.0f} % right, by chance {100 * image['chance']:.0f}"
    if image["low"] <= image["chance"]:
        return (
            f"{first['column']} goes with the emotion ({told}), but these features do not tell it from the image "
            f"({right}){after}"
        )
    return (
        f"{first['column']} is the most dangerous: it goes with the emotion ({told}), and the image tells it "
        f"({right}){after}"
    )


def _word(result: dict[str, Any]) -> str:
    return {"subject": "subject", "sequence": "sequence", "image": "image"}[result["cluster"]]


# --------------------------------------------------------------------------------------------- tables


def _first(result: dict[str, Any], every: bool) -> list[dict[str, Any]]:
    biased = sum(one["biased"] for one in result["columns"])
    return result["columns"] if every else result["columns"][: min(max(1, biased), SHOWN)]


def tables(result: dict[str, Any], every: bool = False) -> Tables:
    """The ranking, what is known of its first columns, or of `every` one, and the columns that were skipped."""
    found: Tables = [_ranking(result["columns"])]
    for one in _first(result, every):
        found += [_cells(one, list(result["emotions"])), _told(one), _entropies(one)]
    found.append((["skipped", "why"], [[each["column"], each["why"]] for each in result["skipped"]]))
    return found


def _ranking(columns: Sequence[dict[str, Any]]) -> tuple[Sequence[str], Rows]:
    rows: list[list[str]] = []
    for one in columns:
        found, bayes, image, worst = one["association"], one["bayes"], one["image"], one["gaps"]["worst"]
        told = ""
        if image is not None:
            right, low, high, chance = (100 * image[key] for key in ("accuracy", "low", "high", "chance"))
            told = f"{right:.0f} [{low:.0f}, {high:.0f}] ({chance:.0f})"
        rows.append(
            [
                one["column"],
                str(len(one["strata"])),
                f"{one['danger']:.2f}",
                _between(found["cramers_v"], 2),
                _p(found["p_holm"]),
                _between(found["conditional_entropy"], 2),
                f"{100 * bayes['accuracy']:.0f} ({100 * bayes['majority']:.0f})",
                told,
                f"{one['gaps']['empty']}/{one['gaps']['cells']}",
                f"{worst['emotion']} x {worst['stratum']}: {worst['images']} of {worst['expected']:.0f}",
            ]
        )
    head = "column,strata,danger,Cramer's V,p (Holm),entropy left,emotion from it,told by the image,empty,worst cell"
    return head.split(","), rows


def _cells(one: dict[str, Any], emotions: list[str]) -> tuple[Sequence[str], Rows]:
    order = sorted(range(len(one["strata"])), key=lambda d: -one["importance"][d])
    if one["binned"]:
        order.sort()
    wide = len(emotions) > WIDEST
    rows: list[list[str]] = []
    for d in order[:LONGEST]:
        counts = one["counts"][d]
        top = max(range(len(counts)), key=counts.__getitem__)
        cells = [str(n) for n in counts]
        if wide:
            cells = [f"{emotions[top]} {100 * one['given'][d][top]:.0f} %", str(counts.count(0))]
        share = one["rows"][d] / sum(one["rows"])
        rows.append([one["strata"][d], *cells, str(one["rows"][d]), f"{share:.3f}", f"{one['importance'][d]:.4f}"])
    if len(order) > LONGEST:
        rows.append([f"... and {len(order) - LONGEST} more", *[""] * (len(rows[0]) - 1)])
    return [one["column"], *(["most frequent", "empty"] if wide else emotions), "rows", "P(d)", "importance"], rows


def _told(one: dict[str, Any]) -> tuple[Sequence[str], Rows]:
    image = one["image"]
    if image is None or len(image["strata"]) > WIDEST:
        return [], []
    pairs = zip(image["strata"], image["confusion"], strict=True)
    return [f"{one['column']}, true: told", *image["strata"]], [[name, *map(str, row)] for name, row in pairs]


def _entropies(one: dict[str, Any]) -> tuple[Sequence[str], Rows]:
    rows = [
        [emotion, str(each["strata"]), f"{100 * each['zero']:.0f} %", f"{each['mean']:.2f}"]
        for emotion, each in one["entropies"].items()
    ]
    return [f"strata of {one['column']} by emotion (CCIM)", "strata", "of entropy 0", "mean entropy"], rows


def notes(result: dict[str, Any], every: bool = False) -> list[str]:
    """What has to be known to read the tables, what can be done, and what leaks."""
    found = list(result["notes"])
    for one in _first(result, every):
        if one["gaps"]["thin"]:
            lacks = [
                f"{gap['missing']} of {gap['emotion']} x {gap['stratum']}" for gap in one["gaps"]["gaps"][:LONGEST]
            ]
            more = len(one["gaps"]["gaps"]) - LONGEST
            listed = ", ".join(lacks) + (f" and {more} cells more" if more > 0 else "")
            found.append(f"{one['column']}: {counted(one['gaps']['missing'], 'image')} missing: {listed}")
        found.append(f"{one['column']}: possible are {', '.join(one['methods']['possible']) or 'no methods'}")
        for group in one["methods"]["impossible"]:
            found.append(f"{one['column']}: not {', '.join(group['methods'])}: {group['why']}")
    leaks = [leak["said"] for leak in result["leakage"] if leak["rows"]]
    looked = ", ".join(leak["gate"] for leak in result["leakage"])
    return found + (leaks or ([f"nothing leaks, by these gates: {looked}"] if looked else []))


def page(result: dict[str, Any]) -> str:
    """The audit as Markdown, in which nothing that the manifest holds is taken for HTML."""
    shown: Tables = [
        ([escape(cell, quote=False) for cell in head], [[escape(cell, quote=False) for cell in row] for row in body])
        for head, body in tables(result, every=True)
        if body
    ]
    said = [escape(note, quote=False) for note in notes(result, every=True)]
    name = escape(" ".join(result["manifest"].split()), quote=False)
    return f"# {name}\n\n**{escape(result['verdict'], quote=False)}**\n\n" + tabular.markdown(shown, said)


def _between(estimate: dict[str, Any], digits: int) -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    return f"{value:.{digits}f}" + ("" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]")


def _p(p: float | None) -> str:
    return "unknown" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
