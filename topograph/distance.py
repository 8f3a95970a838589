"""How different two networks' connections are, whatever their neurons are numbered like."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp

from topograph.errors import TopographError
from topograph.graph.layered import LayeredGraph, check_graph
from topograph.graph.scaled import FloatArray, IntArray

# Added to the cost of a neuron that changes its number: decides ties, and nothing else.
_MOVED = 1e-9


def graph_distance(
    graph_a: LayeredGraph, graph_b: LayeredGraph, match_outputs: bool = True
) -> float:
    """Return how far two networks' connections are apart up to relabelling of neurons, 0 to 1.

    The mean of :func:`layer_distances` over layers (NNSTD, the neural network sparse topology
    distance). 0: the same connections; 1: no neuron shares one with its match. NaN where no
    layer has connections.

    Parameters
    ----------
    graph_a, graph_b
        Layered graphs of the same groups.
    match_outputs
        Whether output nodes are matched as hidden ones are, as in the source, or keep their
        numbers, as classes have.

    Raises
    ------
    TopographError
        If the graphs' groups differ in name, size or order, or in which are inputs.

    References
    ----------
    Liu et al. 2020, "Topological insights into sparse neural networks" (NNSTD).

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> a = layered_graph({"x": 3, "h": 2}, [("x", "h", [[1, 1, 0], [0, 0, 1]])])
    >>> b = layered_graph({"x": 3, "h": 2}, [("x", "h", [[0, 0, 1], [0, 1, 0]])])
    >>> graph_distance(a, b)               # the neurons cross over; one has lost one of two
    0.25
    """
    distances = list(layer_distances(graph_a, graph_b, match_outputs).values())
    return float(np.mean(distances)) if distances else float("nan")


def layer_distances(
    graph_a: LayeredGraph, graph_b: LayeredGraph, match_outputs: bool = True
) -> dict[str, float]:
    """Return for every layer how far its connections are apart in two networks, 0 to 1.

    Layer after layer from the inputs, neurons of the one network are matched with those of the
    other such that the sum of their distances is smallest. Two neurons are |A △ B| / |A ∪ B|
    apart, A and B being the nodes they have edges from, numbered by the matches of the layers
    before; 0 where both have none. A layer's distance is the mean over its neurons. Weights do not
    count. Ties go to the neuron of the same number.

    Identity edges count for the match, so that a residual stream keeps its order; a group that
    only they lead into is no layer of its own. Needs the square of a layer's width in memory and
    up to its cube in time.

    Parameters
    ----------
    graph_a, graph_b, match_outputs
        As in :func:`graph_distance`.

    Returns
    -------
    dict
        Name of a group with connections into it to distance, in topological order.

    References
    ----------
    Liu et al. 2020, "Topological insights into sparse neural networks", section 3; assignments by
    Crouse 2016 (SciPy).

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> a = layered_graph({"x": 2, "h": 2, "y": 1}, [("x", "h", [[1, 0], [0, 1]]),
    ...                                              ("h", "y", [[1, 0]])])
    >>> b = layered_graph({"x": 2, "h": 2, "y": 1}, [("x", "h", [[0, 1], [1, 0]]),
    ...                                              ("h", "y", [[1, 0]])])
    >>> layer_distances(a, b)              # h is the same with its neurons swapped; y is not
    {'h': 0.0, 'y': 1.0}
    """
    return _compared(graph_a, graph_b, match_outputs)[1]


def match_neurons(
    graph_a: LayeredGraph, graph_b: LayeredGraph, match_outputs: bool = True
) -> dict[str, IntArray]:
    """Return which neuron of ``graph_b`` each neuron of ``graph_a`` is matched with.

    The matches that :func:`layer_distances` makes.

    Returns
    -------
    dict
        Group name to int64 of shape (size,): at the index of a neuron in the group of
        ``graph_a``, its match's index in the group of ``graph_b``.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> a = layered_graph({"x": 2, "h": 2}, [("x", "h", [[1, 0], [0, 1]])])
    >>> b = layered_graph({"x": 2, "h": 2}, [("x", "h", [[0, 1], [1, 0]])])
    >>> match_neurons(a, b)["h"].tolist()
    [1, 0]
    """
    return _compared(graph_a, graph_b, match_outputs)[0]


def _compared(
    graph_a: LayeredGraph, graph_b: LayeredGraph, match_outputs: bool
) -> tuple[dict[str, IntArray], dict[str, float]]:
    """Return the matches of every group and the distances of those with connections."""
    from scipy.optimize import linear_sum_assignment

    _check_same_groups(check_graph(graph_a, "graph_a"), check_graph(graph_b, "graph_b"))
    layers = {block.target for graph in (graph_a, graph_b) for block in graph.weight_blocks}
    fixed = {*graph_a.inputs} if match_outputs else {*graph_a.inputs, *graph_a.outputs}
    match: dict[str, IntArray] = {}
    distances: dict[str, float] = {}
    for name, group in graph_a.groups.items():
        cost = _apart(_connections(graph_a, name, {}), _connections(graph_b, name, match))
        same = np.arange(group.size)
        match[name] = same
        if name not in fixed:
            penalty = np.full(cost.shape, _MOVED / group.size)
            np.fill_diagonal(penalty, 0)
            _, match[name] = linear_sum_assignment(cost + penalty)
        if name in layers:
            distances[name] = float(cost[same, match[name]].mean())
    return match, distances


def _connections(graph: LayeredGraph, name: str, match: Mapping[str, IntArray]) -> sp.csr_array:
    """Return a group's edges as 0 and 1, (size, nodes), sources numbered by their matches."""
    rows, columns = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for block in graph.blocks:
        if block.target == name:
            source = graph.groups[block.source]
            number = np.arange(source.size)
            if block.source in match:
                # match gives b's number of a's neuron; here a's number of b's is wanted.
                number = np.argsort(match[block.source])
            row, column = block.matrix.tocoo().coords
            rows.append(row)
            columns.append(source.start + number[column])
    at = np.concatenate(rows), np.concatenate(columns)
    shape = (graph.groups[name].size, graph.n_nodes)
    edges = sp.csr_array((np.ones(len(at[0]), np.int64), at), shape=shape)
    # A pair of nodes may be joined by a connection and an identity edge.
    edges.sum_duplicates()
    edges.data[:] = 1
    return edges


