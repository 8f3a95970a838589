"""What a network's graph is before any weight is looked at: every weight kept, none read.

A layer of 4,096 by 11,008 weights is one rectangle: 15,104 nodes of two kinds. Nodes that the same
operators read and write alike are one *class*; edges are all or none between two classes. So
counts, degrees and shells of the dense graph are exact without an edge of it being made.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from topograph.capturing.assemble import coverage_of
from topograph.capturing.classes import node_classes, nodes_read
from topograph.capturing.coverage import Coverage
from topograph.capturing.edges import Groups
from topograph.capturing.hollow import is_hollow
from topograph.capturing.layout import layout
from topograph.capturing.trace import ExampleInput, Source, trace
from topograph.capturing.values import Values
from topograph.capturing.wiring import Layout, Wiring
from topograph.check import check_choice
from topograph.graph.layered import Group
from topograph.graph.operators import OperatorRecord


@dataclass(frozen=True)
class Span:
    """The edges between two groups when every weight is kept.

    Attributes
    ----------
    source, target
        Names of the groups.
    edges
        Pairs of nodes with a weight between them; or identity edges.
    identity
        Whether these only carry paths on, and are no connections.
    """

    source: str
    target: str
    edges: int
    identity: bool = False


@dataclass(frozen=True, eq=False)
class Structure:
    """The dense graph of a network by layers, made by :func:`structure`.

    Attributes
    ----------
    name, parameters
        The model's class, and how many parameters it has (tied ones once).
    groups
        Name to group of nodes, in topological order, with the ids that ``capture`` gives.
    inputs, outputs
        Names of the groups that paths start from and end in.
    spans
        The edges between every connected pair of groups, counted.
    operators
        A record for every use of a weight on paths; all of its weights count as kept.
    coverage
        What was modelled.
    """

    name: str
    parameters: int
    groups: Mapping[str, Group]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    spans: tuple[Span, ...] = field(repr=False)
    operators: tuple[OperatorRecord, ...] = field(repr=False)
    coverage: Coverage
    _classes: np.ndarray = field(repr=False)  # node id to class
    _between: sp.csr_array = field(repr=False)  # (target class, source class), 1 where edges are

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self._classes)

    @property
    def n_edges(self) -> int:
        """Number of edges when every weight is kept."""
        return sum(span.edges for span in self.spans if not span.identity)

    @property
    def layers(self) -> Any:
        """A table (``pandas.DataFrame``) with a row for every use of a weight."""
        import pandas as pd

        return pd.DataFrame(
            {
                "layer": record.name,
                "parameter": record.parameter,
                "kind": record.kind,
                "shape": record.shape,
                "weights": record.size,
                "from": " + ".join(record.sources),
                "to": record.target,
                "nodes": self.groups[record.target].size,
            }
            for record in self.operators
        )

    def degree(self, kind: str = "total") -> np.ndarray:
        """Return the degree of every node when every weight is kept.

        Parameters
        ----------
        kind
            ``"total"``, ``"in"`` or ``"out"``.
        """
        check_choice(kind, "kind", ("total", "in", "out"))
        sizes = np.bincount(self._classes)
        total = np.zeros(len(sizes), np.int64)
        if kind != "out":
            total += self._between @ sizes
        if kind != "in":
            total += self._between.T @ sizes
        return total[self._classes]

    def k_shell(self) -> np.ndarray:
        """Return the k-shell of every node when every weight is kept.

        Nodes of one class are not connected and have the same neighbours, so they fall together.
        """
        sizes = np.bincount(self._classes)
        both = sp.csr_array(self._between + self._between.T)
        left = (both != 0).astype(np.int64) @ sizes
        queue = [(int(count), k) for k, count in enumerate(left)]
        heapq.heapify(queue)
        shell = np.full(len(sizes), -1)
        level = 0
        while queue:
            count, k = heapq.heappop(queue)
            if shell[k] >= 0 or count != left[k]:
                continue
            shell[k] = level = max(level, count)
            for near in both.indices[both.indptr[k] : both.indptr[k + 1]]:
                if shell[near] < 0:
                    left[near] -= sizes[k]
                    heapq.heappush(queue, (int(left[near]), int(near)))
        return shell[self._classes]

    def to_networkx(self) -> Any:
        """Return a ``networkx.DiGraph`` with a node a group and an edge a span.

        Nodes carry ``size`` and ``kind``. Edges carry ``connections`` and ``identity``, the
        numbers of edges of either kind between the two groups.
        """
        import networkx

        graph = networkx.DiGraph()
        for group in self.groups.values():
            graph.add_node(group.name, size=group.size, kind=group.kind)
        for span in self.spans:
            graph.add_edge(span.source, span.target)
            edge = graph.edges[span.source, span.target]
            edge.setdefault("connections", 0)
            edge.setdefault("identity", 0)
            edge["identity" if span.identity else "connections"] += span.edges
        return graph

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.n_nodes:,} nodes in {len(self.groups):,} groups, "
            f"{self.n_edges:,} edges when every weight is kept, {self.parameters:,} parameters\n"
            f"{self.coverage}"
        )


def structure(model: nn.Module, example_input: ExampleInput) -> Structure:
    """Return the layers of a network and how they are connected, without its weights.

    For models larger than memory: built on the meta device (``with torch.device("meta")``) or
    under a fake tensor mode they take none. Every weight counts as kept, so the counts are those
    of ``capture`` for a dense model; nothing is said about path weights.

    Parameters
    ----------
    model
        Any ``nn.Module``, with weights or without.
    example_input
        A tensor, a tuple of positional or a dict of keyword arguments, with a batch dimension.

    Raises
    ------
    TopographError
        As :func:`topograph.capture`; also if a value that decides which nodes are connected (an
        index, a mask on activations) is not in memory.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     model = nn.Sequential(nn.Linear(40_000, 50_000), nn.ReLU(), nn.Linear(50_000, 10))
    >>> print(structure(model, torch.zeros(1, 40_000)))
    Sequential: 90,010 nodes in 3 groups, 2,000,500,000 edges when every weight is kept,
    2,000,550,010 parameters
    2 of 2 weighted operators modelled
    """
    traced = trace(model, example_input)
    made = layout(traced, _Dense(traced, model))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return structure_of(type(model).__name__, parameters, made)


def structure_of(name: str, parameters: int, made: Layout) -> Structure:
    """Return the structure that a layout has when every weight is kept.

    Parameters
    ----------
    name, parameters
        The model's class, and how many parameters it has.
    made
        The layout, at channel granularity.
    """
    groups = Groups(made)
    classes, between = node_classes(made)
    return Structure(
        name,
        parameters,
        made.groups,
        made.inputs,
        made.outputs,
        (*_spans(groups, classes, between), *_identity(made)),
        tuple(_record(groups, wiring, nodes_read(made, wiring)) for wiring in made.operators),
        coverage_of(made),
        classes,
        between,
    )


class _Dense(Values):
    """Values of which unknown parameters are 1: a weight, whatever its value, is a connection."""

    def _stored(self, source: Source) -> Tensor:
        held = self._state.get(source.name)
        if source.kind == "parameter" and held is not None and is_hollow(held):
            return torch.ones((), dtype=held.dtype).expand(held.shape)
        return super()._stored(source)


def _spans(groups: Groups, classes: np.ndarray, between: sp.csr_array) -> list[Span]:
    sizes = np.bincount(classes)
    _, first = np.unique(classes, return_index=True)
    home = np.searchsorted(groups.starts, first, side="right") - 1  # class to group
    targets, sources = between.tocoo().coords
    pairs = home[targets].astype(np.int64) * len(groups.all) + home[sources]
    found, place = np.unique(pairs, return_inverse=True)
    edges = np.zeros(len(found), np.int64)
    np.add.at(edges, place, sizes[targets] * sizes[sources])
    return [
        Span(
            groups.all[int(pair) % len(groups.all)].name,
            groups.all[int(pair) // len(groups.all)].name,
            int(count),
        )
        for pair, count in zip(found, edges, strict=True)
    ]


def _identity(made: Layout) -> list[Span]:
    return [Span(b.source, b.target, b.matrix.nnz, identity=True) for b in made.identity]


def _record(groups: Groups, wiring: Wiring, nodes: np.ndarray) -> OperatorRecord:
    op = wiring.operator
    shape = tuple(wiring.form.weight_shape)
    size = int(np.prod(shape, dtype=np.int64))
    return OperatorRecord(
        op.name,
        op.parameter,
        wiring.form.kind,
        shape,
        tuple(group.name for group in groups.of(nodes)),
        groups.of(wiring.targets)[0].name,
        size,
        size,
    )
