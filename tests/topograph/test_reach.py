from __future__ import annotations

import math

import networkx
import numpy as np
import pytest
from hypothesis import given

import topograph as tg
from tests.topograph import brute_force
from tests.topograph.graphs import GOLDEN_CASES, dense_network, golden, layered_graphs, stored


@pytest.mark.parametrize(("name", "tau"), GOLDEN_CASES)
def test_dead_nodes_match_the_golden_answers(name: str, tau: str) -> None:
    graph, expected = golden(name, tau)
    assert tg.dead_nodes(graph).tolist() == expected["dead"]


@given(layered_graphs())
def test_dead_nodes_are_those_on_no_path_written_out(graph: tg.LayeredGraph) -> None:
    alive = {node for path in brute_force.all_paths(graph) for node in path.nodes}
    assert tg.dead_nodes(graph).tolist() == sorted(set(range(graph.n_nodes)) - alive)


@given(layered_graphs())
def test_effective_density_counts_the_edges_between_live_nodes(graph: tg.LayeredGraph) -> None:
    everything = graph.to_networkx()
    inputs = brute_force.node_ids(graph, graph.inputs)
    outputs = brute_force.node_ids(graph, graph.outputs)
    reached = inputs.union(*(networkx.descendants(everything, node) for node in inputs))
    reaching = outputs.union(*(networkx.ancestors(everything, node) for node in outputs))
    weights = graph.to_networkx(identity=False)
    effective = sum(u in reached and v in reaching for u, v in weights.edges)
    positions = sum(math.prod(block.matrix.shape) for block in graph.weight_blocks)
    if positions:
        assert tg.effective_density(graph) == effective / positions
    else:
        assert math.isnan(tg.effective_density(graph))


def test_weights_of_zero_and_identity_edges_keep_nodes_alive() -> None:
    graph = tg.layered_graph(
        {"x": 2, "h": 2, "y": 1},
        [("x", "h", stored([[0.0, None], [None, None]])), ("h", "y", [[1, 1]])],
        identity=[("x", "h", [[0, 0], [0, 1]])],
    )
    assert tg.dead_nodes(graph).tolist() == []
    assert tg.effective_density(graph) == 3 / 6


def test_all_of_a_dense_network_is_effective() -> None:
    assert tg.effective_density(dense_network([4, 5, 3])) == 1


def test_density_of_parallel_weights_counts_each_of_them() -> None:
    graph = tg.layered_graph(
        {"x": 2, "y": 2}, [("x", "y", [[1, 0], [2, 3]]), ("x", "y", [[-1, 4], [0, 5]])]
    )
    assert tg.effective_density(graph) == 6 / 8


@pytest.mark.parametrize("measure", [tg.dead_nodes, tg.effective_density])
def test_anything_but_a_graph_is_refused(measure: object) -> None:
    with pytest.raises(tg.TopographError, match=r"expected a LayeredGraph"):
        measure(np.eye(2))  # type: ignore[operator]
