"""How evenly a layer's nodes share its paths: the entropy of their path shares."""

from __future__ import annotations

import numpy as np

from topograph.core import SharesByGroup
from topograph.errors import TopographError
from topograph.graph.layered import LayeredGraph
from topograph.graph.scaled import FloatArray
from topograph.paths import path_sums


def path_entropy(graph: LayeredGraph | SharesByGroup, normalised: bool = False) -> dict[str, float]:
    """Return the entropy of every hidden group's path shares.

    H = -Σ p ln p over the nodes v of a group, p(v) = C(v) / ΣC over the group. exp(H) is the
    number of nodes that would carry as many paths evenly.

    Parameters
    ----------
    graph
        A layered graph, or the result of :func:`topograph.path_flow`.
    normalised
        Divide by ln of the group's size: 1 where all nodes carry the same (and in a group of one
        node), 0 where one carries all.

    Returns
    -------
    dict
        Group name to entropy in nats, 0 to ln(size), or normalised, 0 to 1; NaN where the group
        carries no path.

    Raises
    ------
    TopographError
        If ``graph`` is neither a layered graph nor a path flow.

    References
    ----------
    Shannon 1948, "A mathematical theory of communication"; exp(H): Hill 1973, "Diversity and
    evenness"; normalised: Pielou 1966. C: the growth paper, eq. 5.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 1, "h": 4, "y": 1}, [("x", "h", [[1], [1], [0], [0]]),
    ...                                                  ("h", "y", [[1, 1, 1, 1]])])
    >>> path_entropy(graph)                      # ln 2: two nodes carry one half each
    {'h': 0.693147...}
    >>> path_entropy(graph, normalised=True)
    {'h': 0.5}
    """
    return {name: _entropy(shares, normalised) for name, shares in _shares_within(graph).items()}


def _entropy(shares: FloatArray, normalised: bool) -> float:
    positive = shares[shares > 0]
    if not len(positive):
        return float("nan")
    entropy = max(0.0, float(-(positive * np.log(positive)).sum()))
    if not normalised:
        return entropy
    return min(1.0, entropy / float(np.log(len(shares)))) if len(shares) > 1 else 1.0


def _shares_within(graph: LayeredGraph | SharesByGroup) -> dict[str, FloatArray]:
    """Return each hidden group's path shares, which add up to 1 unless no path leads through."""
    if isinstance(graph, LayeredGraph):
        # From the logarithms, so that groups of tiny shares keep theirs.
        logs = path_sums(graph).log_centrality
        tops = {name: logs[graph.nodes(name)].max() for name in graph.hidden}
        shares = {
            name: np.exp(logs[graph.nodes(name)] - (top if np.isfinite(top) else 0.0))
            for name, top in tops.items()
        }
    elif all(hasattr(graph, name) for name in ("share", "hidden")):
        shares = {
            name: np.asarray(
                given.detach().cpu() if hasattr(given := graph.share[name], "detach") else given,
                np.float64,
            )
            for name in graph.hidden
        }
    else:
        raise TopographError(
            f"graph is a {type(graph).__name__}; expected a LayeredGraph or the result of "
            "path_flow",
            "make one with topograph.capture, topograph.layered_graph or topograph.path_flow",
        )
    return {name: part / (part.sum() or 1.0) for name, part in shares.items()}
