"""What a report shows of the data: how emotions spread over the strata, in training and test, with an image of each."""

from __future__ import annotations

from collections.abc import Sequence

from emodo import figures
from emodo.compared import EVERYWHERE, MOST_STRATA, Data, Run, shown_strata
from emodo.figures import Cell, Table
from emodo.thumbnails import Samples

MOST_SAMPLES = 120  # thumbnails a split, 3 KB each: the page stays far under 5 MB
MOST_PANELS = 10  # strata of a figure, as in the paper's Figure 7; the others are drawn together
OTHERS = "all others"

Counts = dict[str, dict[str, dict[str, int]]]  # images by split, stratum and emotion


def counts(run: Run, data: Data) -> Counts:
    """How many images each split has of each emotion in each stratum of the run; a row of several counts in each."""
    strata = list(run.scores["strata"]) or [EVERYWHERE]
    return {
        split: {
            stratum: {emotion: len(data.images.get((split, stratum, emotion), ())) for emotion in run.task.emotions}
            for stratum in strata
        }
        for split in ("train", "validation", "test")
        if data.rows.get(split)
    }


def samples(run: Run, data: Data, made: Samples) -> list[Table]:
    """Counts and a sample of each emotion in each stratum: training beside test."""
    emotions = run.task.emotions
    strata, left_out = shown_strata(run, max(1, min(MOST_STRATA, MOST_SAMPLES // len(emotions))))
    tables: list[Table] = []
    for split, called in (("train", "Training"), ("test", "Test")):
        n = data.rows.get(split, 0)
        rows: list[tuple[str, Sequence[Cell]]] = []
        for stratum in strata or [EVERYWHERE]:
            cells: list[Cell] = []
            for emotion in emotions:
                places = data.images.get((split, stratum, emotion), [])
                unseen = split == "test" and (stratum, emotion) in (data.unseen or ())
                kind = "absent" if not places else "unseen" if unseen else ""
                cells.append(
                    Cell(
                        str(len(places)) if places else "none",
                        kind,
                        image=made.image(places[0]) if places else "",
                        alt=f"{called} image: {emotion}, {stratum}",
                    )
                )
            rows.append((stratum, cells))
        if n:
            tables.append(Table(f"{called}: {n} images{left_out}", "stratum", emotions, rows))
    return tables


def spread(found: Counts, emotions: Sequence[str]) -> tuple[str, Table] | None:
    """The emotions of each stratum in training beside test (the paper's Figure 7); None without one of the two."""
    if not {"train", "test"} <= set(found):
        return None
    joined = _joined({split: found[split] for split in ("train", "test")}, emotions)
    strata = list(joined["train"])
    values: list[list[tuple[float, float]]] = []
    rows: list[tuple[str, list[Cell]]] = []
    for stratum in strata:
        both = [joined[split][stratum] for split in ("train", "test")]
        totals = [sum(each.values()) for each in both]
        shares = [(both[0][emotion] / max(totals[0], 1), both[1][emotion] / max(totals[1], 1)) for emotion in emotions]
        values.append(shares)
        cells = [
            Cell(f"{100 * train:.0f} / {100 * test:.0f} %", detail=f"{both[0][emotion]} / {both[1][emotion]}")
            for emotion, (train, test) in zip(emotions, shares, strict=True)
        ]
        rows.append((stratum, [*cells, Cell(f"{totals[0]} / {totals[1]}")]))
    title = f"Emotions in each of {len(strata)} strata, in % of the stratum: training beside test"
    table = Table(f"{title}, and images", "stratum", [*emotions, "images"], rows)
    return figures.distribution("spread", title, strata, emotions, values), table


def _joined(found: Counts, emotions: Sequence[str]) -> Counts:
    """The strata with most images, and the others as one."""
    sizes = {name: sum(sum(of[name].values()) for of in found.values()) for name in found["train"]}
    if len(sizes) <= MOST_PANELS:
        return found
    largest = sorted(sizes, key=lambda name: -sizes[name])[: MOST_PANELS - 1]
    return {
        split: {name: of[name] for name in of if name in largest}
        | {OTHERS: {emotion: sum(of[name][emotion] for name in of if name not in largest) for emotion in emotions}}
        for split, of in found.items()
    }
