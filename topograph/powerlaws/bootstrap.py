"""How often data from the fitted law lie farther from their own best law than the data do."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from topograph.graph.scaled import FloatArray, IntArray
from topograph.powerlaws.likelihood import most_likely_alpha
from topograph.powerlaws.replicas import Replicas, draw
from topograph.powerlaws.scan import MIN_DISTINCT, Tail
from topograph.powerlaws.zeta import scaled_zeta

# Distances closer than this are equal: it is the rounding of a difference of two probabilities.
_ROUNDING = 1e-12

# Most tails are out after a few values; those that are not are looked at in large portions.
_ONE_BY_ONE = 32
_CELLS = 1 << 18


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


@dataclass(frozen=True, eq=False)
class _Tails:
    """Tails of replicas with their fitted laws: arrays of shape (n_tails,).

    ``place`` is the next value of the replica ``row`` to be looked at, ``end`` one past its last.
    """

    index: IntArray
    row: IntArray
    place: IntArray
    end: IntArray
    size: FloatArray
    log_xmin: FloatArray
    alpha: FloatArray
    scale: FloatArray

    def at(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> _Tails:
        """Return some of the tails."""
        return _Tails(*(getattr(self, each.name)[chosen] for each in fields(self)))


def _within(
    replicas: Replicas,
    suffix: _Suffixes,
    row: IntArray,
    start: IntArray,
    xmin: FloatArray,
    distance: float,
) -> NDArray[np.bool_]:
    """Return for tails (row, start) whether their D, at their own best α, is at most this.

    Of the tails of one row it is enough that one is found.
    """
    size = suffix.at_least[row, start]
    log_xmin = np.log(xmin)
    alpha = most_likely_alpha(suffix.logs[row, start] / size - log_xmin, xmin)
    result = np.isinf(alpha)  # all of the tail at its start
    finite = ~result
    scale = np.ones(len(row))
    scale[finite] = scaled_zeta(alpha[finite], xmin[finite])
    every = np.arange(len(row))
    end = replicas.lengths[row]
    tails = _Tails(every, row, start, end, size, log_xmin, alpha, scale).at(finite)
    limit = distance + _ROUNDING
    tails = _first_values(replicas, suffix, tails, xmin[finite], limit, result)
    _other_values(replicas, suffix, tails, limit, result)
    return result


def _first_values(
    replicas: Replicas,
    suffix: _Suffixes,
    tails: _Tails,
    xmin: FloatArray,
    limit: float,
    result: NDArray[np.bool_],
) -> _Tails:
    """Look at the first values of tails, one after another; return the tails still in question.

    Neighbouring values need no zeta function: F(≥x+1) = F(≥x) - P(x).
    """
    law, expected = np.ones(len(tails.row)), xmin  # F(≥ expected)
    for _ in range(_ONE_BY_ONE):
        if not len(tails.row):
            break
        x = replicas.values[tails.row, tails.place]
        logs = suffix.log_values[tails.row, tails.place] - tails.log_xmin
        mass = np.exp(-tails.alpha * logs) / tails.scale
        jumps = np.flatnonzero(x != expected)
        law[jumps] = mass[jumps] * scaled_zeta(tails.alpha[jumps], x[jumps])
        near = np.abs(suffix.at_least[tails.row, tails.place] / tails.size - law) <= limit
        law -= mass
        place = tails.place + 1
        near &= np.abs(suffix.at_least[tails.row, place] / tails.size - law) <= limit
        done = near & (place == tails.end)
        result[tails.index[done]] = True
        going = np.flatnonzero(near & ~done)
        tails = replace(tails, place=place).at(going)
        law, expected = law[going], x[going] + 1
    return tails


def _other_values(
    replicas: Replicas,
    suffix: _Suffixes,
    tails: _Tails,
    limit: float,
    result: NDArray[np.bool_],
) -> None:
    """Look at all further values of the tails, in portions that double."""
    width = _ONE_BY_ONE
    closed = np.zeros(len(replicas.lengths), bool)
    while len(tails.row):
        width = max(1, min(2 * width, _CELLS // len(tails.row)))
        place = tails.place[:, None] + np.arange(width)
        inside = place < tails.end[:, None]
        place = np.minimum(place, tails.end[:, None] - 1)
        row, size = tails.row[:, None], tails.size[:, None]
        alpha = np.broadcast_to(tails.alpha[:, None], place.shape)
        logs = suffix.log_values[row, place] - tails.log_xmin[:, None]
        mass = np.exp(-alpha * logs) / tails.scale[:, None]
        law = mass * scaled_zeta(alpha, replicas.values[row, place])
        near = np.abs(suffix.at_least[row, place] / size - law) <= limit
        near &= np.abs(suffix.at_least[row, place + 1] / size - (law - mass)) <= limit
        ends = tails.place + width >= tails.end
        fine = (near | ~inside).all(axis=1)
        done = fine & ends
        result[tails.index[done]] = True
        closed[tails.row[done]] = True
        going = np.flatnonzero(fine & ~ends & ~closed[tails.row])
        tails = replace(tails, place=tails.place + width).at(going)
