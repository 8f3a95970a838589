"""How the tensors of many layers are one line of positions, gone through in chunks.

Positions are counted through the flattened layers in the mapping's order. That order breaks ties.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topograph.errors import TopographError

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]

#: Positions looked at in one go: the buffers of a chunk fit in a core's cache.
CHUNK = 1 << 18


@dataclass(frozen=True)
class Layer:
    """One layer's flattened weights, the flags of what may be drawn, its first global position."""

    name: str
    weights: Floats
    available: Flags | None
    first: int


def laid_out(weights: Mapping[str, Tensor], available: Mapping[str, Tensor] | None) -> list[Layer]:
    """Return the layers of checked tensors, flattened row by row, on the CPU.

    Raises
    ------
    TopographError
        If there is no layer, a value is no real tensor, or the flags do not fit.
    """
    if not isinstance(weights, Mapping) or not weights:
        raise TopographError(
            f"weights is {type(weights).__name__} of no layer; expected layer name -> tensor",
            'pass e.g. {"fc.weight": scores}',
        )
    layers, first = [], 0
    for name, weight in weights.items():
        if not isinstance(weight, Tensor):
            raise TopographError(
                f"weights[{name!r}] is a {type(weight).__name__}; expected a torch.Tensor",
                "pass one tensor a layer",
            )
        flags = None if available is None else _flags(available.get(name), name, weight.shape)
        flat = weight.detach().cpu()
        if flat.dtype not in (torch.float32, torch.float64):
            if flat.is_complex():
                raise TopographError(f"weights of {name!r} are complex", "pass real weights")
            flat = flat.to(torch.float32 if flat.is_floating_point() else torch.float64)
        constant = flat.dim() > 0 and flat.numel() > 1 and not any(flat.stride())
        array: Floats = (
            np.broadcast_to(flat.as_strided((1,), (1,)).numpy(), (flat.numel(),))
            if constant
            else flat.contiguous().view(-1).numpy()
        )
        layers.append(Layer(name, array, flags, first))
        first += flat.numel()
    return layers


def _flags(flags: object, name: str, shape: torch.Size) -> Flags:
    if not isinstance(flags, Tensor) or flags.dtype != torch.bool or flags.shape != shape:
        have = (
            f"{flags.dtype} of shape {tuple(flags.shape)}"
            if isinstance(flags, Tensor)
            else f"{type(flags).__name__}"
        )
        raise TopographError(
            f"available[{name!r}] is {have}; expected torch.bool of shape {tuple(shape)}",
            "pass one bool tensor a layer, e.g. ~masks[name]",
        )
    array: Flags = flags.detach().cpu().contiguous().view(-1).numpy()
    return array


def chunks(layers: list[Layer]) -> Iterator[tuple[Layer, int, Floats, Flags | None]]:
    """Yield layer, start in the layer, weights and flags of one chunk after the other."""
    for layer in layers:
        for start in range(0, layer.weights.size, CHUNK):
            part = slice(start, start + CHUNK)
            free = None if layer.available is None else layer.available[part]
            yield layer, start, layer.weights[part], free


def counted(layers: list[Layer]) -> tuple[int, int]:
    """Return how many positions may be drawn, and how many of them have a positive weight."""
    drawable = positive = 0
    for layer, _, weight, free in chunks(layers):
        least, most = weight.min(), weight.max()
        # Written so that NaN, which compares false with everything, is refused.
        if not (least >= 0 and most < np.inf):
            raise TopographError(
                f"weights of {layer.name!r} reach from {least} to {most}; "
                "expected finite, nonnegative numbers",
                "look for NaN or infinity in the model's weights",
            )
        drawable += weight.size if free is None else int(np.count_nonzero(free))
        if most > 0:
            flags = weight > 0
            positive += int(np.count_nonzero(flags if free is None else flags & free))
    return drawable, positive


def by_layer(layers: list[Layer], positions: NDArray[np.int64]) -> dict[str, Tensor]:
    """Return ascending positions as flat indices in their layers, by layer name."""
    ends = np.searchsorted(positions, [layer.first + layer.weights.size for layer in layers])
    parts = np.split(positions, ends[:-1])
    return {
        layer.name: torch.from_numpy(part - layer.first)
        for layer, part in zip(layers, parts, strict=True)
    }


def running(weight: Floats, free: Flags | None, level: bool) -> Flags:
    """Return the positions to choose among: of weight 0 if ``level``, else of positive weight."""
    flags: Flags = weight == 0 if level else weight > 0
    return flags if free is None else flags & free
