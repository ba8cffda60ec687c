"""A data set as it lies on a disk: what is there, under which wrappers, its small text files, and the manifest.

Shared by the adapters. Files are text, not `Path`: a data set has up to a million of them, and a Path a file takes
ten times as long.
"""

from __future__ import annotations

import csv
import os
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from emodo import manifest, multilabel
from emodo.records import InputError

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
SYSTEM = {"thumbs.db", "desktop.ini", "__macosx"}  # left by Windows and by macOS's archives
DEPTH = 7  # how deep the data set's own folders are looked for: downloads are wrapped
LISTED = 10_000  # files and folders that are looked at for a suggestion

# Adapter -> the names of files and folders that its data set alone has. A wrong adapter suggests the right one by it.
TELLTALES = {
    "ckplus": r"cohn-kanade-images|ck\+|S\d{3}_\d{3}_\d{8}_emotion\.txt",
    "mmi": r"S\d{3}-\d{3}\.(avi|xml)|mmi-facial-expression-database.*",
    "oulucasia": r"oulu.casia.*|(VL|NI)(_Acropped)?|B_OriginalImg",
    "mixbasic": r"MixBasic|emotion_labels\.pkl",
    "fer2013": r"fer2013\.csv|icml_face_data\.csv",
    "ferplus": r"fer2013new\.csv|FER2013(Train|Valid|Test)|FERPlus.*",
    "rafdb": r"list_patition_label\.txt|EmoLabel|RAF-?DB",
    "affectnet": r"Manually_Annotated.*|Automatically_Annotated.*|\d+_(exp|aro|val|lnd)\.npy|AffectNet.*",
    "expw": r"label\.lst|ExpW",
    "sfew": r"(Train|Val|Test)_Aligned_Faces.*|SFEW.*",
    "jaffe": r"[A-Z]{2}\.(AN|DI|FE|HA|NE|SA|SU)\d\.\d+\.tiff?|jaffe.*",
    "kdef": r"[AB][FM]\d\d(AF|AN|DI|HA|NE|SA|SU)(S|HL|HR|FL|FR)\.jpg|KDEF.*",
    "deepsentiment": r"Agg_AMT_Candidates|(twitter_)?(three|four|five)_agrees?(\.txt)?",
    "emotion6panda": r"Emotion-6|UnBiasedEmo|digust",
    "emotion6": r"Emotion6",
    "webemo": r"WEBEmo|(train|test)25(\.txt)?",
    "emotic": r"(cvpr_?)?emotic|(CVPR17_)?Annotations\.mat|annots?_arrs.*|emodb_small|framesdb",
    "caers": r"CAER-?S",
    "groupwalk": r"groupwalk(\.csv)?",
    "emoset": r"EmoSet.*",
    "fi": r"emotion_dataset",
}


def check(root: Path, out: Path, overwrite: bool) -> None:
    """Raise InputError where OUT cannot be written, or exists and may not be replaced, or ROOT is no folder."""
    manifest.check_target(out, overwrite)
    if not root.is_dir():
        raise InputError(f"{root} is {'a file, not a folder' if root.is_file() else 'missing: no such folder'}")


def at_least_one(option: str, number: int) -> None:
    """Raise InputError where an option that counts something is less than one."""
    if number < 1:
        raise InputError(f"--{option} {number}: expected a whole number from 1")


def passed_over(counts: Mapping[str, int]) -> list[str]:
    """One note of what was left out, and how many of each; none where nothing was."""
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return [f"passed over {told}"] if told else []


def unnamed(files: Sequence[str]) -> list[str]:
    """One note of images whose names do not parse: how many, and the first ones."""
    told = ", ".join(files[:3]) + ", ..." * (len(files) > 3)
    return [f"passed over {len(files)} images whose names do not parse: {told}"] if files else []


def absent(root: Path, missing: Sequence[str], listed: int, skip: bool) -> list[str]:
    """What to say of listed images that are not there.

    missing: where each is listed and what it is called. listed: how many are listed in all.

    Raises:
        InputError: Some are missing and `skip` is false, or all are.
    """
    if missing and (not skip or len(missing) == listed):
        advice = "" if len(missing) == listed else ": complete them, or leave them out with --skip_missing"
        raise_all([f"{root}: {len(missing)} of {listed} listed images are missing{advice}", *missing])
    return (
        [f"left out {len(missing)} of {listed} listed images that are missing, first {missing[0]}"] if missing else []
    )


