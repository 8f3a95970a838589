"""Operators of which it is not known, or depends on the data, what reads what.

Whatever an element may depend on counts the same: a uniform average, as attention is treated. So
every connection that there may be is in the graph, each row of weights adds up to 1, and coverage
names the operator with its reason. As in :mod:`topograph.capturing.rules`, every rule is linear
with coefficients of at least 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from topograph.capturing.rules import Call
from topograph.capturing.steps import Fact
from topograph.capturing.trace import shape_of
from topograph.capturing.vocabulary import packets
from topograph.capturing.weights import packet

if TYPE_CHECKING:
    from topograph.capturing.planning import Planner

aten = torch.ops.aten

#: Of these, elements of a line along an axis are put in another order, combined, or chosen among.
ALONG = packets(
    "sort msort topk cumsum cumprod cummax cummin _cummax_helper logcumsumexp fft_fft fft_ifft"
    " fft_rfft fft_irfft fft_hfft fft_ihfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn"
    " fft_ifftn fft_rfftn fft_irfftn _fft_c2c _fft_r2c _fft_c2r kthvalue median nanmedian mode"
    " quantile nanquantile prod logsumexp aminmax"
)

#: Elements are read at places that a grid says.
SAMPLING = packets("grid_sampler grid_sampler_2d grid_sampler_3d grid_sample")

#: Elements are read at the places that an index says.
INDEXING = packets("index gather index_select take_along_dim")

#: Elements are written or added to the places that an index says.
WRITING = packets(
    "index_add scatter_add scatter scatter_reduce index_put _unsafe_index_put index_copy"
    " _index_put_impl"
)

_ADDING = packets("index_add scatter_add")


class Opaque:
    """A rule that coverage lists, with the reason."""

    reason: str


@dataclass(frozen=True)
class All(Opaque):
    """Every element of the result may depend on every element of all operands."""

    reason: str = "no rule for how paths run through it"

    def __call__(self, call: Call, *tensors: Tensor) -> Tensor:
        """Return the mean of all elements, everywhere."""
        count = sum(tensor.numel() for tensor in tensors)
        total = tensors[0].new_zeros(())
        for tensor in tensors:
            total = total + tensor.sum()
        return (total / max(1, count)).expand(shape_of(call.node))


@dataclass(frozen=True)
class Each(Opaque):
    """An element of the result depends on the elements of the operands in the same place."""

    reason: str

    def __call__(self, call: Call, *tensors: Tensor) -> Tensor:
        """Return the sum of the operands."""
        shape = shape_of(call.node)
        total = tensors[0].expand(shape)
        for tensor in tensors[1:]:
            total = total + tensor.expand(shape)
        return total


@dataclass(frozen=True)
class Even(Opaque):
    """An element of the result may depend on all elements of its line along some axes.

    Parameters
    ----------
    axes
        Of the operand.
    reason
        For coverage.
    indexed
        Whether the operator picks elements by index, rather than making new ones along the axes.
    """

    axes: tuple[int, ...]
    reason: str
    indexed: bool = False

    def __call__(self, call: Call, tensor: Tensor) -> Tensor:
        """Return the means along the axes, in the result's shape."""
        return self.placed(call, tensor.mean(self.axes, keepdim=True))

    def placed(self, call: Call, means: Tensor) -> Tensor:
        """Return means, of size 1 along the axes, where the result has them."""
        shape = shape_of(call.node)
        if self.indexed:
            first: Tensor = call.node.target(means, *_at_first(call.node.args[1:]))  # type: ignore
            return first
        return means.expand(shape) if means.dim() == len(shape) else means.reshape(shape)

    def own(self, call: Call, dims: int) -> bool:
        """Whether the result has elements of its own along the axes."""
        return not self.indexed and len(shape_of(call.node)) == dims


