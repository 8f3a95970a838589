"""Which nodes no operator tells apart, and between which of these classes there are edges.

Edges of the dense graph are all or none between two classes, whatever their sizes.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from topograph.capturing.edges import column_reads
from topograph.capturing.wiring import Layout, Wiring


def node_classes(made: Layout) -> tuple[np.ndarray, sp.csr_array]:
    """Return the class of every node, and 1 where edges are: (target class, source class)."""
    reads = [_reads(made, wiring) for wiring in made.operators]
    classes = _classes(made, reads)
    n_classes = int(classes.max()) + 1
    between = sp.csr_array((n_classes, n_classes), dtype=np.int64)
    for wiring, (rows, nodes) in zip(made.operators, reads, strict=True):
        written, targets = _writes(wiring)
        shape = (wiring.form.groups, n_classes)
        onto = _pattern(written, classes[targets], shape)
        read = _pattern(rows, classes[nodes], shape)
        between = sp.csr_array(between + sp.csr_array(onto.T @ read))
    between.data[:] = 1
    return classes, between


def nodes_read(made: Layout, wiring: Wiring) -> np.ndarray:
    """Return the nodes that a weight reads, sorted, each once."""
    return np.unique(_reads(made, wiring)[1])


def _reads(made: Layout, wiring: Wiring) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes that a weight reads, and in which of its groups, mixtures written out."""
    count, columns = wiring.sources.shape
    if count == 1 and (wiring.sources < made.n_nodes).all():
        nodes = np.unique(wiring.sources)
        nodes = nodes[nodes >= 0]
        return np.zeros(len(nodes), np.int64), nodes
    entries = column_reads(made, wiring.sources.reshape(-1)).tocoo()
    rows, nodes = entries.coords
    pairs = np.unique((rows // columns).astype(np.int64) * made.n_nodes + nodes)
    return pairs // made.n_nodes, pairs % made.n_nodes


def _writes(wiring: Wiring) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes that a weight writes to, and in which of its groups."""
    kept = np.flatnonzero(wiring.targets >= 0)
    return kept // wiring.form.rows, wiring.targets[kept]


def _classes(made: Layout, reads: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the class of every node.

    Each group of nodes, and each side of each group of a weight, has a random number of 64 bits;
    nodes are of one class if the numbers of those that they belong to add up to the same.
    """
    random = np.random.default_rng(0)

    def numbers(count: int) -> np.ndarray:
        return random.integers(1 << 63, size=count, dtype=np.uint64)

    sums = np.zeros(made.n_nodes, np.uint64)
    for group, number in zip(made.groups.values(), numbers(len(made.groups)), strict=True):
        sums[group.slice] = number
    for wiring, (rows, nodes) in zip(made.operators, reads, strict=True):
        written, targets = _writes(wiring)
        np.add.at(sums, targets, numbers(wiring.form.groups)[written])
        np.add.at(sums, nodes, numbers(wiring.form.groups)[rows])
    return np.unique(sums, return_inverse=True)[1]


def _pattern(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sp.csr_array:
    pairs = np.unique(rows * shape[1] + columns)
    where = (pairs // shape[1], pairs % shape[1])
    return sp.csr_array((np.ones(len(pairs), np.int64), where), shape=shape)
