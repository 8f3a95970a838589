from __future__ import annotations

import networkx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given

import topograph as tg
from tests.topograph import brute_force
from tests.topograph.graphs import (
    GOLDEN_CASES,
    by_edges,
    dense_network,
    golden,
    layered_graphs,
)


@pytest.mark.parametrize(("name", "tau"), GOLDEN_CASES)
def test_shells_match_the_golden_answers(name: str, tau: str) -> None:
    graph, expected = golden(name, tau)
    assert tg.k_shell(graph).tolist() == expected["k_shell"]


@given(layered_graphs())
def test_shells_match_peeling_by_hand_and_networkx(graph: tg.LayeredGraph) -> None:
    shells = tg.k_shell(graph).tolist()
    assert shells == brute_force.shells(graph)
    core = networkx.core_number(graph.to_networkx(identity=False).to_undirected())
    assert shells == [core[node] for node in range(graph.n_nodes)]


def heavy_tailed() -> tg.LayeredGraph:
    """A network whose degrees span two orders of magnitude."""
    rng = np.random.default_rng(4)
    n = 600
    chance = np.minimum(1, 4 / (1 + np.arange(n)) ** 0.7)
    matrices = []
    for k in range(4):
        keep = rng.random((n, n)) < np.outer(chance, chance)
        matrices.append((f"l{k}", f"l{k + 1}", sp.csr_array(keep.astype(float))))
    matrices.append(("l0", "l3", sp.random_array((n, n), density=0.01, rng=rng, format="csr")))
    return tg.layered_graph({f"l{k}": n for k in range(5)}, matrices)


def half_complete() -> tg.LayeredGraph:
    """Complete blocks beside sparse ones, with a bypass and a node that hangs on one edge."""
    rng = np.random.default_rng(7)
    sizes = {"a": 30, "b": 40, "c": 25, "d": 35, "e": 6}
    sparse = (rng.random((25, 40)) < 0.2).astype(float)
    sparse[:, 0] = 0
    late = (rng.random((6, 35)) < 0.3).astype(float)
    return tg.layered_graph(
        sizes,
        [
            ("a", "b", np.ones((40, 30))),
            ("b", "c", sparse),
            ("c", "d", np.ones((35, 25))),
            ("a", "d", (rng.random((35, 30)) < 0.1).astype(float)),
            ("d", "e", late),
        ],
    )


@pytest.mark.parametrize(
    "graph",
    [
        heavy_tailed(),
        dense_network([300, 200, 100, 10], density=0.05),
        dense_network([40, 50, 30]),
        half_complete(),
        by_edges("abcdefgh", "a>b b>c c>d d>e e>f f>g g>h a>c d>f d>g e>g", "a", "h"),
    ],
    ids=["heavy-tailed", "sparse", "dense", "half complete", "triangles"],
)
def test_shells_match_igraph(graph: tg.LayeredGraph) -> None:
    oracle = graph.to_igraph(identity=False)
    assert tg.k_shell(graph).tolist() == oracle.coreness(mode="all")


def test_a_chain_of_nodes_is_peeled_from_its_ends_to_its_middle() -> None:
    n = 3000
    graph = tg.layered_graph(
        {str(k): 1 for k in range(n)}, [(str(k), str(k + 1), [[1]]) for k in range(n - 1)]
    )
    assert (tg.k_shell(graph) == 1).all()


def test_identity_edges_hold_no_core_together() -> None:
    graph = tg.layered_graph({"x": 3, "y": 3}, [], identity=[("x", "y", np.ones((3, 3)))])
    assert tg.k_shell(graph).tolist() == [0] * 6


def test_anything_but_a_graph_is_refused() -> None:
    with pytest.raises(tg.TopographError, match=r"expected a LayeredGraph"):
        tg.k_shell(np.eye(2))  # type: ignore[arg-type]
