"""How fast the k-shell is beside igraph and networkx, from the same edge arrays to the shells.

Every way starts from the same integer arrays of sources and targets, so that building the
library's own graph counts. Prints seconds, and how many times longer than topograph each takes.

    python benchmarks/k_shell.py            # 0.2 and 1 million edges, a few seconds
    python benchmarks/k_shell.py --large    # 10 million edges too, about half a minute
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import igraph
import networkx
import numpy as np
import scipy.sparse as sp

import topograph as tg

Layers = list[tuple[np.ndarray, np.ndarray]]


def random_layers(widths: list[int], edges_a_node: list[int], seed: int = 0) -> Layers:
    """Return sources and targets, counted within their layers, of every layer's edges."""
    rng = np.random.default_rng(seed)
    layers = []
    for n_in, n_out, k in zip(widths[:-1], widths[1:], edges_a_node, strict=True):
        cells = np.unique(rng.integers(0, n_in * n_out, n_out * k))
        layers.append((cells % n_in, cells // n_in))
    return layers


def by_topograph(widths: list[int], layers: Layers) -> np.ndarray:
    names = [str(k) for k in range(len(widths))]
    matrices = []
    for k, (sources, targets) in enumerate(layers):
        shape = (widths[k + 1], widths[k])
        weights = sp.csr_array((np.ones(len(sources)), (targets, sources)), shape=shape)
        matrices.append((names[k], names[k + 1], weights))
    return tg.k_shell(tg.layered_graph(dict(zip(names, widths, strict=True)), matrices))


def by_igraph(widths: list[int], layers: Layers) -> np.ndarray:
    starts = np.cumsum([0, *widths])
    edges = (
        pair
        for k, (sources, targets) in enumerate(layers)
        for pair in zip(
            (sources + starts[k]).tolist(), (targets + starts[k + 1]).tolist(), strict=True
        )
    )
    return np.array(igraph.Graph(n=int(starts[-1]), edges=edges).coreness())


def by_networkx(widths: list[int], layers: Layers) -> np.ndarray:
    starts = np.cumsum([0, *widths])
    graph = networkx.Graph()
    graph.add_nodes_from(range(starts[-1]))
    for k, (sources, targets) in enumerate(layers):
        pairs = zip((sources + starts[k]).tolist(), (targets + starts[k + 1]).tolist(), strict=True)
        graph.add_edges_from(pairs)
    core = networkx.core_number(graph)
    return np.array([core[node] for node in range(len(core))])


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
        "MLP 3072-1024-512-10": ([3072, 1024, 512, 10], [154, 51, 26]),
        "8 layers of 4096": ([4096] * 8, [36] * 7),
    }
    if large:
        cases["8 layers of 16384"] = ([16384] * 8, [87] * 7)
    print(f"{'graph':<22}{'edges':>11}  {'engine':<10}{'seconds':>9}{'ratio':>8}  deepest shell")
    for name, (widths, edges_a_node) in cases.items():
        layers = random_layers(widths, edges_a_node)
        n_edges = sum(len(sources) for sources, _ in layers)
        engines = {"topograph": by_topograph, "igraph": by_igraph}
        if n_edges < 2_000_000:
            engines["networkx"] = by_networkx
        ours, expected = seconds(partial(by_topograph, widths, layers), 3)
        for engine, run in engines.items():
            took, shells = ours, expected
            if engine != "topograph":
                took, shells = seconds(partial(run, widths, layers), 1)
            agrees = "" if np.array_equal(shells, expected) else "  DIFFERS"
            print(
                f"{name:<22}{n_edges:>11,}  {engine:<10}{took:>9.3f}{took / ours:>8.1f}"
                f"  {shells.max()}{agrees}"
            )


if __name__ == "__main__":
    main()
