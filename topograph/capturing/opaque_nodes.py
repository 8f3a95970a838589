"""Which nodes an opaque operator has, and what they read: means, evenly, of all they may.

A result that has elements of its own (an FFT along the features, an unknown operator) is a group of
kind ``"opaque"``: one node per feature. Where features stay apart, because an operator only works
along positions, there are no nodes of its own: who reads it reads the mean over the positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from topograph.capturing.mixing import mix_axes
from topograph.capturing.nodes import Links, Nodes, signal_of
from topograph.capturing.opaque import Crossed, Even, Written
from topograph.capturing.opaque import written as written_parts
from topograph.capturing.rules import Call
from topograph.capturing.signals import Signal, constant_axes, narrowed, uniform_along
from topograph.capturing.trace import place_of, shape_of
from topograph.errors import TopographError

#: Largest number of connections of one opaque operator.
LIMIT = 1 << 24


def unknown(nodes: Nodes, call: Call, signals: Sequence[Signal], exact: bool) -> Signal:
    """Return the nodes of an operator of which every result may depend on all of its operands."""
    shape = shape_of(call.node)
    counts = [_elements(signal, exact) for signal in signals]
    terms = []
    for signal, count in zip(signals, counts, strict=True):
        axes = list(range(len(signal.shape)))
        mean = mix_axes(nodes, call, signal, (), axes, mean=True, exact=exact)
        part = torch.tensor(count / max(1, sum(counts)), dtype=torch.float64)
        terms.append(mean.times(part).expand(shape))
    own = [
        axis
        for axis in range(len(shape))
        if exact or not any(_position(signal, shape, axis) for signal in signals)
    ]
    return _group(nodes, call, terms, own, exact)


def even(nodes: Nodes, call: Call, rule: Even, signal: Signal, exact: bool) -> Signal:
    """Return what a result reads that may depend on all elements of a line."""
    shape = [1 if a in rule.axes else n for a, n in enumerate(signal.shape)]
    means = mix_axes(nodes, call, signal, tuple(shape), rule.axes, mean=True, exact=exact)
    placed = means.moved(lambda tensor: rule.placed(call, tensor))
    assert isinstance(placed, Signal)
    dims = len(signal.shape)
    if not rule.own(call, dims):
        return placed
    varied = [axis for axis in range(dims) if not uniform_along(signal.ids, axis)]
    if not exact and not set(rule.axes) & set(varied):
        return placed  # features stay apart: it only works along positions
    return _group(nodes, call, [placed], list(range(dims)) if exact else varied, exact)


def written(nodes: Nodes, call: Call, rule: Written, signals: Sequence[Signal]) -> list[Signal]:
    """Return what a result reads of what was there before, and of what is written."""
    given = dict(zip(call.operands, signals, strict=True))
    before, source = written_parts(call.node)
    places, size, factor, kept = rule.places(call)
    shape = shape_of(call.node)
    terms = []
    if before in given:
        stays = given[before].expand(shape)
        if kept is not None:
            ids = torch.where(kept, stays.ids, 0)
            stays = Signal(ids, stays.gain, stays.spread)
        terms.append(stays)
    if source in given:
        read = rule.arranged(call, given[source].ids, places).reshape(-1).numpy()
        gains = rule.arranged(call, given[source].gains, places).reshape(-1).numpy()
        held = read > 0
        mixed = nodes.mixed(
            call.node,
            places.reshape(-1).numpy()[held],
            read[held] - 1,
            gains[held] * factor,
            math.prod(size),
        )
        terms.append(signal_of(*mixed, size).expand(shape))
    return terms


def crossed(
    nodes: Nodes, call: Call, rule: Crossed, signals: Sequence[Signal], exact: bool
) -> list[Signal]:
    """Return what a product of two activations reads of either, with the other at 1."""
    terms = []
    for position, signal in enumerate(signals):
        axis = rule.axis(len(signal.shape), position)
        shape = tuple(n for a, n in enumerate(signal.shape) if a != axis)
        sums = mix_axes(nodes, call, signal, shape, [axis], mean=False, exact=exact)
        moved = sums.moved(_placing(call, rule, position))
        assert isinstance(moved, Signal)
        terms.append(moved.expand(shape_of(call.node)))
    return terms


def _placing(call: Call, rule: Crossed, position: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: rule.placed(call, position, tensor)


def _elements(signal: Signal, exact: bool) -> int:
    """Return how many elements of a signal count in its mean."""
    if exact:
        return math.prod(signal.shape)
    same = constant_axes(signal.ids)
    held = int((narrowed(signal.ids, same) > 0).sum())
    return held * math.prod(signal.shape[axis] for axis in same)


def _position(signal: Signal, shape: tuple[int, ...], axis: int) -> bool:
    """Whether an axis of a result is one of an operand along which only the position changes."""
    if len(signal.shape) != len(shape) or signal.shape[axis] != shape[axis]:
        return False
    return axis not in signal.spread and uniform_along(signal.ids, axis)


def _group(
    nodes: Nodes, call: Call, terms: Sequence[Signal], own: Sequence[int], exact: bool
) -> Signal:
    """Add a group with a node for every place along the axes ``own``, which reads the terms."""
    shape = shape_of(call.node)
    narrow = [n if axis in own else 1 for axis, n in enumerate(shape)]
    size = math.prod(narrow)
    links = []
    count = 0
    for term in terms:
        # Along the other axes a term reads one node, or none.
        ids, gains = _flat(term.ids, own), _flat(term.gains, own)
        targets = np.flatnonzero(ids > 0)
        sources = ids[targets] - 1
        links.append(Links(targets, sources, gains[targets]))
        count += sum(_reads(nodes, number) * k for number, k in _counted(sources))
    if count > LIMIT:
        raise TopographError(
            f"{place_of(call.node)} is opaque: it may connect {count:,} pairs of nodes; expected "
            f"at most {LIMIT:,}",
            "pass an example_input of fewer positions, or capture the parts of the model before "
            "and after it",
        )
    index = torch.arange(size).reshape(narrow)
    group = nodes.add("opaque", size, call.node, index)
    group.links = links
    if exact:
        group.shape = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
    return Signal((index + group.start + 1).expand(*shape))


def _flat(tensor: Tensor, own: Sequence[int]) -> np.ndarray:
    """Return the largest entry along all axes but ``own``, flat."""
    tensor = narrowed(tensor, [axis for axis in constant_axes(tensor) if axis not in own])
    others = [axis for axis in range(tensor.dim()) if axis not in own and tensor.shape[axis] > 1]
    return (tensor.amax(others) if others else tensor).reshape(-1).numpy()


def _counted(sources: np.ndarray) -> list[tuple[int, int]]:
    numbers, counts = np.unique(sources, return_counts=True)
    return [(int(n), int(c)) for n, c in zip(numbers, counts, strict=True)]


def _reads(nodes: Nodes, number: int) -> int:
    """Return how many nodes one number stands for: those that a mixed node reads, else itself."""
    group = nodes.group(number)
    if group.kind != "mixed":
        return 1
    return sum(int((links.targets == number - group.start).sum()) for links in group.links)
