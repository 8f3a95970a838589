"""Which keys of a long stream are the smallest."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: Keys held beyond twice the wanted number before the rest is dropped.
SLACK = 1 << 18


class Best:
    """The ``count`` smallest keys of a stream, ties to the earlier, in memory of 2 ``count``.

    Invariant: positions are ascending, as the stream brings them.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._keys: list[NDArray[np.float64]] = [np.empty(0)]
        self._positions: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        self.size = 0
        #: From now on a position counts only with a key below this.
        self.bound = math.inf

    @property
    def latest(self) -> float:
        """The bound as a time, where keys are logarithms of times."""
        return math.exp(self.bound) if self.bound < 709 else math.inf

    def add(self, keys: NDArray[np.float64], positions: NDArray[np.int64]) -> None:
        """Take in keys at positions that lie past all earlier ones."""
        self._keys.append(keys)
        self._positions.append(positions)
        self.size += keys.size
        if self.size > 2 * self._count + SLACK:
            self._shrink()

    def positions(self) -> NDArray[np.int64]:
        """Return the positions of the smallest keys so far, ascending."""
        self._shrink()
        return self._positions[0]

    def _shrink(self) -> None:
        keys, positions = np.concatenate(self._keys), np.concatenate(self._positions)
        if keys.size > self._count:
            last = np.partition(keys, self._count - 1)[self._count - 1]
            keep = keys < last
            ties = np.flatnonzero(keys == last)
            keep[ties[: self._count - int(np.count_nonzero(keep))]] = True
            keys, positions = keys[keep], positions[keep]
            self.bound = float(last)
        self._keys, self._positions, self.size = [keys], [positions], keys.size
