"""The three releases of EMOTIC, each read to the same people."""

from __future__ import annotations

import csv
import re
from ast import literal_eval
from collections.abc import Iterable, Iterator
from math import isnan, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emodo.adapters import disk
from emodo.ontology import SETS, SPELLINGS
from emodo.records import InputError

SPLITS = {"train": "train", "val": "validation", "test": "test"}
VAD = ("valence", "arousal", "dominance")
LABELS = set(SETS["emotic"])


class Person(NamedTuple):
    """A person as a release writes it.

    where: for messages. image: the file below the images' folder, or the array's name. original: the file's name that
    an array was made of, if it was. labels: in EMOTIC's order. box: x1, y1, x2, y2 in pixels. vad: NaN where missing.
    size: width and height as written, of the image that the box is in.
    """

    where: str
    image: str
    original: str | None
    split: str
    labels: list[str]
    box: list[float]
    vad: list[float]
    gender: str | None
    age: str | None
    size: tuple[float, float]


def matlab(file: Path) -> Iterator[Person]:
    """The people of Annotations.mat. Where something has one element, it may stand without its array.

    Raises:
        InputError: A file that SciPy cannot read, one without train, val and test, and people without what they need.
    """
    from scipy.io import loadmat

    try:
        held = loadmat(file, struct_as_record=False, squeeze_me=True, variable_names=list(SPLITS))
    except NotImplementedError:
        raise InputError(f"{file} is a file of MATLAB 7.3, which is not read: save it there with '-v7'") from None
    except Exception as error:  # a damaged file raises anything
        raise InputError(f"{file} cannot be read as a MATLAB file ({' '.join(str(error).split())})") from None
    lacking = [part for part in SPLITS if part not in held]
    if lacking:
        raise InputError(f"{file} has no variable {', '.join(lacking)}: it is not EMOTIC's Annotations.mat")
    problems: list[str] = []
    for part, split in SPLITS.items():
        for at, record in enumerate(_many(held[part]), 1):
            for number, person in enumerate(_many(getattr(record, "person", None)), 1):
                where = f"{file}: {part}({at}).person({number})"
                try:
                    yield _matlab_person(where, split, record, person)
                except (AttributeError, TypeError, ValueError) as error:
                    problems.append(f"{where}: {error}")
    disk.raise_all(problems)


def _matlab_person(where: str, split: str, record: Any, person: Any) -> Person:
    # In train one worker has labelled each person; elsewhere several have, and their labels are combined.
    if split == "train":
        names, vad = getattr(person.annotations_categories, "categories", None), person.annotations_continuous
    else:
        names, vad = person.combined_categories, person.combined_continuous
    size = record.image_size
    return Person(
        where=where,
        image=f"{record.folder}/{record.filename}",
        original=None,
        split=split,
        labels=_labels(map(str, _many(names))),
        box=_box(_many(person.body_bbox)),
        vad=[_number(getattr(vad, name, nan)) for name in VAD],
        gender=_text(getattr(person, "gender", None)),
        age=_text(getattr(person, "age", None)),
        size=(_number(size.n_col), _number(size.n_row)),
    )


def tables(file: Path) -> Iterator[Person]:
    """The people of train.csv, val.csv and test.csv, as mat2py.py writes them, beside `file`.

    Raises:
        InputError: A column that is not there, and lines that cannot be read.
    """
    problems: list[str] = []
    needed = ("Folder", "Filename", "Image Size", "BBox", "Categorical_Labels", "Continuous_Labels", "Gender", "Age")
    for where, split, row in _rows([(file.parent / f"{part}.csv", split) for part, split in SPLITS.items()], needed):
        try:
            width, height = _list(row["Image Size"])
            yield Person(
                where=where,
                image=f"{row['Folder']}/{row['Filename']}",
                original=None,
                split=split,
                labels=_labels(_list(row["Categorical_Labels"])),
                box=_box(_list(row["BBox"])),
                vad=[_number(value) for value in (*_list(row["Continuous_Labels"]), nan, nan, nan)[:3]],
                gender=_text(row["Gender"]),
                age=_text(row["Age"]),
                size=(_number(width), _number(height)),
            )
        except (SyntaxError, TypeError, ValueError) as error:
            problems.append(f"{where}: {error}")
    disk.raise_all(problems)


