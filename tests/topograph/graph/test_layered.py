from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import topograph as tg
from tests.topograph.graphs import stored

SIZES = {"x": 2, "h": 3, "y": 1}


def test_node_ids_run_through_the_groups_in_order() -> None:
    graph = tg.layered_graph(SIZES, [])
    assert [graph.nodes(name) for name in SIZES] == [slice(0, 2), slice(2, 5), slice(5, 6)]
    assert (graph.n_nodes, graph.n_edges) == (6, 0)
    assert (graph.inputs, graph.outputs, graph.hidden) == (("x",), ("y",), ("h",))
    assert [group.kind for group in graph.groups.values()] == ["input", "layer", "output"]


def test_inputs_and_outputs_can_be_any_groups() -> None:
    graph = tg.layered_graph(SIZES, [], inputs=["x", "h"], outputs="h")
    assert (graph.inputs, graph.outputs, graph.hidden) == (("x", "h"), ("h",), ("y",))


def test_stored_zeros_of_a_sparse_matrix_are_edges_and_zeros_of_an_array_are_none() -> None:
    weights = [[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]]
    assert tg.layered_graph(SIZES, [("x", "h", weights)]).n_edges == 2
    assert tg.layered_graph(SIZES, [("x", "h", stored(weights))]).n_edges == 6
    assert tg.layered_graph(SIZES, [("x", "h", torch.tensor(weights))]).n_edges == 2


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_array, sp.coo_array, np.array])
def test_any_kind_of_matrix_is_read(kind: Any) -> None:
    weights = np.array([[1.0, 0.0], [0.0, -3.0], [0.0, 2.0]])
    block = tg.layered_graph(SIZES, [("x", "h", kind(weights))]).blocks[0]
    assert block.matrix.toarray().tolist() == weights.tolist()
    assert (block.source, block.target, block.matrix.dtype) == ("x", "h", np.float64)


def test_the_graph_keeps_its_own_copy_of_a_matrix() -> None:
    weights = stored([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    graph = tg.layered_graph(SIZES, [("x", "h", weights)])
    weights.data[:] = 0
    assert graph.blocks[0].matrix.sum() == 21


def test_parallel_matrices_add_their_magnitudes_edge_by_edge() -> None:
    first, second = stored([[1.0, None], [-2.0, 0.0], [None, None]]), [[-1, 0], [2, 0], [0, 3]]
    graph = tg.layered_graph(SIZES, [("x", "h", first), ("x", "h", second)])
    (block,) = graph.blocks
    assert block.matrix.toarray().tolist() == [[2, 0], [4, 0], [0, 3]]
    assert graph.n_edges == 4
    assert block.taps is not None
    assert block.taps.toarray().tolist() == [[2, 0], [2, 1], [0, 1]]
    assert block.n_positions == 12


def test_a_weight_and_an_identity_block_of_one_pair_stay_apart() -> None:
    graph = tg.layered_graph(
        {"x": 2, "y": 2}, [("x", "y", np.ones((2, 2)))], identity=[("x", "y", np.eye(2))]
    )
    assert (len(graph.weight_blocks), len(graph.identity_blocks), graph.n_edges) == (1, 1, 4)


def test_an_unknown_group_is_answered_with_the_nearest_names() -> None:
    graph = tg.layered_graph({"conv1": 1, "conv2": 1}, [])
    with pytest.raises(tg.TopographError, match=r"no group is named 'conv3'.*conv2"):
        graph.nodes("conv3")


EYE = np.eye(2)
TWO = {"x": 2, "y": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SIZES, [("x", "h", np.ones((2, 3)))]), r"x -> h has shape \(2, 3\).*\(3, 2\)"),
        ((SIZES, [("x", "z", EYE)]), "names the group 'z'"),
        ((SIZES, [(0, "h", EYE)]), "names the group 0"),
        ((SIZES, [("h", "x", np.ones((2, 3)))]), "leads from 'h' to 'x'"),
        ((TWO, [("x", "x", EYE)]), "leads from 'x' to 'x'"),
        ((TWO, [("x", "y", EYE * np.nan)]), "NaN or infinite"),
        ((TWO, [("x", "y", sp.csr_array(EYE) * np.inf)]), "NaN or infinite"),
        ((TWO, [("x", "y", EYE * 1e308), ("x", "y", EYE * 1e308)]), "NaN or infinite"),
        ((TWO, [("x", "y", EYE * 1j)]), "complex"),
        ((TWO, [("x", "y", sp.csr_array(EYE * 1j))]), "complex"),
        ((TWO, [("x", "y", "weights")]), "cannot be read"),
        ((TWO, [("x", "y", np.ones((2, 2, 2)))]), "cannot be read"),
        ((TWO, [("x", "y", torch.ones(2, 2, requires_grad=True))]), "detached"),
        ((TWO, [("x", "y")]), "expected a triple"),
        ((TWO, 3), "expected triples"),
        (({}, []), "sizes is empty"),
        (([2, 2], []), "expected a mapping"),
        (({"x": 0}, []), r"sizes\['x'\] is 0"),
        (({"x": 2.5}, []), r"sizes\['x'\] is 2.5"),
        ((TWO, [], "z"), "inputs is 'z'"),
        ((TWO, [], []), "name at least one group"),
        ((TWO, [], 3), "inputs is 3"),
        ((TWO, [], "x", ["y", "z"]), "outputs is"),
        ((TWO, [], None, None, [("x", "y", [[1]])]), r"has shape \(1, 1\)"),
    ],
)
def test_bad_input_is_refused_with_the_expectation(arguments: Any, message: str) -> None:
    with pytest.raises(tg.TopographError, match=message) as caught:
        tg.layered_graph(*arguments)
    assert caught.value.remedy
