"""What the edges between two groups of nodes are: one sparse matrix, and the weights behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from topograph.errors import TopographError


@dataclass(frozen=True, eq=False)
class Block:
    """All edges from one group to another, as one sparse matrix.

    Parameters
    ----------
    source, target
        Names of the groups.
    matrix
        CSR of shape (target size, source size), float64; a stored zero is an edge of weight 0.
    identity
        Whether these edges only carry paths on (a residual stream, a pooled output) and are no
        connections: degree, k-shell, isolated nodes and density leave them out.
    parameters
        Names of the weights that the edges stand for.
    taps
        CSR of the same structure counting the kept weights behind each edge, or ``None`` where
        every edge is one weight.
    positions
        Number of weights, kept or missing, that the block could hold, or ``None`` where it is
        one weight for every entry of the matrix.
    """

    source: str
    target: str
    matrix: sp.csr_array
    identity: bool = False
    parameters: tuple[str, ...] = ()
    taps: sp.csr_array | None = None
    positions: int | None = None

    @property
    def n_positions(self) -> int:
        """Number of weights, kept or missing, that the block could hold."""
        if self.positions is not None:
            return self.positions
        rows, columns = self.matrix.shape
        return int(rows) * int(columns)

    @property
    def tap_counts(self) -> np.ndarray:
        """Kept weights behind each stored edge, in the order of ``matrix.data``."""
        if self.taps is None:
            return np.ones(self.matrix.nnz, np.int64)
        return self.taps.data.astype(np.int64)

    def with_entries(self, data: np.ndarray) -> sp.csr_array:
        """Return a CSR of this block's structure that holds ``data`` instead of the weights."""
        matrix = self.matrix
        return sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def read_matrix(given: Any, shape: tuple[int, int], name: str) -> sp.csr_array:
    """Return ``given`` as canonical float64 CSR in which stored zeros survive.

    Parameters
    ----------
    given
        A scipy sparse matrix, or anything that NumPy reads as a 2-D array of real numbers.
    shape
        (target size, source size).
    name
        What the matrix is called in an error.

    Raises
    ------
    TopographError
        If the matrix cannot be read as real numbers, has another shape, or is not finite.
    """
    try:
        if np.iscomplexobj(given):
            raise TypeError("its numbers are complex")
        if sp.issparse(given):
            matrix = sp.csr_array(given, dtype=np.float64, copy=True)
        else:
            matrix = sp.csr_array(np.atleast_2d(np.asarray(given, dtype=np.float64)))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TopographError(
            f"the matrix {name} cannot be read as real numbers in two dimensions ({error})",
            "pass a 2-D array or a scipy sparse matrix (a tensor detached and on the CPU)",
        ) from None
    if matrix.shape != shape:
        raise TopographError(
            f"the matrix {name} has shape {matrix.shape}; expected (target size, source size) = "
            f"{shape}",
            "transpose it or mend sizes",
        )
    matrix.sum_duplicates()
    _check_finite(matrix, name)
    return matrix


def merge(blocks: Iterable[Block]) -> list[Block]:
    """Join the blocks of one pair of groups: the union of edges, magnitudes added.

    Parallel edges carry their paths side by side, so magnitudes add and never cancel. The blocks
    must be all identity or all weight blocks.
    """
    pairs: dict[tuple[str, str], list[Block]] = {}
    for block in blocks:
        pairs.setdefault((block.source, block.target), []).append(block)
    return [same[0] if len(same) == 1 else _joined(same) for same in pairs.values()]


def _joined(blocks: list[Block]) -> Block:
    first = blocks[0]
    taps = _stacked([block.with_entries(block.tap_counts) for block in blocks])
    matrix = _stacked([abs(block.matrix) for block in blocks])
    _check_finite(matrix, f"{first.source} -> {first.target}")
    return Block(
        first.source,
        first.target,
        matrix,
        first.identity,
        tuple(dict.fromkeys(name for block in blocks for name in block.parameters)),
        None if (taps.data == 1).all() else taps,
        sum(block.n_positions for block in blocks),
    )


def _stacked(matrices: list[sp.csr_array]) -> sp.csr_array:
    # Through COO, because adding CSR matrices drops entries that cancel or are stored zeros.
    parts = [matrix.tocoo() for matrix in matrices]
    rows = np.concatenate([part.coords[0] for part in parts])
    columns = np.concatenate([part.coords[1] for part in parts])
    values = np.concatenate([part.data for part in parts])
    merged = sp.csr_array((values, (rows, columns)), shape=matrices[0].shape)
    merged.sum_duplicates()
    return merged


def _check_finite(matrix: sp.csr_array, name: str) -> None:
    if not np.isfinite(matrix.data).all():
        raise TopographError(
            f"the matrix {name} holds NaN or infinite weights; expected finite numbers",
            "remove or replace them",
        )
