"""WEBEmo: 267,441 stock photographs in 25 emotions, published as addresses."""

from __future__ import annotations

import ast
import os
from collections import Counter
from pathlib import Path

import pandas as pd

from emodo.adapters import disk
from emodo.ontology import MAPS, SETS, SPELLINGS
from emodo.records import InputError

LISTS = {"train": "train25.txt", "test": "test25.txt"}
PUBLISHED = {"train": 213952, "test": 53489}
SPLITS = {
    **{"train": "train", "train25": "train", "test": "test", "test25": "test"},
    **{"val": "validation", "validation": "validation"},
}
SIGNS = {"+": "positive", "-": "negative"}
Tree = list[tuple[str, str, str]]  # emotion, primary emotion, polarity, in the order of their numbers


def webemo(root: Path, out: Path, overwrite: bool = False) -> Path:
    """emodo prepare webemo WEBEmo webemo.parquet

    WEBEmo: 267,441 stock photographs that were found by words for 25 emotions of Parrott's tree. The search word is
    the label.

    Published are category.txt, train25.txt and test25.txt, lines of `address number`, and no images. ROOT holds them
    and what you have downloaded: train|test/<0-24>/<file name>, or files anywhere under their names in the addresses.
    The lists give the labels, and the folders do not count. Many addresses are dead: images that are listed and not
    there are counted and left out. Without lists, folders by name or by number are read, <phase>/<emotion>/*.jpg,
    where also a phase validation occurs; all 25 must be there.

    Labels, numbers 0 to 24: affection, cheerfullness, confusion, contentment, disappointment, disgust, enthrallment,
    envy, exasperation, gratitude, horror, irritabilty, lust, neglect, nervousness, optimism, pride, rage, relief,
    sadness, shame, suffering, surprise, sympathy, zest (misspelt as published). Columns: primary and polarity, the
    upper levels of the tree, from category.txt where there is one; split (official); source (`WEBEmo`). Training on
    2, 7 or 6 emotions: `emodo prepare relabel --to polarity`, `webemo7` or `parrott`.

    Licence: stock photographs of their owners: look at their licences. The lists state none; they are in
    ccivit/download_webEmo, from the authors. Cite: R. Panda, J. Zhang, H. Li, J.-Y. Lee, X. Lu, A. Roy-Chowdhury.
    Contemplating Visual Emotions: Understanding and Overcoming Dataset Bias. ECCV 2018.

    Known faults: the README counts six primary emotions, the file has seven, as confusion stands alone. A script in use
    (slifer0918/WEBEmo) keeps the last digit of a number: folders 0 to 9 alone are refused, unless the lists are there.

    Args:
        root: The folder of the data set, or one around it.
        out: The manifest to write (.parquet, .csv or .tsv).
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No images, none of the listed ones, a line that is no address with a number, no lists and a folder
            that lacks, folders that keep the last digit alone, a category.txt that is no such tree.
    """
    disk.check(root, out, overwrite)
    category = disk.search(root, "category.txt")
    tree = _tree(category) if category else _published()
    lists = {split: file for split, name in LISTS.items() if (file := disk.search(root, name))}
    start = len(str(root.absolute())) + 1
    images = [(path, *_place(path[start:].split(os.sep)[:-1])) for path in disk.images(root)]  # noqa: PTH206
    if not images:
        what = (
            "addresses and no images: download these, anywhere below it, under the last part of their address"
            if lists
            else "no images"
        )
        raise InputError(f"{root} holds {what}") if lists else disk.nothing(root, "webemo", "images")
    known: dict[str, tuple[int, int]] = {}
    if lists:
        rows, known, notes = _from_lists(root, lists, images, len(tree))
    else:
        rows, notes = _from_folders(root, images, tree)
    frame = pd.DataFrame(rows, columns=["path", "split", "number"])
    levels = pd.DataFrame(tree, columns=["emotion", "primary", "polarity"])
    frame = frame.join(levels, on="number").drop(columns="number").assign(source="WEBEmo")
    if not any(split for _, split, _ in rows):
        frame = frame.drop(columns="split")
    return disk.save(frame.sort_values("path"), root, out, known, notes, check_files=False)


def _place(folders: list[str]) -> tuple[str | None, list[str]]:
    """The split that the folders of an image name, and the folders below it."""
    for at, folder in enumerate(folders):
        if folder.lower() in SPLITS:
            return SPLITS[folder.lower()], folders[at + 1 :]
    return None, folders


def _published() -> Tree:
    primary, polarity = MAPS["webemo7"]["webemo"].label, MAPS["polarity"]["webemo"].label
    return [(name, primary[name] or "", polarity[name] or "") for name in SETS["webemo"]]


