"""The records that every other module shares: what a batch, a confounder and a task are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the records themselves stay importable in milliseconds
    from pathlib import Path

    from torch import Tensor

View = Literal["whole", "context"]


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one sentence (or one line a problem) that says what is wrong, where (file and row), and
    what to do. The command line prints it to stderr and exits with 2; nothing has been written by then.
    """


def check_least(least: int, **values: int | None) -> None:
    """Raise InputError where a flag's value is below the least that it may be; None stands for its default."""
    for name, value in values.items():
        if value is not None and value < least:
            raise InputError(f"--{name} is {value}: it must be {least} or more")


class Unfinished(RuntimeError):
    """A part of what was asked for could not be done; the rest is. The command line prints it and exits with 1."""


@dataclass(frozen=True)
class Confounder:
    """The confounder D: the manifest column that holds it, its strata d_1 .. d_K and their prior P(d).

    Shared by every method that intervenes. `prior` sums to one and is uniform, 1 / K, in IERN (Section 3.3);
    `prototypes`, [K, D] float32, is for methods with a fixed dictionary, `how` says how it was made, and `provenance`
    from what: weights, manifest, settings and versions.
    """

    column: str
    strata: tuple[str, ...]
    prior: tuple[float, ...]
    prototypes: Tensor | None = field(default=None, compare=False)
    how: str = field(default="", compare=False)
    provenance: dict[str, str] = field(default_factory=dict[str, str], compare=False)


@dataclass(frozen=True)
class Task:
    """What is recognised and what confounds it: emotions in the order of the logits, and the confounder.

    multilabel: whether a row may hold several of the emotions (see `emodo.multilabel`), each then with a probability
    of its own.
    """

    emotions: tuple[str, ...]
    confounder: Confounder | None = None
    multilabel: bool = False

    @property
    def strata(self) -> tuple[str, ...]:
        """Names of the confounder's strata; empty where the data has no confounder column."""
        return self.confounder.strata if self.confounder else ()


@dataclass
class Batch:
    """B images with their labels, as every method receives them.

    images: [B, 3, H, W] float, normalised; the person, where the manifest has boxes and `--crop` is not false.
    emotion: [B] int64, index into `Task.emotions`; where `Task.multilabel`, [B, E] float, 1 for each emotion that the
    row holds and else 0. stratum: [B] int64, index into `Task.strata`, -1 where unknown. row: [B] int64, the manifest
    row. whole, context: for methods whose `views` name them, [B, 3, H, W] as well: the whole image, and the whole image
    with the person's box masked.
    """

    images: Tensor
    emotion: Tensor
    stratum: Tensor
    row: Tensor
    whole: Tensor | None = None
    context: Tensor | None = None

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)


@dataclass(frozen=True)
class Reading:
    """Which manifest's images are read, and how: side of the input, limit of pixels, batches, workers, device."""

    manifest: Path
    size: int
    max_pixels: int
    batch_size: int
    workers: int
    accelerator: str


@dataclass(frozen=True)
class Training:
    """The N training rows, for methods that look at all of them between epochs.

    emotion, stratum, row: [N] int64 each, as in `Batch`; several emotions a row are [N, E]. batches: every training
    image once, in the manifest's order and not augmented; each call reads and decodes them anew, so call it seldom.
    progress: the part of the stage that is over, from 0 to less than 1.
    """

    emotion: Tensor
    stratum: Tensor
    row: Tensor
    batches: Callable[[], Iterator[Batch]]
    progress: float = 0.0