def files(folder: Path | str) -> Iterator[str]:
    """Yield the absolute path of every file below a folder, those of a folder together, in no order.

    Hidden files and folders, macOS's `._` files and `__MACOSX`, Windows' Thumbs.db and desktop.ini are passed
    over. Links are followed.

    Raises:
        InputError: A folder that cannot be listed, a link back to a folder that holds it.
    """
    top = os.path.abspath(folder)  # noqa: PTH100  (text in, text out)
    below: list[str] = []
    for entry in _entries(top):
        if not entry.is_dir():
            yield entry.path
        elif entry.is_symlink() and Path(top).resolve().is_relative_to(Path(entry.path).resolve()):
            raise InputError(f"{entry.path} links back to a folder that holds it: remove the link")
        else:
            below.append(entry.path)
    for path in below:
        yield from files(path)


def images(folder: Path | str) -> list[str]:
    """Every image below a folder, by its suffix, in alphabetical order."""
    return sorted(file for file in files(folder) if suffix(file) in IMAGES)


def suffix(file: str) -> str:
    """The file's suffix in lower case, with its dot."""
    return os.path.splitext(file)[1].lower()  # noqa: PTH122


def name(file: str) -> str:
    """The file's name without its folders."""
    return file.rpartition(os.sep)[2]


def find(root: Path, adapter: str, *names: str) -> Path:
    """The file or folder of one of these names, as `search` finds it.

    Raises:
        InputError: There is none; the message names what is there instead, and the adapter that would fit it.
    """
    found = search(root, *names)
    if found is None:
        raise nothing(root, adapter, " or ".join(repr(name) for name in names))
    return found


def search(root: Path, *names: str) -> Path | None:
    """The file or folder of one of these names, in any case: ROOT itself, or what lies least deep in it.

    Of several at one depth the name that is given first wins. Where a folder holds one of its own name (as
    unpacking makes them), that one is it.
    """
    wanted = [name.lower() for name in names]
    found = root if root.name.lower() in wanted or root.resolve().name.lower() in wanted else None
    level = [str(root.absolute())]
    for _ in range(DEPTH):
        if found is not None or not level:
            break
        hits: list[tuple[int, str]] = []
        below: list[str] = []
        for entry in (entry for folder in level for entry in _entries(folder)):
            if entry.name.lower() in wanted:
                hits.append((wanted.index(entry.name.lower()), entry.path))
            if entry.is_dir():
                below.append(entry.path)
        found = Path(min(hits)[1]) if hits else None
        level = below
    while found is not None and found.is_dir() and (found / found.name).is_dir():
        found = found / found.name
    return found


def nothing(root: Path, adapter: str, wanted: str) -> InputError:
    """The error that ROOT does not hold what the adapter looks for: what is there, and which adapter fits it."""
    seen = sorted(entry.name + "/" * entry.is_dir() for entry in _entries(str(root)))
    found = ", ".join(seen[:8]) + f" and {len(seen) - 8} more" * (len(seen) > 8) or "nothing"
    others = [other for other in _telling(root) if other != adapter]
    advice = " or ".join(f"emodo prepare {other}" for other in others)
    return InputError(
        f"{root} holds no {wanted} ({DEPTH} folders deep); found {found}"
        + (f": it looks like data for {advice}" if advice else f": see emodo prepare {adapter} --help")
    )


def classes(root: Path, adapter: str, labels: Iterable[str]) -> tuple[str, dict[str, str]]:
    """The folder that lies least deep in ROOT and holds a folder for each of these labels, in any case.

    Returns:
        The folder, absolute, and the names of its folders with their labels.

    Raises:
        InputError: There is none.
    """
    wanted = set(labels)
    level = [str(root.absolute())]
    for _ in range(DEPTH + 1):
        below = {folder: [entry.name for entry in _entries(folder) if entry.is_dir()] for folder in level}
        for folder, names in sorted(below.items()):
            found = {name: name.lower() for name in names if name.lower() in wanted}
            if wanted <= set(found.values()):
                return folder, found
        level = [f"{folder}{os.sep}{name}" for folder, names in below.items() for name in names]
    raise nothing(root, adapter, f"folder with all of {', '.join(sorted(wanted))}")


