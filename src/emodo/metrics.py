"""Scores from a table of predictions, one row a test image; no model and no images are needed.

The table, as `emodo train` writes it to a run's predictions.parquet:

    path                 as in the manifest
    emotion, predicted   the true and the predicted emotion, names from `Task.emotions`
    stratum              the stratum of the confounder that the image belongs to; missing where unknown
    logit:E, p:E         for each emotion E; p is P(Y = E | do(X)), or P(Y = E | X) where nothing intervenes
    p:E|S                for each stratum S, P(Y = E | X, d = S), where the method intervenes
    stratum_predicted    the stratum that the method takes the image for, where it predicts one

Optional: source, subject, sequence. Where rows hold several emotions (`Task.multilabel`), `emotion` and `predicted`
are names joined by `|`: the true ones, and those with p above 0.5, which may be none (an empty text); each p:E is a
sigmoid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from emodo.multilabel import JOIN, multi_hot
from emodo.records import InputError, Task

REQUIRED = ("path", "emotion", "stratum", "predicted")


def score(predictions: pd.DataFrame, task: Task) -> dict[str, Any]:
    """Score `predictions`, [n rows], against the truth in the same table.

    Accuracies are fractions from 0 to 1. Where nothing was tested (an emotion, stratum or cell without test
    images) the accuracy is None, never 0 and never NaN, so the result can be written as JSON.

        n, accuracy         test images, and the share that is right over all of them: the paper's "Average"
                            (IERN, Tables 2 and 3), a pooled accuracy in which a frequent emotion weighs more
        macro_accuracy      mean over the emotions present of the accuracy on each
        emotions            {emotion: {n, accuracy}}, in the order of the task
        strata              {stratum: {n, accuracy}}, in the order of the task, then strata it does not know
        cells               {emotion: {stratum: {n, accuracy}}}
        worst_cell          {emotion, stratum, n, accuracy}: the least accurate cell present, the first by
                            emotion then stratum where several are equal; None without strata
        confusion           {rows, columns, counts}: counts[i][j] images of emotion rows[i] predicted as
                            columns[j], both in the order of the task
        confounder          {n, accuracy, confusion} of the predicted stratum (IERN, Figure 4), over the rows
                            where both strata are known; None where the method predicts none

    No interval stands beside the accuracies, on purpose: frames of a sequence and images of a person fail
    together, so an interval that counts images as independent would be too narrow. An honest one resamples
    sequences or subjects.

    Where rows hold several emotions, see `score_several` for what is returned.

    Raises InputError where the table is empty, lacks one of the columns path, emotion, stratum or predicted,
    or names an emotion or predicted stratum that the task does not know.
    """
    if task.multilabel:
        return score_several(predictions, task)
    _check(predictions, task)
    emotion_index = _index(_column(predictions, "emotion"), task.emotions)
    predicted_index = _index(_column(predictions, "predicted"), task.emotions)
    right = emotion_index == predicted_index
    stratum = _column(predictions, "stratum")
    strata = (*task.strata, *sorted(set(stratum[~pd.isna(stratum)]) - set(task.strata)))
    stratum_index = _index(stratum, strata)

    emotion_n, emotion_right = _tally(right, emotion_index, len(task.emotions))
    stratum_n, stratum_right = _tally(right, stratum_index, len(strata))
    # A cell's number is emotion * strata + stratum; rows of unknown stratum (-1) are in no cell.
    cell_index = np.where(stratum_index < 0, -1, emotion_index * len(strata) + stratum_index)
    cell_n, cell_right = _tally(right, cell_index, len(task.emotions) * len(strata))

    emotions = _accuracies(task.emotions, emotion_n, emotion_right)
    recalls = [found["accuracy"] for found in emotions.values() if found["n"]]
    by_emotion = (len(task.emotions), len(strata))
    cells = {
        emotion: _accuracies(strata, n, hits)
        for emotion, n, hits in zip(
            task.emotions, cell_n.reshape(by_emotion), cell_right.reshape(by_emotion), strict=True
        )
    }
    return {
        "n": len(predictions),
        "accuracy": int(right.sum()) / len(predictions),
        "macro_accuracy": sum(recalls) / len(recalls),
        "emotions": emotions,
        "strata": _accuracies(strata, stratum_n, stratum_right),
        "cells": cells,
        "worst_cell": _worst(cells),
        "confusion": _confusion(emotion_index, predicted_index, task.emotions, task.emotions),
        "confounder": _confounder(predictions, stratum_index, strata, task.strata),
    }


def score_several(predictions: pd.DataFrame, task: Task) -> dict[str, Any]:
    """Score `predictions` of several emotions a row, [n rows], by average precision.

    The average precision of an emotion (scikit-learn's, a sum over the ranks of the images that hold it, without
    interpolation) asks for nothing but the order of the images by its logit. It is None where no image holds the
    emotion, which then counts in no mean.

        n                        test images
        mean_average_precision   mAP: mean over the emotions that an image holds
        emotions                 {emotion: {n: images that hold it, average_precision}}, in the order of the task
        strata                   {stratum: {n, mean_average_precision}}: the images of a stratum among themselves, in
                                 the order of the task, then strata it does not know

    Compare the strata of two methods, not those of one: where an emotion is frequent, any order has a high average
    precision.

    Raises InputError as `score` does, and where a column logit:E is missing or holds no numbers.
    """
    _check(predictions, task)
    truth = multi_hot(predictions.loc[:, "emotion"], task.emotions).astype(bool)
    logits = _logits(predictions, task)
    stratum = _column(predictions, "stratum")
    strata = (*task.strata, *sorted(set(stratum[~pd.isna(stratum)]) - set(task.strata)))
    found = _average_precisions(truth, logits)
    return {
        "n": len(predictions),
        "mean_average_precision": _mean(found),
        "emotions": {
            emotion: {"n": int(n), "average_precision": precision}
            for emotion, n, precision in zip(task.emotions, truth.sum(axis=0), found, strict=True)
        },
        "strata": {
            name: {
                "n": int((stratum == name).sum()),
                "mean_average_precision": _mean(_average_precisions(truth[stratum == name], logits[stratum == name])),
            }
            for name in strata
        },
    }


def _logits(predictions: pd.DataFrame, task: Task) -> np.ndarray:
    names = [f"logit:{emotion}" for emotion in task.emotions]
    missing = [name for name in names if name not in predictions.columns]
    if missing:
        raise InputError(f"the predictions have no column {', '.join(missing)}")
    logits = predictions[names].to_numpy(float)
    broken = np.argwhere(~np.isfinite(logits))
    if len(broken):
        row, column = broken[0]
        raise InputError(f"row {row} of the predictions has {names[column]} {logits[row, column]}, which is no number")
    return logits


def _average_precisions(truth: np.ndarray, logits: np.ndarray) -> list[float | None]:
    """Average precision of each emotion, E of them, None without a positive. truth: [n, E] bool. logits: [n, E]."""
    from sklearn.metrics import average_precision_score

    return [
        float(average_precision_score(held, ranked)) if held.any() else None
        for held, ranked in zip(truth.T, logits.T, strict=True)
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def pool(predictions: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put the predictions of several folds under one another, to be scored as one test set.

    The paper's averages are pooled over the test images of its three folds, [2991 rows] in the o.o.d.
    setting, which is not the mean of three folds' accuracies: the folds differ in size.

    Raises InputError where there is nothing to pool.
    """
    if not predictions:
        raise InputError("there are no predictions to pool: give the predictions of at least one fold")
    return pd.concat(list(predictions), ignore_index=True)


