from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import topograph as tg
from tests.topograph import brute_force
from tests.topograph.graphs import (
    GOLDEN_CASES,
    dense_network,
    dyadic_weights,
    golden,
    layered_graphs,
)


def log(number: Fraction) -> float:
    return math.log(number.numerator) - math.log(number.denominator) if number else -math.inf


@pytest.mark.parametrize(("name", "tau"), GOLDEN_CASES)
def test_sums_match_the_golden_answers(name: str, tau: str) -> None:
    graph, expected = golden(name, tau)
    sums = tg.path_sums(graph)
    total = expected["total_pwmp"]
    np.testing.assert_allclose(np.exp(sums.log_complexity), expected["complexity"], rtol=1e-9)
    np.testing.assert_allclose(np.exp(sums.log_generality), expected["generality"], rtol=1e-9)
    assert math.exp(sums.log_total) == pytest.approx(total, rel=1e-9)
    np.testing.assert_allclose(sums.share * total, expected["path_centrality"], rtol=1e-9)


def assert_sums_match_every_path(graph: tg.LayeredGraph) -> None:
    sums = tg.path_sums(graph)
    inputs = brute_force.node_ids(graph, graph.inputs)
    outputs = brute_force.node_ids(graph, graph.outputs)
    total = sum(path.weight for path in brute_force.paths(graph, inputs, outputs))
    assert sums.log_total == pytest.approx(log(Fraction(total)), rel=1e-9, abs=1e-9)
    through = brute_force.centrality(graph)
    for node in range(graph.n_nodes):
        complexity = sum(path.weight for path in brute_force.paths(graph, inputs, {node}))
        generality = sum(path.weight for path in brute_force.paths(graph, {node}, outputs))
        share = float(through[node] / total) if total else 0.0
        assert sums.log_complexity[node] == pytest.approx(log(complexity), rel=1e-9, abs=1e-9)
        assert sums.log_generality[node] == pytest.approx(log(generality), rel=1e-9, abs=1e-9)
        assert sums.share[node] == pytest.approx(share, rel=1e-9, abs=1e-300)


@given(layered_graphs())
def test_sums_match_every_path_written_out(graph: tg.LayeredGraph) -> None:
    assert_sums_match_every_path(graph)


# From the smallest subnormal to the largest power of two: no plain sum of products can hold these.
any_size = st.integers(-1074, 1023).map(lambda exponent: 2.0**exponent)


@given(layered_graphs(weights=any_size | dyadic_weights))
def test_weak_branches_beside_strong_ones_are_not_lost(graph: tg.LayeredGraph) -> None:
    assert_sums_match_every_path(graph)


def test_a_branch_that_starts_weak_can_end_up_carrying_everything() -> None:
    # φ of h0 is 1e-300, of h1 1e300; what follows turns the two round.
    graph = tg.layered_graph(
        {"x": 1, "h": 2, "g": 2, "y": 1},
        [
            ("x", "h", [[1e-300], [1e300]]),
            ("h", "g", [[1e300, 0], [0, 1e-300]]),
            ("g", "y", [[3, 1]]),
        ],
    )
    sums = tg.path_sums(graph)
    np.testing.assert_allclose(sums.share, [1, 0.75, 0.25, 0.75, 0.25, 1], rtol=1e-12)
    assert sums.log_total == pytest.approx(math.log(4), rel=1e-12)


def test_two_branches_may_part_and_meet_again_over_many_layers() -> None:
    # Every weight is of a handy size; the sums of the two branches are 2**12000 apart half-way.
    weak, strong = 2.0**-300, 2.0**300
    names = [f"h{k}" for k in range(41)]
    graph = tg.layered_graph(
        {"x": 1} | dict.fromkeys(names, 2) | {"y": 1},
        [("x", "h0", [[1], [1]])]
        + [
            (names[k], names[k + 1], np.diag([weak, strong] if k < 20 else [strong, weak]))
            for k in range(40)
        ]
        + [("h40", "y", [[1, 3]])],
    )
    sums = tg.path_sums(graph)
    np.testing.assert_allclose(sums.share, [1, *[0.25, 0.75] * 41, 1], rtol=1e-12)
    assert sums.log_complexity[graph.nodes("h20")] == pytest.approx(
        [-6000 * math.log(2), 6000 * math.log(2)], rel=1e-12
    )


