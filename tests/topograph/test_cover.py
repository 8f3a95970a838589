from __future__ import annotations

import math
from fractions import Fraction

import igraph
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import topograph as tg
from tests.topograph import brute_force
from tests.topograph.graphs import GOLDEN_CASES, by_edges, dense_network, golden, layered_graphs
from topograph.graph.flat import flat_network

taus = st.sampled_from([Fraction(1, 8), Fraction(1, 2), Fraction(15, 16), Fraction(1)])

# Published toys of the hourglass framework (Sabrin and Dovrolis 2017) and of Batta et al. 2021.
FRAMEWORK = ("abcdefgijhklm", "a>d b>e c>e c>i d>g d>f e>i g>h g>j g>k f>h f>i h>k i>l i>m")
THREE_OUTPUTS = ("abcdefghij", "a>c2 a>d1 b>d1 b>e2 c>f2 d>f1 d>g1 e>g2 f>h1 f>i1 g>i1 g>j1")
ONE_SOURCE = (
    "abcdefghijklmn",
    "a>b2 a>c4 b>d5 b>e1 b>f1 b>g1 c>h1 c>i4 d>l2 e>j1 f>j1 g>j1 j>l1 j>m1 h>k1 k>m1 k>n1 i>n2",
)


@pytest.mark.parametrize(("name", "tau"), GOLDEN_CASES)
def test_covers_match_the_golden_answers(name: str, tau: str) -> None:
    graph, expected = golden(name, tau)
    core = tg.tau_core(graph, expected["tau"], rule="cover")
    assert core.nodes.tolist() == expected["tau_core_cover_hidden"]
    np.testing.assert_allclose(core.coverage, expected["tau_core_cover_coverage"], rtol=1e-9)


@given(layered_graphs(), taus)
def test_cover_is_the_greedy_one_of_all_paths_written_out(
    graph: tg.LayeredGraph, tau: Fraction
) -> None:
    for nodes, groups in (("hidden", graph.hidden), ("all", tuple(graph.groups))):
        core = tg.tau_core(graph, float(tau), rule="cover", nodes=nodes)
        expected, coverage = brute_force.cover(graph, tau, brute_force.node_ids(graph, groups))
        assert core.nodes.tolist() == expected
        np.testing.assert_allclose(core.coverage, [float(part) for part in coverage], rtol=1e-9)


def test_cover_of_a_wider_network_matches_a_full_recount_after_every_deletion() -> None:
    graph = dense_network([8, 12, 12, 12, 5], seed=3, density=0.3)
    core = tg.tau_core(graph, 0.95, rule="cover")
    sizes = {name: group.size for name, group in graph.groups.items()}
    alive = np.ones(graph.n_nodes, bool)
    total = math.exp(tg.path_sums(graph).log_total)
    hidden = np.concatenate([np.r_[graph.nodes(name)] for name in graph.hidden])
    covered = 0.0
    for node, coverage in zip(core.nodes, core.coverage, strict=True):
        left = tg.layered_graph(
            sizes,
            [
                (
                    b.source,
                    b.target,
                    b.matrix.toarray()
                    * alive[graph.nodes(b.target)][:, None]
                    * alive[graph.nodes(b.source)],
                )
                for b in graph.blocks
            ],
        )
        sums = tg.path_sums(left)
        through = sums.share * math.exp(sums.log_total) / total
        assert node == hidden[np.argmax(through[hidden])]
        covered += through[node]
        assert coverage == pytest.approx(covered, rel=1e-9)
        alive[node] = False
    assert core.coverage[-1] >= 0.95 > core.coverage[-2]


def test_cover_stops_where_the_rest_runs_through_no_eligible_node() -> None:
    graph = tg.layered_graph(
        {"x": 1, "h": 2, "y": 1},
        [("x", "h", [[1], [1]]), ("h", "y", [[1, 1]]), ("x", "y", [[2]])],
    )
    core = tg.tau_core(graph, 0.9, rule="cover")
    assert core.nodes.tolist() == [1, 2]
    assert core.coverage.tolist() == [0.25, 0.5]


@given(layered_graphs())
def test_a_full_cover_is_no_smaller_than_the_minimum_vertex_cut(graph: tg.LayeredGraph) -> None:
    paths = [path for path in brute_force.all_paths(graph) if path.weight]
    core = tg.tau_core(graph, 1.0, rule="cover", nodes="all")
    assert all(set(path.nodes) & set(core.nodes.tolist()) for path in paths)
    assert len(core) >= minimum_vertex_cut(graph)