def _check(predictions: pd.DataFrame, task: Task) -> None:
    missing = [name for name in REQUIRED if name not in predictions.columns]
    if missing:
        raise InputError(f"the predictions have no column {', '.join(missing)}")
    if predictions.empty:
        raise InputError("the predictions are empty: there is no test image to score")
    for column, names in (("emotion", task.emotions), ("predicted", task.emotions), ("stratum_predicted", task.strata)):
        if column not in predictions.columns:
            continue
        found = _column(predictions, column)
        unknown = _index(found, names) < 0
        if column == "stratum_predicted":
            unknown &= ~pd.isna(found)
        elif task.multilabel:
            unknown = ~_known(found, names, column == "predicted")
        if unknown.any():
            row = int(np.flatnonzero(unknown)[0])
            raise InputError(
                f"row {row} of the predictions has {column} {found[row]!r}, which is not among "
                f"the task's {', '.join(names) or 'strata: it has none'}"
            )


def _column(predictions: pd.DataFrame, name: str) -> np.ndarray:
    return predictions[name].to_numpy(dtype=object)


def _index(names: np.ndarray, order: Sequence[str]) -> np.ndarray:
    """Number names by their place in `order`, [n] int, -1 where missing or not in it."""
    return pd.Index(order, dtype=object).get_indexer(pd.Index(names, dtype=object))


def _known(cells: np.ndarray, names: Sequence[str], may_be_none: bool) -> np.ndarray:
    """Mark the texts, [n] bool, of which every emotion is one of `names`."""
    known = {cell: set(str(cell).split(JOIN)) <= set(names) or (may_be_none and cell == "") for cell in set(cells)}
    return np.array([known[cell] for cell in cells])


def _tally(right: np.ndarray, index: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Count images and right ones by group, [size] each; rows numbered -1 are in no group."""
    inside = index >= 0
    return np.bincount(index[inside], minlength=size), np.bincount(index[inside & right], minlength=size)


def _accuracies(names: Sequence[str], n: np.ndarray, right: np.ndarray) -> dict[str, dict[str, Any]]:
    return {
        name: {"n": int(count), "accuracy": int(hits) / int(count) if count else None}
        for name, count, hits in zip(names, n, right, strict=True)
    }


def _worst(cells: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any] | None:
    present = [
        {"emotion": emotion, "stratum": stratum, **found}
        for emotion, row in cells.items()
        for stratum, found in row.items()
        if found["n"]
    ]
    return min(present, key=lambda cell: (cell["accuracy"], cell["emotion"], cell["stratum"]), default=None)


def _confusion(truth: np.ndarray, predicted: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    both = (truth >= 0) & (predicted >= 0)
    counts = np.bincount(truth[both] * len(columns) + predicted[both], minlength=len(rows) * len(columns))
    return {
        "rows": list(rows),
        "columns": list(columns),
        "counts": counts.reshape(len(rows), len(columns)).tolist(),
    }


def _confounder(
    predictions: pd.DataFrame, truth: np.ndarray, rows: Sequence[str], columns: Sequence[str]
) -> dict[str, Any] | None:
    if "stratum_predicted" not in predictions.columns:
        return None
    # `rows` begins with `columns`, so one number means one stratum in both.
    predicted = _index(_column(predictions, "stratum_predicted"), columns)
    both = (truth >= 0) & (predicted >= 0)
    n = int(both.sum())
    return {
        "n": n,
        "accuracy": int((predicted[both] == truth[both]).sum()) / n if n else None,
        "confusion": _confusion(truth, predicted, rows, columns),
    }
