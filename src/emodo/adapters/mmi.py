"""The MMI facial expression database to a manifest, with its peak frames as images."""

from __future__ import annotations

import os
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.console import Console
from rich.progress import track

from emodo.adapters import disk
from emodo.files import atomic
from emodo.records import InputError

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

SOURCE = "MMI"
EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")  # values 1 to 6
VIDEO = re.compile(r"(S\d{3})-(\d{3})\.avi", re.IGNORECASE)
SINGLE, DUAL = "0", "2"  # views with a frontal face
MOST_BYTES = 2**20  # of an annotation
UPRIGHT = ("whole", "left", "right", "rotate", "drop")
# How IERN's release made the frames of each subject upright and frontal; those not named are rotated.
SUBJECTS = (
    dict.fromkeys(("S001", "S002", "S017"), "right")
    | dict.fromkeys(("S003", "S005", "S006", "S015", "S016"), "left")
    | dict.fromkeys(("S053", "S054"), "whole")
    | {"S021": "drop"}
)


@dataclass(frozen=True)
class _Session:
    video: str
    name: str  # S001_100
    emotion: str
    view: str | None  # as session.xml has it
    upright: str  # one of UPRIGHT


def mmi(
    root: Path,
    out: Path,
    rule: Literal["subject", "view"] = "subject",
    upright: dict[str, Literal["whole", "left", "right", "rotate", "drop"]] | None = None,
    overwrite: bool = False,
) -> Path:
    """emodo prepare mmi mmi-facial-expression-database_download mmi.csv

    MMI: posed expressions, from neutral to the peak and back; a part of the videos carries an emotion, the others
    single action units. Taken are the three frames in the middle, n // 2 - 1 to n // 2 + 1 of n, counted from 0. They
    are written as PNG into a folder beside OUT, here mmi_images/S001_100_040.png. Frames that lie there already are
    not decoded again, so an interrupted run continues. Needs PyAV: pip install 'emodo[video]'.

    On disk: Sessions/NUMBER/ with S001-100.avi, S001-100.xml (`<Metatag Name="Emotion" Value="4"/>`: 1 anger,
    2 disgust, 3 fear, 4 happiness, 5 sadness, 6 surprise; others are passed over) and session.xml (`<track view="0">`),
    under any wrappers.

    Many videos lie on their side, and some show the face twice, from the front and in profile. By `--rule subject`
    (IERN's) frames are cut or turned according to who they show: the right half of S001, S002 and S017, the left half
    of S003, S005, S006, S015 and S016, S053 and S054 as they are, S021 left out, and all others rotated by 90 degrees
    clockwise. By `--rule view` according to session.xml: view 0 is rotated unless it names an oao_aucs annotation,
    view 2 is cut to the frontal half as above. By both, other views (1 is taken to be the profile) are passed over.
    `--upright S021=whole S030=left` says it for a subject, over both rules.

    Columns: path, emotion, source (MMI), subject (S001), sequence (S001_100), frame (its number, from 0), view.

    Known faults: no official split, so split by subject. None of this was checked on the data themselves: what the
    values above 6 and view 1 mean, and that the rule by subject, made for one download, fits others; look at the
    frames. IERN's release counts 208 sequences of 31 people, and did not look at the view. Frames are 720 x 576
    (unverified).

    Licence: research, after signing the end-user agreement at mmifacedb.eu. Cite: M. Pantic, M. Valstar, R. Rademaker,
    L. Maat, Web-based database for facial expression analysis, ICME 2005; M. Valstar, M. Pantic, Induced disgust,
    happiness and surprise, LREC Workshop on Emotion 2010.

    Args:
        root: The folder that holds Sessions, at any depth.
        out: The manifest to write (.parquet, .csv or .tsv); the frames' folder lies beside it.
        rule: What says how a video's frames become upright: its subject, or the view in its session.xml.
        upright: How the frames of a subject become upright: whole, left or right half, rotate, or drop them.
        overwrite: Replace OUT where it exists.

    Raises:
        InputError: No videos, an annotation that is missing or cannot be read, an emotion that is no number, a video
            twice, one that cannot be decoded or has less than three frames, a dual view with no known half, no PyAV.
    """
    disk.check(root, out, overwrite)
    named = {subject.upper(): how for subject, how in (upright or {}).items()}
    wrong = [
        f"--upright {subject}={how}: expected S001={'|'.join(UPRIGHT)}"
        for subject, how in named.items()
        if how not in UPRIGHT or not re.fullmatch(r"S\d{3}", subject)
    ]
    disk.raise_all(wrong)
    sessions, passed = _sessions(root, rule, named)
    folder = out.with_name(f"{out.stem}_images")
    images = _extract(sessions, folder)
    rows = [
        (str(folder.absolute() / file), session.emotion, SOURCE, session.name[:4], session.name, frame, session.view)
        for session, taken in zip(sessions, images, strict=True)
        for frame, file in taken
    ]
    frame = pd.DataFrame(rows, columns=["path", "emotion", "source", "subject", "sequence", "frame", "view"])
    if not any(session.view for session in sessions):
        frame = frame.drop(columns="view")
    return disk.save(frame, root, out, {"sequences": (len(sessions), 208)}, disk.passed_over(passed))