def _tree(file: Path) -> Tree:
    """The tree of category.txt, which is a Python assignment `labels = [(emotion, primary, sign), ...]`."""
    try:
        [statement] = ast.parse("\n".join(disk.read_lines(file))).body
        if not isinstance(statement, ast.Assign):
            raise ValueError("no assignment")
        held = ast.literal_eval(statement.value)
        tree = [(str(name), str(primary), SIGNS[sign]) for name, primary, sign in held]
    except (SyntaxError, ValueError, KeyError, TypeError, MemoryError, RecursionError):
        raise InputError(f"{file} is not labels = [('affection', 'love', '+'), ...]: replace it or remove it") from None
    tree = [(SPELLINGS.get(name, name), primary, sign) for name, primary, sign in tree]
    names = [name for name, _, _ in tree]
    strange = sorted(set(names) - set(SETS["webemo"]))
    if strange or len(set(names)) != len(SETS["webemo"]):
        what = f"has {', '.join(strange)}" if strange else f"has {len(set(names))} emotions"
        raise InputError(f"{file} {what}, and WEBEmo has {', '.join(SETS['webemo'])}: replace it or remove it")
    return tree


Row = tuple[str, str | None, int]


def _from_lists(
    root: Path, lists: dict[str, Path], images: list[tuple[str, str | None, list[str]]], labels: int
) -> tuple[list[Row], dict[str, tuple[int, int]], list[str]]:
    """Rows of the lists whose image is there; what is counted; what is to be said."""
    here = {(split, disk.name(path)): (path, folders) for path, split, folders in images}
    rows: list[Row] = []
    problems: list[str] = []
    missing: list[str] = []
    names: dict[str, set[str]] = {}
    known: dict[str, tuple[int, int]] = {}
    used: set[str] = set()
    repeated = elsewhere = 0
    numbers: Counter[int] = Counter()
    for split, file in lists.items():
        listed = names[split] = set()
        lines = 0
        for at, line in enumerate(disk.read_lines(file), 1):
            address, number = [*line.rsplit(maxsplit=1), "", ""][:2]
            if not line.strip():
                continue
            lines += 1
            if not number.isdecimal() or int(number) > labels:
                problems.append(f"{file}: line {at}: {line.strip()[-80:]!r} is no address with a number from 0 to 24")
                continue
            numbers[int(number)] += 1
            name = address.rpartition("/")[2]
            listed.add(name)
            places = [(where, file) for where in (split, None) for file in (name, f"{number}_{name}")]
            found = next((here[place] for place in places if place in here), None)
            if found is None:
                missing.append(f"{file}: line {at}: {name}")
            elif found[0] in used:
                repeated += 1
            else:
                used.add(found[0])
                rows.append((found[0], split, int(number)))
                elsewhere += bool(found[1]) and found[1][0].isdecimal() and found[1][0] != number
        known[f"lines in {file.name}"] = (lines, PUBLISHED[split])
    disk.raise_all(problems)
    if numbers[labels]:
        base = ": they count from 1, and must count from 0" if not numbers[0] else ": it must be 0 to 24"
        raise InputError(f"{' and '.join(map(str, lists.values()))}: {numbers[labels]} lines have the number 25{base}")
    notes = disk.absent(root, missing, numbers.total(), skip=True)
    both = len(names.get("train", set()) & names.get("test", set()))
    for count, what in (
        (repeated, "lines name an image that an earlier line names, and were passed over"),
        (elsewhere, "images lie in a folder of another number than their line's, which was taken"),
        (both, "file names are in both lists"),
        (len(images) - len(used), "images are in no list, and were left out"),
    ):
        notes += [f"{count} {what}"] if count else []
    return rows, known, notes


def _from_folders(
    root: Path, images: list[tuple[str, str | None, list[str]]], tree: Tree
) -> tuple[list[Row], list[str]]:
    """Rows by the folders of the images, names or numbers, and what is to be said."""
    numbers = {name: at for at, (name, _, _) in enumerate(tree)}
    numbers |= {alias: numbers[name] for alias, name in SPELLINGS.items() if name in numbers}
    numbers |= {str(at): at for at in range(len(tree))}
    rows: list[Row] = []
    numbered: set[int] = set()
    strange: list[str] = []
    for path, split, folders in images:
        label = next((folder for folder in folders if folder.lower() in numbers), None)
        if label is None:
            strange.append(path)
        else:
            rows.append((path, split, numbers[label.lower()]))
            numbered |= {int(label)} if label.isdecimal() else set()
    held = {number for _, _, number in rows}
    lacking = [name for at, (name, _, _) in enumerate(tree) if at not in held]
    if lacking and numbered and max(numbered) < 10:
        raise InputError(
            f"{root} has the numbered folders 0 to 9 alone, of 25: a script in use keeps the last digit of a number, "
            "so that affection, horror and shame lie in one folder: put train25.txt and test25.txt into ROOT, which "
            "have the labels by file name"
        )
    if lacking:
        told = "of any emotion" if len(lacking) == len(tree) else f"of {', '.join(lacking)}"
        raise disk.nothing(root, "webemo", f"folder {told}, by name or by number, and no train25.txt")
    notes = [f"left out {len(strange)} images in no emotion's folder, first {strange[0]}"] if strange else []
    undecided = [path for path, split, _ in rows if split is None]
    if undecided and len(undecided) < len(rows):
        raise InputError(
            f"{root}: {len(undecided)} images are in no folder train or test, first {undecided[0]}: move them into one"
        )
    return rows, notes
