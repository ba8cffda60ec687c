"""What a report asks of the trained network itself: its context features, where it looks, and how it does inside.

Each function runs a finished run's method on rows of the manifest, few enough for a CPU, drawn by a fixed seed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from emodo import runs
from emodo.compared import Data, Run, strata_of
from emodo.data import Images, collate, loader, to_device
from emodo.inference import device_of, predict
from emodo.methods import Method
from emodo.metrics import score
from emodo.multilabel import JOIN
from emodo.networks import Backbone
from emodo.records import Batch, InputError, Task

SEED = 0
BATCH = 32
POINTS = 300  # test rows of a t-SNE map: more hide each other, and cost the square of their number
FEWEST = 20  # below this a map shows nothing
NEIGHBOURS = 10
COMPONENTS = 50  # before t-SNE, as its authors do
ERRORS = 6  # of a run
INSIDE = 1000  # validation rows at most


@dataclass(frozen=True)
class Contexts:
    """Context features of n test images, in a plane and as numbers.

    strata: of each image, "" where unknown. points: [n, 2]. centers: the place of each stratum's center, where the
    method learns them. groups: for each stratum that has an image, {images, own_neighbours, by_chance, own_center}:
    the share of the 10 nearest images, in the space of the features, that are of the stratum too; the share of all
    other images that are; and the share of its images whose nearest center is its own, None without centers.
    """

    strata: list[str]
    points: np.ndarray
    centers: dict[str, np.ndarray]
    groups: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Look:
    """Where the network looks in a test image that it takes for something else.

    row: of the predictions. said, true: two emotions; p_said, p_true: their probabilities. image: what the network
    sees, [S, S, 3] uint8. for_said, for_true: Grad-CAM of each logit on the last feature map, [h, w], 0 or more.
    """

    row: int
    said: str
    true: str
    p_said: float
    p_true: float
    image: np.ndarray
    for_said: np.ndarray
    for_true: np.ndarray


@dataclass(frozen=True)
class Explained:
    """What the network of a run told, and `notes` on what it could not."""

    contexts: Contexts | None = None
    looks: tuple[Look, ...] = ()
    inside: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


def explain(run: Run, data: Data, inside: bool, accelerator: str = "auto") -> Explained:
    """Load the network of a run, and ask it what it can be asked about the rows whose images are there.

    inside: whether to score the validation rows too, which a run has not predicted.
    """
    if data.frame is None:
        return Explained()  # the page says already that the manifest is gone
    there = np.array([Path(file).is_file() for file in data.frame["file"]], dtype=bool)
    if not there.any():
        return Explained(notes=("No image of the manifest is there, so no network was asked anything.",))
    try:
        method = runs.load_method(run.folder)
        ask = _Asked(method, runs.task(run.folder), run.config, device_of(accelerator))
        return _asked(ask, run, data.frame, data.matched, there, inside)
    except InputError as problem:
        told = f"Without what the network of {run.name} would tell (context features, where it looks): {problem}."
        return Explained(notes=(told,))


@dataclass(frozen=True)
class _Asked:
    """A trained method with the task and the settings that it was trained with."""

    method: Method
    task: Task
    config: dict[str, Any]
    device: torch.device

    def images(self, rows: pd.DataFrame) -> Images:
        return Images(
            rows,
            self.task,
            self.config["size"],
            max_pixels=self.config["max_pixels"],
            views=self.method.views,
            crop=self.config.get("crop", True),
        )


def _asked(
    ask: _Asked, run: Run, frame: pd.DataFrame, matched: Sequence[int | None], there: np.ndarray, inside: bool
) -> Explained:
    ask.method.to(ask.device).eval()
    usable = {row: at for row, at in enumerate(matched) if at is not None and there[at]}
    picked = confident_errors(run.predictions, run.task, list(usable))
    _say(f"{run.name}: where it looks in {len(picked)} images")
    looks = _looks(ask, run, frame.iloc[[usable[row] for row, _, _ in picked]], picked)
    contexts = None
    if len(usable) >= FEWEST:
        drawn = np.random.default_rng(SEED).permutation(len(usable))[:POINTS]
        rows = [list(usable)[at] for at in sorted(drawn.tolist())]
        contexts = _contexts(ask, run, frame.iloc[[usable[row] for row in rows]], rows)
    scores = None
    if inside:  # the method is folded for it, so it comes last
        known = frame["emotion"].isin(ask.task.emotions) & (frame["split"] == "validation") & there
        found = np.flatnonzero(known.to_numpy(bool))
        if len(found):
            drawn = np.sort(np.random.default_rng(SEED).permutation(found)[:INSIDE])
            _say(f"{run.name}: predicting {len(drawn)} validation rows")
            settings = (ask.config["size"], BATCH, 0, ask.device.type, ask.config["max_pixels"])
            crop = ask.config.get("crop", True)
            table = predict(ask.method, ask.task, frame.iloc[drawn], *settings, crop=crop)
            scores = score(table, replace(ask.task, emotions=run.task.emotions))
    return Explained(contexts, tuple(looks), scores)


def _say(text: str) -> None:
    print(f"emodo report: {text}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------- context features


def _contexts(ask: _Asked, run: Run, rows: pd.DataFrame, numbers: Sequence[int]) -> Contexts | None:
    """The context features of some test rows; None where the method does not separate them."""
    found: list[Tensor] = []
    centers: Tensor | None = None
    with torch.inference_mode():
        for read in loader(ask.images(rows), BATCH):
            context = ask.method.context(to_device(read, ask.device))
            if context is None:
                return None
            found.append(context.features.flatten(1).float().cpu())  # [B, C * h * w]
            centers = context.centers
    _say(f"{run.name}: context features of {len(rows)} images")
    features, known = torch.cat(found), strata_of(run.predictions)
    held = features[:0] if centers is None else centers.detach().flatten(1).float().cpu()  # [K, C * h * w]
    strata = [known[row] for row in numbers]
    return contexts(features.numpy(), strata, held.numpy(), ask.task.strata if len(held) else ())


def contexts(features: np.ndarray, strata: list[str], centers: np.ndarray, names: Sequence[str]) -> Contexts:
    """Lay features, [n, D], and the centers of some strata, [K, D], into one plane by t-SNE, and count neighbours."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.metrics import pairwise_distances_argmin
    from sklearn.neighbors import NearestNeighbors

    n = len(features)
    together = np.concatenate([features, centers]).astype(np.float64)
    components = min(COMPONENTS, *together.shape)
    reduced = PCA(components, svd_solver="randomized", random_state=SEED).fit_transform(together)
    # The exact gradient, whose sums do not depend on the number of threads.
    perplexity = min(30.0, (n - 1) / 4)
    places = TSNE(perplexity=perplexity, init="pca", method="exact", random_state=SEED).fit_transform(reduced)
    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, n - 1)).fit(features).kneighbors(return_distance=False)
    group = np.array(strata, dtype=object)
    own_neighbours = (group[near] == group[:, None]).mean(axis=1)
    nearest = pairwise_distances_argmin(features, centers) if len(centers) else np.array([], dtype=int)
    groups: dict[str, dict[str, Any]] = {}
    for stratum in dict.fromkeys([*names, *sorted(set(strata) - {""})]):
        members = group == stratum
        if members.any():
            own = float((nearest[members] == list(names).index(stratum)).mean()) if stratum in names else None
            groups[stratum] = {
                "images": int(members.sum()),
                "own_neighbours": float(own_neighbours[members].mean()),
                "by_chance": float((members.sum() - 1) / (n - 1)),
                "own_center": own,
            }
    return Contexts(strata, places[:n], dict(zip(names, places[n:], strict=True)), groups)