def _sessions(root: Path, rule: str, upright: dict[str, str]) -> tuple[list[_Session], Counter[str]]:
    """The sessions to take, by name, and how many are passed over and why."""
    videos: dict[str, str] = {}
    beside: dict[str, dict[str, str]] = defaultdict(dict)  # folder -> name in lower case -> file
    problems: list[str] = []
    for file in disk.files(root):
        folder, _, name = file.rpartition(os.sep)
        found = VIDEO.fullmatch(name)
        if found:
            other = videos.setdefault("_".join(found.groups()).upper(), file)
            if other != file:
                problems.append(f"{file}: the same video as {other}: leave one of them in ROOT")
        elif name.lower().endswith(".xml"):
            beside[folder][name.lower()] = file
    if not videos:
        raise disk.nothing(root, "mmi", "video like Sessions/1/S001-100.avi")
    with_video = {video.rpartition(os.sep)[0] for video in videos.values()}
    passed = Counter({"sessions without a video": sum(folder not in with_video for folder in beside)})
    sessions: list[_Session] = []
    for name, video in sorted(videos.items()):
        try:
            session = _session(name, video, beside[video.rpartition(os.sep)[0]], rule, upright)
        except InputError as error:
            problems.append(str(error))
            continue
        if isinstance(session, _Session):
            sessions.append(session)
        else:
            passed[session] += 1
    disk.raise_all(problems)
    return sessions, passed


def _session(name: str, video: str, beside: dict[str, str], rule: str, upright: dict[str, str]) -> _Session | str:
    """The session, or why it is passed over."""
    label = f"{name.lower().replace('_', '-')}.xml"
    if label not in beside:
        raise InputError(
            f"{video}: its annotation {name.replace('_', '-')}.xml is missing: add it, or remove the video"
        )
    emotion = _emotion(beside[label])
    if emotion is None:
        return "videos without an emotion"
    if not 1 <= emotion <= len(EMOTIONS):
        return "videos of other emotions"
    if "session.xml" not in beside and rule == "view":
        raise InputError(f"{video}: session.xml is missing: add it, or use --rule subject")
    view, annotated = _view(beside["session.xml"]) if "session.xml" in beside else (None, False)
    how = upright.get(name[:4])
    if how is None:
        if view not in (None, SINGLE, DUAL):
            return "videos of other views"
        how = SUBJECTS.get(name[:4], "rotate")
        if how != "drop" and rule == "view" and view == SINGLE:
            how = "whole" if annotated else "rotate"
        elif rule == "view" and view == DUAL and how not in ("left", "right"):
            raise InputError(
                f"{video}: it is a dual view, and which half is the frontal one is not known for {name[:4]}: say "
                f"--upright {name[:4]}=left or {name[:4]}=right"
            )
        elif rule == "view" and view is None:
            raise InputError(f"{beside['session.xml']}: no track has a view: say --upright {name[:4]}=whole or rotate")
    if how == "drop":
        return "videos of subjects that are left out"
    return _Session(video, name, EMOTIONS[emotion - 1], view, how)


def _emotion(file: str) -> int | None:
    """The value of the Metatag named Emotion, wherever it stands; None without one."""
    tags = [tag for tag in _xml(file).iter("Metatag") if tag.get("Name", "").strip().lower() == "emotion"]
    values = {tag.get("Value", "").strip() for tag in tags} - {""}
    if len(values) > 1 or not all(value.isdecimal() for value in values):
        listed = ", ".join(map(repr, sorted(values)))
        raise InputError(f"{file}: the emotion is {listed}: expected one whole number")
    return int(values.pop()) if values else None


def _view(file: str) -> tuple[str | None, bool]:
    """The view of the first track that has one, and whether an annotation is by onset, apex and offset."""
    session = _xml(file)
    views = [track.get("view", "").strip() for track in session.iter("track")]
    annotations = [annotation.get("filename", "") for annotation in session.iter("annotation")]
    return next((view for view in views if view), None), any("oao_aucs" in name.lower() for name in annotations)


