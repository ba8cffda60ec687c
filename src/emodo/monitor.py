"""`emodo monitor`: predictions over time against the rows that a run was tested on, stratum by stratum."""

from __future__ import annotations

import json as jsons
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emodo.records import InputError

if TYPE_CHECKING:
    from emodo.profiles import Reference
    from emodo.windows import Counted


def monitor(
    run: Path,
    predictions: list[str],
    out: Path | None = None,
    cluster: Literal["image", "folder"] = "image",
    json: bool = False,
    overwrite: bool = False,
) -> None:
    """emodo monitor runs/iern predictions/2026-11-*

    Say whether what a run predicts has moved away from what it predicted of its own test rows: in which window, in
    which stratum, in which emotion, and whether that is beyond chance. A window is a folder of Parquet parts, as `emodo
    predict RUN IMAGES --strata --out FOLDER` writes them, or a file; they follow one another by their names. No labels
    are needed, and no images.

    Args:
        run: A finished run, with the predictions of its test rows.
        predictions: Folders of parts, Parquet files, folders of such folders, or patterns; the folder of one `emodo
            evaluate` will do as well, and says of each row which stratum it is of.
        out: A folder for monitor.json, monitor.md and monitor.svg.
        cluster: What is independent in a window: each image, or the images of each folder of their paths together, as
            frames of one video are.
        json: Print what monitor.json holds, in place of tables.
        overwrite: Replace OUT's files where they exist.

    Raises:
        InputError: The run has no predictions or recognises several emotions a row; predictions are missing, broken, of
            another run or of other emotions; OUT exists. Nothing has been written then.
    """
    from emodo import alarms, tabular, windows
    from emodo.files import check_files_out, write_text
    from emodo.timeline import figure

    check_files_out(out, overwrite)
    reference = _reference(run)
    found = windows.found(predictions, run)
    counted = [windows.counted(window, reference.profile, cluster == "folder") for window in found]
    table = alarms.judged(reference, counted)
    table = {"run": str(run), "cluster": cluster, "sentences": alarms.sentences(table), **table}
    table["notes"] = _notes(table, reference, counted)
    if out is not None:
        write_text(out / "monitor.json", jsons.dumps(table, indent=2, allow_nan=False) + "\n")
        page = tabular.markdown(alarms.tables(table), table["notes"], table["sentences"])
        write_text(out / "monitor.md", f"# {run.name}: predictions over time\n\n{page}")
        write_text(out / "monitor.svg", figure(table))
        print(f"{out}: monitor.json, monitor.md, monitor.svg", file=sys.stderr)
    if json:
        print(jsons.dumps(table, allow_nan=False))
    else:
        tabular.show(alarms.tables(table), table["notes"], table["sentences"])


def _reference(run: Path) -> Reference:
    """The run's own predictions of its test rows."""
    from emodo import profiles, runs, windows

    task = runs.task(run)
    if task.multilabel:
        raise InputError(f"{run} recognises several emotions a row, which are no distribution: nothing is compared")
    table = runs.predictions(run)
    return profiles.reference(task, windows.answers(table, task, run / runs.PREDICTIONS), table)


def _notes(table: dict[str, Any], reference: Reference, counted: Sequence[Counted]) -> list[str]:
    """What has to be known to read the tables, a sentence each."""
    from emodo.alarms import EFFECT, SURE

    base = table["reference"]
    of = "" if base["cluster"] == "image" else f", worth {base['worth']:.0f} as they come in {base['cluster']}s"
    told = [
        f"Distances are total variations from the run's {base['images']:,} test rows{of}; in brackets, what chance "
        f"would give. * is drift: p below {SURE} (Holm, over the whole table) and {EFFECT} or more."
    ]
    if table["cluster"] == "image":
        told.append(
            "Every image of a window counts for itself: of frames of videos p is too small; take --cluster folder if "
            "each video has its own."
        )
    told += _of_strata(reference, counted)
    for each in counted:
        if each.missing:
            told.append(f"{each.window.name} is not finished: {each.missing:,} images are still to be predicted.")
        if each.strange:
            names = ", ".join(sorted(each.strange)[:4])
            told.append(f"{each.window.name} has strata that the run does not know ({names}).")
    return told


def _of_strata(reference: Reference, counted: Sequence[Counted]) -> list[str]:
    """Where the shares of strata come from, or why there are none."""
    profile, accuracy = reference.profile, reference.accuracy
    of_rows = [each for each in counted if each.rows > each.errors]
    told: list[str] = []
    if profile.intervenes and any("emotion given" not in " ".join(each.tally.tables) for each in of_rows):
        told.append("Predictions without P(Y | X, d) of each stratum say less: predict with --strata.")
    if any("stratum" in each.tally.tables for each in of_rows) or len(profile.task.strata) < 2:
        return told
    if accuracy is None:
        told.append("What stratum a window looks like is not said: the test rows have no two strata with 10 clusters.")
    elif profile.teller is None:
        told.append(
            "What stratum a window looks like is not said: predictions hardly tell it, with a balanced accuracy of "
            f"{100 * accuracy[0]:.0f} % on test rows."
        )
    else:
        told.append(
            f"Looks like: by a classifier of strata that sees the probabilities alone, with a balanced accuracy of "
            f"{100 * accuracy[0]:.0f} % on test rows. Shares of strata allow for its mistakes, and suppose that there "
            "are no other strata, and that each has the emotions that the test rows have there."
        )
    return told
