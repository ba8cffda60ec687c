"""`emodo import-official`: the checkpoints that IERN's authors released, as a run.

The release (donydchen/causal_emotion) saves each of its eight networks as a state dict of its own. Their names and
shapes are read here into `emodo.methods.IERN` with BatchNorm pooled over the strata, which is what the released code
tests with; nothing of that code is needed or run.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodo import __version__, runs, weights
from emodo.files import sha256
from emodo.records import Confounder, InputError, Task

if TYPE_CHECKING:
    from torch import Tensor

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")  # MixBasic's, in the order of the logits
STRATA = ("CK+", "MMI", "Oulu-CASIA")  # in the order of the centers; called as `emodo prepare mixbasic` calls them
SIZE, CHANNELS = 224, 512

# The file of each network, and which of IERN's parts go into it under which names: ours -> released.
_BLOCKS = tuple(
    (rf"{part}\.", f"conv_block.{i}.") for part, i in {"conv1": 0, "norm1": 1, "conv2": 3, "norm2": 4}.items()
)
NETWORKS: dict[str, tuple[tuple[str, str], ...]] = {
    "Base": (
        (r"^backbone\.backbone\.body\.model\.conv1\.", "0."),
        (r"^backbone\.backbone\.body\.model\.bn1\.", "1."),
        *((rf"^backbone\.backbone\.body\.model\.layer{i}\.", f"{i + 3}.") for i in (1, 2, 3, 4)),
        (r"^backbone\.projection\.", "8."),
    ),
    "EmoGen": ((r"^emotion_generator\.", "feat_encoder."), *_BLOCKS),
    "ConGen": ((r"^context_generator\.", "feat_encoder."), *_BLOCKS),
    "Recons": (
        (r"^reconstruction\.merge\.", "feat_decoder.0."),
        *((rf"^reconstruction\.blocks\.{i}\.", f"feat_decoder.{i + 1}.") for i in (0, 1, 2)),
        *_BLOCKS,
    ),
    "EmoDis": ((r"^emotion_discriminator\.", "model."),),
    "ConDis": ((r"^context_discriminator\.", "model."),),
    "Cnfnd": ((r"^centers$", "mem_tensors"),),
    "Cls": ((r"^classifier\.", "fc."),),
}
FILE = re.compile(r"(.+)_net_(\w+)\.pth")


def import_official(
    folder: str | Path,
    run: str | Path | None = None,
    epoch: str | None = None,
    emotions: list[str] | None = None,
    strata: list[str] | None = None,
    column: str = "source",
    overwrite: bool = False,
) -> Path:
    """emodo import-official pretrained_models/mixbasic/fold_bias100v1

    Make a run of the checkpoints that IERN's authors released, one file a network: EPOCH_net_Base.pth, _EmoGen,
    _ConGen, _Recons, _EmoDis, _ConDis, _Cnfnd and _Cls. It predicts what the released test path does: ResNet-50 at 224
    pixels, logits averaged over the strata, BatchNorm with one set of running statistics.

    The released test path shows the central 224 of 256 pixels of an aligned face, and emodo whole images. To see the
    same, give the manifest of its 256 x 256 images a box in every row: x1 16, y1 16, x2 240, y2 240.

    The files are read as tensors alone; one that asks for anything else is refused unread.

    Args:
        folder: The folder that holds the eight files.
        run: Folder to write, by default runs/IERN-FOLDER.
        epoch: What the files' names begin with, as 160 or latest; may be left out where there is one.
        emotions: Emotions in the order of the logits; by default those of MixBasic, in its order, the alphabet's.
        strata: Strata in the order of the centers; by default CK+, MMI and Oulu-CASIA, as MixBasic has them.
        column: Manifest column that holds the stratum.
        overwrite: Replace RUN where it exists.

    Returns:
        The run folder. It has weights and no training: `emodo evaluate RUN MANIFEST` predicts and scores.

    Raises:
        InputError: A file is missing, holds more than tensors, or does not fit; the number of emotions or strata is
            another than that of the names; RUN exists.
    """
    import torch

    from emodo.methods import IERN
    from emodo.networks import create_backbone

    folder = Path(folder)
    run = Path(run) if run else Path("runs") / f"IERN-{folder.resolve().name}"
    runs.ensure_absent(run, overwrite)
    files = _files(folder, epoch)
    states = {net: weights.state_dict(weights.read(file), file) for net, file in files.items()}
    named = _named("emotions", emotions or EMOTIONS, states["Cls"].get("fc.weight"), files["Cls"])
    known = _named("strata", strata or STRATA, states["Cnfnd"].get("mem_tensors"), files["Cnfnd"])
    task = Task(named, Confounder(column, known, (1 / len(known),) * len(known)))

    method = IERN(channels=CHANNELS, batchnorm="pooled")
    method.build(task, create_backbone("resnet50", SIZE, pretrained=False))
    wanted = method.state_dict()
    state: dict[str, Tensor] = {}
    for net, renamed in NETWORKS.items():
        state |= _fitted(wanted, states[net], renamed, files[net])
    with torch.no_grad():
        method.load_state_dict(state)

    provenance = {"emodo": __version__, "python": platform.python_version(), "torch": torch.__version__} | {
        f"{file.name}_sha256": sha256(file) for file in files.values()
    }
    runs.create(run, _config(method), task, provenance, overwrite, method)
    return run


def _files(folder: Path, epoch: str | None) -> dict[str, Path]:
    """The eight files of one epoch, by network."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder} of released checkpoints")
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        match = FILE.fullmatch(file.name)
        if match and match[2] in NETWORKS:
            found.setdefault(match[1], {})[match[2]] = file
    if not found:
        raise InputError(
            f"{folder} holds no released checkpoint: its files are called as 160_net_Base.pth, one for each of "
            f"{', '.join(NETWORKS)}"
        )
    if epoch is None and len(found) > 1:
        raise InputError(f"{folder} holds the epochs {', '.join(found)}: choose one with --epoch")
    chosen = epoch if epoch is not None else next(iter(found))
    if chosen not in found:
        raise InputError(f"{folder} holds no epoch {chosen!r}: it has {', '.join(found)}")
    missing = [f"{chosen}_net_{net}.pth" for net in NETWORKS if net not in found[chosen]]
    if missing:
        raise InputError(f"{folder} lacks {', '.join(missing)}: download all {len(NETWORKS)} files of the epoch")
    return {net: found[chosen][net] for net in NETWORKS}


