"""Leakage: what the test part shares with the parts that are learned from, and copies within a manifest.

Four gates: sequences, subjects, files that are equal byte for byte, and near duplicates by a perceptual hash of our
own. The hash: the image as gray values of 32 x 32 pixels, their two-dimensional cosine transform (DCT-II), its 256
lowest frequencies without the mean, and a bit for each that says whether it is above their median. Size, compression,
brightness, contrast and colour change few bits; a mirrored, turned or cropped copy has another hash.
"""

from __future__ import annotations

import json as jsons
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from emodo.images import MAX_PIXELS, of_files, opened, upright
from emodo.manifest import SPLITS, check_target, read, save, sequence_key, subject_key, validate
from emodo.records import InputError
from emodo.splits import check

SIDE, BITS = 32, 256
MOST_BITS = 64  # half of the bits differ between images that have nothing in common
PLAIN = {"sequence": "sequences", "subject": "subjects", "identical": "files", "near": "looks"}
SHOWN = 3  # pairs printed of each gate
ROWS, COLUMNS = 16, 8192  # hashes compared at a time: a megabyte


@dataclass(frozen=True)
class Leak:
    """What one gate has found.

    gate: sequence, subject, identical or near. rows: [P] test rows that leak, or without a split all rows that have a
    copy in another sequence. of: number of rows that were looked at. match: [P] the first row that each shares it with,
    of near the nearest. others: [Q] all rows of the other parts that leak. shared: of sequence and subject, how many
    and of how many. bits: [P] bits that differ between row and match, of near.
    """

    gate: str
    rows: np.ndarray
    of: int
    match: np.ndarray
    others: np.ndarray
    shared: tuple[int, int] = (0, 0)
    bits: np.ndarray | None = None


def leakage(
    manifest: Path,
    near: int | None = None,
    clean: Path | None = None,
    json: bool = False,
    strict: bool = False,
    emotions: list[str] | None = None,
    max_pixels: int = MAX_PIXELS,
    overwrite: bool = False,
) -> None:
    """emodo leakage split.parquet --near 16

    Look for what the test part shares with train and validation: sequences, subjects, files that are equal byte for
    byte and, with --near, images that look the same. Without a split, look for copies in different sequences, which a
    split could part.

    Args:
        manifest: The manifest to look at.
        near: Also look for near duplicates, whose hashes differ in this many of 256 bits at most. 16 finds copies that
            were compressed, resized, made gray or brighter; it finds none that were mirrored, turned or cropped.
        clean: Write the manifest here without the rows of train and validation that share a sequence or an image with
            the test part, which stays as it is. Rows of shared subjects are kept.
        json: Print the report as JSON, with all pairs.
        strict: Refuse, with exit code 2, where anything is shared.
        emotions: Emotions that the manifest may hold, in place of the known ones.
        max_pixels: Larger images are refused before they are decoded.
        overwrite: Replace CLEAN where it exists.

    Raises:
        InputError: The manifest or an image cannot be read, there is no split to clean, an emotion would have no
            training image left, or with `strict` anything is shared; nothing has been written then.
    """
    if clean is not None:
        check_target(clean, overwrite)
    frame = _load(manifest, tuple(emotions) if emotions else None)
    if clean is not None and "split" not in frame:
        raise InputError(f"{manifest} has no column split, so there is nothing to clean: split it first")
    found = leaks(frame, manifest, near, max_pixels)
    kept = None if clean is None else _cleaned(frame, found, manifest)
    if json:
        print(jsons.dumps(_report(manifest, frame, found)))
    else:
        print("\n".join(line for leak in found for line in told(frame, leak)))
    if strict and any(len(leak.rows) for leak in found):
        raise InputError(f"{manifest} leaks")
    if clean is not None and kept is not None:
        save(kept, clean)
        print(f"{clean}: {len(frame) - len(kept)} rows of train and validation dropped", file=sys.stderr)


