"""On how few nodes a network's paths concentrate: the τ-core, its ratio to the width, hourglass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from topograph.check import check_choice, check_fraction
from topograph.errors import TopographError
from topograph.graph.cover import ROUNDING, TIE, greedy_cover
from topograph.graph.flat import flat_network
from topograph.graph.layered import LayeredGraph, check_graph
from topograph.graph.scaled import FloatArray, IntArray
from topograph.paths import path_sums


class SharesByGroup(Protocol):
    """Path shares of a network, group by group; what :func:`topograph.path_flow` returns."""

    @property
    def share(self) -> Mapping[str, Any]:
        """Group name to a 1-D array or tensor of shares of the total path weight."""

    @property
    def hidden(self) -> tuple[str, ...]:
        """Names of the groups that are neither input nor output."""

    @property
    def offsets(self) -> Mapping[str, int]:
        """Group name to the id of its first node."""


@dataclass(frozen=True, eq=False)
class TauCore:
    """A small set of nodes that holds a part τ of the path weight; ``len()`` is its size.

    Attributes
    ----------
    nodes
        Node ids in the order in which they were taken, int64 of shape (size,).
    coverage
        What is held after each node, float64 of shape (size,), cumulative. Rule ``"mass"``: part
        of the path centrality of all eligible nodes together. Rule ``"cover"``: part of the
        total path weight R whose paths run through the nodes taken.
    tau
        The part asked for. Under ``"cover"`` the last coverage stays below it where too many
        paths run through no eligible node.
    rule
        ``"mass"`` or ``"cover"``.
    eligible
        ``"hidden"`` or ``"all"``: the nodes that could be taken.
    """

    nodes: IntArray
    coverage: FloatArray
    tau: float
    rule: str
    eligible: str

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        held = f"{self.coverage[-1]:.4g}" if len(self) else "0"
        return (
            f"TauCore({len(self)} nodes hold {held} at tau={self.tau}, rule={self.rule!r}, "
            f"eligible={self.eligible!r})"
        )


def tau_core(
    graph: LayeredGraph | SharesByGroup, tau: float = 0.9, rule: str = "mass", nodes: str = "hidden"
) -> TauCore:
    """Find the few nodes that hold a part τ of the path weight.

    Rule ``"mass"``: the smallest set of eligible nodes whose path centralities C sum to at least
    τ ΣC over all eligible nodes; largest first. Rule ``"cover"``: take the node of largest
    remaining C, delete it with all paths through it, and go on until the deleted paths weigh at
    least τ R. Ties (relative 1e-9) go to the lower id. The core is empty where no path leads from
    the inputs to the outputs; at ``tau=1`` it holds every node (every path) that weighs anything.

    Parameters
    ----------
    graph
        A layered graph, or the result of :func:`topograph.path_flow` (rule ``"mass"`` only).
    tau
        Part to be held, in (0, 1].
    rule
        ``"mass"`` or ``"cover"``.
    nodes
        Eligible nodes: ``"hidden"``, those of groups that are neither input nor output, or
        ``"all"``. With all nodes the cover of a classifier collapses into its few outputs.

    Raises
    ------
    TopographError
        For an unknown rule, an unknown choice of nodes, a tau outside (0, 1], or rule ``"cover"``
        on something that is no graph.

    References
    ----------
    Mass: the growth paper, section 3. Cover: Batta et al. 2021, "A weighted network analysis
    framework for the hourglass effect"; Sabrin and Dovrolis 2017, "The hourglass effect in
    hierarchical dependency networks".

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 1, "h": 3, "y": 1}, [("x", "h", [[7], [2], [1]]),
    ...                                                  ("h", "y", [[1, 1, 1]])])
    >>> core = tau_core(graph, tau=0.8)
    >>> core.nodes.tolist(), core.coverage.tolist()
    ([1, 2], [0.7, 0.9])
    """
    tau = check_fraction(tau, "tau")
    rule = check_choice(rule, "rule", ("mass", "cover"))
    nodes = check_choice(nodes, "nodes", ("hidden", "all"))
    if rule == "cover":
        whole = check_graph(graph)
        groups = whole.hidden if nodes == "hidden" else tuple(whole.groups)
        taken, coverage = greedy_cover(whole, tau, groups)
        return TauCore(taken, coverage, tau, rule, nodes)
    ids, centrality = _eligible(graph, nodes)
    order = _largest_first(centrality)
    held = _held(centrality[order], tau)
    return TauCore(ids[order[: len(held)]], held, tau, rule, nodes)


def tau_core_ratios(graph: LayeredGraph | SharesByGroup, tau: float = 0.9) -> dict[str, float]:
    """Return each hidden group's τ-core ratio: how much of its width carries a part τ.

    The size of the smallest set of a group's nodes that holds at least τ of the group's path
    centrality, over the group's size; 0 where the group carries no path. Low values are
    bottlenecks.

    Parameters
    ----------
    graph
        A layered graph, or the result of :func:`topograph.path_flow`.
    tau
        Part to be held, in (0, 1].

    Returns
    -------
    dict
        Group name to ratio, 0 to 1, in topological order; empty where there is no hidden group.

    References
    ----------
    The growth paper, section 5 and figure 6.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 1, "h": 4, "y": 1}, [("x", "h", [[7], [2], [1], [0]]),
    ...                                                  ("h", "y", [[1, 1, 1, 1]])])
    >>> tau_core_ratios(graph, tau=0.9)
    {'h': 0.5}
    """
    tau = check_fraction(tau, "tau")
    return {
        name: len(_held(np.sort(centrality)[::-1], tau)) / len(centrality)
        for name, centrality in _within_groups(graph).items()
    }


def average_tau_core_ratio(graph: LayeredGraph | SharesByGroup, tau: float = 0.9) -> float:
    """Return the mean of :func:`tau_core_ratios` over the hidden groups, 0 to 1.

    Higher means fewer bottlenecks. NaN for a network without hidden groups.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 1, "h": 4, "y": 1}, [("x", "h", [[1], [1], [1], [1]]),
    ...                                                  ("h", "y", [[1, 1, 1, 1]])])
    >>> average_tau_core_ratio(graph, tau=0.5)
    0.5
    """
    ratios = list(tau_core_ratios(graph, tau).values())
    return float(np.mean(ratios)) if ratios else float("nan")


def hourglass_score(graph: LayeredGraph, tau: float = 0.9) -> float:
    """Return H(τ) = 1 - |core(τ)| / |core(τ) of the flat network|.

    Both cores by rule ``"cover"`` with all nodes eligible and the same τ. The flat network has
    one edge for every connected pair of an input and an output, which weighs as much as all paths
    between them. Near 1: all paths run through a small waist; 0 and below: none do. NaN where no
    path leads from the inputs to the outputs.

    Parameters
    ----------
    graph
        A layered graph.
    tau
        Part to be covered, in (0, 1].

    References
    ----------
    Sabrin and Dovrolis 2017; Batta et al. 2021 (whose script keeps τ = 0.9 for the flat network,
    whatever is asked).

    Examples
    --------
    >>> import numpy as np
    >>> from topograph.graph import layered_graph
    >>> waist = layered_graph({"x": 4, "h": 2, "y": 4},
    ...                       [("x", "h", np.ones((2, 4))), ("h", "y", np.ones((4, 2)))])
    >>> hourglass_score(waist)
    0.5
    """
    tau = check_fraction(tau, "tau")
    flat = flat_network(check_graph(graph))
    size = len(greedy_cover(flat, tau, flat.groups)[0])
    if size == 0:
        return float("nan")
    return 1 - len(greedy_cover(graph, tau, graph.groups)[0]) / size


def _eligible(graph: LayeredGraph | SharesByGroup, nodes: str) -> tuple[IntArray, FloatArray]:
    """Return ids and path centralities of the eligible nodes, ids ascending."""
    if isinstance(graph, LayeredGraph):
        names = graph.hidden if nodes == "hidden" else tuple(graph.groups)
        ids = [np.arange(graph.groups[name].start, graph.groups[name].stop) for name in names]
        chosen = np.concatenate([np.empty(0, np.int64), *ids])
        return chosen, _relative(path_sums(graph).log_centrality[chosen])
    shares = _check_shares(graph)
    offsets = shares.offsets
    names = shares.hidden if nodes == "hidden" else tuple(shares.share)
    parts = [_array(shares.share[name]) for name in sorted(names, key=offsets.__getitem__)]
    starts = sorted(offsets[name] for name in names)
    ids = [np.arange(start, start + len(part)) for start, part in zip(starts, parts, strict=True)]
    return np.concatenate([np.empty(0, np.int64), *ids]), np.concatenate([np.empty(0), *parts])


def _within_groups(graph: LayeredGraph | SharesByGroup) -> dict[str, FloatArray]:
    """Return each hidden group's path centralities, on a scale of the group's own."""
    if isinstance(graph, LayeredGraph):
        logs = path_sums(graph).log_centrality
        return {name: _relative(logs[graph.nodes(name)]) for name in graph.hidden}
    shares = _check_shares(graph)
    return {name: _array(shares.share[name]) for name in shares.hidden}


def _relative(logs: FloatArray) -> FloatArray:
    """Return exp(logs) over its largest, so that weak groups beside strong ones do not vanish."""
    top = logs.max(initial=-np.inf)
    return np.exp(logs - top) if np.isfinite(top) else np.zeros(len(logs))


def _check_shares(value: object) -> SharesByGroup:
    if all(hasattr(value, name) for name in ("share", "hidden", "offsets")):
        return cast(SharesByGroup, value)
    raise TopographError(
        f"graph is a {type(value).__name__}; expected a LayeredGraph or the result of path_flow",
        "make one with topograph.capture, topograph.layered_graph or topograph.path_flow",
    )


def _array(share: Any) -> FloatArray:
    """Return a NumPy array or a tensor of any device as float64."""
    if hasattr(share, "detach"):
        share = share.detach().cpu()
    return np.asarray(share, dtype=np.float64)


def _largest_first(values: FloatArray) -> IntArray:
    """Return the order from large to small in which neighbours closer than ``TIE`` keep theirs."""
    order = np.argsort(-values, kind="stable")
    falling = values[order]
    run = np.cumsum(np.r_[False, falling[1:] < falling[:-1] * (1 - TIE)][: len(falling)])
    return order[np.lexsort((order, run))]


def _held(falling: FloatArray, tau: float) -> FloatArray:
    """Return the cumulative parts of the shortest beginning that holds tau of the whole."""
    positive = falling[falling > 0]
    if not len(positive):
        return positive
    held = np.cumsum(positive)
    held /= held[-1]
    return held if tau == 1 else held[: np.searchsorted(held, tau * (1 - ROUNDING)) + 1]
