"""How fast the k-shell is beside igraph, networkx, scikit-network and NetworKit.

Every way starts from the same integer arrays of sources and targets and ends with every node's
shell, so that building the library's own graph counts. igraph gets its edges as an iterator of
pairs, its fastest way; NetworKit is told to use its bucket queue, which is faster on one thread.

    python benchmarks/k_shell.py            # 0.2, 1 and 10 million edges, two minutes
    python benchmarks/k_shell.py --large    # 100 million edges too: minutes, 10 GB
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from side_by_side import Case, Way, compare

import topograph as tg

HUGE = 5e7


@dataclass(frozen=True)
class Network:
    """Widths of layers, and of every layer's edges sources and targets, counted within theirs."""

    widths: list[int]
    layers: list[tuple[np.ndarray, np.ndarray]]

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Return sources and targets of all edges as node ids."""
        starts = np.cumsum([0, *self.widths])
        sources = [s + starts[k] for k, (s, _) in enumerate(self.layers)]
        targets = [t + starts[k + 1] for k, (_, t) in enumerate(self.layers)]
        return np.concatenate(sources), np.concatenate(targets)


def random_network(widths: list[int], edges_a_node: list[int]) -> Network:
    """Return a network in which every target has about so many edges in, drawn at random."""
    rng = np.random.default_rng(0)
    layers = []
    for n_in, n_out, k in zip(widths[:-1], widths[1:], edges_a_node, strict=True):
        cells = np.unique(rng.integers(0, n_in * n_out, n_out * k))
        layers.append((cells % n_in, cells // n_in))
    return Network(widths, layers)


def graph_of(network: Network) -> tg.LayeredGraph:
    widths = network.widths
    names = [str(k) for k in range(len(widths))]
    matrices = []
    for k, (sources, targets) in enumerate(network.layers):
        shape = (widths[k + 1], widths[k])
        weights = sp.csr_array((np.ones(len(sources)), (targets, sources)), shape=shape)
        matrices.append((names[k], names[k + 1], weights))
    return tg.layered_graph(dict(zip(names, widths, strict=True)), matrices)


def by_topograph(network: Network) -> np.ndarray:
    return tg.k_shell(graph_of(network))


def by_igraph(network: Network) -> np.ndarray:
    import igraph

    starts = np.cumsum([0, *network.widths])
    edges = (
        pair
        for k, (sources, targets) in enumerate(network.layers)
        for pair in zip(
            (sources + starts[k]).tolist(), (targets + starts[k + 1]).tolist(), strict=True
        )
    )
    return np.array(igraph.Graph(n=int(starts[-1]), edges=edges).coreness())


def by_networkx(network: Network) -> np.ndarray:
    import networkx

    sources, targets = network.ends()
    graph = networkx.Graph()
    graph.add_nodes_from(range(sum(network.widths)))
    graph.add_edges_from(zip(sources.tolist(), targets.tolist(), strict=True))
    core = networkx.core_number(graph)
    return np.array([core[node] for node in range(len(core))])


def by_scikit_network(network: Network) -> np.ndarray:
    from sknetwork.topology import get_core_decomposition

    sources, targets = network.ends()
    n = sum(network.widths)
    # It reads int32 indices of csr_matrix alone, and of a directed graph only the edges out.
    directed = sp.csr_matrix((np.ones(len(sources), bool), (sources, targets)), shape=(n, n))
    return np.asarray(get_core_decomposition((directed + directed.T).tocsr()))


def by_networkit(network: Network) -> np.ndarray:
    import networkit

    ends = network.ends()
    graph = networkit.GraphFromCoo(ends, n=sum(network.widths), weighted=False, directed=False)
    core = networkit.centrality.CoreDecomposition(graph, enforceBucketQueueAlgorithm=True)
    return np.array(core.run().scores(), np.int64)


def agreement(found: np.ndarray, expected: np.ndarray) -> str:
    return "same shells" if np.array_equal(found, expected) else "DIFFERS"


WAYS = [
    Way("topograph", by_topograph),
    Way("igraph", by_igraph, "igraph", HUGE),
    Way("scikit-network", by_scikit_network, "sknetwork", HUGE),
    Way("NetworKit", by_networkit, "networkit", HUGE),
    Way("networkx", by_networkx, "networkx", 2e6),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="100 million edges too")
    shapes: dict[str, tuple[list[int], list[int]]] = {
        "MLP 3072-1024-512-10": ([3072, 1024, 512, 10], [154, 51, 26]),
        "8 layers of 4096": ([4096] * 8, [36] * 7),
        "8 layers of 16384": ([16384] * 8, [87] * 7),
    }
    if parser.parse_args().large:
        shapes["12 layers of 32768"] = ([32768] * 12, [277] * 11)

    compare(
        (case_of(name, *shape) for name, shape in shapes.items()),
        WAYS,
        partial(random_network, [8, 8, 8], [2, 2]),
        agreement,
    )
    print("\nThe shells alone, from a graph that is there:\n")
    compare(
        (case_of(name, *shape, given=True) for name, shape in shapes.items()),
        [Way("topograph.k_shell", tg.k_shell)],
        lambda: graph_of(random_network([8, 8, 8], [2, 2])),
        agreement,
    )


def case_of(name: str, widths: list[int], edges_a_node: list[int], given: bool = False) -> Case:
    network: Any = random_network(widths, edges_a_node)
    size = sum(len(sources) for sources, _ in network.layers)
    if given:
        network = graph_of(network)
    return Case(name, size, lambda: network)


if __name__ == "__main__":
    main()