def gate(frame: pd.DataFrame, name: Path, near: int | None = None, strict: bool = False) -> None:
    """Tell on stderr what a new split leaks.

    frame: a manifest with `split`, its index that of the manifest `name`.

    Raises:
        InputError: With `strict`, what leaks; also an image that cannot be read.
    """
    found = leaks(frame, name, near)
    leaking = [leak for leak in found if len(leak.rows)]
    lines = [line for leak in leaking for line in told(frame, leak)]
    if strict and lines:
        raise InputError("\n".join([f"{name}: the split leaks, and with --strict is not written", *lines]))
    if any(leak.gate in ("identical", "near") for leak in leaking):
        lines.append("`emodo leakage` writes it with --clean without such rows of train and validation")
    lines = lines or [f"nothing leaks into test, by {', '.join(PLAIN[leak.gate] for leak in found)}"]
    for line in lines:
        print(f"{name}: {line}", file=sys.stderr)


# -------------------------------------------------------------------------------------------- the gates


def leaks(frame: pd.DataFrame, name: Path, near: int | None = None, max_pixels: int = MAX_PIXELS) -> list[Leak]:
    """Look through all gates that this manifest has: subjects where it knows any, near duplicates with `near`.

    frame: a manifest as loaded, or with a split that is new. name: what the messages call it.

    Raises InputError where `near` is no number of bits, a part is empty, or an image cannot be read.
    """
    if near is not None and not 0 <= near <= MOST_BITS:
        raise InputError(f"--near is {near}: it is a number of bits from 0 to {MOST_BITS}, of {BITS}; try 16")
    sides = _Sides.of(frame, name)
    sequence, found = sequence_key(frame), list[Leak]()
    if "split" in frame:
        found.append(_shared("sequence", sequence, sides))
        if "subject" in frame:
            found.append(_shared("subject", subject_key(frame).where(frame.loc[:, "subject"].notna()), sides))
    found.append(_identical(frame, name, sides))
    if near is not None:
        found.append(_near(frame, name, sides, near, max_pixels))
    return found


@dataclass(frozen=True)
class _Sides:
    """Rows that are compared: each of `left` with those of `right` whose group, [N], is another."""

    left: np.ndarray
    right: np.ndarray
    group: np.ndarray

    @classmethod
    def of(cls, frame: pd.DataFrame, name: Path) -> _Sides:
        """Test rows against all others; without a split, all rows against those of other sequences."""
        if "split" not in frame:
            rows = np.arange(len(frame))
            return cls(rows, rows, pd.factorize(sequence_key(frame))[0])
        tested = (frame.loc[:, "split"] == "test").to_numpy()
        if tested.all() or not tested.any():
            raise InputError(f"{name}: the {'train' if tested.all() else 'test'} part is empty")
        return cls(np.flatnonzero(tested), np.flatnonzero(~tested), tested)


def _shared(gate: str, key: pd.Series, sides: _Sides) -> Leak:
    """Rows that have their key, [N], missing where unknown, on both sides."""
    code, names = pd.factorize(key)
    left, right = (rows[code[rows] >= 0] for rows in (sides.left, sides.right))

    def first(rows: np.ndarray) -> np.ndarray:
        """The first of these rows with each code, -1 where there is none."""
        found = np.full(len(names), -1)
        codes, at = np.unique(code[rows], return_index=True)
        found[codes] = rows[at]
        return found

    one = first(right)
    another = first(right[sides.group[right] != sides.group[one[code[right]]]])
    match = np.where(sides.group[one[code[left]]] != sides.group[left], one[code[left]], another[code[left]])
    match[one[code[left]] < 0] = -1
    leaking = match >= 0
    codes = np.unique(code[left[leaking]])
    others = right[np.isin(code[right], codes)]
    shared = len(codes), len(np.unique(code[left]))
    return Leak(gate, left[leaking], len(sides.left), match[leaking], others, shared)


def _identical(frame: pd.DataFrame, name: Path, sides: _Sides) -> Leak:
    """Files that are equal byte for byte; only those of equal sizes are read."""
    sizes = dict(of_files(_size, frame, name))
    alike = _shared("identical", frame.loc[:, "file"].map(sizes), sides)
    read = frame.iloc[np.union1d(alike.rows, alike.others)]
    digests = dict(of_files(_digest, read, name, "comparing files"))
    return _shared("identical", frame.loc[:, "file"].map(digests), sides)


