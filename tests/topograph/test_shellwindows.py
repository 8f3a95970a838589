from __future__ import annotations

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import topograph as tg
from tests.topograph.graphs import dense_network, layered_graphs
from topograph.shellwindows import k_shell_windows


@given(layered_graphs(), st.integers(2, 6))
def test_every_window_is_peeled_as_networkx_peels_its_subgraph(
    graph: tg.LayeredGraph, width: int
) -> None:
    found = k_shell_windows(graph, width)
    plain = networkx.Graph(graph.to_networkx(identity=False).to_undirected())
    best = [0] * graph.n_nodes
    for window, k_max in zip(found.windows, found.k_max, strict=True):
        ids = [v for name in window for v in range(graph.n_nodes)[graph.nodes(name)]]
        core = networkx.core_number(plain.subgraph(ids))
        assert k_max == max(core.values())
        for node, shell in core.items():
            best[node] = max(best[node], shell)
    assert found.shell.tolist() == best


@given(layered_graphs())
def test_windows_bound_the_shells_from_below_and_meet_them_when_wide(
    graph: tg.LayeredGraph,
) -> None:
    shells = tg.k_shell(graph)
    before = np.zeros(graph.n_nodes)
    for width in range(2, len(graph.groups) + 2):
        found = k_shell_windows(graph, width)
        assert (before <= found.shell).all()
        assert (found.shell <= shells).all()
        before = found.shell
    if len(graph.groups) > 1:
        assert before.tolist() == shells.tolist()
        assert found.left_out == 0


def test_edges_that_no_window_holds_are_counted() -> None:
    triples = [("a", "b", [[1]]), ("b", "c", [[1]]), ("c", "d", [[1]]), ("a", "d", [[1]])]
    graph = tg.layered_graph(dict.fromkeys("abcd", 1), triples)
    assert [k_shell_windows(graph, width).left_out for width in (2, 3, 4)] == [1, 1, 0]


def test_the_densest_layers_of_a_chain_are_found_by_narrow_windows() -> None:
    graph = dense_network([200, 150, 150, 80, 60], density=0.2)
    oracle = max(graph.to_igraph(identity=False).coreness())
    assert k_shell_windows(graph, 4).k_max.max() == oracle
    assert len(k_shell_windows(graph, 4).windows) == 2


@pytest.mark.parametrize("width", [1, 2.5, "3"])
def test_a_width_that_makes_no_window_is_refused(width: int) -> None:
    with pytest.raises(tg.TopographError, match="width"):
        k_shell_windows(dense_network([3, 2]), width)
