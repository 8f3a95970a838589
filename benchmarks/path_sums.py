"""What exact path sums cost beside plain sparse products, a networkx sweep, and listing all paths.

The plain products are the lower bound: two sparse sweeps in bare float64, which overflow on deep
networks. Listing every path and adding up their weights is the way that follows the definition
word by word; its cost grows with the number of paths.

    python benchmarks/path_sums.py            # 0.2, 1 and 10 million edges, a minute
    python benchmarks/path_sums.py --large    # 50 million edges too
"""

from __future__ import annotations

import argparse
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from side_by_side import Case, Way, compare

import topograph as tg


def random_network(widths: list[int], density: float) -> tg.LayeredGraph:
    """Return a strictly layered network of normal weights."""
    rng = np.random.default_rng(0)
    matrices = []
    for k, (n_in, n_out) in enumerate(pairwise(widths)):
        weights = sp.random_array((n_out, n_in), density=density, format="csr", rng=rng)
        weights.data = rng.standard_normal(weights.nnz)
        matrices.append((str(k), str(k + 1), weights))
    return tg.layered_graph({str(k): width for k, width in enumerate(widths)}, matrices)


def by_topograph(given: tuple[tg.LayeredGraph, Any]) -> np.ndarray:
    return tg.path_centrality(given[0])


def plain_products(given: tuple[tg.LayeredGraph, Any]) -> np.ndarray:
    weights = [abs(block.matrix) for block in given[0].blocks]
    phi = [np.ones(weights[0].shape[1])]
    for matrix in weights:
        phi.append(matrix @ phi[-1])
    psi = [np.ones(weights[-1].shape[0])]
    for matrix in reversed(weights):
        psi.append(matrix.T @ psi[-1])
    return np.concatenate(phi) * np.concatenate(psi[::-1]) / phi[-1].sum()


def networkx_sweep(given: tuple[tg.LayeredGraph, Any]) -> np.ndarray:
    """Return shares by one dictionary sweep each way over a networkx graph."""
    import networkx

    digraph = given[1]
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


def all_paths(given: tuple[tg.LayeredGraph, Any]) -> np.ndarray:
    """Return shares by adding up the weights of the paths through every node, one by one."""
    import networkx

    graph, digraph = given
    inputs, outputs = (
        [node for node, kind in digraph.nodes(data="kind") if kind == wanted]
        for wanted in ("input", "output")
    )
    through = np.zeros(graph.n_nodes)
    total = 0.0
    for start in inputs:
        for path in networkx.all_simple_paths(digraph, start, outputs):
            weight = 1.0
            for u, v in pairwise(path):
                weight *= abs(digraph[u][v]["weight"])
            through[path] += weight
            total += weight
    return through / total


def agreement(found: np.ndarray, expected: np.ndarray) -> str:
    return f"differs by at most {np.abs(found - expected).max():.0e} of R"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="50 million edges too")
    shapes: dict[str, tuple[list[int], float]] = {
        "MLP 3072-1024-512-10": ([3072, 1024, 512, 10], 0.05),
        "8 layers of 4096": ([4096] * 8, 0.009),
        "8 layers of 16384": ([16384] * 8, 87 / 16384),
    }
    if parser.parse_args().large:
        shapes["8 layers of 32768"] = ([32768] * 8, 218 / 32768)
    small = partial(case_of, [4, 4, 4], 0.5, True)
    print("Path centrality of a graph that is there:\n")
    compare(
        (
            sized(name, case_of(widths, density, widths[1] < 8192))
            for name, (widths, density) in shapes.items()
        ),
        [
            Way("topograph", by_topograph),
            Way("plain products", plain_products),
            Way("networkx sweep", networkx_sweep, "networkx", 2e6),
        ],
        small,
        agreement,
    )
    print("\nAgainst listing every path, networks of 12 nodes a layer, half of the edges kept:\n")
    compare(
        (
            Case(f"{depth} layers", number_of_paths(given[0]), lambda given=given: given)
            for depth in (2, 3, 4, 5, 6)
            for given in [case_of([12] * (depth + 1), 0.5, True)]
        ),
        [
            Way("topograph", by_topograph),
            Way("networkx all_simple_paths", all_paths, "networkx", 3e6),
        ],
        small,
        agreement,
        unit="paths",
    )


def case_of(widths: list[int], density: float, as_networkx: bool) -> tuple[tg.LayeredGraph, Any]:
    graph = random_network(widths, density)
    return graph, graph.to_networkx() if as_networkx else None


def sized(name: str, given: tuple[tg.LayeredGraph, Any]) -> Case:
    return Case(name, given[0].n_edges, lambda: given)


def number_of_paths(graph: tg.LayeredGraph) -> float:
    paths = np.ones(graph.group("0").size)
    for block in graph.blocks:
        paths = (block.matrix != 0) @ paths
    return float(paths.sum())


if __name__ == "__main__":
    main()
