"""The graphs that the tests of measures share: golden ones, random small ones, plain networks."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st

from topograph import layered_graph
from topograph.graph import LayeredGraph

_GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "layered_graphs.json").read_text(encoding="utf-8")
)

#: (name, tau) of every golden answer.
GOLDEN_CASES = [(name, tau) for name, entry in _GOLDEN.items() for tau in entry["expected"]]


def golden(name: str, tau: str) -> tuple[LayeredGraph, dict[str, Any]]:
    """Return a golden graph and its brute-force answers."""
    entry = _GOLDEN[name]
    given = entry["graph"]
    sizes = given["sizes"]
    matrices: dict[bool, list[tuple[str, str, sp.csr_array]]] = {True: [], False: []}
    for block in given["blocks"]:
        source, target, edges = block["source"], block["target"], block["edges"]
        rows, columns = [edge[1] for edge in edges], [edge[0] for edge in edges]
        matrix = sp.csr_array(
            ([edge[2] for edge in edges], (rows, columns)), shape=(sizes[target], sizes[source])
        )
        matrices[block.get("kind") == "identity"].append((source, target, matrix))
    graph = layered_graph(sizes, matrices[False], given["inputs"], given["outputs"], matrices[True])
    return graph, entry["expected"][tau]


def stored(rows: list[list[float | None]]) -> sp.csr_array:
    """Return a sparse matrix that stores zeros and leaves out ``None``."""
    entries = [
        (i, j, value)
        for i, row in enumerate(rows)
        for j, value in enumerate(row)
        if value is not None
    ]
    return sp.csr_array(
        (
            np.array([value for *_, value in entries], float),
            ([i for i, *_ in entries], [j for _, j, _ in entries]),
        ),
        shape=(len(rows), len(rows[0])),
    )


# Few distinct dyadic values: sums of products are exact, and ties are frequent.
dyadic_weights = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 1.5, 3.0])


@st.composite
def layered_graphs(
    draw: st.DrawFn, weights: st.SearchStrategy[float] = dyadic_weights, any_ends: bool = True
) -> LayeredGraph:
    """Draw a small graph with skips, identity edges, weight-0 edges and any inputs and outputs."""
    sizes = {f"g{k}": draw(st.integers(1, 3)) for k in range(draw(st.integers(1, 5)))}
    names = list(sizes)
    matrices, identity = [], []
    for i, source in enumerate(names):
        for j, target in enumerate(names[i + 1 :], i + 1):
            shape = (sizes[target], sizes[source])
            if j == i + 1 or draw(st.integers(0, 3)) == 0:
                entry = st.none() | weights
                rows = [[draw(entry) for _ in range(shape[1])] for _ in range(shape[0])]
                matrices.append((source, target, stored(rows)))
            if shape[0] == shape[1] and draw(st.integers(0, 4)) == 0:
                identity.append((source, target, sp.eye_array(shape[0])))
    ends = st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)
    inputs, outputs = (draw(ends), draw(ends)) if any_ends else (None, None)
    return layered_graph(sizes, matrices, inputs, outputs, identity)


def dense_network(widths: list[int], seed: int = 0, density: float = 1.0) -> LayeredGraph:
    """Return a strictly layered network of normal weights."""
    rng = np.random.default_rng(seed)
    names = [f"l{k}" for k in range(len(widths))]
    matrices = []
    for k, (n_in, n_out) in enumerate(pairwise(widths)):
        weights = rng.standard_normal((n_out, n_in)) * (rng.random((n_out, n_in)) < density)
        matrices.append((names[k], names[k + 1], weights))
    return layered_graph(dict(zip(names, widths, strict=True)), matrices)


def by_edges(
    nodes: str, edges: str, inputs: str, outputs: str, weighted: bool = True
) -> LayeredGraph:
    """Return a graph of one-node groups from ``"a>b2 a>c"``: weight 2, and 1 where none is given.

    ``nodes``, ``inputs`` and ``outputs`` are strings of one-letter names.
    """
    matrices = [
        (edge[0], edge[2], [[float(edge[3:] or 1) if weighted else 1.0]]) for edge in edges.split()
    ]
    return layered_graph(dict.fromkeys(nodes, 1), matrices, list(inputs), list(outputs))
