"""What a method keeps beside its weights: a number for each training row, and sums that agree in all processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


def row_buffer(module: nn.Module, name: str) -> None:
    """Give `module` a buffer for a number of each manifest row: empty until `begin` makes it, or a checkpoint is read.

    The number of rows is not known when networks are built, so the buffer takes the length of what is loaded.
    """
    module.register_buffer(name, torch.zeros(0))

    def take_length(target: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        if prefix + name in state:
            setattr(target, name, torch.zeros_like(state[prefix + name], device=getattr(target, name).device))

    module.register_load_state_dict_pre_hook(take_length)


def all_sum(values: Tensor) -> Tensor:
    """The sum over all processes; without several, the values themselves."""
    if several():
        values = values.clone()
        distributed.all_reduce(values)
    return values


def all_joined(values: Tensor) -> Tensor:
    """The values of all processes, [ranks * B, ...], of as many in each; without several, the values themselves."""
    if several():
        parts = [torch.empty_like(values) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, values.contiguous())
        values = torch.cat(parts)
    return values


def several() -> bool:
    """Whether this process trains together with others."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
