from __future__ import annotations

import math
import random
from collections.abc import Iterator
from fractions import Fraction

import networkx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import assume, given, settings

import topograph as tg
from tests.topograph import brute_force
from tests.topograph.graphs import by_edges, dense_network, layered_graphs
from topograph.partition import communities, modularity
from topograph.quotient import layer_graph


def plain_modularity(
    graph: tg.LayeredGraph, membership: list[int], resolution: float, weighted: bool
) -> float:
    """Return Q as the sum over all pairs of nodes, by its definition."""
    joined = np.zeros((graph.n_nodes, graph.n_nodes))
    for a, b, weight in brute_force.edges(graph, identity=False):
        joined[a, b] = joined[b, a] = float(weight) if weighted else 1
    degrees, twice = joined.sum(axis=0), joined.sum()
    return sum(
        joined[a, b] - resolution * degrees[a] * degrees[b] / twice
        for a in range(len(joined))
        for b in range(len(joined))
        if membership[a] == membership[b]
    ) / float(twice)


def divisions(n: int) -> Iterator[list[int]]:
    """Yield every division of n nodes into parts."""
    if n == 0:
        yield []
        return
    for shorter in divisions(n - 1):
        for part in range(max(shorter, default=-1) + 2):
            yield [*shorter, part]


@given(layered_graphs())
def test_modularity_is_the_sum_over_pairs(graph: tg.LayeredGraph) -> None:
    assume(graph.n_edges)
    rng = np.random.default_rng(0)
    membership = rng.integers(0, 3, graph.n_nodes).tolist()
    for resolution in (1.0, 2.5):
        found = modularity(graph, membership, resolution)
        expected = plain_modularity(graph, membership, resolution, weighted=False)
        assert found == pytest.approx(expected, abs=1e-12)
    if any(block.matrix.data.any() for block in graph.weight_blocks):
        found = modularity(graph, membership, weighted=True)
        expected = plain_modularity(graph, membership, 1, weighted=True)
        assert found == pytest.approx(expected, abs=1e-12)
    layers = np.repeat(np.arange(len(graph.groups)), [g.size for g in graph.groups.values()])
    assert modularity(graph) == modularity(graph, layers) <= 0


@given(layered_graphs())
@settings(max_examples=25)
def test_found_communities_are_as_good_as_any(graph: tg.LayeredGraph) -> None:
    assume(graph.n_edges and graph.n_nodes <= 8)
    found = communities(graph)
    assert found.modularity == pytest.approx(modularity(graph, found.membership))
    best = max(
        plain_modularity(graph, division, 1, weighted=False)
        for division in divisions(graph.n_nodes)
    )
    # Leiden is a heuristic; on so few nodes it stays close.
    assert best - 0.1 <= found.modularity <= best + 1e-9


def planted(seed: int = 0) -> tuple[tg.LayeredGraph, np.ndarray]:
    """A network of four columns with few connections between them."""
    rng = np.random.default_rng(seed)
    column = np.repeat(np.arange(4), 10)
    matrices = []
    for k in range(3):
        same = column[:, None] == column[None, :]
        keep = rng.random((40, 40)) < np.where(same, 0.6, 0.01)
        matrices.append((f"l{k}", f"l{k + 1}", sp.csr_array(keep.astype(float))))
    return tg.layered_graph({f"l{k}": 40 for k in range(4)}, matrices), np.tile(column, 4)


def test_planted_communities_are_found() -> None:
    graph, column = planted()
    found = communities(graph)
    assert len(found) == 4
    pairs = set(zip(found.membership.tolist(), column.tolist(), strict=True))
    assert len(pairs) == 4
    assert found.modularity == pytest.approx(modularity(graph, column))
    assert found.modularity > 0.6
    oracle = networkx.community.modularity(
        graph.to_networkx().to_undirected(),
        [set(np.flatnonzero(column == k).tolist()) for k in range(4)],
        weight=None,
    )
    assert found.modularity == pytest.approx(oracle)
    assert found.membership[0] == 0  # numbered by their first nodes


def test_a_higher_resolution_finds_more_communities() -> None:
    graph, _ = planted()
    assert len(communities(graph, resolution=0.1)) < 4 < len(communities(graph, resolution=8.0))


def test_weights_count_if_asked() -> None:
    weights = [[9, 9, 1, 1], [9, 9, 1, 1], [1, 1, 9, 9], [1, 1, 9, 9]]
    graph = tg.layered_graph({"x": 4, "y": 4}, [("x", "y", weights)])
    assert communities(graph, weighted=True).membership.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert communities(graph).modularity < communities(graph, weighted=True).modularity


def test_the_search_depends_on_its_seed_alone() -> None:
    graph = dense_network([30, 30, 30], density=0.1)
    random.seed(1)
    first = communities(graph, seed=3).membership
    random.seed(2)
    state = random.getstate()
    assert (communities(graph, seed=3).membership == first).all()
    assert random.getstate() == state


def test_without_connections_there_is_no_modularity() -> None:
    graph = tg.layered_graph({"x": 2, "y": 1}, [], identity=[("x", "y", [[1, 1]])])
    assert math.isnan(modularity(graph))
    found = communities(graph)
    assert math.isnan(found.modularity)
    assert len(found) == 3


@pytest.mark.parametrize("membership", [[0, 1], [0, 1, -1], [0.0, 1.0, 1.0], "abc", [[0, 1, 2]]])
def test_memberships_that_do_not_fit_are_refused(membership: object) -> None:
    graph = tg.layered_graph({"x": 2, "y": 1}, [("x", "y", [[1, 1]])])
    with pytest.raises(tg.TopographError, match="membership"):
        modularity(graph, membership)


def test_the_graph_of_the_layers() -> None:
    graph = by_edges("abcd", "a>b2 b>c3 a>c4 c>d0", "a", "d")
    layers = layer_graph(graph)
    assert brute_force.edges(layers) == [
        (a, b, Fraction(1)) for a, b, _ in brute_force.edges(graph)
    ]
    skips = tg.layered_graph(
        {"x": 3, "h": 3, "y": 2},
        [("x", "h", np.eye(3)), ("h", "y", np.ones((2, 3))), ("x", "y", np.zeros((2, 3)))],
        identity=[("x", "h", np.eye(3))],
    )
    layers = layer_graph(skips)
    assert (layers.n_nodes, layers.n_edges, layers.inputs, layers.outputs) == (3, 2, ("x",), ("y",))
    found = {(b.source, b.target, b.identity): b.matrix.toarray().item() for b in layers.blocks}
    assert found == {("x", "h", False): 3, ("h", "y", False): 6, ("x", "h", True): 3}
    assert modularity(layers, [0, 0, 1], weighted=True) == pytest.approx(
        plain_modularity(layers, [0, 0, 1], 1, weighted=True)
    )
