"""How the density falls while a network is pruned in training."""

from __future__ import annotations

from topograph.check import check_fraction


def cubic_density(step: int, end: int, final: float, start: float = 1.0) -> float:
    """Return the density at a step: ρ_f + (ρ_0 − ρ_f) (1 − t/T)³, and ρ_f from T on.

    Parameters
    ----------
    step
        t, optimiser steps so far.
    end
        T, at least 1.
    final
        ρ_f in (0, 1].
    start
        ρ_0 in (0, 1].

    References
    ----------
    Zhu & Gupta 2017, "To prune, or not to prune", eq. 1, for densities.

    Examples
    --------
    >>> [round(cubic_density(t, 100, 0.1), 4) for t in (0, 50, 100, 200)]
    [1.0, 0.2125, 0.1, 0.1]
    """
    check_fraction(final, "final")
    check_fraction(start, "start")
    left = 1 - min(step, end) / max(end, 1)
    return final + (start - final) * left**3
