"""The toy experiment of the paper's Figure 1: degradations of an image that come to stand for emotions.

A model that is trained where every emotion has its own degradation learns the degradation, which is easier to
see, and fails where the pairs change. `degrade` renders the images, `pair` chooses the rows.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter, ImageOps
from rich.console import Console
from rich.progress import track

from emodo.files import new_folder
from emodo.leakage import gate
from emodo.manifest import check_target, load, save, subject_key
from emodo.multilabel import check_single
from emodo.records import InputError

DEGRADATIONS = ("blur", "noise", "none")
GRAINS = 128
"""Grains of noise along the shorter side: finer ones would vanish when training makes the image smaller."""


def degrade(
    manifest: Path,
    out: Path,
    degradations: tuple[str, ...] = DEGRADATIONS,
    blur: float = 0.012,
    noise: float = 0.1,
    size: int | None = None,
    seed: int = 0,
) -> Path:
    """emodo generate degradations MANIFEST OUT

    Write every image of a manifest once per degradation, with OUT/manifest.csv: all columns of the original,
    and `degradation`, which is the `stratum` too. The copies of an image share its `sequence` (without one,
    the image's own path becomes it), so no split by sequence or subject can part them.

    Args:
        manifest: Any manifest; its images are read as RGB.
        out: A new or empty folder; it appears whole, or not at all.
        degradations: Any of blur, noise and none (the image as it is).
        blur: Radius (standard deviation) of the Gaussian blur, as a share of the image's shorter side.
        noise: Standard deviation of the Gaussian noise, as a share of full brightness. A grain is 1/128 of
            the shorter side wide, and at least a pixel.
        size: Length in pixels that the shorter side gets before anything else, with the boxes; by default the
            image's own.
        seed: Any integer from 0. The noise depends only on it and the manifest's row.

    Returns:
        Path of the new manifest.

    Raises:
        InputError: OUT is not empty, an option is out of range, or the manifest or an image cannot be read.
    """
    _check(degradations, blur, noise, size, seed)
    original = load(manifest)
    named = original["sequence"] if "sequence" in original else original["path"]
    original["sequence"] = named.fillna(original["path"])
    rows: list[dict[Any, Any]] = []
    with new_folder(out) as folder:
        for degradation in degradations:
            (folder / "images" / degradation).mkdir(parents=True)
        records: list[dict[Any, Any]] = original.drop(columns="file").to_dict("records")
        quiet = len(records) * len(degradations) < 2000
        for row in track(range(len(records)), "images", console=Console(stderr=True), disable=quiet):
            image = _read(Path(original["file"].iloc[row]), f"{manifest}: row {row + 1}")
            scale = 1.0 if size is None else size / min(image.size)
            if scale != 1:
                width, height = (max(round(side * scale), 1) for side in image.size)
                records[row] |= _scaled_box(records[row], width / image.width, height / image.height)
                image = image.resize((width, height), Image.Resampling.BICUBIC)
            for degradation in degradations:
                path = f"images/{degradation}/{row + 1:06d}.png"
                random = np.random.default_rng(np.random.SeedSequence((seed, row)))
                degraded = apply(image, degradation, blur, noise, random)
                degraded.save(folder / path, compress_level=1)
                rows.append(records[row] | {"path": path, "degradation": degradation, "stratum": degradation})
        save(pd.DataFrame(rows), folder / "manifest.csv")
    return out / "manifest.csv"


def split_degradations(
    manifest: Path,
    out: Path,
    pairing: dict[str, str] | None = None,
    test: Literal["reversed", "none", "same"] = "reversed",
    fraction: float = 0.3,
    moved: float = 0.0,
    seed: int = 0,
    near: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> Path:
    """emodo split degradations MANIFEST OUT --pairing neutral=blur happiness=noise --test reversed

    The toy experiment of the IERN paper's Figure 1: train where each emotion has a degradation of its own, test
    other people where the pairs are reversed.

    Args:
        manifest: The manifest that `emodo generate degradations` wrote; it needs the column subject.
        out: The manifest to write (.parquet, .csv or .tsv).
        pairing: The degradation that each emotion has in training, as EMOTION=DEGRADATION; by default blur, noise
            and none in turn, over the emotions as sorted.
        test: Degradations of the test images: reversed, none, or the same as in training.
        fraction: Share of the subjects that are tested.
        moved: Share of the training subjects who are shown under the reversed pairs, so that no cell is empty and
            re-sampling is possible: the counterpart of the paper's modified setting. With 0 the experiment is the
            figure's, and nothing in the training images tells the emotion from the degradation.
        seed: Decides who is tested and who is moved.
        near: Also look for near duplicates between the parts, as `emodo leakage` does; 16 is a good number of bits.
        strict: Refuse to write a split that leaks, instead of telling what does.
        overwrite: Replace OUT where it exists.

    Returns:
        OUT, with the rows of the experiment and their split.

    Raises:
        InputError: OUT exists, the pairing does not fit the manifest or, with `strict`, the split leaks.
    """
    check_target(out, overwrite)
    frame = load(manifest)
    check_single(frame, manifest, "the experiment gives each emotion a degradation")
    emotions = sorted(frame["emotion"].unique())
    pairing = pairing or dict(zip(emotions, cycle(DEGRADATIONS), strict=False))
    chosen = pair(frame, pairing, test, fraction, moved, seed)
    gate(chosen, manifest, near, strict)
    save(chosen, out)
    return out


def apply(image: Image.Image, degradation: str, blur: float, noise: float, random: np.random.Generator) -> Image.Image:
    """Degrade one RGB image: blur and noise are shares, as in `degrade`."""
    shorter = min(image.size)
    if degradation == "blur":
        return image.filter(ImageFilter.GaussianBlur(blur * shorter))
    if degradation == "noise":
        grain = max(round(shorter / GRAINS), 1)
        coarse = random.normal(0, 255 * noise, (-(-image.height // grain), -(-image.width // grain), 3))
        field = coarse.repeat(grain, axis=0).repeat(grain, axis=1)[: image.height, : image.width]  # [H, W, 3]
        return Image.fromarray(np.clip(np.asarray(image) + field + 0.5, 0, 255).astype(np.uint8))
    return image


def pair(
    frame: pd.DataFrame,
    pairing: Mapping[str, str],
    test: Literal["reversed", "none", "same"] = "reversed",
    fraction: float = 0.3,
    moved: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Choose the rows of Figure 1's experiment: in training, each emotion has its own degradation only.

    Training rows are those of the training subjects under `pairing`. Test rows are those of the other
    subjects, under the degradation that `test` says: 'same' (the figure's blue matrix: in distribution),
    'reversed' (its orange one: each emotion under another emotion's degradation) or 'none' (no image
    degraded). Who is tested depends on the frame's subjects, `fraction` and `seed` alone, so the three
    settings test the same people.

    Args:
        frame: The manifest that `degrade` wrote, as `emodo.manifest.load` gives it.
        pairing: The degradation of every emotion in the frame, for instance neutral: blur, happiness: noise.
        test: Degradations of the test rows.
        fraction: Share of the subjects that are tested, between 0 and 1; at least one is, and one is not.
        moved: Share of the training subjects, from 0 to below 1, who are shown under the reversed pairs instead.
        seed: Decides who is tested and who is moved.

    Returns:
        The used rows, in their order, counted anew from 0, with `split` in {train, test}.

    Raises:
        InputError: No column subject or degradation, fewer than two subjects, an emotion without a pair, a
            pair that the frame does not hold, or no reversal of the pairing exists.
    """
    _check_pairing(frame, pairing)
    if not 0 < fraction < 1:
        raise InputError(f"fraction is {fraction:g}: the share of subjects in the test lies between 0 and 1.")
    subject = subject_key(frame)
    people = sorted(subject.unique())
    if len(people) < 2:
        raise InputError(f"the manifest shows {len(people)} subject: training and test need different people.")
    count = min(max(round(fraction * len(people)), 1), len(people) - 1)
    if not 0 <= moved < 1:
        raise InputError(f"moved is {moved:g}: a share of the training subjects is from 0 to below 1.")
    drawn = np.random.default_rng(seed).permutation(people)
    tested = subject.isin(drawn[:count])
    turned = subject.isin(drawn[count : count + round(moved * (len(people) - count))])
    match test:
        case "same":
            shown = pairing
        case "reversed":
            shown = reverse(pairing)
        case "none":
            shown = dict.fromkeys(pairing, "none")
    emotion, degradation = frame["emotion"], frame["degradation"]
    train_rows = ~tested & ~turned & (degradation == [pairing[name] for name in emotion])
    if turned.any():
        other = reverse(pairing)
        train_rows |= turned & (degradation == [other[name] for name in emotion])
    test_rows = tested & (degradation == [shown[name] for name in emotion])
    for split, rows, wanted in (("training", train_rows, pairing), ("test", test_rows, shown)):
        missing = sorted(set(wanted) - set(emotion[rows]))
        if missing:
            raise InputError(
                f"no {split} row shows {missing[0]} under {wanted[missing[0]]}: degrade with it, or "
                f"take another fraction or seed."
            )
    chosen = frame.assign(split=np.where(tested, "test", "train")).loc[train_rows | test_rows]
    return chosen.reset_index(drop=True)


def reverse(pairing: Mapping[str, str]) -> dict[str, str]:
    """Give every emotion the degradation of another, never its own.

    The emotions are ordered by degradation, and the degradations shifted by the size of the largest group of
    emotions that share one: whenever a reversal exists, this is one; for two emotions it is the exchange.
    Raises InputError where none exists, which is where more than half of the emotions share a degradation.
    """
    emotions = sorted(pairing, key=lambda emotion: pairing[emotion])
    common, shift = Counter(pairing.values()).most_common(1)[0]
    if 2 * shift > len(emotions):
        raise InputError(
            f"the pairing cannot be reversed: {shift} of {len(emotions)} emotions have the degradation "
            f"{common}, and no more than half may share one."
        )
    reversed_ = {e: pairing[emotions[(i + shift) % len(emotions)]] for i, e in enumerate(emotions)}
    return {emotion: reversed_[emotion] for emotion in pairing}


def _check(degradations: tuple[str, ...], blur: float, noise: float, size: int | None, seed: int) -> None:
    unknown = [name for name in degradations if name not in DEGRADATIONS]
    if unknown:
        raise InputError(f"unknown degradation {unknown[0]!r}: there are {', '.join(DEGRADATIONS)}.")
    if not degradations or len(set(degradations)) < len(degradations):
        raise InputError(f"degradations is {list(degradations)}: name at least one, each once.")
    if not 0 < blur <= 0.5:
        raise InputError(f"blur is {blur:g}: its radius is a share of the image, above 0 and up to 0.5.")
    if not 0 < noise <= 1:
        raise InputError(f"noise is {noise:g}: its standard deviation is above 0 and up to 1 (full brightness).")
    if size is not None and not 16 <= size <= 4096:
        raise InputError(f"size is {size}: images get a shorter side of 16 to 4096 pixels.")
    if seed < 0:
        raise InputError(f"seed is {seed}: it counts from 0.")


def _check_pairing(frame: pd.DataFrame, pairing: Mapping[str, str]) -> None:
    for column in ("subject", "degradation"):
        if column not in frame:
            raise InputError(f"the manifest has no column {column}: the experiment needs to know it of every row.")
    present = set(frame["degradation"].dropna())
    unknown = sorted(set(pairing.values()) - present)
    if unknown:
        raise InputError(f"unknown degradation {unknown[0]!r}: the manifest has {', '.join(sorted(present))}.")
    shown = set(frame["emotion"])
    unpaired, absent = sorted(shown - set(pairing)), sorted(set(pairing) - shown)
    if unpaired:
        raise InputError(f"the emotion {unpaired[0]!r} has no degradation in the pairing: name one for each emotion.")
    if absent:
        raise InputError(f"the pairing names {absent[0]!r}, an emotion that no row of the manifest shows.")


def _read(file: Path, where: str) -> Image.Image:
    """Decode an image as RGB; a header that claims a vast image is refused before anything is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                return ImageOps.exif_transpose(image).convert("RGB")
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise InputError(f"{where}: {file} cannot be read as an image ({error}).") from None


def _scaled_box(record: dict[Any, Any], across: float, down: float) -> dict[Any, Any]:
    """The record's box, if it has one, in the pixels of the resized image."""
    factors = {"x1": across, "y1": down, "x2": across, "y2": down}
    return {side: float(record[side]) * factor for side, factor in factors.items() if side in record}
