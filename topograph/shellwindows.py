"""How deep nodes lie in the core of a few layers at a time, where the whole graph is too large."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from topograph.check import check_integer
from topograph.graph.layered import LayeredGraph, check_graph
from topograph.graph.scaled import IntArray
from topograph.shells import k_shell


@dataclass(frozen=True, eq=False)
class KShellWindows:
    """The k-shells of every few consecutive layers.

    Attributes
    ----------
    shell
        The largest of a node's shells in the windows that it is in, int64 of shape (n_nodes,), by
        node id. At most its shell in the whole graph, and the same where one window holds all.
    windows
        The groups of every window, in topological order.
    k_max
        The largest shell in every window, int64 of shape (windows,).
    left_out
        Number of edges between groups that are in no window together; they are not counted.
    """

    shell: IntArray
    windows: tuple[tuple[str, ...], ...]
    k_max: IntArray
    left_out: int

    def __repr__(self) -> str:
        return (
            f"KShellWindows({len(self.windows)} windows, k_max {self.k_max.min()} to "
            f"{self.k_max.max()}, {self.left_out} edges left out)"
        )


def k_shell_windows(graph: LayeredGraph, width: int = 3) -> KShellWindows:
    """Peel every ``width`` consecutive groups by themselves, in memory for one window.

    A subgraph's shells are at most the graph's, so every number is a lower bound of the node's
    shell, and a wider window a better one. In a chain of layers k_max comes from the densest few
    consecutive layers, so that narrow windows mostly find it.

    Parameters
    ----------
    graph
        A layered graph; its blocks may be memory-mapped (:func:`topograph.graph.map_graph`).
    width
        Number of groups in a window, at least 2. One group further on the next window begins.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph or ``width`` is below 2.

    Examples
    --------
    >>> import numpy as np
    >>> from topograph.graph import layered_graph
    >>> square = np.ones((2, 2))
    >>> graph = layered_graph(dict(a=2, b=2, c=2), [("a", "b", square), ("b", "c", square)])
    >>> k_shell_windows(graph, width=2)
    KShellWindows(2 windows, k_max 2 to 2, 0 edges left out)
    """
    check_graph(graph)
    width = check_integer(width, "width", least=2)
    names = list(graph.groups)
    last = max(len(names) - width, 0)
    windows = tuple(tuple(names[start : start + width]) for start in range(last + 1))
    shell = np.zeros(graph.n_nodes, np.int64)
    k_max = np.zeros(len(windows), np.int64)
    for number, window in enumerate(windows):
        shells = k_shell(_part(graph, window))
        k_max[number] = shells.max()
        # Groups that follow each other have ids that do.
        ids = slice(graph.groups[window[0]].start, graph.groups[window[-1]].stop)
        shell[ids] = np.maximum(shell[ids], shells)
    order = {name: k for k, name in enumerate(names)}
    left_out = sum(
        block.matrix.nnz
        for block in graph.weight_blocks
        if order[block.target] - order[block.source] >= width
    )
    return KShellWindows(shell, windows, k_max, left_out)


def _part(graph: LayeredGraph, names: tuple[str, ...]) -> LayeredGraph:
    """Return the graph of some consecutive groups and the weight blocks among them."""
    first = graph.groups[names[0]].start
    groups = {
        name: replace(graph.groups[name], start=graph.groups[name].start - first) for name in names
    }
    blocks = tuple(
        block for block in graph.weight_blocks if block.source in groups and block.target in groups
    )
    return LayeredGraph(MappingProxyType(groups), blocks, names[:1], names[-1:])
