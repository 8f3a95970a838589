"""Which edges an operator has between channels: Σ |θ| over the taps, where any tap is kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch

from topograph.capture.compose import from_entries, pattern, product
from topograph.capture.edges import Edges, Groups, column_reads, split
from topograph.capture.weights import Binding
from topograph.capture.wiring import Layout, Wiring
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
    order = np.argsort(wiring.targets - target.start)
    in_order = bool((order == np.arange(len(order))).all())
    for edges in found:
        if not in_order:
            edges = Edges(edges.source, edges.values[order], edges.taps[order], edges.positions)
        yield edges.block(target, wiring)


def _pieces(wiring: Wiring, binding: Binding) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield first row, Σ |θ| and kept weights over taps, (groups, some rows, columns) each."""
    op, form = wiring.operator, wiring.form
    weights = form.weight(op.readdress(binding.magnitude(op)))
    kept = form.weight(op.readdress(binding.mask(op)))
    step = max(1, _PIECE // max(1, form.groups * form.columns * form.taps))
    for start in range(0, form.rows, step):
        rows = slice(start, start + step)
        if form.taps == 1:
            values, taps = weights[:, rows, :, 0].double(), kept[:, rows, :, 0].to(torch.int32)
        else:
            values = weights[:, rows].double().sum(-1)
            taps = kept[:, rows].sum(-1, dtype=torch.int32)
        if wiring.gain is not None:
            values = values * torch.from_numpy(wiring.gain)[:, None]
        if wiring.factor is not None:
            factor = torch.from_numpy(wiring.factor).reshape(form.groups, form.rows, 1)
            values = values * factor[:, rows]
        yield start, values.cpu().numpy(), taps.cpu().numpy()


def _dense_edges(groups: Groups, wiring: Wiring, binding: Binding) -> Iterator[Edges]:
    """Edges of an operator whose columns read one node each, without weight groups."""
    form, sources = wiring.form, wiring.sources[0]
    readers = []
    for group in groups.of(sources[sources >= 0]):
        columns = np.flatnonzero((sources >= group.start) & (sources < group.stop))
        local = sources[columns] - group.start
        readers.append((group, columns, local, len(np.unique(local)) < len(local)))
    parts: list[list[sp.csr_array]] = [[] for _ in readers]
    taps: list[list[sp.csr_array]] = [[] for _ in readers]
    for _, values, kept in _pieces(wiring, binding):
        for k, (group, columns, local, repeated) in enumerate(readers):
            v, n = values[0], kept[0]
            if len(columns) < len(sources):
                v, n = v[:, columns], n[:, columns]
            if repeated:  # a flattened map: several columns of one channel
                v, n, local = _folded(v, local, group.size), _folded(n, local, group.size), None
            elif (local == np.arange(group.size)).all() if len(local) == group.size else False:
                local = None
            made = _sparse(v, n, local, group.size)
            parts[k].append(made[0])
            taps[k].append(made[1])
    for k, (group, columns, _, _) in enumerate(readers):
        positions = form.rows * form.taps * len(columns)
        yield Edges(group, _stacked(parts[k]), _stacked(taps[k]), positions)


def _folded(values: np.ndarray, local: np.ndarray, size: int) -> np.ndarray:
    """Return the columns that belong to one node added up: (rows, size)."""
    total = torch.zeros(len(values), size, dtype=torch.from_numpy(values).dtype)
    return total.index_add_(1, torch.from_numpy(local), torch.from_numpy(values)).numpy()


def _sparse(
    values: np.ndarray, kept: np.ndarray, columns: np.ndarray | None, size: int
) -> tuple[sp.csr_array, sp.csr_array]:
    """Return values and counts where ``kept`` is positive, as CSR of one structure."""
    n_rows, n_columns = kept.shape
    places = np.flatnonzero(kept)
    counts = np.count_nonzero(kept, axis=1)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    indices = (places % n_columns).astype(np.int32)
    data, taps = values.reshape(-1)[places], kept.reshape(-1)[places]
    if columns is not None:
        indices = columns[indices].astype(np.int32)
    matrix = sp.csr_array((data, indices, indptr), shape=(n_rows, size))
    count = sp.csr_array((taps, indices, indptr), shape=(n_rows, size))
    if columns is not None and (np.diff(columns) < 0).any():
        count = sp.csr_array((taps, indices.copy(), indptr), shape=(n_rows, size))
        matrix.sort_indices()
        count.sort_indices()
    return matrix, count


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
        held = int(((sources >= group.start) & (sources < group.stop)).sum())
        yield Edges(
            group,
            from_entries(*place, weights[inside], shape),
            from_entries(*place, taps[inside], shape),
            held * form.rows * form.taps,
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
    yield from split(groups, values, counts, pattern(reads), form.rows * form.taps)
