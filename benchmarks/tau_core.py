"""What the τ-core by path cover costs beside sweeping the whole network anew for every node.

The alternative is the greedy cover as its authors' scripts do it (take the heaviest node, delete
it, compute all path centralities again), but with sparse products instead of dictionaries. Where it
would take long it stops after some nodes: its seconds are then scaled to the whole core, and only
these nodes are compared.

    python benchmarks/tau_core.py            # an MLP and ResNet-50's channel graph, a minute
    python benchmarks/tau_core.py --large    # 10 million edges, a core of 10,000 too: minutes
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from side_by_side import ratio

import topograph as tg

TAU = 0.9
PATIENCE = 20.0  # seconds of the alternative, a network


def random_block(rng: np.random.Generator, shape: tuple[int, int], density: float) -> sp.csr_array:
    """Return edges kept at random, weights the magnitudes of a Kaiming start."""
    weights = sp.random_array(shape, density=density, format="csr", rng=rng)
    weights.data = np.abs(rng.standard_normal(weights.nnz)) / np.sqrt(shape[1])
    return weights


def mlp(widths: list[int], density: float) -> tg.LayeredGraph:
    rng = np.random.default_rng(0)
    matrices = [
        (str(k), str(k + 1), random_block(rng, (n_out, n_in), density))
        for k, (n_in, n_out) in enumerate(pairwise(widths))
    ]
    return tg.layered_graph({str(k): width for k, width in enumerate(widths)}, matrices)


def resnet50(density: float) -> tg.LayeredGraph:
    """Return ResNet-50's channels, a fraction of the weights kept; shortcuts and head are dense."""
    rng = np.random.default_rng(0)
    sizes = {"input": 3, "conv1": 64}
    matrices: list[tuple[str, str, sp.csr_array]] = []
    identity: list[tuple[str, str, sp.csr_array]] = []

    def connect(source: str, target: str, taps: int, kept: float) -> None:
        # A pair of channels is joined if any of the taps is kept.
        shape = (sizes[target], sizes[source])
        matrices.append((source, target, random_block(rng, shape, 1 - (1 - kept) ** taps)))

    connect("input", "conv1", 49, density)
    before = "conv1"
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            first, second = f"{name}.conv1", f"{name}.conv2"
            sizes |= {first: width, second: width, name: 4 * width}
            connect(before, first, 1, density)
            connect(first, second, 9, density)
            connect(second, name, 1, density)
            if block:
                identity.append((before, name, sp.eye_array(4 * width, format="csr")))
            else:
                connect(before, name, 1, 1.0)
            before = name
    sizes["fc"] = 1000
    connect(before, "fc", 1, 1.0)
    return tg.layered_graph(sizes, matrices, identity=identity)


def greedy_by_full_sweeps(
    graph: tg.LayeredGraph, tau: float, eligible: Iterable[str], most: float = np.inf
) -> tuple[np.ndarray, float]:
    """Return the first nodes of the cover, at most so many, and the seconds that they took."""
    blocks = [
        (graph.groups[b.source].slice, graph.groups[b.target].slice, abs(b.matrix))
        for b in graph.blocks
    ]
    transposed = [(source, target, matrix.T.tocsr()) for source, target, matrix in blocks]
    # By target, so that a group is complete before it is read; the other way round by source.
    blocks.sort(key=lambda edge: edge[1].start)
    transposed.sort(key=lambda edge: -edge[0].start)
    there = np.ones(graph.n_nodes)
    allowed = np.zeros(graph.n_nodes, bool)
    for name in eligible:
        allowed[graph.nodes(name)] = True
    ends_in, ends_out = np.zeros(graph.n_nodes), np.zeros(graph.n_nodes)
    for name in graph.inputs:
        ends_in[graph.nodes(name)] = 1
    for name in graph.outputs:
        ends_out[graph.nodes(name)] = 1

    taken: list[int] = []
    covered, total = 0.0, 0.0
    start = time.process_time()
    while (not taken or covered < tau * total * (1 - 1e-12)) and len(taken) < most:
        phi, psi = ends_in * there, ends_out * there
        for source, target, matrix in blocks:
            phi[target] += (matrix @ phi[source]) * there[target]
        for source, target, matrix in transposed:
            psi[source] += (matrix @ psi[target]) * there[source]
        centrality = phi * psi
        total = total or float((ends_in * psi).sum())
        node = int(np.argmax(np.where(allowed, centrality, -1.0)))
        taken.append(node)
        covered += float(centrality[node])
        there[node] = 0
        if time.process_time() - start > PATIENCE:
            break
    return np.array(taken), time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="10 million edges too")
    large = parser.parse_args().large
    cases = {
        "MLP 3072-1024-512-10 at 5%": lambda: mlp([3072, 1024, 512, 10], 0.05),
        "8 layers of 1024 at 5%": lambda: mlp([1024] * 8, 0.05),
        "ResNet-50, channels, at 10%": lambda: resnet50(0.1),
        "8 layers of 4096 at 1%": lambda: mlp([4096] * 8, 0.01),
    }
    if large:
        cases["8 layers of 16384"] = lambda: mlp([16384] * 8, 87 / 16384)
    tg.tau_core(mlp([4, 4, 4], 0.9), rule="cover")
    print("| input | edges | nodes in the core | way | seconds | ratio | agreement |")
    print("|---|---:|---:|---|---:|---:|---|")
    points = []
    for name, make in cases.items():
        graph = make()
        start = time.process_time()
        core = tg.tau_core(graph, TAU, rule="cover")
        ours = time.process_time() - start
        points.append((graph.n_edges, len(core), ours))
        head = f"| {name} | {graph.n_edges:,} | {len(core):,} |"
        print(f"{head} topograph | {ours:.3g} | 1 | |", flush=True)
        taken, theirs = greedy_by_full_sweeps(graph, TAU, graph.hidden, len(core) + 1)
        same = "same nodes" if np.array_equal(taken, core.nodes[: len(taken)]) else "DIFFERS"
        if len(taken) < len(core):
            same += f" (first {len(taken):,}; seconds scaled)"
            theirs *= len(core) / len(taken)
        print(f"{head} full sweeps | {theirs:.3g} | {ratio(theirs, ours)} | {same} |", flush=True)
    edges, nodes, seconds = np.log(np.array(points)).T
    print(
        f"\nSlope of log seconds against log edges: {np.polyfit(edges, seconds, 1)[0]:.2f}; "
        f"against log (edges × nodes in the core): {np.polyfit(edges + nodes, seconds, 1)[0]:.2f} "
        f"({len(points)} inputs)."
    )


if __name__ == "__main__":
    main()
