"""From manifest rows to batches: images are checked, decoded, transformed and collated here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from emodo.images import MAX_PIXELS, UNREADABLE, of_files, opened, reason, upright
from emodo.multilabel import apart, multi_hot, several
from emodo.records import Batch, Confounder, InputError, Task, View
from emodo.transforms import Augmentation, augment, prepare

ENDINGS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
ANIMATED = ("GIF", "PNG", "WEBP")  # of a TIFF or MPO with several images, cameras store the photograph first


# ------------------------------------------------------------------------------------- one image


def read_image(file: Path, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Decode an image file to RGB, [3, H, W] uint8, upright.

    Raises InputError for a file that is missing, empty, no image, truncated, or larger than `max_pixels`.
    """
    try:
        with file.open("rb") as stream:
            return _rgb(opened(stream, file.stat().st_size, max_pixels))
    except UNREADABLE as error:
        raise InputError(f"{file} {reason(error)}") from None


def decode(
    stream: BinaryIO, length: int, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] | None = None
) -> Tensor:
    """Decode one picture of `length` bytes from anywhere to RGB, [3, H, W] uint8, upright; formats: see `opened`.

    Raises one of `UNREADABLE`, or whatever else a decoder makes of it, where it is no picture, or is an animation.
    """
    image = opened(stream, length, max_pixels, formats)
    if image.format in ANIMATED and getattr(image, "is_animated", False):
        raise ValueError("is an animation: save the one picture that is meant")
    return _rgb(image)


def picture(image: Tensor) -> Image.Image:
    """An image, [3, H, W] uint8, as Pillow has it."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def _rgb(image: Image.Image) -> Tensor:
    image = upright(image)
    if "transparency" in image.info:  # Pillow wants the alpha of a palette named before it is dropped
        image = image.convert("RGBA")
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def check_images(frame: pd.DataFrame, name: Path, max_pixels: int = MAX_PIXELS) -> None:
    """Check that every image of a manifest can be read, before anything is written.

    Headers are read and the endings of JPEG and PNG files looked at; only a file without its ending is decoded,
    to know whether it is truncated. frame: a manifest as loaded. name: what the messages call it.

    Raises InputError that lists the broken rows.
    """
    list(of_files(partial(_check, max_pixels=max_pixels), frame, name))


def _check(file: Path, max_pixels: int) -> None:
    length = file.stat().st_size
    with file.open("rb") as stream:
        header = opened(stream, length, max_pixels)
        ending = ENDINGS.get(header.format or "")
        stream.seek(max(0, length - 64))
        if ending is None or ending not in stream.read():
            stream.seek(0)
            header.load()


# --------------------------------------------------------------------------------- rows and labels


def confounder_column(frame: pd.DataFrame, column: str | None) -> str | None:
    """The manifest column that holds the confounder: `column`, or else `stratum`, or else `source`."""
    return column or next((name for name in ("stratum", "source") if name in frame), None)


def define_task(
    frame: pd.DataFrame,
    name: Path,
    column: str | None,
    emotions: list[str] | None,
    needs_strata: bool,
    confounder: Confounder | None = None,
    multilabel: bool = False,
) -> Task:
    """Derive emotions and strata from a manifest's training rows.

    frame: a manifest with `split`. name: what the messages call it. column: see `confounder_column`. emotions:
    order of the logits, alphabetical where None. needs_strata: whether training rows need a stratum. confounder: one
    that is given with its strata, which then are the task's; its column may be missing unless `needs_strata`.
    multilabel: whether a row may hold several emotions even though none does.

    Raises InputError where the split is missing, an emotion has no training image, or (with `needs_strata`) the
    stratum column is missing, has gaps or strata that are not the given ones, or has one value.
    """
    if "split" not in frame:
        raise InputError(f"{name} has no column `split`: make one with `emodo split`")
    train = frame.loc[frame["split"] == "train"]
    if emotions and len(set(emotions)) < len(emotions):
        raise InputError(f"--emotions names one emotion twice: {' '.join(emotions)}")
    named = apart(frame.loc[:, "emotion"])
    order = tuple(emotions) if emotions else tuple(sorted(named.unique()))
    multilabel = multilabel or bool(several(frame.loc[:, "emotion"]).any())
    shown = set(apart(train.loc[:, "emotion"]))
    lacking = [emotion for emotion in order if emotion not in shown]
    if lacking:
        raise InputError(
            f"{name}: no training image shows {', '.join(lacking)}: split the data otherwise, or name "
            "the emotions to learn with --emotions"
        )
    stray = named.loc[~named.isin(order)]
    if len(stray):
        raise InputError(
            f"{name}, row {stray.index[0] + 1}: the emotion {stray.iloc[0]!r} is none of "
            f"{', '.join(order)}: add it to --emotions or remove its rows"
        )
    column = confounder.column if confounder else confounder_column(frame, column)
    if column in ("path", "file", "emotion", "split"):
        raise InputError(f"the column {column!r} cannot be the confounder: name another with --stratum")
    if confounder and not needs_strata:
        return Task(order, confounder, multilabel)
    if column is None or column not in frame:
        if column is not None or needs_strata:
            hint = "train on the manifest written with the file" if confounder else "name one with --stratum"
            raise InputError(
                f"{name} has no column {column or 'stratum'!r} to hold the confounder; it has "
                f"{', '.join(c for c in frame.columns if c != 'file')}: {hint}"
            )
        return Task(order, None, multilabel)
    values = train.loc[:, column]
    strata: tuple[str, ...] = tuple(sorted(values.dropna().astype(str).unique()))
    strange = sorted(set(strata) - set(confounder.strata)) if confounder else []
    if strange:
        raise InputError(
            f"{name}: column {column!r} has the strata {', '.join(strange[:3])} in training rows, which the confounder "
            "file does not know: make the file from this manifest, or leave --confounder out"
        )
    if needs_strata:
        gaps = train.index[values.isna()]
        if len(gaps):
            raise InputError(
                f"{name}, row {gaps[0] + 1}: no value in column {column!r}, the confounder "
                f"({len(gaps)} training rows without): fill it or remove these rows"
            )
        if len(strata) < 2:
            raise InputError(
                f"{name}: column {column!r} has one value in the training rows ({', '.join(strata)}), and there "
                "is nothing to intervene on: name another column with --stratum"
            )
    if not strata:
        return Task(order, None, multilabel)
    return Task(order, confounder or Confounder(column, strata, (1 / len(strata),) * len(strata)), multilabel)


def labels(frame: pd.DataFrame, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Indices of emotion and stratum of every row, [rows] int64 each; -1 where the task does not know it.

    Of a multi-label task, the emotions are multi-hot, [rows, E] float32.
    """
    if task.multilabel:
        emotion = multi_hot(frame.loc[:, "emotion"], task.emotions)
    else:
        emotion = pd.Index(task.emotions).get_indexer(pd.Index(frame.loc[:, "emotion"]))
    if task.confounder is None or task.confounder.column not in frame:
        return emotion, np.full(len(frame), -1)
    return emotion, pd.Index(task.strata).get_indexer(pd.Index(frame.loc[:, task.confounder.column].astype("str")))


