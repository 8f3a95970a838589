"""How path weights are summed over a layered graph, group by group, without overflow.

One step multiplies the sums of a group by a block of weights. The sums of one group mostly lie
close together; then one power of two is taken out of the group and the step is a plain sparse
product (block floating point). Where they lie so far apart that the weakest would underflow, or
the weights do, every edge is aligned on its own, so that no weak branch is ever lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from topograph.graph.layered import Block, LayeredGraph
from topograph.graph.scaled import (
    ZERO_EXPONENT,
    FloatArray,
    IntArray,
    Scaled,
    ones,
    scaled,
    zeros,
)

# A plain product of sums in [2**-500, 1] and weights in [2**-400, 2**400] stays within float64's
# normal numbers, with room for 2**600 terms.
_SPREAD = 500
_WEIGHT = 400


@dataclass(frozen=True, eq=False)
class Magnitudes:
    """The absolute weights of one block, ready to be multiplied by.

    Parameters
    ----------
    source, target
        Names of the groups.
    matrix
        CSR of shape (target size, source size), nonnegative.
    transposed
        The same data as CSC of shape (source size, target size).
    plain
        Whether the weights are of a size that a plain product can take.
    """

    source: str
    target: str
    matrix: sp.csr_array
    transposed: sp.csc_array
    plain: bool

    def forward(self, sums: Scaled) -> Scaled:
        """Return |W| x for the sums x of the source group."""
        return self._product(self.matrix, sums)

    def backward(self, sums: Scaled) -> Scaled:
        """Return |W|ᵀ x for the sums x of the target group."""
        return self._product(self.transposed, sums)

    def _product(self, matrix: sp.csr_array | sp.csc_array, sums: Scaled) -> Scaled:
        n_rows = matrix.shape[0]
        top = int(sums.exponent.max())
        if top == ZERO_EXPONENT or matrix.nnz == 0:
            return zeros(n_rows)
        lowest = int(sums.exponent.min(where=sums.mantissa > 0, initial=top))
        if self.plain and top - lowest <= _SPREAD:
            return scaled(matrix @ sums.shifted(-top), top)
        entries = matrix.tocoo()
        rows, columns = entries.coords
        return _aligned_product(entries.data, rows, columns, sums, n_rows)


def magnitudes(block: Block) -> Magnitudes:
    """Return the block's absolute weights; nonnegative weights are used in place."""
    data = block.matrix.data
    if data.size and data.min() < 0:
        data = np.abs(data)
    matrix = block.with_entries(data)
    # As float64, for mapped blocks may be float32, which holds neither bound.
    least, most = np.float64(2.0**-_WEIGHT), np.float64(2.0**_WEIGHT)
    n_small = np.count_nonzero(data) - np.count_nonzero(data >= least)
    plain = bool(n_small == 0 and np.float64(data.max(initial=0.0)) <= most)
    return Magnitudes(block.source, block.target, matrix, matrix.T, plain)


def _aligned_product(
    weights: FloatArray, rows: IntArray, columns: IntArray, sums: Scaled, n_rows: int
) -> Scaled:
    """Return the product with every row's terms aligned to the row's own largest exponent."""
    carries = (weights > 0) & (sums.mantissa[columns] > 0)
    rows, columns = rows[carries], columns[carries]
    mantissa, shift = np.frexp(weights[carries])
    exponent = shift + sums.exponent[columns]
    top = np.full(n_rows, ZERO_EXPONENT, np.int64)
    np.maximum.at(top, rows, exponent)
    # Terms below 2**-1000 of the row's largest become 0, and are nothing beside it.
    offset = np.clip(exponent - top[rows], -2200, 0).astype(np.intc)
    terms = np.ldexp(mantissa * sums.mantissa[columns], offset)
    total = np.bincount(rows, weights=terms, minlength=n_rows).astype(np.float64, copy=False)
    return scaled(total, top)


class Sweeps:
    """The two sums over paths of one graph: from the inputs on, and back from the outputs.

    Parameters
    ----------
    graph
        The layered graph.
    """

    def __init__(self, graph: LayeredGraph) -> None:
        self.sizes = {name: group.size for name, group in graph.groups.items()}
        self.starts = {name: ones(self.sizes[name]) for name in graph.inputs}
        self.ends = {name: ones(self.sizes[name]) for name in graph.outputs}
        blocks = [magnitudes(block) for block in graph.blocks]
        self.incoming = _sorted_by(blocks, self.sizes, lambda block: block.target)
        self.outgoing = _sorted_by(blocks, self.sizes, lambda block: block.source)

    def complexity(
        self, name: str, phi: Mapping[str, Scaled], starts: Mapping[str, Scaled]
    ) -> Scaled:
        """Return φ of a group from φ of all groups before it.

        φ(v) = [v starts a path] + Σ_{u→v} |w| φ(u).
        """
        terms = [block.forward(phi[block.source]) for block in self.incoming[name]]
        return _sum([*terms, starts[name]] if name in starts else terms, self.sizes[name])

    def generality(
        self, name: str, psi: Mapping[str, Scaled], ends: Mapping[str, Scaled]
    ) -> Scaled:
        """Return ψ of a group from ψ of all groups after it.

        ψ(u) = [u ends a path] + Σ_{u→v} |w| ψ(v).
        """
        terms = [block.backward(psi[block.target]) for block in self.outgoing[name]]
        return _sum([*terms, ends[name]] if name in ends else terms, self.sizes[name])

    def forward(self, starts: Mapping[str, Scaled] | None = None) -> dict[str, Scaled]:
        """Return φ of every group; paths start with weight 1 at the inputs, or at ``starts``."""
        phi: dict[str, Scaled] = {}
        for name in self.sizes:
            phi[name] = self.complexity(name, phi, self.starts if starts is None else starts)
        return phi

    def backward(self, ends: Mapping[str, Scaled] | None = None) -> dict[str, Scaled]:
        """Return ψ of every group; paths end with weight 1 at the outputs, or at ``ends``."""
        psi: dict[str, Scaled] = {}
        for name in reversed(self.sizes):
            psi[name] = self.generality(name, psi, self.ends if ends is None else ends)
        return psi


def _sorted_by(
    blocks: Iterable[Magnitudes], names: Iterable[str], key: Callable[[Magnitudes], str]
) -> dict[str, list[Magnitudes]]:
    found: dict[str, list[Magnitudes]] = {name: [] for name in names}
    for block in blocks:
        found[key(block)].append(block)
    return found


def _sum(terms: list[Scaled], size: int) -> Scaled:
    if not terms:
        return zeros(size)
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