def _apart(a: sp.csr_array, b: sp.csr_array) -> FloatArray:
    """Return |A △ B| / |A ∪ B| for every row A of a and row B of b; 0 where both are empty."""
    shared = np.asarray((a @ b.T.tocsr()).todense(), np.float64)
    union = np.diff(a.indptr)[:, None] + np.diff(b.indptr)[None, :] - shared
    return np.where(union > 0, 1 - shared / np.maximum(union, 1), 0.0)


def _check_same_groups(graph_a: LayeredGraph, graph_b: LayeredGraph) -> None:
    sizes_a, sizes_b = (
        {name: group.size for name, group in graph.groups.items()} for graph in (graph_a, graph_b)
    )
    if list(sizes_a.items()) != list(sizes_b.items()):
        differing = [
            f"{name!r}: {sizes_a.get(name)} and {sizes_b.get(name)}"
            for name in dict.fromkeys([*sizes_a, *sizes_b])
            if sizes_a.get(name) != sizes_b.get(name)
        ] or ["their order"]
        raise TopographError(
            f"the graphs differ in their groups ({', '.join(differing)}); expected the same names "
            "and sizes",
            "compare graphs of one architecture",
        )
    if set(graph_a.inputs) != set(graph_b.inputs):
        raise TopographError(
            f"the graphs' inputs are {list(graph_a.inputs)!r} and {list(graph_b.inputs)!r}; "
            "expected the same",
            "compare graphs of one architecture",
        )
