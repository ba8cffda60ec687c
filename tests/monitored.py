"""Predictions over time that are made up, of a run that is none, so that what has drifted is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from emodo import runs
from emodo.drift import Sample
from emodo.predictor import disagreement
from emodo.records import Confounder, Task

EMOTIONS, STRATA = ("anger", "fear", "joy", "sadness"), ("lab", "web", "tv")
TASK = Task(EMOTIONS, Confounder("source", STRATA, (1 / 3, 1 / 3, 1 / 3)))
LEANS = np.array([[2.0, 0, 0, 0.5], [0, 2.0, 0.5, 0], [0.5, 0, 2.0, 0]])  # of each stratum's images, to some emotions
HEADS = np.array([[0.5, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 0.5, 0]])  # of P(Y | X, d) of each stratum, whatever the image


def rows(seed, n, frames=1, mix=(1, 1, 1), emotions=(1, 1, 1, 1), head=None, lean=None, broken=0):
    """The predictions of n images that come in videos of so many frames, with their strata.

    mix, emotions: how often strata and emotions are there. head: (stratum, how much its P(Y | X, d) turns to joy).
    lean: (stratum, how much its images turn to joy). broken: the last images, which have an error.
    """
    random = np.random.default_rng(seed)
    videos = -(-n // frames)
    stratum = random.choice(len(STRATA), videos, p=np.array(mix) / sum(mix))
    emotion = random.choice(len(EMOTIONS), videos, p=np.array(emotions) / sum(emotions))
    logits = 2.5 * np.eye(len(EMOTIONS))[emotion] + LEANS[stratum] + random.normal(0, 0.8, (videos, len(EMOTIONS)))
    if lean:
        logits[stratum == STRATA.index(lean[0]), EMOTIONS.index("joy")] += lean[1]
    video = np.arange(n) // frames
    logits = logits[video] + random.normal(0, 0.2, (n, len(EMOTIONS)))
    given = logits[:, None] + HEADS + random.normal(0, 0.1, (n, len(STRATA), len(EMOTIONS)))
    if head:
        given[:, STRATA.index(head[0]), EMOTIONS.index("joy")] += head[1]
    given = np.exp(given) / np.exp(given).sum(axis=2, keepdims=True)
    p = given.mean(axis=1)
    columns = {"path": [f"videos/{seed}-{at}/{i}.jpg" for i, at in enumerate(video)]}
    columns |= {"predicted": np.array(EMOTIONS)[p.argmax(axis=1)]}
    columns |= {f"p:{name}": p[:, i].astype(np.float32) for i, name in enumerate(EMOTIONS)}
    columns |= {
        f"p:{name}|{of}": given[:, j, i].astype(np.float32)
        for j, of in enumerate(STRATA)
        for i, name in enumerate(EMOTIONS)
    }
    table = pd.DataFrame(columns).assign(disagreement=disagreement(given).astype(np.float32))
    table["error"] = pd.Series(None, range(n), dtype="str")
    table["emotion"] = np.array(EMOTIONS)[emotion][video]
    table["stratum"] = np.array(STRATA)[stratum][video]
    table["sequence"] = [f"{seed}-{at}" for at in video] if frames > 1 else None
    if broken:
        numbers = [name for name in table if name.startswith("p:")] + ["disagreement"]
        table.loc[n - broken :, numbers] = np.nan
        table.loc[n - broken :, "predicted"] = None
        table.loc[n - broken :, "error"] = "is truncated"
    return table


def run(folder, table, task=TASK, weights=b"weights"):
    """A run's folder with these predictions of its test rows."""
    config = {"manifest": "faces.csv", "method": {"class_path": "emodo.methods.IERN"}, "backbone": "small", "seed": 0}
    runs.create(folder, config, task, {})
    table.to_parquet(folder / runs.PREDICTIONS)
    (folder / runs.WEIGHTS).write_bytes(weights)
    return folder


def predicted(folder, table, parts=1):
    """A folder of Parquet parts, as `emodo predict` would have written it: it knows neither emotion nor stratum."""
    folder.mkdir(parents=True)
    columns = table.drop(columns=["emotion", "stratum", "sequence"])
    for at, rows_of_part in enumerate(np.array_split(np.arange(len(table)), parts)):
        columns.iloc[rows_of_part].to_parquet(folder / f"part-{at:05}.parquet", index=False)
    return folder


def sample(*counts):
    """A sample of images that are each for themselves."""
    return Sample(np.array(counts))
