"""What is left of a network without its inside: direct edges from inputs to outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import scipy.sparse as sp

from topograph.graph.layered import LayeredGraph, layered_graph
from topograph.graph.scaled import FloatArray, Scaled, joined, ones
from topograph.graph.sweeps import Sweeps


def flat_network(graph: LayeredGraph) -> LayeredGraph:
    """Return the graph with one edge for every connected pair of an input and an output.

    An edge weighs what all paths between the pair weigh together, as a part of R. A node that is
    both input and output stands on both sides. The groups are named ``"inputs"`` and
    ``"outputs"`` and keep the order of the graph's own.

    References
    ----------
    Sabrin and Dovrolis 2017, "The hourglass effect in hierarchical dependency networks".

    Examples
    --------
    >>> graph = layered_graph({"x": 2, "h": 1, "y": 1},
    ...                       [("x", "h", [[1, 3]]), ("h", "y", [[5]])])
    >>> flat_network(graph).blocks[0].matrix.toarray().tolist()
    [[0.25, 0.75]]
    """
    sweeps = Sweeps(graph)
    psi = sweeps.backward()
    total = joined([psi[name] for name in graph.inputs]).total()
    n_inputs = sum(graph.groups[name].size for name in graph.inputs)
    n_outputs = sum(graph.groups[name].size for name in graph.outputs)
    # One sweep for every node of the smaller side gives that node's column or row.
    if n_inputs <= n_outputs:
        reached = [
            _at(sweeps.forward(seed), graph.outputs, total) for seed in _each(graph, graph.inputs)
        ]
        matrix = sp.hstack([sp.csr_array(column[:, None]) for column in reached], format="csr")
    else:
        reached = [
            _at(sweeps.backward(seed), graph.inputs, total) for seed in _each(graph, graph.outputs)
        ]
        matrix = sp.vstack([sp.csr_array(row[None, :]) for row in reached], format="csr")
    sizes = {"inputs": n_inputs, "outputs": n_outputs}
    return layered_graph(sizes, [("inputs", "outputs", matrix)])


def _each(graph: LayeredGraph, names: tuple[str, ...]) -> Iterator[dict[str, Scaled]]:
    for name in names:
        size = graph.groups[name].size
        for index in range(size):
            yield {name: ones(size).without(np.delete(np.arange(size), index))}


def _at(sums: Mapping[str, Scaled], names: tuple[str, ...], total: Scaled) -> FloatArray:
    return joined([sums[name] for name in names]).over(total)
