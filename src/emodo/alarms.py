"""Which windows have drifted, from what they were counted as: the numbers, the sentences, the tables.

The rules, as docs/monitor.md tells them to readers:

- A quantity of a window drifts where Holm's p, over all quantities of all windows, is below 0.01, and the total
  variation from the test rows is 0.1 or more: a tenth of the images have another value. Of a million images every
  difference is beyond chance, and few matter. 0.01 and not 0.05, since who asks every day would have a false alarm
  every month.
- A window without drift is "too few" where its predicted emotions would be 0.1 away by chance alone.
- Sentences name the windows in which a quantity drifts, and the value whose share has changed most. The quantity that
  lies farthest comes first; confidence and disagreement, which follow from others, come last. The drift of one stratum
  is told where it lies 0.05 farther than that of all together.
- Another mix of strata accounts for a drift, or other emotions in the images do, where the test rows, re-weighted as
  the window looks, lie less than half as far from it as before; if both do, the one that leaves less than 2/3 of the
  other. What is compared is the predicted emotion together with the stratum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from emodo.calibration import wilson
from emodo.claims import listed
from emodo.drift import Sample, Share, distance, mix, mixture
from emodo.profiles import CELLS, OTHER, Reference
from emodo.statistics import holm
from emodo.tabular import Rows, counted
from emodo.windows import Counted

SURE = 0.01  # Holm's p below which a difference is beyond chance
EFFECT = 0.1  # total variation below which nothing is called drift
BROKEN = 0.05  # share of images with an error that is worth a sentence
FARTHER = 0.05  # by how much the drift of a stratum must exceed that of all to be told
HALF, CLEARLY = 1 / 2, 2 / 3  # of a distance, that an explanation may leave; of what another leaves
STRATA, EMOTIONS, EITHER, NEITHER = "strata", "emotions", "either", "neither"
LAST = ("confidence", "disagreement")  # quantities
DRIFT, NONE, FEW = "drift", "no drift", "too few"
Table = dict[str, Any]


def judged(reference: Reference, windows: Sequence[Counted], seed: int = 0) -> Table:
    """Compare every window with the reference: all numbers, as monitor.json holds them, without sentences.

    A window: {name, images, errors, missing, clusters, verdict, quantities, strata, explained}, where a quantity is
    {images, shares, tv, by_chance, p, p_holm, drift, most: {value, before, after}}, with None for what few images do
    not tell; strata: {S: {estimate, low, high}} or None; explained: see `_explained`, of a window with drift, or None.
    """
    profile, base = reference.profile, reference.samples
    rows: list[Table] = []
    every: list[Mapping[str, Sample]] = []
    for window in windows:
        samples = {name: sample for name, sample in window.tally.samples().items() if name in base}
        quantities = {
            name: _quantity(profile.values(name), base[name], sample)
            for name, sample in samples.items()
            if sample.n and name not in CELLS.values()
        }
        every.append(samples)
        counts = samples["emotion"] if "emotion" in samples else Sample(np.zeros(len(profile.task.emotions), int))
        rows.append(
            {
                "name": window.window.name,
                "images": window.rows,
                "errors": window.errors,
                "missing": window.missing,
                "clusters": counts.n if counts.clusters is None else counts.clusters,
                "quantities": quantities,
                "strata": _strata(reference, samples, seed),
            }
        )
    tested = [found for row in rows for found in row["quantities"].values() if found["p"] is not None]
    for found, corrected in zip(tested, holm([found["p"] for found in tested]), strict=True):
        found["p_holm"], found["drift"] = corrected, corrected < SURE and found["tv"] >= EFFECT
    for row, samples in zip(rows, every, strict=True):
        emotion = row["quantities"].get("emotion")
        seen = emotion is not None and emotion["p"] is not None and emotion["by_chance"] <= EFFECT
        drifts = any(found["drift"] for found in row["quantities"].values())
        row["verdict"] = DRIFT if drifts else NONE if seen else FEW
        row["explained"] = _explained(reference, samples) if drifts else None
        if row["explained"] and row["explained"]["by"] == EMOTIONS and "stratum" not in row["quantities"]:
            row["strata"] = None  # other emotions look like other strata
    return {
        "reference": {
            "images": reference.rows,
            "worth": base["emotion"].worth,
            "cluster": reference.cluster,
            "strata_told": reference.accuracy and {"accuracy": reference.accuracy[0], "low": reference.accuracy[1]},
            "shares": {
                name: _shares(profile.values(name), sample)
                for name, sample in base.items()
                if name not in CELLS.values()
            },
        },
        "windows": rows,
        "drift": [row["name"] for row in rows if row["verdict"] == DRIFT],
    }


def _shares(values: Sequence[str], sample: Sample) -> dict[str, float]:
    return dict(zip(values, sample.shares.tolist(), strict=True))


def _quantity(values: Sequence[str], base: Sample, sample: Sample) -> Table:
    found = distance(base, sample)
    at = int(np.abs(sample.shares - base.shares).argmax())
    return {
        "images": sample.n,
        "shares": _shares(values, sample),
        **(vars(found) if found else dict.fromkeys(("tv", "by_chance", "p"))),
        "p_holm": None,
        "drift": False,
        "most": {"value": values[at], "before": float(base.shares[at]), "after": float(sample.shares[at])},
    }


def _strata(reference: Reference, samples: Mapping[str, Sample], seed: int) -> Table | None:
    """The mix of strata of a window, as its table names them or as its answers look; None where neither is known."""
    task = reference.profile.task
    if "stratum" in samples and samples["stratum"].n:
        known = samples["stratum"]
        values = zip((*task.strata, OTHER), known.shares.tolist(), strict=True)
        return {name: vars(Share(share, *wilson(share, known.worth))) for name, share in values}
    if "looks like" in samples and samples["looks like"].n:
        shares = mix(samples["looks like"], reference.confused, seed=seed)
        names = reference.profile.values("looks like")
        return {name: vars(share) for name, share in zip(names, shares, strict=True)}
    return None


def _explained(reference: Reference, samples: Mapping[str, Sample]) -> Table | None:
    """What accounts for a window's drift: {by, before, strata, emotions}; None where no stratum is known or told.

    before: the total variation of emotion and stratum together from the test rows; strata, emotions: what is left of it
    when these are re-weighted by their strata, or by their true emotions, as fits best; by: which of the two does.
    """
    cells = next((name for name in CELLS.values() if name in samples and samples[name].n), None)
    if cells is None:
        return None
    shares = samples[cells].shares
    given = [reference.samples[cells].shares, *(mixture(shares, of) @ of for of in reference.cells[cells])]
    before, strata, emotions = (float(np.abs(shares - each).sum() / 2) for each in given)
    fits = [left < HALF * before for left in (strata, emotions)]
    if all(fits) and min(strata, emotions) >= CLEARLY * max(strata, emotions):
        by = EITHER
    elif any(fits):
        by = STRATA if strata < emotions else EMOTIONS
    else:
        by = NEITHER
    return {"by": by, "before": before, "strata": strata, "emotions": emotions}


# ------------------------------------------------------------------------------------------- sentences


def sentences(table: Table) -> list[str]:
    """What a table says, the farthest drift first."""
    windows = table["windows"]
    drifting: dict[str, list[int]] = {}
    for at, row in enumerate(windows):
        for name, found in row["quantities"].items():
            if found["drift"]:
                drifting.setdefault(name, []).append(at)

    def farthest(name: str) -> int:
        return max(drifting[name], key=lambda at: windows[at]["quantities"][name]["tv"])

    def of_all(name: str) -> bool:
        """Whether the drift of a stratum is but that of all."""
        found = windows[farthest(name)]["quantities"]
        part, whole = found[name], found.get(name.partition(" ")[0])
        return whole is not None and whole is not part and whole["drift"] and part["tv"] < whole["tv"] + FARTHER

    def rank(name: str) -> tuple[bool, float]:
        return name.startswith(LAST), -windows[farthest(name)]["quantities"][name]["tv"]

    told = [name for name in sorted(drifting, key=rank) if not of_all(name)]
    said = [_sentence(name, windows, drifting[name], farthest(name)) for name in told]
    explained = [row for row in windows if row["explained"]]
    if explained:
        said.append(_account(max(explained, key=lambda row: row["explained"]["before"])))
    seen = [row["name"] for row in windows if row["verdict"] == NONE]
    few = [row["name"] for row in windows if row["verdict"] == FEW]
    if not drifting and seen:
        said.append(f"No drift is found in {_windows(seen)}.")
    if few:
        small = table["reference"]["worth"] < min(row["images"] for row in windows if row["verdict"] == FEW)
        why = (
            "the run's test rows are too few"
            if small
            else f"{'it has' if len(few) == 1 else 'they have'} too few images"
        )
        said.append(f"Nothing can be said of {_windows(few)}: {why}.")
    for row in windows:
        if row["errors"] >= BROKEN * max(row["images"], 1) and row["errors"]:
            share = _percent(row["errors"] / row["images"])
            said.append(f"{row['name']}: {share} of the images have an error and no prediction.")
    return said


def _sentence(name: str, windows: Sequence[Table], where: Sequence[int], farthest: int) -> str:
    found = windows[farthest]["quantities"][name]
    most = found["most"]
    when = f", most in {windows[farthest]['name']}" if len(where) > 1 else ""
    return (
        f"{_called(name)} differs from the test rows {_when(where, windows)}{when}: {most['value']} "
        f"{_percent(most['before'])} -> {_percent(most['after'])}, total variation {found['tv']:.2f} (by chance "
        f"{found['by_chance']:.2f}), p {written(found['p_holm'])}."
    )


def _called(name: str) -> str:
    """A quantity at the beginning of a sentence."""
    if name == "looks like":
        return "The stratum that predictions look like"
    if name == "stratum":
        return "The stratum"
    what, *where = name.split(" ", 1)
    called = {"emotion": "The predicted emotion", "confidence": "The confidence"}.get(what, f"The {what}")
    return " ".join([called, *where])


def _when(where: Sequence[int], windows: Sequence[Table]) -> str:
    """The windows of a drift in words: since one of them, from one to another, in some, in all."""
    names = [row["name"] for row in windows]
    if len(where) == len(names) > 1:
        return f"in all {len(names)} windows"
    ends = [at for at, (a, b) in enumerate(pairwise(where)) if b > a + 1]
    stretches = [
        (where[i], where[j]) for i, j in zip([0, *(at + 1 for at in ends)], [*ends, len(where) - 1], strict=True)
    ]
    told: list[str] = []
    for first, last in stretches:
        if last == len(names) - 1 and last > first:
            told.append(f"since {names[first]}")
        else:
            told.append(f"in {names[first]}" if first == last else f"from {names[first]} to {names[last]}")
    return listed(told)


def _windows(names: Sequence[str]) -> str:
    return listed(names) if len(names) <= 3 else counted(len(names), "window")


def _account(row: Table) -> str:
    """What would account for a window's drift, in words."""
    found, name = row["explained"], row["name"]
    left = {
        STRATA: f"another mix of strata would leave {found['strata']:.2f}",
        EMOTIONS: f"other emotions in the images {found['emotions']:.2f}",
    }
    end = f"of a distance of {found['before']:.2f}, {left[STRATA]}, {left[EMOTIONS]}."
    if found["by"] == STRATA:
        return f"{name} looks as if its mix of strata were another{_mixed(row['strata'])}: {end}"
    if found["by"] == EMOTIONS:
        return f"{name} looks as if its images showed other emotions: {end}"
    if found["by"] == EITHER:
        return f"{name} may have another mix of strata or other emotions, which cannot be told apart: {end}"
    return f"Neither other strata nor other emotions account for {name}: {end}"


