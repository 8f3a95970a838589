from __future__ import annotations

import sys
from typing import Any

import networkx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given

import topograph as tg
from tests.topograph import brute_force
from tests.topograph.graphs import layered_graphs, stored

Edges = dict[tuple[int, int], float]


def signed_edges(graph: tg.LayeredGraph, identity: bool) -> Edges:
    """Every edge of one kind, read entry by entry from the blocks."""
    found = {}
    for block in graph.blocks:
        if block.identity == identity:
            source, target = graph.nodes(block.source).start, graph.nodes(block.target).start
            entries = block.matrix.tocoo()
            for row, column, value in zip(*entries.coords, entries.data, strict=True):
                found[source + int(column), target + int(row)] = float(value)
    return found


@given(layered_graphs())
def test_networkx_has_every_edge_of_both_kinds(graph: tg.LayeredGraph) -> None:
    out = graph.to_networkx()
    assert type(out) is networkx.DiGraph
    assert list(out) == list(range(graph.n_nodes))
    connections = {
        (u, v): edge["weight"] for u, v, edge in out.edges(data=True) if edge["connection"]
    }
    carried = {
        (u, v): edge["identity_weight"] for u, v, edge in out.edges(data=True) if edge["identity"]
    }
    assert connections == signed_edges(graph, identity=False)
    assert carried == signed_edges(graph, identity=True)
    assert graph.to_networkx(identity=False).number_of_edges() == graph.n_edges
    for node, data in out.nodes(data=True):
        assert node == graph.nodes(data["layer"]).start + data["index"]
        assert data["kind"] == graph.groups[data["layer"]].kind
        assert data["name"] == f"{data['layer']}[{data['index']}]"


@given(layered_graphs())
def test_igraph_has_every_edge_of_both_kinds(graph: tg.LayeredGraph) -> None:
    out = graph.to_igraph()
    assert out.is_directed()
    assert out.vcount() == graph.n_nodes
    for identity in (False, True):
        found = {edge.tuple: edge["weight"] for edge in out.es.select(identity=identity)}
        assert found == signed_edges(graph, identity)
    assert out.ecount() == sum(block.matrix.nnz for block in graph.blocks)
    assert graph.to_igraph(identity=False).ecount() == graph.n_edges
    for vertex in out.vs:
        assert vertex.index == graph.nodes(vertex["layer"]).start + vertex["index"]
        assert vertex["name"] == f"{vertex['layer']}[{vertex['index']}]"
        assert vertex["kind"] == graph.groups[vertex["layer"]].kind


def as_edges(matrix: sp.csr_array) -> Edges:
    entries = matrix.tocoo()
    return {
        (int(u), int(v)): float(value)
        for u, v, value in zip(*entries.coords, entries.data, strict=True)
    }


@given(layered_graphs())
def test_scipy_has_rows_as_sources_and_keeps_stored_zeros(graph: tg.LayeredGraph) -> None:
    assert graph.to_scipy().shape == (graph.n_nodes, graph.n_nodes)
    assert as_edges(graph.to_scipy()) == signed_edges(graph, identity=False)
    assert as_edges(graph.to_scipy("identity")) == signed_edges(graph, identity=True)
    magnitudes: Edges = {}
    for source, target, weight in brute_force.edges(graph):
        magnitudes[source, target] = magnitudes.get((source, target), 0.0) + float(weight)
    assert as_edges(graph.to_scipy("paths")) == magnitudes


@given(layered_graphs())
def test_powers_of_the_path_matrix_sum_to_the_total(graph: tg.LayeredGraph) -> None:
    matrix = graph.to_scipy("paths").toarray()
    # I + A + A² + … ends, because the graph has no circles.
    ways = np.linalg.inv(np.eye(len(matrix)) - matrix)
    inputs = sorted(brute_force.node_ids(graph, graph.inputs))
    outputs = sorted(brute_force.node_ids(graph, graph.outputs))
    total = ways[np.ix_(inputs, outputs)].sum()
    assert np.exp(tg.path_sums(graph).log_total) == pytest.approx(total, rel=1e-9, abs=1e-12)


def test_an_unknown_choice_of_edges_is_refused() -> None:
    with pytest.raises(tg.TopographError, match=r'edges is .all.; expected one of "weights"'):
        tg.layered_graph({"x": 1}, []).to_scipy("all")


@pytest.mark.parametrize("library", ["networkx", "igraph"])
def test_a_missing_library_is_named(library: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    graph = tg.layered_graph({"x": 2, "y": 1}, [("x", "y", stored([[1.0, 2.0]]))])
    with pytest.raises(tg.TopographError, match=f"pip install {library}"):
        getattr(graph, f"to_{library}")()
