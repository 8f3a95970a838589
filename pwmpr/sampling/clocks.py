"""Which of many exponential clocks ring first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pwmpr.sampling import positions
from pwmpr.sampling.best import Best
from pwmpr.sampling.positions import Flags, Floats, Layer, chunks, running
from pwmpr.sampling.probes import span_for


def earliest(
    layers: list[Layer],
    count: int,
    ringing: int,
    generator: np.random.Generator,
    *,
    level: bool,
) -> NDArray[np.int64]:
    """Return the positions whose clocks ring first, ascending.

    ``level``: the clocks are those of the positions of weight 0, all at rate 1; otherwise those of
    the positive positions, at the rate of their weight. ``ringing`` of them exist.
    """
    if count == 0:
        return np.empty(0, np.int64)
    if count == ringing:
        # All of them: nothing is left to chance.
        found = [
            layer.first + start + np.flatnonzero(running(weight, free, level))
            for layer, start, weight, free in chunks(layers)
        ]
        return np.concatenate(found)
    chosen = np.empty(0, np.int64)
    sieve = Sieve(generator)
    span = 0.0
    while chosen.size < count:
        wanted = count - chosen.size
        # The probes may be of positions chosen before: longer spans each time end the loop.
        span = max(span_for(layers, wanted, level), 8 * span)
        best = Best(wanted)
        for layer, start, weight, free in chunks(layers):
            within = min(span, best.latest)
            if level:
                index, log_time = sieve.ring_alike(running(weight, free, level), within)
            else:
                index, log_time = sieve.ring(weight, free, within)
            position = layer.first + start + index
            if chosen.size:
                at = np.searchsorted(chosen, position)
                new = chosen[np.minimum(at, chosen.size - 1)] != position
                position, log_time = position[new], log_time[new]
            best.add(log_time, position)
        chosen = merged(chosen, best.positions())
    return chosen


def merged(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the union of two ascending arrays that share nothing, ascending."""
    return np.sort(np.concatenate([a, b]), kind="stable") if a.size else b


class Sieve:
    """Finds the clocks of a chunk that ring within a time."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._coarse = np.empty(positions.CHUNK, np.float32)
        self._bound = np.empty(positions.CHUNK, np.float32)
        self._pass = np.empty(positions.CHUNK, np.bool_)

    def ring(
        self, rate: Floats, free: Flags | None, span: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the positions that ring within ``span``, and the logarithms of their times."""
        coarse, passing = self._coarse[: rate.size], self._pass[: rate.size]
        self._generator.random(out=coarse, dtype=np.float32)
        with np.errstate(all="ignore"):
            # P(ring) ≤ rate·span. The factor covers float32 rounding; infinity lets a position
            # through to the exact test, and 0·infinity is NaN, which keeps it out.
            if rate.dtype == np.float32 and 1e-30 < span < 1e30:
                bound: Floats = self._bound[: rate.size]
                np.multiply(rate, np.float32(span * (1 + 2**-20)), out=bound)
            else:
                bound = rate * np.float64(span)
            np.less(coarse, bound, out=passing)
            if free is not None:
                np.logical_and(passing, free, out=passing)
            index = np.flatnonzero(passing)
            log_time = self._log_exponential(index) - np.log(rate[index], dtype=np.float64)
            rings = log_time < np.log(span)
        return index[rings], log_time[rings]

    def ring_alike(
        self, running: Flags, span: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """As :meth:`ring`, with rate 1 wherever a clock runs."""
        coarse, passing = self._coarse[: running.size], self._pass[: running.size]
        self._generator.random(out=coarse, dtype=np.float32)
        np.less(coarse, min(span * (1 + 2**-20), 2.0), out=passing)
        np.logical_and(passing, running, out=passing)
        index = np.flatnonzero(passing)
        with np.errstate(all="ignore"):
            log_time = self._log_exponential(index)
            rings = log_time < np.log(span)
        return index[rings], log_time[rings]

    def _log_exponential(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        # 24 random bits, then 53 more: uniform with a resolution of 2^-77 near 0.
        uniform = self._coarse[index] + self._generator.random(index.size) * 2.0**-24
        logarithm: NDArray[np.float64] = np.log(-np.log1p(-uniform))
        return logarithm
