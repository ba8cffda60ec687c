"""EmoSet: 118,102 images in Mikels' eight emotions, with attributes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from emodo.adapters import disk
from emodo.ontology import SETS
from emodo.records import InputError

SPLITS = {"train": "train", "val": "validation", "test": "test"}
ATTRIBUTES = ("brightness", "colorfulness", "scene", "object", "facial_expression", "human_action")


def emoset(
    root: Path, out: Path, attributes: list[str] | None = None, skip_missing: bool = False, overwrite: bool = False
) -> Path:
    """emodo prepare emoset EmoSet-118K emoset.parquet --attributes scene brightness

    EmoSet-118K: 118,102 images from the web and from artists' sites, found by words for eight emotions and confirmed by
    workers, with attributes that machines proposed and workers checked.

    ROOT holds info.json, {train,val,test}.json and the folders image and annotation. A list's entry is
    ["amusement", "amusement_12865", "image/amusement/amusement_12865.jpg", "annotation/.../amusement_12865.json"];
    in some copies one field is left out. A number in the emotion's place is looked up in info.json.

    Labels, in the order of info.json, 0 to 7: amusement, awe, contentment, excitement, anger, disgust, fear, sadness
    (Mikels'); the first four are positive (`emodo prepare relabel --to 2`; its own loader writes 0 for positive).
    Columns: split (official), source (`EmoSet`), and the attributes that --attributes names, which are possible
    confounders: brightness and colorfulness (0 to 1 in tenths), scene (254 kinds), object (409 kinds, joined by `|`),
    facial_expression, human_action. Reading them opens one small file an image.

    Licence: asked from the authors (vcc.tech/EmoSet), for non-commercial research (unverified). Cite: J. Yang,
    Q. Huang, T. Ding, D. Lischinski, D. Cohen-Or, H. Huang. EmoSet: A Large-scale Visual Emotion Dataset with
    Rich Attributes. ICCV 2023.

    Known faults: attributes are missing where none was found. What one copy writes in three fields is not verified.

    Args:
        root: The folder of the data set, or one around it.
        out: The manifest to write (.parquet, .csv or .tsv).
        attributes: Attributes to keep as columns, such as scene and brightness.
        skip_missing: Leave listed images out that are not there, and say how many.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No lists, a list that is no JSON, an entry without an image or a known emotion, an image that is
            listed twice or missing, an attribute of another name, an annotation that cannot be read.
    """
    disk.check(root, out, overwrite)
    strange = sorted(set(attributes or ()) - set(ATTRIBUTES))
    if strange:
        raise InputError(f"--attributes {' '.join(strange)}: EmoSet has {', '.join(ATTRIBUTES)}")
    base = disk.find(root, "emoset", "train.json", "val.json", "test.json").parent
    labels = _labels(base / "info.json")
    start = len(str(base.absolute())) + 1
    here = {path[start:].replace("\\", "/") for path in disk.images(base)}
    rows: list[tuple[str, str, str, str | None]] = []
    problems: list[str] = []
    missing: list[str] = []
    first: dict[str, str] = {}
    lists = [name for name in SPLITS if (base / f"{name}.json").is_file()]
    for name in lists:
        file = base / f"{name}.json"
        for at, entry in enumerate(_json(file, list), 1):
            where = f"{file}: entry {at}"
            image, annotation, emotion = _entry(entry, labels)
            if image is None or emotion is None:
                problems.append(f"{where}: {json.dumps(entry)[:120]} has no {'image' if image is None else 'emotion'}")
            elif image in first:
                problems.append(f"{where}: {image} is listed already at {first[image]}")
            else:
                first[image] = where
                if image in here:
                    rows.append((image, emotion, SPLITS[name], annotation))
                else:
                    missing.append(f"{where}: no image {image}")
    disk.raise_all(problems)
    if not first:
        raise InputError(f"{base}: {', '.join(lists)}.json list no image")
    notes = disk.absent(root, missing, len(first), skip_missing)
    notes += [f"no {name}.json" for name in SPLITS if name not in lists]
    frame = pd.DataFrame(rows, columns=["path", "emotion", "split", "annotation"]).assign(source="EmoSet")
    if attributes:
        frame[attributes] = _attributes(base, frame["annotation"].tolist(), attributes)
    frame["path"] = str(base.absolute()) + "/" + frame["path"]
    known = {"listed images": (len(first), 118102)}
    return disk.save(frame.drop(columns="annotation"), root, out, known, notes, check_files=False)


def _json(file: Path, kind: type) -> Any:
    try:
        held = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as JSON ({error})") from None
    if not isinstance(held, kind):
        raise InputError(f"{file} is no {'list' if kind is list else 'table'}")
    return held


def _labels(info: Path) -> dict[str, str]:
    """What an entry may call an emotion -> the emotion: its name, and its number as in info.json."""
    names = SETS["mikels"]
    numbers = {name: at for at, name in enumerate(names)}
    if info.is_file():
        held = _json(info, dict)
        try:
            numbers = {str(name): int(at) for name, at in held["emotion"]["label2idx"].items()}
        except (KeyError, TypeError, AttributeError, ValueError):
            raise InputError(f"{info} has no numbers of emotions (emotion, label2idx)") from None
        if set(numbers) != set(names):
            raise InputError(f"{info} numbers {', '.join(sorted(numbers))}, and EmoSet has {', '.join(names)}")
    return {name: name for name in names} | {str(at): name for name, at in numbers.items()}


def _entry(entry: Any, labels: dict[str, str]) -> tuple[str | None, str | None, str | None]:
    """Image, annotation and emotion of a list's entry, told apart by what they look like."""
    fields = [str(field).replace("\\", "/") for field in entry] if isinstance(entry, list) else []
    image = next((field for field in fields if disk.suffix(field) in disk.IMAGES), None)
    annotation = next((field for field in fields if field.endswith(".json")), None)
    return image, annotation, next((labels[field] for field in fields if field in labels), None)


def _attributes(base: Path, annotations: list[str | None], attributes: list[str]) -> pd.DataFrame:
    """The attributes of every image as text, None where it has none."""
    rows: list[list[str | None]] = []
    for annotation in annotations:
        held = _json(base / annotation, dict) if annotation else {}
        values = [held.get(name) for name in attributes]
        rows.append(
            ["|".join(map(str, v)) or None if isinstance(v, list) else None if v is None else str(v) for v in values]
        )
    return pd.DataFrame(rows, columns=attributes)
