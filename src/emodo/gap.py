"""`emodo gap`: how lab and field differ, and which difference the field's lost accuracy is due to."""

from __future__ import annotations

import json as jsons
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emodo.files import sha256
from emodo.records import InputError, Reading, check_least
from emodo.statistics import Cluster

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from emodo.factors import Factor
    from emodo.poststratification import Drop

FEW = 20  # images of a field below which intervals are said to be wide
MOST_FEATURES = 5000  # images of each set of which features are taken
NO_FACTOR = ("path", "file", "emotion", "split", "subject", "sequence", "x1", "y1", "x2", "y2")


def gap(
    lab: Path,
    field: Path,
    run: Path | None = None,
    out: Path | None = None,
    split: str | None = None,
    cluster: Cluster | None = None,
    json: bool = False,
    emotions: list[str] | None = None,
    backbone: str = "small",
    pretrained: bool | str | Path | None = None,
    size: int = 64,
    replicates: int = 2000,
    batch_size: int = 64,
    workers: int = 0,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    seed: int = 0,
    max_pixels: int = 50_000_000,
    overwrite: bool = False,
) -> None:
    """emodo gap lab.parquet field.csv --run runs/erm --out runs/gap

    Say how the images of the field differ from those of the lab, ranked: degradations, light, colour, size, every
    column that both have, and how well a classifier tells the sets apart. With --run and emotions in FIELD, also how
    much of the accuracy that is lost in the field each of these accounts for, by post-stratification, with intervals.

    Args:
        lab: The manifest of the lab.
        field: The manifest of the field; its emotions may be missing, in some rows or in all. A table with a column
            path will do, or a folder of images.
        run: A finished run, whose accuracy is compared. Its own predictions are taken where LAB is its manifest.
        out: A folder for gap.json, gap.md and gap.svg.
        split: The rows of LAB that count: train, validation, test or all; by default test with --run where LAB has a
            split, and all otherwise.
        cluster: What intervals and p values draw: sequence, subject or image; by default the subject,
            sequence or image, the first that is known, in LAB and in FIELD apart.
        json: Print what gap.json holds, in place of tables.
        emotions: Emotions that the manifests may hold, in place of the known ones and the run's.
        backbone: Whose features a classifier tells the sets apart by, besides by what is measured: any timm model, or
            `small`, which knows nothing but sees colour, contrast and sharpness. With --run, the run's.
        pretrained: Of --backbone, as in `emodo train`.
        size: Side of the backbone's input in pixels; with --run, the run's.
        replicates: Draws of the bootstrap.
        batch_size: Images at a time.
        workers: Processes that decode images.
        accelerator: cpu, gpu, or whichever there is.
        seed: Decides the draws, the folds, and the weights of a backbone that starts at random.
        max_pixels: Larger images are refused before they are decoded; with --run, the run's limit holds.
        overwrite: Replace OUT's files where they exist.

    Raises:
        InputError: A manifest, an image, the run or a setting does not fit, or the run knows no emotion that LAB and
            FIELD show; nothing has been written then.
    """
    from emodo import diagnosis, tabular
    from emodo.data import check_images
    from emodo.files import check_files_out, write_text
    from emodo.inference import check_accelerator

    check_least(100, replicates=replicates)
    check_least(1, batch_size=batch_size)
    check_least(0, workers=workers, seed=seed)
    check_least(16, size=size)
    check_accelerator(accelerator)
    check_files_out(out, overwrite)
    crop = True
    if run is not None:
        settings = _settings(run)
        crop, size, max_pixels = settings.get("crop", True), settings["size"], settings["max_pixels"]
    sets = _load(lab, field, run, split, emotions)
    for name, frame in ((lab, sets.lab), (field, sets.field)):
        check_images(frame, name, max_pixels)
    answers = _answers(sets, run, Reading(lab, size, max_pixels, batch_size, workers, accelerator)) if run else None

    reading = Reading(lab, size, max_pixels, batch_size, workers, accelerator)
    found = _compared(sets, reading, crop, cluster, (run, backbone, pretrained, seed))
    drop, order = (None, []) if answers is None else _explained(sets, found, answers, replicates, seed)
    table = diagnosis.table(found.shifts, found.classifiers, found.facts, drop, order)
    table["notes"] = [*sets.notes, *found.notes, *diagnosis.notes(table)]
    if out is not None:
        write_text(out / "gap.json", jsons.dumps(table, indent=2, allow_nan=False) + "\n")
        page = f"# {lab.name} and {field.name}\n\n{table['verdict']}\n\n"
        write_text(out / "gap.md", page + tabular.markdown(diagnosis.shown(table), table["notes"]))
        write_text(out / "gap.svg", diagnosis.figure(table))
        print(f"{out}: gap.json, gap.md, gap.svg", file=sys.stderr)
    if json:
        print(jsons.dumps(table, allow_nan=False))
    else:
        print(table["verdict"], "\n")
        tabular.show(diagnosis.shown(table), table["notes"])


