"""The nodes that are found while a network is followed, and what each reads.

Numbers are provisional: groups come in order of computation, and between the groups of the graph
stand groups of *mixed* nodes. A mixed node is a fixed linear combination of earlier nodes (a
pooling window, a mean over tokens); it is no node of the graph, and who reads it reads its parts.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, fx

from topograph.capturing.forms import Form
from topograph.capturing.signals import Signal
from topograph.capturing.weights import Operator


@dataclass(eq=False)
class Links:
    """Fixed connections: node ``targets[k]`` reads node ``sources[k]`` times ``factors[k]``.

    Targets are numbered within their group, sources provisionally over all groups.
    """

    targets: np.ndarray
    sources: np.ndarray
    factors: np.ndarray


@dataclass(eq=False)
class Reading:
    """What a weighted operator reads.

    Attributes
    ----------
    operator, form
        The use of a weight.
    ids
        int64 (groups, columns, places of the signal), or (groups, columns) where all places read
        the same: provisional numbers plus 1, or 0.
    gain
        float64 of the same shape, or None for 1.
    factor
        What the result is multiplied by.
    places
        The places of the result that read so, if they are not all.
    """

    operator: Operator
    form: Form
    ids: np.ndarray
    gain: np.ndarray | None
    factor: float = 1.0
    places: np.ndarray | None = None


@dataclass(eq=False)
class Merge:
    """Where the nodes of a merged group went.

    Attributes
    ----------
    group
        The group that took them in.
    nodes
        For each of the old nodes the node in ``group``, numbered within it.
    gain
        What was multiplied on the way, by old node.
    """

    group: Provisional
    nodes: np.ndarray
    gain: np.ndarray | None


@dataclass(eq=False)
class Provisional:
    """A group of nodes as it is found.

    Attributes
    ----------
    kind
        ``"input"``, ``"layer"``, ``"sum"``, ``"output"`` or ``"mixed"``.
    start, size
        First provisional number, and number of nodes.
    node
        The operator whose value the nodes are.
    index
        The node (within the group) of each element of that value, broadcastable to its shape; -1
        where an element is none.
    """

    kind: str
    start: int
    size: int
    node: fx.Node
    index: Tensor | None = None
    shape: tuple[int, ...] | None = None
    reading: Reading | None = None
    links: list[Links] = field(default_factory=list)
    merge: Merge | None = None
    factor: np.ndarray | None = None  # of everything read, by node
    averaged: bool = False  # whether positions that read different nodes are one node


class Nodes:
    """All groups found so far."""

    def __init__(self) -> None:
        self.groups: list[Provisional] = []
        self._starts: list[int] = []
        self.count = 0

    def add(self, kind: str, size: int, node: fx.Node, index: Tensor | None = None) -> Provisional:
        """Append a group."""
        group = Provisional(kind, self.count, size, node, index)
        self.groups.append(group)
        self._starts.append(self.count)
        self.count += size
        return group

    def group(self, number: int) -> Provisional:
        """Return the group that a provisional number lies in."""
        return self.groups[bisect_right(self._starts, number) - 1]

    def groups_of(self, numbers: np.ndarray) -> list[Provisional]:
        """Return the groups that provisional numbers lie in."""
        found = np.unique(np.searchsorted(self._starts, np.unique(numbers), side="right") - 1)
        return [self.groups[i] for i in found]

    def mixed(
        self, node: fx.Node, rows: np.ndarray, sources: np.ndarray, factors: np.ndarray, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what ``size`` values read that are sums of ``factors`` times ``sources``.

        Values of one source read that source; values of several read a new mixed node.

        Parameters
        ----------
        node
            The operator that mixes.
        rows, sources, factors
            Entries in any order: value, provisional number, factor. Entries of one value and
            source are added up.
        size
            Number of values.

        Returns
        -------
        ids, gain
            int64 provisional numbers plus 1 (0 where a value reads nothing), float64 gains.
        """
        order = np.lexsort((sources, rows))
        rows, sources, factors = rows[order], sources[order], factors[order]
        first = np.ones(len(rows), bool)
        first[1:] = (rows[1:] != rows[:-1]) | (sources[1:] != sources[:-1])
        starts = np.flatnonzero(first)
        factors = np.add.reduceat(factors, starts) if len(starts) else factors
        rows, sources = rows[starts], sources[starts]
        counts = np.bincount(rows, minlength=size)
        ids = np.zeros(size, np.int64)
        gain = np.ones(size)
        alone = counts[rows] == 1
        ids[rows[alone]] = sources[alone] + 1
        gain[rows[alone]] = factors[alone]
        several = np.flatnonzero(counts > 1)
        if len(several):
            group = self.add("mixed", len(several), node)
            position = np.full(size, -1)
            position[several] = np.arange(len(several))
            ids[several] = group.start + np.arange(len(several)) + 1
            entries = ~alone
            group.links.append(Links(position[rows[entries]], sources[entries], factors[entries]))
        return ids, gain


def signal_of(ids: np.ndarray, gain: np.ndarray, shape: tuple[int, ...]) -> Signal:
    """Return the signal of a shape whose elements, in order, read ``ids`` times ``gain``."""
    weights = None if bool((gain[ids > 0] == 1).all()) else torch.from_numpy(gain).reshape(shape)
    return Signal(torch.from_numpy(ids).reshape(shape), weights)