def arrays(file: Path) -> Iterator[Person]:
    """The people of annot_arrs_train.csv, annot_arrs_val.csv and annot_arrs_test.csv, beside `file`.

    An emotion's column holds 0 or 1, or how many have given it. Columns go by their names.

    Raises:
        InputError: A column that is not there, and lines that cannot be read.
    """
    problems: list[str] = []
    sides = ("X_min", "Y_min", "X_max", "Y_max")
    needed = ("Filename", "Width", "Height", "Age", "Gender", *map(str.title, VAD), *sides, "Arr_name")
    files = [(file.parent / f"annot_arrs_{part}.csv", split) for part, split in SPLITS.items()]
    for where, split, row in _rows(files, needed, emotions=True):
        try:
            given = [name for name in row if name in LABELS and _number(row[name]) > 0]
            yield Person(
                where=where,
                image=row["Arr_name"].strip().replace("\\", "/"),
                original=row["Filename"].strip().replace("\\", "/").rpartition("/")[2],
                split=split,
                labels=_labels(given),
                box=_box([row[side] for side in sides]),
                vad=[_number(row[name.title()] or nan) for name in VAD],
                gender=_text(row["Gender"]),
                age=_text(row["Age"]),
                size=(_number(row["Width"]), _number(row["Height"])),
            )
        except (TypeError, ValueError) as error:
            problems.append(f"{where}: {error}")
    disk.raise_all(problems)


def _rows(
    files: Iterable[tuple[Path, str]], needed: tuple[str, ...], emotions: bool = False
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Where it stands, split and cells of every row; with `emotions`, the columns of the 26 go by their labels."""
    for file, split in files:
        if not file.is_file():
            continue
        lines = disk.read_lines(file)
        reader = csv.reader(lines, delimiter="\t" if lines and "\t" in lines[0] and "," not in lines[0] else ",")
        titles = [title.strip() for title in next(reader, [])]
        if emotions:
            titles = [label if (label := _label(title)) in LABELS else title for title in titles]
        lacking = [title for title in (*needed, *sorted(LABELS if emotions else ())) if title not in titles]
        if lacking:
            raise InputError(f"{file}: no column {', '.join(lacking)} (found: {', '.join(titles)})")
        for cells in reader:
            if cells and len(cells) != len(titles):
                raise InputError(f"{file}: line {reader.line_num}: {len(cells)} cells, and {len(titles)} columns")
            if cells:
                yield f"{file}: line {reader.line_num}", split, dict(zip(titles, cells, strict=True))


def _many(value: Any) -> list[Any]:
    """The elements of what MATLAB holds, of which one alone may stand without its array and none be an empty one."""
    return [] if value is None else list(value.ravel()) if isinstance(value, np.ndarray) else [value]


def _list(written: str) -> list[Any]:
    """A list as Python prints it, nan included."""
    held = literal_eval(re.sub(r"\bnan\b", "None", written))
    if not isinstance(held, list):
        raise ValueError(f"{written!r} is no list")
    return held


def _label(name: str) -> str:
    lower = name.strip().lower()
    return SPELLINGS.get(lower, lower)


def _labels(names: Iterable[str]) -> list[str]:
    given = {_label(name): name for name in names}
    strange = [name for label, name in given.items() if label not in LABELS]
    if strange:
        raise ValueError(f"{', '.join(map(repr, strange))} is none of EMOTIC's 26 emotions")
    return [label for label in SETS["emotic"] if label in given]


def _box(values: list[Any]) -> list[float]:
    box = [_number(value) for value in values]
    if len(box) != 4 or any(map(isnan, box)):
        raise ValueError(f"the box {values} is not four numbers")
    return box


def _number(value: Any) -> float:
    if isinstance(value, int | float):  # most are, and asking NumPy is slow
        return float(value)
    return nan if value is None or np.size(value) == 0 else float(value)


def _text(value: Any) -> str | None:
    text = "" if value is None or np.size(value) == 0 else str(value).strip()
    return text if text and text.lower() != "nan" else None
