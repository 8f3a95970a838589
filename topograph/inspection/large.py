"""What is known of a network whose graph is larger than memory: its weights, one after another.

Degrees, edges and kept weights on paths are counted from one weight at a time, which is dropped
again; who lies on a path is told from path sums. So nothing here is an estimate, and what takes the
whole graph at once (shells of a network that is not dense) is NaN.

Invariant: weights that lead to one group are counted together, since only they may share edges.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from topograph.capturing.channel_edges import channel_blocks
from topograph.capturing.edges import Groups
from topograph.capturing.structure import structure_of
from topograph.capturing.weights import Binding
from topograph.capturing.wiring import Layout, Wiring
from topograph.flow import PathFlow
from topograph.graph.layered import Group
from topograph.inspection.kept import Kept
from topograph.inspection.measures import Connectivity, Layer

#: So many weights of a layer are counted at a time.
_PIECE = 1 << 22


@dataclass(frozen=True, eq=False)
class LargeConnectivity:
    """The connectivity of a network without its graph, and what was met on the way.

    Attributes
    ----------
    connectivity
        Shells are NaN, unless every connection that there could be is there.
    layers
        A row for every use of a weight.
    masks
        The mask of every parameter that is used.
    """

    connectivity: Connectivity
    layers: list[Layer]
    masks: dict[str, Kept]


@dataclass(frozen=True)
class _Count:
    """What one weight has: source groups by name, kept weights on paths, places for weights."""

    sources: tuple[str, ...]
    on_paths: int
    positions: int


def large_connectivity(
    made: Layout, binding: Binding, flow: PathFlow, alive: np.ndarray
) -> LargeConnectivity:
    """Count the connections of a network, one weight after another.

    Parameters
    ----------
    made, binding, flow
        The layout, at channel granularity, the weights, and the tensor path.
    alive
        By node id, whether the node lies on a path. An edge between two such nodes lies on one.
    """
    groups = Groups(made)
    into, out = np.zeros(made.n_nodes, np.int64), np.zeros(made.n_nodes, np.int64)
    rows: dict[str, tuple[Layer, int]] = {}
    masks: dict[str, Kept] = {}
    edges = on_paths = positions = 0
    for target, together in _by_target(made, groups):
        present: dict[str, np.ndarray] = {}  # source group to where edges are
        for wiring in together:
            op = wiring.operator
            mask = binding.mask(op).cpu()
            if op.parameter not in masks:
                masks[op.parameter] = Kept.of(mask.numpy())
            plain = wiring.form.groups == 1 and bool((wiring.sources < made.n_nodes).all())
            if plain:
                found = _count_plain(groups, wiring, op.readdress(mask), target, present, alive)
            else:
                found = _count_blocks(made, groups, wiring, binding, target, present, alive)
            on_paths += found.on_paths
            positions += found.positions
            share = flow.passed.get(op.name, 0.0)
            rows[op.name] = _layer(wiring, target, found, op.readdress(mask), share), found.on_paths
        for name, where in present.items():
            into[target.slice] += np.count_nonzero(where, axis=1)
            out[made.nodes(name)] += np.count_nonzero(where, axis=0)
            edges += int(np.count_nonzero(where))
    for op in binding.operators:
        if op.parameter not in masks:  # a query or a key, on no path: its mask is known
            masks[op.parameter] = Kept.of(binding.mask(op).cpu().numpy())
    dense = structure_of("", 0, made)
    whole = edges == dense.n_edges
    ordered = [rows[wiring.operator.name] for wiring in made.operators]
    return LargeConnectivity(
        Connectivity(
            made.groups,
            made.inputs,
            made.outputs,
            into + out,
            into,
            dense.k_shell() if whole else np.full(made.n_nodes, math.nan),
            ~alive,
            edges,
            on_paths / positions if positions else math.nan,
            [float(count) for _, count in ordered],
        ),
        once([layer for layer, _ in ordered], binding),
        {op.parameter: masks[op.parameter] for op in binding.operators},
    )


def once(layers: list[Layer], binding: Binding) -> list[Layer]:
    """Return the layers, those whose weights are an earlier layer's marked as such.

    Uses of one parameter that together have no more weights than it has are of different parts.
    """
    sizes = {op.parameter: op.leaf.meta["val"].numel() for op in binding.operators}
    used: Counter[str] = Counter()
    for layer in layers:
        used[layer.parameter] += layer.weights
    seen: set[str] = set()
    marked = []
    for layer in layers:
        again = layer.parameter in seen and used[layer.parameter] > sizes[layer.parameter]
        marked.append(replace(layer, again=again))
        seen.add(layer.parameter)
    return marked


def _by_target(made: Layout, groups: Groups) -> Iterator[tuple[Group, list[Wiring]]]:
    """Yield every group that weights lead to, with their wirings."""
    held: dict[str, list[Wiring]] = {}
    for wiring in made.operators:
        (target,) = groups.of(wiring.targets)
        held.setdefault(target.name, []).append(wiring)
    for name, together in held.items():
        yield made.groups[name], together


def _layer(wiring: Wiring, target: Group, found: _Count, kept: Tensor, share: float) -> Layer:
    op = wiring.operator
    return Layer(
        op.name,
        op.parameter,
        wiring.form.kind,
        " + ".join(found.sources),
        target.name,
        tuple(kept.shape),
        kept.numel(),
        int(kept.sum()),
        (),
        share,
    )


def _count_plain(
    groups: Groups,
    wiring: Wiring,
    mask: Tensor,
    target: Group,
    present: dict[str, np.ndarray],
    alive: np.ndarray,
) -> _Count:
    """Count the edges of a weight without groups whose columns read one node each."""
    form = wiring.form
    kept = form.weight(mask)[0]  # (rows, columns, taps)
    rows = np.flatnonzero(wiring.targets >= 0)
    local = wiring.targets[rows] - target.start
    sources = wiring.sources[0]
    names = []
    on_paths = positions = 0
    for group in groups.of(sources[sources >= 0]):
        names.append(group.name)
        columns = np.flatnonzero((sources >= group.start) & (sources < group.stop))
        nodes, at = np.unique(sources[columns] - group.start, return_inverse=True)
        where = present.setdefault(group.name, np.zeros((target.size, group.size), bool))
        positions += len(rows) * len(columns) * form.taps
        step = max(1, _PIECE // max(1, len(columns) * form.taps))
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            taps = _part(_part(kept, rows[some], 0), columns, 1)
            taps = taps.sum(-1, dtype=torch.int32) if form.taps > 1 else taps[..., 0]
            if len(nodes) < len(columns):  # several columns of one node
                folded = torch.zeros(len(taps), len(nodes), dtype=torch.int32)
                taps = folded.index_add_(1, torch.from_numpy(at), taps.to(torch.int32))
                order = np.arange(len(nodes))
            else:
                order = np.argsort(at)
            counts = _part(taps, order, 1).numpy()
            on_path = alive[target.slice][local[some]], alive[group.slice][nodes]
            if not (on_path[0].all() and on_path[1].all()):
                on_paths += int(counts[on_path[0]][:, on_path[1]].sum(dtype=np.int64))
            else:
                on_paths += int(counts.sum(dtype=np.int64))
            block = where[_span(local[some])]
            block[:, _span(nodes)] |= counts > 0
            where[_span(local[some])] = block
    return _Count(tuple(names), on_paths, positions)


def _part(value: Tensor, index: np.ndarray, axis: int) -> Tensor:
    """Return some rows or columns, without a copy where they lie one behind the other."""
    span = _span(index)
    if isinstance(span, slice):
        return value.narrow(axis, span.start, span.stop - span.start)
    return value.index_select(axis, torch.from_numpy(index))


def _span(index: np.ndarray) -> slice | np.ndarray:
    if len(index) and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def _count_blocks(
    made: Layout,
    groups: Groups,
    wiring: Wiring,
    binding: Binding,
    target: Group,
    present: dict[str, np.ndarray],
    alive: np.ndarray,
) -> _Count:
    """Count the edges of any weight, from its blocks."""
    names = []
    on_paths = positions = 0
    for block in channel_blocks(made, groups, wiring, binding):
        names.append(block.source)
        source = made.groups[block.source]
        where = present.setdefault(source.name, np.zeros((target.size, source.size), bool))
        rows = np.repeat(np.arange(target.size), np.diff(block.matrix.indptr))
        where[rows, block.matrix.indices] = True
        taps = block.with_entries(block.tap_counts)
        living = alive[source.slice].astype(np.int64)
        on_paths += int((taps @ living)[alive[target.slice]].sum())
        positions += block.n_positions
    return _Count(tuple(names), on_paths, positions)
