"""`emodo evaluate`: a trained run on other rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from emodo import runs
from emodo.files import atomic, write_text
from emodo.records import InputError


def evaluate(
    run: str | Path,
    manifest: str | Path | None = None,
    split: str | None = "test",
    out: str | Path | None = None,
    batch_size: int = 64,
    workers: int = 0,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    overwrite: bool = False,
) -> Path:
    """emodo evaluate runs/iern other.parquet --out runs/iern/other

    Predict and score the rows of a manifest with a trained run. `emodo train` has done so for the test rows.

    Args:
        run: A finished run.
        manifest: Manifest with images and emotions; by default the run's own.
        split: Rows to take: train, validation or test; `all` takes every row, and so does a manifest without
            splits.
        out: Folder for predictions.parquet and scores.json; by default RUN/evaluation-MANIFEST-SPLIT.
        batch_size: Images at a time.
        workers: Processes that decode images.
        accelerator: cpu, gpu, or auto.
        overwrite: Replace OUT's files where they exist.

    Returns:
        The folder with predictions.parquet and scores.json.

    Raises:
        InputError: The run is not finished, the manifest does not fit, or OUT exists.
    """
    from emodo import manifest as manifests
    from emodo import metrics
    from emodo.data import check_boxes, check_images
    from emodo.inference import check_accelerator, predict
    from emodo.multilabel import check_single

    if batch_size < 1 or workers < 0:
        raise InputError(f"--batch_size {batch_size} must be 1 or more, and --workers {workers} 0 or more")
    check_accelerator(accelerator)
    run = Path(run)
    settings, task = runs.config(run), runs.task(run)
    method = runs.load_method(run)
    named = manifest or settings.get("manifest")
    if named is None:
        raise InputError(f"{run} was not trained here and has no manifest of its own: name one")
    path = Path(named)
    frame = manifests.load(path, task.emotions)
    part = split or "all"
    if "split" in frame and part != "all":
        frame = frame.loc[frame["split"] == part]
        if frame.empty:
            raise InputError(f"{path} has no row whose split is {part!r}: choose another --split, or `all`")
    out = Path(out) if out else run / f"evaluation-{path.stem}-{part}"
    if out.is_file() or (out.exists() and not overwrite):
        raise InputError(f"{out} exists already: choose another --out, or replace it with --overwrite")
    if not task.multilabel:
        check_single(frame, path, f"{run} recognises one a row")
    check_images(frame, path, settings["max_pixels"])
    if method.views:
        check_boxes(frame, path, type(method).__name__)
    table = predict(
        method,
        task,
        frame,
        settings["size"],
        batch_size,
        workers,
        accelerator,
        settings["max_pixels"],
        settings.get("crop", True),
    )
    scores = metrics.score(table, task)
    with atomic(out / runs.PREDICTIONS) as temporary:
        table.to_parquet(temporary)
    write_text(out / runs.SCORES, json.dumps(scores, indent=2) + "\n")
    return out