def minimum_vertex_cut(graph: tg.LayeredGraph) -> int:
    """Maximum flow from a super source to a super sink, every node split with capacity 1."""
    n = graph.n_nodes
    infinite = n + 1
    arcs = [(node, n + node, 1) for node in range(n)]
    arcs += [(n + u, v, infinite) for u, v, weight in brute_force.edges(graph) if weight]
    arcs += [(2 * n, node, infinite) for node in brute_force.node_ids(graph, graph.inputs)]
    arcs += [(n + node, 2 * n + 1, infinite) for node in brute_force.node_ids(graph, graph.outputs)]
    network = igraph.Graph(2 * n + 2, [arc[:2] for arc in arcs], directed=True)
    return round(network.maxflow_value(2 * n, 2 * n + 1, [arc[2] for arc in arcs]))


def named(nodes: str, values: np.ndarray) -> str:
    """Return e.g. ``"a6 b2"``: how the toys' path centralities were published."""
    return " ".join(f"{node}{value:.9g}" for node, value in zip(nodes, values, strict=True))


def test_the_framework_toy_has_its_published_core_and_score() -> None:
    nodes, edges = FRAMEWORK
    graph = by_edges(nodes, edges, "abc", "jklm")
    sums = tg.path_sums(graph)
    assert math.exp(sums.log_total) == pytest.approx(12)
    assert named(nodes, sums.share * 12) == "a6 b2 c4 d6 e4 f3 g3 i8 j1 h2 k3 l4 m4"
    # i runs through 8 of the 12 paths; then a is tied with d.
    core = tg.tau_core(graph, 0.9, rule="cover", nodes="all")
    assert [nodes[node] for node in core.nodes] == ["i", "a"]
    assert tg.hourglass_score(graph, 0.9) == pytest.approx(1 / 3)


def test_the_backbone_toy_has_its_published_scores() -> None:
    graph = tg.layered_graph(
        {"x": 4, "h": 2, "y": 4}, [("x", "h", np.ones((2, 4))), ("h", "y", np.ones((4, 2)))]
    )
    np.testing.assert_allclose(tg.path_centrality(graph) * 32, [8] * 4 + [16] * 2 + [8] * 4)
    for tau, size in ((0.5, 1), (0.9, 2)):
        assert len(tg.tau_core(graph, tau, rule="cover", nodes="all")) == size
        # The flat core takes the same tau: 2 and 4 of its nodes.
        assert tg.hourglass_score(graph, tau) == pytest.approx(0.5)


def test_the_three_output_toy_has_its_published_cores_and_scores() -> None:
    nodes, edges = THREE_OUTPUTS
    plain = by_edges(nodes, edges, "ab", "hij", weighted=False)
    assert named(nodes, tg.path_centrality(plain) * 12) == "a6 b6 c2 d8 e2 f6 g6 h3 i6 j3"
    core = tg.tau_core(plain, 0.9, rule="cover", nodes="all")
    assert (len(core), nodes[core.nodes[0]]) == (3, "d")
    assert core.coverage[0] == pytest.approx(8 / 12)
    assert tg.hourglass_score(plain) == pytest.approx(-0.5)
    weighted = by_edges(nodes, edges, "ab", "hij")
    assert named(nodes, tg.path_centrality(weighted) * 24) == "a12 b12 c8 d8 e8 f12 g12 h6 i12 j6"
    core = tg.tau_core(weighted, 0.9, rule="cover", nodes="all")
    assert [nodes[node] for node in core.nodes] == ["a", "b"]
    assert tg.hourglass_score(weighted) == pytest.approx(0)


def test_one_source_is_the_whole_core_of_the_one_source_toy() -> None:
    nodes, edges = ONE_SOURCE
    graph = by_edges(nodes, edges, "a", "lmn")
    assert (
        named(nodes, tg.path_centrality(graph) * 72)
        == "a72 b32 c40 d20 e4 f4 g4 h8 i32 j12 k8 l26 m10 n36"
    )
    for tau in (0.1, 0.9, 1.0):
        assert tg.tau_core(graph, tau, rule="cover", nodes="all").nodes.tolist() == [0]


def test_the_flat_network_is_the_same_from_either_side() -> None:
    # More inputs than outputs, and the other way round: the sweeps run from the smaller side.
    graph = dense_network([6, 5, 2], density=0.7)
    sizes = {name: group.size for name, group in reversed(graph.groups.items())}
    turned = tg.layered_graph(
        sizes, [(b.target, b.source, b.matrix.T.tocsr()) for b in graph.blocks]
    )
    one, other = flat_network(graph).blocks[0].matrix, flat_network(turned).blocks[0].matrix
    np.testing.assert_allclose(one.toarray(), other.toarray().T, rtol=1e-12)
    assert one.sum() == pytest.approx(1)
    product = abs(graph.blocks[1].matrix) @ abs(graph.blocks[0].matrix)
    np.testing.assert_allclose(one.toarray(), product.toarray() / product.sum(), rtol=1e-12)


def test_the_score_without_paths_is_no_number() -> None:
    assert math.isnan(tg.hourglass_score(tg.layered_graph({"x": 2, "y": 2}, [])))
