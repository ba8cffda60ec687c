"""Any table with one row an image, or a person in an image, to a manifest."""

from __future__ import annotations

import sys
from pathlib import Path

from emodo import manifest, multilabel
from emodo.records import InputError


def table(
    table: Path,
    out: Path,
    path: str = "path",
    emotion: str = "emotion",
    source: str | None = None,
    subject: str | None = None,
    sequence: str | None = None,
    box: list[str] | None = None,
    root: Path | None = None,
    rename: dict[str, str] | None = None,
    emotions: list[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """emodo prepare table labels.csv faces.parquet --path file --emotion expression

    Each option names the table's column that becomes the manifest's column of that name. All other columns
    are kept under their own names, and are possible confounders.

    Args:
        table: The table: .csv, .tsv or .parquet, with column names.
        out: The manifest to write (.parquet, .csv or .tsv).
        path: Column of the image files.
        emotion: Column of the emotions, where a row has several joined by `|`.
        source: Column of the data set or camera an image comes from.
        subject: Column of the person shown.
        sequence: Column of the recording or burst an image was taken from.
        box: Columns of the person's box: left, top, right, bottom, in pixels.
        root: Folder that the paths start from; by default the table's.
        rename: New names of emotions, such as happy: happiness. The others stay as they are.
        emotions: Emotions that the table may hold, in place of the known ones.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: A column or emotion that the table does not have, a column that would be named like
            another, and all that `emodo.manifest.validate` finds, with the table's rows.
    """
    manifest.check_target(out, overwrite)
    frame = manifest.read(table)
    if box is not None and len(box) != len(manifest.BOX):
        raise InputError(f"--box names four columns (left, top, right, bottom), not {len(box)}")
    given = {
        "path": path,
        "emotion": emotion,
        "source": source,
        "subject": subject,
        "sequence": sequence,
        **dict(zip(manifest.BOX, box or (), strict=False)),
    }
    named = {new: old for new, old in given.items() if old is not None}
    found = ", ".join(frame.columns)
    problems = [
        f"no column {old!r} for --{'box' if new in manifest.BOX else new} (found: {found})"
        for new, old in named.items()
        if old not in frame
    ]
    kept = frame.drop(columns=[old for old in named.values() if old in frame])
    problems += [
        f"the column {new!r} is not the one given for {new} ({old!r}): give it or remove it"
        for new, old in named.items()
        if new in kept and old in frame
    ]
    if not problems and rename:
        held = sorted(set(multilabel.apart(frame.loc[:, emotion].dropna().astype("str"))))
        problems += [f"--rename {old}: no such emotion (found: {', '.join(held)})" for old in rename if old not in held]
    if problems:
        raise InputError("\n".join(f"{table}: {problem}" for problem in problems))
    frame = kept.assign(**{new: frame[old] for new, old in named.items()})
    if rename:
        frame["emotion"] = frame["emotion"].astype("str").map(lambda cell: _renamed(cell, rename), "ignore")
    whole = manifest.validate(frame, table, root or table.parent, tuple(emotions) if emotions else None)
    manifest.save(whole, out)
    shown = multilabel.apart(whole.loc[:, "emotion"]).nunique()
    print(f"{out}: {len(whole)} rows, {shown} emotions", file=sys.stderr)
    return out


def _renamed(cell: str, rename: dict[str, str]) -> str:
    return multilabel.JOIN.join(rename.get(name, name) for name in cell.split(multilabel.JOIN))
