"""The measures by their definitions: every path written out, every core peeled node by node."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from topograph.graph import LayeredGraph


class Path(NamedTuple):
    """One path: its nodes and the product of its weights' magnitudes."""

    nodes: tuple[int, ...]
    weight: Fraction


def edges(graph: LayeredGraph, identity: bool = True) -> list[tuple[int, int, Fraction]]:
    """Return (source, target, magnitude) of every edge; parallel edges each."""
    found = []
    for block in graph.blocks:
        if block.identity and not identity:
            continue
        matrix = block.matrix.tocoo()
        sources, targets = graph.nodes(block.source).start, graph.nodes(block.target).start
        for row, column, value in zip(*matrix.coords, matrix.data, strict=True):
            found.append((sources + int(column), targets + int(row), abs(Fraction(float(value)))))
    return found


def node_ids(graph: LayeredGraph, names: tuple[str, ...]) -> set[int]:
    """Return the ids of all nodes of the groups."""
    return {node for name in names for node in range(*graph.nodes(name).indices(graph.n_nodes))}


def paths(graph: LayeredGraph, starts: set[int], ends: set[int]) -> list[Path]:
    """Return every path from one of the starts to one of the ends, weight 0 too."""
    out: dict[int, list[tuple[int, Fraction]]] = {}
    for source, target, weight in edges(graph):
        out.setdefault(source, []).append((target, weight))
    found, open_paths = [], [Path((node,), Fraction(1)) for node in starts]
    while open_paths:
        path = open_paths.pop()
        if path.nodes[-1] in ends:
            found.append(path)
        open_paths += [
            Path((*path.nodes, node), path.weight * weight)
            for node, weight in out.get(path.nodes[-1], [])
        ]
    return found


def all_paths(graph: LayeredGraph) -> list[Path]:
    """Return every path from an input to an output."""
    return paths(graph, node_ids(graph, graph.inputs), node_ids(graph, graph.outputs))


def centrality(graph: LayeredGraph, among: list[Path] | None = None) -> list[Fraction]:
    """Return by node id the weight of all paths that run through a node."""
    through = [Fraction(0)] * graph.n_nodes
    for path in all_paths(graph) if among is None else among:
        for node in path.nodes:
            through[node] += path.weight
    return through


def mass_core(graph: LayeredGraph, tau: Fraction, eligible: set[int]) -> list[int]:
    """Return the smallest set of nodes that holds tau of the centrality, largest first."""
    through = centrality(graph)
    order = sorted(eligible, key=lambda node: (-through[node], node))
    whole = sum(through[node] for node in eligible)
    taken: list[int] = []
    while sum(through[node] for node in taken) < tau * whole:
        taken.append(order[len(taken)])
    return taken


def cover(
    graph: LayeredGraph, tau: Fraction, eligible: set[int]
) -> tuple[list[int], list[Fraction]]:
    """Return the greedy path cover: nodes, and the covered part after each."""
    left = all_paths(graph)
    total = sum(path.weight for path in left)
    nodes: list[int] = []
    coverage: list[Fraction] = []
    while total and (not coverage or coverage[-1] < tau):
        through = centrality(graph, left)
        best = max((through[node] for node in eligible), default=Fraction(0))
        if best == 0:
            break
        node = min(node for node in eligible if through[node] == best)
        left = [path for path in left if node not in path.nodes]
        nodes.append(node)
        coverage.append(1 - sum(path.weight for path in left) / total)
    return nodes, coverage


def shells(graph: LayeredGraph) -> list[int]:
    """Return by node id the largest k whose k-core holds the node."""
    neighbours: dict[int, set[int]] = {node: set() for node in range(graph.n_nodes)}
    for source, target, _ in edges(graph, identity=False):
        neighbours[source].add(target)
        neighbours[target].add(source)
    shell = [0] * graph.n_nodes
    for k in range(1, graph.n_nodes):
        core = set(neighbours)
        while weak := {node for node in core if len(neighbours[node] & core) < k}:
            core -= weak
        for node in core:
            shell[node] = k
    return shell
