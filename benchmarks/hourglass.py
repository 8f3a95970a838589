"""What the whole hourglass curve costs beside asking for one τ after another.

Asked for H at τ = 0.05, 0.10, …, 0.95. One greedy cover of a network holds the cores of all smaller
τ, so the curve takes one cover of the network and one of its flat network; the score takes both for
every τ; and the authors' scripts besides compute all path centralities anew after every node.

    python benchmarks/hourglass.py    # a minute
"""

from __future__ import annotations

import argparse

import numpy as np
from side_by_side import Case, Way, compare
from tau_core import greedy_by_full_sweeps, mlp

import topograph as tg
from topograph.graph.flat import flat_network

TAUS = np.arange(1, 20) / 20


def by_curve(graph: tg.LayeredGraph) -> np.ndarray:
    curve = tg.hourglass_curve(graph)
    return np.array([curve(tau) for tau in TAUS])


def by_scores(graph: tg.LayeredGraph) -> np.ndarray:
    return np.array([tg.hourglass_score(graph, tau) for tau in TAUS])


def by_full_sweeps(graph: tg.LayeredGraph) -> np.ndarray:
    flat = flat_network(graph)
    sizes = [
        [len(greedy_by_full_sweeps(each, tau, each.groups)[0]) for each in (graph, flat)]
        for tau in TAUS
    ]
    return np.array([1 - core / flat_core for core, flat_core in sizes])


def agreement(found: np.ndarray, expected: np.ndarray) -> str:
    return f"H differs by at most {np.abs(found - expected).max():.0e}"


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    shapes = {
        "100-50-20-50-100 at 20%": ([100, 50, 20, 50, 100], 0.2),
        "400-200-50-200-400 at 20%": ([400, 200, 50, 200, 400], 0.2),
        "784-300-100-10 at 5%": ([784, 300, 100, 10], 0.05),
        "784-1000-1000-100 at 5%": ([784, 1000, 1000, 100], 0.05),
    }
    graphs = {name: mlp(*shape) for name, shape in shapes.items()}
    compare(
        (Case(name, graph.n_edges, lambda graph=graph: graph) for name, graph in graphs.items()),
        [
            Way("hourglass_curve", by_curve),
            Way("hourglass_score at every τ", by_scores),
            Way("full sweeps at every τ", by_full_sweeps),
        ],
        lambda: mlp([4, 3, 4], 0.9),
        agreement,
    )


if __name__ == "__main__":
    main()
