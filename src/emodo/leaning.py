"""What a model's answers owe to what was done to the images: flips, accuracy, effect sizes, with intervals; a verdict.

Nothing is looked at here but answers: which images, models and interventions they came from is somebody else's matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from emodo.interventions import CONTROL, INTERVENTIONS, Dose
from emodo.statistics import LEVEL, ROUNDING, Difference, differences, holm

LEAST = 0.05  # share of the answers that has to change more than in the mirror, to be called leaning
CERTAIN = 0.05  # Holm's p below which it is no chance
INFORMATIVE = {
    "gray": "colour",
    "brightness": "how bright the image is",
    "background": "the background",
    "blur": "fine detail",
}
DISTURBING = {"noise": "noise", "compression": "compression"}


@dataclass(frozen=True)
class Images:
    """The N images that were answered for: what is right, what belongs together, and how they are grouped.

    emotion: [N] int, into `emotions`. cluster: [N] int, images that fail together. stratum: [N] int, into `strata`, -1
    where unknown. boxed: [N] bool, whether the person's box is known; None where it is of all. What needs a box counts
    the images that have one.
    """

    emotions: tuple[str, ...]
    emotion: np.ndarray
    cluster: np.ndarray
    strata: tuple[str, ...]
    stratum: np.ndarray
    boxed: np.ndarray | None = None

    @property
    def with_box(self) -> Images:
        """Those whose box is known."""
        return self if self.boxed is None else self.only(self.boxed)

    def only(self, rows: np.ndarray) -> Images:
        """Some of them, [N] bool, all of which have what is asked for."""
        return replace(
            self, emotion=self.emotion[rows], cluster=self.cluster[rows], stratum=self.stratum[rows], boxed=None
        )

    @property
    def most_frequent(self) -> tuple[str, float]:
        """The emotion that most images show, and their share: what always answering it would be right on."""
        counts = np.bincount(self.emotion, minlength=len(self.emotions))
        return self.emotions[int(counts.argmax())], float(counts.max() / counts.sum())


def table(
    names: Sequence[str],
    alone: Sequence[bool],
    answers: Sequence[np.ndarray],
    doses: Sequence[Dose],
    images: Images,
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """All that is found of M models, and of every further one against the first.

    names: [M]. alone: [M], whether a model sees the person's box and nothing else. answers: [M] of what `measure`
    takes. Returns `emotions`, `most_frequent` {emotion, share}, `doses`, `models` and `comparisons`.
    """
    emotion, share = images.most_frequent
    needs_box = any(INTERVENTIONS[name].boxed for name, _ in doses)
    chance = images.with_box.most_frequent if needs_box else (emotion, share)
    models: list[dict[str, Any]] = []
    for name, cropped, p in zip(names, alone, answers, strict=True):
        measured = measure(p, doses, images, replicates, seed)
        found = findings(measured, chance, cropped)
        models.append({"name": name, "verdict": verdict(name, measured, found), "findings": found} | measured)
    comparisons: list[dict[str, Any]] = []
    for model, p in zip(models[1:], answers[1:], strict=True):
        pairs = compare(p, answers[0], doses, images, replicates, seed)
        said = compared(model["name"], names[0], list(zip(model["doses"], models[0]["doses"], strict=True)), pairs)
        comparisons.append({"model": model["name"], "baseline": names[0], "said": said, "doses": pairs})
    return {
        "emotions": list(images.emotions),
        "most_frequent": {"emotion": emotion, "share": share},
        "doses": [{"intervention": name, "strength": strength} for name, strength in doses],
        "models": models,
        "comparisons": comparisons,
    }


def measure(p: np.ndarray, doses: Sequence[Dose], images: Images, replicates: int, seed: int) -> dict[str, Any]:
    """One model's answers before and after each dose.

    p: [1 + doses, N, E], probabilities; the first are those for the images as they are. Shares are fractions. Returns

        accuracy, emotions, strata   before: {n, value, low, high}, of all, by emotion and by stratum
        doses                        a row a dose: intervention, strength, and of all images, or of the n with a box
            flip       share of the images whose answer changes
            shift      mean total variation between p before and after, half the sum of the absolute differences
            after      accuracy afterwards
            change     of the accuracy, paired: {estimate, low, high, p, p_holm}; Holm's over all doses
            effect     the same standardised: mean of (right after - right before) by its deviation over images, Cohen's
                       d_z; 0 where nothing changed, None where every image changed alike
            lost, gained   images that were right before only, or afterwards only
            excess     flips less those in the mirror, paired: {estimate, low, high, p, p_holm}; None for the mirror,
                       and for the mask, which takes away what should be answered for
            emotions, strata   {name: {n, flip, shift, before, after, change, effect}}

    Intervals are of 95 %, by a bootstrap over clusters (`statistics.differences`), with Student's t; those of shares
    are put within 0 to 1 by `within`. None where fewer than two clusters say anything.
    """
    answer = p.argmax(axis=2)  # [1 + doses, N]
    right = (answer == images.emotion).astype(float)
    flips = (answer[1:] != answer[0]).astype(float)
    shifts = np.abs(p[1:] - p[0]).sum(axis=2) / 2
    changes = right[1:] - right[0]
    control = [name for name, _ in doses].index(CONTROL)
    values = {"right": right, "flip": flips, "shift": shifts, "change": changes, "excess": flips - flips[control]}
    every = _of_doses(values, doses, images, replicates, seed)
    found = every[control]  # of all images
    rows: list[dict[str, Any]] = [
        {"intervention": name, "strength": strength}
        | of.of(at, None)
        | {"lost": int((of.values["change"][at] < 0).sum()), "gained": int((of.values["change"][at] > 0).sum())}
        | {"excess": of.difference("excess", at, None) if _compared(name) else None}
        | {
            part: {each: of.of(at, (part, each)) for each in names if of.member(part, each).any()}
            for part, names in (("emotions", images.emotions), ("strata", images.strata))
        }
        for at, ((name, strength), of) in enumerate(zip(doses, every, strict=True))
    ]
    for key in ("change", "excess"):
        correct([row[key] for row in rows])
    return {
        "accuracy": found.share("right", 0, None),
        "emotions": {
            each: found.share("right", 0, ("emotions", each))
            for each in images.emotions
            if found.member("emotions", each).any()
        },
        "strata": {
            each: found.share("right", 0, ("strata", each))
            for each in images.strata
            if found.member("strata", each).any()
        },
        "doses": rows,
    }


def compare(
    p: np.ndarray, baseline: np.ndarray, doses: Sequence[Dose], images: Images, replicates: int, seed: int
) -> list[dict[str, Any]]:
    """What a dose does to a model less what it does to the baseline, on the same images, a row a dose.

    p, baseline: as in `measure`. Returns {intervention, strength, flip, change} each, the last two as {estimate, low,
    high, p, p_holm}: of the share of flips, and of the change of accuracy. Holm's p is over all doses.
    """
    flips, changes = np.zeros((2, len(doses), len(images.emotion)))
    for sign, each in ((1, p), (-1, baseline)):
        answer = each.argmax(axis=2)
        right = (answer == images.emotion).astype(float)
        flips += sign * (answer[1:] != answer[0])
        changes += sign * (right[1:] - right[0])
    every = _of_doses({"flip": flips, "change": changes}, doses, images, replicates, seed)
    rows: list[dict[str, Any]] = [
        {"intervention": name, "strength": strength}
        | {key: found.difference(key, at, None) for key in ("flip", "change")}
        for at, ((name, strength), found) in enumerate(zip(doses, every, strict=True))
    ]
    for key in ("flip", "change"):
        correct([row[key] for row in rows])
    return rows


def correct(found: Sequence[dict[str, Any] | None]) -> None:
    """Put Holm's p over all of them beside each p; what has none is left out."""
    known = [each for each in found if each is not None and each["p"] is not None]
    for each, p in zip(known, holm([each["p"] for each in known]), strict=True):
        each["p_holm"] = p


