"""The manifest: one table, one row an image or a person in an image, that travels from disk to report.

    path, emotion                 required; several emotions of a row are joined by | (see `emodo.multilabel`)
    source, subject, sequence     where the image comes from, who it shows, the recording it was taken from
    x1, y1, x2, y2                the person's box in pixels, x2 and y2 exclusive
    stratum, split                the confounder's stratum; train, validation or test
    anything else                 kept, and a possible confounder (gender, age, camera ...)

A manifest is checked as a whole, and everything that is wrong with it is shown at once.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

from emodo.files import atomic
from emodo.multilabel import JOIN, ordered
from emodo.ontology import ALIASES, EMOTIONS
from emodo.records import InputError

BOX = ("x1", "y1", "x2", "y2")
SPLITS = ("train", "validation", "test")
TEXT = ("path", "emotion", "source", "subject", "sequence", "stratum", "split")
SEPARATORS = {".csv": ",", ".tsv": "\t"}
ORIENTATION = 274  # the EXIF tag
SHOWN = 20  # problems printed in full; a screen holds them

# Rows that are wrong, and what to say of one of them: a message is only written for the rows that are shown.
Check = tuple[np.ndarray, Callable[[int], str]]


def load(file: Path, emotions: tuple[str, ...] | None = None, check_files: bool = True) -> pd.DataFrame:
    """Read and check a manifest.

    Args:
        file: The manifest: .parquet, .csv or .tsv.
        emotions: The labels it may hold; by default `EMOTIONS`, which no typing error passes.
        check_files: Look for every image, and compare the boxes with the image sizes.

    Returns:
        The table with `path` as written, the column `file` (absolute path) and rows counted from 0.

    Raises:
        InputError: Everything that is wrong, one line a problem, with file and row (see `validate`).
    """
    return validate(read(file), file, file.parent, emotions, check_files)


def read(file: Path) -> pd.DataFrame:
    """Read a table without judging its rows.

    In CSV and TSV (UTF-8, with or without BOM, any line ends) every column is text, so '001' stays '001', and
    an empty cell is missing. Parquet keeps its types.

    Raises:
        InputError: No such file, a suffix that is no table's, a file that cannot be read, no rows, or columns
            without a name or with the same name.
    """
    suffix = _table_suffix(file)
    if not file.is_file():
        raise InputError(f"{file} is {'a folder, not a table' if file.is_dir() else 'missing: no such file'}")
    try:
        names, frame = _read_parquet(file) if suffix == ".parquet" else _read_text(file, SEPARATORS[suffix])
    except (OSError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        hint = ": save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise InputError(f"{file} cannot be read as {suffix[1:].upper()} ({reason}){hint}") from None
    nameless = [str(at) for at, name in enumerate(names, 1) if not name]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if nameless:
        raise InputError(f"{file}: column {', '.join(nameless)} has no name: name it or remove it")
    if repeated:
        raise InputError(f"{file}: more than one column is named {', '.join(repeated)}: rename all but one")
    if frame.empty:
        raise InputError(f"{file} has no rows")
    return frame


def _read_parquet(file: Path) -> tuple[list[str], pd.DataFrame]:
    names = [str(name) for name in pq.read_schema(file).names]
    if len(set(names)) < len(names):
        return names, pd.DataFrame()
    frame = pd.read_parquet(file)
    # An index that was saved by name is a column like any other; a number of the row is not.
    frame = frame.reset_index(drop=frame.index.names == [None])
    names = [str(name) for name in frame.columns]
    return names, frame.set_axis(names, axis=1)


def _read_text(file: Path, separator: str) -> tuple[list[str], pd.DataFrame]:
    # The header is read as a row: pandas would rename repeated columns and take a long row's surplus for an
    # index.
    try:
        rows = pd.read_csv(
            file, sep=separator, header=None, dtype=str, encoding="utf-8-sig", keep_default_na=False, na_values=[""]
        )
    except pd.errors.EmptyDataError:
        return [], pd.DataFrame()
    names = ["" if pd.isna(name) else str(name) for name in rows.iloc[0]]
    return names, rows.iloc[1:].reset_index(drop=True).set_axis(names, axis=1)


def validate(
    frame: pd.DataFrame, name: Path, folder: Path, emotions: tuple[str, ...] | None = None, check_files: bool = True
) -> pd.DataFrame:
    """Check a manifest's rows, and give each its absolute path.

    Args:
        frame: The table as read; row N of a message is its N-th row, counted from 1.
        name: The file that the messages name.
        folder: Where relative paths start.
        emotions: The labels the table may hold; by default `EMOTIONS`.
        check_files: Look for every image, and compare the boxes with the image sizes (from the headers; only
            rows with a box are opened).

    Returns:
        The table with text in the columns `TEXT`, numbers in the boxes, and the column `file`; several emotions
        of a row stand in alphabetical order.

    Raises:
        InputError: All problems at once, one line each: missing columns, an empty path or emotion, an unknown
            emotion or split, one emotion twice in a row, a missing image, the same image and box twice, a box that
            is incomplete, negative, empty or outside its image, a sequence (within its source) in two splits.
    """
    frame = frame.reset_index(drop=True)
    for column in frame.columns.intersection(TEXT):
        frame[column] = as_text(frame.loc[:, column])
    problems = [
        f"no column {column} (found: {', '.join(frame.columns)})"
        for column in ("path", "emotion")
        if column not in frame
    ]
    if "file" in frame:
        problems.append("the column file is kept for absolute paths: rename it")
    checks: list[Check] = []
    boxes = _boxes(frame, problems, checks)
    if "emotion" in frame:
        checks += _emotion_checks(frame.loc[:, "emotion"], frozenset(emotions) if emotions else EMOTIONS)
    if "path" in frame and "file" not in frame:
        frame["file"] = _absolute(frame.loc[:, "path"], folder)
        checks += _file_checks(frame, boxes, check_files)
    if "path" in frame and "split" in frame:
        checks += _split_checks(frame)
    _raise_all(name, problems, checks)
    frame["emotion"] = ordered(frame.loc[:, "emotion"])
    return frame


def places(frame: pd.DataFrame, name: Path, folder: Path) -> pd.DataFrame:
    """Check where a table's images and boxes are, and nothing else of it; the files themselves are not looked at.

    frame, name, folder: as in `validate`; no emotions are needed.

    Returns the columns `path`, `file` (absolute) and, where the table has them, the box.

    Raises InputError that lists all problems of these columns.
    """
    frame = frame.reset_index(drop=True)
    problems = [] if "path" in frame else [f"no column path (found: {', '.join(frame.columns)})"]
    frame = frame.loc[:, [column for column in ("path", *BOX) if column in frame]].copy()
    checks: list[Check] = []
    _boxes(frame, problems, checks)
    if "path" in frame:
        frame["path"] = as_text(frame.loc[:, "path"])
        frame["file"] = _absolute(frame.loc[:, "path"], folder)
        checks.append((frame["path"].isna().to_numpy(), lambda row: "the path is empty"))
    _raise_all(name, problems, checks)
    return frame


def save(frame: pd.DataFrame, file: Path) -> None:
    """Write a manifest, whole or not at all, as Parquet, CSV or TSV by its suffix.

    Paths are written anew from the column `file`: relative to the manifest where the image lies in the
    manifest's folder or in the folder around that one (a project can be moved as a whole), absolute elsewhere
    (the manifest can be moved alone). The column `file` itself is not written.
    """
    suffix = _table_suffix(file)
    if "file" in frame:
        frame = frame.assign(path=_written_paths(frame.loc[:, "file"], file.parent.absolute()))
    first = [column for column in (*TEXT[:5], *BOX, *TEXT[5:]) if column in frame]
    frame = frame.loc[:, first + [column for column in frame if column not in (*first, "file")]]
    with atomic(file) as temporary:
        if suffix == ".parquet":
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_csv(temporary, sep=SEPARATORS[suffix], index=False, lineterminator="\n")


def check_target(out: Path, overwrite: bool = False) -> None:
    """Raise InputError where the table `out` cannot be written, or exists and may not be overwritten."""
    _table_suffix(out)
    if out.is_dir() or (out.exists() and not overwrite):
        raise InputError(
            f"{out} exists already: choose another OUT" + ("" if out.is_dir() else ", or replace it with --overwrite")
        )


def sequence_key(frame: pd.DataFrame) -> pd.Series:
    """Name each row's sequence, unique over sources; without a sequence, an image is one of its own.

    Two people in one image share the image's key: they must never be split.
    """
    return _key(frame, "sequence", frame.loc[:, "path"].astype("str"))


def subject_key(frame: pd.DataFrame) -> pd.Series:
    """Name each row's subject, unique over sources; for an unknown subject its sequence stands in."""
    return _key(frame, "subject", sequence_key(frame))


