"""`emodo audit`: what a model could cheat with in this data, before any training."""

from __future__ import annotations

import json as jsons
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emodo.records import InputError, Reading, check_least

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

NEAR = 16  # bits that near duplicates may differ in, see `emodo.leakage`
LARGEST = 20_000  # images whose features are held
PAIRS = 20  # leaking pairs that are kept of each gate


def audit(
    manifest: Path,
    columns: list[str] | None = None,
    bins: list[float | str] | None = None,
    split: str = "train",
    images: bool = True,
    sample: int = 5000,
    run: Path | None = None,
    backbone: str | None = None,
    pretrained: bool | str | Path | None = None,
    size: int = 224,
    out: Path | None = None,
    json: bool = False,
    replicates: int = 2000,
    emotions: list[str] | None = None,
    batch_size: int = 64,
    workers: int = 0,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    seed: int = 0,
    max_pixels: int = 50_000_000,
) -> None:
    """emodo audit faces.parquet --out audit

    Say what a model could cheat with, before any training: which columns go with the emotion beyond chance, whether the
    image tells them, which cells are empty, which methods are possible, and what leaks.

    Args:
        manifest: The manifest to look at.
        columns: Columns to look at; by default all that may be confounders.
        bins: How columns of numbers are grouped. One number is how many groups of equal size (5), two or more are edges
            (`18 40 60`); `age=18,40,60` is for one column.
        split: The rows that count, where the manifest has a split: train, validation or test; `all` takes every row.
        images: Look at the images; without, none is opened, nor need be there.
        sample: Images that are looked at, about, whole subjects or sequences at random; 20,000 at most.
        run: A finished run whose features are asked instead of colour and texture.
        backbone: A timm model, or `small`, whose features are asked instead.
        pretrained: Of a backbone: true downloads timm's weights, false starts at random, a path reads a state dict.
        size: Side of a backbone's input in pixels; with a run, the run's.
        out: A new folder for audit.json and audit.md.
        json: Print all numbers as JSON instead.
        replicates: Tables that are drawn, for tests and intervals.
        emotions: Emotions that the manifest may hold, in place of the known ones.
        batch_size: Images at a time.
        workers: Processes that decode images.
        accelerator: cpu, gpu, or whichever there is; for backbones.
        seed: Decides what is drawn.
        max_pixels: Larger images are refused before they are decoded.

    Raises:
        InputError: The manifest, an image, a run or a setting does not fit, there is one emotion only, or no column to
            audit; nothing has been written then.
    """
    from emodo import audited, runs, tabular
    from emodo import manifest as manifests
    from emodo.files import new_folder

    _check_settings(split, sample, size, replicates, batch_size, workers, seed, max_pixels)
    if out is not None and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder: name a new one.")
    if not images and (run or backbone):
        raise InputError(f"--{'run' if run else 'backbone'} looks at images: leave it out, or --images false")
    if run is not None:
        config = runs.config(run)
        size, max_pixels = config["size"], config["max_pixels"]
    frame = manifests.load(manifest, tuple(emotions) if emotions else None, check_files=images)
    reading = Reading(manifest, size, max_pixels, batch_size, workers, accelerator)
    features, how = _features(reading, run, backbone, pretrained, seed, out) if images else (None, "")
    result = examine(frame, manifest, columns or (), bins or (), split, features, how, sample, replicates, seed)
    if out is not None:
        with new_folder(out) as folder:
            (folder / "audit.json").write_text(jsons.dumps(result, indent=1) + "\n", encoding="utf-8")
            (folder / "audit.md").write_text(audited.page(result), encoding="utf-8")
        print(f"{out}: audit.json, audit.md", file=sys.stderr)
    if json:
        print(jsons.dumps(result))
    else:
        print(result["verdict"])
        tabular.show(audited.tables(result), audited.notes(result))


