"""How sparse linear maps combine when a stored zero is a connection.

SciPy drops zeros that come out of a product or sum; a kept weight of value 0, or a mixture with a
factor 0, must stay.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp


def from_entries(
    rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> sp.csr_array:
    """Return entries as CSR, those of one place added up.

    Examples
    --------
    >>> import numpy as np
    >>> zero = from_entries(np.array([0, 0]), np.array([1, 1]), np.array([0.0, 0.0]), (1, 2))
    >>> zero.nnz
    1
    """
    matrix = sp.csr_array((values, (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    return matrix


def added(matrices: Sequence[sp.csr_array]) -> sp.csr_array:
    """Return the sum of matrices of one shape, on the union of their stored entries."""
    parts = [matrix.tocoo() for matrix in matrices]
    return from_entries(
        np.concatenate([part.coords[0] for part in parts]),
        np.concatenate([part.coords[1] for part in parts]),
        np.concatenate([part.data for part in parts]),
        matrices[0].shape,
    )


def product(left: sp.csr_array, right: sp.csr_array) -> sp.csr_array:
    """Return ``left @ right`` of nonnegative matrices, with an entry wherever entries meet.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> weight = sp.csr_array(([0.0], ([0], [0])), shape=(1, 1))   # kept, of value 0
    >>> product(weight, sp.csr_array([[0.5, 0.5]])).nnz
    2
    """
    values = sp.csr_array(left @ right)
    if left.data.all() and right.data.all():
        values.sort_indices()
        return values
    structure = sp.csr_array(pattern(left) @ pattern(right))
    structure.data = np.zeros(structure.nnz)
    return added([structure, values])


def pattern(matrix: sp.csr_array) -> sp.csr_array:
    """Return the matrix with 1 at every stored entry."""
    return sp.csr_array((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
