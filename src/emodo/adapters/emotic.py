"""EMOTIC: people in their context, each with several of 26 emotions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from emodo import manifest
from emodo.adapters import disk, emotic_releases
from emodo.adapters.arrays import write_images
from emodo.adapters.emotic_releases import SPLITS, VAD, Person
from emodo.multilabel import JOIN
from emodo.records import InputError

MATLAB = ("Annotations.mat", "CVPR17_Annotations.mat")
SOURCES = ("mscoco", "framesdb", "emodb_small", "ade20k")


def emotic(
    root: Path,
    out: Path,
    layout: Literal["mat", "csv", "npy"] | None = None,
    skip_missing: bool = False,
    overwrite: bool = False,
) -> Path:
    """emodo prepare emotic EMOTIC emotic.parquet

    EMOTIC: people in images of MS-COCO, Ade20k, films and the web, each in a box, with the emotions that others believe
    they feel. CCIM and CLEF are measured on it, as mean average precision over 26 emotions.

    Three releases are read. `mat` is the authors': emotic/{mscoco,framesdb,emodb_small,ade20k}/images/*.jpg and
    Annotations.mat (or CVPR17_Annotations.mat). `csv` is what mat2py.py of Tandon-A/emotic makes of it: train.csv,
    val.csv, test.csv with Folder, Filename, BBox, Categorical_Labels and so on. `npy` is annots_arrs/ with
    annot_arrs_train.csv, .._val and .._test, a column an emotion, in another order, and img_arrs/*.npy; where its
    images are there as arrays alone, they are written as PNG files into the folder OUT_images beside OUT. An
    interrupted call leaves whole ones, and the next call makes the others.

    Labels, joined by `|`: affection, anger, annoyance, anticipation, aversion, confidence, disapproval, disconnection,
    disquietment, doubt/confusion, embarrassment, engagement, esteem, excitement, fatigue, fear, happiness, pain, peace,
    pleasure, sadness, sensitivity, suffering, surprise, sympathy, yearning. For val and test, which several people have
    labelled, the combined labels are taken. Columns: x1 to y2; valence, arousal, dominance (1 to 10, empty where they
    are NaN); gender and age as written (Kid, Teenager, Adult); source (mscoco ...); split (official). The npy
    release has no source, its sequence is the original image, and its part extra_train is not read.

    Licence: asked from the authors with a form (github.com/rkosti/emotic), for research that is not commercial. Cite:
    R. Kosti, J. Alvarez, A. Recasens, A. Lapedriza. Context Based Emotion Recognition using EMOTIC Dataset. TPAMI 2019;
    for CVPR17_Annotations, Emotion Recognition in Context. CVPR 2017.

    Known faults: boxes reach outside their images (they are cut), image sizes in the annotations have sometimes width
    and height changed (those of the files are taken), valence, arousal and dominance may be NaN. The columns of the npy
    release are known from its readers, not from its makers; its boxes are scaled where an array has another size than
    its row says.

    Args:
        root: The folder of the data set, or one around it.
        out: The manifest to write (.parquet, .csv or .tsv).
        layout: Which release to read where ROOT holds several; by default mat before csv before npy.
        skip_missing: Leave people out whose image is not there, and say how many.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No annotations, a file that cannot be read, an emotion that is none of the 26, a box that is not
            four numbers, an image that is missing, an array that is no image's.
    """
    disk.check(root, out, overwrite)
    readers: dict[str, tuple[Callable[[Path], Iterator[Person]], tuple[str, ...]]] = {
        "mat": (emotic_releases.matlab, MATLAB),
        "csv": (emotic_releases.tables, tuple(f"{part}.csv" for part in SPLITS)),
        "npy": (emotic_releases.arrays, tuple(f"annot_arrs_{part}.csv" for part in SPLITS)),
    }
    wanted = [release for release in readers if layout in (None, release)]
    found = {release: file for release in wanted if (file := disk.search(root, *readers[release][1]))}
    if not found:
        raise disk.nothing(root, "emotic", " or ".join(readers[release][1][0] for release in wanted))
    release, file = next(iter(found.items()))
    people = list(readers[release][0](file))
    if not people:
        raise InputError(f"{file} lists nobody")
    here = _made(root, out, people) if release == "npy" else _files(root, people)
    missing = [f"{person.where}: no image {person.image}" for person in people if person.image not in here]
    notes = disk.absent(root, missing, len(people), skip_missing)
    people = [person for person in people if person.image in here]
    frame, said = _fitted(people, here)
    return disk.save(frame, root, out, notes=notes + said, check_files=False)


def _files(root: Path, people: list[Person]) -> dict[str, str]:
    """The images of the authors' release that are there: name in the annotations -> path."""
    base = disk.find(root, "emotic", *SOURCES).parent
    start = len(str(base.absolute())) + 1
    folders = [base / name for name in SOURCES if (base / name).is_dir()]
    here = {path[start:].replace("\\", "/"): path for folder in folders for path in disk.images(folder)}
    return {person.image: here[person.image] for person in people if person.image in here}


def _made(root: Path, out: Path, people: list[Person]) -> dict[str, str]:
    """The images of the npy release: name of the array -> the original where one has its name, or a PNG of it."""
    paths = disk.images(root)
    names = Counter(map(disk.name, paths))
    originals = {disk.name(path): path for path in paths if names[disk.name(path)] == 1}
    here = {person.image: originals[str(person.original)] for person in people if person.original in originals}
    folder = disk.search(root, "img_arrs") or root
    start = len(str(folder.absolute())) + 1
    arrays = {file[start:].replace("\\", "/"): file for file in disk.files(folder) if disk.suffix(file) == ".npy"}
    wanted = {person.image: arrays[person.image] for person in people if person.image in arrays.keys() - here.keys()}
    return here | (write_images(wanted, out.with_name(f"{out.stem}_images")) if wanted else {})


def _fitted(people: list[Person], here: dict[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """The manifest's rows, boxes cut to their images, and what is to be said of them."""
    notes: list[str] = []

    def say(count: int, what: str) -> None:
        notes.extend([f"{count} {what}"] if count else [])

    sizes = manifest.image_sizes(here.values())
    paths = np.array([here[person.image] for person in people])
    box, vad = np.array([person.box for person in people]), np.array([person.vad for person in people])
    true, said = np.array([sizes[path] for path in paths]), np.array([person.size for person in people])
    differ = ~np.isnan(true).any(axis=1) & (said > 0).all(axis=1) & (true != said).any(axis=1)
    swapped = differ & (true == said[:, ::-1]).all(axis=1)
    say(len(set(paths[swapped])), "images have width and height changed in the annotations")
    differ &= ~swapped
    arrays = people[0].original is not None
    if arrays:  # an array is as large as its maker wanted it, its box is that of the original
        box[differ] *= np.tile(true[differ] / said[differ], 2)
    else:
        say(len(set(paths[differ])), "images are of another size than the annotations say")
    origin = [person.original if arrays else person.image.partition("/")[0] for person in people]
    columns = {
        "path": paths,
        "emotion": [JOIN.join(person.labels) for person in people],
        "sequence" if arrays else "source": origin,
        **dict(zip(manifest.BOX, box.T, strict=True)),
        "split": [person.split for person in people],
        **dict(zip(VAD, vad.T, strict=True)),
        "gender": [person.gender for person in people],
        "age": [person.age for person in people],
    }
    frame = pd.DataFrame(columns)
    labelled = np.array([bool(person.labels) for person in people])
    say(int((~labelled).sum()), "people have no emotion, and were left out")
    order = np.array([list(SPLITS.values()).index(person.split) for person in people])
    key = manifest.sequence_key(frame).to_numpy(str)
    last = dict(sorted(zip(key, order, strict=True), key=lambda pair: pair[1]))  # the latest split of an image
    late = np.array([last[name] for name in key]) == order
    say(int((labelled & ~late).sum()), "people are in an image of a later split too, and were left out")
    kept = frame.loc[labelled & late].reset_index(drop=True)
    whole, cut, unread = disk.clip(kept, sizes)
    say(cut, "boxes reached outside their image and were cut")
    say(len(kept) - len(whole), f"people are outside their image or in one of {len(unread)} that cannot be read")
    once = whole.drop_duplicates(["path", *manifest.BOX], ignore_index=True)
    say(len(whole) - len(once), "people have the image and the box of another, and were left out")
    say(int(np.isnan(once[list(VAD)].to_numpy(float)).any(axis=1).sum()), "people lack valence, arousal or dominance")
    return once, notes
