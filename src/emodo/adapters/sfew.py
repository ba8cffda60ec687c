"""SFEW 2.0, Static Facial Expressions in the Wild, to a manifest."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from emodo.adapters import disk
from emodo.adapters.classfolders import class_folders, names

SOURCE = "SFEW"
EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
ALIGNED = {
    "train_aligned_faces": "train",
    "val_aligned_faces": "validation",
    "val_aligned_faces_new": "validation",
    "test_aligned_faces": "",
}
PARTS = {"train": "train", "val": "validation", "test": ""}
PUBLISHED = {"train": 891, "validation": 431}
NAME = re.compile(r"(.+)_(\d{9})_\d{8}\.[a-z]+", re.IGNORECASE)  # movie, clip, frame


def sfew(root: Path, out: Path, validation_is_test: bool = False, overwrite: bool = False) -> Path:
    """emodo prepare sfew SFEW2.0 sfew.csv --validation-is-test

    SFEW 2.0: frames of movies with one of seven expressions; 891 aligned faces for training, 431 for validation. The
    labels of the test part are not published, and the field reports on the validation part.

    On disk: Train/Train_Aligned_Faces/Angry/*, Val/Val_Aligned_Faces_new/Val_Aligned_Faces/Angry/*, or without aligned
    faces Train/Angry/* and Val/Angry/*. Classes: Angry, Disgust, Fear, Happy, Neutral, Sad, Surprise.

    Columns: path, emotion, source (SFEW), split, and movie and clip where the file's name is movie_clip_frame
    (unverified). The movie is a possible confounder.

    Known faults: small; labels are noisy, as the authors say of their baseline (unverified).

    Licence: research, on request; from cs.anu.edu.au/few (unverified). Cite: A. Dhall, R. Goecke, S. Lucey, T. Gedeon,
    Static facial expression analysis in tough conditions, ICCV Workshops 2011; A. Dhall et al., Video and image based
    emotion recognition challenges in the wild: EmotiW 2015, ICMI 2015.

    Args:
        root: The folder that holds Train and Val, at any depth.
        out: The manifest to write (.parquet, .csv or .tsv).
        validation_is_test: Call the validation part test, since there is no other to report on.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No class folders in a part, or images in a folder that is no class.
    """
    disk.check(root, out, overwrite)
    frame, outside, passed = class_folders(root, ALIGNED, names(*EMOTIONS))
    if frame.empty:
        frame, outside, passed = class_folders(root, PARTS, names(*EMOTIONS))
    if frame.empty:
        raise disk.nothing(root, "sfew", "class folders in Train_Aligned_Faces and Val_Aligned_Faces, or Train and Val")
    found = Counter(frame["split"])
    known = {f"images of {part}": (found[part], count) for part, count in PUBLISHED.items()}
    named = [NAME.fullmatch(disk.name(path)) for path in frame["path"]]
    frame.insert(2, "source", SOURCE)
    frame = frame.assign(
        movie=[name and name[1] for name in named], clip=[name and f"{name[1]}_{name[2]}" for name in named]
    )
    if validation_is_test:
        frame["split"] = frame["split"].replace("validation", "test")
    left_out = {"test images, which have no label": passed.total(), "images outside of the parts": outside}
    return disk.save(frame, root, out, known, disk.passed_over(left_out))