def within(value: float, reach: float, clusters: int) -> tuple[float, float]:
    """An interval of a share that stays within 0 to 1: Wilson's, as wide as the bootstrap says.

    value: the share. reach: half of its symmetric interval, Student's t times the error. Wilson's interval of n
    independent images depends on t^2 / n alone, and the error says which n this is worth: reach^2 = t^2 value (1 -
    value) / n. Where all images agree the bootstrap says nothing, and n is the number of clusters: no flip among three
    people does not mean that there never is one.
    """
    variance = value * (1 - value)
    if reach < ROUNDING or variance < ROUNDING:
        a = float(stats.t.ppf((1 + LEVEL) / 2, clusters - 1)) ** 2 / clusters
    else:
        a = reach**2 / variance
    half = (variance * a + a**2 / 4) ** 0.5
    return max(0.0, (value + a / 2 - half) / (1 + a)), min(1.0, (value + a / 2 + half) / (1 + a))


def _compared(name: str) -> bool:
    return name not in (CONTROL, "mask")


Group = tuple[str, str] | None
"""`emotions` or `strata` and the name of one; all images where None."""


class _Found:
    """Numbers of every image, [rows, N] by name, and their means over groups with intervals, all from one bootstrap."""

    def __init__(self, values: Mapping[str, np.ndarray], images: Images, replicates: int, seed: int) -> None:
        self.values, self.images = values, images
        self.start = dict(zip(values, 1 + np.cumsum([0, *map(len, values.values())]), strict=False))
        nothing = np.zeros((1, len(images.emotion)))
        listed = [nothing, *(row[None] for rows in values.values() for row in rows)]
        self.found = {
            part: differences(listed, 0, images.cluster, group, len(names), replicates, seed)
            for part, group, names in (
                ("emotions", images.emotion, images.emotions),
                ("strata", images.stratum, images.strata),
            )
        }

    def member(self, part: str, name: str) -> np.ndarray:
        group, names = (
            (self.images.emotion, self.images.emotions)
            if part == "emotions"
            else (self.images.stratum, self.images.strata)
        )
        return group == names.index(name)

    def _mean(self, key: str, at: int, group: Group) -> tuple[np.ndarray, Difference | None, int]:
        """The values of the group, the mean with its interval, and the number of clusters."""
        rows = np.ones(len(self.images.cluster), bool) if group is None else self.member(*group)
        part, place = ("emotions", 0) if group is None else (group[0], 1)
        if group is not None:
            place += (self.images.emotions if part == "emotions" else self.images.strata).index(group[1])
        found = self.found[part][self.start[key] + at][place]
        return self.values[key][at][rows], found, len(np.unique(self.images.cluster[rows]))

    def share(self, key: str, at: int, group: Group) -> dict[str, Any]:
        """A share of the group's images, {n, value, low, high}."""
        values, found, clusters = self._mean(key, at, group)
        value = float(values.mean())
        low, high = (None, None) if found is None else within(value, (found.high - found.low) / 2, clusters)
        return {"n": len(values), "value": value, "low": low, "high": high}

    def difference(self, key: str, at: int, group: Group) -> dict[str, Any]:
        """A paired difference, {estimate, low, high, p}."""
        values, found, _ = self._mean(key, at, group)
        if found is None:
            return {"estimate": float(values.mean()), "low": None, "high": None, "p": None}
        return {"estimate": found.estimate, "low": found.low, "high": found.high, "p": found.p}

    def of(self, at: int, group: Group) -> dict[str, Any]:
        """All of a dose in a group."""
        change = self.difference("change", at, group)
        return {
            "n": len(self._mean("change", at, group)[0]),
            "flip": self.share("flip", at, group),
            "shift": self.share("shift", at, group),
            "before": self.share("right", 0, group),
            "after": self.share("right", 1 + at, group),
            "change": change,
            "effect": self._standardised(change, self._mean("change", at, group)[0]),
        }

    def _standardised(self, change: Mapping[str, Any], values: np.ndarray) -> dict[str, Any]:
        """d_z and its interval, which is that of the change in the same unit."""
        deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        if deviation < ROUNDING:
            none = None if values.any() else 0.0
            return {"estimate": none, "low": none, "high": none}
        return {key: None if change[key] is None else change[key] / deviation for key in ("estimate", "low", "high")}


