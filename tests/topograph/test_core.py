from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import topograph as tg
from tests.topograph import brute_force
from tests.topograph.graphs import GOLDEN_CASES, dense_network, golden, layered_graphs

taus = st.sampled_from([Fraction(1, 8), Fraction(1, 2), Fraction(15, 16), Fraction(1)])


@dataclass(frozen=True)
class Shares:
    """What the tensor path returns, as far as the core needs it."""

    share: dict[str, Any]
    hidden: tuple[str, ...]
    offsets: dict[str, int]


def shares_of(graph: tg.LayeredGraph, kind: type) -> Shares:
    share = tg.path_centrality(graph)
    convert = {np.ndarray: np.asarray, torch.Tensor: torch.from_numpy}[kind]
    return Shares(
        {name: convert(share[group.slice]) for name, group in graph.groups.items()},
        graph.hidden,
        {name: group.start for name, group in graph.groups.items()},
    )


@pytest.mark.parametrize(("name", "tau"), GOLDEN_CASES)
def test_mass_cores_match_the_golden_answers(name: str, tau: str) -> None:
    graph, expected = golden(name, tau)
    core = tg.tau_core(graph, expected["tau"])
    assert core.nodes.tolist() == expected["tau_core_mass_hidden"]
    everything = tg.tau_core(graph, expected["tau"], nodes="all")
    assert everything.nodes.tolist() == expected["tau_core_mass_all"]
    average = tg.average_tau_core_ratio(graph, expected["tau"])
    assert average == pytest.approx(expected["average_tau_core_ratio"], rel=1e-9)


@given(layered_graphs(), taus)
def test_mass_core_is_the_smallest_set_that_holds_tau(
    graph: tg.LayeredGraph, tau: Fraction
) -> None:
    for nodes, groups in (("hidden", graph.hidden), ("all", tuple(graph.groups))):
        eligible = brute_force.node_ids(graph, groups)
        core = tg.tau_core(graph, float(tau), nodes=nodes)
        assert core.nodes.tolist() == brute_force.mass_core(graph, tau, eligible)
        through = brute_force.centrality(graph)
        whole = sum(through[node] for node in eligible)
        taken = np.cumsum([float(through[node] / whole) for node in core.nodes])
        np.testing.assert_allclose(core.coverage, taken, rtol=1e-9)
        assert (core.tau, core.rule, core.eligible) == (float(tau), "mass", nodes)


@given(layered_graphs(), taus)
def test_ratios_follow_their_definition(graph: tg.LayeredGraph, tau: Fraction) -> None:
    ratios = tg.tau_core_ratios(graph, float(tau))
    assert tuple(ratios) == graph.hidden
    for name, ratio in ratios.items():
        ids = brute_force.node_ids(graph, (name,))
        assert ratio == len(brute_force.mass_core(graph, tau, ids)) / len(ids)


@pytest.mark.parametrize("k", range(1, 11))
def test_equal_nodes_are_counted_to_the_tenth_and_taken_by_id(k: int) -> None:
    third = np.full((10, 1), 1 / 3)
    graph = tg.layered_graph({"x": 1, "h": 10, "y": 1}, [("x", "h", third), ("h", "y", third.T)])
    # Ten times a third, summed one after another, is a little off.
    shares = Shares({"h": third[:, 0]}, ("h",), {"h": 1})
    for network in (graph, shares):
        assert tg.tau_core(network, k / 10).nodes.tolist() == list(range(1, k + 1))
        assert tg.average_tau_core_ratio(network, k / 10) == k / 10


@pytest.mark.parametrize(("excess", "first"), [(1e-12, 1), (1e-7, 2)])
def test_centralities_that_differ_by_rounding_alone_are_tied(excess: float, first: int) -> None:
    graph = tg.layered_graph(
        {"x": 1, "h": 2, "y": 1}, [("x", "h", [[1], [1 + excess]]), ("h", "y", [[1, 1]])]
    )
    for rule in ("mass", "cover"):
        assert tg.tau_core(graph, 0.4, rule=rule).nodes.tolist() == [first]


