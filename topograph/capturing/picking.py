"""What is read where the input itself decides which elements are: the mean of all it may choose.

As with a maximum, which is taken as a mean, the choice is no path, and every element that might
have been chosen counts the same. Which axes are chosen along stands in the operator's arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from topograph.capturing.opaque import Opaque
from topograph.capturing.rules import Call
from topograph.capturing.trace import Trace, shape_of
from topograph.capturing.vocabulary import packets
from topograph.capturing.weights import packet

aten = torch.ops.aten

#: Operators that read elements of the first argument by an index.
PICKING = packets("index index_select gather take_along_dim")


def picks(trace: Trace, node: fx.Node) -> bool:
    """Whether a node reads an operand at whole numbers that depend on the input."""
    indices = [n for n in node.all_input_nodes[1:] if trace.varies(n)]
    return (
        packet(node) in PICKING
        and bool(indices)
        and node.args[0] not in indices
        and all(n.meta["val"].dtype in (torch.int64, torch.int32) for n in indices)
    )


@dataclass(frozen=True)
class Picked(Opaque):
    """Elements are read where the input says."""

    reason: str = "which elements are read depends on the input"

    def __call__(self, call: Call, tensor: Tensor) -> Tensor:
        """Return the mean of all that an index may choose, for every place of the index."""
        return at_first(call, tensor.mean(picked_axes(call), keepdim=True))


def picked_axes(call: Call) -> list[int]:
    """Return the axes of the operand along which the input decides what is read."""
    varies = call.binding.trace.varies
    if packet(call.node) is not aten.index:
        return [int(call["dim"])]
    listed: Any = call.node.args[1]
    return [axis for axis, index in enumerate(listed) if varies(index)]


def at_first(call: Call, tensor: Tensor) -> Tensor:
    """Run the operator with 0 for every index that depends on the input."""

    def one(node: fx.Node) -> Any:
        if call.binding.trace.varies(node):
            return torch.zeros(shape_of(node), dtype=torch.int64, device=tensor.device)
        value = call.binding.value(node)
        return value.to(tensor.device) if isinstance(value, Tensor) else value

    target: Any = call.node.target
    rest: Any = fx.map_arg(call.node.args[1:], one)
    keywords: Any = fx.map_arg(call.node.kwargs, one)
    result: Tensor = target(tensor, *rest, **keywords)
    return result
