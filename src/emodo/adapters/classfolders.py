"""Images in folders PART/CLASS/, the form in which many data sets are passed on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from emodo import manifest
from emodo.adapters import disk


def class_folders(
    root: Path, parts: Mapping[str, str], labels: Mapping[str, str]
) -> tuple[pd.DataFrame, int, Counter[str]]:
    """Every image below ROOT in a folder that is named after a part of the data set, at any depth.

    Args:
        root: The folder to search, which may itself be a part or a class.
        parts: Folders of the parts, in lower case -> the split they are, or an empty text for parts to pass over.
        labels: Folders of the classes, in lower case -> the emotion. An image's own folder is its class.

    Returns:
        Columns path, emotion and split, in alphabetical order of the paths; how many images are in no part; how many
        images are in each part that is passed over.

    Raises:
        InputError: Images in a part, in a folder that is no class: all such folders.
    """
    rows: list[tuple[str, str, str]] = []
    outside = 0
    passed: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    folder, part, label = "", None, None
    start = len(str(root.absolute().parent))  # ROOT's own name counts, those above it do not
    for image in disk.images(root):
        if image.rpartition(os.sep)[0] != folder:
            folder = image.rpartition(os.sep)[0]
            *above, own = folder[start:].lower().split(os.sep)  # noqa: PTH206  (a Path a folder is slower)
            part = next((name for name in reversed(above) if name in parts), None)
            if own in parts and own not in labels:  # in a part, in no class
                part = own
            label = labels.get(own)
        if part is None:
            outside += 1
        elif not parts[part]:
            passed[part] += 1
        elif label is None:
            unknown[folder] += 1
        else:
            rows.append((image, label, parts[part]))
    disk.raise_all([_unknown(name, count, labels) for name, count in sorted(unknown.items())])
    return pd.DataFrame(rows, columns=["path", "emotion", "split"]), outside, passed


def names(*emotions: str) -> dict[str, str]:
    """Class folders of these emotions: their names and the other words for them, in lower case -> the emotion."""
    return {name: name for name in emotions} | {
        other: name for other, name in manifest.ALIASES.items() if name in emotions
    }


def _unknown(folder: str, count: int, labels: Mapping[str, str]) -> str:
    meant = manifest.suggestion(folder.rpartition(os.sep)[2], labels)
    advice = f"did you mean {meant!r}? Rename it" if meant else f"expected one of {', '.join(sorted(labels))}"
    return f"{folder}: the folder of {count} images is no class of the data set: {advice}"