@dataclass(frozen=True)
class Written(Opaque):
    """Elements of a source go where an index says.

    Parameters
    ----------
    reason
        For coverage; empty where the index is constant, so that the rule is exact.
    """

    reason: str

    def __call__(self, call: Call, *tensors: Tensor) -> Tensor:
        """Return what was there before, and each source's value where it may go."""
        given = dict(zip(call.operands, tensors, strict=True))
        before, source = written(call.node)
        shape = shape_of(call.node)
        result = given[before].expand(shape) if before in given else tensors[0].new_zeros(shape)
        places, size, factor, kept = self.places(call)
        if kept is not None and before in given:
            result = result * kept.to(result)
        if source in given:
            value = self.arranged(call, given[source], places).reshape(-1) * factor
            sums = value.new_zeros(math.prod(size)).index_add(
                0, places.reshape(-1).to(value.device), value
            )
            result = result + sums.reshape(size).expand(shape)
        return result

    def arranged(self, call: Call, source: Tensor, places: Tensor) -> Tensor:
        """Return the source's elements in the shape of their places."""
        if packet(call.node).__name__.startswith("scatter"):
            for axis, length in enumerate(places.shape):
                source = source.narrow(axis, 0, length)
        return source.expand(places.shape)

    def places(self, call: Call) -> tuple[Tensor, tuple[int, ...], float, Tensor | None]:
        """Return where the elements of the source go.

        Returns
        -------
        places
            int64: a number within ``size`` for each element that is written.
        size
            The result's shape, with 1 along the axes that an unknown index runs over.
        factor
            What each element is multiplied by.
        kept
            Where the elements from before stay, if that is known and not everywhere.
        """
        node = call.node
        shape = shape_of(node)
        arguments = node.args if self.reason else call.constant(node.args)
        axes, index = _written_where(node, arguments)
        size = list(shape)
        factor = 1.0
        if self.reason:
            index = _at_first(index)
            for axis in axes:
                size[axis] = 1
            factor = 1 / math.prod(shape[axis] for axis in axes)
        numbers = torch.arange(math.prod(size)).reshape(size)
        name = packet(node).__name__
        if "put" in name:
            places = aten.index(numbers, index)
        elif name.startswith("scatter"):
            places = numbers.gather(axes[0], index)
        else:
            places = numbers.index_select(axes[0], index)
        if name == "scatter_reduce" and node.args[4] != "sum":
            # The mean (or largest, …) of what arrives: of all that may.
            factor *= math.prod(shape[a] for a in axes) / max(1, places.shape[axes[0]])
        kept = None
        if not self.reason and packet(node) not in _ADDING and not _accumulates(node):
            kept = torch.ones(math.prod(size), dtype=torch.bool)
            kept[places.reshape(-1)] = False
            kept = kept.reshape(shape)
        return places, tuple(size), factor, kept


@dataclass(frozen=True)
class Crossed:
    """A product of two matrices of activations: each carries paths with the other at 1."""

    def __call__(self, call: Call, one: Tensor, other: Tensor) -> Tensor:
        """Return Σ over the shared axis of the one, and of the other."""
        left, right = (self.term(call, k, t) for k, t in enumerate((one, other)))
        return left + right

    def term(self, call: Call, position: int, tensor: Tensor) -> Tensor:
        """Return one operand summed over the shared axis, in the result's shape."""
        sums = tensor.sum(self.axis(tensor.dim(), position))
        return self.placed(call, position, sums).expand(shape_of(call.node))

    def axis(self, dims: int, position: int) -> int:
        """Return the axis of an operand that is summed over."""
        return dims - 2 if position == 1 and dims > 1 else dims - 1

    def placed(self, call: Call, position: int, sums: Tensor) -> Tensor:
        """Return sums over the shared axis with an axis of size 1 for the other operand's."""
        other: Any = call.operands[1 - position]
        if len(shape_of(other)) < 2:
            return sums
        return sums.unsqueeze(-1 if position == 0 else max(-2, -1 - sums.dim()))


def _at_first(arguments: Any) -> Any:
    """Return arguments with every index tensor pointing to 0."""

    def one(node: fx.Node) -> Tensor:
        return torch.zeros(shape_of(node), dtype=torch.long)

    return fx.map_arg(arguments, one)


