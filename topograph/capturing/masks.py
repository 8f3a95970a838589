"""Which masks a model is given or carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from topograph.errors import TopographError


def check_mask(mask: object, name: str, shape: tuple[int, ...]) -> Tensor:
    """Return ``mask`` as a bool tensor of ``shape``."""
    if not isinstance(mask, Tensor):
        raise TopographError(
            f'the mask of "{name}" is a {type(mask).__name__}; expected a bool tensor',
            "pass a torch tensor of the parameter's shape",
        )
    if tuple(mask.shape) != shape:
        raise TopographError(
            f'the mask of "{name}" has shape {tuple(mask.shape)}; expected {shape}',
            "make the mask of the parameter's own shape",
        )
    if mask.dtype == torch.bool:
        return mask
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise TopographError(
            f'the mask of "{name}" holds values other than 0 and 1',
            "pass a bool tensor, True where the weight is kept",
        )
    return mask.bool()


def found_masks(model: nn.Module, weights: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return the masks that a model carries, by parameter name.

    Found are the buffers of ``torch.nn.utils.prune`` and a ``mask`` buffer of a parametrisation.
    ``weights`` gives the values of those that are named there.
    """
    given: Mapping[str, Tensor] = {} if weights is None else weights
    masks: dict[str, Tensor] = {}
    for prefix, module in model.named_modules():
        path = f"{prefix}." if prefix else ""
        for name, buffer in module.named_buffers(recurse=False):
            base = name.removesuffix("_mask")
            if base != name and base + "_orig" in module._parameters:
                masks[path + base] = _held(given, path + name, buffer)
        if parametrize.is_parametrized(module):
            table: Any = module.parametrizations
            for base, chain in table.items():
                for number, part in enumerate(chain):
                    mask = getattr(part, "mask", None)
                    if isinstance(mask, Tensor):
                        stored = f"{path}parametrizations.{base}.{number}.mask"
                        masks[path + base] = _held(given, stored, mask)
    return masks


def _held(given: Mapping[str, Tensor], name: str, mask: Tensor) -> Tensor:
    return given.get(name, mask).bool()
