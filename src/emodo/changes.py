"""The images of a manifest, each decoded once, as they are and after every dose, and what models answer for them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from emodo.data import read_image, views_of
from emodo.interventions import INTERVENTIONS, Dose, Shown, generator, intervene, partners
from emodo.leaning import Images
from emodo.manifest import BOX
from emodo.models import Model, probabilities
from emodo.records import InputError, View
from emodo.transforms import resize


class Sight(NamedTuple):
    """How a model sees an image; models that see alike share the images."""

    size: int | None
    crop: bool
    views: tuple[View, ...]


Seen = dict[str, list[Tensor]]
"""By view, a row's image as it is and after each dose, [3, H, W] uint8 each."""


def _sight(model: Model) -> Sight:
    return Sight(model.size, model.crop, model.views)


class Changed(Dataset):
    """The rows' images, as they are and after each dose, as each model sees them; an error is returned, not raised."""

    def __init__(
        self,
        frame: pd.DataFrame,
        doses: Sequence[Dose],
        images: Images,
        probing: Sequence[Model],
        seed: int,
        max_pixels: int,
    ) -> None:
        """frame: a manifest or some of its rows. images: what the same rows show, which decides their backgrounds."""
        self.files, self.paths, self.rows = list(frame["file"]), list(frame["path"]), list(frame.index)
        boxes = frame[list(BOX)].to_numpy(float) if "x1" in frame else np.full((len(frame), 4), np.nan)
        self.boxes = [None if np.isnan(box).any() else box for box in boxes]
        self.doses, self.seed, self.max_pixels = list(doses), seed, max_pixels
        self.sights = sorted({_sight(model) for model in probing}, key=str)
        self.partner = np.arange(len(frame))  # whose background a row gets: another's that has a box, or its own
        if any(name == "background" for name, _ in doses):
            able = np.flatnonzero([box is not None for box in self.boxes])
            files = [self.files[row] for row in able]
            drawn = partners(images.emotion[able], images.stratum[able], files, seed)
            self.partner[able] = able if drawn is None else able[drawn]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.files)

    def __getitem__(self, i: int) -> list[Seen] | InputError:
        """For each of `sights`, what is seen of a row."""
        shown = self._read(i)
        other = shown if self.partner[i] == i else self._read(int(self.partner[i]))
        for each in (shown, other):
            if isinstance(each, InputError):
                return each
        assert isinstance(shown, Shown)
        assert isinstance(other, Shown)
        seen: list[Seen] = [{} for _ in self.sights]
        for dose in (None, *self.doses):
            random = generator(self.seed, self.paths[i])
            if dose is None or (INTERVENTIONS[dose[0]].boxed and shown.box is None):
                changed = shown
            else:
                changed = intervene(dose, shown, random, other)
            for sight, found in zip(self.sights, seen, strict=True):
                for name, view in views_of(changed.image, changed.box, sight.views, sight.crop).items():
                    found.setdefault(name, []).append(view if sight.size is None else resize(view, sight.size))
        return seen

    def _read(self, i: int) -> Shown | InputError:
        try:
            return Shown(read_image(Path(self.files[i]), self.max_pixels), self.boxes[i])
        except InputError as error:
            return InputError(f"row {self.rows[i] + 1}: {error}")


def answers_of(
    probing: Sequence[Model], changed: Changed, batch_size: int, workers: int, file: Path
) -> list[np.ndarray]:
    """Each model's probabilities, [1 + doses, N, E], E in the order of the first model's emotions."""
    versions = 1 + len(changed.doses)
    at_once = max(1, batch_size // versions)
    found: list[list[np.ndarray]] = [[] for _ in probing]
    loader = DataLoader(changed, at_once, num_workers=workers, collate_fn=list, generator=torch.Generator())
    for items in _with_progress(loader, len(changed), at_once):
        for item in items:
            if isinstance(item, InputError):
                raise InputError(f"{file}, {item}")
        for model, parts in zip(probing, found, strict=True):
            sight = changed.sights.index(_sight(model))
            seen = {name: [view for item in items for view in item[sight][name]] for name in items[0][sight]}
            for at in range(0, versions * len(items), batch_size):
                listed = {name: images[at : at + batch_size] for name, images in seen.items()}
                parts.append(
                    model.answers(listed if model.size is None else {k: torch.stack(v) for k, v in listed.items()})
                )
    orders = [[model.emotions.index(emotion) for emotion in probing[0].emotions] for model in probing]
    return [
        probabilities(np.concatenate(parts)).reshape(len(changed), versions, -1).transpose(1, 0, 2)[..., order]
        for parts, order in zip(found, orders, strict=True)
    ]


def _with_progress(batches: Iterable[Any], rows: int, at_once: int) -> Iterator[Any]:
    """The batches, with time left on stderr: a bar on a terminal, else a line each tenth."""
    total = -(-rows // at_once)
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(batches, "probing", total, console=Console(stderr=True))
        return
    started, told = time.monotonic(), 0
    for done, batch in enumerate(batches, 1):
        yield batch
        if 10 * done // total > told and done < total:
            told = 10 * done // total
            left = (time.monotonic() - started) / done * (total - done)
            print(
                f"emodo probe: {done * at_once} of {rows} images, about {left:.0f} s left", file=sys.stderr, flush=True
            )