def written(node: fx.Node) -> tuple[Any, Any]:
    """Return what is written to, and what is written."""
    return node.args[0], node.args[2 if "put" in packet(node).__name__ else 3]


def _written_where(node: fx.Node, arguments: Sequence[Any]) -> tuple[list[int], Any]:
    """Return the axes that an index runs over, and the index (or list of them)."""
    dims = len(shape_of(node))
    if "put" in packet(node).__name__:
        index = list(arguments[1])
        return [axis for axis, entry in enumerate(index) if entry is not None], index
    return [int(arguments[1]) % dims], arguments[2]


def _accumulates(node: fx.Node) -> bool:
    if "put" in packet(node).__name__:
        return bool(node.args[3]) if len(node.args) > 3 else bool(node.kwargs.get("accumulate"))
    return packet(node) is aten.scatter_reduce


# What the planner does with them.


def along(planner: Planner, node: fx.Node) -> None:
    """Sort, scan, transform or pick along an axis."""
    signal: Any = node.args[0]
    if not planner.carries(signal):
        planner.unknown(node)
        return
    dims = len(planner.shape(signal))
    axes = axes_of(node, dims)
    name = str(node.target).removeprefix("aten.").partition(".")[0]
    fact = planner.facts[signal]
    even = Even(axes, f"{name} mixes what lies along an axis")
    planner.add_opaque(node, [signal], even, Fact(planner.fresh(), fact.gate))


def axes_of(node: fx.Node, dims: int) -> tuple[int, ...]:
    """Return the axes that an operator runs along; all of them if it names none."""
    found: Any = None
    for position, argument in enumerate(node.target._schema.arguments):  # type: ignore[union-attr]
        if argument.name == "dim":
            found = argument.default_value
            found = node.args[position] if position < len(node.args) else found
            found = node.kwargs.get("dim", found)
    if packet(node) is aten.msort:
        found = 0
    if packet(node) is aten.view_as_complex:
        found = -1
    if found is None or found == []:
        return tuple(range(dims))
    listed = found if isinstance(found, (tuple, list)) else [found]
    return tuple(int(axis) % max(1, dims) for axis in listed)


def sampled(planner: Planner, node: fx.Node) -> None:
    """Read an image at places that a grid says."""
    image: Any = node.args[0]
    if planner.carries(image):
        axes = tuple(range(2, len(planner.shape(image))))
        planner.add_opaque(node, [image], Even(axes, "a grid says where an image is read"))
    else:
        planner.unknown(node)


def indexed(planner: Planner, node: fx.Node) -> None:
    """Read elements of an activation where the data say."""
    signal: Any = node.args[0]
    if not planner.carries(signal):
        planner.unknown(node)
        return
    fact = planner.facts[signal]
    if packet(node) is aten.index:
        listed: Any = node.args[1]
        axes = tuple(axis for axis, entry in enumerate(listed) if entry is not None)
    else:
        axis: Any = node.args[1]
        axes = (int(axis) % len(planner.shape(signal)),)
    even = Even(axes, "which elements are read depends on the input", indexed=True)
    planner.add_opaque(node, [signal], even, Fact(planner.fresh(), fact.gate))


def scattered(planner: Planner, node: fx.Node) -> None:
    """Write or add elements where an index says."""
    before, source = written(node)
    operands = [n for n in (before, source) if planner.carries(n)]
    others = [n for n in node.all_input_nodes if n not in (before, source)]
    unknown = any(planner.trace.varies(n) for n in others)
    if not operands:
        planner.unknown(node, gate=2)  # ones and zeros that route what they are multiplied with
    elif unknown and operands == [before]:
        planner.transparent(node, before)  # constants written here or there
    else:
        reason = "where elements are written depends on the input" if unknown else ""
        gate = min(planner.facts[n].gate for n in operands)
        planner.add_opaque(node, operands, Written(reason), Fact(planner.fresh(), gate))


def crossed(planner: Planner, node: fx.Node) -> None:
    """Multiply two matrices of activations of which none is a softmax."""
    planner.add(node, node.args[:2], Crossed())
