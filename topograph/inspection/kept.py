"""Which weights a network keeps, so small that a report can hold on to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topograph.capturing.weights import Binding


@dataclass(frozen=True, eq=False)
class Kept:
    """The mask of one parameter, eight weights a byte.

    Attributes
    ----------
    shape
        Of the parameter.
    bits
        The mask, packed in the order of its entries; ``None`` where every weight is kept.
    """

    shape: tuple[int, ...]
    bits: NDArray[np.uint8] | None

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Kept:
        """Pack a mask.

        Examples
        --------
        >>> Kept.of(np.ones((2, 3), bool)).bits is None
        True
        >>> Kept.of(np.array([True, False])).count
        1
        """
        return cls(mask.shape, None if mask.all() else np.packbits(mask, axis=None))

    @property
    def size(self) -> int:
        """Number of weights, kept or not."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def count(self) -> int:
        """Number of weights that are kept."""
        return self.size if self.bits is None else int(np.bitwise_count(self.bits).sum())

    def both(self, other: Kept) -> int:
        """Return how many weights this mask and another one of the same shape both keep."""
        if self.bits is None or other.bits is None:
            return other.count if self.bits is None else self.count
        return int(np.bitwise_count(self.bits & other.bits).sum())


def kept_weights(binding: Binding) -> dict[str, Kept]:
    """Return the mask of every parameter that the operators of a network use."""
    masks: dict[str, Kept] = {}
    for operator in binding.operators:
        if operator.parameter not in masks:
            masks[operator.parameter] = Kept.of(binding.mask(operator).cpu().numpy())
    return masks
