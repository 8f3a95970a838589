"""Where the kept weights of a linear layer stand, in the orders that sparse products need."""

from __future__ import annotations

import warnings
from functools import cache

import torch
from torch import Tensor

from pwmpr.positions import flat, positions


class Pattern:
    """The kept positions of a weight (outputs, inputs): compressed rows, and those transposed.

    Parameters
    ----------
    weight : Tensor
        Decides memory format and device; its values are read anew by `values`.
    mask : Tensor
        Bool, of its shape, with at least one True.

    Attributes
    ----------
    shape : tuple
        (outputs, inputs).
    indices : Tensor
        (2, kept), int64: rows and columns in row-major order.

    Examples
    --------
    >>> mask = torch.tensor([[True, False, True], [False, True, False]])
    >>> pattern = Pattern(torch.zeros(2, 3), mask)
    >>> pattern.indices.tolist()
    [[0, 0, 1], [0, 2, 1]]
    >>> values = torch.tensor([1.0, 2.0, 3.0])
    >>> pattern.transposed(values).to_dense().tolist()
    [[1.0, 0.0], [0.0, 3.0], [2.0, 0.0]]
    """

    def __init__(self, weight: Tensor, mask: Tensor) -> None:
        outputs, inputs = mask.shape
        self.shape = (outputs, inputs)
        self.indices = mask.nonzero().T.contiguous().to(weight.device)
        self._positions = positions(weight, mask)
        self._layout = (weight.device, weight.stride())
        rows, columns = self.indices
        # Numbers of 32 bits halve the memory; the products take either.
        small = torch.int32
        self._crow = _starts(rows, outputs).to(small)
        self._columns = columns.to(small)
        # The column-major order of the kept weights, told by their row-major places.
        self._order = columns.argsort(stable=True).to(small)
        self._crow_transposed = _starts(columns, inputs).to(small)
        self._rows = rows.to(small).index_select(0, self._order)

    def fits(self, weight: Tensor) -> bool:
        """Return whether a weight lies as the one that the pattern was built for."""
        return self._layout == (weight.device, weight.stride())

    def values(self, weight: Tensor) -> Tensor:
        """Return the kept elements of a weight, in row-major order."""
        return flat(weight).index_select(0, self._positions)

    def matrix(self, values: Tensor) -> Tensor:
        """Return the weight as a CSR matrix (outputs, inputs)."""
        return _compressed(self._crow, self._columns, values, self.shape)

    def transposed(self, values: Tensor) -> Tensor:
        """Return the transposed weight as a CSR matrix (inputs, outputs)."""
        turned = values.index_select(0, self._order)
        outputs, inputs = self.shape
        return _compressed(self._crow_transposed, self._rows, turned, (inputs, outputs))

    def gradient(self, values: Tensor) -> Tensor:
        """Return a COO gradient of the weight with these values at the kept positions."""
        return torch.sparse_coo_tensor(
            self.indices, values, self.shape, is_coalesced=True, check_invariants=False
        )


def _starts(numbers: Tensor, size: int) -> Tensor:
    """Return where each of ``size`` runs begins, and the end."""
    starts = torch.zeros(size + 1, dtype=torch.int64, device=numbers.device)
    torch.cumsum(torch.bincount(numbers, minlength=size), 0, out=starts[1:])
    return starts


def _compressed(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    _hear_of_beta_once()
    return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)


@cache
def _hear_of_beta_once() -> None:
    """Let PyTorch say once, unheard, that its CSR tensors are in beta state."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.eye(1).to_sparse_csr()
