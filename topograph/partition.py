"""Whether a network falls into communities: modularity, by Leiden or of given communities."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from topograph.check import check_integer, check_positive
from topograph.errors import TopographError
from topograph.graph.layered import LayeredGraph, check_graph
from topograph.graph.scaled import IntArray


@dataclass(frozen=True, eq=False)
class Communities:
    """A division of a network's nodes, and its modularity; ``len()`` is the number of parts.

    Attributes
    ----------
    modularity
        Q, below 1: how much more of the connections lie within communities than at random. NaN
        without connections.
    membership
        Community of every node, from 0 on, int64 of shape (n_nodes,).
    """

    modularity: float
    membership: IntArray

    def __len__(self) -> int:
        return len(np.unique(self.membership))


def communities(
    graph: LayeredGraph, resolution: float = 1.0, weighted: bool = False, seed: int = 0
) -> Communities:
    """Divide a network into communities of large modularity, by the Leiden algorithm.

    In the undirected graph of connections; identity edges do not count. The best division is not
    guaranteed, as with every method that scales.

    Parameters
    ----------
    graph
        A layered graph; :func:`topograph.layer_graph` gives that of whole layers.
    resolution
        Above 1: more and smaller communities; below: fewer and larger ones.
    weighted
        Whether connections count by the magnitude of their weights instead of 1 each.
    seed
        Seed of the search; the same seed gives the same communities.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph, ``resolution`` not positive or ``seed`` negative.

    References
    ----------
    Newman and Girvan 2004, "Finding and evaluating community structure in networks"; Traag,
    Waltman and van Eck 2019, "From Louvain to Leiden" (igraph).

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> apart = layered_graph({"x": 4, "y": 4}, [("x", "y", [[1, 1, 0, 0], [1, 1, 0, 0],
    ...                                                      [0, 0, 1, 1], [0, 0, 1, 1]])])
    >>> found = communities(apart)
    >>> found.modularity, found.membership.tolist()
    (0.5, [0, 0, 1, 1, 0, 0, 1, 1])
    """
    check_graph(graph)
    resolution = check_positive(resolution, "resolution")
    seed = check_integer(seed, "seed")
    undirected, weights = _undirected(graph, weighted)
    if not _total(undirected, weights):
        return Communities(float("nan"), np.arange(graph.n_nodes))
    import igraph

    igraph.set_random_number_generator(random.Random(seed))
    try:
        found = undirected.community_leiden(
            objective_function="modularity",
            weights=weights,
            resolution=resolution,
            n_iterations=-1,
        )
    finally:
        igraph.set_random_number_generator(random)
    membership = np.array(found.membership, np.int64)
    # Numbered by their first nodes, so that equal divisions are equal arrays.
    _, first, inverse = np.unique(membership, return_index=True, return_inverse=True)
    membership = np.argsort(np.argsort(first))[inverse]
    value = undirected.modularity(membership.tolist(), weights=weights, resolution=resolution)
    return Communities(float(value), membership)


def modularity(
    graph: LayeredGraph, membership: Any = None, resolution: float = 1.0, weighted: bool = False
) -> float:
    """Return the modularity of a division of a network's nodes into communities, below 1.

    Q = Σ over communities c of L_c/m - γ (K_c/2m)², with m connections in all, L_c within c, and
    K_c the sum of the degrees in c. In the undirected graph of connections; identity edges do not
    count. NaN without connections.

    Parameters
    ----------
    graph
        A layered graph.
    membership
        Community of every node, whole numbers of at least 0 of shape (n_nodes,); by default the
        layers (of which Q is at most 0, as all connections lie between them).
    resolution
        γ, above 0.
    weighted
        Whether connections count by the magnitude of their weights instead of 1 each.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph, ``membership`` not one whole number a node, or
        ``resolution`` not positive.

    References
    ----------
    Newman and Girvan 2004, "Finding and evaluating community structure in networks"; γ: Reichardt
    and Bornholdt 2006 (igraph).

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 2, "y": 2}, [("x", "y", [[1, 0], [0, 1]])])
    >>> modularity(graph, [0, 1, 0, 1]), modularity(graph)
    (0.5, -0.5)
    """
    check_graph(graph)
    resolution = check_positive(resolution, "resolution")
    if membership is None:
        sizes = [group.size for group in graph.groups.values()]
        number = np.repeat(np.arange(len(sizes)), sizes)
    else:
        number = _check_membership(membership, graph.n_nodes)
    undirected, weights = _undirected(graph, weighted)
    if not _total(undirected, weights):
        return float("nan")
    return float(undirected.modularity(number.tolist(), weights=weights, resolution=resolution))


def _undirected(graph: LayeredGraph, weighted: bool) -> tuple[Any, list[float] | None]:
    # A DAG has no edge in both directions, so none is doubled.
    directed = graph.to_igraph(identity=False)
    weights = [abs(weight) for weight in directed.es["weight"]] if weighted else None
    return directed.as_undirected(mode="each"), weights


def _total(undirected: Any, weights: list[float] | None) -> float:
    return float(undirected.ecount() if weights is None else sum(weights))


def _check_membership(membership: Any, n_nodes: int) -> IntArray:
    number = np.asarray(membership)
    if (
        number.shape != (n_nodes,)
        or number.dtype.kind not in "iu"
        or (number.size and number.min() < 0)
    ):
        raise TopographError(
            f"membership has shape {number.shape} and type {number.dtype}; expected a whole "
            f"number of at least 0 for each of {n_nodes} nodes",
            "pass e.g. topograph.communities(graph).membership",
        )
    return number.astype(np.int64)
