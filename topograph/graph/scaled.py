"""What numbers too large or too small for a float are: a mantissa and a power of two each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# The exponent of 0: far below that of any product of weights, and far from overflow in sums.
ZERO_EXPONENT = -(1 << 40)

_LN2 = float(np.log(2.0))


@dataclass(frozen=True, eq=False)
class Scaled:
    """Nonnegative numbers ``mantissa * 2**exponent``.

    Invariant: a mantissa is in [0.5, 1), or 0 with the exponent ``ZERO_EXPONENT``. So the larger
    exponent belongs to the larger number, and products of two mantissas never underflow.

    Parameters
    ----------
    mantissa
        float64 of shape (n,).
    exponent
        int64 of shape (n,).
    """

    mantissa: FloatArray
    exponent: IntArray

    def __len__(self) -> int:
        return len(self.mantissa)

    def __getitem__(self, key: slice) -> Scaled:
        return Scaled(self.mantissa[key], self.exponent[key])

    def __add__(self, other: Scaled) -> Scaled:
        # What underflows here is below 2**-1000 of the sum.
        top = np.maximum(self.exponent, other.exponent)
        return scaled(self.shifted(-top) + other.shifted(-top), top)

    def __mul__(self, other: Scaled) -> Scaled:
        return scaled(self.mantissa * other.mantissa, self.exponent + other.exponent)

    def shifted(self, exponent: IntArray | int) -> FloatArray:
        """Return the numbers times ``2**exponent`` as float64; what is too small becomes 0."""
        # ldexp takes C ints; +-2200 is past either end of float64.
        return np.ldexp(
            self.mantissa, np.clip(self.exponent + exponent, -2200, 2200).astype(np.intc)
        )

    def total(self) -> Scaled:
        """Return the sum, of shape (1,)."""
        top = self.exponent.max(initial=ZERO_EXPONENT)
        return scaled(np.array([self.shifted(-top).sum()]), top)

    def over(self, whole: Scaled) -> FloatArray:
        """Return the numbers divided by ``whole``, of shape (1,), as float64; all 0 if it is 0."""
        if whole.mantissa[0] == 0:
            return np.zeros(len(self))
        return self.shifted(-whole.exponent) / whole.mantissa

    def log(self) -> FloatArray:
        """Return the natural logarithms; that of 0 is -inf."""
        logs = np.full(len(self), -np.inf)
        positive = self.mantissa > 0
        logs[positive] = np.log(self.mantissa[positive]) + self.exponent[positive] * _LN2
        return logs

    def without(self, index: IntArray) -> Scaled:
        """Return a copy with the numbers at ``index`` set to 0."""
        mantissa, exponent = self.mantissa.copy(), self.exponent.copy()
        mantissa[index] = 0
        exponent[index] = ZERO_EXPONENT
        return Scaled(mantissa, exponent)


def scaled(values: FloatArray, exponent: IntArray | int = 0) -> Scaled:
    """Return ``values * 2**exponent``; the values are finite and nonnegative.

    Examples
    --------
    >>> huge = scaled(np.array([3.0, 0.0]), 5000)
    >>> (huge * huge).log() / np.log(10)
    array([3011.25419915, -inf])
    """
    mantissa, shift = np.frexp(values)
    total = np.where(mantissa > 0, shift + np.asarray(exponent, np.int64), ZERO_EXPONENT)
    return Scaled(mantissa, total)


def zeros(n: int) -> Scaled:
    """Return n zeros."""
    return Scaled(np.zeros(n), np.full(n, ZERO_EXPONENT, np.int64))


def ones(n: int) -> Scaled:
    """Return n ones."""
    return Scaled(np.full(n, 0.5), np.ones(n, np.int64))


def joined(parts: list[Scaled]) -> Scaled:
    """Return the parts one after another."""
    return Scaled(
        np.concatenate([part.mantissa for part in parts]),
        np.concatenate([part.exponent for part in parts]),
    )
