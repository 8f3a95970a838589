"""Which nodes and weights lie on a way from the inputs to the outputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topograph.graph.layered import LayeredGraph, check_graph
from topograph.graph.scaled import IntArray


def dead_nodes(graph: LayeredGraph) -> IntArray:
    """Return the ids of all nodes that lie on no path from an input to an output, sorted.

    Structure alone counts: an edge of weight 0 leads on, and so does an identity edge. Inputs
    and outputs are looked at too.

    Parameters
    ----------
    graph
        A layered graph.

    Returns
    -------
    numpy.ndarray
        int64 node ids.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 1, "h": 3, "y": 1}, [("x", "h", [[1], [1], [0]]),
    ...                                                  ("h", "y", [[1, 0, 1]])])
    >>> dead_nodes(graph).tolist()                 # no way out of 2, none into 3
    [2, 3]
    """
    from_inputs, to_outputs = _reach(check_graph(graph))
    return np.flatnonzero(~(from_inputs & to_outputs))


def effective_density(graph: LayeredGraph) -> float:
    """Return the part of all weights, kept or missing, that lies on a path, 0 to 1.

    Kept weights on at least one input-to-output path (by structure, as in :func:`dead_nodes`)
    over all weight positions of the graph's weight blocks: every entry of a matrix, and every
    tap of a convolution. At most the density; the difference is weights that do nothing. A
    weight that several blocks share counts in each. NaN for a graph without weight blocks.

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
    >>> graph = layered_graph({"x": 1, "h": 3, "y": 1}, [("x", "h", [[1], [1], [0]]),
    ...                                                  ("h", "y", [[1, 0, 1]])])
    >>> effective_density(graph)                   # 2 of 6 positions; the density is 4/6
    0.3333333333333333
    """
    from_inputs, to_outputs = _reach(check_graph(graph))
    effective = positions = 0
    for block in graph.weight_blocks:
        positions += block.n_positions
        sources = from_inputs[graph.nodes(block.source)]
        targets = to_outputs[graph.nodes(block.target)]
        taps = block.with_entries(block.tap_counts)
        effective += int((taps @ sources.astype(np.int64))[targets].sum())
    return effective / positions if positions else float("nan")


def _reach(graph: LayeredGraph) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return by node id who is reached from the inputs, and who reaches the outputs."""
    from_inputs = np.zeros(graph.n_nodes, bool)
    to_outputs = np.zeros(graph.n_nodes, bool)
    for name in graph.inputs:
        from_inputs[graph.nodes(name)] = True
    for name in graph.outputs:
        to_outputs[graph.nodes(name)] = True
    start = {name: group.start for name, group in graph.groups.items()}
    # In order of the targets every source is settled before it is read; the other way round too.
    for block in sorted(graph.blocks, key=lambda block: start[block.target]):
        edges = block.with_entries(np.ones(block.matrix.nnz, bool))
        from_inputs[graph.nodes(block.target)] |= edges @ from_inputs[graph.nodes(block.source)]
    for block in sorted(graph.blocks, key=lambda block: start[block.source], reverse=True):
        edges = block.with_entries(np.ones(block.matrix.nnz, bool))
        to_outputs[graph.nodes(block.source)] |= edges.T @ to_outputs[graph.nodes(block.target)]
    return from_inputs, to_outputs