def _of_doses(
    values: Mapping[str, np.ndarray], doses: Sequence[Dose], images: Images, replicates: int, seed: int
) -> list[_Found]:
    """For each dose, the numbers of the images that it was done to: all, or those with a box."""
    found = part = _Found(values, images, replicates, seed)
    if images.boxed is not None and any(INTERVENTIONS[name].boxed for name, _ in doses):
        of_part = {key: rows[:, images.boxed] for key, rows in values.items()}
        part = _Found(of_part, images.with_box, replicates, seed)
    return [part if INTERVENTIONS[name].boxed else found for name, _ in doses]


# ------------------------------------------------------------------------------------------ in words


def leans(row: Mapping[str, Any]) -> bool:
    """Whether a dose changes at least 5 % more of the answers than the mirror does, and that is no chance."""
    excess = row["excess"]
    return excess is not None and excess["estimate"] >= LEAST and _certain(excess)


def _certain(found: Mapping[str, Any]) -> bool:
    return found.get("p_holm", 1.0) < CERTAIN


def findings(measured: Mapping[str, Any], chance: tuple[str, float], person_seen_alone: bool) -> list[dict[str, Any]]:
    """What a model leans on, {kind, what, intervention, strength, flip, said} each; of a kind, most flips first.

    leans    an intervention that takes something away changes at least 5 % more of the answers than the mirror does,
             with Holm's p below 0.05, at some strength; the last of these is told, and the first. Whether accuracy
             falls does not matter: an answer that goes with the colour leans on the colour, be it right or wrong
    upset    the same of noise and compression, which add something
    surroundings   with the person masked, accuracy is certainly above that of always answering one emotion
    unstable       the mirror changes certainly more than 5 % of the answers

    chance: `Images.most_frequent`, of those with a box. person_seen_alone: the model sees the person's box and nothing
    else.
    """
    rows = measured["doses"]
    told: list[dict[str, Any]] = []
    for name, what in {**INFORMATIVE, **DISTURBING}.items():
        found = [row for row in rows if row["intervention"] == name and leans(row)]
        if found:
            row, kind = found[-1], "leans" if name in INFORMATIVE else "upset"
            early = f" (already {found[0]['strength']:g}: {100 * found[0]['flip']['value']:.1f} %)" * (len(found) > 1)
            said = f"{_dose(row)} changes {_percent(row['flip'])} of its answers{early}{_cost(row)}"
            told.append(_finding(kind, what, row, said))
    told.sort(key=lambda each: (each["kind"] != "leans", -each["flip"]))
    for row in rows:
        if row["intervention"] == "mask" and row["strength"] == 1 and not person_seen_alone:
            after = row["after"]
            if after["low"] is not None and after["low"] > chance[1]:
                said = (
                    f"with the person masked it is right on {_percent(after)}, where always answering {chance[0]} "
                    f"would be right on {100 * chance[1]:.1f} %"
                )
                told.append(_finding("surroundings", "the surroundings", row, said))
        if row["intervention"] == CONTROL and row["flip"]["low"] is not None and row["flip"]["low"] > LEAST:
            said = f"the mirror image alone changes {_percent(row['flip'])} of its answers"
            told.append(_finding("unstable", "the mirror image", row, said))
    return told


