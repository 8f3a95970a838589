"""What data a fitted law would give: synthetic histograms, many at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from topograph.graph.scaled import FloatArray
from topograph.powerlaws.scan import Tail
from topograph.powerlaws.zeta import scaled_zeta

# A replica's values from the start of the law on are counted one by one up to where about this
# many observations are left, which are drawn each.
_DRAWN_EACH = 8
_MOST_COUNTED = 512

# Numbers of a table that is held at once.
_CELLS = 1 << 18

# Beyond this one step of x is too little to matter, and at last too little for a float64.
_EXACT = 2.0**32
_LARGEST = 1e300


@dataclass(frozen=True, eq=False)
class Replicas:
    """Histograms of synthetic data sets, one a row, filled up with zeros on the right.

    Attributes
    ----------
    values
        Distinct values, ascending, float64 of shape (n_replicas, width).
    counts
        Observations of each, float64 of the same shape.
    lengths
        Number of distinct values of each replica, int64 of shape (n_replicas,).
    """

    values: FloatArray
    counts: FloatArray
    lengths: np.ndarray


def draw(
    values: FloatArray, counts: FloatArray, tail: Tail, n_replicas: int, seed: int
) -> Iterator[Replicas]:
    """Yield synthetic histograms in portions, ``n_replicas`` in all.

    Semi-parametric: every one of the n observations is from the law with the probability with
    which one of the data is in the tail, and otherwise one of the data below the tail.

    Parameters
    ----------
    values, counts
        The data's histogram, as in :func:`topograph.powerlaws.scan.closest_tail`.
    tail
        The fitted law.
    n_replicas
        Number of histograms, at least 1.
    seed
        Seed of the generator; the same seed gives the same histograms.

    References
    ----------
    Clauset, Shalizi and Newman 2009, section 4.1.
    """
    generator = np.random.default_rng(seed)
    n = counts.sum()
    below = values < tail.xmin
    counted, chances = _head(tail)
    cells = np.concatenate([values[below], counted])
    chances = np.concatenate([counts[below] / n, chances * (tail.size / n)])
    # The generator wants probabilities that do not add up to more than 1.
    chances = chances / chances.sum()
    each = max(1, int(_CELLS / (len(chances) + n * chances[-1])))
    for first in range(0, n_replicas, each):
        rows = min(each, n_replicas - first)
        table = generator.multinomial(int(n), chances, size=rows)
        far = _beyond(tail, cells[-1] + 1, int(table[:, -1].sum()), generator)
        yield _gathered(cells, table[:, :-1], np.repeat(np.arange(rows), table[:, -1]), far)


def _head(tail: Tail) -> tuple[FloatArray, FloatArray]:
    """Return the law's first values, and the probability of each and of all beyond together."""
    alpha = np.array(tail.alpha)
    scale = scaled_zeta(alpha, np.array(tail.xmin))
    edges = tail.xmin + np.arange(_MOST_COUNTED + 1.0)
    at_least = np.exp(-alpha * np.log(edges / tail.xmin)) * scaled_zeta(alpha, edges) / scale
    # At least one value; more until few observations are left.
    width = max(1, int(np.searchsorted(-at_least, -_DRAWN_EACH / tail.size)))
    width = min(width, _MOST_COUNTED)
    mass = np.exp(-alpha * np.log(edges[:width] / tail.xmin)) / scale
    return edges[:width], np.append(mass, at_least[width])


def _beyond(tail: Tail, start: float, size: int, generator: np.random.Generator) -> FloatArray:
    """Return draws from the law given that they are at least ``start``.

    x is the largest integer with P(X ≥ x) ≥ u P(X ≥ start). The continuous law's answer is within
    a step or two of it.
    """
    u = 1 - generator.random(size)
    alpha = np.full(size, tail.alpha)
    log_start = np.log(start - 0.5)
    x = np.exp(np.minimum(log_start - np.log(u) / (alpha - 1), np.log(_LARGEST)))
    x = np.maximum(np.floor(x + 0.5), start)
    goal = u * scaled_zeta(np.array(tail.alpha), np.array(start))
    going = np.flatnonzero(x < _EXACT)
    while len(going):
        below = _relative(alpha[going], x[going], start) < goal[going]
        above = _relative(alpha[going], x[going] + 1, start) >= goal[going]
        x[going] += above.astype(np.float64) - below
        going = going[above | below]
    return x


def _relative(alpha: FloatArray, x: FloatArray, start: float) -> FloatArray:
    return np.exp(-alpha * np.log(x / start)) * scaled_zeta(alpha, x)


def _gathered(
    cells: FloatArray, table: np.ndarray, far_rows: np.ndarray, far: FloatArray
) -> Replicas:
    """Return the rows' histograms from counts of the cells and values that lie beyond them."""
    n_rows = len(table)
    row, column = np.nonzero(table)
    order = np.lexsort((far, far_rows))
    far_rows, far = far_rows[order], far[order]
    new = np.ones(len(far), bool)
    new[1:] = (far[1:] != far[:-1]) | (far_rows[1:] != far_rows[:-1])
    first = np.flatnonzero(new)
    far_counts = np.diff(np.append(first, len(far)))
    far_rows, far = far_rows[first], far[first]
    near_lengths = np.bincount(row, minlength=n_rows)
    far_lengths = np.bincount(far_rows, minlength=n_rows)
    lengths = near_lengths + far_lengths
    shape = (n_rows, int(lengths.max()))
    values, counts = np.ones(shape), np.zeros(shape)
    place = np.arange(len(row)) - np.repeat(np.cumsum(near_lengths) - near_lengths, near_lengths)
    values[row, place], counts[row, place] = cells[column], table[row, column]
    place = np.arange(len(far)) - np.repeat(np.cumsum(far_lengths) - far_lengths, far_lengths)
    place += near_lengths[far_rows]
    values[far_rows, place], counts[far_rows, place] = far, far_counts
    return Replicas(values, counts, lengths)
