"""How strongly a network narrows to a waist, for every part τ of its paths: the curve H(τ)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from topograph.check import check_fraction
from topograph.errors import TopographError
from topograph.graph.cover import ROUNDING, greedy_cover
from topograph.graph.flat import flat_network
from topograph.graph.layered import LayeredGraph, check_graph
from topograph.graph.scaled import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class HourglassCurve:
    """H(τ) = 1 - |core(τ)| / |core(τ) of the flat network| as the step function that it is.

    Calling the curve gives H at one τ.

    Attributes
    ----------
    tau
        Where H may step, ascending, up to ``tau_max``; float64 of shape (n,). H is constant on
        every (tau[k-1], tau[k]].
    score
        H on the interval that ends at each τ; float64 of shape (n,).
    core, flat_core
        Sizes of the two cores there; int64 of shape (n,).
    tau_max
        Where the curve ends.
    area
        Integral of H from 0 to ``tau_max``. NaN where no path leads from inputs to outputs.
    """

    tau: FloatArray
    score: FloatArray
    core: IntArray
    flat_core: IntArray
    tau_max: float
    area: float
    _coverages: tuple[FloatArray, FloatArray] = field(repr=False)

    @property
    def mean(self) -> float:
        """Mean of H between 0 and ``tau_max``: the area over its width."""
        return self.area / self.tau_max

    def __call__(self, tau: float) -> float:
        """Return H at one τ, in (0, ``tau_max``]; as :func:`topograph.hourglass_score` does."""
        tau = check_fraction(tau, "tau")
        if tau > self.tau_max * (1 + ROUNDING):
            raise TopographError(
                f"tau is {tau!r}; expected a number in (0, {self.tau_max}]",
                "make the curve with a larger tau_max",
            )
        core, flat = (_size(coverage, tau) for coverage in self._coverages)
        return 1 - core / flat if flat else float("nan")


def hourglass_curve(graph: LayeredGraph, tau_max: float = 0.95) -> HourglassCurve:
    """Return the hourglass score at every τ up to ``tau_max``, and the area under it.

    Both cores by rule ``"cover"`` with all nodes eligible, as in
    :func:`topograph.hourglass_score`. One greedy cover of each network gives the whole curve: the
    core for a smaller τ is the beginning of that for a larger one.

    Parameters
    ----------
    graph
        A layered graph.
    tau_max
        Where the curve ends, in (0, 1]. The last few paths can take many nodes.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph or ``tau_max`` is outside (0, 1].

    References
    ----------
    Batta et al. 2021, "A weighted network analysis framework for the hourglass effect" (their
    ``hourglass_scores`` up to 0.95, and the area with interpolation "right"); Sabrin and Dovrolis
    2017.

    Examples
    --------
    >>> import numpy as np
    >>> from topograph.graph import layered_graph
    >>> waist = layered_graph({"x": 4, "h": 2, "y": 4},
    ...                       [("x", "h", np.ones((2, 4))), ("h", "y", np.ones((4, 2)))])
    >>> curve = hourglass_curve(waist, tau_max=1)
    >>> curve.tau.tolist(), curve.score.tolist(), curve.area
    ([0.25, 0.5, 0.75, 1.0], [0.0, 0.5, 0.333..., 0.5], 0.333...)
    >>> curve(0.9)
    0.5
    """
    tau_max = check_fraction(tau_max, "tau_max")
    flat = flat_network(check_graph(graph))
    coverages = (
        greedy_cover(graph, tau_max, graph.groups)[1],
        greedy_cover(flat, tau_max, flat.groups)[1],
    )
    if not len(coverages[1]):
        nothing = np.empty(0)
        sizes = np.empty(0, np.int64)
        nan = float("nan")
        return HourglassCurve(nothing, nothing, sizes, sizes, tau_max, nan, coverages)
    steps = np.unique(np.concatenate(coverages))
    steps = np.append(steps[steps < tau_max * (1 - ROUNDING)], tau_max)
    # Where both cores step at once rounding sets the steps apart: the last of them stands for all.
    tau = steps[np.append(np.diff(steps) > ROUNDING, True)]
    core, flat_core = (
        np.array([_size(coverage, t) for t in tau], np.int64) for coverage in coverages
    )
    score = 1 - core / flat_core
    area = float((score * np.diff(tau, prepend=0)).sum())
    return HourglassCurve(tau, score, core, flat_core, tau_max, area, coverages)


def _size(coverage: FloatArray, tau: float) -> int:
    """Return how many nodes it takes to cover tau; all that cover anything for tau = 1."""
    if tau == 1:
        return len(coverage)
    return min(int(np.searchsorted(coverage, tau * (1 - ROUNDING))) + 1, len(coverage))
