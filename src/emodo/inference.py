"""From a trained method and manifest rows to the predictions table, one row an image."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from emodo.data import Images, loader, to_device
from emodo.methods import Method
from emodo.multilabel import joined
from emodo.networks import channels_last
from emodo.records import InputError, Task

CARRIED = ("path", "emotion", "source", "subject", "sequence", "split")


def device_of(accelerator: str) -> torch.device:
    """The device that `accelerator` names: "auto" is the GPU where there is one."""
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device("cuda" if accelerator == "gpu" else accelerator)


def check_accelerator(accelerator: str, devices: int = 1) -> None:
    """Raise InputError unless `accelerator` (auto, cpu or gpu) has `devices` devices here."""
    if accelerator not in ("auto", "cpu", "gpu"):
        raise InputError(f"--accelerator is {accelerator!r}: it can be auto, cpu or gpu")
    found = torch.cuda.device_count()
    if accelerator == "gpu" and found < devices:
        raise InputError(f"--accelerator gpu needs {devices} GPU here, and PyTorch finds {found}")


def predict(
    method: Method,
    task: Task,
    frame: pd.DataFrame,
    size: int,
    batch_size: int = 64,
    workers: int = 0,
    accelerator: str = "auto",
    max_pixels: int = 50_000_000,
    crop: bool = True,
) -> pd.DataFrame:
    """Predict every row of `frame`.

    Returns the columns `path, emotion, stratum` (and source, subject, sequence, split where they are there),
    `predicted`, then for each emotion E `logit:E` and `p:E` of P(Y | do(X)) (Eq. 9), for interventional methods
    `p:E|S` of P(Y | X, d) in each stratum S, and `stratum_predicted` where the method recognises the stratum.
    Of a multi-label task, each p is a sigmoid, and `predicted` holds all emotions above 0.5, joined by `|`, which may
    be none. The method is folded for speed, and cannot be trained afterwards.
    """
    device = device_of(accelerator)
    fold(method, device)
    parts: list[list[np.ndarray]] = []
    images = Images(frame, task, size, max_pixels=max_pixels, views=method.views, crop=crop)
    with torch.inference_mode():
        for batch in loader(images, batch_size, workers=workers):
            prediction = method.predict(to_device(batch, device))
            parts.append([np.empty((0,)) if p is None else p.float().cpu().numpy() for p in prediction])
    logits, strata_logits, confounder_logits = (np.concatenate(p) for p in zip(*parts, strict=True))

    table = frame[[column for column in CARRIED if column in frame]].copy()
    column = task.confounder.column if task.confounder else None
    known = column is not None and column in frame  # images from the field need not say where they come from
    table["stratum"] = frame[column].astype("str") if known else pd.Series(None, frame.index, dtype="str")
    columns = {f"logit:{emotion}": logits[:, i] for i, emotion in enumerate(task.emotions)}
    probabilities = shares(logits, task)
    table["predicted"] = named(logits, task)
    columns |= {f"p:{emotion}": probabilities[:, i] for i, emotion in enumerate(task.emotions)}
    if strata_logits.size:
        given = shares(strata_logits, task)  # [rows, K, E]
        columns |= {
            f"p:{emotion}|{stratum}": given[:, j, i]
            for j, stratum in enumerate(task.strata)
            for i, emotion in enumerate(task.emotions)
        }
    table = pd.concat([table, pd.DataFrame(columns, index=table.index)], axis=1)
    if confounder_logits.size:
        table["stratum_predicted"] = np.array(task.strata)[confounder_logits.argmax(axis=1)]
    return table.reset_index(drop=True)


def fold(method: Method, device: torch.device) -> None:
    """Make a method predict fast on a device: folded, channels-last; it cannot be trained afterwards."""
    method.to(device).fold()
    channels_last(method)


def shares(logits: np.ndarray, task: Task) -> np.ndarray:
    """The probabilities of the emotions, in the shape of the logits, [..., E]."""
    return sigmoid(logits) if task.multilabel else softmax(logits)


def named(logits: np.ndarray, task: Task) -> list[str]:
    """What is recognised, of [rows, E]: the likeliest emotion; of a multi-label task all above 0.5, joined by `|`."""
    if task.multilabel:
        return joined(shares(logits, task) > 0.5, task.emotions)
    return [task.emotions[at] for at in logits.argmax(axis=1)]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The probability of each by itself."""
    return np.exp(-np.logaddexp(0, -logits))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