def in_two_splits(key: pd.Series, split: pd.Series) -> np.ndarray:
    """Mark the rows, [N] bool, at which a key (a sequence, a subject) turns up in a second split."""
    pairs = pd.DataFrame({"key": key.array, "split": split.array}).dropna().drop_duplicates()
    marked = np.zeros(len(key), bool)
    marked[pairs.index[pairs["key"].duplicated()]] = True
    return marked


def suggestion(emotion: str, known: Iterable[str] = EMOTIONS) -> str | None:
    """Name the known emotion that was probably meant, if there is one."""
    labels = sorted(known)
    lower = emotion.strip().lower()
    likely = [lower, ALIASES.get(lower), *get_close_matches(lower, labels, 1, 0.7)]
    return next((label for label in likely if label in labels), None)


def as_text(column: pd.Series) -> pd.Series:
    """A column as text, whole numbers without a point; missing and empty cells are missing."""
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")  # whole numbers beside missing cells: subject 1, not 1.0
    text = column.astype("str")
    return text.mask(text == "")


def _table_suffix(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix != ".parquet" and suffix not in SEPARATORS:
        raise InputError(f"{file} is no table by its suffix: use .parquet, .csv or .tsv")
    return suffix


def _key(frame: pd.DataFrame, column: str, otherwise: pd.Series) -> pd.Series:
    if column not in frame:
        return otherwise
    source = frame.loc[:, "source"].astype("str").fillna("") if "source" in frame else ""
    # \x1f, the unit separator, is in nobody's names
    return (source + f"\x1f{column}\x1f" + frame.loc[:, column].astype("str")).fillna(otherwise)


def _absolute(paths: pd.Series, folder: Path) -> pd.Series:
    root = str(folder.absolute())
    # os.path: a Path object a row costs ten times as much
    return pd.Series(
        [
            path if pd.isna(path) else os.path.normpath(os.path.join(root, path))  # noqa: PTH118
            for path in paths
        ],
        dtype="str",
        index=paths.index,
    )


def _written_paths(files: pd.Series, folder: Path) -> list[str]:
    # The root is no folder that could be moved: below it `around` is //, which no path starts with.
    inside, around = f"{folder}{os.sep}", f"{folder.parent}{os.sep}"

    def written(file: str) -> str:
        if file.startswith(inside):
            return file[len(inside) :].replace(os.sep, "/")
        return "../" + file[len(around) :].replace(os.sep, "/") if file.startswith(around) else file

    return [written(file) for file in files]


def _emotion_checks(emotion: pd.Series, known: frozenset[str]) -> list[Check]:
    cells = {str(cell): str(cell).split(JOIN) for cell in emotion.dropna().unique()}
    strange = [cell for cell, names in cells.items() if not known.issuperset(names)]
    twice = [cell for cell, names in cells.items() if len(set(names)) < len(names)]
    listed = f": expected one of {', '.join(sorted(known))}" if len(known) < SHOWN else ""

    def unknown(row: int) -> str:
        cell = str(emotion[row])
        said: list[str] = []
        for name in dict.fromkeys(cells[cell]):
            if name not in known:
                meant = suggestion(name, known)
                where = f"{name!r}" if name == cell else f"{name!r} in {cell!r}"
                said.append(f"unknown emotion {where}" + (f": did you mean {meant!r}?" if meant else listed))
        return "; ".join(said)

    return [
        (emotion.isna().to_numpy(), lambda row: "the emotion is empty"),
        (emotion.isin(strange).to_numpy(), unknown),
        (emotion.isin(twice).to_numpy(), lambda row: f"one emotion stands twice in {emotion[row]!r}"),
    ]


def _file_checks(frame: pd.DataFrame, boxes: np.ndarray, check_files: bool) -> list[Check]:
    path, file = frame.loc[:, "path"], frame.loc[:, "file"]
    place = pd.DataFrame({"file": file, **dict(zip(BOX, boxes.T, strict=True))})
    repeated = (place.duplicated() & file.notna()).to_numpy()

    def repeats(row: int) -> str:
        same = (place.eq(place.loc[row]) | (place.isna() & place.loc[row].isna())).all(axis=1)
        return f"the same image and box as row {int(same.to_numpy().argmax()) + 1}: {path[row]!r}"

    checks: list[Check] = [(path.isna().to_numpy(), lambda row: "the path is empty"), (repeated, repeats)]
    if check_files:
        missing = file.isin(list(_missing(file.dropna().unique()))).to_numpy()
        checks.append((missing, lambda row: f"no image {path[row]!r} (looked for {file[row]})"))
        checks += _size_checks(file, boxes, ~np.isnan(boxes[:, 0]) & file.notna().to_numpy() & ~missing)
    return checks


def _missing(files: Iterable[str]) -> set[str]:
    wanted = set(files)
    found: set[str] = set()
    # A folder is listed once: on a network drive that is far less than a question for every file.
    for folder in {os.path.dirname(file) for file in wanted}:  # noqa: PTH120
        try:
            with os.scandir(folder) as entries:
                found.update(entry.path for entry in entries if entry.is_file())
        except (OSError, ValueError):
            continue
    # A name may be stored in another case or Unicode form than it is opened with: ask for what is left.
    return {file for file in wanted - found if not os.path.isfile(file)}  # noqa: PTH113


def _boxes(frame: pd.DataFrame, problems: list[str], checks: list[Check]) -> np.ndarray:
    """Turn the box columns into numbers, [N, 4], NaN where there is no whole box, and check them."""
    given = [column for column in BOX if column in frame]
    if len(given) < len(BOX):
        lacking = [column for column in BOX if column not in given]
        if given:
            problems.append(f"a box needs x1, y1, x2 and y2: no column {', '.join(lacking)}")
        return np.full((len(frame), len(BOX)), np.nan)
    written = frame.loc[:, list(BOX)]
    given_at = written.notna().to_numpy()
    boxes = written.apply(pd.to_numeric, errors="coerce").to_numpy(float, copy=True, na_value=np.nan)
    wrong = given_at & ~np.isfinite(boxes)
    partial = given_at.any(axis=1) & ~given_at.all(axis=1)
    boxes[partial | wrong.any(axis=1)] = np.nan
    frame[list(BOX)] = boxes

    def no_number(row: int) -> str:
        at = int(wrong[row].argmax())
        return f"{BOX[at]} is {written.iloc[row, at]!r}, not a number"

    def shown(row: int) -> str:
        return ", ".join(f"{column} {value:g}" for column, value in zip(BOX, boxes[row], strict=True))

    empty = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    checks.append((wrong.any(axis=1), no_number))
    checks.append((partial, lambda row: "the box is incomplete: give x1, y1, x2 and y2, or none of them"))
    checks.append(((boxes < 0).any(axis=1), lambda row: f"the box has a negative corner ({shown(row)})"))
    checks.append((empty, lambda row: f"the box is empty or inverted ({shown(row)}): x1 < x2, y1 < y2"))
    return boxes


def _size_checks(file: pd.Series, boxes: np.ndarray, boxed: np.ndarray) -> list[Check]:
    sizes = image_sizes(file[boxed])
    size = np.full((len(file), 2), np.nan)
    size[boxed] = np.array([sizes[name] for name in file[boxed]]).reshape(-1, 2)
    unread = boxed & np.isnan(size[:, 0])
    outside = (boxes[:, 2] > size[:, 0]) | (boxes[:, 3] > size[:, 1])

    def reaches(row: int) -> str:
        (x2, y2), (width, height) = boxes[row, 2:], size[row]
        return f"the box (x2 {x2:g}, y2 {y2:g}) reaches outside the image, {width:g} x {height:g} pixels"

    return [(unread, lambda row: f"{file[row]} cannot be read as an image"), (outside, reaches)]


def image_sizes(files: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Read the width and height of images from their headers, NaN where there is none to be read."""
    sizes: dict[str, tuple[float, float]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # nothing is decoded here
        for file in set(files):
            try:
                with Image.open(file) as image:
                    # boxes are those of the upright image; orientations 5 to 8 lie on their side
                    turned = image.getexif().get(ORIENTATION, 1) >= 5
                    width, height = image.size
                    sizes[file] = (height, width) if turned else (width, height)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                sizes[file] = (np.nan, np.nan)
    return sizes


def _split_checks(frame: pd.DataFrame) -> list[Check]:
    path, split, key = frame.loc[:, "path"], frame.loc[:, "split"], sequence_key(frame)
    known = split.isin(SPLITS)

    def twice(row: int) -> str:
        first = int((key == key[row]).to_numpy().argmax())
        name, value = ("image", path) if key[row] == path[row] else ("sequence", frame.loc[:, "sequence"])
        what = f"{name} {value[row]!r}"
        return f"{what} is in {split[row]} here and in {split[first]} at row {first + 1}"

    return [
        (split.isna().to_numpy(), lambda row: "the split is empty: fill it for all rows or drop the column"),
        (
            (split.notna() & ~known).to_numpy(),
            lambda row: f"unknown split {split[row]!r}: expected one of {', '.join(SPLITS)}",
        ),
        (in_two_splits(key, split.where(known)), twice),
    ]


def _raise_all(name: Path, problems: list[str], checks: list[Check]) -> None:
    found = sorted((int(row), at) for at, (wrong, _) in enumerate(checks) for row in np.flatnonzero(wrong))
    lines = [f"{name}: {problem}" for problem in problems]
    lines += [f"{name}: row {row + 1}: {checks[at][1](row)}" for row, at in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"... and {len(found) - SHOWN} more")
    if lines:
        raise InputError("\n".join(lines))
