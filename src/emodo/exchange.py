"""Runs that are given to others: safetensors, JSON and a model card, and back."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import emodo
from emodo import runs
from emodo.classifier import EmotionClassifier
from emodo.files import new_folder, write_text
from emodo.records import InputError
from emodo.tabular import templates

CARD = "README.md"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
WORST = 5  # cells that the card names


def save_pretrained(run: str | Path, folder: str | Path, license: str | None = None, overwrite: bool = False) -> Path:
    """emodo save-pretrained runs/iern shared/iern

    Write a run as a folder to give to others, in the conventions of the Hugging Face hub: model.safetensors,
    config.json, confounder.safetensors where the method has a dictionary, and README.md, a model card made from the
    run. Read the card, and add what only you know, before you share it.

    Left out is what tells of people and places: predictions, paths of images and of the manifest, checkpoints.

    The folder is read wherever a run is (`emodo evaluate`, `emodo export`), and by `emodo.load`. Nothing is uploaded:
    `hf upload NAME/MODEL FOLDER` does that.

    Args:
        run: A finished run, or one that was imported.
        folder: Folder to write.
        license: Name of the licence under which you share the weights, as mit; the data's licence may forbid some.
        overwrite: Replace FOLDER where this command has made it.

    Returns:
        The folder.

    Raises:
        InputError: The run is not finished, or FOLDER exists.
    """
    run, folder = Path(run), Path(folder)
    runs.load_method(run)  # what is shared can be read
    if folder.exists() and overwrite and not runs.is_shared(folder):
        raise InputError(f"{folder} is no shared model, so it is not overwritten: choose another folder")
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists already: choose another folder, or replace it with --overwrite")
    said, card = _said(run), _card(run, folder.resolve().name, license)
    if folder.exists():
        shutil.rmtree(folder)
    with new_folder(folder) as written:
        shutil.copyfile(runs.weights_file(run), written / runs.SHARED_WEIGHTS)
        if (run / runs.CONFOUNDER).is_file():
            shutil.copyfile(run / runs.CONFOUNDER, written / runs.CONFOUNDER)
        write_text(written / runs.SHARED, json.dumps(said, indent=2) + "\n")
        write_text(written / CARD, card)
    return folder


def load(source: str | Path, revision: str | None = None, download: bool = False) -> EmotionClassifier:
    """The trained model of a run, of a shared folder, or of the Hugging Face hub, ready to predict.

    Args:
        source: A folder, or the hub's NAME/MODEL.
        revision: Branch, tag or commit on the hub.
        download: Ask the hub; otherwise only what huggingface_hub has in its cache is looked at, and no network.

    Returns:
        The model, fitted: `emodo.load("runs/iern").predict(["face.jpg"])`.

    Raises:
        InputError: There is no such folder or model, or it is none of emodo's.
    """
    folder = Path(source)
    if folder.is_dir():
        return EmotionClassifier.from_run(folder)
    if not HUB_ID.fullmatch(str(source)):
        raise InputError(f"there is no folder {source}, and it is no NAME/MODEL of the Hugging Face hub")
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            str(source),
            revision=revision,
            local_files_only=not download,
            allow_patterns=[runs.SHARED, runs.SHARED_WEIGHTS, runs.CONFOUNDER, CARD],
        )
    except Exception as error:  # of the hub, the network, the disk: a dozen kinds
        reason = next(iter(str(error).strip().splitlines()), "")
        raise InputError(
            f"there is no folder {source}, and the hub's model of that name could not be fetched "
            f"({type(error).__name__}: {reason})"
            if download
            else f"there is no folder {source}, and huggingface_hub has no model of that name in its cache: fetch it "
            "with download=True"
        ) from error
    return EmotionClassifier.from_run(found)


def _said(run: Path) -> dict[str, Any]:
    """What config.json holds: all of the run but paths."""
    settings = runs.config(run)
    pretrained = settings.get("pretrained")
    settings |= {
        "manifest": None,
        "confounder": None,
        "pretrained": Path(pretrained).name if isinstance(pretrained, str) else pretrained,
    }
    found: dict[str, Any] = {
        "emodo": emodo.__version__,
        "model_type": "emodo",
        "architectures": [type(runs.create_method(settings)).__name__],
        "config": settings,
        "task": runs.plain(runs.task(run)),
        "provenance": runs.provenance(run),
    }
    scores = _scores(run)
    return found | ({"scores": scores} if scores else {})


def _scores(run: Path) -> dict[str, Any] | None:
    try:
        return runs.scores(run)
    except InputError:  # imported weights have none
        return None


# ------------------------------------------------------------------------------------------ the card


def _card(run: Path, name: str, license: str | None) -> str:
    """The model card: what the run says of itself, and what nobody may use it for."""
    settings, task, scores = runs.config(run), runs.task(run), _scores(run)
    method = type(runs.create_method(settings))
    rows, unseen = _data(run)
    manifest = settings.get("manifest")
    pages = templates(escape=False)
    pages.filters["text"] = _text
    pages.filters["percent"] = _percent
    return pages.get_template("card.md.jinja").render(
        header=_header(name, method.__name__, manifest, scores, license),
        name=name,
        method=method.__name__,
        summary=(method.__doc__ or "").strip().splitlines()[0],
        settings=settings,
        task=task,
        manifest=Path(manifest).name if manifest else None,
        provenance=runs.provenance(run),
        rows=rows,
        scores=scores,
        unseen=_seen_never(scores, unseen) if scores and unseen and not task.multilabel else None,
        worst=_worst(scores) if scores and not task.multilabel else [],
        license=license,
        version=emodo.__version__,
    )


def _header(name: str, method: str, manifest: str | None, scores: dict[str, Any] | None, license: str | None) -> str:
    """The card's metadata as the hub reads them."""
    from huggingface_hub import EvalResult, ModelCardData

    data = Path(manifest).stem if manifest else ""
    metric = "accuracy" if scores and "accuracy" in scores else "mean_average_precision"
    results = (
        [EvalResult("image-classification", data, data, metric, round(scores[metric], 4), dataset_split="test")]
        if scores and data
        else None
    )
    return ModelCardData(
        model_name=name,
        library_name="emodo",
        pipeline_tag="image-classification",
        tags=["emotion-recognition", "causal-inference", method.lower()],
        license=license,
        eval_results=results,
    ).to_yaml()