def test_a_tau_of_one_keeps_every_node_that_weighs_anything() -> None:
    graph = tg.layered_graph(
        {"x": 1, "h": 4, "y": 1}, [("x", "h", [[1], [1e-18], [0], [1e-30]]), ("h", "y", [[1] * 4])]
    )
    assert tg.tau_core(graph, 1.0).nodes.tolist() == [1, 2, 4]
    assert tg.tau_core_ratios(graph, 1.0) == {"h": 0.75}


def test_a_group_too_weak_to_show_in_its_share_still_has_its_ratio() -> None:
    # A skip carries everything; the branch's shares are below the smallest float.
    graph = tg.layered_graph(
        {"x": 1, "h": 4, "y": 1},
        [
            ("x", "h", [[8e-200], [1e-200], [1e-200], [1e-200]]),
            ("h", "y", [[1e-200] * 4]),
            ("x", "y", [[1]]),
        ],
    )
    assert not tg.path_centrality(graph)[1:5].any()
    assert tg.tau_core_ratios(graph, 0.9) == {"h": 0.75}
    assert tg.tau_core(graph, 0.7).nodes.tolist() == [1]


@pytest.mark.parametrize("kind", [np.ndarray, torch.Tensor])
def test_shares_by_group_give_what_their_graph_gives(kind: type) -> None:
    graph = dense_network([6, 20, 15, 4], density=0.4)
    shares = shares_of(graph, kind)
    for nodes in ("hidden", "all"):
        given_shares = tg.tau_core(shares, 0.8, nodes=nodes)
        given_graph = tg.tau_core(graph, 0.8, nodes=nodes)
        assert given_shares.nodes.tolist() == given_graph.nodes.tolist()
        np.testing.assert_allclose(given_shares.coverage, given_graph.coverage, rtol=1e-9)
    assert tg.tau_core_ratios(shares, 0.8) == tg.tau_core_ratios(graph, 0.8)
    average = tg.average_tau_core_ratio(graph, 0.8)
    assert tg.average_tau_core_ratio(shares, 0.8) == average


def test_the_average_ratio_of_a_network_without_hidden_groups_is_no_number() -> None:
    graph = tg.layered_graph({"x": 2, "y": 2}, [("x", "y", np.eye(2))])
    assert tg.tau_core_ratios(graph) == {}
    assert math.isnan(tg.average_tau_core_ratio(graph))
    assert len(tg.tau_core(graph)) == 0


def test_a_core_shows_its_size_rule_and_eligible_nodes() -> None:
    core = tg.tau_core(dense_network([2, 3, 2]), 0.5, nodes="all")
    assert f"{len(core)} nodes" in repr(core)
    assert "rule='mass'" in repr(core)
    assert "eligible='all'" in repr(core)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tau": 1.5}, r"tau is 1.5; expected a number in \(0, 1\]"),
        ({"tau": 0}, r"tau is 0; expected"),
        ({"tau": math.nan}, r"tau is nan; expected"),
        ({"rule": "mas"}, r'did you mean rule="mass"'),
        ({"nodes": "outputs"}, r'nodes is .outputs.; expected one of "hidden", "all"'),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(tg.TopographError, match=message):
        tg.tau_core(dense_network([2, 3, 2]), **arguments)


def test_things_without_shares_are_refused() -> None:
    with pytest.raises(tg.TopographError, match=r"expected a LayeredGraph or the result of"):
        tg.tau_core(np.eye(3))  # type: ignore[arg-type]
    with pytest.raises(tg.TopographError, match=r"expected a LayeredGraph"):
        tg.average_tau_core_ratio(None)  # type: ignore[arg-type]
    shares = shares_of(dense_network([2, 3, 2]), np.ndarray)
    with pytest.raises(tg.TopographError, match=r"expected a LayeredGraph"):
        tg.tau_core(shares, rule="cover")
