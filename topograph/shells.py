"""How deep in the network's core every node lies: its k-shell."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from topograph.graph.adjacency import adjacency
from topograph.graph.blocks import Block
from topograph.graph.layered import LayeredGraph, check_graph
from topograph.graph.scaled import IntArray


def k_shell(graph: LayeredGraph) -> IntArray:
    """Return every node's k-shell (coreness) in the undirected graph of connections.

    The largest k for which the node belongs to a subgraph whose nodes all have at least k
    connections in it. Weight edges count, those of weight 0 too; identity edges do not. Shell 0
    means no connection at all.

    Parameters
    ----------
    graph
        A layered graph.

    Returns
    -------
    numpy.ndarray
        int64 of shape (n_nodes,), by node id.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph.

    References
    ----------
    Batagelj and Zaversnik 2003, "An O(m) algorithm for cores decomposition of networks"; Carmi
    et al. 2007; the survival paper, figures 10 to 12.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 2, "h": 2, "y": 2},
    ...                       [("x", "h", [[1, 1], [1, 1]]), ("h", "y", [[1, 0], [0, 0]])])
    >>> k_shell(graph).tolist()                   # a square, one node that hangs on it, a lone one
    [2, 2, 2, 2, 1, 0]
    """
    complete = [block for block in check_graph(graph).weight_blocks if _complete(block)]
    rest = [block for block in graph.weight_blocks if not _complete(block)]
    into = adjacency(graph, rest, lambda block: np.ones(block.matrix.nnz, np.int8), np.int8)
    # A DAG has no edge in both directions, so both together are the simple undirected graph;
    # their sum would take as much memory again.
    return _peel(graph, into, into.T.tocsr(), complete)


def _complete(block: Block) -> bool:
    """Whether every source is connected to every target, so that edges need no listing."""
    rows, columns = block.matrix.shape
    return bool(block.matrix.nnz == rows * columns)


def _peel(
    graph: LayeredGraph, into: sp.csr_array, out: sp.csr_array, complete: list[Block]
) -> IntArray:
    """Take away nodes in rounds, always all that have at most k neighbours left.

    Invariant: the nodes still there all have at least k neighbours left when no node of degree
    at most k is left; then k rises to the smallest degree. What leaves one side of a complete
    block is a neighbour lost to all of the other side.
    """
    n = into.shape[0]
    groups = list(graph.groups.values())
    number = {group.name: k for k, group in enumerate(groups)}
    beside: list[list[slice]] = [[] for _ in groups]
    left = np.diff(into.indptr).astype(np.int64) + np.diff(out.indptr)
    for block in complete:
        source, target = graph.groups[block.source], graph.groups[block.target]
        beside[number[source.name]].append(target.slice)
        beside[number[target.name]].append(source.slice)
        left[source.slice] += target.size
        left[target.slice] += source.size
    member = np.repeat(np.arange(len(groups)), [group.size for group in groups])
    there = np.ones(n, bool)
    shell = np.zeros(n, np.int64)
    n_there, k = n, 0
    while n_there:
        k = max(k, int(left.min(where=there, initial=np.iinfo(np.int64).max)))
        going = np.flatnonzero(there & (left <= k))
        while len(going):
            shell[going] = k
            there[going] = False
            n_there -= len(going)
            whole = False
            if complete:
                for group, count in zip(*np.unique(member[going], return_counts=True), strict=True):
                    for nodes in beside[group]:
                        left[nodes] -= count
                        whole = True
            neighbours = np.concatenate([_neighbours(into, going), _neighbours(out, going)])
            if whole or len(neighbours) * 16 > n:
                left -= np.bincount(neighbours, minlength=n)
                going = np.flatnonzero(there & (left <= k))
            else:
                # A few nodes: look at those alone, not at the whole network.
                touched, times = np.unique(neighbours, return_counts=True)
                left[touched] -= times
                going = touched[there[touched] & (left[touched] <= k)]
    return shell


def _neighbours(edges: sp.csr_array, nodes: IntArray) -> IntArray:
    """Return the neighbours of the nodes, one list after another."""
    indptr, indices = edges.indptr, edges.indices
    counts = indptr[nodes + 1] - indptr[nodes]
    ends = np.cumsum(counts)
    place = np.repeat(indptr[nodes] - (ends - counts), counts) + np.arange(ends[-1])
    return indices[place]
