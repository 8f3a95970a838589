from __future__ import annotations

from itertools import combinations

import igraph
import networkx
import numpy as np
import pytest
from hypothesis import given, settings

import topograph as tg
from tests.topograph import brute_force
from tests.topograph.graphs import by_edges, dense_network, layered_graphs
from topograph.cuts import bridges, layer_cuts, minimum_cut


def plain_cut(graph: tg.LayeredGraph, starts: set[int], ends: set[int], eligible: set[int]) -> int:
    """Return the size of the smallest set that meets every path, or -1, by trying all sets."""
    paths = [set(path.nodes) for path in brute_force.paths(graph, starts, ends)]
    if any(not path & eligible for path in paths):
        return -1
    for size in range(len(eligible) + 1):
        for chosen in combinations(sorted(eligible), size):
            if all(path & set(chosen) for path in paths):
                return size
    raise AssertionError("the eligible nodes meet every path")


@given(layered_graphs())
@settings(max_examples=60)
def test_no_smaller_set_meets_every_path(graph: tg.LayeredGraph) -> None:
    starts, ends = (brute_force.node_ids(graph, names) for names in (graph.inputs, graph.outputs))
    for choice in ("all", "hidden"):
        eligible = set(range(graph.n_nodes)) - (starts | ends if choice == "hidden" else set())
        cut = minimum_cut(graph, nodes=choice)
        expected = plain_cut(graph, starts, ends, eligible)
        assert cut.exists == (expected >= 0)
        if cut.exists:
            assert len(cut) == expected
            taken = set(cut.nodes.tolist())
            assert taken <= eligible
            assert all(taken & set(path.nodes) for path in brute_force.paths(graph, starts, ends))


@pytest.mark.parametrize("density", [0.05, 0.1, 0.4])
def test_cuts_of_larger_networks_agree_with_igraph(density: float) -> None:
    graph = dense_network([30, 12, 20, 15], seed=3, density=density)
    n = graph.n_nodes
    # Every node split in two, joined by an edge that takes one.
    oracle = igraph.Graph(n=2 * n + 2, directed=True)
    plain = graph.to_igraph()
    edges = [(v, n + v) for v in range(n)] + [(n + a, b) for a, b in plain.get_edgelist()]
    edges += [(2 * n, v) for v in range(30)] + [(n + v, 2 * n + 1) for v in range(n - 15, n)]
    oracle.add_edges(edges)
    value = oracle.maxflow_value(2 * n, 2 * n + 1, [1] * n + [n] * (len(edges) - n))
    assert len(minimum_cut(graph)) == value


def test_the_cut_bounds_the_core_of_all_paths() -> None:
    for seed in range(5):
        graph = dense_network([20, 9, 14, 10], seed=seed, density=0.3)
        for nodes in ("all", "hidden"):
            core = tg.tau_core(graph, tau=1, rule="cover", nodes=nodes)
            assert len(core) >= len(minimum_cut(graph, nodes=nodes))


def test_cuts_between_any_two_layers() -> None:
    graph = dense_network([6, 5, 2, 4, 6], density=1.0)
    assert minimum_cut(graph).nodes.tolist() == [11, 12]
    assert minimum_cut(graph, "l0", "l1").nodes.tolist() == list(range(6, 11))
    assert minimum_cut(graph, target="l1", nodes="hidden").exists is False
    assert minimum_cut(graph, "l3", "l4").nodes.tolist() == [13, 14, 15, 16]
    assert len(minimum_cut(graph, "l4", "l0")) == 0  # nothing leads back


def test_a_node_that_is_both_ends_cannot_be_cut_between() -> None:
    graph = tg.layered_graph({"x": 2, "y": 1}, [("x", "y", [[1, 1]])], outputs=["x", "y"])
    assert minimum_cut(graph).nodes.tolist() == [0, 1]
    assert not minimum_cut(graph, nodes="hidden").exists


@given(layered_graphs())
def test_layer_cuts_are_matchings_and_cuts(graph: tg.LayeredGraph) -> None:
    sizes = layer_cuts(graph)
    assert list(sizes) == [(block.source, block.target) for block in graph.weight_blocks]
    for block in graph.weight_blocks:
        rows, columns = block.matrix.tocoo().coords
        pairs = list(zip(rows.tolist(), columns.tolist(), strict=True))
        n_rows, n_columns = block.matrix.shape
        # König's number by trying all sets of nodes, Menger's by the cut of the layer alone.
        nodes = [("t", i) for i in range(n_rows)] + [("s", j) for j in range(n_columns)]
        smallest = next(
            size
            for size in range(len(nodes) + 1)
            if any(
                all(("t", i) in chosen or ("s", j) in chosen for i, j in pairs)
                for chosen in map(set, combinations(nodes, size))
            )
        )
        alone = tg.layered_graph({"s": n_columns, "t": n_rows}, [("s", "t", block.matrix)])
        assert sizes[block.source, block.target] == smallest == len(minimum_cut(alone))


def test_a_layer_cut_bounds_the_rank() -> None:
    graph = dense_network([30, 25], seed=1, density=0.06)
    assert np.linalg.matrix_rank(graph.blocks[0].matrix.toarray()) == layer_cuts(graph)["l0", "l1"]


@given(layered_graphs())
def test_bridges_part_the_network(graph: tg.LayeredGraph) -> None:
    plain = networkx.Graph()
    plain.add_nodes_from(range(graph.n_nodes))
    plain.add_edges_from((a, b) for a, b, _ in brute_force.edges(graph, identity=False))
    parts = networkx.number_connected_components(plain)
    found = bridges(graph)
    assert list(found) == [(block.source, block.target) for block in graph.weight_blocks]
    listed = {tuple(pair) for pairs in found.values() for pair in pairs.tolist()}
    for a, b in list(plain.edges):
        a, b = min(a, b), max(a, b)
        plain.remove_edge(a, b)
        assert ((a, b) in listed) == (networkx.number_connected_components(plain) > parts)
        plain.add_edge(a, b)
    for (source, target), pairs in found.items():
        for a, b in pairs.tolist():
            assert a in range(*graph.nodes(source).indices(graph.n_nodes))
            assert b in range(*graph.nodes(target).indices(graph.n_nodes))


def test_bridges_of_a_known_network() -> None:
    graph = by_edges("abcdef", "a>c b>c a>d b>d d>e e>f", "ab", "f")
    found = {pair: edges.tolist() for pair, edges in bridges(graph).items() if len(edges)}
    assert found == {("d", "e"): [[3, 4]], ("e", "f"): [[4, 5]]}


def test_unknown_layers_are_refused() -> None:
    graph = dense_network([3, 2, 1])
    with pytest.raises(tg.TopographError, match="no group is named 'l9'"):
        minimum_cut(graph, source="l9")
    with pytest.raises(tg.TopographError, match="nodes is 'some'"):
        minimum_cut(graph, nodes="some")
