"""Folders named after emotions, the layout that most data sets are passed on in, to a manifest."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from emodo import manifest
from emodo.adapters import disk
from emodo.records import InputError

SPLIT_ALIASES = {"training": "train", "val": "validation", "valid": "validation", "testing": "test"}


def folder(
    root: Path, out: Path, levels: list[str] | None = None, emotions: list[str] | None = None, overwrite: bool = False
) -> Path:
    """emodo prepare folder CAER-S caers.parquet --levels [split,emotion]

    Takes every image below ROOT. The folders on its way give the columns: ROOT/happiness/1.jpg needs nothing
    more, ROOT/CK+/happiness/S010/1.png is --levels [source,emotion] or [source,emotion,subject]. Folders
    below the named levels are searched too.

    Emotions are recognised in any case, and under the names of `emodo.manifest.ALIASES` (Happy, angry, Sad
    ...); splits also as val, valid, training and testing. Hidden files and folders, macOS's `._` files and
    `__MACOSX`, Windows' Thumbs.db and desktop.ini are passed over; other files that are no images are
    counted.

    Args:
        root: The folder to search.
        out: The manifest to write (.parquet, .csv or .tsv).
        levels: What the folders below ROOT stand for, from the top: emotion, and any of source, split,
            subject, sequence or a name of your own; by default emotion alone.
        emotions: Emotions that the folders may be named after, in place of the known ones.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No images, an image above the named levels, a folder that is no known emotion or split.
    """
    manifest.check_target(out, overwrite)
    levels = levels or ["emotion"]
    unfit = {"path", "file", *manifest.BOX} & set(levels)
    if "emotion" not in levels or len(set(levels)) < len(levels) or unfit:
        raise InputError(
            f"--levels {','.join(levels)}: name each level once, one of them emotion, and none "
            "path, file or a side of the box"
        )
    if not root.is_dir():
        raise InputError(f"{root} is no folder")
    images: list[str] = []
    others: Counter[str] = Counter()
    for file in disk.files(root):
        suffix = disk.suffix(file)
        if suffix in disk.IMAGES:
            images.append(file)
        else:
            others[suffix or "no suffix"] += 1
    images.sort()
    listed = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(8))
    if not images:
        raise InputError(
            f"{root} holds no image ({' '.join(sorted(disk.IMAGES))}) at any depth; found "
            + (f"{others.total()} other files: {listed}" if others else "no files at all")
        )
    columns = _columns(root, images, levels, frozenset(emotions) if emotions else manifest.EMOTIONS)
    frame = pd.DataFrame({"path": images, **columns}, dtype="str")
    whole = manifest.validate(frame, root, root, tuple(emotions) if emotions else None)
    manifest.save(whole, out)
    print(
        f"{out}: {len(whole)} images, {whole['emotion'].nunique()} emotions"
        + (f"; skipped {others.total()} files that are no images: {listed}" if others else ""),
        file=sys.stderr,
    )
    return out


def _columns(root: Path, images: list[str], levels: list[str], known: frozenset[str]) -> dict[str, list[str]]:
    start = len(str(root.absolute()).rstrip(os.sep)) + 1
    parts = [image[start:].split(os.sep)[:-1] for image in images]  # noqa: PTH206  (as above)
    shallow = [image for image, folders in zip(images, parts, strict=True) if len(folders) < len(levels)]
    problems: list[str] = []
    if shallow:
        problems.append(
            f"{len(shallow)} images are in no folder {'/'.join(levels)}, the first is "
            f"{shallow[0]}: move them or change --levels"
        )
    columns: dict[str, list[str]] = {}
    for at, level in enumerate(levels):
        folders = [names[at] for names in parts if at < len(names)]
        meant = {name: _meaning(level, name, known) for name in set(folders)}
        unknown = Counter(name for name in folders if meant[name] is None)
        problems += [_unknown(level, name, count, known) for name, count in sorted(unknown.items())]
        columns[level] = [meant[name] or name for name in folders]
    disk.raise_all([f"{root}: {problem}" for problem in problems])
    return columns


def _meaning(level: str, name: str, known: frozenset[str]) -> str | None:
    lower = name.strip().lower()
    if level == "emotion":
        likely = (name, lower, manifest.ALIASES.get(lower))
        return next((label for label in likely if label in known), None)
    if level == "split":
        lower = SPLIT_ALIASES.get(lower, lower)
        return lower if lower in manifest.SPLITS else None
    return name


def _unknown(level: str, name: str, count: int, known: frozenset[str]) -> str:
    meant = manifest.suggestion(name, known)
    if level == "split":
        advice = f"expected one of {', '.join(manifest.SPLITS)}"
    elif _meaning("split", name, known):
        advice = "if the emotions' folders are in it, say --levels [split,emotion]"
    elif meant:
        advice = f"did you mean {meant!r}? Rename the folder"
    else:
        advice = "name emotions of your own with --emotions, other levels with --levels"
    return f"the folder {name!r} ({count} images) is no known {level}: {advice}"
