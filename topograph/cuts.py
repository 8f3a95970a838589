"""Where a network could fall apart: minimum cuts between layers, and bridges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from topograph.check import check_choice
from topograph.graph.adjacency import adjacency
from topograph.graph.layered import LayeredGraph, check_graph
from topograph.graph.scaled import IntArray


@dataclass(frozen=True, eq=False)
class Cut:
    """The fewest nodes that every path has to pass; ``len()`` is their number.

    Attributes
    ----------
    nodes
        Ids of such nodes, sorted; of all smallest cuts the one nearest the source. Their number is
        also the largest number of paths without a common node (Menger).
    exists
        Whether there is a cut: not where an edge joins source and target, or a node is in both,
        and only nodes between them are eligible. ``nodes`` is then empty.
    eligible
        ``"all"`` or ``"hidden"``.
    """

    nodes: IntArray
    exists: bool
    eligible: str

    def __len__(self) -> int:
        return len(self.nodes)


def minimum_cut(
    graph: LayeredGraph,
    source: str | None = None,
    target: str | None = None,
    nodes: str = "all",
) -> Cut:
    """Find the fewest nodes that lie on every path from one layer to another.

    Structure alone counts: edges of weight 0 and identity edges lead on.

    Parameters
    ----------
    graph
        A layered graph.
    source, target
        Group names; by default all inputs and all outputs.
    nodes
        Eligible nodes: ``"all"``, or ``"hidden"``, those in neither source nor target.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph, or for an unknown group or choice of nodes.

    References
    ----------
    Menger 1927; Ford and Fulkerson 1956, with every node split in two; flows by Dinic's algorithm
    (SciPy).

    Examples
    --------
    >>> import numpy as np
    >>> from topograph.graph import layered_graph
    >>> waist = layered_graph({"x": 4, "h": 2, "y": 3},
    ...                       [("x", "h", np.ones((2, 4))), ("h", "y", np.ones((3, 2)))])
    >>> minimum_cut(waist).nodes.tolist()
    [4, 5]
    """
    check_graph(graph)
    nodes = check_choice(nodes, "nodes", ("all", "hidden"))
    starts = _members(graph, graph.inputs if source is None else (source,))
    ends = _members(graph, graph.outputs if target is None else (target,))
    n = graph.n_nodes
    edges = adjacency(
        graph, graph.blocks, lambda block: np.ones(block.matrix.nnz, np.int8), np.int8
    ).tocoo()
    to, fro = edges.coords
    eligible = np.ones(n, bool)
    if nodes == "hidden":
        eligible[starts] = eligible[ends] = False
    # Node v is split: v where edges come in, n + v where they go out, and an edge from v to n + v
    # that takes 1 where v may be cut and more than any flow where not.
    unlimited = n + 1
    first, last = 2 * n, 2 * n + 1
    tail = np.concatenate([np.arange(n), fro + n, np.full(len(starts), first), ends + n])
    head = np.concatenate([np.arange(n) + n, to, starts, np.full(len(ends), last)])
    capacity = np.full(len(tail), unlimited, np.int32)
    capacity[:n][eligible] = 1
    shape = (2 * n + 2, 2 * n + 2)
    free = capacity == unlimited
    if _reached(sp.csr_array((free, (tail, head)), shape=shape), first)[last]:
        return Cut(np.empty(0, np.int64), exists=False, eligible=nodes)
    network = sp.csr_array((capacity, (tail, head)), shape=shape)
    flow = sp.csgraph.maximum_flow(network, first, last).flow
    # What can still be reached when the flow is full: a cut node's first half and not its second.
    reached = _reached(network - flow > 0, first)
    return Cut(np.flatnonzero(reached[:n] & ~reached[n : 2 * n]), exists=True, eligible=nodes)


def layer_cuts(graph: LayeredGraph) -> dict[tuple[str, str], int]:
    """Return for every block the fewest nodes that touch all of its connections.

    It is also the largest number of connections without a common node (König), and the highest
    rank that a weight matrix of this structure can have: at most the smaller width, and less where
    a mask leaves the layer a narrower passage than its width.

    Parameters
    ----------
    graph
        A layered graph.

    Returns
    -------
    dict
        (source, target) to number of nodes, in the order of ``graph.weight_blocks``.

    References
    ----------
    König 1931; Hopcroft and Karp 1973 (SciPy).

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 3, "y": 3}, [("x", "y", [[1, 1, 1], [1, 0, 0], [1, 0, 0]])])
    >>> layer_cuts(graph)
    {('x', 'y'): 2}
    """
    sizes = {}
    for block in check_graph(graph).weight_blocks:
        ones = block.with_entries(np.ones(block.matrix.nnz, np.int8))
        matched = sp.csgraph.maximum_bipartite_matching(ones, perm_type="column")
        sizes[block.source, block.target] = int(np.count_nonzero(matched >= 0))
    return sizes


def bridges(graph: LayeredGraph) -> dict[tuple[str, str], IntArray]:
    """Return every block's bridges: connections whose loss would part what hangs together.

    In the undirected graph of connections; identity edges do not count.

    Parameters
    ----------
    graph
        A layered graph.

    Returns
    -------
    dict
        (source, target) to the bridges between these groups, int64 of shape (n, 2): ids of their
        source and target nodes, sorted.

    References
    ----------
    Tarjan 1974, "A note on finding the bridges of a graph" (igraph).

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 2, "h": 2, "y": 1},
    ...                       [("x", "h", [[1, 1], [1, 1]]), ("h", "y", [[1, 0]])])
    >>> bridges(graph)["h", "y"].tolist(), len(bridges(graph)["x", "h"])
    ([[2, 4]], 0)
    """
    found = check_graph(graph).to_igraph(identity=False)
    ids = np.sort(np.array(found.bridges(), np.int64))
    result, start = {}, 0
    for block in graph.weight_blocks:
        # The export keeps the order of the blocks and of their edges.
        inside = ids[(ids >= start) & (ids < start + block.matrix.nnz)] - start
        rows, columns = block.matrix.tocoo().coords
        pairs = np.column_stack(
            [
                columns[inside] + graph.groups[block.source].start,
                rows[inside] + graph.groups[block.target].start,
            ]
        ).astype(np.int64)
        result[block.source, block.target] = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        start += block.matrix.nnz
    return result


def _reached(open_edges: sp.csr_array, start: int) -> NDArray[np.bool_]:
    edges = open_edges.astype(np.int8)
    edges.eliminate_zeros()
    reached = np.zeros(edges.shape[0], bool)
    reached[sp.csgraph.breadth_first_order(edges, start, return_predecessors=False)] = True
    return reached


def _members(graph: LayeredGraph, names: tuple[str, ...]) -> IntArray:
    ids = [np.arange(graph.group(name).start, graph.group(name).stop) for name in names]
    return np.unique(np.concatenate(ids))
