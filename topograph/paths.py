"""How much path weight runs through every node of a layered graph."""

from __future__ import annotations

from dataclasses import dataclass

from topograph.graph.layered import LayeredGraph, check_graph
from topograph.graph.scaled import FloatArray, joined
from topograph.graph.sweeps import Sweeps


@dataclass(frozen=True, eq=False)
class PathSums:
    """Sums over the input-to-output paths of a graph, by node id.

    A path weighs the product of the magnitudes of its edges; one that has a zero weight on it
    weighs nothing. Logarithms are natural; that of 0 is -inf.

    Attributes
    ----------
    share
        C(v)/R, float64 of shape (n_nodes,): the part of all path weight that runs through a
        node, 0 to 1. In a strictly layered network it sums to 1 over every layer. All 0 where no
        path leads from the inputs to the outputs.
    log_total
        log R, the total path weight.
    log_complexity
        log φ(v), float64 of shape (n_nodes,): path weight from the inputs to v.
    log_generality
        log ψ(v), float64 of shape (n_nodes,): path weight from v to the outputs.
    """

    share: FloatArray
    log_total: float
    log_complexity: FloatArray
    log_generality: FloatArray

    @property
    def log_centrality(self) -> FloatArray:
        """Logarithm of C(v) = φ(v) ψ(v), float64 of shape (n_nodes,)."""
        return self.log_complexity + self.log_generality


def path_sums(graph: LayeredGraph) -> PathSums:
    """Sum the weights of all input-to-output paths through every node.

    With φ(v) = [v is an input] + Σ_{u→v} |w(u,v)| φ(u) and
    ψ(u) = [u is an output] + Σ_{u→v} |w(u,v)| ψ(v), the path centrality is C(v) = φ(v) ψ(v) and
    the total R = Σ_inputs ψ = Σ_outputs φ. Identity edges carry paths as weights do. Two sparse
    sweeps; every number carries its own power of two, so nothing overflows at any depth.

    Parameters
    ----------
    graph
        A layered graph.

    Returns
    -------
    PathSums
        Arrays by node id.

    Raises
    ------
    TopographError
        If ``graph`` is no :class:`LayeredGraph`.

    References
    ----------
    The growth paper, eq. 4 and 5 (complexity, generality, path centrality); Batta et al. 2021,
    "A weighted network analysis framework for the hourglass effect".

    Examples
    --------
    >>> import numpy as np
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 2, "h": 2, "y": 1},
    ...                       [("x", "h", [[1, 1], [0, 2]]), ("h", "y", [[3, -1]])])
    >>> sums = path_sums(graph)
    >>> float(np.exp(sums.log_total))           # R = 3 + 3 + 2
    8.0
    >>> sums.share.tolist()
    [0.375, 0.625, 0.75, 0.25, 1.0]
    """
    check_graph(graph)
    sweeps = Sweeps(graph)
    phi, psi = sweeps.forward(), sweeps.backward()
    complexity = joined([phi[name] for name in graph.groups])
    generality = joined([psi[name] for name in graph.groups])
    total = joined([psi[name] for name in graph.inputs]).total()
    return PathSums(
        share=(complexity * generality).over(total),
        log_total=float(total.log()[0]),
        log_complexity=complexity.log(),
        log_generality=generality.log(),
    )


def path_centrality(graph: LayeredGraph) -> FloatArray:
    """Return each node's part of all path weight, C(v)/R, 0 to 1, by node id.

    The ``share`` of :func:`path_sums`, which see.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 1, "h": 2, "y": 1},
    ...                       [("x", "h", [[1], [3]]), ("h", "y", [[1, 1]])])
    >>> path_centrality(graph).tolist()
    [1.0, 0.25, 0.75, 1.0]
    """
    return path_sums(graph).share
