"""`emodo export`: a run as one file that needs no emodo, with the intervention inside.

The graph takes RGB images in 0 .. 1, already of the run's size, and normalises them itself; all strata and their
average are in it. Nothing is written unless the file's answers are the run's own, on real images.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Generator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from emodo import __version__, runs
from emodo.files import atomic, sha256
from emodo.methods import Method
from emodo.records import Batch, InputError, Task

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["onnx", "torch"]
Precision = Literal["fp32", "fp16", "int8"]

KEY = "emodo"  # of the metadata in the file
TOLERANCE = 1e-4  # largest difference of a probability to the run's that is still called the same
BATCHES = (1, 3, 8)  # sizes at which the file is compared: one image, an odd number, and several
ENDINGS = {"onnx": "onnx", "torch": "pt2"}

Answers = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Images of every view, [B, 3, S, S] each -> the outputs of the file."""


class Recogniser(nn.Module):
    """A trained method as a function of images alone.

    images: RGB in 0 .. 1, [B, 3, S, S], then the method's further `views`. Returns P(Y | do(X)), [B, E], and where the
    method intervenes P(Y | X, d) of every stratum, [B, K, E].
    """

    def __init__(self, method: Method, multilabel: bool) -> None:
        super().__init__()
        self.method = method.eval()
        self.multilabel = multilabel

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Normalise (mean .5, std .5), predict, and turn logits into probabilities."""
        seen, *views = (2 * view - 1 for view in images)
        none = torch.empty(0)  # prediction asks for no label
        prediction = self.method.answer(
            Batch(seen, none, none, none, **dict(zip(self.method.views, views, strict=True)))
        )
        logits = [found for found in prediction[:2] if found is not None]
        return tuple(found.sigmoid() if self.multilabel else found.softmax(dim=-1) for found in logits)


def export(
    run: str | Path,
    out: str | Path | None = None,
    format: Format = "onnx",
    precision: Precision = "fp32",
    manifest: str | Path | None = None,
    split: str = "test",
    rows: int = 64,
    overwrite: bool = False,
) -> Path:
    """emodo export runs/iern

    Write a run as one file that answers without emodo: ONNX for onnxruntime and its kin, or a program of torch.export.
    The intervention is inside: all strata and their average.

    Inputs: `images`, float32 [B, 3, size, size], RGB in 0 .. 1, of any B; the person's crop where the run crops.
    Methods with a second view take it under its name: `whole`, or `context` (the whole image, the person's box gray,
    128 of 255). Outputs: `probabilities`, [B, E], of P(Y | do(X)), and where the method intervenes `strata`, [B, K, E],
    of P(Y | X, d). Names of emotions and strata, size and more stand in the file's metadata, as JSON under `emodo`.

    The file is compared with the run on real images, at batch 1, 3 and 8; the largest difference of a probability is
    told, and above 0.0001 nothing is written. fp16 and int8 are made from that graph; what they change is told.

    Args:
        run: A finished run.
        out: File to write; by default RUN/model.onnx, RUN/model-int8.onnx or RUN/model.pt2.
        format: onnx, or torch: a .pt2 file, which `torch.export.load` may unpickle, so load none from strangers.
        precision: Of the ONNX file: fp32, fp16 (half the size), or int8 (a quarter), calibrated on training rows.
        manifest: Images to compare on, and for int8 to calibrate on; by default the run's own manifest.
        split: Rows to compare on; `all` takes every row, and so does a manifest without splits.
        rows: How many of these rows, spread evenly, 8 or more; as many training rows calibrate int8.
        overwrite: Replace OUT where it exists.

    Returns:
        The file.

    Raises:
        InputError: The run is not finished or cannot be exported, OUT exists, there are no images to compare on, or the
            file would answer otherwise than the run.
    """
    if precision != "fp32" and format != "onnx":
        raise InputError(f"--precision {precision} is for --format onnx: leave it out, or export ONNX")
    if rows < max(BATCHES):
        raise InputError(f"--rows is {rows}: it must be {max(BATCHES)} or more, to compare batches of that size")
    if format == "onnx":
        _check_installed()
    run = Path(run)
    settings, task, method = runs.config(run), runs.task(run), runs.load_method(run)
    suffix = "" if precision == "fp32" else f"-{precision}"
    out = Path(out) if out else run / f"model{suffix}.{ENDINGS[format]}"
    if out.is_dir() or (out.exists() and not overwrite):
        raise InputError(f"{out} exists already: choose another OUT, or replace it with --overwrite")
    compared = _rows(settings, task, method, manifest, split, rows)
    inputs = _inputs(compared, settings, task, method)
    calibration = (
        _inputs(_rows(settings, task, method, manifest, "train", rows), settings, task, method)
        if precision == "int8"
        else []
    )
    expected = _answers(Recogniser(method, task.multilabel))(inputs)
    method.fold()  # what is compared with is the run as it was trained
    said = _metadata(run, settings, task, method, precision, strata=len(expected) > 1)

    with atomic(out) as temporary, tempfile.TemporaryDirectory() as folder:
        exact = temporary if precision == "fp32" else Path(folder) / "exact.onnx"
        with _failures(type(method).__name__, settings["backbone"], format):
            found = (_to_onnx if format == "onnx" else _to_torch)(Recogniser(method, task.multilabel), inputs, said)
        exact.write_bytes(found)
        answers = _session(exact) if format == "onnx" else _program(exact)
        differences = _differences(answers, inputs, expected)
        told = ", ".join(f"{difference:.1e} at batch {size}" for size, difference in differences.items())
        print(f"{run}: {len(inputs[0])} images, largest difference of a probability {told}", file=sys.stderr)
        if not max(differences.values()) <= TOLERANCE:
            raise InputError(
                f"{run} is not exported: the file's probabilities differ from the run's by {told}, more than "
                f"{TOLERANCE}"
            )
        if precision != "fp32":
            with _failures(type(method).__name__, settings["backbone"], precision):
                (_to_half if precision == "fp16" else _to_int8)(exact, temporary, method, calibration)
            _tell_change(precision, _session(temporary), inputs, expected, compared, task)
    return out


# ------------------------------------------------------------------------------------------- images


def _rows(
    settings: dict[str, Any], task: Task, method: Method, manifest: str | Path | None, split: str, rows: int
) -> pd.DataFrame:
    """Rows of the manifest whose split is `split`, `rows` of them at most, spread evenly."""
    from emodo import manifest as manifests
    from emodo.data import check_boxes, check_images
    from emodo.multilabel import check_single

    named = manifest or settings.get("manifest")
    if named is None:
        raise InputError("the run names no manifest, and the file is compared with it on real images: add --manifest")
    path = Path(named)
    frame = manifests.load(path, task.emotions)
    if "split" in frame and split != "all":
        frame = frame.loc[frame["split"] == split]
    if len(frame) < max(BATCHES):
        raise InputError(
            f"{path} has {len(frame)} rows whose split is {split!r}, and {max(BATCHES)} or more are needed: choose "
            "another --split, or `all`"
        )
    frame = frame.iloc[np.linspace(0, len(frame) - 1, min(rows, len(frame))).round().astype(int)]
    if not task.multilabel:
        check_single(frame, path, "the run recognises one a row")
    check_images(frame, path, settings["max_pixels"])
    if method.views:
        check_boxes(frame, path, type(method).__name__)
    return frame


def _inputs(frame: pd.DataFrame, settings: dict[str, Any], task: Task, method: Method) -> list[np.ndarray]:
    """The rows' images as the file takes them, [N, 3, S, S] float32 in 0 .. 1 for each view."""
    from emodo.data import Images, loader, to_device

    images = Images(
        frame,
        task,
        settings["size"],
        max_pixels=settings["max_pixels"],
        views=method.views,
        crop=settings.get("crop", True),
    )
    batches = [to_device(batch, torch.device("cpu")) for batch in loader(images, max(BATCHES))]
    return [
        np.concatenate([(getattr(batch, name).numpy() + 1) / 2 for batch in batches])
        for name in ("images", *method.views)
    ]


