"""`emodo predict`: what a trained run says of any images."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emodo import __version__, runs
from emodo.files import atomic, sha256
from emodo.parallel import Died, cores, find_ray, on_ray
from emodo.parts import Parts, broken, open_folder, write
from emodo.records import InputError, Unfinished, check_least

if TYPE_CHECKING:
    import pandas as pd

    from emodo.listing import Listed
    from emodo.predictor import Predictor

STDOUT = "-"
SUFFIXES = (".parquet", ".csv", ".jsonl")
SHOWN = 1000  # images in a table that is read by eye


def predict(
    run: Path,
    images: list[str],
    out: Path | None = None,
    strata: bool = False,
    path: str = "path",
    part: int = 10_000,
    shard: str = "1/1",
    batch_size: int = 64,
    workers: int | None = None,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    engine: Literal["local", "ray"] = "local",
    processes: int | None = None,
    max_pixels: int | None = None,
    overwrite: bool = False,
) -> Path | None:
    """emodo predict runs/iern photos --out predictions.parquet

    Predict the emotion of images with a trained run: one row an image, with the probabilities of P(Y | do(X)). A broken
    image is a row with its `error`. Many images go to a folder, in parts; stopped in any way, the same command goes on.

    Args:
        run: A finished run.
        images: Files, folders, patterns ('photos/**/*.jpg'), manifests or other tables with a column of paths (.csv,
            .tsv, .parquet), or - for paths on stdin.
        out: A file (.parquet, .csv or .jsonl), for as many images as one part holds; a folder (no suffix), for any
            number, in parts; - for JSON lines on stdout. Without it, a table is printed.
        strata: Add P(Y | X, d) of each stratum, where the method intervenes on them.
        path: The column of paths in tables.
        part: Images in each part.
        shard: Which parts are done here: 2/8 takes every eighth part, from the second. The shards of several machines
            make the whole in one folder.
        batch_size: Images at a time.
        workers: Processes that decode images; by default as many as there are CPU cores, and none for few images.
        precision: fp32, bf16 (mixed), or auto: bf16 on a GPU and fp32 on a CPU.
        accelerator: cpu, gpu, or auto.
        engine: local, or ray: parts are spread over the Ray cluster that RAY_ADDRESS names, or over local processes.
        processes: CPUs of a local Ray; by default all.
        max_pixels: Larger images are not decoded; by default as in training.
        overwrite: Replace OUT where it exists, and begin anew.

    Returns:
        OUT, where it is a file or folder.

    Raises:
        InputError: The run is not finished, there are no images, or OUT does not fit; nothing has been written then.
        Unfinished: A process has died; the parts that are done stay.
    """
    from emodo.inference import check_accelerator
    from emodo.listing import listed

    check_least(1, part=part, batch_size=batch_size, processes=processes, max_pixels=max_pixels)
    check_least(0, workers=workers)
    check_accelerator(accelerator)
    kind, taken = _kind(out), _shard(shard)
    _check_target(out, kind, taken, engine, overwrite)
    settings: dict[str, Any] = {
        "strata": strata,
        "batch_size": batch_size,
        "precision": _precision(precision, accelerator),
        "accelerator": accelerator,
        "max_pixels": max_pixels or runs.config(run)["max_pixels"],
    }
    predictor = load(run, **settings)
    found = listed([os.fspath(name) for name in images], path)
    _check_boxes(found, predictor, run)
    most = {"file": part, "table": SHOWN}.get(kind, len(found))
    if len(found) > most:
        raise InputError(
            f"{len(found)} images are more than the {most} that a {kind} holds: name a folder, as --out predictions, "
            "where they are done in parts that survive an interruption" + ", or raise --part" * (kind == "file")
        )
    decoders = min(cores() if workers is None else workers, len(found) // batch_size)
    with _stopped():
        if kind == "folder" and out is not None:
            told = {"emodo": __version__, "run": digest(run), "images": len(found), "list": found.sha256()}
            told |= {"part": part} | {name: value for name, value in settings.items() if name != "accelerator"}
            open_folder(out, told, overwrite)
            parts = Parts(out, len(found), part, taken)
            jobs = [
                Job(run.resolve(), tuple(settings.items()), found.part(*parts.bounds(at)), parts.file(at).resolve())
                for at in parts.left()
            ]
            with _progress(sum(len(job.images) for job in jobs)) as tell:
                if engine == "ray":
                    _on_ray(jobs, tell, processes, accelerator != "cpu")
                else:
                    for job in jobs:
                        tell.part(job, write(predictor, job.images, job.file, decoders, tell.advance)[1])
            _say(f"{parts.done()} of {len(parts)} parts are in {out}")
            return out
        with _progress(len(found)) as tell:
            if kind == "stream":
                _stream(predictor.listed(found, decoders), tell)
                return None
            table = predictor.whole(found, decoders, tell.advance)
            tell.errors = broken(table)
    if out is None:
        _show(table, predictor)
    else:
        _save(table, out)
    return out


def load(
    run: str | Path,
    strata: bool = False,
    batch_size: int = 64,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    max_pixels: int | None = None,
) -> Predictor:
    """Load a trained run to predict any images with it.

        predictor = load("runs/iern")
        for table in predictor(["a.jpg", "b.jpg"]):
            print(table[["path", "predicted", "error"]])

    The words are those of `predict`. Raises InputError where the run is not finished or damaged, or `strata` are
    wanted of a method that does not intervene on them.
    """
    from emodo.data import Field
    from emodo.inference import device_of
    from emodo.predictor import Predictor

    run = Path(run)
    settings, task = runs.config(run), runs.task(run)
    method = runs.load_method(run)
    images = Field(settings["size"], max_pixels or settings["max_pixels"], method.views, settings.get("crop", True))
    half = _precision(precision, accelerator) == "bf16"
    return Predictor(method, task, images, device_of(accelerator), half, batch_size, strata)


# -------------------------------------------------------------------------------------------- settings


def _shard(written: str) -> tuple[int, int]:
    """The shard's index, from 0, and how many there are."""
    index, _, of = written.partition("/")
    if not (index.isdecimal() and of.isdecimal() and 1 <= int(index) <= int(of)):
        raise InputError(f"--shard is {written!r}: it is I/N with I from 1 to N, as 2/8")
    return int(index) - 1, int(of)


