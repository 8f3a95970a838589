"""Which nodes hold a network together and which hang on: core, nucleus, crust of its k-shells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from topograph.graph.adjacency import structure
from topograph.graph.layered import LayeredGraph, check_graph
from topograph.graph.scaled import IntArray
from topograph.shells import k_shell

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class KShellSummary:
    """The parts that a network falls into by its k-shells. Node ids are sorted.

    Attributes
    ----------
    shell
        Every node's k-shell, int64 of shape (n_nodes,), by node id.
    k_max
        The largest shell; 0 where there is no connection.
    core
        The nodes in shell ``k_max``; none where there is no connection.
    nucleus
        The largest connected part of the core; where the core is one piece, all of it.
    crust
        All other nodes: those in shells below ``k_max``, the isolated ones too.
    connected_crust
        The largest part of the crust that stays connected when the core is taken away, at least
        two nodes.
    dependent
        The nodes of the crust that have connections and are in no such part: without the core
        they fall off.
    isolated
        The nodes in shell 0.
    histogram
        Read-only mapping from group name to the number of its nodes in each shell, int64 of shape
        (k_max + 1,), in topological order.
    """

    shell: IntArray
    k_max: int
    core: IntArray
    nucleus: IntArray
    crust: IntArray
    connected_crust: IntArray
    dependent: IntArray
    isolated: IntArray
    histogram: Mapping[str, IntArray]
    _graph: LayeredGraph = field(repr=False)

    def __repr__(self) -> str:
        return (
            f"KShellSummary(k_max={self.k_max}, core of {len(self.core)} nodes, "
            f"crust of {len(self.crust)}, {len(self.isolated)} isolated)"
        )

    def frame(self) -> pd.DataFrame:
        """Return the histogram as a table: a row a shell, a column a group."""
        import pandas as pd

        return pd.DataFrame(dict(self.histogram)).rename_axis(index="k_shell")

    def figure(self, axes: Any = None) -> Figure:
        """Draw nodes on rings by shell, the core inmost; see :mod:`topograph.shellpicture`.

        Parameters
        ----------
        axes
            matplotlib axes to draw the rings into; by default those of a new figure, with the
            histogram beside them.
        """
        from topograph.shellpicture import draw

        return draw(self, self._graph, axes)


def k_shell_summary(graph: LayeredGraph) -> KShellSummary:
    """Return the core, nucleus and crust of a network, and how its layers lie in the shells.

    Parameters
    ----------
    graph
        A layered graph.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph.

    References
    ----------
    Core and crust: the survival paper, section 5.4 and figures 10 to 12. Nucleus, and the crust
    with and without the core: Carmi et al. 2007, "A model of internet topology using k-shell
    decomposition".

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 2, "h": 2, "y": 2},
    ...                       [("x", "h", [[1, 1], [1, 1]]), ("h", "y", [[1, 0], [0, 0]])])
    >>> summary = k_shell_summary(graph)
    >>> summary
    KShellSummary(k_max=2, core of 4 nodes, crust of 2, 1 isolated)
    >>> summary.dependent.tolist(), summary.histogram["y"].tolist()
    ([4], [1, 1, 0])
    """
    shell = k_shell(check_graph(graph))
    k_max = int(shell.max(initial=0))
    in_core = (shell == k_max) & (k_max > 0)
    edges = structure(graph)
    linked = shell > 0
    core, crust = np.flatnonzero(in_core), np.flatnonzero(~in_core)
    outside = np.flatnonzero(~in_core & linked)
    together = _largest_part(edges, outside)
    if len(together) < 2:
        together = together[:0]
    histogram = {
        name: np.bincount(shell[group.slice], minlength=k_max + 1)
        for name, group in graph.groups.items()
    }
    return KShellSummary(
        shell=shell,
        k_max=k_max,
        core=core,
        nucleus=_largest_part(edges, core),
        crust=crust,
        connected_crust=together,
        dependent=np.setdiff1d(outside, together, assume_unique=True),
        isolated=np.flatnonzero(~linked),
        histogram=MappingProxyType(histogram),
        _graph=graph,
    )


def _largest_part(edges: sp.csr_array, nodes: IntArray) -> IntArray:
    """Return the largest connected set of the nodes among themselves; the one of lowest ids."""
    if not len(nodes):
        return nodes
    among = edges[nodes][:, nodes]
    _, part = connected_components(among, directed=False)
    # Components are numbered in the order of their lowest node, and argmax takes the first.
    return nodes[part == np.bincount(part).argmax()]
