from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given

import topograph as tg
from tests.topograph import brute_force
from tests.topograph.graphs import dense_network, layered_graphs
from topograph.evenness import path_entropy


@given(layered_graphs())
def test_entropy_is_that_of_all_paths_written_out(graph: tg.LayeredGraph) -> None:
    through = brute_force.centrality(graph)
    found = path_entropy(graph)
    relative = path_entropy(graph, normalised=True)
    assert list(found) == list(relative) == list(graph.hidden)
    for name in graph.hidden:
        weights = [float(weight) for weight in through[graph.nodes(name)]]
        whole = sum(weights)
        if not whole:
            assert math.isnan(found[name])
            assert math.isnan(relative[name])
            continue
        expected = -sum(w / whole * math.log(w / whole) for w in weights if w)
        assert found[name] == pytest.approx(expected, abs=1e-9)
        most = math.log(len(weights))
        assert relative[name] == pytest.approx(expected / most if most else 1, abs=1e-9)
        assert 0 <= relative[name] <= 1


def test_layers_that_share_evenly_have_the_most_entropy() -> None:
    even = tg.layered_graph(
        {"x": 2, "h": 8, "y": 3}, [("x", "h", np.ones((8, 2))), ("h", "y", np.ones((3, 8)))]
    )
    assert path_entropy(even)["h"] == pytest.approx(math.log(8))
    assert path_entropy(even, normalised=True)["h"] == pytest.approx(1)
    one = tg.layered_graph(
        {"x": 1, "h": 3, "y": 1}, [("x", "h", [[1], [0], [0]]), ("h", "y", [[1, 1, 1]])]
    )
    assert path_entropy(one) == {"h": 0}


def test_deep_networks_keep_their_shares() -> None:
    # The path weights of 200 layers of tiny weights are far below any float.
    graph = dense_network([4] * 200, density=1.0)
    tiny = tg.layered_graph(
        {name: group.size for name, group in graph.groups.items()},
        [(block.source, block.target, block.matrix * 1e-30) for block in graph.blocks],
    )
    assert path_entropy(tiny) == pytest.approx(path_entropy(graph))


def test_path_flows_are_taken_too() -> None:
    torch = pytest.importorskip("torch")
    flow = SimpleNamespace(
        share={"x": torch.ones(2), "h": torch.tensor([0.25, 0.25, 0.5, 0.0])},
        hidden=("h",),
        offsets={"x": 0, "h": 2},
    )
    assert path_entropy(flow)["h"] == pytest.approx(1.5 * math.log(2))


@pytest.mark.parametrize("graph", [np.eye(2), None, {"h": [1, 2]}])
def test_anything_else_is_refused(graph: Mapping[str, list[int]]) -> None:
    with pytest.raises(tg.TopographError, match="expected a LayeredGraph or the result of"):
        path_entropy(graph)  # type: ignore[arg-type]