# ---------------------------------------------------------------------------------------- the file


def _check_installed() -> None:
    try:
        for name in ("onnx", "onnxscript", "onnxruntime"):
            import_module(name)
    except ImportError:
        raise InputError("--format onnx needs ONNX and onnxruntime: pip install 'emodo[onnx]'") from None


@contextlib.contextmanager
def _failures(method: str, backbone: str, what: str) -> Generator[None]:
    """One clear message in place of what the exporters raise, log and warn of, which is not the user's to mend."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        cause = error.__cause__ or error
        reason = next(iter(str(cause).strip().splitlines()), "")
        raise InputError(
            f"{method} on {backbone} cannot be exported as {what} ({type(cause).__name__}: {reason}): nothing is "
            "written"
        ) from error
    finally:
        logging.disable(before)


def _metadata(
    run: Path, settings: dict[str, Any], task: Task, method: Method, precision: Precision, strata: bool
) -> dict[str, Any]:
    """What a program needs to feed the file and to read its answers."""
    return {
        "version": __version__,
        "method": type(method).__name__,
        "backbone": settings["backbone"],
        "precision": precision,
        "emotions": list(task.emotions),
        "multilabel": task.multilabel,
        "confounder": task.confounder.column if strata and task.confounder else None,
        "strata": list(task.strata) if strata else [],
        "inputs": ["images", *method.views],
        "size": settings["size"],
        "resize": "bicubic, antialiased, to a square",
        "crop": settings.get("crop", True),
        "range": [0, 1],
        "mean": [0.0, 0.0, 0.0],  # left to do before the file: nothing, as it normalises by itself
        "std": [1.0, 1.0, 1.0],
        "weights_sha256": sha256(runs.weights_file(run)),
    }


def _example(inputs: Sequence[np.ndarray]) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """Two images of each view, and that their number is free; one axis gets the name, and the others equal it."""
    from torch.export import Dim

    free = tuple({0: Dim.AUTO if at else "batch"} for at in range(len(inputs)))
    return tuple(torch.from_numpy(view[:2]) for view in inputs), {"images": free}


def _to_onnx(network: Recogniser, inputs: Sequence[np.ndarray], said: dict[str, Any]) -> bytes:
    images, free = _example(inputs)
    outputs = ["probabilities", "strata"] if said["strata"] else ["probabilities"]
    program = torch.onnx.export(
        network,
        images,
        input_names=said["inputs"],
        output_names=outputs,
        dynamic_shapes=free,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # lines of code with their paths on this machine
    program.model.metadata_props[KEY] = json.dumps(said)
    return program.model_proto.SerializeToString()


def _to_torch(network: Recogniser, inputs: Sequence[np.ndarray], said: dict[str, Any]) -> bytes:
    from torch.export import Dim

    images, _ = _example(inputs)
    with torch.no_grad():
        program = torch.export.export(network, images, dynamic_shapes={"images": tuple({0: Dim.AUTO} for _ in images)})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # with paths on this machine
    stream = io.BytesIO()
    torch.export.save(program, stream, extra_files={KEY: json.dumps(said)})
    return stream.getvalue()


def _to_half(exact: Path, target: Path, method: Method, calibration: Sequence[np.ndarray]) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    target.write_bytes(convert_float_to_float16(onnx.load(exact), keep_io_types=True).SerializeToString())


def _to_int8(exact: Path, target: Path, method: Method, calibration: Sequence[np.ndarray]) -> None:
    from onnxruntime import quantization

    names = ("images", *method.views)

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.at = 0

        def get_next(self) -> dict[str, np.ndarray] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
            part = [view[self.at : self.at + max(BATCHES)] for view in calibration]
            self.at += max(BATCHES)
            return dict(zip(names, part, strict=True)) if len(part[0]) else None

    quantization.quantize_static(
        str(exact),
        str(target),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
    )


# ------------------------------------------------------------------------------------------ its answers


def _session(file: Path) -> Answers:
    """What onnxruntime makes of the file, on as many threads as PyTorch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [found.name for found in session.get_inputs()]
    return lambda images: [np.asarray(found) for found in session.run(None, dict(zip(names, images, strict=True)))]