def training_cells(frame: pd.DataFrame, task: Task, name: Path, method: str) -> np.ndarray:
    """Number of each row's (stratum x emotion) cell, [rows]; for methods that cannot do with an empty cell.

    Raises InputError that names the `method` and the empty cells.
    """
    emotion, stratum = labels(frame, task)
    cells = stratum * len(task.emotions) + emotion
    filled = set(cells.tolist())
    empty = [
        f"{s} x {e}"
        for i, s in enumerate(task.strata)
        for j, e in enumerate(task.emotions)
        if i * len(task.emotions) + j not in filled
    ]
    if empty:
        raise InputError(
            f"{name}: {method} gives every (stratum x emotion) cell equal weight, and {len(empty)} of "
            f"{len(task.strata) * len(task.emotions)} have no training image ({', '.join(empty)}): "
            "collect some (`emodo split table1 --moved 0.1` moves some from the test part), or use a "
            "method that needs none"
        )
    return cells


# -------------------------------------------------------------------------------------------- batches

Item = tuple[dict[str, Tensor], np.ndarray, int, int]  # views, emotion ([] int64 or [E] float32), stratum, row
GRAY = 128  # a masked person: the middle of the range, zero once normalised


def check_boxes(frame: pd.DataFrame, name: Path, method: str) -> None:
    """Raise InputError unless every row has a box, for a method that masks the person or crops to it."""
    need = f"{method} crops to the person or masks it, and needs a box (x1, y1, x2, y2) in every row"
    if "x1" not in frame:
        raise InputError(f"{name} has no boxes: {need}")
    without = frame.index[frame[["x1", "y1", "x2", "y2"]].isna().any(axis=1)]
    if len(without):
        raise InputError(f"{name}, row {without[0] + 1}: no box ({len(without)} rows without): {need}")


