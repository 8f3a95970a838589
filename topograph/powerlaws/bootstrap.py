"""How often data from the fitted law lie farther from their own best law than the data do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topograph.graph.scaled import FloatArray, IntArray
from topograph.powerlaws.likelihood import most_likely_alpha
from topograph.powerlaws.replicas import Replicas, draw
from topograph.powerlaws.scan import MIN_DISTINCT, Tail
from topograph.powerlaws.zeta import scaled_zeta

# Distances closer than this are equal: it is the rounding of a difference of two probabilities.
_ROUNDING = 1e-12


def p_value(
    values: FloatArray,
    counts: FloatArray,
    tail: Tail,
    n_replicas: int,
    seed: int,
    fixed: bool,
) -> float:
    """Return the part of all replicas whose own D, refitted in full, is larger than the data's.

    Parameters
    ----------
    values, counts, tail, n_replicas, seed
        As in :func:`topograph.powerlaws.replicas.draw`.
    fixed
        Whether the start of the tail was given; it is then the replicas' too.

    References
    ----------
    Clauset, Shalizi and Newman 2009, section 4.1.
    """
    n_larger = 0
    for portion in draw(values, counts, tail, n_replicas, seed):
        n_larger += int(np.count_nonzero(is_farther(portion, tail, fixed)))
    return n_larger / n_replicas


def is_farther(replicas: Replicas, tail: Tail, fixed: bool) -> NDArray[np.bool_]:
    """Return for every replica whether its D is larger than that of ``tail``.

    A replica's D is the smallest over all its starts, so it is not larger as soon as one start is
    close enough, and a start is out as soon as it is too far off at one value. Hence the start
    next to the data's own is looked at first, and every start from its smallest values on: the
    answer is that of the full refit at a part of its cost.
    """
    suffix = _suffixes(replicas)
    close = np.zeros(len(replicas.lengths), bool)
    rows = np.arange(len(close))
    reached = (replicas.values < tail.xmin).sum(
        axis=1, where=np.arange(replicas.values.shape[1]) < replicas.lengths[:, None]
    )
    if fixed:
        some = np.flatnonzero(reached < replicas.lengths)
        xmins = np.full(len(some), tail.xmin)
        close[some] = _within(replicas, suffix, some, reached[some], xmins, tail.distance)
        # A replica without a value in the tail has nothing to be far off.
        close[reached == replicas.lengths] = True
        return ~close
    last = np.maximum(replicas.lengths - MIN_DISTINCT, 0)
    first = np.minimum(reached, last)
    xmins = replicas.values[rows, first]
    close = _within(replicas, suffix, rows, first, xmins, tail.distance)
    places = np.arange(replicas.values.shape[1])
    others = (places <= last[:, None]) & (places != first[:, None]) & ~close[:, None]
    row, start = np.nonzero(others)
    found = _within(replicas, suffix, row, start, replicas.values[row, start], tail.distance)
    close[row[found]] = True
    return ~close


@dataclass(frozen=True, eq=False)
class _Suffixes:
    """Each replica's observations from each of its values on, and the sums of their logarithms."""

    at_least: FloatArray
    logs: FloatArray
    log_values: FloatArray


def _suffixes(replicas: Replicas) -> _Suffixes:
    log_values = np.log(replicas.values)
    weighted = replicas.counts * log_values
    at_least = np.zeros((replicas.values.shape[0], replicas.values.shape[1] + 1))
    at_least[:, :-1] = np.cumsum(replicas.counts[:, ::-1], axis=1)[:, ::-1]
    return _Suffixes(at_least, np.cumsum(weighted[:, ::-1], axis=1)[:, ::-1], log_values)


def _within(
    replicas: Replicas,
    suffix: _Suffixes,
    row: IntArray,
    start: IntArray,
    xmin: FloatArray,
    distance: float,
) -> NDArray[np.bool_]:
    """Return for every tail (row, start) whether its D, at its own best α, is at most this.

    F(≥x) follows from the value before where x is its neighbour, F(≥x+1) = F(≥x) - P(x), and
    from the zeta function elsewhere.
    """
    size = suffix.at_least[row, start]
    log_xmin = np.log(xmin)
    alpha = most_likely_alpha(suffix.logs[row, start] / size - log_xmin, xmin)
    result = np.isinf(alpha)  # all of the tail at its start
    tails = np.flatnonzero(~result)
    row, place, size = row[tails], start[tails].copy(), size[tails]
    alpha, log_xmin = alpha[tails], log_xmin[tails]
    xmin = xmin[tails]
    scale = scaled_zeta(alpha, xmin)
    end = replicas.lengths[row]
    law = np.ones(len(tails))  # F(≥ expected)
    expected = xmin
    limit = distance + _ROUNDING
    while len(tails):
        x = replicas.values[row, place]
        mass = np.exp(-alpha * (suffix.log_values[row, place] - log_xmin)) / scale
        jumps = np.flatnonzero(x != expected)
        law[jumps] = mass[jumps] * scaled_zeta(alpha[jumps], x[jumps])
        near = np.abs(suffix.at_least[row, place] / size - law) <= limit
        law -= mass
        place += 1
        near &= np.abs(suffix.at_least[row, place] / size - law) <= limit
        done = near & (place == end)
        result[tails[done]] = True
        going = np.flatnonzero(near & ~done)
        tails, row, place, end = tails[going], row[going], place[going], end[going]
        size, alpha, log_xmin = size[going], alpha[going], log_xmin[going]
        scale, law = scale[going], law[going]
        expected = x[going] + 1
    return result