def _xml(file: str) -> ET.Element:
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(MOST_BYTES + 1)
        root = ET.fromstring(text) if len(text) <= MOST_BYTES and b"<!ENTITY" not in text else None
    except (OSError, ET.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{file} cannot be read as XML ({error}): copy it anew") from None
    if root is None:
        raise InputError(f"{file} is no annotation: it is larger than 1 MB, or defines entities")
    return root


def _extract(sessions: list[_Session], folder: Path) -> list[list[tuple[int, str]]]:
    """Write the peak frames of every session that has none in the folder yet: frame numbers and file names."""
    ready = _ready(folder)
    todo = [session for session in sessions if (session.name, _origin(session)) not in ready]
    if todo:
        if find_spec("av") is None:
            raise InputError("videos are decoded by PyAV: pip install 'emodo[video]'")
        folder.mkdir(parents=True, exist_ok=True)
    problems: list[str] = []
    # libav and PNG compression both let go of Python's lock.
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        done = [threads.submit(_write, session, folder) for session in todo]
        try:
            for session, frames in track(
                zip(todo, done, strict=True), "videos", total=len(todo), console=Console(stderr=True), disable=not todo
            ):
                try:
                    ready[session.name, _origin(session)] = frames.result()
                except InputError as error:
                    problems.append(str(error))
        except KeyboardInterrupt:
            threads.shutdown(cancel_futures=True)
            raise KeyboardInterrupt("the same command continues; what is finished stays") from None
    if problems:
        print(f"{folder}: the frames of the other videos stay, and are not decoded again", file=sys.stderr)
    disk.raise_all(problems)
    return [ready[session.name, _origin(session)] for session in sessions]


def _origin(session: _Session) -> str:
    """What a frame was made from and how, written into its PNG: a change of either makes it anew."""
    video = Path(session.video)
    return f"{video.name}, {video.stat().st_size} bytes, {session.upright}"


def _ready(folder: Path) -> dict[tuple[str, str], list[tuple[int, str]]]:
    """The frames that lie in the folder, of videos that have all three: (sequence, origin) -> number and file name."""
    found: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for file in sorted(folder.glob("S*_*_*.png")):
        parts = re.fullmatch(r"(S\d{3}_\d{3})_(\d{3,})\.png", file.name)
        if parts:
            with Image.open(file) as image:
                found[parts[1], str(image.info.get("Source", ""))].append((int(parts[2]), file.name))
    return {key: frames for key, frames in found.items() if len(frames) == 3 and frames[2][0] - frames[0][0] == 2}


def _write(session: _Session, folder: Path) -> list[tuple[int, str]]:
    written: list[tuple[int, str]] = []
    for number, frame in _middle(session.video):
        image = frame.to_image()
        width, height = image.size
        if session.upright in ("left", "right"):
            left = width // 2 if session.upright == "right" else 0
            image = image.crop((left, 0, width if left else width // 2, height))
        elif session.upright == "rotate":
            image = image.transpose(Image.Transpose.ROTATE_270)  # counter-clockwise, so 90 degrees clockwise
        written.append((number, f"{session.name}_{number:03d}.png"))
        about = PngInfo()
        about.add_text("Source", _origin(session))
        with atomic(folder / written[-1][1]) as temporary:
            image.save(temporary, "PNG", pnginfo=about)
    return written


def _middle(video: str) -> list[tuple[int, VideoFrame]]:
    """The frames n // 2 - 1, n // 2 and n // 2 + 1 of n."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(video) as container:
            claimed = container.streams.video[0].frames if container.streams.video else 0
        frames, count = _decode(video, claimed)
        if claimed != count >= 3:  # what a header says is not always so
            frames, count = _decode(video, count)
    except (FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{video} cannot be decoded ({error}): copy it anew, or remove its session") from None
    if count < 3:
        raise InputError(f"{video} has {count} frames, which is too few for three: copy it anew, or remove its session")
    return frames


def _decode(video: str, count: int) -> tuple[list[tuple[int, VideoFrame]], int]:
    """The middle frames if there are `count` of them, and how many there are."""
    import av

    frames: list[tuple[int, VideoFrame]] = []
    at = -1
    with av.open(video) as container:
        for at, frame in enumerate(container.decode(video=0)):
            if count // 2 - 1 <= at <= count // 2 + 1:
                frames.append((at, frame))
    return frames, at + 1
