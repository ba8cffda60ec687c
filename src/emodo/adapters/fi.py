"""FI: images of Flickr and Instagram in Mikels' eight emotions."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from emodo.adapters import disk
from emodo.ontology import SETS


def fi(root: Path, out: Path, overwrite: bool = False) -> Path:
    """emodo prepare fi emotion_dataset fi.csv

    FI (Flickr and Instagram): images that were found by the names of eight emotions, of which those were kept that at
    least three of five workers agreed on (unverified).

    ROOT holds emotion_dataset/<emotion>/*.jpg. Labels, alphabetical as the folders are: amusement, anger, awe,
    contentment, disgust, excitement, fear, sadness (Mikels'); four are positive and four negative
    (`emodo prepare relabel --to 2`). Columns: source, which is `FI`. No official split; papers draw their own.

    Licence: asked from the authors, for research; no licence is stated, the images belong to those who posted them.
    Cite: Q. You, J. Luo, H. Jin, J. Yang. Building a Large Scale Dataset for Image Emotion Recognition: The Fine Print
    and The Benchmark. AAAI 2016.

    Known faults: images have vanished from the web since, so copies differ in size, and no count is checked. The
    classes are of very different sizes.

    Args:
        root: The folder of the data set, or one around it.
        out: The manifest to write (.parquet, .csv or .tsv).
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No folder that holds one for each of these emotions, or no image in them.
    """
    disk.check(root, out, overwrite)
    base, folders = disk.classes(root, "fi", SETS["mikels"])
    rows = [(path, emotion) for name, emotion in folders.items() for path in disk.images(f"{base}{os.sep}{name}")]
    if not rows:
        raise disk.nothing(root, "fi", "images in its class folders")
    frame = pd.DataFrame(sorted(rows), columns=["path", "emotion"]).assign(source="FI")
    return disk.save(frame, root, out, check_files=False)
