"""Scenes of images, from a column or by a network of the Places365 project, and what that project knows of them."""

from __future__ import annotations

import math
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from emodo import weights
from emodo.data import check_images, look_at
from emodo.inference import device_of
from emodo.records import InputError, Reading
from emodo.scenes import Sources, semantic_vectors

if TYPE_CHECKING:
    import pandas as pd


RESIZED, CROPPED = 256, 224  # the shorter side, and the square in its middle, as in the project's validation
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # ImageNet's, as there
SETTINGS = {1: "indoor", 2: "outdoor"}


def about(frame: pd.DataFrame, name: Path, sources: Sources) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The semantic vector of every scene class, and its `settings`.

    frame: a manifest. name: what the messages call it.

    Raises InputError where a file or a column is lacking.
    """
    io, vectors = _needed(frame, name, sources)
    inside = settings(io)
    meaning, missing = semantic_vectors(vectors, list(inside))
    if missing:
        print(f"{vectors} has no {', '.join(missing)}: other words of these scenes stand for them", file=sys.stderr)
    return meaning, inside


def scenes_of(
    frame: pd.DataFrame, reading: Reading, sources: Sources, inside: dict[str, str]
) -> tuple[pd.DataFrame, np.ndarray]:
    """The manifest with its scenes, and the scene of every row, [N] text, each one of `inside`.

    What a network predicts becomes the column `scene`, so that it need not be predicted again.

    Raises InputError where the network and its classes do not fit, or a row has no scene or another one.
    """
    name, column = reading.manifest, sources.column or "scene"
    if sources.network and sources.categories:
        classes = categories(sources.categories)
        strange = [scene for scene in classes if scene not in inside]
        if strange:
            raise InputError(
                f"{sources.io} has no scene {strange[0]!r}, which {sources.categories} has: take both anew"
            )
        net = network(sources.network, len(classes))
        check_images(frame, name, reading.max_pixels)
        if column in frame:
            print(f"{name}: predicted anew, and replaced: {column}", file=sys.stderr)
        frame = frame.assign(**{column: predict(frame, net, classes, reading)})
    scene = frame.loc[:, column].astype("str").fillna("").to_numpy(object)
    unknown = [row for row, one in enumerate(scene) if one not in inside]
    if unknown:
        given = scene[unknown[0]]
        near = get_close_matches(given, inside, 1)
        raise InputError(
            f"{name}, row {unknown[0] + 1}: "
            + (f"the scene {given!r} is not in {sources.io}" if given else f"no scene in column {column!r}")
            + (f": did you mean {near[0]!r}?" if near else f" ({len(unknown)} such rows): correct or remove them")
        )
    return frame, scene


def _needed(frame: pd.DataFrame, name: Path, sources: Sources) -> tuple[Path, Path]:
    """The two files that are always needed; raises InputError that names all that lacks."""
    column = sources.column or "scene"
    if sources.network and sources.column:
        raise InputError("--network predicts the column scene, and --scenes names one that is there: give one of them")
    if sources.column and column not in frame:
        raise InputError(f"{name} has no column {column!r} of scenes: name another, or predict them with --network")
    lacking = {
        "the scene of every image: a column that holds it (--scenes), or one of the project's networks, "
        "resnet18_places365.pth.tar or resnet50_places365.pth.tar (--network)": sources.network or column in frame,
        "the scenes' order, categories_places365.txt (--categories)": sources.categories or not sources.network,
        "which scenes are indoors, IO_places365.txt (--io)": sources.io,
        "word vectors, a text file of GloVe (--vectors)": sources.vectors,
    }
    needed = [what for what, given in lacking.items() if not given]
    if needed or not sources.io or not sources.vectors:
        raise InputError(
            f"--by scene lacks {'; '.join(needed)}. The project is github.com/CSAILVision/places365, and GloVe "
            "nlp.stanford.edu/projects/glove"
        )
    return sources.io, sources.vectors


def categories(file: Path) -> tuple[str, ...]:
    """The scene classes in the order of a network's logits, from `categories_places365.txt`: `/a/airfield 0` ...

    Raises InputError, with the line, where the file is not of this form or a number is missing.
    """
    numbered = _numbered(file)
    if sorted(numbered.values()) != list(range(len(numbered))):
        raise InputError(f"{file} does not number its {len(numbered)} scenes 0 to {len(numbered) - 1}, each once")
    return tuple(sorted(numbered, key=lambda scene: numbered[scene]))


def settings(file: Path) -> dict[str, str]:
    """`indoor` or `outdoor` of every scene class, from `IO_places365.txt`: `/a/airfield 2`, 1 indoor and 2 outdoor.

    Raises InputError, with the line, where the file is not of this form.
    """
    numbered = _numbered(file)
    wrong = [scene for scene, number in numbered.items() if number not in SETTINGS]
    if wrong:
        raise InputError(f"{file} gives {wrong[0]!r} the number {numbered[wrong[0]]}: 1 is indoor, 2 is outdoor")
    return {scene: SETTINGS[number] for scene, number in numbered.items()}


def _numbered(file: Path) -> dict[str, int]:
    """Scenes and their numbers, from lines such as `/b/basketball_court/indoor 40`."""
    if not file.is_file():
        raise InputError(f"there is no file {file}: it is part of the Places365 project")
    found: dict[str, int] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        name, _, value = line.strip().rpartition(" ")
        if not (name.startswith("/") and name[2:3] == "/" and name[3:] and value.isdecimal()):
            raise InputError(f"{file}, line {number}: {line[:40]!r} is no scene with its number, as `/a/airfield 0` is")
        if name[3:] in found:
            raise InputError(f"{file}, line {number}: the scene {name[3:]!r} is there twice")
        found[name[3:]] = int(value)
    if not found:
        raise InputError(f"{file} holds no scene")
    return found


def network(file: Path, classes: int) -> nn.Module:
    """A network of the Places365 project, ready to predict: images [B, 3, 224, 224] -> logits [B, classes].

    file: such as `resnet18_places365.pth.tar`, which holds `arch` and `state_dict` (see `weights.read`). classes: how
    many there are in `categories_places365.txt`.

    Raises InputError where the file cannot be read without running code of it, names no architecture that timm has
    under the same name, or its weights do not fit.
    """
    import timm

    found = weights.read(file)
    arch = found.get("arch")
    if not isinstance(arch, str) or "resnet" not in arch or not timm.is_model(arch):
        raise InputError(
            f"{file} is no network of Places365 that emodo knows (`arch` is {arch!r}): use the project's "
            "resnet18_places365.pth.tar or resnet50_places365.pth.tar"
        )
    net: Any = timm.create_model(arch, pretrained=False, num_classes=classes)
    weights.fit(net, weights.state_dict(found, file), file, f"{arch} with {classes} scenes")
    return net.eval()


def predict(frame: pd.DataFrame, net: nn.Module, classes: tuple[str, ...], reading: Reading) -> np.ndarray:
    """The most probable scene of every row's whole image, [N] text."""
    from rich.console import Console
    from rich.progress import track

    device = device_of(reading.accelerator)
    net.to(device)
    batches = look_at(frame, prepare, reading.batch_size, reading.workers, reading.max_pixels)
    count = math.ceil(len(frame) / reading.batch_size)
    with torch.inference_mode():
        best = [
            net(batch.to(device)).argmax(dim=1).cpu()
            for batch in track(batches, "scenes", count, console=Console(stderr=True), disable=not sys.stderr.isatty())
        ]
    return np.array(classes, object)[torch.cat(best).numpy()]


def prepare(seen: dict[str, Tensor], _file: Path) -> Tensor:
    """The whole image as the networks take it, [3, 224, 224]: resized, the middle cut out, normalised."""
    image = seen["whole"]
    image = tv.resize(image, [RESIZED], InterpolationMode.BILINEAR, antialias=True)
    image = tv.center_crop(image, [CROPPED, CROPPED])
    return tv.normalize(image.to(torch.float32) / 255, MEAN, STD)
