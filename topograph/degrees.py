"""How many connections every node has, and which nodes have none or few."""

from __future__ import annotations

import numpy as np

from topograph.check import check_choice, check_positive
from topograph.graph.layered import Block, LayeredGraph, check_graph
from topograph.graph.scaled import IntArray


def degree(graph: LayeredGraph, kind: str = "total", weighted: str | None = None) -> IntArray:
    """Count every node's connections.

    Weight edges count, those of weight 0 too; identity edges do not. At channel granularity a
    convolution has one edge for a pair of channels, whatever its kernel.

    Parameters
    ----------
    graph
        A layered graph.
    kind
        ``"total"`` (in and out), ``"in"`` or ``"out"``.
    weighted
        ``None`` counts edges; ``"taps"`` counts the kept weights behind them.

    Returns
    -------
    numpy.ndarray
        int64 of shape (n_nodes,), by node id.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph, or for an unknown ``kind`` or ``weighted``.

    References
    ----------
    The survival paper, section 4.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 2, "h": 2, "y": 1},
    ...                       [("x", "h", [[1, 1], [0, 2]]), ("h", "y", [[3, 0]])])
    >>> degree(graph).tolist(), degree(graph, "in").tolist()
    ([1, 2, 3, 1, 1], [0, 0, 2, 1, 1])
    """
    check_graph(graph)
    kind = check_choice(kind, "kind", ("total", "in", "out"))
    if weighted is not None:
        check_choice(weighted, "weighted", ("taps",))
    counts = np.zeros(graph.n_nodes, np.int64)
    for block in graph.weight_blocks:
        targets, sources = graph.nodes(block.target), graph.nodes(block.source)
        into, out = _taps(block) if weighted == "taps" else _edges(block)
        if kind != "out":
            counts[targets] += into
        if kind != "in":
            counts[sources] += out
    return counts


def isolated_nodes(graph: LayeredGraph) -> IntArray:
    """Return the ids of all nodes with no weight edge in and none out, sorted.

    Identity edges do not count. Inputs and outputs are looked at too; ``graph.hidden`` and
    ``graph.nodes`` tell where a node belongs.

    References
    ----------
    The growth paper, figure 8a.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 1, "h": 3, "y": 1}, [("x", "h", [[1], [1], [0]]),
    ...                                                  ("h", "y", [[1, 0, 0]])])
    >>> isolated_nodes(graph).tolist()
    [3]
    """
    return np.flatnonzero(degree(graph) == 0)


def dormant_nodes(graph: LayeredGraph, threshold: float) -> IntArray:
    """Return the ids of all nodes whose degree is at most ``threshold``, sorted.

    Parameters
    ----------
    graph
        A layered graph.
    threshold
        Largest degree of a dormant node, at least 0; with 0 these are the isolated nodes.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph or ``threshold`` is negative or no number.

    References
    ----------
    The survival paper, figure 9.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 1, "h": 3, "y": 1}, [("x", "h", [[1], [1], [0]]),
    ...                                                  ("h", "y", [[1, 0, 0]])])
    >>> dormant_nodes(graph, 1).tolist()
    [2, 3, 4]
    """
    check_graph(graph)
    threshold = check_positive(threshold, "threshold", zero=True)
    return np.flatnonzero(degree(graph) <= threshold)


def _edges(block: Block) -> tuple[IntArray, IntArray]:
    """Return the number of edges into every target and out of every source."""
    matrix = block.matrix
    return np.diff(matrix.indptr), np.bincount(matrix.indices, minlength=matrix.shape[1])


def _taps(block: Block) -> tuple[IntArray, IntArray]:
    """Return the number of kept weights into every target and out of every source."""
    taps = block.with_entries(block.tap_counts)
    n_targets, n_sources = taps.shape
    return taps @ np.ones(n_sources, np.int64), taps.T @ np.ones(n_targets, np.int64)
