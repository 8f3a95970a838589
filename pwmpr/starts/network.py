"""Which steps a walk can take through a model: the options of every node, in both directions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pwmpr.starts.walks import Options
from topograph.capturing.layout import Layout, layout
from topograph.capturing.trace import ExampleInput, trace
from topograph.capturing.weights import Binding
from topograph.capturing.wiring import Wiring


@dataclass(frozen=True, eq=False)
class Network:
    """A model as its walks see it.

    Weight positions are numbered over all parameters on paths, parameter after parameter.
    Behind the graph's nodes stand the fixed mixtures of nodes that weights read (pooled units):
    a walk passes through them in proportion to their coefficients.

    Attributes
    ----------
    forward, backward
        The options along and against the edges.
    inputs, outputs
        Node ids that walks start from and end in, ascending.
    n_nodes
        Number of nodes, mixtures included.
    first
        Parameter name to the number of its first position.
    size
        Number of positions.
    """

    forward: Options
    backward: Options
    inputs: np.ndarray
    outputs: np.ndarray
    n_nodes: int
    first: dict[str, int]
    size: int


@dataclass(frozen=True, eq=False)
class _Arcs:
    """Steps from ``source`` to ``target``, with the mass that decides between them."""

    source: np.ndarray
    target: np.ndarray
    mass: np.ndarray
    position: np.ndarray


def network(model: nn.Module, example_input: ExampleInput) -> Network:
    """Return the walks' view of a model with its present weights.

    Raises
    ------
    TopographError
        If the model cannot be captured for the example.
    """
    plan = trace(model, example_input)
    binding = Binding(plan, model)
    wires = layout(plan, binding)
    n_nodes = wires.n_nodes + wires.mixing.shape[0]
    first, size = _numbered(binding, wires)
    # Mass 1 a node: how much a mixture passes on, which a walk against the edges must count in.
    taken_in = np.ones(n_nodes)
    taken_in[wires.n_nodes :] = np.asarray(wires.mixing.sum(axis=1)).reshape(-1)
    weights = [_weights(wiring, binding, first) for wiring in wires.operators]
    passed_on = np.zeros(n_nodes)
    for arcs in weights:
        passed_on += np.bincount(arcs.source, arcs.mass, minlength=n_nodes)
    fixed = [_identity(wires)]
    mixing = _mixing(wires)
    forward = [*weights, *fixed, _weighed(mixing, passed_on[mixing.target])]
    backward = [*(_weighed(arcs, taken_in[arcs.source]) for arcs in weights), *fixed, mixing]
    return Network(
        _options(forward, n_nodes, backwards=False),
        _options(backward, n_nodes, backwards=True),
        _nodes(wires, wires.inputs),
        _nodes(wires, wires.outputs),
        n_nodes,
        first,
        size,
    )


def _numbered(binding: Binding, wires: Layout) -> tuple[dict[str, int], int]:
    first: dict[str, int] = {}
    size = 0
    for wiring in wires.operators:
        op = wiring.operator
        if op.parameter not in first:
            first[op.parameter] = size
            size += binding.weight(op).numel()
    return first, size


def _weights(wiring: Wiring, binding: Binding, first: dict[str, int]) -> _Arcs:
    """Return one arc for every position of one use of a weight."""
    op, form = wiring.operator, wiring.form
    leaf = binding.magnitude(op).double().cpu()
    numbers = torch.arange(leaf.numel()).reshape(leaf.shape) + first[op.parameter]
    mass = form.weight(op.readdress(leaf)).numpy()  # (groups, rows, columns, taps)
    position = form.weight(op.readdress(numbers)).numpy()
    source = np.broadcast_to(wiring.sources[:, None, :, None], mass.shape)
    by_row = (form.groups, form.rows, 1, 1)
    target = np.broadcast_to(wiring.targets.reshape(by_row), mass.shape)
    if wiring.gain is not None:
        mass = mass * wiring.gain[:, None, :, None]
    if wiring.factor is not None:
        mass = mass * wiring.factor.reshape(by_row)
    used = (source >= 0) & (target >= 0) & (mass > 0)
    return _Arcs(source[used], target[used], mass[used], position[used])


def _identity(wires: Layout) -> _Arcs:
    sources, targets, masses = [], [], []
    for block in wires.identity:
        entries = block.matrix.tocoo()
        rows, columns = entries.coords
        sources.append(columns + wires.groups[block.source].start)
        targets.append(rows + wires.groups[block.target].start)
        masses.append(entries.data)
    return _fixed(_joined(sources), _joined(targets), _joined(masses, np.float64))


def _mixing(wires: Layout) -> _Arcs:
    entries = wires.mixing.tocoo()
    rows, columns = entries.coords
    return _fixed(columns.astype(np.int64), rows + wires.n_nodes, entries.data)


def _fixed(source: np.ndarray, target: np.ndarray, mass: np.ndarray) -> _Arcs:
    return _Arcs(source, target, np.abs(mass), np.full(len(source), -1, dtype=np.int64))


def _weighed(arcs: _Arcs, factor: np.ndarray) -> _Arcs:
    return _Arcs(arcs.source, arcs.target, arcs.mass * factor, arcs.position)


def _options(arcs: Iterable[_Arcs], n_nodes: int, *, backwards: bool) -> Options:
    parts = list(arcs)
    kind = np.int32 if n_nodes < 2**31 else np.int64
    source = np.concatenate([part.source.astype(kind) for part in parts])
    target = np.concatenate([part.target.astype(kind) for part in parts])
    return Options.grouped(
        n_nodes,
        target if backwards else source,
        np.concatenate([part.mass for part in parts]),
        source if backwards else target,
        np.concatenate([part.position for part in parts]),
    )


def _joined(parts: list[np.ndarray], kind: type = np.int64) -> np.ndarray:
    return np.concatenate(parts).astype(kind) if parts else np.zeros(0, kind)


def _nodes(wires: Layout, names: Iterable[str]) -> np.ndarray:
    groups = [wires.groups[name] for name in names]
    return np.concatenate([np.arange(group.start, group.stop) for group in groups])


def positions_of(network: Network, name: str, shape: tuple[int, ...]) -> slice | None:
    """Return the numbers of a parameter's positions, or None if it lies on no path."""
    if name not in network.first:
        return None
    return slice(network.first[name], network.first[name] + math.prod(shape))
