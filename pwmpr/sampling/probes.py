"""How long to wait until so many clocks have rung: an estimate from a subset of positions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pwmpr.sampling.positions import Layer, running

#: Positions that the estimate is made from.
PROBES = 1 << 17


@dataclass(frozen=True)
class Probes:
    """Weights (0 where not available) at a subset of positions, each standing for ``step``."""

    weights: NDArray[np.float64]
    step: float


def probe(layers: list[Layer], level: bool = False) -> Probes:
    """Look at evenly spread positions of every layer.

    ``level``: weight 1 where the weight is 0, as in `pwmpr.sampling.clocks.earliest`.
    """
    total = sum(layer.weights.size for layer in layers)
    step = max(1.0, total / PROBES)
    parts = []
    for layer in layers:
        size = layer.weights.size
        if step == 1.0:
            index = np.arange(size)
        else:
            # Multiples of the golden ratio modulo 1 are even, and in step with no kernel's size.
            turns = np.arange(min(size, max(1, round(size / step)))) * ((math.sqrt(5) - 1) / 2)
            index = ((turns % 1.0) * size).astype(np.int64)
        free = None if layer.available is None else layer.available[index]
        weight = layer.weights[index].astype(np.float64)
        flags = running(weight, free, level)
        parts.append(np.where(flags, 1.0 if level else weight, 0.0))
    return Probes(np.concatenate(parts), step)


def with_margin(count: int, step: float) -> float:
    """Return how many to aim at so that ``count`` are nearly always reached, estimated by probes.

    ``count`` is at least 1.
    """
    # Relative errors: of the number that rings, and of the estimate from count/step probes.
    return count * (1 + 5 / math.sqrt(count) + 4 * math.sqrt(step / count)) + 10


def span_for(layers: list[Layer], count: int, level: bool) -> float:
    """Return a time within which somewhat more than ``count`` clocks are expected to ring."""
    probes = probe(layers, level)
    rates = probes.weights[probes.weights > 0]
    target = with_margin(count, probes.step) / probes.step
    if target >= rates.size:
        return math.inf
    # Σ 1 - e^(-rate·span) = target, solved for log span: it lies between the spans that would do
    # if all rates were the greatest, or the least.
    need = math.log(-math.log1p(-target / rates.size))
    log_rates = np.log(rates)
    low, high = need - float(log_rates.max()), need - float(log_rates.min())
    while high - low > 0.02:
        middle = (low + high) / 2
        with np.errstate(over="ignore"):
            rung = -np.expm1(-np.exp(log_rates + middle)).sum()
        low, high = (middle, high) if rung < target else (low, middle)
    return math.exp(high) if high < 709 else math.inf
