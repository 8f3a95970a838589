"""How a network's state is written as a safetensors file, and read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pwmpr import files
from topograph.errors import TopographError


def write_state(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a state dict, all or nothing; tensors that share memory are written one by one."""
    seen: set[int] = set()
    alone = {}
    for name, value in state.items():
        value = value.detach().cpu().contiguous()
        pointer = value.untyped_storage().data_ptr()
        alone[name] = value.clone() if pointer in seen else value
        seen.add(pointer)
    files.write(path, save(alone))


def read_state(path: Path) -> dict[str, Tensor]:
    """Return a state dict.

    Raises
    ------
    TopographError
        If the file is missing or damaged.
    """
    try:
        state: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TopographError(
            f"{path} cannot be read ({error})", "restore the file, or start the run again"
        ) from None
    return state


def compress(state: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state whose masked weights are vectors of their kept values, in flat order."""
    short = {}
    for name, value in state.items():
        value = value.detach().cpu()
        short[name] = value[masks[name]] if name in masks else value.contiguous().clone()
    return short


def expand(state: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state that `compress` took, masked weights with their zeros."""
    whole = {}
    for name, value in state.items():
        if name in masks:
            mask = masks[name]
            whole[name] = torch.zeros(mask.shape, dtype=value.dtype).masked_scatter_(mask, value)
        else:
            whole[name] = value
    return whole
