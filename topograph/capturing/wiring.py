"""What a layout is: a traced model's nodes, and which weight positions lie between which of them.

A layout holds no weight: it is the wiring, made once a trace (:mod:`topograph.capturing.layout`),
from which the layered graph, the tensor path's shares and walks along the network are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from torch import Tensor, fx

from topograph.capturing.forms import Form
from topograph.capturing.weights import Operator
from topograph.graph.blocks import Block
from topograph.graph.layered import Group


@dataclass(frozen=True, eq=False)
class Site:
    """Where the nodes of a group are in the traced graph.

    Attributes
    ----------
    node
        The operator whose value they are.
    index
        int64, broadcastable to that value's shape: the node of each element, counted within the
        group; -1 where an element is none.
    """

    node: fx.Node
    index: Tensor


@dataclass(frozen=True, eq=False)
class Wiring:
    """Which nodes the positions of one weight connect.

    The weight position of row r and column c of group g (see :class:`Form`) is an edge from
    ``sources[g, c]`` to ``targets[g * rows + r]`` with as many taps as there are.

    Attributes
    ----------
    operator, form
        The use of the weight, and how its weight lies in the common form.
    sources
        int64 (groups, columns): node ids; -1 for none; ``layout.n_nodes + j`` for a column that
        reads the mixture of nodes in row j of ``layout.mixing``. At unit granularity (groups,
        columns, places of the signal).
    gain
        float64 of the shape of ``sources``: what a source is multiplied by; None for 1.
    targets
        int64 (groups * rows,) node ids; -1 for rows that only steer (queries, keys, gates). At
        unit granularity (groups * rows, places of the result).
    factor
        float64 of the shape of ``targets``: what a target is multiplied by; None for 1.
    places
        The places of the result that these targets stand for, if they are not all: a use of a
        weight then has one wiring for each set of places that read the same.
    """

    operator: Operator
    form: Form
    sources: np.ndarray
    gain: np.ndarray | None
    targets: np.ndarray
    factor: np.ndarray | None
    places: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Layout:
    """The nodes of a traced model and the wiring between them.

    Attributes
    ----------
    granularity
        ``"channel"`` or ``"unit"``.
    groups
        Name to group, in topological order, with global node ids.
    inputs, outputs
        Names of the groups that paths start from and end in.
    sites
        Group name to :class:`Site`. A vocabulary has none.
    operators
        One :class:`Wiring` for every use of a weight that lies on paths (several with
        ``tokens="split"``, where places read differently).
    mixing
        CSR (number of mixtures, n_nodes): fixed mixtures of nodes that weights read (pooled
        units, merged positions). Stored zeros are connections.
    identity
        Blocks that carry paths and are no connections: residual streams, pooled outputs.
    missing
        (name, reason) of the uses of weights that lie on no path.
    notes
        What a reader of a result should know.
    averaged
        Groups in which positions that read different nodes are one node (tokens of different
        depth): such a node stands for the mean of them.
    opaque
        (operator, module, reason) of the operators that count as an even average.
    partly
        (operator, rows left out, rows) of those of which a part of the rows only steer.
    """

    granularity: str
    groups: Mapping[str, Group]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sites: Mapping[str, Site]
    operators: tuple[Wiring, ...]
    mixing: sp.csr_array
    identity: tuple[Block, ...]
    missing: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    averaged: frozenset[str] = frozenset()
    opaque: tuple[tuple[str, str, str], ...] = ()
    partly: tuple[tuple[str, int, int], ...] = ()

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return sum(group.size for group in self.groups.values())

    def nodes(self, name: str) -> slice:
        """Return the ids of a group's nodes."""
        return self.groups[name].slice

    @property
    def hidden(self) -> tuple[str, ...]:
        """Names of the groups that are neither input nor output."""
        ends = {*self.inputs, *self.outputs}
        return tuple(name for name in self.groups if name not in ends)