def examine(
    frame: pd.DataFrame,
    name: Path,
    columns: Sequence[str] = (),
    bins: Sequence[float | str] = (),
    split: str = "train",
    features: Callable[[pd.DataFrame], np.ndarray] | None = None,
    how: str = "",
    sample: int = 5000,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Audit a manifest; all that is found, as it can be written to JSON and drawn.

    frame: a manifest as loaded. name: what messages call it. features: what stands for the images of some rows, [M, F];
    None looks at no image. how: what the features are. The others: as in `audit`.

    Returns a dictionary:
        verdict: one sentence. manifest, rows (those that count), of (all), split (None for all rows), cluster (subject,
        sequence or image), clusters (how many), emotions ({emotion: rows}), replicates, seed.
        images: None, or {"looked_at": rows, "features": how}.
        columns: the ranking, most dangerous first, a dictionary each:
            column, strata [D], unknown (rows without a value, which are a stratum), binned.
            danger (see `emodo.audited.danger`), biased (Holm's p below 0.05).
            rows [D], counts [D][E] with the emotions in the order of `emotions`, given [D][E] = P(e|d).
            association: cramers_v, mutual_information (nats) and conditional_entropy, H(E|D) / H(E), each {value, low,
            high}; chi_square, p, p_holm.
            bayes: {accuracy, majority}: the emotion from the stratum alone, and from nothing.
            image: None, or what `emodo.telling.tell` returns; from_emotion: the same accuracy from the emotion alone.
            importance [D], importance_as_printed [D]: I(c), see `emodo.scenes.two_steps`.
            entropies: {emotion: {strata, zero, mean}}, see `emodo.associations.presence_entropies`.
            gaps: see `emodo.remedies.gaps`. methods: {possible: [...], impossible: [{methods, why}]}.
        skipped: [{column, why}].
        leakage: [{gate, rows, of, said, pairs: [[row, other row]]}], rows counted from 1; the first pairs only.
        notes: sentences.

    Raises InputError where one emotion is all there is, no row is of that split, or no column can be audited.
    """
    import numpy as np
    import pandas as pd

    from emodo import audited
    from emodo.characteristics import characteristics, described
    from emodo.manifest import subject_key
    from emodo.multilabel import apart, multi_hot
    from emodo.remedies import gaps, possible
    from emodo.statistics import holm

    part = split if "split" in frame and split != "all" else None
    rows = frame.loc[frame["split"] == part] if part else frame
    if rows.empty:
        raise InputError(f"{name} has no row whose split is {part!r}: name another with --split, or all")
    names = tuple(sorted(set(apart(rows.loc[:, "emotion"]))))
    if len(names) == 1:
        raise InputError(
            f"{name} has one emotion, {names[0]!r}, in {f'its {part} rows' if part else 'all rows'}, and nothing can "
            "go with it: add rows of others"
        )
    found, skipped = characteristics(rows, name, columns, bins)
    shown = multi_hot(rows.loc[:, "emotion"], names)
    cluster = pd.factorize(subject_key(rows), sort=True)[0]
    told = [described(one, shown, names, cluster, replicates, seed) for one in found]

    looked = None
    if features is not None:
        from emodo.telling import drawn, narrowed, tell

        looked = drawn(cluster, sample, seed)
        seen = narrowed(features(rows.iloc[looked]), seed)
        for one, each in zip(told, found, strict=True):
            one["image"] = tell(seen, each.stratum[looked], cluster[looked], each.strata, replicates, seed)
    known = [one["association"]["p"] for one in told if one["association"]["p"] is not None]
    for one, each, p in zip(told, found, holm(known) if known else [None] * len(told), strict=True):
        one["association"]["p_holm"] = p
        one["biased"] = p is not None and p < audited.SURE
        one.setdefault("image", None)
        one["danger"] = audited.danger(one)
        counts = np.array(one["counts"])
        one["gaps"] = gaps(counts, np.array(one["rows"]), each.strata, names)
        able, others = possible(rows, name, each.column, each.strata, names, counts)
        one["methods"] = {"possible": able, "impossible": others}
    result: dict[str, Any] = {
        "manifest": str(name),
        "rows": len(rows),
        "of": len(frame),
        "split": part,
        "cluster": _cluster(rows),
        "clusters": int(cluster.max()) + 1,
        "emotions": dict(zip(names, shown.sum(axis=0).astype(int).tolist(), strict=True)),
        "replicates": replicates,
        "seed": seed,
        "images": None if looked is None else {"looked_at": len(looked), "features": how},
        "columns": audited.ranked(told),
        "skipped": [vars(each) for each in skipped],
        "leakage": _leakage(frame, name, features is not None, len(frame) <= sample),
    }
    return {"verdict": audited.verdict(result), **result, "notes": _notes(result)}


def _notes(result: dict[str, Any]) -> list[str]:
    counted, cluster, images = result["columns"], result["cluster"], result["images"]
    of = f"{result['split']} rows" if result["split"] else "rows"
    notes = [
        f"{result['rows']} {of} of {result['clusters']} {cluster}s; these are drawn as a whole for intervals and tests",
        "danger is Cramer's V" + (" times how far the image tells the stratum above chance" if images else ""),
    ]
    if images:
        notes.append(f"{images['looked_at']} images were looked at, by {images['features']}")
    for one in counted:
        if images and one["image"] is None:
            notes.append(
                f"{one['column']}: fewer than two strata were seen in two {cluster}s, so the image was not asked"
            )
        elif one["image"] and one["image"]["left_out"]:
            left = ", ".join(one["image"]["left_out"])
            notes.append(f"{one['column']}: seen in one {cluster} alone, so the image was not asked for {left}")
        if all(sum(n > 0 for n in each) == 1 for each in zip(*one["counts"], strict=True)):
            notes.append(
                f"{one['column']}: every emotion has one value of it; if that is the emotion in other words, it is no "
                "confounder, and if not, nothing in this data tells the two apart"
            )
        if one["unknown"]:
            notes.append(f"{one['column']}: {one['unknown']} rows have no value, and are a stratum here")
    return notes


def _cluster(frame: pd.DataFrame) -> Literal["subject", "sequence", "image"]:
    """What rows are clustered by, where they know it."""
    for key in ("subject", "sequence"):
        if key in frame and frame.loc[:, key].notna().any():
            return key
    return "image"


def _leakage(frame: pd.DataFrame, name: Path, files: bool, near: bool) -> list[dict[str, Any]]:
    """What the test part shares with the others, or copies within the manifest; of images only where they are there."""
    from emodo.leakage import leaks, told

    parts = set(frame["split"]) if "split" in frame else set[str]()
    if parts and not ("test" in parts and len(parts) > 1):
        frame = frame.drop(columns="split")  # nothing is tested, or nothing learned: copies are looked for
    if not files:
        return _shared_subjects(frame)
    return [
        {
            "gate": leak.gate,
            "rows": len(leak.rows),
            "of": leak.of,
            "said": told(frame, leak)[0],
            "pairs": [
                [int(frame.index[row]) + 1, int(frame.index[other]) + 1]
                for row, other in zip(leak.rows[:PAIRS].tolist(), leak.match[:PAIRS].tolist(), strict=True)
            ],
        }
        for leak in leaks(frame, name, NEAR if near else None)
    ]


def _shared_subjects(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The subjects of the test part that are in the others too, by the table alone."""
    from emodo.manifest import subject_key

    if "split" not in frame or "subject" not in frame:
        return []
    key = subject_key(frame).where(frame.loc[:, "subject"].notna())
    tested = frame.loc[:, "split"] == "test"
    shared = set(key.loc[tested].dropna()) & set(key.loc[~tested].dropna())
    rows, known = int((tested & key.isin(shared)).sum()), key.loc[tested].nunique()
    said = f"{len(shared)} of {known} test subjects are in other parts too ({rows} of {tested.sum()} rows)"
    return [{"gate": "subject", "rows": rows, "of": int(tested.sum()), "said": said, "pairs": []}]


def _features(
    reading: Reading,
    run: Path | None,
    backbone: str | None,
    pretrained: bool | str | Path | None,
    seed: int,
    out: Path | None,
) -> tuple[Callable[[pd.DataFrame], np.ndarray], str]:
    """What is seen in images, and its name."""
    from emodo.inference import check_accelerator
    from emodo.telling import backbone_features, looks

    check_accelerator(reading.accelerator)
    if run is None and backbone is None:
        return lambda frame: looks(frame, reading), "colour and texture"
    folder = out.parent if out else Path()
    return (
        lambda frame: backbone_features(frame, reading, run, backbone, pretrained, seed, folder),
        f"features of {run or backbone}",
    )


def _check_settings(
    split: str,
    sample: int,
    size: int,
    replicates: int,
    batch_size: int,
    workers: int,
    seed: int,
    max_pixels: int,
) -> None:
    if split not in ("train", "validation", "test", "all"):
        raise InputError(f"--split is {split!r}: it is train, validation, test or all")
    if sample > LARGEST:
        raise InputError(f"--sample is {sample}: it is {LARGEST} at most, as their features are held in memory")
    least = {"sample": 2, "size": 16, "replicates": 100, "batch_size": 1, "workers": 0, "seed": 0, "max_pixels": 1}
    given = (sample, size, replicates, batch_size, workers, seed, max_pixels)
    for (option, smallest), value in zip(least.items(), given, strict=True):
        check_least(smallest, **{option: value})
