"""What the edges of one operator are, whatever the granularity: sparse matrices by source group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from topograph.capturing.compose import from_entries
from topograph.capturing.wiring import Layout, Wiring
from topograph.graph.blocks import Block
from topograph.graph.layered import Group


class Groups:
    """The groups of a layout, by node id."""

    def __init__(self, layout: Layout) -> None:
        self.all = list(layout.groups.values())
        self.starts = np.array([group.start for group in self.all])

    def of(self, ids: np.ndarray) -> list[Group]:
        """Return the groups that node ids lie in; negative ids are none."""
        known = np.unique(ids)
        found = np.unique(np.searchsorted(self.starts, known[known >= 0], side="right") - 1)
        return [self.all[i] for i in found]


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges between two groups.

    Attributes
    ----------
    values, taps
        Sparse (target size, source size) of one structure: Σ |θ|, and kept weights.
    positions
        Weights, kept or missing.
    """

    source: Group
    values: sp.csr_array
    taps: sp.csr_array
    positions: int

    def block(self, target: Group, wiring: Wiring) -> Block:
        """Return the edges as a block of a graph."""
        rows, columns = self.values.shape
        single = bool((self.taps.data == 1).all())
        return Block(
            self.source.name,
            target.name,
            self.values,
            parameters=(wiring.operator.parameter,),
            taps=None if single else self.taps,
            positions=None if self.positions == rows * columns else self.positions,
        )


def column_reads(layout: Layout, sources: np.ndarray) -> sp.csr_array:
    """Return what columns read of the nodes: (columns, n_nodes), mixtures written out."""
    alone = (sources >= 0) & (sources < layout.n_nodes)
    mixed = sources >= layout.n_nodes
    mixtures = layout.mixing[sources[mixed] - layout.n_nodes].tocoo()
    rows = np.concatenate([np.flatnonzero(alone), np.flatnonzero(mixed)[mixtures.coords[0]]])
    nodes = np.concatenate([sources[alone], mixtures.coords[1]])
    factors = np.concatenate([np.ones(int(alone.sum())), mixtures.data])
    return from_entries(rows, nodes, factors, (len(sources), layout.n_nodes))


def split(
    groups: Groups,
    values: sp.csr_array,
    counts: sp.csr_array,
    positions: sp.csr_array,
) -> Iterator[Edges]:
    """Cut matrices over all nodes by source group; all entries of ``positions`` are counted."""
    for group in groups.of(positions.indices):
        inside = slice(group.start, group.stop)
        yield Edges(
            group,
            sp.csr_array(values[:, inside]),
            sp.csr_array(counts[:, inside]).astype(np.int64),
            int(positions[:, inside].data.sum()),
        )
