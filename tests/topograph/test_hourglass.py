from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import topograph as tg
from tests.topograph import brute_force
from tests.topograph.graphs import (
    GOLDEN_CASES,
    by_edges,
    dense_network,
    dyadic_weights,
    golden,
    layered_graphs,
)
from topograph.hourglass import hourglass_curve

TOY = by_edges(
    "abcdefghijklm",
    "a>d b>e c>e c>i d>g d>f e>i g>h g>j g>k f>h f>i h>k i>l i>m",
    "abc",
    "jklm",
)


@pytest.mark.parametrize("name", sorted({name for name, _ in GOLDEN_CASES}))
def test_the_curve_is_the_score_at_every_tau(name: str) -> None:
    graph, _ = golden(name, next(tau for case, tau in GOLDEN_CASES if case == name))
    curve = hourglass_curve(graph, tau_max=1)
    for tau in (*np.linspace(0.02, 1, 50), *curve.tau):
        expected = tg.hourglass_score(graph, float(tau))
        assert curve(float(tau)) == pytest.approx(expected, nan_ok=True), tau
    for tau, score in zip(curve.tau, curve.score, strict=True):
        assert score == tg.hourglass_score(graph, float(tau))


@given(layered_graphs(dyadic_weights), st.floats(0.05, 1))
@settings(max_examples=40)
def test_the_curve_of_any_graph_is_its_scores(graph: tg.LayeredGraph, tau_max: float) -> None:
    curve = hourglass_curve(graph, tau_max)
    for part in (0.1, 0.37, 0.9, 1.0):
        expected = tg.hourglass_score(graph, part * tau_max)
        assert curve(part * tau_max) == pytest.approx(expected, nan_ok=True)


def test_cores_are_those_of_every_path_written_out() -> None:
    curve = hourglass_curve(TOY, tau_max=1)
    everyone = brute_force.node_ids(TOY, tuple(TOY.groups))
    for tau, size in zip(curve.tau, curve.core, strict=True):
        part = Fraction(float(tau)).limit_denominator(1000)
        assert size == len(brute_force.cover(TOY, part, everyone)[0])


def test_the_published_toy_has_its_published_score() -> None:
    curve = hourglass_curve(TOY)
    assert curve(0.9) == pytest.approx(1 / 3)
    assert (curve.core[-1], curve.flat_core[-1], curve.tau[-1]) == (2, 3, 0.95)


def test_the_area_is_the_integral_of_the_score() -> None:
    # By a fine Riemann sum of the score itself.
    graph = dense_network([8, 3, 6], seed=2)
    curve = hourglass_curve(graph, tau_max=0.8)
    grid = (np.arange(4000) + 0.5) * 0.8 / 4000
    total = sum(curve(float(tau)) for tau in grid) * 0.8 / 4000
    assert curve.area == pytest.approx(total, abs=1e-3)
    assert curve.mean == pytest.approx(total / 0.8, abs=2e-3)


def test_a_waist_has_an_area_and_a_flat_network_has_none() -> None:
    waist = tg.layered_graph(
        {"x": 6, "h": 1, "y": 6}, [("x", "h", np.ones((1, 6))), ("h", "y", np.ones((6, 1)))]
    )
    assert hourglass_curve(waist, 1).area == pytest.approx(
        1 - np.mean([1 / k for k in range(1, 7)])
    )
    flat = tg.layered_graph({"x": 6, "y": 6}, [("x", "y", np.ones((6, 6)))])
    assert hourglass_curve(flat, 1).area == 0


def test_without_paths_there_is_no_curve() -> None:
    curve = hourglass_curve(tg.layered_graph({"x": 2, "y": 2}, []))
    assert len(curve.tau) == 0
    assert math.isnan(curve.area)
    assert math.isnan(curve(0.5))


def test_steps_of_both_cores_at_once_are_one() -> None:
    # All paths end in few outputs, so both cores are the same outputs up to rounding.
    curve = hourglass_curve(dense_network([40, 30, 20, 3], seed=1), 1)
    assert len(curve.tau) == 3
    assert curve.area == 0


@pytest.mark.parametrize("tau_max", [0, 1.1, -0.5, "all"])
def test_ends_outside_the_curve_are_refused(tau_max: float) -> None:
    with pytest.raises(tg.TopographError, match="tau_max"):
        hourglass_curve(TOY, tau_max)


def test_the_curve_ends_at_tau_max() -> None:
    curve = hourglass_curve(TOY, 0.5)
    for tau in (0, 0.6):
        with pytest.raises(tg.TopographError, match="tau"):
            curve(tau)
