"""`emodo probe`: what a model leans on, tested by intervention; any model, not only one of ours."""

from __future__ import annotations

import json as jsons
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from emodo import leaning, probed, runs, statistics, tabular
from emodo import manifest as manifests
from emodo.changes import Changed, answers_of
from emodo.data import check_boxes, check_images, confounder_column
from emodo.files import new_folder, remove_folder, write_text
from emodo.inference import CARRIED, check_accelerator
from emodo.interventions import CONTROL, INTERVENTIONS, Dose
from emodo.leaning import Images
from emodo.manifest import BOX, SEPARATORS
from emodo.models import Model, of_onnx, of_run
from emodo.multilabel import check_single
from emodo.records import InputError
from emodo.statistics import Cluster

TABLE, PAGE, FIGURE = "probe.json", "probe.md", "probe.svg"
AS_IS = "as is"
Given = Model | str | Path


def command(
    models: list[Path],
    *,
    manifest: Path | None = None,
    interventions: list[str] | None = None,
    strengths: dict[str, Any] | None = None,
    split: str = "test",
    limit: int | None = None,
    stratum: str | None = None,
    emotions: list[str] | None = None,
    onnx: dict[str, Any] | None = None,
    cluster: Cluster | None = None,
    replicates: int = 2000,
    seed: int = 0,
    batch_size: int = 64,
    workers: int = 0,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    max_pixels: int = 50_000_000,
    out: Path | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """emodo probe runs/erm faces.csv --out runs/erm/probe

    What does a model lean on? Every image is shown as it is, and again with one thing changed: gray, darker, on another
    background, the person masked, blurred, noisy, compressed, mirrored, from mild to strong. How many answers change,
    and what does it cost, overall, by emotion and by stratum?

    The words are runs, ONNX files or both, and last the manifest: emodo probe runs/erm runs/iern faces.csv compares
    IERN with ERM, the first. Without a manifest it is the first run's own. A model that is neither is probed from
    Python: emodo.probe.

    Interventions: gray (strength: share of the colour), brightness (times as bright), background (share of another
    row's; needs boxes), mask (share of the person's box; needs boxes), blur (radius, share of the shorter side), noise
    (deviation, share of full light), compression (JPEG quality), and mirror, the control, which is always done.

    Args:
        models: Runs and ONNX files, and last the manifest.
        manifest: The images with their emotions, where it is not the last word.
        interventions: Names of those to do; by default all that the manifest allows.
        strengths: Other strengths than usual, from mild to strong, as in blur=0.01,0.05 gray=1.
        split: Rows to take: train, validation, test or all; a manifest without splits gives all.
        limit: Rows to take at most, as many of each emotion as can be, drawn by the seed.
        stratum: Column of the strata; by default the first run's, else `stratum`, else `source`.
        emotions: Labels of an ONNX file's outputs, in their order, where its metadata does not name them.
        onnx: How an ONNX file wants its images, where its metadata does not say, as in size=224 range=0,1
            mean=0.485,0.456,0.406 std=0.229,0.224,0.225 channels=RGB (or BGR, gray) crop=true (to the box).
        cluster: What the bootstrap draws: sequence, subject or image; by default the first of these that is known.
        replicates: Draws of the bootstrap.
        seed: Decides noise, backgrounds and the rows of --limit, alike for all models and strengths.
        batch_size: Images at a time.
        workers: Processes that decode and change images.
        accelerator: Where runs are computed: cpu, gpu, or auto. ONNX files run on the CPU.
        max_pixels: Largest image that is decoded.
        out: Folder for probe.json, probe.md, probe.svg and predictions.parquet.
        overwrite: Replace OUT where it is the folder of a probe.
        json: Print the table as JSON.

    Raises:
        InputError: A model, the manifest, an image or an option does not fit; nothing has been written then.
    """
    named = list(models)
    if manifest is None and named and (named[-1].suffix in SEPARATORS or named[-1].suffix == ".parquet"):
        manifest = named.pop()
    table = probe(
        named,
        manifest,
        interventions=interventions,
        strengths=strengths,
        split=split,
        limit=limit,
        stratum=stratum,
        emotions=emotions,
        onnx=onnx,
        cluster=cluster,
        replicates=replicates,
        seed=seed,
        batch_size=batch_size,
        workers=workers,
        accelerator=accelerator,
        max_pixels=max_pixels,
        out=out,
        overwrite=overwrite,
    )
    if json:
        print(jsons.dumps(table, allow_nan=False))
    else:
        tabular.show(probed.shown(table), probed.notes(table))


def probe(
    models: Given | Sequence[Given],
    manifest: str | Path | None = None,
    *,
    interventions: Sequence[str] | None = None,
    strengths: Mapping[str, Any] | None = None,
    split: str = "test",
    limit: int | None = None,
    stratum: str | None = None,
    emotions: Sequence[str] | None = None,
    onnx: Mapping[str, Any] | None = None,
    cluster: Cluster | None = None,
    replicates: int = 2000,
    seed: int = 0,
    batch_size: int = 64,
    workers: int = 0,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    max_pixels: int = 50_000_000,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Probe models from Python; beside runs and ONNX files, any function of images as an `emodo.Model`.

    The other words are those of `emodo probe` (see `command`). strengths: {intervention: numbers}. Every image is
    decoded once, and everything is done to it as it was decoded, before the models' own preprocessing.

    Returns what probe.json holds: `images`, `boxed` (how many of them have a box), `clusters`, `doses`, `skipped`
    {intervention: why}; `models`, a row each, with `verdict`, `findings` and all that `leaning.measure` returns;
    `comparisons` of every further model with the first.

    Raises InputError where a model, the manifest, an image or a word does not fit; nothing has been written then.
    """
    given = [models] if isinstance(models, Model | str | Path) else list(models)
    out = Path(out) if out else None
    _check(given, limit, replicates, seed, batch_size, workers, out, overwrite)
    check_accelerator(accelerator)
    file = _manifest(given, manifest)
    probing = _models(given, emotions, onnx, accelerator)
    labels = probing[0].emotions
    frame = _rows(file, labels, split, limit, seed)
    boxed = _boxed(frame)
    skipped = _impossible(frame, boxed, file)
    doses = _doses(interventions, strengths or {}, skipped)
    column = _stratum_column(frame, file, stratum, given[0])
    chosen, cluster_of = statistics.clusters(frame, cluster)
    strata = frame[column].astype("str") if column else pd.Series(None, frame.index, dtype="str")
    known = tuple(sorted(strata.dropna().unique()))
    images = Images(
        labels,
        pd.Index(labels).get_indexer(pd.Index(frame["emotion"])),
        cluster_of,
        known,
        pd.Index(known).get_indexer(pd.Index(strata)),
        None if boxed.all() else boxed,
    )
    check_images(frame, file, max_pixels)
    for model in probing:
        if model.views:
            check_boxes(frame, file, model.name)
    answers = answers_of(probing, Changed(frame, doses, images, probing, seed, max_pixels), batch_size, workers, file)
    table = {
        "manifest": str(file),
        "split": split if "split" in frame else "all",
        "stratum": column,
        "images": len(frame),
        "boxed": int(boxed.sum()),
        "cluster": chosen,
        "clusters": len(np.unique(cluster_of)),
        "level": statistics.LEVEL,
        "replicates": replicates,
        "seed": seed,
        "skipped": {} if interventions else skipped,
        "remarks": _remarks(probing, frame, doses),
    } | leaning.table(
        [model.name for model in probing],
        [_alone(model, frame) for model in probing],
        answers,
        doses,
        images,
        replicates,
        seed,
    )
    if out:
        with_stratum = frame[[name for name in CARRIED if name in frame]].assign(stratum=strata)
        _write(out, table, _predictions(table, answers, doses, with_stratum, boxed, labels))
    return table


# ------------------------------------------------------------------------------------- what is given


def _check(
    given: Sequence[Given],
    limit: int | None,
    replicates: int,
    seed: int,
    batch_size: int,
    workers: int,
    out: Path | None,
    overwrite: bool,
) -> None:
    if not given:
        raise InputError("no model is named: name a run or an ONNX file before the manifest")
    if (limit is not None and limit < 1) or replicates < 100 or seed < 0 or batch_size < 1 or workers < 0:
        raise InputError(
            f"--limit {limit} and --batch_size {batch_size} must be 1 or more, --replicates {replicates} 100 or more, "
            f"--seed {seed} and --workers {workers} 0 or more"
        )
    if out and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        if not (out / TABLE).is_file():
            raise InputError(f"{out} exists and is not the folder of a probe: choose another --out")
        if not overwrite:
            raise InputError(f"{out} exists already: choose another --out, or replace it with --overwrite")


def _manifest(given: Sequence[Given], manifest: str | Path | None) -> Path:
    """The manifest, or else that of the first model, where it is a run."""
    if manifest is not None:
        return Path(manifest)
    first = given[0]
    if isinstance(first, Model) or Path(first).suffix == ".onnx":
        raise InputError("no manifest is named: it comes after the models, and only a run has one of its own")
    return Path(runs.config(Path(first))["manifest"])


def _models(
    given: Sequence[Given], emotions: Sequence[str] | None, onnx: Mapping[str, Any] | None, accelerator: str
) -> list[Model]:
    """All models; refused where two have one name, or not the same emotions."""
    found: list[Model] = []
    for each in given:
        if isinstance(each, Model):
            found.append(each)
        elif Path(each).suffix == ".onnx":
            found.append(of_onnx(Path(each), emotions, onnx))
        else:
            found.append(of_run(Path(each), accelerator))
    if (emotions or onnx) and not any(Path(each).suffix == ".onnx" for each in given if not isinstance(each, Model)):
        raise InputError(
            "--emotions and --onnx say what an ONNX file does not, and no ONNX file is probed: leave them out"
        )
    names = [model.name for model in found]
    if len(set(names)) < len(names):
        raise InputError(f"a model is named twice: {', '.join(names)}")
    first = found[0]
    for model in found[1:]:
        if set(model.emotions) != set(first.emotions):
            raise InputError(
                f"{model.name} knows {', '.join(model.emotions)}, and {first.name} knows {', '.join(first.emotions)}: "
                "only models of the same emotions are compared"
            )
    return found


def _rows(file: Path, emotions: tuple[str, ...], split: str, limit: int | None, seed: int) -> pd.DataFrame:
    """The rows to probe, numbered as in the manifest."""
    frame = manifests.load(file, emotions)
    if "split" in frame and split != "all":
        frame = frame.loc[frame["split"] == split]
        if frame.empty:
            raise InputError(f"{file} has no row whose split is {split!r}: choose another --split, or `all`")
    check_single(frame, file, "a flip is a change of one answer to another")
    if limit is None or limit >= len(frame):
        return frame
    shuffled = frame.iloc[np.random.default_rng(seed).permutation(len(frame))]
    turn = shuffled.groupby("emotion").cumcount()  # the first row of every emotion, then the second of every one ...
    return frame.loc[np.sort(turn.sort_values(kind="stable").index[:limit])]


def _boxed(frame: pd.DataFrame) -> np.ndarray:
    """Which rows have the person's box, [N] bool."""
    return np.array(frame[list(BOX)].notna().all(axis=1)) if "x1" in frame else np.zeros(len(frame), bool)


def _impossible(frame: pd.DataFrame, boxed: np.ndarray, file: Path) -> dict[str, str]:
    """Interventions that these rows do not allow, and why."""
    if not boxed.any():
        why = f"{file} has no boxes (x1, y1, x2, y2), and it needs the person's"
        return {name: why for name, each in INTERVENTIONS.items() if each.boxed}
    if len(set(frame.loc[boxed, "file"])) < 2:
        return {"background": f"{file} holds one image with a box, and there is no other background"}
    return {}


def _doses(names: Sequence[str] | None, strengths: Mapping[str, Any], impossible: Mapping[str, str]) -> list[Dose]:
    """What is done, the control last."""
    wanted = list(names) if names else [name for name in INTERVENTIONS if name not in impossible]
    for name in (*wanted, *strengths):
        if name not in INTERVENTIONS:
            raise InputError(f"there is no intervention {name!r}: there are {', '.join(INTERVENTIONS)}")
        if name in impossible:
            raise InputError(f"{name} cannot be done: {impossible[name]}")
        if name not in wanted or (name == CONTROL and name in strengths):
            raise InputError(f"--strengths names {name}, which {'has none' if name == CONTROL else 'is not done'}")
    ordered = [*(name for name in dict.fromkeys(wanted) if name != CONTROL), CONTROL]
    return [(name, strength) for name in ordered for strength in _strengths(name, strengths.get(name))]


def _strengths(name: str, given: Any) -> tuple[float, ...]:
    each = INTERVENTIONS[name]
    if given is None:
        return each.strengths
    listed = given.split(",") if isinstance(given, str) else given if isinstance(given, list | tuple) else [given]
    try:
        found = tuple(float(value) for value in listed)
    except (TypeError, ValueError):
        found = ()
    if not found or len(set(found)) < len(found) or not all(each.low <= value <= each.high for value in found):
        raise InputError(
            f"--strengths {name}={given}: give different numbers from {each.low:g} to {each.high:g} ({each.unit})"
        )
    if each.unchanged in found:
        raise InputError(f"--strengths {name}={given}: {each.unchanged:g} changes nothing, and is always there")
    return found


def _stratum_column(frame: pd.DataFrame, file: Path, stratum: str | None, first: Given) -> str | None:
    if stratum is not None:
        if stratum not in frame:
            found = ", ".join(name for name in frame if name != "file")
            raise InputError(f"{file} has no column {stratum!r} (found: {found}): name another with --stratum")
        return stratum
    if not isinstance(first, Model) and Path(first).suffix != ".onnx":
        confounder = runs.task(Path(first)).confounder
        if confounder and confounder.column in frame:
            return confounder.column
    return confounder_column(frame, None)


def _alone(model: Model, frame: pd.DataFrame) -> bool:
    """Whether the model sees the person's box and nothing else."""
    return model.crop and not model.views and "x1" in frame


def _remarks(probing: Sequence[Model], frame: pd.DataFrame, doses: Sequence[Dose]) -> list[str]:
    cropped = [model.name for model in probing if _alone(model, frame)]
    if not cropped or not any(name in ("background", "mask") for name, _ in doses):
        return []
    return [
        f"{', '.join(cropped)}: cropped to the person's box, so that another background changes nothing, and a masked "
        "person leaves nothing."
    ]


# ------------------------------------------------------------------------------------ what is written


def _predictions(
    table: Mapping[str, Any],
    answers: Sequence[np.ndarray],
    doses: Sequence[Dose],
    rows: pd.DataFrame,
    boxed: np.ndarray,
    emotions: Sequence[str],
) -> pd.DataFrame:
    """A row for every model, dose and image that it was done to, the image as it is first."""
    parts: list[pd.DataFrame] = []
    for model, p in zip(table["models"], answers, strict=True):
        for (name, strength), of_dose in zip([(AS_IS, np.nan), *doses], p, strict=True):
            part = rows.assign(predicted=np.array(emotions)[of_dose.argmax(axis=1)])
            part.insert(0, "model", model["name"])
            part.insert(1, "intervention", name)
            part.insert(2, "strength", strength)
            part = part.assign(**{f"p:{emotion}": of_dose[:, i] for i, emotion in enumerate(emotions)})
            parts.append(part.loc[boxed] if name != AS_IS and INTERVENTIONS[name].boxed else part)
    return pd.concat(parts, ignore_index=True)


def _write(out: Path, table: Mapping[str, Any], predictions: pd.DataFrame) -> None:
    """The folder, whole or not at all; it replaces what was there."""
    if out.exists() and any(out.iterdir()):
        remove_folder(out)
    with new_folder(out) as folder:
        write_text(folder / TABLE, jsons.dumps(table, indent=2, allow_nan=False) + "\n")
        write_text(folder / PAGE, probed.markdown(table))
        write_text(folder / FIGURE, probed.figure(table))
        predictions.to_parquet(folder / runs.PREDICTIONS)