class Images(Dataset):
    """The images of some manifest rows, as float tensors with their labels.

    With `epoch` they are augmented, keyed on (seed, epoch, row), every view alike; without, only resized. A row with
    a box is cropped to it, unless `crop` is false.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        task: Task,
        size: int,
        augmentation: Augmentation = "none",
        seed: int = 0,
        epoch: int | None = None,
        max_pixels: int = MAX_PIXELS,
        views: Sequence[View] = (),
        crop: bool = True,
    ) -> None:
        """frame: a manifest or some of its rows. size: pixels of the square input. views: what `Batch` also holds."""
        self.files = frame["file"].to_numpy(str)
        self.rows = frame.index.to_numpy()
        self.emotion, self.stratum = labels(frame, task)
        self.boxes = frame[["x1", "y1", "x2", "y2"]].to_numpy(float) if "x1" in frame else None
        self.augmentation: Augmentation = augmentation
        self.size, self.seed, self.epoch = size, seed, epoch
        self.max_pixels, self.views, self.crop = max_pixels, tuple(views), crop

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.files)

    def __getitem__(self, i: int) -> Item | InputError:
        """An image with its labels; an error is returned, not raised, so that it leaves a worker readably."""
        seen, row = self.read(i), int(self.rows[i])
        if isinstance(seen, InputError):
            return seen
        return {name: self._transformed(view, row) for name, view in seen.items()}, *self._labels(i), row

    def read(self, i: int) -> dict[str, Tensor] | InputError:
        """The views of an image as decoded, [3, H, W] uint8 each: `images`, and what `views` names."""
        try:
            whole = read_image(Path(self.files[i]), self.max_pixels)
        except InputError as error:
            return InputError(f"row {int(self.rows[i]) + 1}: {error}")
        box = None if self.boxes is None or np.isnan(self.boxes[i]).any() else self.boxes[i]
        return views_of(whole, box, self.views, self.crop)

    def _transformed(self, image: Tensor, row: int) -> Tensor:
        if self.epoch is None:
            return prepare(image, self.size)
        return augment(image, self.size, self.augmentation, np.random.default_rng([self.seed, self.epoch, row]))

    def _labels(self, i: int) -> tuple[np.ndarray, int]:
        return np.asarray(self.emotion[i]), int(self.stratum[i])


def views_of(whole: Tensor, box: np.ndarray | None, views: Sequence[View], crop: bool) -> dict[str, Tensor]:
    """An image as a method sees it, [3, H, W] uint8 each: `images`, and what `views` names; box: [4], of the person."""
    seen = {"images": whole}
    if box is not None:
        if crop:
            x1, y1, x2, y2 = pixels(box)
            seen["images"] = whole[:, y1:y2, x1:x2]
        if "context" in views:
            seen["context"] = masked(whole, box)
    if "whole" in views:
        seen["whole"] = whole
    return seen


def pixels(box: np.ndarray) -> tuple[int, int, int, int]:
    """The pixels x1, y1, x2, y2 that a box, [4] float, touches; the last two are exclusive."""
    x1, y1, x2, y2 = (int(side) for side in (*np.floor(box[:2]), *np.ceil(box[2:])))
    return x1, y1, x2, y2


def masked(image: Tensor, box: np.ndarray) -> Tensor:
    """A copy of an image, [3, H, W] uint8, with the box gray."""
    x1, y1, x2, y2 = pixels(box)
    covered = image.clone()
    covered[:, y1:y2, x1:x2] = GRAY
    return covered


def collate(items: list[Item | InputError]) -> Batch | InputError:
    """Stack items to a batch, images channels-last; an error among them takes the batch's place."""
    for item in items:
        if isinstance(item, InputError):
            return item
    images, emotion, stratum, row = zip(*items, strict=True)  # pyright: ignore[reportArgumentType]
    stacked = {
        name: torch.stack([views[name] for views in images]).contiguous(memory_format=torch.channels_last)
        for name in images[0]
    }
    emotions = torch.from_numpy(np.stack(emotion))
    return Batch(emotion=emotions, stratum=torch.tensor(stratum), row=torch.tensor(row), **stacked)


def to_device(batch: Batch | InputError, device: torch.device) -> Batch:
    """Move a batch to a device; raises the error that came in its place."""
    if isinstance(batch, InputError):
        raise batch
    return replace(batch, **{name: t.to(device, non_blocking=True) for name, t in vars(batch).items() if t is not None})