def _size(file: Path) -> int | None:
    return file.stat().st_size or None  # an empty file holds no image: training names it


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return file_digest(stream, "blake2b").hexdigest()


def _near(frame: pd.DataFrame, name: Path, sides: _Sides, most: int, max_pixels: int) -> Leak:
    hashed = perceptual_hashes(frame, name, max_pixels)
    left, right, group = sides.left, sides.right, sides.group
    at, bits, hit = nearest(hashed[left], hashed[right], most, group[left], group[right])
    close = at >= 0
    return Leak("near", left[close], len(left), right[at[close]], right[hit], bits=bits[close])


# --------------------------------------------------------------------------------------- perceptual hash


def perceptual_hashes(frame: pd.DataFrame, name: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Hash the image of every row, [N, 4] uint64 (see the module); each file is decoded once.

    Raises InputError that lists the rows whose image cannot be read.
    """
    hashed: dict[str, np.ndarray] = {}
    images = of_files(partial(_gray, max_pixels=max_pixels), frame, name, "hashing images")
    while part := list(islice(images, 1024)):
        hashed |= zip((file for file, _ in part), hashes(np.stack([pixels for _, pixels in part])), strict=True)
    return np.stack([hashed[file] for file in frame["file"]])


def hashes(pixels: np.ndarray) -> np.ndarray:
    """Hash gray images, [N, 32, 32] -> [N, 4] uint64: 256 bits each."""
    at = np.arange(SIDE)
    cosine = np.cos(np.pi * (at + 0.5) * at[:, None] / SIDE)  # [frequency, pixel]
    spectrum = cosine @ pixels.astype(float) @ cosine.T  # [N, 32, 32]
    # The lowest by u + v, without the mean; rounded, so that what is zero is not the sign of an error.
    u, v = np.array(sorted(np.ndindex(SIDE, SIDE), key=lambda of: (sum(of), of))[1 : BITS + 1]).T
    lowest = spectrum[:, u, v].round(3)
    above = lowest > np.median(lowest, axis=1, keepdims=True)
    return np.ascontiguousarray(np.packbits(above, axis=1)).view(np.uint64)


def nearest(
    left: np.ndarray, right: np.ndarray, most: int, left_group: np.ndarray, right_group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find for each of the hashes left, [A, 4], the nearest of right, [B, 4], of another group.

    Every pair is compared, in blocks that stay in the cache, on all cores. Returns the place in right, [A], -1 where
    none is within `most` bits; the bits that differ, [A]; and for each of right whether it is that close to any, [B].
    """
    place, bits = np.full(len(left), -1), np.full(len(left), BITS + 1)
    hit = np.zeros(len(right), bool)
    # A pair within `most` bits is so in any 64 of them; in the highest frequencies, the last, images differ most.
    last = np.ascontiguousarray(right[:, -1])

    def compare(start: int) -> None:
        rows = left[start : start + ROWS]
        differing = np.empty((len(rows), COLUMNS), np.uint64)
        for begin in range(0, len(right), COLUMNS):
            columns = last[begin : begin + COLUMNS]
            block = differing[:, : len(columns)]
            np.bitwise_xor(rows[:, -1:], columns, out=block)
            i, j = np.divmod(np.flatnonzero(np.bitwise_count(block) <= most), len(columns))
            if not len(i):
                continue
            i, j = i + start, j + begin
            apart = np.bitwise_count(left[i] ^ right[j]).sum(axis=1)
            close = (apart <= most) & (left_group[i] != right_group[j])
            i, j, apart = i[close], j[close], apart[close]
            hit[j] = True
            order = np.lexsort((j, apart, i))
            best = order[np.unique(i[order], return_index=True)[1]]
            best = best[apart[best] < bits[i[best]]]
            place[i[best]], bits[i[best]] = j[best], apart[best]

    with ThreadPoolExecutor() as threads:
        list(threads.map(compare, range(0, len(left), ROWS)))
    return place, bits, hit


def _gray(file: Path, max_pixels: int) -> np.ndarray:
    """The image as [32, 32] uint8."""
    with file.open("rb") as stream:
        image = opened(stream, os.fstat(stream.fileno()).st_size, max_pixels)
        image.draft("L", (2 * SIDE, 2 * SIDE))  # a JPEG is decoded at a fraction of its size, at least this
        return np.asarray(upright(image).convert("L").resize((SIDE, SIDE), Image.Resampling.HAMMING))


# ------------------------------------------------------------------------------------------ what is told


def told(frame: pd.DataFrame, leak: Leak) -> list[str]:
    """Say what a gate has found: a sentence, and the first pairs by row and path, a line each."""
    if "split" in frame:
        rows, where = "test rows", " or ".join(part for part in SPLITS[:2] if part in set(frame["split"]))
    else:
        rows, where = "rows", "another sequence"
    who, (shared, known) = f"{len(leak.rows)} of {leak.of} {rows}", leak.shared
    lines = [
        {
            "sequence": f"{shared} of {known} test sequences are in {where} too ({who})",
            "subject": f"{shared} of {known} test subjects are in {where} too ({who})",
            "identical": f"{who} have an image that is byte for byte one of {where}",
            "near": f"{who} have an image that looks like one of {where}",
        }[leak.gate]
    ]
    for at in np.sort(np.unique(leak.match, return_index=True)[1])[:SHOWN]:
        pair = " and ".join(_named(frame, int(row)) for row in (leak.rows[at], leak.match[at]))
        lines.append(f"  {pair}" + ("" if leak.bits is None else f", {leak.bits[at]} of {BITS} bits apart"))
    return lines


def _named(frame: pd.DataFrame, row: int) -> str:
    part = f", {frame['split'].iloc[row]}" if "split" in frame else ""
    return f"row {frame.index[row] + 1} ({frame['path'].iloc[row]}{part})"


def _report(manifest: Path, frame: pd.DataFrame, found: Sequence[Leak]) -> dict[str, Any]:
    def pair(leak: Leak, at: int) -> dict[str, Any]:
        row, other = int(leak.rows[at]), int(leak.match[at])
        paths = {"path": frame["path"].iloc[row], "other_path": frame["path"].iloc[other]}
        return {"row": row + 1, "other_row": other + 1, **paths} | (
            {} if leak.bits is None else {"bits": int(leak.bits[at])}
        )

    gates = {
        leak.gate: {
            "rows": len(leak.rows),
            "of": leak.of,
            "other_rows": len(leak.others),
            "pairs": [pair(leak, at) for at in range(len(leak.rows))],
        }
        for leak in found
    }
    parts = frame["split"].value_counts().to_dict() if "split" in frame else {}
    return {"manifest": str(manifest), "rows": len(frame), "parts": parts, "gates": gates}


def _load(manifest: Path, emotions: tuple[str, ...] | None) -> pd.DataFrame:
    """Read a manifest whose split may share sequences, which `manifest.load` refuses."""
    table = read(manifest)
    frame = validate(table.drop(columns="split", errors="ignore"), manifest, manifest.parent, emotions)
    if "split" in table:
        frame["split"] = table.loc[:, "split"].astype("str")
        strange = np.flatnonzero(~frame.loc[:, "split"].isin(SPLITS))
        if len(strange):
            split = frame["split"].iloc[strange[0]]
            raise InputError(
                f"{manifest}: row {strange[0] + 1}: the split is {split!r}: expected one of {', '.join(SPLITS)}"
            )
    return frame


def _cleaned(frame: pd.DataFrame, found: Sequence[Leak], name: Path) -> pd.DataFrame:
    """The rows without those of train and validation that share a sequence or an image with a test row."""
    leaking = [leak.others for leak in found if leak.gate != "subject"]
    kept = frame.drop(index=frame.index[np.unique(np.concatenate(leaking))])
    try:
        check(kept)
    except InputError as error:
        raise InputError(f"{name}: without the rows that leak, {error}") from None
    return kept
