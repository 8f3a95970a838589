"""How many weights each layer gets when a whole network gets so many: uniform, ER and ERK."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

Shapes = Mapping[str, tuple[int, ...]]


def uniform_counts(shapes: Shapes, total: int) -> dict[str, int]:
    """Return the same density for every layer.

    Parameters
    ----------
    shapes
        Parameter name to weight shape (out, in, kernel...).
    total
        Number of weights to keep over all layers; the returned counts sum to it exactly.

    Examples
    --------
    >>> uniform_counts({"a": (4, 10), "b": (2, 10)}, 6)
    {'a': 4, 'b': 2}
    """
    return _counts(shapes, total, lambda shape: 1.0)


def er_counts(shapes: Shapes, total: int) -> dict[str, int]:
    """Return Erdős-Rényi densities, ∝ (n_in + n_out) / (n_in n_out) (Mocanu et al. 2018)."""
    return _counts(shapes, total, lambda shape: sum(shape[:2]) / math.prod(shape[:2]))


def erk_counts(shapes: Shapes, total: int) -> dict[str, int]:
    """Return Erdős-Rényi-Kernel densities (Evci et al. 2020).

    The density of a layer is ∝ (n_in + n_out + k_h + k_w) / (n_in n_out k_h k_w).

    Examples
    --------
    >>> erk_counts({"conv": (8, 4, 3, 3), "fc": (10, 8)}, 72)
    {'conv': 36, 'fc': 36}
    """
    return _counts(shapes, total, lambda shape: sum(shape) / math.prod(shape))


def _counts(shapes: Shapes, total: int, raw: Callable[[tuple[int, ...]], float]) -> dict[str, int]:
    """Solve Σ_l min(1, ε raw_l) n_l = total for ε, then round to whole weights.

    Every layer that would pass density 1 becomes dense and the rest is solved again until none
    does: clipping without solving again falls short of the total.
    """
    names = list(shapes)
    sizes = np.array([math.prod(shapes[name]) for name in names], dtype=np.int64)
    raws = np.array([raw(shapes[name]) for name in names])
    dense = np.zeros(len(names), dtype=bool)
    share = np.ones(len(names))
    while not dense.all():
        free = ~dense
        scale = (total - sizes[dense].sum()) / (raws[free] * sizes[free]).sum()
        share = np.where(dense, 1.0, scale * raws)
        passed = free & (share > 1)
        if not passed.any():
            break
        dense |= passed
    return dict(zip(names, _rounded(np.minimum(share, 1.0) * sizes, sizes, total), strict=True))


def _rounded(ideal: np.ndarray, sizes: np.ndarray, total: int) -> list[int]:
    """Round to whole numbers that sum to ``total``: largest remainder first, ties to the first."""
    counts = np.minimum(np.floor(ideal + 1e-9).astype(np.int64), sizes)
    while (missing := total - int(counts.sum())) > 0:
        remainder = np.where(counts < sizes, ideal - counts, -np.inf)
        for index in np.argsort(-remainder, kind="stable")[:missing]:
            counts[index] += counts[index] < sizes[index]
    return [int(count) for count in counts]