# ----------------------------------------------------------------------------------------- the two sets


@dataclass
class _Sets:
    """Lab and field as loaded, and what has to be said of them.

    labelled: [N_lab] and [N_field] bool, rows with an emotion (of a run: that it knows).
    """

    lab: pd.DataFrame
    field: pd.DataFrame
    labelled: tuple[np.ndarray, np.ndarray]
    notes: list[str]


def _settings(run: Path) -> dict[str, Any]:
    from emodo import runs

    runs.scores(run)  # refuses what is no run, or not finished
    if runs.task(run).multilabel:
        raise InputError(f"{run} recognises several emotions a row, which are not right or wrong: leave --run out")
    return runs.config(run)


def _load(lab: Path, field: Path, run: Path | None, split: str | None, emotions: list[str] | None) -> _Sets:
    """Load both sets, the rows of LAB that count, and mark the rows whose emotion counts."""
    from emodo import manifest as manifests
    from emodo import runs

    own = runs.task(run).emotions if run else ()
    known = tuple(emotions or sorted({*own, *manifests.EMOTIONS}))
    frame, notes = manifests.load(lab, known), list[str]()
    part = split or ("test" if run and "split" in frame else "all")
    if part != "all" and "split" in frame:
        frame = frame.loc[frame["split"] == part]
        if frame.empty:
            raise InputError(f"{lab} has no row whose split is {part!r}: choose another --split, or `all`")
        notes.append(f"Of {lab.name}, the {len(frame)} rows of the split {part!r} count.")
    elif run:
        notes.append(f"All rows of {lab.name} count; those that the run was trained on make the lab look better.")
    other = _field(field, known)
    if ("x1" in frame) != ("x1" in other):
        boxed, unboxed = (lab, field) if "x1" in frame else (field, lab)
        notes.append(
            f"{boxed.name} has boxes, and {unboxed.name} has none: persons are compared with whole images. Give both "
            "boxes, or neither."
        )
    labelled = [_labelled(each, name, own, bool(run), notes) for each, name in ((frame, lab), (other, field))]
    if run:
        _check_shared(frame, other, labelled, own, (lab, field, run))
        if not labelled[1].any():
            notes.append(f"{field.name} has no emotions, so nothing is said of the run's accuracy there.")
    counted = int(labelled[1].sum()) if run and labelled[1].any() else len(other)
    if counted < FEW:
        notes.append(f"{field.name} has {counted} images that count, fewer than {FEW}: the intervals are wide.")
    return _Sets(frame, other, (labelled[0], labelled[1]), notes)


def _field(field: Path, known: tuple[str, ...]) -> pd.DataFrame:
    """A manifest whose emotions may be missing, a table of paths, or a folder of images."""
    import pandas as pd

    from emodo import manifest as manifests
    from emodo.adapters import disk

    if field.is_dir():
        images = sorted(disk.images(field))
        if not images:
            raise InputError(f"{field} holds no image ({' '.join(sorted(disk.IMAGES))}) at any depth")
        return pd.DataFrame({"path": images, "file": images, "emotion": pd.Series(None, range(len(images)), "str")})
    table = manifests.read(field)
    written = table.loc[:, "emotion"] if "emotion" in table else pd.Series(None, table.index, "str")
    written = manifests.as_text(written)
    frame = manifests.validate(
        table.drop(columns="split", errors="ignore").assign(emotion=written.fillna(known[0])),
        field,
        field.parent,
        known,
    )
    frame["emotion"] = frame["emotion"].mask(written.isna())
    return frame


def _labelled(frame: pd.DataFrame, name: Path, own: Sequence[str], needed: bool, notes: list[str]) -> np.ndarray:
    """Mark the rows whose emotion counts, [N] bool, and say which do not."""
    from emodo.multilabel import check_single

    emotion = frame.loc[:, "emotion"]
    given = emotion.notna()
    if not needed:
        return given.to_numpy(bool)
    check_single(frame.loc[given], name, "the run recognises one a row")
    strange = given & ~emotion.isin(own)
    if strange.any():
        named = ", ".join(sorted(emotion[strange].unique()))
        notes.append(f"{name.name} shows emotions that the run does not know ({named}): {strange.sum()} rows left out.")
    missing = len(frame) - int(given.to_numpy(bool).sum())
    if 0 < missing < len(frame):
        notes.append(f"{name.name} has no emotion in {missing} of {len(frame)} rows: they count in what differs alone.")
    return (given & ~strange).to_numpy(bool)


