"""What exact path sums cost beside plain sparse products, and beside a networkx sweep.

The plain products are the lower bound: two sparse sweeps in bare float64, which overflow on deep
networks. Prints seconds, and each one's ratio to topograph.

    python benchmarks/path_sums.py            # 0.2 and 1 million edges, a few seconds
    python benchmarks/path_sums.py --large    # 10 million edges too
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import networkx
import numpy as np
import scipy.sparse as sp

import topograph as tg


def random_network(widths: list[int], density: float, seed: int = 0) -> tg.LayeredGraph:
    """Return a strictly layered network of normal weights."""
    rng = np.random.default_rng(seed)
    matrices = []
    for k, (n_in, n_out) in enumerate(pairwise(widths)):
        weights = sp.random_array((n_out, n_in), density=density, format="csr", rng=rng)
        weights.data = rng.standard_normal(weights.nnz)
        matrices.append((str(k), str(k + 1), weights))
    return tg.layered_graph({str(k): width for k, width in enumerate(widths)}, matrices)


def plain_products(graph: tg.LayeredGraph) -> np.ndarray:
    """Return shares by bare float64 products; for a strictly layered network."""
    weights = [abs(block.matrix) for block in graph.blocks]
    phi = [np.ones(weights[0].shape[1])]
    for matrix in weights:
        phi.append(matrix @ phi[-1])
    psi = [np.ones(weights[-1].shape[0])]
    for matrix in reversed(weights):
        psi.append(matrix.T @ psi[-1])
    return np.concatenate(phi) * np.concatenate(psi[::-1]) / phi[-1].sum()


def networkx_sweep(digraph: Any) -> np.ndarray:
    """Return shares by one dictionary sweep each way over a networkx graph."""
    order = list(networkx.topological_sort(digraph))
    phi = dict.fromkeys(order, 0.0)
    psi = dict.fromkeys(order, 0.0)
    for node in order:
        before = digraph.pred[node]
        kind = digraph.nodes[node]["kind"]
        phi[node] = sum(
            (abs(edge["weight"]) * phi[other] for other, edge in before.items()),
            float(kind == "input"),
        )
    for node in reversed(order):
        after = digraph.succ[node]
        kind = digraph.nodes[node]["kind"]
        psi[node] = sum(
            (abs(edge["weight"]) * psi[other] for other, edge in after.items()),
            float(kind == "output"),
        )
    product = np.array([phi[node] * psi[node] for node in sorted(order)])
    return product / sum(psi[node] for node in order if digraph.nodes[node]["kind"] == "input")


def seconds(call: Callable[[], np.ndarray], repeats: int) -> tuple[float, np.ndarray]:
    """Return the shortest of some runs, and the result."""
    best, result = np.inf, np.empty(0)
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - start)
    return best, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="10 million edges too")
    large = parser.parse_args().large
    cases = {
        "MLP 3072-1024-512-10": ([3072, 1024, 512, 10], 0.05),
        "8 layers of 4096": ([4096] * 8, 0.009),
    }
    if large:
        cases["8 layers of 16384"] = ([16384] * 8, 87 / 16384)
    print(f"{'graph':<22}{'edges':>11}  {'way':<15}{'seconds':>9}{'ratio':>9}  largest difference")
    for name, (widths, density) in cases.items():
        graph = random_network(widths, density)
        ways: dict[str, Callable[[], np.ndarray]] = {
            "topograph": partial(tg.path_centrality, graph),
            "plain products": partial(plain_products, graph),
        }
        if graph.n_edges < 2_000_000:
            ways["networkx sweep"] = partial(networkx_sweep, graph.to_networkx())
        ours, expected = seconds(ways["topograph"], 5)
        for way, run in ways.items():
            took, share = seconds(run, 1 if way == "networkx sweep" else 5)
            took = ours if way == "topograph" else took
            difference = np.abs(share - expected).max()
            print(
                f"{name:<22}{graph.n_edges:>11,}  {way:<15}{took:>9.4f}{took / ours:>9.2f}"
                f"  {difference:.1e}"
            )


if __name__ == "__main__":
    main()
