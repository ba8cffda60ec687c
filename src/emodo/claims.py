"""What a comparison says, in words: sentences made from the numbers of its table, by rules.

The rules, as docs/compare.md tells them to readers:

- A method is better (worse) than the baseline where Holm's p of their difference is below 0.05 and its interval is
  above (below) zero. Otherwise there is no difference beyond chance.
- An emotion gets worse by the same two signs, its p corrected over the emotions of that method.
- Of several methods that are better, one is the best where it is better than each of the others by the same two signs,
  p corrected over all pairs of them. Otherwise those that it is not told from are named.
- "Out of distribution" is said only of test images whose emotion training never showed in their stratum.
- Where a method or the baseline was trained from one seed, the sentence says what that leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from emodo.tabular import counted

CHANCE = 0.05
OOD, ALL = " out of distribution", " over all test images"
Row = Mapping[str, Any]


def decided(difference: Mapping[str, float]) -> Literal["better", "worse", ""]:
    """What a difference, {low, high, p_holm}, says: better or worse beyond chance, or nothing."""
    if difference["p_holm"] >= CHANCE:
        return ""
    return "better" if difference["low"] > 0 else "worse" if difference["high"] < 0 else ""


def sentences(table: Mapping[str, Any]) -> list[str]:
    """The verdict on a table as `emodo.comparison.compare` makes it, the most important sentence first."""
    baseline, images, unseen = table["baseline"], table["images"], table.get("unseen")
    where = "" if not unseen else OOD if unseen == images else ALL
    said = _compared(table, "difference", where)
    if unseen and unseen < images:
        of = f"{OOD} ({unseen} of {images} images)"
        said += _compared(table, "unseen_difference", of)
    if any("difference" in row for row in table["methods"]):
        said += _distribution(table)
    said += _cost(table)
    missing: dict[str, list[str]] = {}
    for row in table["methods"]:
        if not row["seeds"]:
            missing.setdefault(row.get("note", "not finished"), []).append(row["name"])
    said += [f"Without a result: {listed(names)} ({why})." for why, names in missing.items()]
    if not said:
        return [f"Nothing is compared with {baseline}."]
    return said


def _compared(table: Mapping[str, Any], key: str, where: str) -> list[str]:
    """Each method against the baseline by its difference `key`: the better ones, the worse ones, the others."""
    baseline = table["baseline"]
    rows = sorted((row for row in table["methods"] if key in row), key=lambda row: -row[key]["estimate"])
    if not rows:
        return []
    seeds = {row["name"]: len(row["seeds"]) for row in table["methods"]}
    better, worse, level = ([row for row in rows if decided(row[key]) == word] for word in ("better", "worse", ""))
    said: list[str] = []
    if not better:
        said.append(f"No method here is better than {baseline} beyond chance{where and f',{where}'}.")
    for word, found in (("better", better), ("worse", worse)):
        for row in found:
            change = f"{row['name']} is {word} than {baseline}{where} by {_points(row[key])}"
            harm = _harmed(row) if key == "difference" else ""
            if word == "better" and key == "difference" and not harm:
                harm = "no emotion gets worse beyond chance"
            said.append(f"{change}, {_trained(row['name'], baseline, seeds)}{harm and f'; {harm}'}.")
        if word == "better" and key == "difference":
            said += _best(table)
    if level:
        each = [f"{row['name']} ({_signed(row[key])})" for row in level]
        trained = dict.fromkeys(_trained(row["name"], baseline, seeds) for row in level)
        said.append(
            f"No difference to {baseline}{where} beyond chance: {listed(each)}, in points; {', '.join(trained)}."
        )
        if key == "difference":
            said += [f"{row['name']}: {harm}." for row in level if (harm := _harmed(row))]
    return said


def _best(table: Mapping[str, Any]) -> list[str]:
    """Which of the methods that are better than the baseline is the best, from the table's pairs."""
    pairs = table.get("pairs", [])
    if not pairs:
        return []
    first = pairs[0]["name"]
    against = [pair for pair in pairs if pair["name"] == first]
    over = [pair for pair in against if decided(pair) == "better"]
    level = [pair for pair in against if decided(pair) != "better"]
    if not level:
        following = min(over, key=lambda pair: pair["estimate"])
        return [f"Of these, {first} is the best, by {_points(following)} above {following['than']}, the next."]
    said = f"Of these, {first} has the highest accuracy, and is not told from "
    said += listed([f"{pair['than']} ({_signed(pair)})" for pair in level])
    return [f"{said}; it is better than {listed([pair['than'] for pair in over])}." if over else f"{said}."]