def _mixed(strata: Mapping[str, Any]) -> str:
    shares = sorted(((share["estimate"], name) for name, share in strata.items()), reverse=True)
    return f" ({', '.join(f'{name} {_percent(share)}' for share, name in shares if share >= 0.005)})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def written(p: float) -> str:
    """A p value as sentences have it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


# --------------------------------------------------------------------------------------------- tables


def tables(table: Table) -> list[tuple[Sequence[str], Rows]]:
    """How far every window lies, what is predicted in it, and what strata it looks like."""
    windows, base = table["windows"], table["reference"]
    present = dict.fromkeys(name for row in windows for name in row["quantities"])
    plain = [name for name in present if " in " not in name and " given " not in name]
    kinds = [kind for kind in (" given ", " in ") if any(kind in name for name in present)]
    head = ["window", "images", "errors", "verdict", *plain, *(f"{kind.strip()} a stratum, most" for kind in kinds)]
    body: list[list[str]] = []
    for row in windows:
        cells = [_cell(row["quantities"].get(name)) for name in plain]
        for kind in kinds:
            known = {name: each for name, each in row["quantities"].items() if kind in name and each["tv"] is not None}
            most = max(known, key=lambda name: (known[name]["drift"], known[name]["tv"]), default="")
            cells.append(f"{_cell(known[most])} {most}" if most else "")
        body.append([row["name"], f"{row['images']:,}", f"{row['errors']:,}", row["verdict"], *cells])
    emotions = list(base["shares"]["emotion"])
    predicted = [["test rows", *(f"{100 * share:.1f}" for share in base["shares"]["emotion"].values())]]
    predicted += [
        [row["name"], *(f"{100 * share:.1f}" for share in row["quantities"]["emotion"]["shares"].values())]
        for row in windows
        if "emotion" in row["quantities"]
    ]
    return [(head, body), (["emotions, %", *emotions], predicted), _strata_table(table)]


def _cell(found: Table | None) -> str:
    if found is None:
        return ""
    return "-" if found["tv"] is None else f"{found['tv']:.2f}{'*' * found['drift']} ({found['by_chance']:.2f})"


def _strata_table(table: Table) -> tuple[Sequence[str], Rows]:
    strata = list(dict.fromkeys(name for row in table["windows"] for name in row["strata"] or ()))
    own = table["reference"]["shares"].get("stratum", {})
    body = [["test rows", *(f"{100 * own.get(name, 0):.0f}" for name in strata)]]
    for row in table["windows"]:
        if row["strata"]:
            shares = [row["strata"].get(name) for name in strata]
            body.append([row["name"], *("" if share is None else _interval(share) for share in shares)])
    return ["strata, %", *strata], body if strata else []


def _interval(share: Mapping[str, float]) -> str:
    return f"{100 * share['estimate']:.0f} [{100 * share['low']:.0f}, {100 * share['high']:.0f}]"
