"""Deep Sentiment: 1,269 images from Twitter, positive or negative."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd

from emodo.adapters import disk
from emodo.records import InputError

Agreement = Literal["three", "four", "five"]

# Images by how many of five workers agree: in the authors' list, in all parts of the folds, in the folds' test parts.
LISTED = {"three": 1269, "four": 1116, "five": 882}
POSITIVE = {"three": 769, "four": 689, "five": 581}
IN_FOLDS = {"three": 1265, "four": 1115, "five": 880}
TESTED = {"three": 253, "four": 223, "five": 176}


def deepsentiment(
    root: Path,
    out: Path,
    agree: Agreement = "three",
    folds: Path | None = None,
    fold: int = 1,
    positive: Literal[0, 1] = 1,
    skip_missing: bool = False,
    overwrite: bool = False,
) -> Path:
    """emodo prepare deepsentiment DeepSentiment five.csv --agree five

    Deep Sentiment, also called Twitter I: 1,269 images of tweets, rated positive or negative by five workers each. At
    least three, at least four or all five agree on 1,269, 1,116 and 882 of them; who needs sure labels takes five.

    ROOT holds Agg_AMT_Candidates/*.jpg and twitter_three_agrees.txt, .._four_.. and .._five_.. (also three_agree.txt
    and the like), lines of `name.jpg label` without a header, 1 positive and 0 negative. There is no official split.
    The five folds of Campos et al., which most papers use, are the folder `ground_truth` of
    imatge-upc/sentiment-2017-imavis (MIT licence): name it with --folds. They leave out 4, 1 and 2 images, and hold
    1,265, 1,115 and 880.

    Labels: positive, negative. Columns: split, with --folds; source is `Deep Sentiment`.

    Licence: asked from the authors, for research; the images belong to those who posted them. No licence is stated.
    Cite: Q. You, J. Luo, H. Jin, J. Yang. Robust Image Sentiment Analysis Using Progressively Trained and Domain
    Transferred Deep Networks. AAAI 2015. For the folds: V. Campos, B. Jou, X. Giro-i-Nieto. From Pixels to Sentiment.
    Image and Vision Computing 2017.

    Known faults: a random 80/20 split and the five folds give numbers that are not comparable. Some copies hold an
    `amt_result.csv` with votes; the meaning of its columns is not verified, and it is not read. The sizes 1,116 and
    882, and 769, 689 and 581 positive images, are the paper's and were not counted here.

    Args:
        root: The folder of the data set, or one around it.
        out: The manifest to write (.parquet, .csv or .tsv).
        agree: How many of five workers agree at least.
        folds: Folder with the fold lists, three_agrees/test1/train.txt and so on, or one around it.
        fold: Which of the folds 1 to 5, with --folds.
        positive: The number that means positive in your lists.
        skip_missing: Leave listed images out that are not there, and say how many.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No list, a line that is not `name label`, an image that is listed twice or missing, a fold that is
            not 1 to 5.
    """
    disk.check(root, out, overwrite)
    folder = disk.search(root, "Agg_AMT_Candidates", "images") or root
    here = {disk.name(file): file for file in disk.images(folder)}
    if folds is None:
        names = (f"twitter_{agree}_agrees.txt", f"twitter_{agree}_agree.txt", f"{agree}_agrees.txt")
        lists = {"": disk.find(root, "deepsentiment", *names, f"{agree}_agree.txt")}
    else:
        lists = _fold(folds, agree, fold)
    rows: list[dict[str, str]] = []
    listed: dict[str, str] = {}
    problems: list[str] = []
    missing: list[str] = []
    for split, file in lists.items():
        for at, line in enumerate(disk.read_lines(file), 1):
            name, label = [*line.rsplit(maxsplit=1), "", ""][:2]
            name = name.replace("\\", "/").rpartition("/")[2]
            where = f"{file}: line {at}"
            if not line.strip():
                continue
            if label not in ("0", "1"):
                problems.append(f"{where}: {line.strip()!r} is no image with 0 or 1 after it")
            elif name in listed:
                problems.append(f"{where}: {name} is listed already at {listed[name]}")
            elif name not in here:
                missing.append(f"{where}: no image {name}")
            else:
                emotion = "positive" if int(label) == positive else "negative"
                rows.append({"path": here[name], "emotion": emotion} | ({"split": split} if split else {}))
            listed.setdefault(name, where)
    disk.raise_all(problems)
    if not listed:
        raise InputError(f"{' and '.join(map(str, lists.values()))}: no image is listed")
    notes = disk.absent(root, missing, len(listed), skip_missing)
    frame = pd.DataFrame(rows).assign(source="Deep Sentiment")
    known = {f"images on which {agree} agree": (len(frame), (LISTED if folds is None else IN_FOLDS)[agree])}
    if folds is None:
        known["positive images"] = (sum(row["emotion"] == "positive" for row in rows), POSITIVE[agree])
    else:
        known["test images"] = (sum(row["split"] == "test" for row in rows), TESTED[agree])
    return disk.save(frame, root, out, known, notes, check_files=False)


def _fold(folds: Path, agree: Agreement, fold: int) -> dict[str, Path]:
    if fold not in range(1, 6):
        raise InputError(f"--fold is {fold}: there are folds 1 to 5")
    if not folds.is_dir():
        raise InputError(f"{folds} is no folder: --folds names the one that holds {agree}_agrees")
    base = disk.search(folds, f"{agree}_agrees")
    if base is None:
        raise InputError(f"{folds} holds no folder {agree}_agrees: --folds names a copy of the folds' `ground_truth`")
    lists = {split: base / f"test{fold}" / f"{split}.txt" for split in ("train", "test")}
    absent = [str(file) for file in lists.values() if not file.is_file()]
    if absent:
        raise InputError(f"missing is {' and '.join(absent)}: complete the folds")
    return lists