def _kind(out: Path | None) -> Literal["table", "stream", "file", "folder"]:
    if out is None:
        return "table"
    if str(out) == STDOUT:
        return "stream"
    if out.is_dir() or not out.suffix:
        if out.is_file():
            raise InputError(f"{out} is a file, and without a suffix a folder is meant: choose another --out")
        return "folder"
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"{out} is no table by its suffix: use .parquet, .csv, .jsonl, or none for a folder of parts")
    return "file"


def _check_target(out: Path | None, kind: str, taken: tuple[int, int], engine: str, overwrite: bool) -> None:
    """Refuse what would replace something, or has no parts to spread over machines."""
    if kind != "folder" and (taken != (0, 1) or engine == "ray"):
        raise InputError("--shard and --engine ray write parts: name a folder for them with --out, without a suffix")
    if kind == "folder" and overwrite and taken != (0, 1):
        raise InputError("--overwrite with --shard would remove what other shards have done: remove the folder first")
    if kind == "file" and out is not None and out.exists() and not overwrite:
        raise InputError(f"{out} exists already: choose another --out, or replace it with --overwrite")
    if engine == "ray":
        find_ray()


def _precision(precision: str, accelerator: str) -> Literal["fp32", "bf16"]:
    from emodo.inference import device_of

    if precision == "auto":
        return "bf16" if device_of(accelerator).type == "cuda" else "fp32"
    return "bf16" if precision == "bf16" else "fp32"


def _check_boxes(found: Listed, predictor: Predictor, run: Path) -> None:
    """Refuse images of whom none has a box, for a method that needs one in each; single rows get their error."""
    if predictor.views and found.boxes is None:
        raise InputError(
            f"{run} looks at a person and what is around, and no image has a box: pass a table with the columns path, "
            "x1, y1, x2 and y2"
        )


def digest(run: Path) -> str:
    """What a run predicts, as one digest: its settings, emotions and weights."""
    found = hashlib.sha256()
    for file in runs.deciding_files(run):
        found.update(bytes.fromhex(sha256(file)))
    return found.hexdigest()


# ------------------------------------------------------------------------------------ a folder of parts


@dataclass(frozen=True)
class Job:
    """One part for a process anywhere: the run and the words of `load`, the images and the part's file."""

    run: Path
    settings: tuple[tuple[str, Any], ...]
    images: Listed
    file: Path