def loader(images: Images, batch_size: int, order: np.ndarray | None = None, workers: int = 0) -> DataLoader[Any]:
    """Batches of `images` in `order` (as they stand where None), decoded by `workers` processes ahead of time."""
    return DataLoader(
        images,
        batch_size,
        sampler=None if order is None else order.tolist(),
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # workers take no random number from the training's generator
    )


# ------------------------------------------------------------------------- images from the field

Source = str | Path | Image.Image | np.ndarray
"""An image's file, or the image itself: of Pillow, or [H, W, 3] (or [H, W]) uint8."""
Given = tuple[Source, np.ndarray | None]
"""A source and the person's box, [4], if there is one."""


class Field(Dataset):
    """Images that no manifest holds: what stands for an index is a source with its box.

    Nothing is checked beforehand, so any file may be anything: an error is returned, and says what is wrong with it.
    """

    def __init__(self, size: int, max_pixels: int, views: Sequence[View], crop: bool) -> None:
        """The words are those of `Images`."""
        self.size, self.max_pixels, self.views, self.crop = size, max_pixels, tuple(views), crop

    def __getitem__(self, given: Given) -> Item | InputError:
        """The image as `Images` has it, without labels."""
        source, box = given
        try:
            if self.views and box is None:
                raise ValueError("has no box of a person, and the method needs one")
            whole = self._decoded(source)
            height, width = whole.shape[1:]
            if box is not None and (min(box) < 0 or box[2] > width or box[3] > height or (box[2:] <= box[:2]).any()):
                shown = ", ".join(f"{side:g}" for side in box)
                raise ValueError(f"has a box ({shown}) that does not lie within its {width} x {height} pixels")
            seen = views_of(whole, box, self.views, self.crop)
            return {name: prepare(view, self.size) for name, view in seen.items()}, np.array(-1), -1, -1
        except Exception as error:  # whatever a decoder makes of a file from anywhere is that file's error alone
            return InputError(reason(error))

    def _decoded(self, source: Source) -> Tensor:
        if isinstance(source, np.ndarray):
            if source.dtype != np.uint8:
                raise ValueError(f"is an array of {source.dtype}: give [H, W, 3] uint8")
            return _rgb(Image.fromarray(source))
        if isinstance(source, Image.Image):
            return _rgb(source.copy())  # turning it upright happens in place
        file = Path(source)
        with file.open("rb") as stream:
            return decode(stream, file.stat().st_size, self.max_pixels)


def collate_found(items: list[Item | InputError]) -> tuple[Batch | None, list[str | None]]:
    """The batch of those items that are images, None where none is; and what is wrong with each item, or None."""
    good: list[Item | InputError] = [item for item in items if not isinstance(item, InputError)]
    found = collate(good) if good else None
    assert not isinstance(found, InputError)
    return found, [str(item) if isinstance(item, InputError) else None for item in items]


def field_loader(images: Field, batches: Iterable[list[Given]], workers: int) -> DataLoader[Any]:
    """What `collate_found` makes of each of `batches`, read ahead by `workers` processes and no further."""
    return DataLoader(
        images,
        batch_sampler=batches,  # pyright: ignore[reportArgumentType]  (an index may be anything)
        num_workers=workers,
        collate_fn=collate_found,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


# ------------------------------------------------------------------------------------- images alone

Look = Callable[[dict[str, Tensor], Path], Tensor]
"""What is seen in an image: its views `images` and `whole`, [3, H, W] uint8 each, and its file -> a tensor."""


class Pictures(Dataset):
    """What `look` sees in each row's image, cropped to its box with `crop`; an error is returned, as by `Images`."""

    def __init__(self, frame: pd.DataFrame, look: Look, max_pixels: int, crop: bool) -> None:
        """frame: a manifest or some of its rows. look: a function of a module, so that workers find it."""
        self.images = Images(frame, Task(()), 1, max_pixels=max_pixels, views=("whole",), crop=crop)
        self.look = look

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor | InputError:
        """What is seen in one image."""
        seen = self.images.read(i)
        return seen if isinstance(seen, InputError) else self.look(seen, Path(self.images.files[i]))


def look_at(
    frame: pd.DataFrame, look: Look, batch_size: int, workers: int, max_pixels: int = MAX_PIXELS, crop: bool = False
) -> Iterator[Tensor]:
    """What `look` sees in each row's image, stacked batch by batch; raises the error that came in a row's place."""
    pictures = Pictures(frame, look, max_pixels, crop)
    for items in DataLoader(pictures, batch_size, num_workers=workers, collate_fn=list, generator=torch.Generator()):
        for item in items:
            if isinstance(item, InputError):
                raise item
        yield torch.stack(items)
