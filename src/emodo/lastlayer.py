"""A trained method's last linear layer: what it is given for each image, and a method with another one in its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emodo.data import to_device
from emodo.methods import Method
from emodo.records import Batch, InputError
from emodo.repairs import Repair

ROUNDING = 1e-3  # of the largest logit: what tensor cores may round, and far less than another function differs by


@dataclass(frozen=True)
class Answers:
    """What a method says of N images: logits [N, E], and what its last layer was given, [N, D], with its name.

    features and layer are None where the logits are no linear function of any layer's input.
    """

    logits: np.ndarray
    features: np.ndarray | None
    layer: str | None


def answers(method: Method, batches: Iterable[Batch], emotions: int, device: torch.device) -> Answers:
    """Pass every image once. emotions: E.

    The layer is found by trial, not by name: of all linear layers with E outputs it is the one whose weights, applied
    to what it was given in this pass, give the method's logits on every image. A layer that is given every stratum,
    [K, B, D], as IERN's is, counts with the mean over strata, which a linear layer may be exchanged with.
    """
    method.to(device).eval()
    layers = {
        name: part
        for name, part in method.named_modules()
        if isinstance(part, nn.Linear) and part.out_features == emotions
    }
    given: dict[str, Tensor] = {}
    hooks = [part.register_forward_hook(_keep(given, name)) for name, part in layers.items()]
    logits: list[np.ndarray] = []
    features: dict[str, list[np.ndarray]] = {name: [] for name in layers}
    try:
        with torch.inference_mode():
            for batch in batches:
                given.clear()
                found = method(to_device(batch, device))
                logits.append(found.float().cpu().numpy())
                for name in list(features):
                    x = _pooled(given.get(name), len(found))
                    if x is None or not _gives(layers[name], x, found):
                        del features[name]
                    else:
                        features[name].append(x.float().cpu().numpy())
    finally:
        for hook in hooks:
            hook.remove()
    name = next(iter(features), None)
    every = np.concatenate(logits).astype(float)
    return Answers(every, None if name is None else np.concatenate(features[name]).astype(float), name)


def _keep(given: dict[str, Tensor], name: str) -> Any:
    def keep(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        given[name] = inputs[0]

    return keep


def _pooled(x: Tensor | None, images: int) -> Tensor | None:
    """[B, D] of what a layer was given; None where it was no row an image."""
    if x is not None and x.ndim == 3 and x.shape[1] == images:
        return x.mean(dim=0)  # [K, B, D]
    return x if x is not None and x.ndim == 2 and len(x) == images else None


def _gives(layer: nn.Linear, x: Tensor, logits: Tensor) -> bool:
    apart = (F.linear(x, layer.weight, layer.bias) - logits).abs().max()
    return bool(apart <= ROUNDING * logits.abs().max().clamp(min=1))


def exchange(method: Method, name: str, repair: Repair) -> None:
    """Put the repaired layer in the place of the method's; nothing else of it changes.

    name: as `answers` found it. Raises InputError where the layer has no bias, and so cannot shift an answer.
    """
    layer = method.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    if layer.bias is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise InputError(f"the last layer of {type(method).__name__} has no bias, and cannot hold the repair")
    weight, bias = (part.detach().cpu().double().numpy() for part in (layer.weight, layer.bias))
    with torch.no_grad():
        for part, value in zip((layer.weight, layer.bias), repair.layer(weight, bias), strict=True):
            part.copy_(torch.from_numpy(value))
