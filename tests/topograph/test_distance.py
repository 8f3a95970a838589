from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from tests.topograph.graphs import dense_network, stored
from topograph import LayeredGraph, TopographError, layered_graph
from topograph.distance import graph_distance, layer_distances, match_neurons

Sets = dict[str, list[set[tuple[str, int]]]]


@st.composite
def pairs_of_graphs(draw: st.DrawFn) -> tuple[LayeredGraph, LayeredGraph]:
    """Draw two graphs of the same groups, with skips, identity edges and weights 0."""
    sizes = {f"g{k}": draw(st.integers(1, 4)) for k in range(draw(st.integers(2, 4)))}
    names = list(sizes)
    entry = st.sampled_from([None, None, 0.0, 1.0, -2.0])
    graphs = []
    skips = draw(st.booleans())
    for _ in range(2):
        matrices, identity = [], []
        for i, source in enumerate(names):
            for j, target in enumerate(names[i + 1 :], i + 1):
                if j > i + 1 and not skips:
                    continue
                shape = (sizes[target], sizes[source])
                rows = [[draw(entry) for _ in range(shape[1])] for _ in range(shape[0])]
                matrices.append((source, target, stored(rows)))
                if shape[0] == shape[1] and skips:
                    identity.append((source, target, sp.eye_array(shape[0])))
        graphs.append(layered_graph(sizes, matrices, identity=identity))
    return graphs[0], graphs[1]


def connection_sets(graph: LayeredGraph, rename: dict[str, np.ndarray]) -> Sets:
    """Return every node's sources as (group, index), renamed where a group is in ``rename``."""
    sets: Sets = {name: [set() for _ in range(group.size)] for name, group in graph.groups.items()}
    for block in graph.blocks:
        for row, column in zip(*block.matrix.tocoo().coords, strict=True):
            index = int(column)
            if block.source in rename:
                index = rename[block.source].tolist().index(index)
            sets[block.target][row].add((block.source, index))
    return sets


def apart(a: set[tuple[str, int]], b: set[tuple[str, int]]) -> float:
    return len(a ^ b) / len(a | b) if a | b else 0.0


@given(pairs_of_graphs(), st.booleans())
def test_every_layer_is_matched_at_the_smallest_sum_of_distances(
    graphs: tuple[LayeredGraph, LayeredGraph], match_outputs: bool
) -> None:
    a, b = graphs
    match = match_neurons(a, b, match_outputs)
    distances = layer_distances(a, b, match_outputs)
    assert list(distances) == list(a.groups)[1:]
    sets_a, sets_b = connection_sets(a, {}), connection_sets(b, match)
    for name, group in a.groups.items():
        cost = [[apart(x, y) for y in sets_b[name]] for x in sets_a[name]]
        orders = list(permutations(range(group.size)))
        if name in a.inputs or (name in a.outputs and not match_outputs):
            orders = [tuple(range(group.size))]
        sums = {order: sum(cost[i][j] for i, j in enumerate(order)) for order in orders}
        best = min(sums.values())
        taken = tuple(match[name].tolist())
        assert sums[taken] == pytest.approx(best, abs=1e-12)
        moved = {o: sum(i != j for i, j in enumerate(o)) for o in orders if sums[o] < best + 1e-12}
        assert moved[taken] == min(moved.values())
        if name in distances:
            assert distances[name] == pytest.approx(best / group.size, abs=1e-12)
    expected = np.mean(list(distances.values()))
    assert graph_distance(a, b, match_outputs) == pytest.approx(expected)


@given(pairs_of_graphs())
def test_distance_is_zero_to_oneself_and_at_most_one(
    graphs: tuple[LayeredGraph, LayeredGraph],
) -> None:
    a, b = graphs
    assert graph_distance(a, a) == 0
    assert 0 <= graph_distance(a, b) <= 1


def relabelled(graph: LayeredGraph, seed: int) -> tuple[LayeredGraph, dict[str, np.ndarray]]:
    """Return the graph with its hidden neurons in another order, and which is where now."""
    rng = np.random.default_rng(seed)
    order = {
        name: rng.permutation(group.size) if name in graph.hidden else np.arange(group.size)
        for name, group in graph.groups.items()
    }
    matrices = [
        (block.source, block.target, block.matrix[order[block.target]][:, order[block.source]])
        for block in graph.blocks
    ]
    sizes = {name: group.size for name, group in graph.groups.items()}
    return layered_graph(sizes, matrices), order


