"""What a layered graph is as one sparse matrix over global node ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import scipy.sparse as sp
from numpy.typing import DTypeLike, NDArray

from topograph.graph.layered import Block, LayeredGraph


def adjacency(
    graph: LayeredGraph,
    blocks: Iterable[Block],
    entries: Callable[[Block], NDArray],
    dtype: DTypeLike = np.float64,
) -> sp.csr_array:
    """Return the canonical CSR of shape (n, n) with the blocks' edges at [target, source].

    Parameters
    ----------
    graph
        The layered graph.
    blocks
        The blocks to take; entries of edges that several of them share are added up.
    entries
        Gives the numbers of one block's edges, in the order of ``matrix.data``.
    dtype
        Type of the entries.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 1, "y": 2}, [("x", "y", [[5], [7]])])
    >>> adjacency(graph, graph.blocks, lambda block: block.matrix.data).toarray()
    array([[0., 0., 0.],
           [5., 0., 0.],
           [7., 0., 0.]])
    """
    # By source, so that columns come out in order.
    ordered = sorted(blocks, key=lambda block: graph.groups[block.source].start)
    n, m = graph.n_nodes, sum(block.matrix.nnz for block in ordered)
    index = np.int32 if max(n, m) < np.iinfo(np.int32).max else np.int64
    counts = np.zeros(n + 1, np.int64)
    for block in ordered:
        counts[graph.groups[block.target].start + 1 : graph.groups[block.target].stop + 1] += (
            np.diff(block.matrix.indptr)
        )
    indptr = np.cumsum(counts)
    free = indptr[:-1].copy()
    columns, data = np.empty(m, index), np.empty(m, dtype)
    for block in ordered:
        rows = graph.groups[block.target].slice
        filled = np.diff(block.matrix.indptr)
        # Where the edges of one row go: from the row's first free place on.
        place = np.repeat(free[rows] - block.matrix.indptr[:-1], filled)
        place += np.arange(len(place))
        columns[place] = block.matrix.indices + index(graph.groups[block.source].start)
        data[place] = entries(block)
        free[rows] += filled
    matrix = sp.csr_array((data, columns, indptr.astype(index)), shape=(n, n))
    matrix.sum_duplicates()
    return matrix


def structure(graph: LayeredGraph) -> sp.csr_array:
    """Return the adjacency of the weight edges, [target, source], with every entry 1 (int8)."""
    return adjacency(
        graph, graph.weight_blocks, lambda block: np.ones(block.matrix.nnz, np.int8), np.int8
    )
