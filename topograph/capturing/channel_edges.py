"""Which edges an operator has between channels: Σ |θ| over the taps, where any tap is kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch

from topograph.capturing.compose import from_entries, pattern, product
from topograph.capturing.edges import Edges, Groups, column_reads, split
from topograph.capturing.weights import Binding
from topograph.capturing.wiring import Layout, Wiring
from topograph.errors import TopographError
from topograph.graph.blocks import Block

#: Largest number of edges of an operator that reads mixtures of nodes.
MIXED_LIMIT = 1 << 27

# Weights are summed over taps in pieces of this size, in float64.
_PIECE = 1 << 22


def channel_blocks(
    layout: Layout, groups: Groups, wiring: Wiring, binding: Binding
) -> Iterator[Block]:
    """Yield the blocks of one operator, one for each group that it reads."""
    (target,) = groups.of(wiring.targets)
    if (wiring.sources >= layout.n_nodes).any():
        found = _mixed_edges(layout, groups, wiring, binding)
    elif wiring.form.groups == 1:
        found = _dense_edges(groups, wiring, binding)
    else:
        found = _grouped_edges(groups, wiring, binding)
    rows = np.flatnonzero(wiring.targets >= 0)
    order = rows[np.argsort(wiring.targets[rows])]
    in_order = np.array_equal(order, np.arange(len(wiring.targets)))
    for edges in found:
        if not in_order:
            edges = Edges(edges.source, edges.values[order], edges.taps[order], edges.positions)
        yield edges.block(target, wiring)


def _pieces(
    wiring: Wiring, binding: Binding, folded: int = 1
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield first row, Σ |θ| and kept weights over taps, (groups, some rows, columns) each.

    Each ``folded`` columns that follow each other (and read one node) are added up too.
    """
    op, form = wiring.operator, wiring.form
    shape = form.groups, form.rows, form.columns // folded, folded * form.taps
    weights = form.weight(op.readdress(binding.magnitude(op)).cpu()).reshape(shape)
    kept = form.weight(op.readdress(binding.mask(op)).cpu()).reshape(shape)
    gain = None
    if wiring.gain is not None:
        gain = torch.from_numpy(wiring.gain[:, ::folded])[:, None]
    step = max(1, _PIECE // max(1, shape[0] * shape[2] * shape[3]))
    for start in range(0, form.rows, step):
        rows = slice(start, start + step)
        if shape[3] == 1:
            values, taps = weights[:, rows, :, 0].double(), kept[:, rows, :, 0].to(torch.int32)
        else:
            values = weights[:, rows].sum(-1, dtype=torch.float64)
            taps = kept[:, rows].sum(-1, dtype=torch.int32)
        if gain is not None:
            values = values * gain
        if wiring.factor is not None:
            factor = torch.from_numpy(wiring.factor).reshape(form.groups, form.rows, 1)
            values = values * factor[:, rows]
        yield start, values.numpy(), taps.numpy()


def _dense_edges(groups: Groups, wiring: Wiring, binding: Binding) -> Iterator[Edges]:
    """Edges of an operator whose columns read one node each, without weight groups."""
    form = wiring.form
    folded = _fold(wiring)
    sources = wiring.sources[0, ::folded]
    readers = []
    for group in groups.of(sources[sources >= 0]):
        columns = np.flatnonzero((sources >= group.start) & (sources < group.stop))
        readers.append((group, columns, sources[columns] - group.start))
    parts: list[list[tuple[sp.csr_array, sp.csr_array]]] = [[] for _ in readers]
    for _, values, kept in _pieces(wiring, binding, folded):
        for part, (group, columns, local) in zip(parts, readers, strict=True):
            v, n = values[0], kept[0]
            if len(columns) < len(sources):
                v, n = v[:, columns], n[:, columns]
            if len(np.unique(local)) < len(local):  # several columns of one node
                v, n = _by_node(v, local, group.size), _by_node(n, local, group.size)
                local = np.arange(group.size)
            part.append(_sparse(v, n, local, group.size))
    for part, (group, columns, _) in zip(parts, readers, strict=True):
        positions = int(_rows_used(wiring)[0]) * form.taps * len(columns) * folded
        values, taps = (_stacked(list(matrices)) for matrices in zip(*part, strict=True))
        yield Edges(group, values, taps, positions)


def _fold(wiring: Wiring) -> int:
    """Return how many columns that follow each other read one node, everywhere (a flat image)."""
    (sources,) = wiring.sources
    changes = np.flatnonzero(np.diff(sources))
    size = int(changes[0]) + 1 if len(changes) else len(sources)
    if size == 1 or len(sources) % size:
        return 1
    blocks = sources.reshape(-1, size)
    same = bool((blocks == blocks[:, :1]).all())
    if wiring.gain is not None:
        gains = wiring.gain.reshape(-1, size)
        same = same and bool((gains == gains[:, :1]).all())
    return size if same else 1


def _by_node(values: np.ndarray, local: np.ndarray, size: int) -> np.ndarray:
    """Return the columns that belong to one node added up: (rows, size)."""
    total = torch.zeros(len(values), size, dtype=torch.from_numpy(values).dtype)
    return total.index_add_(1, torch.from_numpy(local), torch.from_numpy(values)).numpy()


def _sparse(
    values: np.ndarray, kept: np.ndarray, columns: np.ndarray, size: int
) -> tuple[sp.csr_array, sp.csr_array]:
    """Return values and counts where ``kept`` is positive, as CSR of one structure.

    ``columns`` says which of the ``size`` columns of the result those of the values are.
    """
    n_rows, n_columns = kept.shape
    order = np.argsort(columns, kind="stable")
    if (order != np.arange(n_columns)).any():
        values, kept, columns = values[:, order], kept[:, order], columns[order]
    held = kept > 0
    number = np.int32 if n_rows * n_columns < 1 << 31 else np.int64
    if held.all():
        indices = np.tile(columns.astype(number), n_rows)
        indptr = np.arange(0, n_rows * n_columns + 1, n_columns, dtype=number)
        data, taps = values.reshape(-1), kept.reshape(-1)
    else:
        counts = np.count_nonzero(held, axis=1)
        indices = np.broadcast_to(columns.astype(number), held.shape)[held]
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(number)
        data, taps = values[held], kept[held]
    shape = n_rows, size
    return (
        sp.csr_array((data, indices, indptr), shape=shape),
        sp.csr_array((taps, indices, indptr), shape=shape),
    )


def _stacked(parts: list[sp.csr_array]) -> sp.csr_array:
    return parts[0] if len(parts) == 1 else sp.csr_array(sp.vstack(parts, format="csr"))


def _grouped_edges(groups: Groups, wiring: Wiring, binding: Binding) -> Iterator[Edges]:
    """Edges of an operator whose columns read one node each, inside the weight's groups."""
    form, sources = wiring.form, wiring.sources
    found = []
    for start, values, kept in _pieces(wiring, binding):
        g, r, c = np.nonzero(kept)
        found.append((g * form.rows + start + r, sources[g, c], values[g, r, c], kept[g, r, c]))
    rows, nodes, weights, taps = (np.concatenate(part) for part in zip(*found, strict=True))
    for group in groups.of(sources[sources >= 0]):
        inside = (nodes >= group.start) & (nodes < group.stop)
        shape = (form.groups * form.rows, group.size)
        place = rows[inside], nodes[inside] - group.start
        held = ((sources >= group.start) & (sources < group.stop)).sum(1)
        yield Edges(
            group,
            from_entries(*place, weights[inside], shape),
            from_entries(*place, taps[inside], shape),
            int((held * _rows_used(wiring)).sum()) * form.taps,
        )


def _mixed_edges(
    layout: Layout, groups: Groups, wiring: Wiring, binding: Binding
) -> Iterator[Edges]:
    """Edges of an operator of which some columns read mixtures."""
    form = wiring.form
    found = []
    for start, values, kept in _pieces(wiring, binding):
        g, r, c = np.nonzero(kept)
        found.append(
            (g * form.rows + start + r, g * form.columns + c, values[g, r, c], kept[g, r, c])
        )
    rows, columns, weights, taps = (np.concatenate(part) for part in zip(*found, strict=True))
    shape = (form.groups * form.rows, form.groups * form.columns)
    # The gain of each column is in its weights already.
    reads = column_reads(layout, wiring.sources.reshape(-1))
    if reads.nnz * form.rows > MIXED_LIMIT:
        raise TopographError(
            f'"{wiring.operator.name}" reads different nodes at different positions, and would '
            f"have up to {reads.nnz * form.rows:,} edges; expected at most {MIXED_LIMIT:,}",
            "pass an example_input of fewer positions",
        )
    values = product(from_entries(rows, columns, weights, shape), reads)
    counts = product(from_entries(rows, columns, taps.astype(np.float64), shape), pattern(reads))
    weights_a_column = np.repeat(_rows_used(wiring) * form.taps, form.columns)
    positions = sp.diags_array(weights_a_column.astype(np.float64)) @ pattern(reads)
    yield from split(groups, values, counts, sp.csr_array(positions))


def _rows_used(wiring: Wiring) -> np.ndarray:
    """Return how many rows of each group of the weight write to a node."""
    rows: np.ndarray = (wiring.targets.reshape(wiring.form.groups, -1) >= 0).sum(1)
    return rows
