"""Which few nodes cover the paths: greedy deletion of the heaviest node, swept incrementally."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from topograph.graph.layered import LayeredGraph
from topograph.graph.scaled import FloatArray, IntArray, Scaled, joined
from topograph.graph.sweeps import Sweeps

#: Path weights that differ by less than this part of themselves are tied.
TIE = 1e-9

#: What rounding may leave missing from a share that is reached exactly.
ROUNDING = 1e-12


def greedy_cover(
    graph: LayeredGraph, tau: float, eligible: Iterable[str]
) -> tuple[IntArray, FloatArray]:
    """Delete the node that the most remaining path weight runs through until tau R is gone.

    Parameters
    ----------
    graph
        A layered graph.
    tau
        Part of R to cover, in (0, 1].
    eligible
        Names of the groups whose nodes may be deleted.

    Returns
    -------
    nodes
        Ids in the order of deletion; ties to the lower id.
    coverage
        The deleted part of R after each. It ends below tau where the rest of the paths runs
        through no eligible node.
    """
    remaining = _RemainingPaths(graph, eligible)
    goal = tau * (1 - ROUNDING) if tau < 1 else np.inf
    nodes: list[int] = []
    coverage: list[float] = []
    covered = 0.0
    while covered < goal:
        found = remaining.heaviest()
        if found is None:
            break
        name, index, share = found
        remaining.delete(name, index)
        covered += share
        nodes.append(graph.groups[name].start + index)
        coverage.append(covered)
    return np.array(nodes, np.int64), np.minimum(np.array(coverage, np.float64), 1.0)


class _RemainingPaths:
    """Path centralities of a graph under deletions, brought up to date only where they matter.

    Deleting a node of group l leaves φ of groups up to l and ψ of groups from l on unchanged
    (groups in topological order, the node itself aside). Invariants:

    - φ is right for the groups up to ``_phi_until``, ψ for the groups from ``_psi_from`` on, and
      ``_psi_from <= _phi_until``: between the two, path centralities can be had at once.
    - ``_share[name]`` is exact if ``_checked[name]`` equals the number of deletions. Otherwise it
      is an upper bound, because a deletion takes paths away and adds none. So a group is brought
      up to date only when its bound could hold the heaviest node.
    """

    def __init__(self, graph: LayeredGraph, eligible: Iterable[str]) -> None:
        self._sweeps = Sweeps(graph)
        self._order = list(graph.groups)
        self._place = {name: k for k, name in enumerate(self._order)}
        self._phi = self._sweeps.forward()
        self._psi = self._sweeps.backward()
        self._total = joined([self._psi[name] for name in graph.inputs]).total()
        self._phi_until, self._psi_from = len(self._order) - 1, 0
        self._deleted: dict[str, list[int]] = {name: [] for name in self._order}
        self._n_deleted = 0
        self._eligible = sorted(eligible, key=self._place.__getitem__)
        self._share = {name: self._current_share(name) for name in self._eligible}
        self._top = {name: float(share.max()) for name, share in self._share.items()}
        self._checked = dict.fromkeys(self._eligible, 0)

    def heaviest(self) -> tuple[str, int, float] | None:
        """Return group, index and share of R of the heaviest node; None if no path is left."""
        while True:
            exact = [name for name in self._eligible if self._checked[name] == self._n_deleted]
            best = max((self._top[name] for name in exact), default=0.0)
            stale = [
                name
                for name in self._eligible
                if self._checked[name] != self._n_deleted
                and self._top[name] > 0
                and self._top[name] >= best * (1 - TIE)
            ]
            if not stale:
                break
            self._update(max(stale, key=self._top.__getitem__))
        if best == 0:
            return None
        # Ties to the lower id: the first group, and in it the first node, that comes close enough.
        name = next(name for name in exact if self._top[name] >= best * (1 - TIE))
        index = int(np.argmax(self._share[name] >= best * (1 - TIE)))
        return name, index, float(self._share[name][index])

    def delete(self, name: str, index: int) -> None:
        """Delete one node of a group whose shares are exact, and all paths through it."""
        place = self._place[name]
        gone = np.array([index])
        self._deleted[name].append(index)
        self._phi[name] = self._phi[name].without(gone)
        self._psi[name] = self._psi[name].without(gone)
        self._phi_until = min(self._phi_until, place)
        self._psi_from = max(self._psi_from, place)
        self._n_deleted += 1
        # The other nodes of this group lie on none of the deleted paths.
        self._share[name][index] = 0
        self._top[name] = float(self._share[name].max())
        self._checked[name] = self._n_deleted

    def _update(self, name: str) -> None:
        place = self._place[name]
        while self._phi_until < place:
            self._phi_until += 1
            later = self._order[self._phi_until]
            phi = self._sweeps.complexity(later, self._phi, self._sweeps.starts)
            self._phi[later] = self._without_deleted(later, phi)
        while self._psi_from > place:
            self._psi_from -= 1
            earlier = self._order[self._psi_from]
            psi = self._sweeps.generality(earlier, self._psi, self._sweeps.ends)
            self._psi[earlier] = self._without_deleted(earlier, psi)
        self._share[name] = self._current_share(name)
        self._top[name] = float(self._share[name].max())
        self._checked[name] = self._n_deleted

    def _without_deleted(self, name: str, sums: Scaled) -> Scaled:
        deleted = self._deleted[name]
        return sums.without(np.array(deleted)) if deleted else sums

    def _current_share(self, name: str) -> FloatArray:
        return (self._phi[name] * self._psi[name]).over(self._total)
