"""Weights that somebody else has written: read without running anything in them, and fitted to a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodo.records import InputError

if TYPE_CHECKING:  # `emodo --help` need not wait for torch
    from torch import Tensor, nn

COUNTER = "num_batches_tracked"  # of BatchNorm, since PyTorch 0.4.1; older files lack it, and evaluation needs it not


def read(file: Path) -> dict[str, Any]:
    """Read a .safetensors file, or a file of torch.save that holds tensors, numbers and names only.

    The `.pth.tar` files of the Places365 project are the second kind, no tar archives: written by Python 2 and PyTorch
    0.2, with tensors of a GPU, they need no class beyond those that `weights_only` allows, and arrive on the CPU.

    Raises:
        InputError: There is no such file, it cannot be read without running code of it, or holds no names.
    """
    import torch
    from safetensors.torch import load_file

    if not file.is_file():
        raise InputError(f"there is no file {file} to read pretrained weights from")
    try:
        # weights_only refuses whatever would run code on loading
        found: Any = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # torch.load raises a dozen kinds on a damaged file
        asked = re.search(r"GLOBAL (\S+) (was not an allowed global|whose module)", str(error))
        raise InputError(
            f"{file} holds no readable weights ({f'it asks for {asked[1]}' if asked else type(error).__name__}): it "
            "has to be a .safetensors file, or a .pth file of plain tensors, which alone is unpickled"
            + ("; a whole network is one once its state dict has been saved with torch.save" if asked else "")
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"{file} holds no state dict, names with their tensors")
    return found


def state_dict(found: dict[str, Any], file: Path) -> dict[str, Tensor]:
    """The tensors by their names in what `read` gave, plain or under `state_dict`; DataParallel's `module.` is dropped.

    Raises InputError where `state_dict` is no dict.
    """
    import torch

    state = found.get("state_dict", found)
    if not isinstance(state, dict):
        raise InputError(f"{file} holds no state dict, names with their tensors")
    return {str(key).removeprefix("module."): value for key, value in state.items() if isinstance(value, torch.Tensor)}


def fit(module: nn.Module, state: dict[str, Tensor], file: Path, what: str = "the backbone") -> None:
    """Load `state` into a module; what the module has no place for is left aside, and the `COUNTER` may be missing.

    Raises InputError where any other tensor is missing or of another shape.
    """
    wanted = module.state_dict()
    kept = {key for key in wanted if key.endswith(COUNTER) and key not in state}
    missing = [key for key in wanted if key not in kept and (key not in state or state[key].shape != wanted[key].shape)]
    if missing:
        raise InputError(
            f"{file} does not fit {what}: {len(missing)} of {len(wanted)} tensors are missing or "
            f"of another shape, the first is {missing[0]}"
        )
    module.load_state_dict({key: wanted[key] if key in kept else state[key] for key in wanted})


def fingerprint(module: nn.Module) -> str:
    """The sha256 of a module's weights, names and shapes included, whatever file they came from."""
    import hashlib

    import torch

    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        digest.update(f"{key} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
