"""Files in the formats in which the Places365 project and GloVe release theirs, for generated scenes."""

from __future__ import annotations

import pickle
import types
from collections import OrderedDict
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from emodo.synthetic.scenes import SCENES

GROUPS = {
    "leisure": ("park", "amusement_park", "gymnasium/indoor"),
    "nature": ("beach", "mountain_snowy"),
    "home": ("kitchen", "living_room"),
    "work": ("office", "classroom", "hospital_room"),
    "town": ("street", "cemetery"),
}
"""What the generated scenes have in common, as the word vectors below say it."""


def group(scene: str) -> str:
    return next(name for name, scenes in GROUPS.items() if scene in scenes)


def setting(scene: str) -> str:
    return "indoor" if list(SCENES).index(scene) % 2 else "outdoor"


class Python2Pickler(pickle._Pickler):
    """Text as Python 2 wrote it, and tensors as PyTorch 0.2 did."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, text: str) -> None:
        data = text.encode("latin1")
        self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        self.memoize(text)

    dispatch[str] = save_text

    def reducer_override(self, value: object) -> object:
        if not isinstance(value, torch.Tensor):
            return NotImplemented
        storage = (value._typed_storage(), value.storage_offset(), tuple(value.size()), value.stride())
        return torch._utils._rebuild_tensor, storage


def checkpoint(file: Path, net: torch.nn.Module, arch: str) -> Path:
    """A network as `resnet18_places365.pth.tar` holds one: no zip, no tar, of a GPU, without num_batches_tracked."""
    state = OrderedDict(
        (f"module.{name}", value) for name, value in net.state_dict().items() if "num_batches" not in name
    )
    python2 = types.SimpleNamespace(
        __name__="python2",
        Pickler=Python2Pickler,
        dump=lambda what, to, protocol: Python2Pickler(to, protocol).dump(what),
    )
    content = {"epoch": 90, "arch": arch, "state_dict": state, "best_prec1": 54.2}
    torch.save(content, file, pickle_module=python2, _use_new_zipfile_serialization=False)
    written = file.read_bytes().replace(b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n")
    file.write_bytes(written.replace(b"U\x03cpu", b"U\x06cuda:0"))
    return file


def numbered(file: Path, numbers: dict[str, int]) -> Path:
    """`/a/airfield 0`, a line a scene, without a newline at the end."""
    file.write_text("\n".join(f"/{scene[0]}/{scene} {number}" for scene, number in numbers.items()), encoding="ascii")
    return file


def categories(file: Path, scenes: tuple[str, ...] = tuple(SCENES)) -> Path:
    return numbered(file, {scene: number for number, scene in enumerate(scenes)})


def inside_or_out(file: Path, scenes: tuple[str, ...] = tuple(SCENES)) -> Path:
    return numbered(file, {scene: 1 if setting(scene) == "indoor" else 2 for scene in scenes})


def glove(file: Path, vectors: dict[str, np.ndarray]) -> Path:
    lines = [" ".join([word, *(f"{value:.6g}" for value in vector)]) for word, vector in vectors.items()]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def meanings() -> dict[str, np.ndarray]:
    """A word means the groups of the scenes in whose names it is, on an axis each, and itself, a little."""
    found: dict[str, np.ndarray] = {"the": np.full(8, 0.1), ". . .": np.full(8, 0.2)}
    names = sorted({word for scene in SCENES for word in scene.replace("/", "_").split("_")})
    for number, word in enumerate(names):
        of = [list(GROUPS).index(group(scene)) for scene in SCENES if word in scene.replace("/", "_").split("_")]
        found[word] = np.bincount(of, minlength=8) / len(of) + 0.02 * np.cos(np.arange(8) * number)
    return found
