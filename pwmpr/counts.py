"""How many weights a density or a growth ratio means, free of float error."""

from __future__ import annotations

import math
from fractions import Fraction

from topograph.check import check_fraction


def kept_at(density: float, size: int) -> int:
    """Return how many of ``size`` weights a density keeps: ⌊density · size⌋, free of float error.

    A product within the rounding error of a whole number is that number, so 0.29 of 100 is 29, and
    ``kept_at(masks.density, masks.size) == masks.count``.

    Parameters
    ----------
    density : float
        In [0, 1].
    size : int
        Number of weights.

    Examples
    --------
    >>> import math
    >>> kept_at(0.29, 100), math.floor(0.29 * 100), kept_at(1 / 3, 3), kept_at(0.5, 5)
    (29, 28, 1, 2)
    """
    return exact_floor(check_fraction(density, "density", zero=True), size)


def exact_floor(factor: float, size: int) -> int:
    """Return ⌊factor · size⌋ where a factor that is a rounded fraction counts as that fraction."""
    product = Fraction(float(factor)) * size
    nearest = round(product)
    # Rounding the factor moves the product by at most 2^-53 of itself.
    return nearest if abs(product - nearest) <= product / 2**51 else math.floor(product)