def _data(run: Path) -> tuple[dict[str, int], frozenset[tuple[str, str]] | None]:
    """Rows of each split, and the (stratum, emotion) cells without a training image, while the manifest is there."""
    from emodo.compared import comparable, data_of

    try:
        data = data_of(comparable([run])[0])
    except InputError:  # imported weights, or a shared model
        return {}, None
    return data.rows, data.unseen


def _seen_never(scores: dict[str, Any], unseen: frozenset[tuple[str, str]]) -> dict[str, Any]:
    """Test images and accuracy in the cells without a training image."""
    found = [scores["cells"][emotion][stratum] for stratum, emotion in unseen]
    n = sum(cell["n"] for cell in found)
    right = sum(cell["n"] * cell["accuracy"] for cell in found if cell["n"])
    return {"cells": len(unseen), "n": n, "accuracy": right / n if n else None}


def _worst(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """The least accurate (emotion, stratum) cells that were tested, the worst first."""
    cells = [
        {"emotion": emotion, "stratum": stratum, **cell}
        for emotion, strata in scores["cells"].items()
        for stratum, cell in strata.items()
        if cell["n"]
    ]
    return sorted(cells, key=lambda cell: (cell["accuracy"], -cell["n"]))[:WORST]


def _text(value: object) -> str:
    """A name of the user's as plain text in Markdown, in a cell of a table too."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(value).split()))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