def _named(what: str, names: list[str] | tuple[str, ...], tensor: Tensor | None, file: Path) -> tuple[str, ...]:
    """The names, of which there must be as many as the tensor has rows."""
    if len(set(names)) < len(names):
        raise InputError(f"--{what} names one of them twice: {' '.join(names)}")
    if tensor is not None and len(tensor) != len(names):
        raise InputError(
            f"{file} knows {len(tensor)} {what}, and {len(names)} are named ({', '.join(names)}): name them in its "
            f"order with --{what}"
        )
    return tuple(names)


def _fitted(
    wanted: dict[str, Tensor], state: dict[str, Tensor], renamed: tuple[tuple[str, str], ...], file: Path
) -> dict[str, Tensor]:
    """The tensors of one network under our names; raises InputError by the released ones where they do not fit."""
    found: dict[str, Tensor] = {}
    expected: set[str] = set()
    for ours, like in wanted.items():
        if not any(re.match(pattern, ours) for pattern, _ in renamed if pattern.startswith("^")):
            continue
        theirs = ours
        for pattern, name in renamed:
            theirs = re.sub(pattern, name, theirs)
        expected.add(theirs)
        if theirs not in state:
            if not theirs.endswith(weights.COUNTER):
                raise InputError(f"{file} is not the released network: it lacks {theirs}, {_shape(like)}")
            found[ours] = like
            continue
        pooled = ours.startswith("reconstruction.") and "running_" in ours  # [1, C] here, [C] there
        tensor, released = state[theirs], like[0] if pooled else like
        if tensor.shape != released.shape:
            raise InputError(
                f"{file} is not the released network: {theirs} is {_shape(tensor)} there, and {_shape(released)} in "
                f"IERN on a ResNet-50 with {CHANNELS} channels at 7 x 7"
            )
        found[ours] = tensor.view_as(like)
    further = sorted(name for name in set(state) - expected if not name.endswith(weights.COUNTER))
    if further:
        raise InputError(f"{file} is not the released network: it also holds {further[0]}, {_shape(state[further[0]])}")
    return found


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))


def _config(method: Any) -> dict[str, Any]:
    """What `emodo train` would have been told, as far as it is known; no manifest is, and no training follows."""
    return {
        "manifest": None,
        "method": {"class_path": "emodo.methods.IERN", "init_args": method.hyperparameters()},
        "backbone": "resnet50",
        "pretrained": False,
        "size": SIZE,
        "crop": True,
        "max_pixels": 50_000_000,
    }
