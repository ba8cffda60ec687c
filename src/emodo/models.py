"""Any emotion model as one function of images: a run of emodo, an ONNX file from anywhere, or a callable."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
import yaml
from torch import Tensor

from emodo import runs
from emodo.data import to_device
from emodo.inference import device_of, fold, softmax
from emodo.records import Batch, InputError, View
from emodo.styles import LUMA
from emodo.transforms import normalise

KEY = "emodo"  # of an ONNX file's metadata
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
SUM = 0.01  # what a row of probabilities may miss one by: those of int8 networks do not add up exactly


@dataclass(frozen=True)
class Model:
    """A model that answers for images, whatever made it.

    name: what tables call it. emotions: its labels, in the order of its outputs. function: RGB images, [B, 3, size,
    size] uint8, to logits or probabilities, [B, E], a tensor or an array; where `size` is None, it gets a list of B
    images, [3, H, W] each, as they were decoded. crop: whether a row with a box is cropped to it. views: what the
    function takes beside the images, by name, as `Batch` has it.
    """

    name: str
    emotions: tuple[str, ...]
    function: Callable[..., Any]
    size: int | None = None
    crop: bool = True
    views: tuple[View, ...] = ()

    def __post_init__(self) -> None:
        """Take any sequence of emotions, each once."""
        object.__setattr__(self, "emotions", tuple(self.emotions))
        if len(set(self.emotions)) < max(2, len(self.emotions)):
            raise InputError(f"{self.name}: {', '.join(self.emotions) or 'no emotion'}: name two or more, each once")

    def answers(self, views: Mapping[str, Tensor | list[Tensor]]) -> np.ndarray:
        """What the function says of B images, [B, E] float64; raises InputError where that is something else."""
        images, *others = views.values()
        found = self.function(images, **dict(zip(self.views, others, strict=True)))
        values = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found, np.float64)
        expected = (len(images), len(self.emotions))
        if values.shape != expected:
            raise InputError(
                f"{self.name} answers with {_shape(values.shape)} for {len(images)} images, and {_shape(expected)} was "
                f"expected: a number for each of {', '.join(self.emotions)}"
            )
        if not np.isfinite(values).all():
            raise InputError(f"{self.name} answers with numbers that are not finite")
        return values


def probabilities(answers: np.ndarray) -> np.ndarray:
    """Answers, [..., E], as probabilities: as they are where every row of them adds up to one, else their softmax."""
    total = answers.sum(axis=-1, keepdims=True)
    if answers.min() >= 0 and bool((np.abs(total - 1) <= SUM).all()):
        return answers / total
    return softmax(answers)


def of_run(run: Path, accelerator: str = "auto") -> Model:
    """The trained method of a run; raises InputError where it is not finished, or recognises several emotions a row."""
    settings, task = runs.config(run), runs.task(run)
    if task.multilabel:
        raise InputError(f"{run} recognises several emotions a row, and what is asked here takes one")
    method, device = runs.load_method(run), device_of(accelerator)
    fold(method, device)
    none = torch.empty(0)  # prediction asks for no label

    def function(images: Tensor, **views: Tensor) -> Tensor:
        seen = {name: normalise(view) for name, view in {"images": images, **views}.items()}
        batch = Batch(
            emotion=none,
            stratum=none,
            row=none,
            **{name: view.contiguous(memory_format=torch.channels_last) for name, view in seen.items()},
        )
        with torch.inference_mode():
            return method.predict(to_device(batch, device)).logits.float()

    return Model(str(run), task.emotions, function, settings["size"], settings.get("crop", True), method.views)


# ---------------------------------------------------------------------------------------------- ONNX


@dataclass(frozen=True)
class Preprocessing:
    """What happens to an image before an ONNX file sees it.

    size: side in pixels, of a square that the image is resized to (bicubic, antialiased). range: what black and white
    become. mean, std: subtracted and divided by afterwards, one number or one a channel, in the order of `channels`.
    crop: whether a row with a box is cropped to it.
    """

    size: int | None = None
    range: tuple[float, ...] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels: Literal["RGB", "BGR", "gray"] = "RGB"
    crop: bool = True

    def __call__(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] uint8 -> [B, C, S, S] float."""
        low, high = self.range
        seen = images.float()
        if self.channels == "BGR":
            seen = seen.flip(1)
        if self.channels == "gray":
            seen = (seen * seen.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
        mean, std = (seen.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (low + seen * ((high - low) / 255) - mean) / std


def of_onnx(
    file: Path, emotions: Sequence[str] | None = None, given: Mapping[str, Any] | None = None, name: str | None = None
) -> Model:
    """An ONNX file that takes images, [B, 3, H, W] or [B, H, W, 3] float (or one channel, gray), and gives [B, E].

    How images are prepared, and what the outputs stand for, is what the file's metadata says as JSON under the key
    `emodo`: `emotions`, the fields of `Preprocessing`, and `inputs` where it takes views beside the images. `emotions`
    and `given` come before that. The file runs on the CPU; B and the size may be fixed.

    Raises InputError where onnxruntime is not installed, the file is none of these, or something has to be named.
    """
    session = _session(file)
    said = _said(session, file)
    if said.get("multilabel"):
        raise InputError(f"{file} recognises several emotions a row, and what is asked here takes one")
    labels = emotions or said.get("emotions")
    if not isinstance(labels, Sequence) or isinstance(labels, str):
        raise InputError(
            f"{file} does not say which emotions its outputs are: name them in their order with --emotions"
        )
    known = Preprocessing.__dataclass_fields__
    settings = _checked(Preprocessing(), {key: value for key, value in said.items() if key in known}, f"{file}")
    settings = _checked(settings, given or {}, "--onnx")
    names, views = _inputs(session, file, said)
    layouts = {each: _layout(file, each, session.get_inputs()[at]) for at, each in enumerate(names)}
    channels, _, batch, side = layouts[names[0]]
    if channels == 1:
        settings = replace(settings, channels="gray")
    elif settings.channels == "gray":
        raise InputError(f"{file}: its input {names[0]!r} has 3 channels: channels is RGB or BGR, not gray")
    for label, values in (("mean", settings.mean), ("std", settings.std)):
        if len(values) not in (1, channels):
            raise InputError(
                f"{file}: {label} has {len(values)} numbers: give one, or one for each of {channels} channels"
            )
    size = side or settings.size
    if size is None:
        raise InputError(f"{file} takes images of any size: name the one it was trained on with --onnx size=224")
    if side and settings.size and side != settings.size:
        raise InputError(
            f"{file}: its input {names[0]!r} is {_shape(session.get_inputs()[0].shape)}, {side} pixels wide, and size "
            f"is {settings.size}"
        )
    output = _output(session, file, len(labels))

    def function(images: Tensor, **others: Tensor) -> np.ndarray:
        fed = {
            each: _arranged(settings(view), layouts[each][1], session.get_inputs()[at].type)
            for at, (each, view) in enumerate(zip(names, (images, *others.values()), strict=True))
        }
        parts = [
            _run(
                session,
                file,
                output,
                {each: view[at : at + (batch or len(images))] for each, view in fed.items()},
                batch,
            )
            for at in range(0, len(images), batch or len(images))
        ]
        return np.concatenate(parts)

    return Model(name or str(file), tuple(map(str, labels)), function, size, settings.crop, views)


def _session(file: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise InputError(f"{file} needs onnxruntime: pip install 'emodo[onnx]'") from None
    if not file.is_file():
        raise InputError(f"{file} is missing: no such file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # what it warns of is not the user's to mend
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception of its own for each way in which a file can be broken
        raise InputError(f"{file} cannot be read as ONNX ({_first_line(error)})") from None


def _said(session: Any, file: Path) -> dict[str, Any]:
    """What the file's metadata says; nothing where it is not from emodo."""
    text = session.get_modelmeta().custom_metadata_map.get(KEY, "{}")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"{file}: its metadata {KEY!r} is damaged ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"{file}: its metadata {KEY!r} is damaged: it holds no table of values")
    return cast("dict[str, Any]", found)


def _checked(settings: Preprocessing, given: Mapping[str, Any], where: str) -> Preprocessing:
    """The settings with what is given put in; text is read as YAML, `0.5,0.5,0.5` as three numbers."""
    known = Preprocessing.__dataclass_fields__
    for key, value in given.items():
        if key not in known:
            raise InputError(f"{where}: {key} is no setting of an ONNX file: there are {', '.join(known)}")
        if isinstance(value, str) and key != "channels":
            try:
                value = yaml.safe_load(f"[{value}]" if "," in value and "[" not in value else value)
            except yaml.YAMLError:
                value = None
        if key in ("range", "mean", "std"):
            listed = value if isinstance(value, list | tuple) else [value]
            good = bool(listed) and all(isinstance(each, int | float) and np.isfinite(each) for each in listed)
            good &= len(listed) == 2 if key == "range" else key == "mean" or 0 not in listed
            value, wanted = tuple(listed), "two numbers, as in 0,255" if key == "range" else "numbers, and std not 0"
        elif key == "size":
            good, wanted = isinstance(value, int) and value is not True and value > 0, "a number of pixels"
        elif key == "channels":
            good, wanted = value in ("RGB", "BGR", "gray"), "RGB, BGR or gray"
        else:
            good, wanted = isinstance(value, bool), "true or false"
        if not good:
            raise InputError(f"{where}: {key} is {given[key]!r}: it must be {wanted}")
        settings = replace(settings, **{key: value})
    return settings


def _inputs(session: Any, file: Path, said: Mapping[str, Any]) -> tuple[list[str], tuple[View, ...]]:
    """Names of the inputs, images first, and which views the others are."""
    found = [each.name for each in session.get_inputs()]
    named = said.get("inputs", found)
    views = named[1:]
    if named != found or not found or not set(views) <= {"whole", "context"}:
        shapes = ", ".join(f"{each.name!r} {_shape(each.shape)}" for each in session.get_inputs())
        raise InputError(f"{file} takes {shapes or 'nothing'}: expected one input, images as [B, 3, H, W]")
    return found, tuple(views)


def _layout(file: Path, name: str, found: Any) -> tuple[int, bool, int | None, int | None]:
    """Channels, whether they come last, the fixed batch, and the fixed side of an input, None where it is free."""
    shape = [each if isinstance(each, int) and each > 0 else None for each in found.shape]
    fits = len(shape) == 4 and found.type in TYPES
    last = fits and shape[1] not in (1, 3) and shape[3] in (1, 3)
    if not fits or not (last or shape[1] in (1, 3)):
        raise InputError(
            f"{file}: its input {name!r} is {found.type} {_shape(found.shape)}: expected floats, [B, 3, H, W] or "
            "[B, H, W, 3]"
        )
    batch, *sides = (shape[0], shape[1], shape[2]) if last else (shape[0], shape[2], shape[3])
    fixed = {side for side in sides if side is not None}
    if len(fixed) > 1:
        raise InputError(f"{file}: its input {name!r} is {_shape(found.shape)}: expected a square, H equal to W")
    return cast(int, shape[3] if last else shape[1]), last, batch, next(iter(fixed), None)


def _output(session: Any, file: Path, emotions: int) -> str:
    """The name of the output that holds [B, E]: `probabilities`, or the first with two axes."""
    found = session.get_outputs()
    able = [each for each in found if len(each.shape or ()) == 2]
    chosen = next((each for each in able if each.name == "probabilities"), able[0] if able else None)
    if chosen is None:
        shapes = ", ".join(f"{each.name!r} {_shape(each.shape or ())}" for each in found)
        raise InputError(f"{file} gives {shapes}: expected [B, E], a number for each emotion")
    width = chosen.shape[1]
    if isinstance(width, int) and width != emotions:
        raise InputError(
            f"{file}: its output {chosen.name!r} is {_shape(chosen.shape)}, and {emotions} emotions are named: name "
            f"{width}, in their order"
        )
    return chosen.name


def _arranged(images: Tensor, last: bool, kind: str) -> np.ndarray:
    """[B, C, S, S] float as the input takes it."""
    return (images.permute(0, 2, 3, 1) if last else images).contiguous().numpy().astype(TYPES[kind])


def _run(session: Any, file: Path, output: str, fed: dict[str, np.ndarray], batch: int | None) -> np.ndarray:
    """The output for some images; a batch of fixed size is filled up with the last one."""
    n = len(next(iter(fed.values())))
    if batch and n < batch:
        fed = {name: np.concatenate([view, view[-1:].repeat(batch - n, axis=0)]) for name, view in fed.items()}
    try:
        [found] = session.run([output], fed)
    except Exception as error:  # as in _session
        shapes = ", ".join(f"{name!r} {_shape(view.shape)}" for name, view in fed.items())
        raise InputError(f"{file} cannot take {shapes} ({_first_line(error)})") from None
    return found[:n]


def _shape(shape: Sequence[Any]) -> str:
    return "[" + ", ".join("?" if each is None else str(each) for each in shape) + "]"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
