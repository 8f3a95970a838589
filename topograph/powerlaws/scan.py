"""Where the power law of a histogram begins: every possible start fitted, the closest one taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topograph.graph.scaled import FloatArray
from topograph.powerlaws.likelihood import most_likely_alpha
from topograph.powerlaws.zeta import scaled_zeta

#: Fewest distinct values that a tail may have.
MIN_DISTINCT = 3

# Numbers of a table that is held at once.
_CELLS = 1 << 20

# Values at which every start is looked at before the promising ones are looked at in full.
_PROBES = 64


@dataclass(frozen=True)
class Tail:
    """The power law fitted to the values from one start on.

    Attributes
    ----------
    xmin
        The start.
    alpha
        Exponent of largest likelihood.
    distance
        Two-sided Kolmogorov-Smirnov distance D between the tail and the law.
    size
        Number of observations in the tail.
    """

    xmin: float
    alpha: float
    distance: float
    size: int


def closest_tail(values: FloatArray, counts: FloatArray) -> Tail:
    """Return the tail of smallest D among all starts that leave at least three distinct values.

    Ties go to the smaller start.

    Parameters
    ----------
    values
        Distinct values, at least 1 and ascending, float64 of shape (n_values,); at least three.
    counts
        Observations of each, above 0, float64 of shape (n_values,).

    References
    ----------
    Clauset, Shalizi and Newman 2009, section 3.3.
    """
    starts = np.arange(max(len(values) - MIN_DISTINCT + 1, 1))
    alphas = _alphas(values, counts, values[starts], starts)
    probes = np.unique(np.linspace(0, len(values) - 1, _PROBES).astype(np.int64))
    # At some of the values the largest difference is a lower bound of D: in the order of the
    # bounds, the starts that are left once a bound exceeds the best D cannot be closer.
    bounds = _distances(values, counts, values[starts], starts, alphas, probes)
    if len(probes) == len(values):
        best = int(np.argmin(bounds))
        distance = float(bounds[best])
    else:
        best, distance = -1, np.inf
        order = np.argsort(bounds, kind="stable")
        each = max(1, _CELLS // len(values) // 8)
        everywhere = np.arange(len(values))
        for first in range(0, len(order), each):
            some = order[first : first + each]
            if bounds[some[0]] > distance:
                break
            exact = _distances(values, counts, values[some], some, alphas[some], everywhere)
            lowest = float(exact.min())
            start = int(some[exact == lowest].min())
            if (lowest, start) < (distance, best):
                best, distance = start, lowest
    size = int(counts[best:].sum())
    return Tail(float(values[best]), float(alphas[best]), distance, size)


def tail_from(values: FloatArray, counts: FloatArray, xmin: float) -> Tail:
    """Return the tail that starts at ``xmin``, which need not be one of the values."""
    start = np.array([np.searchsorted(values, xmin)])
    xmins = np.array([float(xmin)])
    alphas = _alphas(values, counts, xmins, start)
    everywhere = np.arange(len(values))
    distance = _distances(values, counts, xmins, start, alphas, everywhere)
    return Tail(xmins[0], float(alphas[0]), float(distance[0]), int(counts[start[0] :].sum()))


def _alphas(
    values: FloatArray, counts: FloatArray, xmins: FloatArray, starts: np.ndarray
) -> FloatArray:
    at_least = np.cumsum(counts[::-1])[::-1]
    logs = np.cumsum((counts * np.log(values))[::-1])[::-1]
    return most_likely_alpha(logs[starts] / at_least[starts] - np.log(xmins), xmins)


def _distances(
    values: FloatArray,
    counts: FloatArray,
    xmins: FloatArray,
    starts: np.ndarray,
    alphas: FloatArray,
    at: np.ndarray,
) -> FloatArray:
    """Return each start's largest difference between data and law at the values of index ``at``.

    Both are steps on the integers. Between two neighbouring values the data's step is flat and
    the law's falls, so they are farthest apart just from a value on, or just before the next:
    D = max over values x of |F̂(≥x) - F(≥x)| and |F̂(>x) - F(>x)|. The first alone, which other
    programs take, misses what lies beyond the largest value.
    """
    above = np.concatenate([np.cumsum(counts[::-1])[::-1], [0.0]])
    x, at_least, more = values[at], above[at], above[at + 1]
    scale = scaled_zeta(alphas, xmins)
    result = np.empty(len(starts))
    each = max(1, _CELLS // max(len(at), 1))
    for first in range(0, len(starts), each):
        some = slice(first, first + each)
        q, alpha, zeta = xmins[some, None], alphas[some, None], scale[some, None]
        size = above[starts[some], None]
        inside = x >= q
        beyond = np.where(inside, x, q)
        mass = np.exp(-alpha * np.log(beyond / q)) / zeta
        law = mass * scaled_zeta(alpha, beyond)
        gap = np.maximum(np.abs(at_least / size - law), np.abs(more / size - (law - mass)))
        result[some] = np.max(gap, axis=1, where=inside, initial=0.0)
    return result
