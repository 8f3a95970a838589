from __future__ import annotations

from itertools import pairwise
from typing import Any

import igraph
import networkx
import numpy as np
import pytest
from hypothesis import given
from matplotlib.figure import Figure

import topograph as tg
from tests.topograph.graphs import by_edges, dense_network, layered_graphs
from topograph.shellpicture import positions
from topograph.shellsummary import k_shell_summary


def largest(graph: networkx.Graph, nodes: list[int], least: int = 1) -> list[int]:
    """Return the largest connected part of the nodes among themselves, that of lowest ids first."""
    parts = [sorted(part) for part in networkx.connected_components(graph.subgraph(nodes))]
    parts = [part for part in parts if len(part) >= least]
    return min(parts, key=lambda part: (-len(part), part[0]), default=[])


@given(layered_graphs())
def test_the_parts_match_networkx(graph: tg.LayeredGraph) -> None:
    summary = k_shell_summary(graph)
    plain = networkx.Graph(graph.to_networkx(identity=False).to_undirected())
    shell = networkx.core_number(plain)
    k_max = max(shell.values())
    core = sorted(v for v in plain if shell[v] == k_max and k_max > 0)
    outside = [v for v in plain if v not in core and shell[v] > 0]
    together = largest(plain, outside, least=2)
    assert summary.k_max == k_max
    assert summary.core.tolist() == core
    assert summary.nucleus.tolist() == largest(plain, core)
    assert summary.crust.tolist() == sorted(set(plain) - set(core))
    assert summary.connected_crust.tolist() == together
    assert summary.dependent.tolist() == sorted(set(outside) - set(together))
    assert summary.isolated.tolist() == sorted(v for v in plain if shell[v] == 0)


def test_the_histogram_counts_every_node_once_in_its_layer() -> None:
    graph = dense_network([60, 40, 30, 10], density=0.1)
    summary = k_shell_summary(graph)
    coreness = np.array(graph.to_igraph(identity=False).coreness())
    for name, counts in summary.histogram.items():
        expected = np.bincount(coreness[graph.nodes(name)], minlength=summary.k_max + 1)
        assert counts.tolist() == expected.tolist()
    frame = summary.frame()
    assert list(frame.columns) == list(graph.groups)
    assert frame.to_numpy().sum() == graph.n_nodes


def test_a_core_of_two_pieces_has_the_larger_for_a_nucleus() -> None:
    # A square a-d, a complete pair of three e-j, and the bridge k between them.
    square = "a>c a>d b>c b>d"
    block = " ".join(f"{u}>{v}" for u in "ef" for v in "ghi")
    graph = by_edges("abcdefghijk", f"{square} {block} d>k i>j j>k", "ae", "k")
    summary = k_shell_summary(graph)
    names = np.array(list("abcdefghijk"))
    assert "".join(names[summary.nucleus]) == "abcdefghijk"
    apart = k_shell_summary(by_edges("abcdefghi", f"{square} {block}", "ae", "i"))
    assert "".join(names[apart.core]) == "abcdefghi"
    assert "".join(names[apart.nucleus]) == "efghi"


def test_published_graph_of_three_shells() -> None:
    # Batagelj and Zaversnik 2003, figure 1, with edges directed by node number.
    edges = [(u, v) for k in (1, 5) for u in range(k, k + 4) for v in range(u + 1, k + 4)]
    edges += [(3, 7), (2, 11), (5, 11), (11, 12), (5, 12), (12, 19), (12, 18), (3, 9), (7, 9)]
    edges += [(7, 10), (9, 10), (9, 20), (13, 17), (13, 14), (14, 15), (15, 16), (13, 16)]
    sizes = {str(k): 1 for k in range(1, 22)}
    graph = tg.layered_graph(sizes, [(str(u), str(v), [[1]]) for u, v in edges])
    summary = k_shell_summary(graph)
    assert summary.k_max == 3
    assert (summary.core + 1).tolist() == list(range(1, 9))
    assert len(summary.nucleus) == 8
    assert (summary.isolated + 1).tolist() == [21]
    # 13 to 17 are a part of their own; 9, 10, 20 and 11, 12, 18, 19 smaller ones.
    assert (summary.connected_crust + 1).tolist() == [13, 14, 15, 16, 17]
    assert (summary.dependent + 1).tolist() == [9, 10, 11, 12, 18, 19, 20]


def test_a_network_without_connections_has_no_core() -> None:
    summary = k_shell_summary(tg.layered_graph({"x": 2, "y": 1}, []))
    assert (summary.k_max, len(summary.core), len(summary.nucleus)) == (0, 0, 0)
    assert summary.crust.tolist() == summary.isolated.tolist() == [0, 1, 2]
    assert summary.histogram["x"].tolist() == [2]
    summary.figure().canvas.draw()


def test_deeper_shells_are_drawn_further_inside() -> None:
    graph = dense_network([80, 60, 40, 10], density=0.08)
    summary = k_shell_summary(graph)
    x, y = positions(summary)
    far = np.hypot(x, y)
    rings = [far[summary.shell == k] for k in np.unique(summary.shell)]
    assert all(outer.min() > inner.max() for outer, inner in pairwise(rings))
    assert len(np.unique(np.round([x, y], 9), axis=1).T) == graph.n_nodes


@pytest.mark.parametrize("widths", [[20, 10, 5], [6] * 12], ids=["legend", "colour-bar"])
def test_the_picture_draws_every_node(widths: list[int]) -> None:
    figure = k_shell_summary(dense_network(widths, density=0.4)).figure()
    figure.canvas.draw()
    rings, bars = figure.axes[:2]
    assert sum(len(dots.get_offsets()) for dots in rings.collections) == sum(widths)
    assert sum(bar.get_height() for bar in bars.patches) == sum(widths)


@pytest.mark.parametrize("layout", [None, "constrained"])
def test_the_picture_fits_into_given_axes(layout: Any) -> None:
    figure = Figure(layout=layout)
    axes = figure.subplots(1, 2)[1]
    graph = dense_network([20, 10, 5], density=0.4)
    assert k_shell_summary(graph).figure(axes) is figure
    figure.canvas.draw()
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == graph.n_nodes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(graph.groups)


def test_igraph_agrees_on_the_nucleus_of_a_larger_network() -> None:
    graph = dense_network([300, 200, 100, 10], density=0.03)
    summary = k_shell_summary(graph)
    oracle = igraph.Graph(graph.n_nodes, graph.to_igraph(identity=False).get_edgelist())
    core = np.flatnonzero(np.array(oracle.coreness()) == summary.k_max)
    assert len(summary.nucleus) == max(oracle.induced_subgraph(core).connected_components().sizes())
