"""Emotion-6 of Panda et al.: 8,350 images from the web in Parrott's six emotions."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from emodo.adapters import disk
from emodo.ontology import SETS, SPELLINGS


def emotion6panda(root: Path, out: Path, source: str = "Emotion-6", overwrite: bool = False) -> Path:
    """emodo prepare emotion6panda Emotion-6 emotion6.csv

    Emotion-6 (Panda et al. 2018), not to be taken for Emotion6 (Peng et al. 2015, `emodo prepare emotion6`): 8,350
    images that were found on the web by words for emotions, and cleaned by workers. IERN tests on it.

    Emotion-6.zip holds images.zip, which holds images/<emotion>/<sub-emotion>/.../*.jpg, of uneven depth. The first
    folder is the label, the second the sub-emotion. UnBiasedEmo is packed alike and is read as well, with
    --source UnBiasedEmo.

    Labels: anger, fear, joy, love, sadness, surprise (Parrott's). Columns: sub_emotion, the second folder where there
    is one; source. No official split. Positive and negative are not published for it: `emodo prepare relabel --to 2`
    takes WEBEmo's (joy, love and surprise are positive), and --map changes that.

    Licence: from the page of the authors, for research; no licence is stated, the images belong to their owners.
    Cite: R. Panda, J. Zhang, H. Li, J.-Y. Lee, X. Lu, A. Roy-Chowdhury. Contemplating Visual Emotions: Understanding
    and Overcoming Dataset Bias. ECCV 2018.

    Known faults: the folder `anger/digust` is misspelt (read as disgust). One user removed anger/rage/rage/287.jpg,
    presumably a broken file. File names repeat in the folders (287.jpg ...), so an image is known by its whole path.
    Names of the sub-emotions and counts of the classes are not verified.

    Args:
        root: The folder of the data set, or one around it.
        out: The manifest to write (.parquet, .csv or .tsv).
        source: What the column source says.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No folder that holds one for each of these emotions, or no image in them.
    """
    disk.check(root, out, overwrite)
    base, folders = disk.classes(root, "emotion6panda", SETS["parrott"])
    rows = [
        (path, emotion, _sub_emotion(path[len(base) + len(name) + 2 :]))
        for name, emotion in folders.items()
        for path in disk.images(f"{base}{os.sep}{name}")
    ]
    if not rows:
        raise disk.nothing(root, "emotion6panda", "images in its class folders")
    frame = pd.DataFrame(sorted(rows), columns=["path", "emotion", "sub_emotion"]).assign(source=source)
    known = {"images": (len(frame), 8350)} if source == "Emotion-6" else {}
    return disk.save(frame, root, out, known, check_files=False)


def _sub_emotion(path: str) -> str | None:
    folder, slash, _ = path.partition(os.sep)
    return SPELLINGS.get(folder.lower(), folder) if slash else None