VERBS = {"leans": "leans on", "upset": "is upset by", "surroundings": "reads", "unstable": "is unstable under"}


def _finding(kind: str, what: str, row: Mapping[str, Any], said: str) -> dict[str, Any]:
    told = {"kind": kind, "what": what, "intervention": row["intervention"], "strength": row["strength"]}
    return told | {"flip": row["flip"]["value"], "said": said}


def verdict(name: str, measured: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> str:
    """What `findings` found of a model, as one sentence."""
    probed = {row["intervention"] for row in measured["doses"] if row["excess"] and row["excess"]["p"] is not None}
    if not probed and any(row["excess"] for row in measured["doses"]):
        return f"Nothing can be said of {name}: all images belong to one sequence or person."
    clear = [
        what
        for each, what in {**INFORMATIVE, **DISTURBING}.items()
        if each in probed and each not in {finding["intervention"] for finding in found}
    ]
    if not found:
        return f"{name} shows no sign of leaning on {', '.join(clear) or 'anything'}."
    said = "; it ".join(f"{VERBS[each['kind']]} {each['what']}: {each['said']}" for each in found)
    return f"{name} {said}{f'; no sign of {_listed(clear)}' if clear else ''}."


def compared(
    name: str,
    baseline: str,
    rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    pairs: Sequence[Mapping[str, Any]],
) -> list[str]:
    """How a model differs from the baseline where either leans, a sentence each, at the strongest such strength.

    rows: doses of the model and of the baseline side by side. pairs: what `compare` found of them.
    """
    told: dict[str, str] = {}
    for (own, other), pair in zip(rows, pairs, strict=True):
        if not (leans(own) or leans(other)):
            continue
        what = {**INFORMATIVE, **DISTURBING}[pair["intervention"]]
        verb = "leans {} on" if pair["intervention"] in INFORMATIVE else "is {} upset by"
        more = "less" if pair["flip"]["estimate"] < 0 else "more"
        told[pair["intervention"]] = (
            (
                f"{name} {verb.format(more)} {what} than {baseline}"
                if _certain(pair["flip"])
                else f"{name} and {baseline} cannot be told apart on {what}"
            )
            + f": {_dose(pair)} changes {_percent(own['flip'])} and {_percent(other['flip'])} of the answers, "
            f"{_points(pair['flip'])} points; accuracy changes by {_points(own['change'])} and "
            f"{_points(other['change'])} points, {_points(pair['change'])} between them."
        )
    return list(told.values())


def _dose(row: Mapping[str, Any]) -> str:
    return f"{row['intervention']} {row['strength']:g}"


def _cost(row: Mapping[str, Any]) -> str:
    change = row["change"]
    points = 100 * abs(change["estimate"])
    interval = f"[{100 * change['low']:+.1f}, {100 * change['high']:+.1f}]"
    if not _certain(change):
        return f" and its accuracy by {100 * change['estimate']:+.1f} points {interval}, which may be chance"
    return f" and {'costs' if change['estimate'] < 0 else 'gains'} {points:.1f} points of accuracy {interval}"


def _percent(share: Mapping[str, Any]) -> str:
    return f"{100 * share['value']:.1f} %" + _interval(share, "")


def _points(found: Mapping[str, Any]) -> str:
    return f"{100 * found['estimate']:+.1f}" + _interval(found, "+")


def _interval(found: Mapping[str, Any], sign: str) -> str:
    if found["low"] is None:
        return ""
    return f" [{100 * found['low']:{sign}.1f}, {100 * found['high']:{sign}.1f}]"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