def read_lines(file: Path) -> list[str]:
    r"""The lines of a small text file (UTF-8, with or without BOM) that end in \n, \r\n or \r, or at the file's end.

    Raises:
        InputError: It cannot be read, or is no UTF-8.
    """
    try:
        lines = re.split(r"\r\n|\r|\n", file.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8: save it as UTF-8"
        raise InputError(f"{file} cannot be read: {reason}") from None
    return lines[:-1] if not lines[-1] else lines


def read_rows(table: Path, columns: Sequence[str], order: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line and the cells of each row of a CSV, one at a time: some have 300 MB.

    Spaces around names and cells do not count, and neither does the case of names. Any line ends.

    Args:
        table: The file, UTF-8 with or without BOM.
        columns: Names that must be there, in lower case.
        order: All names, in lower case, where a file may come without its header.

    Raises:
        InputError: It cannot be read, lacks a column, or a row has more or fewer cells than there are names.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened)
            first = next(reader, [])
            names = [name.strip().lower() for name in first]
            headless = bool(order) and len(first) == len(order) and not set(names) & set(order)
            lacking = [] if headless else [name for name in columns if name not in names]
            if lacking:
                found = ", ".join(names[:9]) or "none"
                raise InputError(f"{table}: no column {' and no column '.join(lacking)} (found: {found})")
            for row in chain([first] * headless, reader):
                if row and len(row) != len(names):
                    raise InputError(f"{table}: line {reader.line_num}: {len(row)} cells, expected {len(names)}")
                if row:
                    yield reader.line_num, dict(zip(order if headless else names, map(str.strip, row), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table} cannot be read as CSV ({error}): copy it anew") from None


def raise_all(problems: Sequence[str]) -> None:
    """Raise one InputError of all problems, a line each, of which a screen full is shown; none without problems."""
    more = len(problems) - manifest.SHOWN
    if problems:
        raise InputError("\n".join([*problems[: manifest.SHOWN], *[f"... and {more} more"] * (more > 0)]))


def clip(
    frame: pd.DataFrame, sizes: Mapping[str, tuple[float, float]] | None = None
) -> tuple[pd.DataFrame, int, list[str]]:
    """Cut the boxes of a frame with absolute paths to their images, whose headers are read unless `sizes` has them.

    Returns:
        The rows whose image can be read and of whose box something is left; how many boxes were cut or lay wholly
        outside; the images that cannot be read.
    """
    paths = frame["path"].tolist()
    sizes = manifest.image_sizes(paths) if sizes is None else sizes
    most = np.array([sizes[path] * 2 for path in paths]).reshape(-1, 4)  # width, height, width, height
    box = frame[list(manifest.BOX)].to_numpy(float)
    cut = np.minimum(np.maximum(box, 0), most)  # NaN where the size is
    whole = (cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])
    changed = int(((cut != box).any(axis=1) & ~np.isnan(most[:, 0])).sum())
    unread = sorted(file for file, (width, _) in sizes.items() if np.isnan(width))
    kept = frame.assign(**dict(zip(manifest.BOX, cut.T, strict=True))).loc[whole]
    return kept.reset_index(drop=True), changed, unread


def save(
    frame: pd.DataFrame,
    root: Path,
    out: Path,
    known: Mapping[str, tuple[int, int]] | None = None,
    notes: Sequence[str] = (),
    emotions: tuple[str, ...] | None = None,
    check_files: bool = True,
) -> Path:
    """Check the rows as a manifest, write them to OUT, and say on stderr what it holds.

    Args:
        frame: The rows, their paths absolute.
        root: The folder that messages name.
        out: The manifest.
        known: What was counted -> (how many here, how many are published). Differences are a warning of their own.
        notes: What was passed over, and why.
        emotions: Labels of the user's own, in place of the known ones.
        check_files: False where every file has just been listed and every box cut to its image.

    Raises:
        InputError: All that `emodo.manifest.validate` finds.
    """
    if frame.empty:
        raise InputError("; ".join([f"{root}: no image is left", *notes]))
    whole = manifest.validate(frame, root, root, emotions, check_files)
    manifest.save(whole, out)
    images = len(set(whole["file"]))
    counts = [f"{images} images" if images == len(whole) else f"{len(whole)} rows of {images} images"]
    for column, key in (("sequence", manifest.sequence_key), ("subject", manifest.subject_key)):
        if column in whole:
            counts.append(f"{len(set(key(whole)[whole[column].notna()]))} {column}s")
    print(
        "; ".join(
            [f"{out}: {', '.join(counts)}, {len(set(multilabel.apart(whole.loc[:, 'emotion'])))} emotions", *notes]
        ),
        file=sys.stderr,
    )
    other = [f"{here} {what}, published are {there}" for what, (here, there) in (known or {}).items() if here != there]
    if other:
        print(f"{out}: warning: {'; '.join(other)}", file=sys.stderr)
    return out


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.name.lower() not in SYSTEM:
                    yield entry
    except OSError as error:
        raise InputError(f"{folder} cannot be listed: {error.strerror}") from None


def _telling(root: Path) -> list[str]:
    """The adapters whose telltales are below ROOT, or in its own name."""
    names = [root.resolve().name]
    waiting = deque([(str(root), 0)])
    while waiting and len(names) < LISTED:
        folder, depth = waiting.popleft()
        for entry in _entries(folder):
            names.append(entry.name)
            if depth < DEPTH and entry.is_dir() and not entry.is_symlink():
                waiting.append((entry.path, depth + 1))
    return [
        adapter
        for adapter, telltale in TELLTALES.items()
        if any(re.fullmatch(telltale, name, re.IGNORECASE) for name in names)
    ]
