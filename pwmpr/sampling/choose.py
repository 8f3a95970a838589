"""Which positions are drawn, or are the largest: the three public ways."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pwmpr.sampling.best import Best
from pwmpr.sampling.clocks import earliest, merged
from pwmpr.sampling.positions import Flags, Floats, by_layer, chunks, counted, laid_out
from pwmpr.sampling.probes import probe, with_margin
from topograph.check import check_integer
from topograph.errors import TopographError


def sample_without_replacement(
    weights: Mapping[str, Tensor],
    count: int,
    generator: np.random.Generator,
    available: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Draw positions one after the other, each with probability ∝ its weight among those left.

    Drawn over all layers at once and exactly, however many positions there are. Positions of
    weight 0 are drawn, uniformly, only when all positive ones are.

    Parameters
    ----------
    weights : mapping
        Layer name -> tensor of weights of any shape: finite and nonnegative, on any scale and of
        any dynamic range.
    count : int
        Number of positions, at most those available.
    generator : numpy.random.Generator
        The result is a function of the weights and of this generator's state alone, on any device.
    available : mapping, optional
        Layer name -> bool tensor of the same shape: the positions that may be drawn. All by
        default.

    Returns
    -------
    dict
        Layer name -> int64 tensor of flat positions, ascending. Every layer is there.

    Raises
    ------
    TopographError
        If a weight is negative, NaN or infinite, shapes differ, or too few are available.

    Notes
    -----
    Give each position a clock that rings after E/w, E a standard exponential: the first ``count``
    to ring are a successive sample (Efraimidis & Spirakis 2006; the Gumbel top-k trick in logs).
    A position rings within time t with probability 1 - e^(-wt) ≤ wt, so a uniform number of 24
    random bits below wt sieves nearly all of them; the few that pass get 53 further bits and an
    exact time. t is estimated from a subset of positions for a few more than ``count`` to ring. If
    fewer do, those are chosen, and the clocks of the others, having no memory, start anew.

    Examples
    --------
    >>> weights = {"a": torch.tensor([[1.0, 0.0], [1e-30, 0.0]]), "b": torch.tensor([2e30, 0.0])}
    >>> drawn = sample_without_replacement(weights, 3, np.random.default_rng(0))
    >>> drawn["a"].tolist(), drawn["b"].tolist()
    ([0, 2], [0])
    """
    layers = laid_out(weights, available)
    drawable, positive = counted(layers)
    count = _checked_count(count, drawable)
    _check_generator(generator)
    chosen = earliest(layers, min(count, positive), positive, generator, level=False)
    if count > positive:
        zeros = earliest(layers, count - positive, drawable - positive, generator, level=True)
        chosen = merged(chosen, zeros)
    return by_layer(layers, chosen)


def sample_uniformly(
    available: Mapping[str, Tensor], count: int, generator: np.random.Generator
) -> dict[str, Tensor]:
    """Draw positions without replacement, all available ones alike, over all layers at once.

    Parameters
    ----------
    available : mapping
        Layer name -> bool tensor: the positions that may be drawn.
    count : int
        Number of positions, at most those available.
    generator : numpy.random.Generator

    Returns
    -------
    dict
        Layer name -> int64 tensor of flat positions, ascending.

    Raises
    ------
    TopographError
        If too few are available.

    Examples
    --------
    >>> free = {"a": torch.tensor([True, False, True])}
    >>> sample_uniformly(free, 2, np.random.default_rng(0))["a"].tolist()
    [0, 2]
    """
    if not isinstance(available, Mapping):
        raise TopographError(
            f"available is a {type(available).__name__}; expected layer name -> bool tensor",
            'pass e.g. {"fc.weight": ~mask}',
        )
    # One zero, seen as if it filled every layer: a draw among zeros is a uniform one.
    zeros = {name: torch.zeros(()).expand(np.shape(mask)) for name, mask in available.items()}
    layers = laid_out(zeros, available)
    drawable, _ = counted(layers)
    count = _checked_count(count, drawable)
    _check_generator(generator)
    return by_layer(layers, earliest(layers, count, drawable, generator, level=True))


def largest(
    weights: Mapping[str, Tensor], count: int, available: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the positions of the largest weights over all layers at once.

    Parameters
    ----------
    weights : mapping
        Layer name -> tensor of finite, nonnegative weights. Ties go to the earlier layer, in a
        layer to the lower flat position.
    count : int
        Number of positions, at most those available.
    available : mapping, optional
        Layer name -> bool tensor: the positions that may be chosen.

    Returns
    -------
    dict
        Layer name -> int64 tensor of flat positions, ascending.

    Raises
    ------
    TopographError
        If a weight is negative, NaN or infinite, shapes differ, or too few are available.

    Examples
    --------
    >>> weights = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([[3.0, 2.0], [3.0, 0.0]])}
    >>> {name: index.tolist() for name, index in largest(weights, 2).items()}
    {'a': [1], 'b': [0]}
    """
    layers = laid_out(weights, available)
    drawable, _ = counted(layers)
    count = _checked_count(count, drawable)
    if count == 0:
        return by_layer(layers, np.empty(0, np.int64))
    probes = probe(layers)
    # A threshold that somewhat more than ``count`` pass; if too few do, all positions are let in.
    rank = math.ceil(with_margin(count, probes.step) / probes.step)
    floor = -1.0
    if rank < probes.weights.size:
        floor = float(np.partition(probes.weights, -rank)[-rank])
    for threshold in (floor, -1.0):
        best = Best(count)
        for layer, start, weight, free in chunks(layers):
            if best.bound == np.inf:
                passing = _above(weight, threshold, or_equal=True)
            else:
                passing = _above(weight, -best.bound, or_equal=False)
            if free is not None:
                passing &= free
            index = np.flatnonzero(passing)
            best.add(-weight[index].astype(np.float64), layer.first + start + index)
        if best.size >= count:
            break
    return by_layer(layers, best.positions())


def _above(weight: Floats, threshold: float, *, or_equal: bool) -> Flags:
    """Compare exactly, in the weights' own precision."""
    with np.errstate(over="ignore"):
        rounded = weight.dtype.type(threshold)
    exact = float(rounded)  # NumPy would round the threshold again to compare it with float32
    if exact > threshold or (exact == threshold and or_equal):
        return weight >= rounded
    return weight > rounded


def _checked_count(count: object, drawable: int) -> int:
    number = check_integer(count, "count")
    if number > drawable:
        raise TopographError(
            f"count is {number}; expected at most the {drawable} positions available",
            f"pass count={drawable} or fewer",
        )
    return number


def _check_generator(generator: object) -> None:
    if not isinstance(generator, np.random.Generator):
        raise TopographError(
            f"generator is a {type(generator).__name__}; expected a numpy.random.Generator",
            "pass numpy.random.default_rng(seed)",
        )