# --------------------------------------------------------------------------------- where it looks


def confident_errors(table: pd.DataFrame, task: Task, usable: Sequence[int]) -> list[tuple[int, str, str]]:
    """The surest errors among the `usable` rows of the predictions: (row, what was said, what is true).

    One of each stratum and pair of emotions, as frames of a sequence fail together. Of several emotions a row, what
    was said is the surest one that is not there, and what is true the least sure one that is.
    """
    columns = [f"p:{emotion}" for emotion in task.emotions]
    if not set(columns) <= set(table.columns):
        return []
    p = table[columns].to_numpy(float)
    strata = strata_of(table)
    found: list[tuple[float, int, str, str]] = []
    for row in usable:
        held = [task.emotions.index(emotion) for emotion in str(table["emotion"].iloc[row]).split(JOIN)]
        others = [at for at in range(len(task.emotions)) if at not in held]
        said = max(others, key=lambda at: p[row, at], default=None)
        if said is not None and p[row, said] > (0.5 if task.multilabel else p[row, held].max()):
            true = min(held, key=lambda at: p[row, at])
            found.append((float(p[row, said]), row, task.emotions[said], task.emotions[true]))
    first: dict[tuple[str, str, str], tuple[int, str, str]] = {}
    for _, row, said, true in sorted(found, key=lambda error: (-error[0], error[1])):
        first.setdefault((strata[row], said, true), (row, said, true))
    return list(first.values())[:ERRORS]


def _looks(ask: _Asked, run: Run, rows: pd.DataFrame, picked: Sequence[tuple[int, str, str]]) -> list[Look]:
    if not picked:
        return []
    images = ask.images(rows)
    batch = to_device(collate([images[at] for at in range(len(rows))]), ask.device)
    emotions = ask.task.emotions
    maps = [grad_cam(ask.method, batch, [emotions.index(names[at]) for names in picked]) for at in (1, 2)]
    seen = ((batch.images + 1) * 127.5).clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    p = [[float(run.predictions[f"p:{names[at]}"].iloc[names[0]]) for names in picked] for at in (1, 2)]
    return [
        Look(row, said, true, p[0][at], p[1][at], seen[at], maps[0][at], maps[1][at])
        for at, (row, said, true) in enumerate(picked)
    ]


def grad_cam(method: Method, batch: Batch, targets: Sequence[int]) -> np.ndarray:
    """Grad-CAM (Selvaraju et al., ICCV 2017) of one logit of each image on the last feature map, [B, h, w].

    The logit is that of `forward`, P(Y | do(X)) where the method intervenes: the maps are of the averaged prediction.
    The feature map is that of the backbone which is run first, the person's where a method has several streams.
    """
    from captum.attr import LayerGradCam

    layer = _first_backbone(method, batch)
    cam = LayerGradCam(partial(_logits, method, batch), layer)
    target = torch.tensor(targets, device=batch.images.device)
    found = cam.attribute(batch.images, target=target, relu_attributions=True)
    assert isinstance(found, Tensor)
    return found.detach().float().mean(dim=1).cpu().numpy()


def _logits(method: Method, batch: Batch, images: Tensor) -> Tensor:
    return method(replace(batch, images=images))


def _first_backbone(method: Method, batch: Batch) -> Backbone:
    ran: list[Backbone] = []

    def note(module: nn.Module, _inputs: object, _output: object) -> None:
        assert isinstance(module, Backbone)
        ran.append(module)

    hooks = [part.register_forward_hook(note) for part in method.modules() if isinstance(part, Backbone)]
    with torch.no_grad():
        method(batch)
    for hook in hooks:
        hook.remove()
    return ran[0]
