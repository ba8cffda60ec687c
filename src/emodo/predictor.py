"""A trained method on images from anywhere: tables with a row an image, broken ones included."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emodo.data import Field, Given, Source, field_loader, to_device
from emodo.inference import fold, named, shares
from emodo.listing import Listed, shown
from emodo.manifest import BOX
from emodo.methods import Method
from emodo.records import Batch, InputError, Task, View


class Predictor:
    """What a trained run says of any images; `emodo.prediction.load` makes one.

    task: emotions and strata in the order of the columns. views: not empty where every image needs a person's box.
    intervenes: whether the method does so stratum by stratum. strata: whether the tables have P(Y | X, d_i), too.
    """

    def __init__(
        self,
        method: Method,
        task: Task,
        images: Field,
        device: torch.device,
        half: bool,
        batch_size: int,
        strata: bool,
    ) -> None:
        """Fold the method for speed. half: compute in bfloat16 what loses little by it.

        Raises InputError where `strata` are wanted of a method that does not intervene on them.
        """
        fold(method, device)
        self.task, self.views, self.strata, self.batch_size = task, images.views, strata, batch_size
        self.images, self._method, self._device, self._half = images, method, device, half
        blank = torch.zeros(1, 3, images.size, images.size)
        views: dict[View, torch.Tensor] = dict.fromkeys(images.views, blank)
        unknown = torch.tensor([-1])
        logits, strata_logits = self.logits(Batch(blank, unknown, unknown, unknown, **views))
        self.intervenes = strata_logits is not None
        if strata and not self.intervenes:
            raise InputError(
                f"{type(method).__name__} does not intervene stratum by stratum, so there is no P(Y | X, d) of each: "
                "leave --strata out"
            )
        assert logits.shape[1] == len(task.emotions)

    def __call__(
        self, images: Iterable[Source], boxes: Iterable[np.ndarray | None] | None = None, workers: int = 0
    ) -> Iterator[pd.DataFrame]:
        """Predict images, batch by batch; no more of them is held than a few batches.

        Args:
            images: Files, or images of Pillow, or arrays, [H, W, 3] uint8; any iterable, read as it is needed.
            boxes: The person in each, [4] (x1, y1, x2, y2 in pixels), None or NaN where there is none.
            workers: Processes that decode images.

        Yields:
            Tables of `batch_size` rows, in the images' order, with the columns `path` (missing where an image is no
            file), the box where `boxes` are given, `predicted`, `p:E` of P(Y | do(X)) for each emotion E, `p:E|S` of
            P(Y | X, d) for each stratum S with `strata`, `disagreement` where the method intervenes (see
            `disagreement`), and `error`: what is wrong with the image, and then there is no prediction.
        """
        waiting: deque[list[Given]] = deque()
        pairs = zip(images, repeat(None) if boxes is None else boxes, strict=boxes is not None)
        batches = self._batches(pairs, waiting)
        for found, errors in field_loader(self.images, batches, workers):
            yield self._table(waiting.popleft(), boxes is not None, found, errors)

    def whole(self, images: Listed, workers: int, advance: Callable[[int], None]) -> pd.DataFrame:
        """Predict a list of images to one table; `advance` is told how many of them each batch holds."""
        tables: list[pd.DataFrame] = []
        for table in self.listed(images, workers):
            tables.append(table)
            advance(len(table))
        return pd.concat(tables, ignore_index=True)

    def listed(self, images: Listed, workers: int) -> Iterator[pd.DataFrame]:
        """Predict a list of images, batch by batch, under their paths as they were written."""
        at = 0
        for table in self(images.files, images.boxes, workers):
            table["path"] = _text(shown(path) for path in images.paths[at : at + len(table)])
            at += len(table)
            yield table

    def _batches(
        self, pairs: Iterator[tuple[Source, np.ndarray | None]], waiting: deque[list[Given]]
    ) -> Iterator[list[Given]]:
        while batch := [
            (source, None if box is None or np.isnan(box).any() else np.asarray(box, float))
            for source, box in islice(pairs, self.batch_size)
        ]:
            waiting.append(batch)
            yield batch

    def logits(self, batch: Batch) -> tuple[np.ndarray, np.ndarray | None]:
        """Logits [B, E], and of the strata [B, K, E] where the method intervenes."""
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=self._half),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),  # fp32 means fp32 on a GPU, too
        ):
            prediction = self._method.answer(to_device(batch, self._device))
        strata = prediction.strata_logits
        return prediction.logits.float().cpu().numpy(), None if strata is None else strata.float().cpu().numpy()

    def _table(self, given: list[Given], boxed: bool, found: Batch | None, errors: list[str | None]) -> pd.DataFrame:
        good = np.array([error is None for error in errors])
        emotions, strata = self.task.emotions, self.task.strata

        def spread(values: np.ndarray | None, *shape: int) -> np.ndarray:
            """The values of the good rows at their places, [B, ...] float32, NaN at the others."""
            rows = np.full((len(given), *shape), np.nan, np.float32)
            if values is not None:
                rows[good] = values
            return rows

        logits, strata_logits = (None, None) if found is None else self.logits(found)
        names = np.full(len(given), None, object)
        if logits is not None:
            names[good] = named(logits, self.task)
        paths = [shown(source) if isinstance(source, str | Path) else None for source, _ in given]
        columns: dict[str, object] = {"path": _text(paths)}
        if boxed:
            corners = np.array([np.full(4, np.nan) if box is None else box for _, box in given])
            columns |= dict(zip(BOX, corners.T, strict=True))
        columns["predicted"] = _text(names)
        p = spread(None if logits is None else shares(logits, self.task), len(emotions))
        columns |= {f"p:{emotion}": p[:, i] for i, emotion in enumerate(emotions)}
        if self.intervenes:
            given_strata = spread(
                None if strata_logits is None else shares(strata_logits, self.task), len(strata), len(emotions)
            )
            if self.strata:
                columns |= {
                    f"p:{emotion}|{stratum}": given_strata[:, j, i]
                    for j, stratum in enumerate(strata)
                    for i, emotion in enumerate(emotions)
                }
            columns["disagreement"] = disagreement(given_strata)
        columns["error"] = _text(errors)
        return pd.DataFrame(columns)


def disagreement(given: np.ndarray) -> np.ndarray:
    """How far the strata are apart in each image, [B]: how much the context would have swung the answer.

    The mean over the strata of the total variation between P(Y | X, d) and the average of all of them: the share of
    probability that would lie on other emotions, were the context that stratum's. 0: the context makes no difference;
    1 - 1 / K, of K strata: each is certain of another emotion.

    given: P(Y | X, d), [B, K, E].
    """
    return np.abs(given - given.mean(axis=1, keepdims=True)).sum(axis=2).mean(axis=1) / 2


def _text(values: Iterable[str | None]) -> pd.Series:
    return pd.Series(list(values), dtype="str")
