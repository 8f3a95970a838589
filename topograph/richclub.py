"""Whether a network's hubs are joined among themselves: the rich club."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from topograph.check import check_integer
from topograph.degrees import degree
from topograph.graph.layered import Block, LayeredGraph, check_graph
from topograph.graph.scaled import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class RichClub:
    """How densely the nodes of more than k connections are joined, for every k.

    Attributes
    ----------
    degree
        k, from 0 to the largest degree less one; int64 of shape (n,).
    nodes, edges
        Number of nodes of degree above k, and of connections between two of them; int64 (n,).
    coefficient
        φ(k) = 2 edges / (nodes (nodes - 1)), 0 to 1; NaN where there is one node.
    random
        Mean of the same over rewired networks, in which every node keeps its numbers of
        connections into and out of every other layer; NaN where none were made.
    """

    degree: IntArray
    nodes: IntArray
    edges: IntArray
    coefficient: FloatArray
    random: FloatArray

    @property
    def normalised(self) -> FloatArray:
        """φ(k) over that of the rewired networks; above 1: a rich club. NaN where that is 0."""
        return np.divide(
            self.coefficient,
            self.random,
            out=np.full(len(self.degree), np.nan),
            where=self.random > 0,
        )


def rich_club(graph: LayeredGraph, rewired: int = 0, seed: int = 0) -> RichClub:
    """Return the rich-club coefficient of a network's connections, for every degree.

    Hubs are joined more often than other nodes at random too, so φ means something only beside
    that of rewired networks. Here they keep the layers: two connections of one block swap their
    targets, ten tries for each connection.

    Parameters
    ----------
    graph
        A layered graph; :func:`topograph.layer_graph` gives that of whole layers.
    rewired
        Number of rewired networks to compare with, at least 0.
    seed
        Seed of the rewiring.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph, or ``rewired`` or ``seed`` is negative.

    References
    ----------
    Zhou and Mondragón 2004, "The rich-club phenomenon in the internet topology"; normalised:
    Colizza, Flammini, Serrano and Vespignani 2006 (rewiring by igraph).

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 3, "y": 3}, [("x", "y", [[1, 1, 1], [1, 1, 0], [1, 0, 0]])])
    >>> club = rich_club(graph)
    >>> club.nodes.tolist(), club.edges.tolist(), club.coefficient.tolist()
    ([6, 4, 2], [6, 4, 1], [0.4, 0.666..., 1.0])
    """
    check_graph(graph)
    rewired = check_integer(rewired, "rewired")
    seed = check_integer(seed, "seed")
    degrees = degree(graph)
    k = np.arange(degrees.max(initial=0))
    nodes = _above(degrees, len(k))
    edges = _edges_above(_pairs(graph), degrees, len(k))
    random_edges = np.full(len(k), np.nan)
    if rewired:
        blocks = [Rewirer(graph, block) for block in graph.weight_blocks]
        import igraph

        igraph.set_random_number_generator(random.Random(seed))
        try:
            counts = [
                _edges_above(_joined([block.swapped() for block in blocks]), degrees, len(k))
                for _ in range(rewired)
            ]
        finally:
            igraph.set_random_number_generator(random)
        random_edges = np.mean(counts, axis=0)
    pairs = nodes * (nodes - 1) / 2
    pairs[pairs == 0] = np.nan
    return RichClub(k, nodes, edges, edges / pairs, random_edges / pairs)


class Rewirer:
    """One block as an igraph graph whose connections swap targets.

    Parameters
    ----------
    graph, block
        The block and the graph that it is part of.
    """

    def __init__(self, graph: LayeredGraph, block: Block) -> None:
        import igraph

        rows, columns = block.matrix.tocoo().coords
        self._source = graph.groups[block.source].start
        self._target = graph.groups[block.target].start
        self._n_sources = block.matrix.shape[1]
        pairs = zip(columns.tolist(), (rows + self._n_sources).tolist(), strict=True)
        n = sum(block.matrix.shape)
        self._graph = igraph.Graph(n=n, edges=pairs, directed=True)

    def swapped(self) -> IntArray:
        """Return the connections as node ids (n, 2), rewired once more."""
        # A directed swap leaves sources sources and targets targets.
        if self._graph.ecount() > 1:
            self._graph.rewire(10 * self._graph.ecount())
        pairs = np.array(self._graph.get_edgelist(), np.int64).reshape(-1, 2)
        return pairs + np.array([self._source, self._target - self._n_sources])


def _pairs(graph: LayeredGraph) -> IntArray:
    """Return the connections as node ids (n, 2)."""
    parts = []
    for block in graph.weight_blocks:
        rows, columns = block.matrix.tocoo().coords
        source, target = graph.groups[block.source].start, graph.groups[block.target].start
        parts.append(np.column_stack([columns + source, rows + target]))
    return _joined(parts)


def _joined(parts: list[IntArray]) -> IntArray:
    return np.concatenate([np.empty((0, 2), np.int64), *parts])


def _edges_above(pairs: IntArray, degrees: IntArray, n: int) -> IntArray:
    """Return for every k below n how many connections join two nodes of degree above k."""
    return _above(degrees[pairs].min(axis=1), n)


def _above(values: IntArray, n: int) -> IntArray:
    """Return for every k below n how many values are above k."""
    counts = np.bincount(values, minlength=n + 1)
    return np.cumsum(counts[::-1])[::-1][1 : n + 1]