def test_relabelled_networks_are_the_same() -> None:
    graph = dense_network([60, 40, 30, 10], density=0.2)
    other, order = relabelled(graph, seed=1)
    assert graph_distance(graph, other) == 0
    match = match_neurons(graph, other)
    for name in graph.hidden:
        # The neuron k of the other is the neuron order[k] of the first.
        assert order[name][match[name]].tolist() == list(range(len(order[name])))
    # Without the match the layers differ nearly everywhere.
    blocks = zip(graph.blocks, other.blocks, strict=True)
    shared = [(a.matrix.multiply(b.matrix)).nnz / a.matrix.nnz for a, b in blocks]
    assert max(shared) < 0.4


def test_moving_connections_moves_networks_apart() -> None:
    graph = dense_network([60, 40, 30], density=0.2)
    distances = []
    for part in (0.05, 0.3, 1.0):
        rng = np.random.default_rng(0)
        matrices = []
        for block in graph.blocks:
            weights = block.matrix.toarray()
            at = np.flatnonzero(weights)
            moved = rng.random(len(at)) < part
            weights.flat[at[moved]] = 0
            free = np.flatnonzero(weights == 0)
            weights.flat[rng.choice(free, moved.sum(), replace=False)] = 1
            matrices.append((block.source, block.target, weights))
        sizes = {name: group.size for name, group in graph.groups.items()}
        distances.append(graph_distance(graph, layered_graph(sizes, matrices)))
    assert 0 < distances[0] < distances[1] < distances[2] < 1


def test_weights_do_not_count_and_stored_zeros_do() -> None:
    a = layered_graph({"x": 2, "y": 1}, [("x", "y", stored([[1.0, None]]))])
    b = layered_graph({"x": 2, "y": 1}, [("x", "y", stored([[0.0, None]]))])
    c = layered_graph({"x": 2, "y": 1}, [("x", "y", stored([[5.0, 0.0]]))])
    assert graph_distance(a, b) == 0
    assert graph_distance(a, c) == 0.5


def test_a_stream_keeps_the_order_of_its_source() -> None:
    # h is relabelled; s only reads it by identity edges, so s must follow for y to agree.
    first, second = [[1, 0], [0, 1], [1, 1]], [[1, 0, 0]]
    swap = [1, 0, 2]
    a = layered_graph(
        {"x": 2, "h": 3, "s": 3, "y": 1},
        [("x", "h", first), ("s", "y", second)],
        identity=[("h", "s", np.eye(3))],
    )
    b = layered_graph(
        {"x": 2, "h": 3, "s": 3, "y": 1},
        [("x", "h", np.array(first)[swap]), ("s", "y", np.array(second)[:, swap])],
        identity=[("h", "s", np.eye(3))],
    )
    assert layer_distances(a, b) == {"h": 0.0, "y": 0.0}


def test_outputs_can_keep_their_numbers() -> None:
    a = layered_graph({"x": 2, "y": 2}, [("x", "y", [[1, 0], [0, 1]])])
    b = layered_graph({"x": 2, "y": 2}, [("x", "y", [[0, 1], [1, 0]])])
    assert graph_distance(a, b) == 0
    assert graph_distance(a, b, match_outputs=False) == 1


def test_nothing_to_compare_is_nan() -> None:
    graph = layered_graph({"x": 2}, [])
    assert math.isnan(graph_distance(graph, graph))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (layered_graph({"x": 2, "y": 2}, []), "'y': 1 and 2"),
        (layered_graph({"x": 2, "z": 1}, []), "'y': 1 and None"),
        (layered_graph({"y": 1, "x": 2}, []), "their order"),
        (layered_graph({"x": 2, "y": 1}, [], inputs=["x", "y"]), "inputs"),
        (np.eye(2), "graph_b is a ndarray"),
    ],
)
def test_graphs_of_other_groups_are_refused(other: LayeredGraph, message: str) -> None:
    with pytest.raises(TopographError, match=message):
        graph_distance(layered_graph({"x": 2, "y": 1}, [("x", "y", [[1, 0]])]), other)
