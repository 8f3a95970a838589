"""Which node every element of an activation reads, and how strongly.

Invariant: an activation is followed as a :class:`Signal` of its own shape. ``ids`` holds one more
than the number of the node that an element reads, 0 where it reads none (padding, constants);
``gain`` holds the constant factors met since that node. An operator that only moves elements is
run itself on both tensors, so no rule about shapes is ever written down twice, and what pads with
zeros pads with "reads nothing".

Tensors that do not change along an axis have stride 0 there: a convolution's output costs as many
numbers as it has channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Signal:
    """What the elements of an activation read.

    Attributes
    ----------
    ids
        int64 of the activation's shape: the node that each element reads plus 1, or 0.
    gain
        float64 of the same shape, at least 0, or None where it is 1 everywhere.
    spread
        Axes along which one element was broadcast: the copies are one value, not one node read at
        several positions.
    """

    ids: Tensor
    gain: Tensor | None = None
    spread: frozenset[int] = frozenset()

    @property
    def shape(self) -> tuple[int, ...]:
        """The activation's shape."""
        return tuple(self.ids.shape)

    @property
    def gains(self) -> Tensor:
        """The gain, written out."""
        if self.gain is None:
            return torch.ones((), dtype=torch.float64).expand(self.ids.shape)
        return self.gain

    def expand(self, shape: Sequence[int]) -> Signal:
        """Return the signal broadcast to a shape."""
        if tuple(shape) == self.shape:
            return self
        added = len(shape) - len(self.shape)
        spread = {axis + added for axis in self.spread} | {
            axis
            for axis, size in enumerate(shape)
            if size > 1 and (axis < added or self.shape[axis - added] == 1)
        }
        return Signal(
            self.ids.expand(*shape),
            None if self.gain is None else self.gain.expand(*shape),
            frozenset(spread),
        )

    def times(self, factor: Tensor) -> Signal:
        """Return the signal with another gain on top, broadcast to the signal's shape."""
        gain = factor if self.gain is None else self.gain * factor
        return Signal(self.ids, gain.expand(self.ids.shape), self.spread)

    def moved(self, function: Callable[[Tensor], Any]) -> Signal | tuple[Signal, ...]:
        """Return what an operator that only moves elements makes of the signal."""
        ids = on_ids(function, self.ids)
        gain = None if self.gain is None else function(self.gain)
        if isinstance(ids, Tensor):
            return Signal(ids, gain)
        gains = [None] * len(ids) if gain is None else gain
        return tuple(Signal(i, g) for i, g in zip(ids, gains, strict=True))


def on_ids(function: Callable[[Tensor], Any], ids: Tensor) -> Any:
    """Run a function on ids, as floats where it takes no integers (exact below 2**53)."""
    try:
        return function(ids)
    except (RuntimeError, NotImplementedError):
        result = function(ids.double())
    if isinstance(result, Tensor):
        return result.long()
    return tuple(part.long() for part in result)


def constant_axes(*tensors: Tensor) -> list[int]:
    """Return the axes along which no tensor changes (by stride; all are of one shape).

    Examples
    --------
    >>> constant_axes(torch.arange(3)[:, None].expand(3, 4))
    [1]
    """
    first = tensors[0]
    return [
        axis
        for axis in range(first.dim())
        if first.shape[axis] > 1 and all(tensor.stride(axis) == 0 for tensor in tensors)
    ]


def narrowed(tensor: Tensor, axes: Sequence[int]) -> Tensor:
    """Return the tensor with only the first entry along ``axes``."""
    for axis in axes:
        tensor = tensor.narrow(axis, 0, 1)
    return tensor


def uniform_along(ids: Tensor, axis: int) -> bool:
    """Whether along an axis all ids but 0 are the same in every line."""
    if ids.shape[axis] == 1 or ids.stride(axis) == 0:
        return True
    ids = narrowed(ids, constant_axes(ids))
    return bool((single(ids, axis) >= 0).all())


def single(ids: Tensor, axis: int) -> Tensor:
    """Return each line's only id (0 where it has none), or -1 where it has several."""
    top = ids.amax(axis)
    low = torch.where(ids > 0, ids, torch.iinfo(torch.int64).max).amin(axis)
    return torch.where((top == low) | (top == 0), top, -1)


def distinct_along(ids: Tensor, axis: int) -> bool:
    """Whether some line along an axis has a different id, and none 0, at every place."""
    if ids.shape[axis] > 1 and ids.stride(axis) == 0:
        return False
    lines = narrowed(ids, constant_axes(ids)).movedim(axis, -1).sort(-1).values
    different = (lines[..., 1:] != lines[..., :-1]).all(-1) & (lines[..., 0] > 0)
    return bool(different.any())