def _program(file: Path) -> Answers:
    """What torch.export.load makes of a file that this process has just written."""
    with file.open("rb") as stream:
        return _answers(torch.export.load(io.BytesIO(stream.read())).module())


def _answers(network: Callable[..., tuple[Tensor, ...]]) -> Answers:
    def answers(images: Sequence[np.ndarray]) -> list[np.ndarray]:
        with torch.no_grad():
            return [found.numpy() for found in network(*map(torch.from_numpy, images))]

    return answers


def _differences(answers: Answers, inputs: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> dict[int, float]:
    """The largest difference of a probability at each size of `BATCHES`: of all images at the last, else of a few."""
    found: dict[int, float] = {}
    for size in BATCHES:
        n = len(inputs[0]) if size == BATCHES[-1] else 3 * size
        got = _in_batches(answers, [view[:n] for view in inputs], size)
        found[size] = max(float(np.abs(a - b[:n]).max()) for a, b in zip(got, expected, strict=True))
    return found


def _in_batches(answers: Answers, inputs: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    n = len(inputs[0])
    parts = [answers([view[at : at + size] for view in inputs]) for at in range(0, n, size)]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def _tell_change(
    precision: Precision,
    answers: Answers,
    inputs: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    frame: pd.DataFrame,
    task: Task,
) -> None:
    """Say what a smaller file costs: the scores before and after, and how far a probability moved."""
    from emodo.metrics import score

    got = _in_batches(answers, inputs, BATCHES[-1])
    name = "mean_average_precision" if task.multilabel else "accuracy"
    before, after = (score(_predicted(p[0], frame, task), task)[name] for p in (expected, got))
    moved = max(float(np.abs(a - b).max()) for a, b in zip(got, expected, strict=True))
    changed = int((got[0].argmax(axis=1) != expected[0].argmax(axis=1)).sum())
    print(
        f"{precision}: {name.replace('_', ' ')} {before:.4f} -> {after:.4f} on {len(frame)} images, {changed} of them "
        f"with another first emotion, largest difference of a probability {moved:.1e}",
        file=sys.stderr,
    )


def _predicted(probabilities: np.ndarray, frame: pd.DataFrame, task: Task) -> pd.DataFrame:
    """As much of the table of predictions as scores need; the order of p is that of the logits."""
    import pandas as pd

    table = frame[["path", "emotion"]].assign(stratum=pd.Series(None, frame.index, dtype="str"))
    table["predicted"] = np.array(task.emotions)[probabilities.argmax(axis=1)]
    return table.assign(**{f"logit:{emotion}": probabilities[:, i] for i, emotion in enumerate(task.emotions)})
