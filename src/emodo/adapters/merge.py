"""Several manifests as one: what was recorded apart is trained on together."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from emodo.manifest import BOX, TEXT, as_text, check_target, load, save, validate
from emodo.records import InputError


def merge(
    manifests: list[Path], *, out: Path | None = None, emotions: list[str] | None = None, overwrite: bool = False
) -> Path:
    """emodo prepare merge ckplus.csv mmi.csv oulu.csv --out faces.csv

    Puts the rows of several manifests into one, in the order in which they are named. Images stay where they are. Of a
    manifest without the column `source`, its file's name is the source of every row; two manifests may share a source,
    and then share its subjects and sequences, too. A column that not all have is empty in the rows of the others.

    Args:
        manifests: Two or more.
        out: The manifest to write (.parquet, .csv or .tsv).
        emotions: Labels of your own that the manifests hold, in place of the known ones.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: Fewer than two manifests, no OUT, a manifest named twice or as OUT, a `split` that not all have, an
            image (and box) that two of them hold, a sequence of a source that lies in two splits then, and all that
            `emodo.manifest.validate` finds in one.
    """
    if out is None or len(manifests) < 2:
        raise InputError("name two or more manifests, and the one to write: --out faces.csv")
    check_target(out, overwrite)
    places = [file.resolve() for file in (*manifests, out)]
    for at, file in enumerate((*manifests, out)):
        if places[at] in places[:at]:
            raise InputError(f"{file} is named twice: name each manifest once, and another --out")
    known = tuple(emotions) if emotions else None
    frames = [load(file, known) for file in manifests]
    whole = [file for file, frame in zip(manifests, frames, strict=True) if "split" in frame]
    if whole and len(whole) < len(frames):
        without = next(file for file in manifests if file not in whole)
        raise InputError(f"{whole[0]} has a split and {without} has none: split what comes out, or both before")
    for at, (file, frame) in enumerate(zip(manifests, frames, strict=True)):
        if "source" not in frame:
            frames[at] = frame.assign(source=file.stem)
    columns = {column for frame in frames for column in frame}
    for column in sorted(columns - {*BOX, *TEXT, "file"}):
        holders = [frame for frame in frames if column in frame]
        if len({str(frame.dtypes[column]) for frame in holders}) > 1:  # text here and numbers there: all are text
            for frame in holders:
                frame[column] = as_text(frame.loc[:, column])
    frame = pd.concat(frames, ignore_index=True)
    # Boxes were compared with their images above; what only the whole can get wrong is looked for here.
    validate(frame.assign(path=frame["file"]).drop(columns="file"), out, Path(), known, check_files=False)
    save(frame, out)
    counts = frame["source"].fillna("no source").value_counts()
    told = ", ".join(f"{source} {rows}" for source, rows in counts.items())
    print(f"{out}: {len(frame)} rows, {frame['emotion'].nunique()} emotions; {told}", file=sys.stderr)
    return out