def test_a_thousand_layers_against_exact_integers() -> None:
    rng = np.random.default_rng(1)
    depth, width = 1000, 4
    weights = rng.integers(0, 9, (depth, width, width))
    names = [f"l{k}" for k in range(depth + 1)]
    graph = tg.layered_graph(
        dict.fromkeys(names, width),
        [(names[k], names[k + 1], -weights[k].astype(float)) for k in range(depth)],
    )
    sums = tg.path_sums(graph)
    counts = [[1] * width]
    for layer in weights:
        counts.append(
            [sum(int(w) * n for w, n in zip(row, counts[-1], strict=True)) for row in layer]
        )
    total = sum(counts[-1])
    assert total.bit_length() > 3000  # past every float
    assert sums.log_total == pytest.approx(math.log(total), rel=1e-12)
    np.testing.assert_allclose(
        sums.share[-width:], [float(Fraction(n, total)) for n in counts[-1]], rtol=1e-9
    )
    np.testing.assert_allclose(sums.share.reshape(-1, width).sum(1), 1, rtol=0, atol=1e-9)
    assert np.isfinite(sums.share).all()


def test_two_hundred_residual_blocks_against_exact_integers() -> None:
    rng = np.random.default_rng(2)
    depth, width = 200, 3
    sizes = {"s0": width}
    matrices, identity = [], []
    stream = np.array([1] * width, object)
    for k in range(depth):
        first, second = rng.integers(0, 99, (2, width, width))
        sizes |= {f"h{k}": width, f"s{k + 1}": width}
        matrices += [(f"s{k}", f"h{k}", first), (f"h{k}", f"s{k + 1}", second)]
        identity.append((f"s{k}", f"s{k + 1}", sp.eye_array(width)))
        stream = stream + second.astype(object) @ (first.astype(object) @ stream)
    graph = tg.layered_graph(sizes, matrices, identity=identity)
    sums = tg.path_sums(graph)
    assert sums.log_total == pytest.approx(math.log(stream.sum()), rel=1e-12)
    for k in range(depth + 1):
        assert sums.share[graph.nodes(f"s{k}")].sum() == pytest.approx(1, abs=1e-9)
    assert np.isfinite(sums.share).all()


@pytest.mark.parametrize("scale", [1e-200, 0.3, -7.0, 1e200])
def test_scaling_all_weights_scales_the_total_and_leaves_the_shares(scale: float) -> None:
    graph = dense_network([5, 7, 6, 4, 3])
    scaled = tg.layered_graph(
        {name: group.size for name, group in graph.groups.items()},
        [(block.source, block.target, block.matrix * scale) for block in graph.blocks],
    )
    before, after = tg.path_sums(graph), tg.path_sums(scaled)
    np.testing.assert_allclose(after.share, before.share, rtol=1e-12)
    assert after.log_total == pytest.approx(before.log_total + 4 * math.log(abs(scale)), rel=1e-12)


@given(layered_graphs(), st.randoms(use_true_random=False))
def test_renumbering_nodes_renumbers_shares(graph: tg.LayeredGraph, random: object) -> None:
    order = {}
    for name, group in graph.groups.items():
        order[name] = list(range(group.size))
        random.shuffle(order[name])  # type: ignore[attr-defined]

    def shuffled(blocks: tuple) -> list:
        return [(b.source, b.target, b.matrix[order[b.target]][:, order[b.source]]) for b in blocks]

    permuted = tg.layered_graph(
        {name: group.size for name, group in graph.groups.items()},
        shuffled(graph.weight_blocks),
        graph.inputs,
        graph.outputs,
        shuffled(graph.identity_blocks),
    )
    share = tg.path_centrality(graph)
    moved = [graph.groups[name].start + k for name in graph.groups for k in order[name]]
    np.testing.assert_allclose(tg.path_centrality(permuted), share[moved], rtol=1e-12, atol=0)


def test_without_a_path_every_share_is_zero_and_the_total_minus_infinity() -> None:
    graph = tg.layered_graph({"x": 2, "h": 2, "y": 1}, [("x", "h", [[1, 1], [1, 1]])])
    sums = tg.path_sums(graph)
    assert sums.log_total == -math.inf
    assert not sums.share.any()
    assert sums.log_complexity[2] == pytest.approx(math.log(2))
    assert sums.log_generality[2] == -math.inf


def test_a_zero_weight_carries_nothing() -> None:
    graph = tg.layered_graph({"x": 1, "y": 1}, [("x", "y", sp.csr_array(np.array([[1.0]])) * 0)])
    assert graph.n_edges == 1
    assert tg.path_sums(graph).log_total == -math.inf


def test_one_group_can_be_input_and_output() -> None:
    sums = tg.path_sums(tg.layered_graph({"x": 4}, []))
    assert sums.share.tolist() == [0.25] * 4
    assert sums.log_total == pytest.approx(math.log(4))


@pytest.mark.parametrize("measure", [tg.path_sums, tg.path_centrality])
def test_anything_but_a_graph_is_refused(measure: object) -> None:
    with pytest.raises(tg.TopographError, match=r"expected a LayeredGraph.*Remedy"):
        measure(np.eye(3))  # type: ignore[operator]
