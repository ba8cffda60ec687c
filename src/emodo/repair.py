"""`emodo repair`: what a few hundred labelled images of the field can mend of a trained run, and whether it does."""

from __future__ import annotations

import json as jsons
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emodo.files import new_folder, remove_folder, sha256, write_text
from emodo.records import InputError, Task, check_least
from emodo.statistics import Cluster

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from emodo.heldout import Labelled
    from emodo.methods import Method
    from emodo.repairs import Repair

TABLE, PAGE, FIGURE, RUN = "repair.json", "repair.md", "repair.svg", "run"
LEAST_IMAGES, LEAST_CLUSTERS = 50, 10
REPAIRS = ("prior", "temperature", "dfr")
# Methods that are made to answer as if every emotion were as frequent as every other, whatever the training rows are
EVEN = ("Resampling", "Reweighting", "DFR", "LogitAdjustment", "StyleIntervention")


def repair(
    run: Path,
    manifest: Path,
    out: Path | None = None,
    apply: Literal["best", "prior", "temperature", "dfr"] = "best",
    stratum: str | None = None,
    coverage: float | None = None,
    risk: float | None = None,
    split: str = "all",
    cluster: Cluster | None = None,
    replicates: int = 2000,
    seed: int = 0,
    batch_size: int = 64,
    workers: int = 0,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """emodo repair runs/iern field.csv --out runs/iern-repaired

    After deployment: which of four cheap repairs helps on the images of the field, and by how much? Prior correction,
    temperature scaling, a new last layer on balanced strata (DFR), and abstention below a threshold, each measured by
    cross-validation on the labelled images of MANIFEST, a few hundred, with intervals. "Not enough data to tell" is an
    answer.

    With --out the repair that helps most is written as a run, OUT/run, which every verb reads that reads trained runs:
    emodo predict, evaluate, export. No image is kept.

    Args:
        run: A trained run.
        manifest: Labelled images of the field, none of which the run was trained on.
        out: A folder for repair.json, repair.md, repair.svg and run/.
        apply: The repair that OUT/run has; by default the best of those that help, and no run where none does.
        stratum: Column of the strata that are balanced; by default the run's confounder, else `stratum`, where it is
            there, else the emotions alone.
        coverage: Share of the images that should be answered; 0.8 unless --risk is given.
        risk: Largest share of the answers that may be wrong, in place of --coverage.
        split: Rows of MANIFEST to take: train, validation, test or all; a manifest without splits gives all.
        cluster: What folds keep together and intervals draw: subject, sequence or image; by default the first that is
            known.
        replicates: Draws of the bootstrap.
        seed: Decides the folds and the draws.
        batch_size: Images at a time.
        workers: Processes that decode images.
        accelerator: cpu, gpu, or whichever there is.
        overwrite: Replace OUT where it is the folder of a repair.
        json: Print what repair.json holds, in place of tables.

    Raises:
        InputError: The run, the manifest, an image or an option does not fit; nothing has been written then.
    """
    from emodo import repaired, runs, tabular
    from emodo.data import Images, loader
    from emodo.inference import device_of
    from emodo.lastlayer import answers, exchange

    _check(apply, coverage, risk, out, replicates, seed, batch_size, workers, accelerator)
    _check_out(out, run, overwrite)
    method, task, settings = runs.load_method(run), runs.task(run), runs.config(run)
    if task.multilabel:
        raise InputError(f"{run} recognises several emotions a row, and repairs are for runs that recognise one")
    frame = _field(manifest, task, split, settings, method)
    trained, notes = _trained(run, method, task, frame, manifest)
    column = _column(frame, manifest, stratum, task)
    print(f"{len(frame)} images are predicted", file=sys.stderr)
    crop = settings.get("crop", True)
    seen = Images(frame, task, settings["size"], max_pixels=settings["max_pixels"], views=method.views, crop=crop)
    found = answers(method, loader(seen, batch_size, workers=workers), len(task.emotions), device_of(accelerator))
    by, images = _labelled(frame, task, column, cluster, found.logits, found.features)

    table: dict[str, Any] = {
        "run": str(run),
        "manifest": manifest.name,
        "images": len(frame),
        "clusters": int(images.cluster.max()) + 1,
        "cluster": by,
        "stratum": column,
        "emotions": dict(zip(task.emotions, map(int, images.counts), strict=True)),
        "wanted": {"coverage": 0.8 if coverage is None and risk is None else coverage, "risk": risk},
        "replicates": replicates,
        "seed": seed,
    }
    fitted = _measured(table, images, task, trained, replicates, seed)
    chosen = table["best"] if apply == "best" else apply
    if apply != "best" and apply not in fitted:
        (row,) = (row for row in table["repairs"] if row["name"] == apply)
        raise InputError(f"--apply {apply}: it was not measured ({row['why']})")
    if chosen and out is not None and found.layer is None:
        why = f"{type(method).__name__} has no linear layer whose output is its logits"
        if apply != "best":
            raise InputError(f"--apply {apply}: no run can have it, as {why}; leave --apply out")
        notes.append(f"No run is written, as {why}: repair.json alone has the numbers.")
        chosen = None
    table["applied"] = chosen if out is not None else None
    table["sentences"] = repaired.sentences(table)
    table["notes"] = [*notes, *repaired.notes(table)]
    if out is not None:
        mended = None
        if chosen:
            assert found.layer is not None
            mended = runs.load_method(run)
            exchange(mended, found.layer, fitted[chosen])
        _write(out, run, table, mended, {"repair": str(chosen), "field_sha256": sha256(manifest)})
    if json:
        print(jsons.dumps(table, allow_nan=False))
    else:
        tabular.show(repaired.shown(table), table["notes"], table["sentences"])


# ------------------------------------------------------------------------------------ what is given


def _check(
    apply: str,
    coverage: float | None,
    risk: float | None,
    out: Path | None,
    replicates: int,
    seed: int,
    batch_size: int,
    workers: int,
    accelerator: str,
) -> None:
    from emodo.inference import check_accelerator

    check_least(100, replicates=replicates)
    check_least(0, seed=seed)
    check_least(1, batch_size=batch_size)
    check_least(0, workers=workers)
    if coverage is not None and risk is not None:
        raise InputError("--coverage and --risk each decide the threshold: give one of them")
    if coverage is not None and not 0 < coverage <= 1:
        raise InputError(f"--coverage is {coverage:g}: it is a share, more than 0 and at most 1")
    if risk is not None and not 0 <= risk < 1:
        raise InputError(f"--risk is {risk:g}: it is a share, 0 or more and less than 1")
    if apply not in ("best", *REPAIRS):
        raise InputError(f"--apply is {apply!r}: it can be best, {', '.join(REPAIRS)}")
    if apply != "best" and out is None:
        raise InputError(f"--apply {apply} writes a run: say where with --out")
    check_accelerator(accelerator)


def _check_out(out: Path | None, run: Path, overwrite: bool) -> None:
    if out is None or not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise InputError(f"{out} exists already: choose another --out, or replace it with --overwrite")
    if not (out / TABLE).is_file():
        raise InputError(f"{out} is not the folder of a repair (it has no {TABLE}), so it is not overwritten")
    if out.resolve() in run.resolve().parents:
        raise InputError(f"{out} holds {run}, which is repaired: choose another --out")


def _field(manifest: Path, task: Task, split: str, settings: Mapping[str, Any], method: Method) -> pd.DataFrame:
    """The labelled rows, all of which can be read."""
    from emodo import manifest as manifests
    from emodo.data import check_boxes, check_images
    from emodo.multilabel import check_single

    frame = manifests.load(manifest, task.emotions)
    if split != "all" and "split" in frame:
        frame = frame.loc[frame.loc[:, "split"] == split]
        if frame.empty:
            raise InputError(f"{manifest} has no row whose split is {split!r}: choose another --split, or `all`")
    check_single(frame, manifest, "a repair is for runs that recognise one a row")
    if frame.loc[:, "emotion"].nunique() < 2:
        raise InputError(
            f"{manifest} shows one emotion, {frame['emotion'].iat[0]}: a repair needs images of others too"
        )
    check_images(frame, manifest, settings["max_pixels"])
    if method.views:
        check_boxes(frame, manifest, type(method).__name__)
    return frame


def _trained(
    run: Path, method: Method, task: Task, frame: pd.DataFrame, manifest: Path
) -> tuple[np.ndarray | str, list[str]]:
    """P(Y) that the run was trained with, [E], or why it is not known; and what has to be said of it.

    Raises InputError where a row of the field is one that the run was trained on.
    """
    import numpy as np

    from emodo import manifest as manifests
    from emodo import repairs, runs

    named, name = runs.config(run).get("manifest"), type(method).__name__
    counts: pd.Series | None = None
    if named and Path(named).is_file() and sha256(Path(named)) == runs.provenance(run).get("manifest_sha256"):
        lab = manifests.load(Path(named), (*manifests.EMOTIONS, *task.emotions), check_files=False)
        lab = lab.loc[lab.loc[:, "split"] == "train"]
        shared = frame.loc[frame.loc[:, "file"].isin(lab.loc[:, "file"]), "path"]
        if len(shared):
            raise InputError(
                f"{manifest}, row {shared.index[0] + 1}: {shared.iat[0]} is an image that {run} was trained on "
                f"({len(shared)} are), and says nothing of the field: leave these out, as with --split test"
            )
        counts = lab.loc[:, "emotion"].value_counts().reindex(list(task.emotions), fill_value=0)
    if name in EVEN or getattr(method, "adjust", False):
        even = f"{name} is trained to find every emotion as likely as every other: prior correction starts from that."
        return np.full(len(task.emotions), 1 / len(task.emotions)), [even]
    if counts is None:
        return f"the manifest that {run.name} was trained on is not there, or has changed", []
    return repairs.shares(counts.to_numpy()), []


def _column(frame: pd.DataFrame, manifest: Path, stratum: str | None, task: Task) -> str | None:
    if stratum is not None and stratum not in frame:
        found = ", ".join(name for name in frame if name != "file")
        raise InputError(f"{manifest} has no column {stratum!r} (found: {found}): name another with --stratum")
    own = task.confounder.column if task.confounder else "stratum"
    chosen = stratum or next((name for name in (own, "stratum") if name in frame), None)
    if chosen is None:
        return None
    empty = frame.index[frame.loc[:, chosen].isna()]
    if len(empty) == len(frame) and stratum is None:
        return None
    if len(empty):
        raise InputError(f"{manifest}, row {empty[0] + 1}: {chosen} is empty: fill it, or name another with --stratum")
    return chosen


def _labelled(
    frame: pd.DataFrame,
    task: Task,
    column: str | None,
    cluster: Cluster | None,
    logits: np.ndarray,
    features: np.ndarray | None,
) -> tuple[Cluster, Labelled]:
    import numpy as np
    import pandas as pd

    from emodo import statistics
    from emodo.heldout import Labelled

    people = "subject" if "subject" in frame and bool(frame.loc[:, "subject"].notna().any()) else None
    by, number = statistics.clusters(frame, cluster or people)
    truth = pd.Index(list(task.emotions)).get_indexer(pd.Index(frame["emotion"]))
    strata = np.zeros(len(frame), int) if column is None else pd.factorize(frame[column].astype("str"), sort=True)[0]
    return by, Labelled(logits, features, truth, strata, number)


# --------------------------------------------------------------------------------- what is measured


def _measured(
    table: dict[str, Any], images: Labelled, task: Task, trained: np.ndarray | str, replicates: int, seed: int
) -> dict[str, Repair]:
    """Fill in the table; returns the repairs that were measured, fitted on all images."""
    from emodo import heldout, repaired, repairs

    too_few = ""
    if len(images.truth) < LEAST_IMAGES or table["clusters"] < LEAST_CLUSTERS:
        too_few = (
            f"{len(images.truth)} images of {table['clusters']} {table['cluster']}s; {LEAST_IMAGES} images of "
            f"{LEAST_CLUSTERS} are the least"
        )
    why: dict[str, tuple[str, str]] = dict.fromkeys(REPAIRS, (repaired.NOT_ENOUGH, too_few)) if too_few else {}
    if not too_few:
        if isinstance(trained, str):
            why["prior"] = (repaired.NOT_TRIED, trained)
        if images.features is None:
            why["dfr"] = (repaired.NOT_TRIED, "the run's method has no linear layer whose output is its logits")
        elif lacking := heldout.too_few(images, task.emotions):
            why["dfr"] = (repaired.NOT_ENOUGH, lacking)
    prior = None if isinstance(trained, str) else trained
    tried = [name for name in REPAIRS if name not in why]
    table |= {"folds": heldout.FOLDS, "too_few": too_few, "unrepaired": None, "abstention": {}}
    rows: list[dict[str, Any]] = [{"name": name} for name in REPAIRS]
    fitted: dict[str, Repair] = {}
    if too_few and table["clusters"] > 1:
        table["unrepaired"] = heldout.compare(images, {}, replicates, seed)[0]
    if not too_few:
        fold = repairs.folds(images.truth, images.cluster, heldout.FOLDS, seed)
        answers = {name: heldout.held_out(name, images, fold, prior, seed) for name in tried}
        fitted = {name: heldout.fit(name, images, prior, seed) for name in tried}
        table["unrepaired"], levels, changes = heldout.compare(images, answers, replicates, seed)
        wanted = (table["wanted"]["coverage"], table["wanted"]["risk"])
        for name, logits in {"unrepaired": images.logits, **answers}.items():
            table["abstention"][name] = heldout.abstain(logits, images, fold, wanted, replicates, seed)
        for row in rows:
            if row["name"] in fitted:
                row |= {"measures": levels[row["name"]], "change": changes[row["name"]]}
                row |= _told(fitted[row["name"]], row["name"], task)
    for row in rows:
        if row["name"] in why:
            row["verdict"], row["why"] = why[row["name"]]
    repaired.judge(rows, table["abstention"].get("unrepaired", {}))
    table["repairs"], table["best"] = rows, repaired.best(rows)
    return fitted


def _told(fitted: Repair, name: str, task: Task) -> dict[str, Any]:
    """The repair's own numbers."""
    from emodo.repairs import Layer

    if isinstance(fitted, Layer):
        return {"c": fitted.c, "weights": int((fitted.weight != 0).sum())}
    if name == "temperature":
        return {"temperature": 1 / fitted.scale}
    return {"shift": {emotion: float(value) for emotion, value in zip(task.emotions, fitted.shift, strict=True)}}


# ---------------------------------------------------------------------------------- what is written


def _write(out: Path, run: Path, table: Mapping[str, Any], mended: Method | None, provenance: dict[str, str]) -> None:
    """The folder, whole or not at all; it replaces what was there."""
    from emodo import repaired, runs, tabular

    page = f"# {table['manifest']}: what mends the run\n\n"
    page += f"![Wrong answers by the share that is answered]({FIGURE})\n\n" if table["abstention"] else ""
    page += tabular.markdown(repaired.shown(table), table["notes"], table["sentences"])
    config, task = runs.config(run), runs.task(run)
    origin = {**runs.provenance(run), "repaired_from_sha256": sha256(runs.weights_file(run)), **provenance}
    if out.exists() and any(out.iterdir()):
        remove_folder(out)
    with new_folder(out) as folder:
        write_text(folder / TABLE, jsons.dumps(table, indent=2, allow_nan=False) + "\n")
        write_text(folder / PAGE, page)
        if table["abstention"]:
            write_text(folder / FIGURE, repaired.figure(table))
        if mended is not None:
            runs.create(folder / RUN, config, task, origin, method=mended)
    print(f"{out}: {', '.join(sorted(file.name for file in out.iterdir()))}", file=sys.stderr)
