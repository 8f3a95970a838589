"""The one form in which every weighted operator is the same.

All of them are brought to one: ``result[g, r, p] = Σ_c Σ_t weight[g, r, c, t] · signal[g, c, q]``
with q the place of the signal that tap t reads for place p of the result. g are the operator's
groups (of a grouped convolution; of a batch of matrices), r its rows and c its columns within a
group, p and q positions. Linear layers have one tap and p = q.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from topograph.capturing.trace import place_of, shape_of
from topograph.capturing.weights import Operator, packet
from topograph.errors import TopographError


def argument(node: fx.Node, name: str) -> Any:
    """Return an argument of an operator by its name in the operator's schema."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    for position, entry in enumerate(schema):
        if entry.name == name:
            if name in node.kwargs:
                return node.kwargs[name]
            return node.args[position] if position < len(node.args) else entry.default_value
    raise KeyError(name)


class Form:
    """How one weighted operator's weight, signal and result lie in the common form.

    Parameters
    ----------
    node
        The operator's node.
    kind
        As in :class:`~topograph.capturing.weights.Operator`.
    signal, operand
        The nodes of the activation and of the weight as the operator takes it.

    Attributes
    ----------
    groups, rows, columns, taps
        Sizes of the weight in the common form; rows and columns are those of one group.
    """

    def __init__(self, node: fx.Node, kind: str, signal: fx.Node, operand: fx.Node) -> None:
        if packet(node) is torch.ops.aten.convolution and argument(node, "transposed"):
            kind = "conv_transpose"
        self.node, self.kind = node, kind
        self.signal_shape, self.shape = shape_of(signal), shape_of(node)
        self.weight_shape = shape_of(operand)
        self.from_right = kind in ("addmm", "matmul") and _position(node, signal) > _position(
            node, operand
        )
        self.groups = self._groups()
        size = self.weight(torch.empty(self.weight_shape, device="meta")).shape
        self.rows, self.columns, self.taps = (int(n) for n in size[1:])

    @classmethod
    def of(cls, op: Operator) -> Form:
        """Return the form of a use of a weight."""
        return cls(op.node, op.kind, op.signal, op.operand)

    def _groups(self) -> int:
        if self.kind in ("conv", "conv_transpose"):
            return int(argument(self.node, "groups"))
        if self.kind == "matmul":
            batch = self.weight_shape[:-2]
            groups = math.prod(batch)
            if groups > 1 and self.shape[: len(self.shape) - 2][-len(batch) :] != batch:
                raise TopographError(
                    f"{place_of(self.node)} broadcasts a batch of {groups} weights over its "
                    "signal, which has no rule",
                    "write the product with torch.matmul on tensors of equal batch size",
                )
            return groups
        return 1

    def weight(self, operand: Tensor) -> Tensor:
        """Return the weight, as the operator takes it, as (groups, rows, columns, taps)."""
        g = self.groups
        if self.kind == "linear":
            return operand.reshape(1, -1, operand.shape[-1], 1)
        if self.kind == "embedding":
            return operand.t()[None, :, :, None]
        if self.kind == "conv":
            return operand.reshape(g, operand.shape[0] // g, operand.shape[1], -1)
        if self.kind == "conv_transpose":
            inner = operand.reshape(g, operand.shape[0] // g, operand.shape[1], -1)
            return inner.transpose(1, 2)
        if operand.dim() == 1:
            return operand.reshape(1, 1, -1, 1)
        matrices = operand.reshape(g, *operand.shape[-2:])
        return (matrices if self.from_right else matrices.transpose(1, 2))[..., None]

    def signal(self, tensor: Tensor) -> Tensor:
        """Return a tensor of the signal's shape as (groups, columns, positions)."""
        return self._arranged(tensor, self.columns)

    def result(self, tensor: Tensor) -> Tensor:
        """Return a tensor of the result's shape as (groups, rows, positions)."""
        return self._arranged(tensor, self.rows)

    def _arranged(self, tensor: Tensor, features: int) -> Tensor:
        g = self.groups
        if self.kind in ("conv", "conv_transpose"):
            return tensor.reshape(g, features, -1)
        if self.kind in ("linear", "embedding"):
            return tensor.reshape(-1, features).t()[None]
        if self.from_right and len(self.signal_shape) > 1:
            parts = tensor.reshape(-1, g, features, tensor.shape[-1])
            return parts.permute(1, 2, 0, 3).reshape(g, features, -1)
        inner = tensor.shape[-2] if g > 1 else 1
        parts = tensor.reshape(-1, g, inner, features)
        return parts.permute(1, 3, 0, 2).reshape(g, features, -1)

    def position_axes(self, dims: int) -> list[int]:
        """Return axes of a signal of ``dims`` axes along which only the position changes."""
        if self.kind in ("conv", "conv_transpose"):
            return list(range(dims - len(self.weight_shape) + 2, dims))
        if self.groups == 1 and not self.from_right:
            return list(range(dims - 1))
        return []

    def by_row(self, values: Tensor) -> Tensor:
        """Return values by row (groups * rows,) in the result's shape, mostly with stride 0."""
        shape = self.shape
        if self.kind in ("conv", "conv_transpose"):
            spatial = len(self.weight_shape) - 2
            return values.reshape(-1, *[1] * spatial).expand(*shape)
        if len(values) == 1:
            return values.reshape(()).expand(*shape)
        if self.kind in ("linear", "embedding") or (self.groups == 1 and not self.from_right):
            return values.expand(*shape)
        places = self.result(torch.arange(math.prod(shape)).reshape(shape))
        flat = torch.empty(math.prod(shape), dtype=values.dtype)
        flat[places.reshape(-1)] = values.repeat_interleave(places.shape[-1])
        return flat.reshape(shape)

    def places(self) -> np.ndarray:
        """Return which place of the signal each tap reads for each place of the result.

        Returns
        -------
        numpy.ndarray
            int64 (taps, positions of the result); -1 where a tap reads padding.
        """
        if self.kind not in ("conv", "conv_transpose"):
            return np.arange(math.prod(self.shape) // (self.groups * self.rows))[None]
        spatial = len(self.weight_shape) - 2
        sizes, results = self.signal_shape[-spatial:], self.shape[-spatial:]
        kernel = self.weight_shape[2:]
        stride = _each(argument(self.node, "stride"), spatial)
        dilation = _each(argument(self.node, "dilation"), spatial)
        padding = self._padding(kernel, dilation)
        table = np.zeros((1, 1), np.int64)
        missing = np.zeros((1, 1), bool)
        for axis in range(spatial):
            tap = np.arange(kernel[axis])[:, None] * dilation[axis]
            place = np.arange(results[axis])[None]
            if self.kind == "conv":
                read = place * stride[axis] - padding[axis] + tap
                absent = (read < 0) | (read >= sizes[axis])
            else:
                scaled = place + padding[axis] - tap
                read = scaled // stride[axis]
                absent = (scaled % stride[axis] != 0) | (read < 0) | (read >= sizes[axis])
            table = _crossed(table * sizes[axis], read)
            missing = _crossed(missing, absent)
        return np.where(missing, -1, table)

    def _padding(self, kernel: tuple[int, ...], dilation: list[int]) -> list[int]:
        padding = argument(self.node, "padding")
        if padding == "valid":
            return [0] * len(kernel)
        if padding == "same":  # the odd one out is added at the end
            return [d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True)]
        return _each(padding, len(kernel))


def _crossed(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return outer + inner (or their logical or) for all pairs, with both axes flattened."""
    crossed = outer[:, None, :, None] + inner[None, :, None, :]
    return crossed.reshape(outer.shape[0] * inner.shape[0], outer.shape[1] * inner.shape[1])


def _position(node: fx.Node, operand: fx.Node) -> int:
    return next((i for i, given in enumerate(node.args) if given is operand), -1)


def _each(value: Any, n: int) -> list[int]:
    numbers = [int(v) for v in (value if isinstance(value, (tuple, list)) else [value])]
    return list(itertools.islice(itertools.cycle(numbers), n))