def _check_shared(
    lab: pd.DataFrame,
    field: pd.DataFrame,
    labelled: Sequence[np.ndarray],
    own: Sequence[str],
    names: tuple[Path, Path, Path],
) -> None:
    shown = [set(frame.loc[rows, "emotion"]) for frame, rows in zip((lab, field), labelled, strict=True)]
    for emotions, frame, name in zip(shown, (lab, field), names[:2], strict=True):
        if not emotions and bool(frame.loc[:, "emotion"].notna().any()):
            has = ", ".join(sorted(frame["emotion"].dropna().unique()))
            raise InputError(f"{names[2]} knows none of the emotions of {name}: it knows {', '.join(own)}, not {has}")
    if shown[1] and not shown[0] & shown[1]:
        raise InputError(
            f"{names[0]} and {names[1]} share no emotion ({'; '.join(', '.join(sorted(each)) for each in shown)}): "
            "accuracies of different emotions cannot be compared"
        )


# -------------------------------------------------------------------------------------------- answers


def _answers(sets: _Sets, run: Path, reading: Reading) -> tuple[np.ndarray, np.ndarray] | None:
    """Whether the run is right on the rows whose emotion counts, [N_lab] and [N_field] bool; None without such rows."""
    if not sets.labelled[1].any():
        return None
    lab, field = (frame.loc[rows] for frame, rows in zip((sets.lab, sets.field), sets.labelled, strict=True))
    tables = [_own(run, reading.manifest, lab), None]
    right = [
        (table if table is not None else _predicted(run, frame, reading))["predicted"].to_numpy(str)
        == frame["emotion"].to_numpy(str)
        for table, frame in zip(tables, (lab, field), strict=True)
    ]
    return right[0], right[1]


def _own(run: Path, manifest: Path, lab: pd.DataFrame) -> pd.DataFrame | None:
    """The run's own predictions, where they are of these rows of the manifest it was trained on."""
    from emodo import runs

    same = Path(runs.config(run)["manifest"]) == manifest.resolve()
    if not same or runs.provenance(run)["manifest_sha256"] != sha256(manifest):
        return None
    table = runs.predictions(run)
    columns = ["path", "emotion"]
    return table if table[columns].equals(lab[columns].reset_index(drop=True)) else None


def _predicted(run: Path, frame: pd.DataFrame, reading: Reading) -> pd.DataFrame:
    from emodo import runs
    from emodo.data import check_boxes
    from emodo.inference import predict

    method, settings = runs.load_method(run), runs.config(run)
    if method.views:
        check_boxes(frame, reading.manifest, type(method).__name__)
    print(f"{len(frame)} images are predicted", file=sys.stderr)
    return predict(
        method,
        runs.task(run),
        frame,
        reading.size,
        reading.batch_size,
        reading.workers,
        reading.accelerator,
        reading.max_pixels,
        settings.get("crop", True),
    )


# ----------------------------------------------------------------------------------------- what differs


@dataclass
class _Compared:
    """What differs: the factors, how each does, the classifiers by what they see, and what has to be said."""

    factors: list[Factor]
    clusters: tuple[np.ndarray, np.ndarray]
    shifts: list[Any]
    classifiers: dict[str, Any]
    facts: dict[str, Any]
    notes: list[str]