def execute(job: Job) -> tuple[int, int]:
    """Predict and write a part; returns the number of images and of those with an error."""
    return write(_loaded(job.run, job.settings), job.images, job.file, 0, lambda _: None)


@cache
def _loaded(run: Path, settings: tuple[tuple[str, Any], ...]) -> Predictor:
    return load(run, **dict(settings))


def _on_ray(jobs: list[Job], tell: _Tell, processes: int | None, on_gpu: bool) -> None:
    with closing(on_ray(execute, jobs, processes or cores(), on_gpu)) as results:
        for at, result in results:
            if isinstance(result, Died):
                raise Unfinished(f"{jobs[at].file.name}: {result.reason}; the same command goes on")
            images, errors = result
            tell.advance(images)
            tell.part(jobs[at], errors)


@contextmanager
def _stopped() -> Generator[None]:
    """Say how to go on where the command ends before its time."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on; parts that are done stay") from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise Unfinished(
            "a process that decodes images was ended, perhaps for want of memory: try fewer --workers; parts that are "
            "done stay"
        ) from None


# ------------------------------------------------------------------------------------------- what is told


class _Tell:
    """How far it is: under a bar on a terminal, else a line a part, on stderr."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
        self.bar = Progress(
            *columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not sys.stderr.isatty()
        )
        self.task = self.bar.add_task("", total=total, rate="")
        self.images, self.errors, self.started = 0, 0, time.monotonic()

    def advance(self, images: int) -> None:
        self.images += images
        self.bar.update(self.task, advance=images, rate=self.rate())

    def part(self, job: Job, errors: int) -> None:
        self.errors += errors
        if self.bar.disable:
            _say(f"{job.file.name} is done; {self.rate()}")

    def rate(self) -> str:
        return f"{self.images / max(time.monotonic() - self.started, 1e-9):,.0f} images/s"


@contextmanager
def _progress(total: int) -> Generator[_Tell]:
    tell = _Tell(total)
    with tell.bar:
        yield tell
    broken = f", {tell.errors:,} of them with an error" if tell.errors else ""
    _say(f"{tell.images:,} images{broken}; {time.monotonic() - tell.started:.0f} s, {tell.rate()}")


def _say(text: str) -> None:
    print(f"emodo predict: {text}", file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------------------- what is written


def _save(table: pd.DataFrame, out: Path) -> None:
    with atomic(out) as temporary:
        if out.suffix.lower() == ".parquet":
            table.to_parquet(temporary, index=False)
        elif out.suffix.lower() == ".csv":
            table.to_csv(temporary, index=False, lineterminator="\n")
        else:
            temporary.write_text(_json_lines(table), encoding="utf-8")


def _stream(tables: Iterator[pd.DataFrame], tell: _Tell) -> None:
    """Print JSON lines as they come; whoever reads them may stop before their end."""
    try:
        for table in tables:
            sys.stdout.write(_json_lines(table))
            sys.stdout.flush()
            tell.advance(len(table))
            tell.errors += broken(table)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain at its end


def _json_lines(table: pd.DataFrame) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(table))


def rows(table: pd.DataFrame) -> list[dict[str, str | float | None]]:
    """The rows of a table of predictions as they stand in JSON: None where a cell is missing."""

    def value(cell: Any) -> Any:
        if isinstance(cell, str):
            return cell
        return None if cell != cell else float(str(cell))  # as short as float32 is exact

    columns = [[value(cell) for cell in table[name].to_numpy()] for name in table]
    return [dict(zip(table.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def _show(table: pd.DataFrame, predictor: Predictor) -> None:
    """Print what is read by eye: the emotion, how sure, how much the context would have swung it, what is wrong."""
    from emodo.tabular import show

    head = ["path", "predicted", "p", *(["disagreement"] if "disagreement" in table else [])]
    table = table.assign(p=table[[f"p:{emotion}" for emotion in predictor.task.emotions]].max(axis=1))
    good = table["error"].isna().to_numpy()
    body = [
        [path, predicted or "none", *(f"{number:.3f}" for number in numbers)]
        for path, predicted, *numbers in table.loc[good, head].itertuples(index=False)
    ]
    wrong = [list(row) for row in table.loc[~good, ["path", "error"]].itertuples(index=False)]
    show([(head, body), (["path", "error"], wrong)], [])
