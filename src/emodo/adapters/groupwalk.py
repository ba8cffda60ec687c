"""GroupWalk, or any people in videos with several labels each, from a neutral table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from emodo import manifest
from emodo.adapters import disk
from emodo.multilabel import JOIN
from emodo.records import InputError

OPTIONS = {"angry": "anger", "happy": "happiness", "neutral": "neutral", "sad": "sadness"}
NEEDED = ("image", "video", "agent", *manifest.BOX, *OPTIONS)


def groupwalk(
    root: Path,
    out: Path,
    table: Path | None = None,
    share: float = 0.5,
    skip_missing: bool = False,
    overwrite: bool = False,
) -> Path:
    """emodo prepare groupwalk GroupWalk groupwalk.parquet

    GroupWalk: walking people in videos of public places, labelled by several annotators. How its files lie on a disk is
    not known to emodo, and no reader of them was found: this adapter reads a table that you write from them. It fits
    any videos with people in boxes and these four labels.

    ROOT holds groupwalk.csv (or .tsv, .parquet) beside the frames as images, a row a person in a frame:

        image,video,agent,x1,y1,x2,y2,angry,happy,neutral,sad,split
        frames/01/000120.jpg,01,3,410,88,455,230,0,6,4,0,train

    image is the frame's file, from the table's folder; x1 to y2 are pixels, x2 and y2 exclusive; the four options hold
    votes, or 1 and 0. A person has every label with at least SHARE of the votes of the option that has most: a rule of
    emodo's, not of the paper's. split is optional; further columns are kept.

    Labels: anger, happiness, neutral, sadness, several of them joined by `|`. Columns: sequence (video), subject (agent
    of a video), split, votes_angry ... votes_sad, source (`GroupWalk`).

    Licence: asked from the authors (GAMMA, University of Maryland), for research. Cite: T. Mittal, P. Guhan, U.
    Bhattacharya, R. Chandra, A. Bera, D. Manocha. EmotiCon: Context-Aware Multimodal Emotion Recognition Using Frege's
    Principle. CVPR 2020. That paper's numbers, none verified: 45 videos, 3,544 agents, 10 annotators, 7 options
    merged to these four, 85 % of the data for training.

    Known faults: frames of one video are alike: split by video (`emodo split random` does).

    Args:
        root: The folder of the table and its images, or one around it; with --table the one that images start from.
        out: The manifest to write (.parquet, .csv or .tsv).
        table: The table, where it is not groupwalk.csv, .tsv or .parquet beside the images.
        share: The votes that make a label, as a part of the votes of the person's first label.
        skip_missing: Leave rows out whose image is not there, and say how many.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No table, a column that it lacks, a vote that is no number, a share that is not above 0 and at most
            1, an image that is missing, and all that `emodo.manifest.validate` finds.
    """
    disk.check(root, out, overwrite)
    if not 0 < share <= 1:
        raise InputError(f"--share is {share}: it must be above 0 and at most 1")
    file = table or disk.find(root, "groupwalk", *(f"groupwalk{suffix}" for suffix in (".csv", ".tsv", ".parquet")))
    frame = manifest.read(file)
    lacking = [name for name in NEEDED if name not in frame]
    taken = [name for name in ("path", "emotion", "sequence", "subject", "source") if name in frame]
    if lacking or taken:
        what = (
            f"no column {', '.join(lacking)}" if lacking else f"the column {', '.join(taken)} is made here: rename it"
        )
        raise InputError(f"{file}: {what} (found: {', '.join(frame.columns)})")
    votes, boxes = _numbers(frame, OPTIONS), _numbers(frame, manifest.BOX)
    texts = {name: frame.loc[:, name].astype("str").fillna("").tolist() for name in ("image", "video", "agent")}
    wrong = {
        "the votes are not numbers of 0 or more": ~np.greater_equal(votes, 0).all(axis=1),
        "the box is not four numbers": ~np.isfinite(boxes).all(axis=1),
        "image, video or agent is empty": np.array([not all(row) for row in zip(*texts.values(), strict=True)]),
    }
    disk.raise_all([f"{file}: row {row + 1}: {what}" for what, at in wrong.items() for row in np.flatnonzero(at)])
    base = root if table else file.parent
    here = set(disk.images(base))
    paths = [f"{base.absolute()}/{image.replace(chr(92), '/')}" for image in texts["image"]]
    there = np.array([path in here for path in paths])
    missing = [f"{file}: row {row + 1}: no image {texts['image'][row]}" for row in np.flatnonzero(~there)]
    notes = disk.absent(root, missing, len(frame), skip_missing)
    most = votes.max(axis=1)
    silent = int((there & (most == 0)).sum())
    if silent:
        notes.append(f"left out {silent} people without a vote")
    labels = np.array(list(OPTIONS.values()))
    given = (votes >= share * most[:, None]) & (votes > 0)
    made = {
        "path": paths,
        "emotion": [JOIN.join(labels[row]) for row in given],
        "source": "GroupWalk",
        "subject": [f"{video}/{agent}" for video, agent in zip(texts["video"], texts["agent"], strict=True)],
        "sequence": texts["video"],
        **dict(zip(manifest.BOX, boxes.T, strict=True)),
        **{f"votes_{name}": column for name, column in zip(OPTIONS, votes.T, strict=True)},
    }
    kept = frame.drop(columns=[*NEEDED]).assign(**made).loc[there & (most > 0)].reset_index(drop=True)
    whole, cut, unread = disk.clip(kept)
    if cut:
        notes.append(f"{cut} boxes reached outside their image and were cut")
    if len(whole) < len(kept):
        left = len(kept) - len(whole)
        notes.append(f"left out {left} boxes outside their image or in one of {len(unread)} that cannot be read")
    return disk.save(whole, root, out, notes=notes, check_files=False)


def _numbers(frame: pd.DataFrame, columns: Iterable[str]) -> np.ndarray:
    """Columns as numbers, [N, columns], NaN where a cell is none."""
    return np.array([np.asarray(pd.to_numeric(frame.loc[:, name], errors="coerce"), float) for name in columns]).T
