from __future__ import annotations

from typing import Any

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import topograph as tg
from tests.topograph.graphs import GOLDEN_CASES, dense_network, golden, layered_graphs, stored


@pytest.mark.parametrize(("name", "tau"), GOLDEN_CASES)
def test_degrees_match_the_golden_answers(name: str, tau: str) -> None:
    graph, expected = golden(name, tau)
    into, out = tg.degree(graph, "in"), tg.degree(graph, "out")
    assert into.tolist() == expected["in_degree"]
    assert out.tolist() == expected["out_degree"]
    assert tg.degree(graph).tolist() == (into + out).tolist()
    assert tg.isolated_nodes(graph).tolist() == expected["isolated"]


@given(layered_graphs(), st.integers(0, 4))
def test_degrees_match_networkx(graph: tg.LayeredGraph, threshold: int) -> None:
    oracle = graph.to_networkx(identity=False)
    for kind, degrees in (
        ("total", oracle.degree),
        ("in", oracle.in_degree),
        ("out", oracle.out_degree),
    ):
        assert tg.degree(graph, kind).tolist() == [degrees[node] for node in range(len(oracle))]
    assert tg.isolated_nodes(graph).tolist() == sorted(networkx.isolates(oracle))
    few = [node for node in range(len(oracle)) if oracle.degree[node] <= threshold]
    assert tg.dormant_nodes(graph, threshold).tolist() == few


def test_a_kept_weight_of_zero_is_a_connection_and_an_identity_edge_is_none() -> None:
    graph = tg.layered_graph(
        {"x": 2, "y": 2}, [("x", "y", stored([[0.0, None], [None, None]]))],
        identity=[("x", "y", np.eye(2))],
    )  # fmt: skip
    assert tg.degree(graph).tolist() == [1, 0, 1, 0]
    assert tg.isolated_nodes(graph).tolist() == [1, 3]


def test_parallel_weights_are_one_edge_of_several_taps() -> None:
    graph = tg.layered_graph(
        {"x": 2, "y": 2}, [("x", "y", [[1, 0], [2, 3]]), ("x", "y", [[-1, 4], [0, 5]])]
    )
    assert graph.n_edges == 4
    assert tg.degree(graph).tolist() == [2, 2, 2, 2]
    assert tg.degree(graph, weighted="taps").tolist() == [3, 3, 3, 3]
    assert tg.degree(graph, "in", weighted="taps").tolist() == [0, 0, 3, 3]
    assert tg.degree(graph, "out", weighted="taps").tolist() == [3, 3, 0, 0]


@given(layered_graphs())
def test_where_every_edge_is_one_weight_taps_count_edges(graph: tg.LayeredGraph) -> None:
    assert tg.degree(graph, weighted="taps").tolist() == tg.degree(graph).tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda graph: tg.degree(graph, "both"), r'kind is .both.; expected one of "total"'),
        (lambda graph: tg.degree(graph, weighted="tap"), r'did you mean weighted="taps"'),
        (lambda graph: tg.dormant_nodes(graph, -1), r"threshold is -1; expected"),
        (lambda graph: tg.dormant_nodes(graph, "few"), r"threshold is .few.; expected"),
        (lambda _: tg.degree({}), r"graph is a dict; expected a LayeredGraph"),
        (lambda _: tg.isolated_nodes(None), r"expected a LayeredGraph"),
    ],
)
def test_bad_arguments_are_refused(call: Any, message: str) -> None:
    with pytest.raises(tg.TopographError, match=message):
        call(dense_network([2, 2]))
