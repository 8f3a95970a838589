"""What a network looks like from afar: every layer one node."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from topograph.graph.layered import LayeredGraph, check_graph, layered_graph


def layer_graph(graph: LayeredGraph) -> LayeredGraph:
    """Return the graph of a network's layers: a node a group, an edge a block.

    An edge weighs as much as the block has connections; blocks without any are left out. Identity
    blocks become identity edges in the same way. Groups keep their names, so every measure of a
    graph can be taken of the layers.

    Parameters
    ----------
    graph
        A layered graph.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 2, "h": 3, "y": 1},
    ...                       [("x", "h", [[1, 0], [0, 2], [1, 1]]), ("h", "y", [[1, 1, 0]])])
    >>> layers = layer_graph(graph)
    >>> layers.n_nodes, [block.matrix.toarray().tolist() for block in layers.blocks]
    (3, [[[4.0]], [[2.0]]])
    """
    check_graph(graph)
    edges: dict[bool, list[tuple[str, str, sp.csr_array]]] = {False: [], True: []}
    for block in graph.blocks:
        if block.matrix.nnz:
            one = sp.csr_array(np.array([[float(block.matrix.nnz)]]))
            edges[block.identity].append((block.source, block.target, one))
    return layered_graph(
        dict.fromkeys(graph.groups, 1), edges[False], graph.inputs, graph.outputs, edges[True]
    )
