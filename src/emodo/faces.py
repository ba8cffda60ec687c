"""`emodo faces`: the face of every row, found, turned until its eyes are level, and cut out."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emodo import __version__
from emodo.files import sha256, write_text
from emodo.parallel import Died, cores, on_this_machine
from emodo.records import InputError, Unfinished, check_least

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from emodo.portraits import Row, Seen, Settings

ADDED = ("original_path", "face", "faces", "face_score", "roll")
CHUNK = 16  # rows that a process is given at a time


def faces(
    manifest: Path,
    out: Path,
    detector: Literal["yunet", "lbp", "columns"] = "yunet",
    model: Path | None = None,
    landmarks: list[str] | None = None,
    size: int = 224,
    eyes: list[float] | None = None,
    score: float = 0.9,
    missing: Literal["fail", "drop", "keep"] = "fail",
    emotions: list[str] | None = None,
    processes: int | None = None,
    max_pixels: int = 50_000_000,
    overwrite: bool = False,
) -> Path:
    """emodo faces photos.csv aligned.csv --model face_detection_yunet_2023mar.onnx

    Find the face of every row, turn it until its eyes are level, and cut it out. OUT is the manifest of the new images;
    they lie beside it in the folder of its name (aligned/ for aligned.csv), as PNG, and aligned.json says what made
    them. Stopped in any way, the same command continues.

    Args:
        manifest: Whose faces are wanted. Of a row with a box, only the box is searched.
        out: The manifest to write (.parquet, .csv or .tsv).
        detector: yunet (boxes and eyes, by the file that --model names), lbp (comes with scikit-image; frontal faces,
            boxes only, so they are cropped and not turned), or columns (the landmarks or boxes that MANIFEST has).
        model: Of yunet: face_detection_yunet_2023mar.onnx of the project opencv/opencv_zoo.
        landmarks: Of columns: the four that hold x and y, in pixels, of the eye on the image's left and of the one on
            its right. Without them the boxes are cropped.
        size: Side of the new images in pixels.
        eyes: Where the eye on the left comes to lie, in shares of the side from the left and from the top; the other
            eye lies opposite. By default 0.35 0.35.
        score: Of yunet: what it is less sure of is no face. 0.9 is OpenCV's default.
        missing: What becomes of rows without a face: fail (OUT is not written until you have decided), drop, or keep
            (their image is the whole box or photograph). Faces are seldom missed at random.
        emotions: Emotions that the manifest may hold, in place of the known ones.
        processes: Images at a time; by default the CPU cores.
        max_pixels: Larger images are refused before they are decoded.
        overwrite: Replace OUT and its images where they exist.

    Returns:
        OUT.

    Raises:
        InputError: The manifest, an image, the model, a landmark or a setting does not fit.
        Unfinished: No row has a face, or some have none and --missing is fail; the images that were made stay.
    """
    from emodo import manifest as manifests
    from emodo.data import check_images
    from emodo.portraits import MARK, Settings, load_detector

    place = _check_settings(detector, model, landmarks, size, eyes, score, processes, max_pixels)
    manifests.check_target(out, overwrite)
    if out.resolve() == manifest.resolve():
        raise InputError(f"{out} cannot take the place of the manifest that it is made from: choose another OUT")
    settings = Settings(
        detector, model, sha256(model) if model else None, landmarks is not None, size, place, score, max_pixels
    )
    load_detector(settings)  # a model that cannot be used is known before anything else is done
    frame = manifests.load(manifest, tuple(emotions) if emotions else None)
    _check_columns(frame, manifest, detector, landmarks)
    points = _landmarks(frame, manifest, landmarks) if landmarks else None
    check_images(frame, manifest, max_pixels)
    folder, note = out.with_suffix(""), out.with_suffix(".json")
    rows = _rows(frame, folder.absolute(), points)
    if detector == "columns":
        _check_places(rows, frame, manifest, landmarks, missing)
    told = settings.told() | ({"landmarks": landmarks} if landmarks else {})
    _check_folder(folder, note, told, frame["file"].tolist(), overwrite)

    if model:
        print(f"YuNet: {model}, sha256 {settings.sha256}", file=sys.stderr)
    elif not landmarks:
        print("boxes only: faces are cropped, and not turned until their eyes are level", file=sys.stderr)
    out.unlink(missing_ok=True)
    record: dict[str, Any] = {"command": MARK, "version": __version__, "settings": told}
    write_text(note, json.dumps(record, indent=2) + "\n")
    try:
        seen = _see_all(rows, settings, missing == "keep", processes or cores(), manifest)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command continues; the images that are made stay") from None
    without = [row.number for row, one in zip(rows, seen, strict=True) if not one.faces]
    counts = {
        "rows": len(rows),
        "found": sum(one.faces == 1 for one in seen),
        "several": sum(one.faces > 1 for one in seen),
        "not found": len(without),
    }
    print(_summary(frame, counts, without), file=sys.stderr)
    _decide(frame, manifest, out, without, missing)

    aligned = _aligned(frame, rows, seen, settings, landmarks)
    if missing == "drop":
        aligned = aligned.drop(index=without).reset_index(drop=True)
    _clear(folder, set(aligned["file"]))
    record |= {"manifest": manifest.name, "manifest sha256": sha256(manifest), "model": model and model.name}
    write_text(note, json.dumps(record | {"missing": missing, **counts}, indent=2) + "\n")
    manifests.save(aligned, out)
    return out


# -------------------------------------------------------------------------------------------- settings


def _check_settings(
    detector: str,
    model: Path | None,
    landmarks: list[str] | None,
    size: int,
    eyes: list[float] | None,
    score: float,
    processes: int | None,
    max_pixels: int,
) -> tuple[float, float]:
    """Refuse impossible settings; returns the place of the left eye."""
    from emodo.detectors import PLACE, YUNET

    if detector == "yunet" and model is None:
        raise InputError(
            f"--detector yunet needs its model, which is not part of emodo: download {YUNET}, and name the file with "
            "--model FILE; or take --detector lbp, which finds frontal faces and does not align them"
        )
    if model is not None and detector != "yunet":
        raise InputError(f"--model is for --detector yunet, not for {detector}: leave it out")
    if model is not None and not model.is_file():
        raise InputError(
            f"--model {model} is {'a folder' if model.is_dir() else 'missing: no such file'}: take {YUNET}"
        )
    if landmarks is not None and detector != "columns":
        raise InputError(f"--landmarks is for --detector columns, not for {detector}: leave it out")
    if landmarks is not None and len(set(landmarks)) != 4:
        raise InputError(
            f"--landmarks names four columns (x and y of the eye on the left, x and y of the eye on the right), not "
            f"{' '.join(landmarks)}"
        )
    if not 16 <= size <= 4096:
        raise InputError(f"--size is {size}: it is 16 to 4096 pixels")
    if eyes is not None and detector != "yunet" and landmarks is None:
        raise InputError("--eyes is where eyes come to lie, and here nothing knows them: leave it out")
    place = list(PLACE) if eyes is None else eyes
    if len(place) != 2 or not (0 < place[0] < 0.5 and 0 < place[1] < 1):
        given = " ".join(f"{share:g}" for share in place)
        raise InputError(f"--eyes is {given}: give two shares, below 0.5 from the left and below 1 from the top")
    if not 0 < score < 1:
        raise InputError(f"--score is {score:g}: it lies between 0 and 1")
    check_least(1, processes=processes, max_pixels=max_pixels)
    return place[0], place[1]


def _check_folder(folder: Path, note: Path, told: dict[str, Any], sources: Sequence[str], overwrite: bool) -> None:
    """Refuse to write over what `emodo faces` has not made, or (unless `overwrite`) has made with other settings."""
    from emodo.portraits import MARK

    inside = f"{os.path.abspath(folder)}{os.sep}"  # noqa: PTH100
    if folder.is_file() or any(source.startswith(inside) for source in sources):
        raise InputError(f"{folder} is where the faces would go, and where given files are: choose another OUT")
    try:
        before = json.loads(note.read_text(encoding="utf-8"))
        ours = before["command"] == MARK
        made = dict(before["settings"])
    except FileNotFoundError:
        ours, made = not (folder.is_dir() and any(folder.iterdir())), told
    except (OSError, ValueError, LookupError, TypeError):
        ours, made = False, told
    if not ours:
        what = note if note.exists() else folder
        raise InputError(f"{what} exists, and emodo faces has not made it: choose another OUT")
    changed = [name for name in {**made, **told} if made.get(name) != told.get(name)]
    if changed and not overwrite:
        changes = ", ".join(f"{name} {made.get(name)} -> {told.get(name)}" for name in changed)
        raise InputError(
            f"{folder} holds faces of other settings ({changes}): choose another OUT, or replace them with --overwrite"
        )


# ------------------------------------------------------------------------------- columns of the manifest


def _check_columns(frame: pd.DataFrame, name: Path, detector: str, landmarks: list[str] | None) -> None:
    """Refuse a manifest that lacks a column, or has one that would be written."""
    from emodo.manifest import BOX, TEXT

    new = [*ADDED, *(f"original_{side}" for side in BOX if "x1" in frame)]
    there = [column for column in new if column in frame]
    if there:
        raise InputError(f"{name} has a column {there[0]}, which emodo faces writes: rename it")
    reserved = [column for column in landmarks or () if column in (*BOX, *TEXT)]
    if reserved:
        raise InputError(f"--landmarks names {reserved[0]}, which is no landmark: name the four columns of the eyes")
    lacking = [column for column in landmarks or () if column not in frame]
    if lacking:
        found = ", ".join(column for column in frame if column != "file")
        raise InputError(f"{name} has no column {lacking[0]}, as --landmarks says (found: {found})")
    if detector == "columns" and not landmarks and "x1" not in frame:
        raise InputError(
            f"{name} has no boxes (x1, y1, x2, y2): name the columns of the eyes with --landmarks, or take another "
            "--detector"
        )


def _landmarks(frame: pd.DataFrame, name: Path, columns: list[str]) -> np.ndarray:
    """The eyes of every row, [N, 4] float, NaN where there are none; raises InputError that lists what is wrong."""
    import numpy as np
    import pandas as pd

    from emodo.manifest import SHOWN, image_sizes

    written = frame.loc[:, columns]
    given = written.notna().to_numpy()
    points = written.apply(pd.to_numeric, errors="coerce").to_numpy(float, copy=True, na_value=np.nan)
    whole = np.isfinite(points).all(axis=1)
    points[~whole] = np.nan
    sizes = image_sizes(frame.loc[whole, "file"])
    size = np.array([sizes[file] if at else (np.nan,) * 2 for file, at in zip(frame["file"], whole, strict=True)])
    apart = np.hypot(points[:, 2] - points[:, 0], points[:, 3] - points[:, 1])
    problems = {
        "a landmark is missing or is not a number": given.any(axis=1) & ~whole,
        "an eye lies outside the image": ((points < 0) | (points > np.tile(size, 2))).any(axis=1),
        "the eyes are less than two pixels apart": apart < 2,
    }
    lines = [
        f"{name}: row {row + 1}: {problem} ({', '.join(f'{c} {v}' for c, v in written.iloc[row].items())})"
        for problem, wrong in problems.items()
        for row in np.flatnonzero(wrong)
    ]
    if lines:
        raise InputError("\n".join(lines[:SHOWN] + [f"... and {len(lines) - SHOWN} more"] * (len(lines) > SHOWN)))
    swapped = int((points[:, 0] > points[:, 2]).sum())
    if swapped > whole.sum() / 2:
        raise InputError(
            f"{name}: in {swapped} of {whole.sum()} rows the first eye of --landmarks is right of the second, and the "
            "faces would stand on their heads: name the eye on the image's left first"
        )
    return points


def _check_places(
    rows: Sequence[Row], frame: pd.DataFrame, name: Path, landmarks: list[str] | None, missing: str
) -> None:
    """Refuse rows without landmarks, or without a box, before anything is written."""
    without = [row.number for row in rows if (row.eyes if landmarks else row.box) is None]
    what = "landmarks" if landmarks else "box"
    if len(without) == len(rows):
        raise InputError(f"{name}: no row has a {what.removesuffix('s')}")
    if without and missing == "fail":
        raise InputError(_none_in(frame, name, without, f"no {what}") + ": " + DECIDE)


DECIDE = "leave such rows out with --missing drop, or keep their whole image with --missing keep"


def _none_in(frame: pd.DataFrame, name: Path, without: Sequence[int], what: str) -> str:
    shown = ", ".join(f"row {row + 1}: {frame['path'].iloc[row]}" for row in without[:3])
    return f"{name}: {what} in {len(without)} of {len(frame)} rows ({shown}{', ...' * (len(without) > 3)})"


# ------------------------------------------------------------------------------------------- the rows


def _rows(frame: pd.DataFrame, folder: Path, points: np.ndarray | None) -> list[Row]:
    from emodo.manifest import BOX
    from emodo.portraits import Row

    names = _names(frame["file"].tolist())
    boxes = _tuples(frame[list(BOX)].to_numpy(float)) if "x1" in frame else [None] * len(frame)
    eyes = _tuples(points) if points is not None else [None] * len(frame)
    return [
        Row(number, source, str(folder / name), box, at)
        for number, (source, name, box, at) in enumerate(zip(frame["file"], names, boxes, eyes, strict=True))
    ]


def _tuples(places: np.ndarray) -> list[tuple[float, float, float, float] | None]:
    rows: list[list[float]] = places.tolist()
    return [None if x1 != x1 else (x1, y1, x2, y2) for x1, y1, x2, y2 in rows]


def _names(sources: Sequence[str]) -> list[str]:
    """Name every row's image after its source, from the folder that holds all of them; no name comes twice.

    Names that would be the same, in any case, get the number of their row.
    """
    root = os.path.commonpath([os.path.dirname(source) for source in sources])  # noqa: PTH120
    names = [str(Path(source).relative_to(root).with_suffix(".png")) for source in sources]
    times = Counter(name.casefold() for name in names)
    taken = {name for name, often in times.items() if often == 1}
    for row, name in enumerate(names):
        if times[name.casefold()] > 1:
            while (name := f"{name.removesuffix('.png')}-{row + 1}.png").casefold() in taken:
                pass
            taken.add(name.casefold())
            names[row] = name
    return names


def _see_all(rows: Sequence[Row], settings: Settings, keep: bool, processes: int, name: Path) -> list[Seen]:
    """Make the images of all rows, in this process or in several."""
    from rich.console import Console
    from rich.progress import track

    from emodo.portraits import see_some

    jobs = [(rows[at : at + CHUNK], settings, keep) for at in range(0, len(rows), CHUNK)]
    results = (
        on_this_machine(see_some, jobs, processes)
        if min(processes, len(jobs)) > 1
        else ((at, see_some(job)) for at, job in enumerate(jobs))
    )
    seen: dict[int, list[Seen]] = {}
    quiet = not sys.stderr.isatty()
    with closing(results):
        for at, result in track(results, "faces", len(jobs), console=Console(stderr=True), disable=quiet):
            if isinstance(result, Died):
                raise Unfinished(
                    f"{name}, rows {jobs[at][0][0].number + 1} to {jobs[at][0][-1].number + 1}: {result.reason}; the "
                    "same command continues"
                )
            if isinstance(result, InputError):
                raise InputError(f"{name}, {result}")
            seen[at] = result
    return [one for at in range(len(jobs)) for one in seen[at]]


# ------------------------------------------------------------------------------------- what is written


def _summary(frame: pd.DataFrame, counts: dict[str, int], without: Sequence[int]) -> str:
    """The counts, and how many of each emotion and source have no face: those are seldom alike."""
    several = f"{counts['several']} several (the largest is taken), " if counts["several"] else ""
    lines = [f"{counts['rows']} rows: {counts['found']} faces found, {several}{counts['not found']} not found"]
    for column in ("emotion", "source"):
        if without and column in frame:
            values = frame.loc[:, column].astype("str")
            lost, of = values.iloc[list(without)].value_counts(sort=False).sort_index(), values.value_counts()
            lines.append(f"not found by {column}: " + ", ".join(f"{v} {n} of {of[v]}" for v, n in lost.items()))
    return "\n".join(lines)


def _decide(frame: pd.DataFrame, name: Path, out: Path, without: Sequence[int], missing: str) -> None:
    """Raise Unfinished where there is nothing to write, or it has not been said what to do."""
    if len(without) == len(frame):
        raise Unfinished(
            f"{name}: no face in any of {len(frame)} rows, and {out} is not written: look at the images, or take "
            "another --detector"
        )
    if without and missing == "fail":
        raise Unfinished(
            f"{_none_in(frame, name, without, 'no face')}, and {out} is not written: {DECIDE}; the other images stay "
            "and are not made again"
        )


def _aligned(
    frame: pd.DataFrame, rows: Sequence[Row], seen: Sequence[Seen], settings: Settings, landmarks: list[str] | None
) -> pd.DataFrame:
    """The manifest of the new images: all columns, places in the new pixels, and what was found."""
    import numpy as np

    from emodo.manifest import BOX

    shared = frame["file"].duplicated(keep=False)
    if shared.any():  # people of one photograph must never be split, and share no path any more
        sequence = frame["sequence"] if "sequence" in frame else frame["path"].where(shared)
        frame = frame.assign(sequence=sequence.fillna(frame["path"].where(shared)))
    found = np.array([one.faces for one in seen])
    new = frame.rename(columns={name: f"original_{name}" for name in ("path", *BOX)}).assign(
        path=frame["path"],
        file=[row.target for row in rows],
        face=np.select([found == 0, found > 1], ["not found", "several"], "found"),
        faces=None if settings.detector == "columns" else found,
        face_score=[one.score for one in seen],
        roll=[one.roll for one in seen],
    )
    if landmarks:
        x, y = settings.eyes
        places = np.round(np.array([x, y, 1 - x, y]) * settings.size, 2)
        new[landmarks] = np.where((found > 0)[:, None], places, np.nan)
    return new.drop(
        columns=[name for name in ("faces", "face_score", "roll") if not new[name].notna().to_numpy().any()]
    )


def _clear(folder: Path, wanted: set[str]) -> None:
    """Remove what an earlier or killed run has left: our images that OUT does not list, and temporary files."""
    from emodo.portraits import mark

    for file in sorted(folder.rglob("*.png")) + sorted(folder.rglob(".*.png.tmp")):
        stale = str(file.absolute()) not in wanted
        if stale and (file.suffix == ".tmp" or mark(file) is not None):
            file.unlink()
