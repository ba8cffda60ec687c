"""`emodo strata`: strata for confounders that nobody named, as a column for any method."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from emodo import __version__
from emodo.files import sha256
from emodo.records import InputError, Reading, check_least

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from emodo.clusters import Clusters
    from emodo.records import Confounder
    from emodo.scenes import Sources

By = Literal["clusters", "errors", "dictionary", "column", "scene", "degradation"]
Measure = Literal["blur", "noise", "gray", "brightness", "resolution", "compression"]
View = Literal["person", "whole", "context"]
DICTIONARY, SCENES = 256, 30  # clusters of a dictionary (CCIM on EMOTIC and GroupWalk; 128 on CAER-S), and of scenes
GROUPS = 3  # of a degradation


def strata(
    manifest: Path,
    out: Path,
    by: By = "clusters",
    column: list[str] | None = None,
    of: list[Measure] | None = None,
    bins: list[float | str] | None = None,
    scenes: str | None = None,
    network: Path | None = None,
    categories: Path | None = None,
    io: Path | None = None,
    vectors: Path | None = None,
    keep: int = 8,
    run: Path | None = None,
    clusters: int | None = None,
    rule: Literal["jtt", "eiil"] = "jtt",
    view: View | None = None,
    backbone: str = "resnet50",
    pretrained: bool | str | Path | None = None,
    size: int = 224,
    components: int = 50,
    emotions: list[str] | None = None,
    batch_size: int = 64,
    workers: int = 0,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    seed: int = 0,
    max_pixels: int = 50_000_000,
    overwrite: bool = False,
) -> Path:
    """emodo strata fold1.parquet strata.parquet --by clusters

    Find strata, and write them as the manifest's column stratum. They are found on the training rows alone, where the
    manifest has a split. Prints the training rows of each stratum and emotion, P(d), and, where clusters are drawn, how
    stable the strata are over three seeds.

    Args:
        manifest: The manifest to look at.
        out: The manifest to write (.parquet, .csv or .tsv); of a dictionary also OUT.safetensors, a confounder file.
        by: clusters (of the images' style, by a backbone's features), errors (of a reference run on its training
            rows; other rows get no stratum), dictionary (CCIM's contexts, the person masked where there is a box),
            column (columns that are there), scene (IERN's two steps: clusters of Places365's scenes, the most important
            of them, the rest indoors and outdoors), or degradation (as measured in each image).
        column: Of column: one or more; several make a product, such as `female x asian`.
        of: Of degradation: one or more of blur, noise, gray, brightness, resolution, compression; all are written as
            columns.
        bins: Of column and degradation: how numbers are grouped. One number is how many groups of equal size (3 for
            a degradation), two or more are edges (`18 40 60`); `age=18,40,60` is for one column of several.
        scenes: Of scene: the column that holds the scenes; by default `scene`, unless there is a network.
        network: Of scene: resnet18_places365.pth.tar or resnet50_places365.pth.tar, to predict the column scene.
        categories: Of scene, with a network: categories_places365.txt.
        io: Of scene: IO_places365.txt.
        vectors: Of scene: word vectors, a text file of GloVe.
        keep: Of scene: how many clusters are strata of their own.
        run: A finished run whose backbone is used; of IERN and Disentanglement the context features. For errors, the
            reference: an ERM run that still makes mistakes in training, so one of few epochs.
        clusters: Number of clusters; by default the one of 2 to 10 with the largest silhouette, 256 for a dictionary,
            and 30 of scenes.
        rule: Of errors: jtt (right and wrong), or eiil (the two environments in which the reference's confidence
            differs most).
        view: What is looked at: the person (its box), the whole image, or the context (the person masked). By default
            the person, and the context for a dictionary. Scenes are always of the whole image.
        backbone: Of clusters and dictionary: any timm model, or `small`, where there is no run.
        pretrained: true downloads timm's weights, false starts at random, a path reads a state dict. By default
            true for every timm model that has weights.
        size: Side of the input in pixels; with a run, the run's.
        components: Principal components in which is clustered, at most; CCIM does not say how many it took.
        emotions: Emotions that the manifest may hold, in place of the known ones and a run's. Of errors, the run's.
        batch_size: Images at a time.
        workers: Processes that decode images.
        accelerator: cpu, gpu, or whichever there is.
        seed: Decides the clusters, and the weights of a backbone that starts at random.
        max_pixels: Larger images are refused before they are decoded.
        overwrite: Replace OUT where it exists.

    Returns:
        OUT.

    Raises:
        InputError: The manifest, the run, a file or a setting does not fit, there are fewer images than clusters, or
            the reference makes no mistake; nothing has been written then.
    """
    import numpy as np

    from emodo import columns, confounders, runs
    from emodo import manifest as manifests
    from emodo.inference import check_accelerator
    from emodo.scenes import Sources

    _check_settings(
        clusters=2 if clusters is None else clusters,
        keep=keep,
        size=size,
        components=components,
        batch_size=batch_size,
        workers=workers,
        seed=seed,
        max_pixels=max_pixels,
    )
    _check_needs(by, run, column, of, view)
    check_accelerator(accelerator)
    manifests.check_target(out, overwrite)
    dictionary = out.with_suffix(".safetensors")
    if by == "dictionary" and dictionary.exists() and not overwrite:
        raise InputError(f"{dictionary} exists already: choose another OUT, or replace it with --overwrite")
    own = runs.task(run).emotions if run else ()
    known = own if by == "errors" else tuple(emotions or sorted({*own, *manifests.EMOTIONS}))
    frame = manifests.load(manifest, known)
    train = (frame["split"] == "train").to_numpy() if "split" in frame else np.ones(len(frame), bool)
    if not train.any():
        raise InputError(f"{manifest} has no row whose split is `train`, on which the strata are found")
    if run:
        config = runs.config(run)
        size, max_pixels = config["size"], config["max_pixels"]
    reading = Reading(manifest, size, max_pixels, batch_size, workers, accelerator)

    written, confounder = frame, None
    if by == "errors":
        assert run is not None
        names = np.full(len(frame), None, object)
        names[train] = _by_errors(frame.loc[train], reading, run, rule)
    elif by == "column":
        names = columns.product(frame, train, manifest, column or (), bins or ())
    elif by == "degradation":
        columns.read_bins(bins or (), of or ())  # before an hour of reading images
        written = _measured(frame, reading, crop=view != "whole")
        names = columns.product(written, train, manifest, of or (), bins or (), GROUPS)
    elif by == "scene":
        sources = Sources(scenes, network, categories, io, vectors)
        written, names = _by_scene(frame, train, reading, sources, clusters or SCENES, keep, seed)
    else:
        net = (run, backbone, pretrained, seed)
        names, confounder = _by_clusters(
            frame, train, reading, by == "dictionary", view, net, clusters, components, out
        )
    print(_coverage(frame.loc[train], names[train]))

    if "stratum" in frame:
        print(f"{out}: the column stratum of {manifest} is replaced", file=sys.stderr)
    if confounder is not None:
        confounders.save(confounder, dictionary)
        print(f"{dictionary}: {len(confounder.strata)} prototypes", file=sys.stderr)
    manifests.save(written.assign(stratum=names), out)
    return out


def _check_settings(**values: int) -> None:
    for name, value in values.items():
        least = {"clusters": 2, "size": 16, "workers": 0, "seed": 0}.get(name, 1)
        check_least(least, **{name: value})


def _check_needs(
    by: str, run: Path | None, column: list[str] | None, of: list[Measure] | None, view: str | None
) -> None:
    if by == "errors" and run is None:
        raise InputError("--by errors needs a reference: name an ERM run of few epochs with --run")
    if by == "column" and not column:
        raise InputError("--by column needs a column that holds the strata: name one or more with --column")
    if by == "degradation" and not of:
        raise InputError("--by degradation needs to know which: name one or more with --of, such as --of blur noise")
    if by == "degradation" and view == "context":
        raise InputError("--view context cannot be measured, as the person is masked: take person or whole")


# ------------------------------------------------------------------------------------------- clusters


def _by_clusters(
    frame: pd.DataFrame,
    train: np.ndarray,
    reading: Reading,
    contexts: bool,
    view: View | None,
    net: tuple[Path | None, str, bool | str | Path | None, int],
    clusters: int | None,
    components: int,
    out: Path,
) -> tuple[np.ndarray, Confounder | None]:
    """Name each row's cluster, [N], by style or by context, and make the dictionary of contexts.

    net: run, backbone, pretrained and seed.
    """
    from emodo.clusters import check_number, cluster, prototypes
    from emodo.features import describe

    run, backbone, _, seed = net
    wanted = DICTIONARY if contexts and clusters is None else clusters
    check_number(reading.manifest, int(train.sum()), wanted)  # before an hour of reading images
    what, view = ("content", view or "context") if contexts else ("style", view or "person")
    table, weights = describe(frame, train, reading, what, view, out.parent, *net)
    found = cluster(table, train, reading.manifest, wanted, components, seed)
    print(_how_sure(found))
    if not contexts:
        return found.names, None
    provenance = {
        "backbone": str(run or backbone),
        "weights_sha256": weights,
        "manifest_sha256": sha256(reading.manifest),
        "view": view,
        "size": str(reading.size),
        "clusters": str(wanted),
        "components": str(found.components),
        "seed": str(seed),
        "emodo": __version__,
        **{package: version(package) for package in ("torch", "timm", "scikit-learn", "numpy")},
    }
    how = f"{train.sum()} images, {run or backbone}, k-means++ in {found.components} principal components"
    training = found.names.copy()
    training[~train] = None
    return found.names, prototypes(table, training, how, provenance)


# ------------------------------------------------------------------------------- scenes, degradations


def _by_scene(
    frame: pd.DataFrame, train: np.ndarray, reading: Reading, sources: Sources, clusters: int, keep: int, seed: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """The manifest with its scenes, and the stratum of each row, [N]."""
    from emodo.places import about, scenes_of
    from emodo.scenes import check_classes, two_steps

    meaning, settings = about(frame, reading.manifest, sources)
    check_classes(meaning, clusters, reading.manifest)  # before an hour of reading images
    written, scene = scenes_of(frame, reading, sources, settings)
    emotion = frame["emotion"].to_numpy(str)
    found = two_steps(scene, emotion, train, meaning, settings, reading.manifest, clusters, keep, seed)
    print(found.clusters.to_string(float_format="{:.4f}".format), f"\n\n{_stability(found.agreement)}\n", sep="")
    return written, found.names


def _measured(frame: pd.DataFrame, reading: Reading, crop: bool) -> pd.DataFrame:
    """The manifest with the columns of all degradations."""
    from emodo.data import check_images
    from emodo.quality import MEASURES, measure

    check_images(frame, reading.manifest, reading.max_pixels)
    replaced = [column for column in MEASURES if column in frame]
    if replaced:
        print(f"{reading.manifest}: measured anew, and replaced: {', '.join(replaced)}", file=sys.stderr)
    measures = measure(frame, reading, crop)
    return frame.assign(**{column: measures[column] for column in MEASURES})


# --------------------------------------------------------------------------------------------- errors


def _by_errors(rows: pd.DataFrame, reading: Reading, run: Path, rule: str) -> np.ndarray:
    """Name the stratum of each of the training rows, [N], by how the reference run does on it."""
    import numpy as np

    from emodo import runs
    from emodo.clusters import environments
    from emodo.data import check_boxes, check_images, labels
    from emodo.inference import predict
    from emodo.multilabel import check_single

    task, method = runs.task(run), runs.load_method(run)
    if task.multilabel:
        raise InputError(f"--by errors needs a reference that is right or wrong, and {run} recognises several emotions")
    check_single(rows, reading.manifest, f"{run} recognises one a row")
    check_images(rows, reading.manifest, reading.max_pixels)
    if method.views:
        check_boxes(rows, reading.manifest, type(method).__name__)
    table = predict(
        method,
        task,
        rows,
        reading.size,
        reading.batch_size,
        reading.workers,
        reading.accelerator,
        reading.max_pixels,
        runs.config(run).get("crop", True),
    )
    if rule == "jtt":
        apart, usual, odd = (table["emotion"] != table["predicted"]).to_numpy(bool), "right", "wrong"
    else:
        logits = table[[f"logit:{emotion}" for emotion in task.emotions]].to_numpy(float)
        apart, usual, odd = environments(logits, labels(rows, task)[0]), "environment1", "environment2"
    if apart.all() or not apart.any():
        raise InputError(
            f"{reading.manifest}: all {len(rows)} training images are {odd if apart.all() else usual!r} to {run}, and "
            "there is nothing to tell apart: take a run of other length; one of few epochs has not yet learned its "
            "training images by heart"
        )
    return np.where(apart, odd, usual).astype(object)


# --------------------------------------------------------------------------------- what is printed


def _how_sure(found: Clusters) -> str:
    """The silhouettes that chose the number of clusters, and the agreement of several seeds."""
    scores = found.silhouettes
    best = max(scores, key=lambda count: scores[count], default=0)
    lines = [f"{count:8}  {score:10.3f}{'  <-' * (count == best)}" for count, score in scores.items()]
    return "\n".join(
        [
            *(["clusters  silhouette", *lines, ""] if scores else []),
            f"{found.components} principal components hold {found.kept:.0%} of the variance",
            _stability(found.agreement),
            "",
        ]
    )


def _stability(agreement: tuple[float, ...]) -> str:
    mean = sum(agreement) / len(agreement)
    return f"stability over three seeds: adjusted Rand index {mean:.2f}, at least {min(agreement):.2f}"


def _coverage(frame: pd.DataFrame, names: np.ndarray) -> str:
    """The rows of each stratum and emotion, P(d), the empty cells, and which known columns the strata agree with."""
    import numpy as np
    import pandas as pd
    from sklearn.metrics import adjusted_rand_score

    from emodo.multilabel import apart, several

    stratum, emotion = pd.Series(names, frame.index, dtype="str"), frame.loc[:, "emotion"]
    each = apart(emotion)  # a row counts in each of its emotions
    counts = pd.crosstab(stratum.loc[each.index].to_numpy(), each.to_numpy())
    rows = stratum.value_counts().reindex(counts.index)
    table = counts.assign(rows=rows, **{"P(d)": (rows / rows.sum()).map("{:.3f}".format)})
    empty = int((counts == 0).to_numpy().sum())
    same: list[str] = []
    for column in ("emotion", "source", "subject"):
        if column == "emotion" and several(emotion).any():
            continue
        known = frame[column].notna().to_numpy() if column in frame else np.zeros(len(frame), bool)
        if known.any():
            given = frame.loc[known, column].to_numpy(str)
            same.append(f"{column} {adjusted_rand_score(given, names[known].astype(str)):.2f}")
    return "\n".join(
        [
            table.rename_axis(index=None, columns=None).to_string(),
            "",
            f"{empty} of {counts.size} cells (stratum x emotion) are empty",
            f"adjusted Rand index with known columns: {', '.join(same) or 'there are none'}",
        ]
    )