def _distribution(table: Mapping[str, Any]) -> list[str]:
    """What is known of the test images' place in the training's distribution."""
    images, unseen, column = table["images"], table.get("unseen"), table.get("unseen_column", "")
    if unseen is None:
        reason = table.get("unseen_reason")
        return [f"Whether the test images are out of distribution is not known: {reason}."] if reason else []
    if not unseen:
        return [
            f"Training showed the emotion of every test image in its stratum ({column}): nothing is said of others."
        ]
    many = f"All {images}" if unseen == images else f"{unseen} of {images}"
    return [f"{many} test images show an emotion in a stratum ({column}) in which training never showed it."]


def _cost(table: Mapping[str, Any]) -> list[str]:
    """What the most accurate of the better methods costs, beside the baseline."""
    better = [row for row in table["methods"] if "difference" in row and decided(row["difference"]) == "better"]
    [base] = [row for row in table["methods"] if row["name"] == table["baseline"]]
    if not better:
        return []
    best = max(better, key=lambda row: row["accuracy"]["mean"])
    spent = [_spent(row) for row in (best, base)]
    return [f"A run of {best['name']} took {spent[0]}, one of {base['name']} {spent[1]}."] if all(spent) else []


def _spent(row: Row) -> str:
    seconds, memory = row.get("seconds"), row.get("cost", {}).get("memory")
    parts = ([] if seconds is None else [f"{seconds:.0f} s"]) + ([] if memory is None else [f"{memory / 1e9:.1f} GB"])
    return listed(parts) if parts else ""


def _harmed(row: Row) -> str:
    """The emotions on which a method is worse than the baseline, the most harmed first."""
    found = [(name, each) for name, each in row.get("emotion_differences", {}).items() if decided(each) == "worse"]
    found.sort(key=lambda each: each[1]["estimate"])
    return listed([f"{name} {'gets worse ' * (not at)}by {_size(each)}" for at, (name, each) in enumerate(found)])


def _trained(name: str, baseline: str, seeds: Mapping[str, int]) -> str:
    """From how many seeds the two were trained, and what one alone cannot say."""
    single = [each for each in (name, baseline) if seeds[each] == 1]
    if single:
        of = "" if len(single) == 2 else f" of {single[0]}"
        return f"one seed{of}: this says nothing about training again"
    same = seeds[name] == seeds[baseline]
    return counted(seeds[name], "seed") + ("" if same else f" ({baseline} {seeds[baseline]})")


def _points(difference: Mapping[str, float]) -> str:
    number, _, interval = _size(difference).partition(" ")
    return f"{number} points {interval}"


def _size(difference: Mapping[str, float]) -> str:
    """A difference without its sign, which the word before it has: `2.0 [0.4, 3.7]`."""
    ends = sorted((difference["low"], difference["high"]), key=abs)
    return f"{100 * abs(difference['estimate']):.1f} [{100 * abs(ends[0]):.1f}, {100 * abs(ends[1]):.1f}]"


def _signed(difference: Mapping[str, float]) -> str:
    low, high = 100 * difference["low"], 100 * difference["high"]
    return f"{100 * difference['estimate']:+.1f} [{low:+.1f}, {high:+.1f}]"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