def _compared(
    sets: _Sets,
    reading: Reading,
    crop: bool,
    cluster: Cluster | None,
    net: tuple[Path | None, str, bool | str | Path | None, int],
) -> _Compared:
    """Measure every image once, and compare lab and field by all factors. net: run, backbone, pretrained and seed."""
    import numpy as np
    import pandas as pd

    from emodo import factors, shift, statistics
    from emodo.appearance import MEASURES, appearance

    seed = net[3]
    by, lab_cluster = statistics.clusters(sets.lab, cluster or _people(sets.lab))
    field_by, field_cluster = statistics.clusters(sets.field, cluster or _people(sets.field))
    for name, numbers in (("the lab", lab_cluster), ("the field", field_cluster)):
        if numbers.max() < 1:
            raise InputError(f"{name} has images of one {by} only, and nothing to compare with: take --cluster image")
    measured = appearance(pd.concat([sets.lab, sets.field]), reading, crop)
    measures = np.split(measured.to_numpy(float), [len(sets.lab)])
    made = [
        factors.number(name, measures[0][:, at], measures[1][:, at], lab_cluster) for at, name in enumerate(MEASURES)
    ]
    shared = [name for name in sets.lab if name in sets.field and name not in (*NO_FACTOR, *MEASURES)]
    columns = {
        name: factors.column(name, sets.lab.loc[:, name], sets.field.loc[:, name], lab_cluster) for name in shared
    }
    found = [each for each in (*made, *columns.values()) if each is not None]
    if all(rows.any() for rows in sets.labelled):
        emotion = factors.column("emotion", sets.lab.loc[:, "emotion"], sets.field.loc[:, "emotion"], lab_cluster)
        found += [emotion] if emotion is not None else []

    notes = _columns_told(sets, shared, [name for name, each in columns.items() if each is None])
    groups = [f"{len(np.unique(each))} {one}s" for each, one in ((lab_cluster, by), (field_cluster, field_by))]
    facts = {
        "lab": {"images": len(sets.lab), "clusters": int(lab_cluster.max()) + 1, "cluster": by},
        "field": {"images": len(sets.field), "clusters": int(field_cluster.max()) + 1, "cluster": field_by},
    }
    notes.append(f"{len(sets.lab)} images of {groups[0]} in the lab, {len(sets.field)} of {groups[1]} in the field.")
    drawn = [_drawn(each, seed) for each in (lab_cluster, field_cluster)]
    frames = [frame.iloc[rows] for frame, rows in zip((sets.lab, sets.field), drawn, strict=True)]
    features = _features(pd.concat(frames), reading, crop, net)
    apart = [np.unique(each[rows], return_inverse=True)[1] for each, rows in
             zip((lab_cluster, field_cluster), drawn, strict=True)]  # fmt: skip
    return _Compared(
        found,
        (lab_cluster, field_cluster),
        shift.shifts(found, lab_cluster, field_cluster, seed=seed),
        {
            "what is measured": shift.classified(measured.to_numpy(float), lab_cluster, field_cluster, seed),
            "a network's features": shift.classified(features, apart[0], apart[1], seed),
        },
        facts,
        notes,
    )


def _people(frame: pd.DataFrame) -> Cluster | None:
    """Subjects, where they are known: lab and field show different people, and much of what differs is a person's."""
    return "subject" if "subject" in frame and bool(frame.loc[:, "subject"].notna().any()) else None


def _columns_told(sets: _Sets, shared: Sequence[str], unfit: Sequence[str]) -> list[str]:
    """Which columns are not compared, and why."""
    told: list[str] = []
    one_sided = [
        f"{name} ({where})"
        for frame, other, where in ((sets.lab, sets.field, "lab"), (sets.field, sets.lab, "field"))
        for name in frame
        if name not in other and name not in NO_FACTOR
    ]
    if one_sided:
        told.append(f"Not compared, as one of the two alone has it: {', '.join(one_sided)}.")
    if unfit:
        told.append(f"Not compared, as it has one value, or names rows and does not group them: {', '.join(unfit)}.")
    return told


def _drawn(cluster: np.ndarray, seed: int) -> np.ndarray:
    """The rows whose features are taken: all, or at most `MOST_FEATURES` at random, in their order."""
    import numpy as np

    if len(cluster) <= MOST_FEATURES:
        return np.arange(len(cluster))
    return np.sort(np.random.default_rng(seed).choice(len(cluster), MOST_FEATURES, replace=False))


def _features(
    frame: pd.DataFrame, reading: Reading, crop: bool, net: tuple[Path | None, str, bool | str | Path | None, int]
) -> np.ndarray:
    """Features of the frozen backbone, [N, D]."""
    import numpy as np

    from emodo.features import describe

    run, backbone, pretrained, seed = net
    every = np.ones(len(frame), bool)
    view = "person" if crop else "whole"
    table, _ = describe(frame, every, reading, "style", view, Path(), run, backbone, pretrained, seed)
    assert isinstance(table, np.ndarray)  # MOST_FEATURES of each set stay in memory
    return table


# ------------------------------------------------------------------------------------------- explained


def _explained(
    sets: _Sets, found: _Compared, answers: tuple[np.ndarray, np.ndarray], replicates: int, seed: int
) -> tuple[Drop | None, list[int]]:
    """The drop, what each factor accounts for, and the order of the factors."""
    import numpy as np

    from emodo.poststratification import Answers, explain, ordered
    from emodo.shift import farness

    numbered = [
        np.unique(cluster[rows], return_inverse=True)[1]
        for cluster, rows in zip(found.clusters, sets.labelled, strict=True)
    ]
    for name, numbers in (("lab", numbered[0]), ("field", numbered[1])):
        if numbers.max() < 1:
            found.notes.append(f"The drop is not explained: the {name} has labelled images of one cluster only.")
            return None, []
    those = [factor.of(*sets.labelled) for factor in found.factors]
    drop = explain(
        those, Answers(answers[0], numbered[0]), Answers(answers[1], numbered[1]), replicates=replicates, seed=seed
    )
    return drop, ordered(drop.accounts, [farness(factor) for factor in those])
