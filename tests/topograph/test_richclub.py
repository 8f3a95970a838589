from __future__ import annotations

import math
import random

import networkx
import numpy as np
import pytest
from hypothesis import given

import topograph as tg
from tests.topograph import brute_force
from tests.topograph.graphs import dense_network, layered_graphs
from topograph.richclub import Rewirer, rich_club


@given(layered_graphs())
def test_the_club_is_counted_pair_by_pair(graph: tg.LayeredGraph) -> None:
    joined = [(a, b) for a, b, _ in brute_force.edges(graph, identity=False)]
    degrees = [sum(v in pair for pair in joined) for v in range(graph.n_nodes)]
    club = rich_club(graph)
    assert club.degree.tolist() == list(range(max(degrees)))
    for k, nodes, edges, coefficient in zip(
        club.degree, club.nodes, club.edges, club.coefficient, strict=True
    ):
        members = {v for v, d in enumerate(degrees) if d > k}
        inside = sum(a in members and b in members for a, b in joined)
        assert (nodes, edges) == (len(members), inside)
        if len(members) > 1:
            assert coefficient == pytest.approx(2 * inside / (len(members) * (len(members) - 1)))
        else:
            assert math.isnan(coefficient)
    assert np.isnan(club.random).all()


def test_the_club_agrees_with_networkx() -> None:
    graph = dense_network([20, 15, 12], density=0.3)
    oracle = networkx.rich_club_coefficient(graph.to_networkx().to_undirected(), normalized=False)
    club = rich_club(graph)
    for k, value in oracle.items():
        assert club.coefficient[k] == pytest.approx(value)


def hubs_joined() -> tg.LayeredGraph:
    """Two layers whose hubs are joined to each other; the other nodes have one connection."""
    n, hubs = 40, 6
    rng = np.random.default_rng(0)
    weights = np.zeros((n, n))
    weights[:hubs, :hubs] = 1
    weights[np.arange(hubs, n), rng.integers(hubs, n, n - hubs)] = 1
    return tg.layered_graph({"x": n, "y": n}, [("x", "y", weights)])


def test_joined_hubs_are_a_club_beside_rewired_networks() -> None:
    club = rich_club(hubs_joined(), rewired=20)
    assert club.nodes[4] == 12
    assert club.coefficient[4] == pytest.approx(36 / 66)
    assert club.normalised[4] > 1.5
    plain = rich_club(dense_network([60, 60, 60], density=0.2), rewired=20)
    ordinary = plain.normalised[plain.nodes > 100]
    assert np.abs(ordinary - 1).max() < 0.1


def test_rewiring_keeps_the_degrees_and_the_layers() -> None:
    graph = dense_network([12, 10, 8], density=0.4)
    for block in graph.weight_blocks:
        rows, columns = block.matrix.tocoo().coords
        before = np.column_stack(
            [columns + graph.groups[block.source].start, rows + graph.groups[block.target].start]
        )
        rewirer = Rewirer(graph, block)
        for _ in range(3):
            after = rewirer.swapped()
            listed = {tuple(pair) for pair in after.tolist()}
            assert len(listed) == len(before)  # none twice
            assert listed != {tuple(pair) for pair in before.tolist()}
            for side in (0, 1):
                counts = [np.bincount(pairs[:, side], minlength=30) for pairs in (before, after)]
                np.testing.assert_array_equal(*counts)


def test_the_comparison_depends_on_its_seed_alone() -> None:
    graph = dense_network([15, 15, 15], density=0.3)
    random.seed(1)
    first = rich_club(graph, rewired=3, seed=7).random
    random.seed(2)
    state = random.getstate()
    np.testing.assert_array_equal(rich_club(graph, rewired=3, seed=7).random, first)
    assert random.getstate() == state
    other = rich_club(graph, rewired=3, seed=8).random
    assert not np.array_equal(other, first, equal_nan=True)


def test_no_connections_make_no_club() -> None:
    club = rich_club(tg.layered_graph({"x": 2, "y": 2}, []), rewired=2)
    assert len(club.degree) == len(club.coefficient) == len(club.normalised) == 0


def test_unusable_settings_are_refused() -> None:
    with pytest.raises(tg.TopographError, match="rewired"):
        rich_club(dense_network([2, 2]), rewired=-1)
