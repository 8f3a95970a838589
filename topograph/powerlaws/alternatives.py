"""Whether another distribution explains a power law's tail better: likelihood-ratio tests."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from topograph.graph.scaled import FloatArray

#: The alternatives, each with its parameters' names, as the powerlaw package calls them.
ALTERNATIVES = ("lognormal", "exponential", "stretched_exponential", "truncated_power_law")

# The power law is the limit of no cut-off of the truncated one.
_NESTED = ("truncated_power_law",)

# A fit has settled when starting it again from its end gains less log-likelihood than this.
_SETTLED = 0.01
_RESTARTS = 10


@dataclass(frozen=True)
class Comparison:
    """A power law against one alternative, both fitted to the same tail.

    Attributes
    ----------
    alternative
        Name of the other distribution.
    R
        Log-likelihood of the power law minus that of the alternative: above 0 speaks for the
        power law. NaN where the alternative could not be fitted.
    p_value
        Chance of an R this far from 0 if both were equally far from the truth; large: the data do
        not tell them apart. Of a nested alternative: if the power law were the truth.
    nested
        Whether the power law is a limit of the alternative; then R is at most 0.
    converged
        Whether the alternative's own fit settled. Where not, the alternative may be better than
        shown, and R smaller.
    parameters
        The alternative's fitted parameters.
    """

    alternative: str
    R: float
    p_value: float
    nested: bool
    converged: bool
    parameters: Mapping[str, float] = field(default_factory=dict)

    def favours(self, level: float = 0.1) -> str:
        """Return which of the two the data favour at this level, or ``"neither"``."""
        if not self.p_value <= level:
            return "neither"
        return "power_law" if self.R > 0 else self.alternative


def compare(
    tail: FloatArray, xmin: int, alpha: float, log_likelihoods: FloatArray, name: str
) -> Comparison:
    """Return the likelihood-ratio test of a power law against one alternative.

    The alternative's fit and the test are the powerlaw package's, always for discrete data and
    by numerical likelihood. Both laws' likelihoods are evaluated here: the package's α ends at 3,
    and its probabilities far out are cut off or rounded away.

    Parameters
    ----------
    tail
        The observations from ``xmin`` on, float64 of shape (n_tail,).
    xmin, alpha
        The fitted power law.
    log_likelihoods
        The power law's log-likelihood of each observation, float64 of shape (n_tail,).
    name
        One of :data:`ALTERNATIVES`.

    References
    ----------
    Vuong 1989; Clauset, Shalizi and Newman 2009, section 5; Alstott, Bullmore and Plenz 2014,
    "powerlaw: a Python package for analysis of heavy-tailed distributions".
    """
    nested = name in _NESTED
    # The package and SciPy's optimiser warn of every corner that they look into.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        state = _truncated(tail, xmin, alpha) if nested else _refined(tail, xmin, name)
        if state is None:
            return Comparison(name, float("nan"), float("nan"), nested, converged=False)
        R, p = _ratio(log_likelihoods, state.log_likelihoods, nested)
    converged = state.converged
    if nested:
        converged = converged and R < _SETTLED
        if R > 0:  # the optimiser stopped short of the limit that is the power law itself
            R, p = 0.0, 1.0
    return Comparison(name, R, p, nested, converged, state.parameters)


@dataclass(frozen=True, eq=False)
class _State:
    """An alternative as fitted: parameters, log-likelihood of every observation."""

    parameters: dict[str, float]
    log_likelihoods: FloatArray
    converged: bool = False


def _refined(tail: FloatArray, xmin: int, name: str) -> _State | None:
    """Return the package's fit, started again from its end until that gains nothing.

    Its optimiser stops early on long ridges. Far out on them its likelihoods are differences of
    numbers that round to one another, so what a fit is worth is evaluated here, in logarithms.
    """
    if name == "exponential":  # the geometric law: its best λ is known
        rate = float(np.log1p(1 / (tail.mean() - xmin)))
        return _State({"Lambda": rate}, _exponential(tail, float(xmin), rate), converged=True)
    distribution = getattr(_package_fit(tail, xmin), name)
    best: _State | None = None
    for _ in range(_RESTARTS):
        parameters = _parameters(distribution)
        values = _LOG_LIKELIHOODS[name](tail, float(xmin), **parameters)
        if not np.isfinite(values).all():
            return best
        before = -np.inf if best is None else best.log_likelihoods.sum()
        gain = float(values.sum() - before)
        if best is not None and gain <= _SETTLED:
            return _State(best.parameters, best.log_likelihoods, converged=gain > -_SETTLED)
        best = _State(parameters, values)
        distribution.fit()
    return best


def _truncated(tail: FloatArray, xmin: int, alpha: float) -> _State | None:
    # By default α may not pass 3. The normaliser, by mpmath, comes out as 0 where α is large; then
    # only α up to 3 is searched, where the exponential end lies.
    for start, most in ((alpha, None), (1.0, 3.0)):
        settings = {
            "parameter_ranges": {"alpha": [0, most]},
            "initial_parameters": {"alpha": start},
        }
        try:
            distribution = _package_fit(tail, xmin, **settings).truncated_power_law
            values = np.asarray(distribution.loglikelihoods(tail), np.float64)
        except (ArithmeticError, ValueError):
            continue
        if np.isfinite(values).all():
            inside = most is None or distribution.alpha < most - _SETTLED
            return _State(_parameters(distribution), values, converged=inside)
    return None


def _package_fit(tail: FloatArray, xmin: int, **settings: Any) -> Any:
    import powerlaw

    return powerlaw.Fit(
        tail,
        discrete=True,
        estimate_discrete=False,
        xmin=float(xmin),
        verbose=0,
        **settings,
    )


def _parameters(distribution: Any) -> dict[str, float]:
    return {name: float(value) for name, value in distribution.parameters.items()}


def _ratio(ours: FloatArray, theirs: FloatArray, nested: bool) -> tuple[float, float]:
    from powerlaw.statistics import loglikelihood_ratio

    # The package overwrites what it is given.
    R, p = loglikelihood_ratio(ours.copy(), theirs.copy(), nested=nested)
    return float(R), float(p)


# The continuous laws are made discrete as the package does it: P(x) is their mass between x - 1/2
# and x + 1/2, given that it lies above xmin - 1/2. With survival function e^-h that is
# e^(h(xmin - 1/2) - h(x - 1/2)) (1 - e^(h(x - 1/2) - h(x + 1/2))).


def _rounded(hazard: Callable[[FloatArray], FloatArray], x: FloatArray, xmin: float) -> FloatArray:
    lower, upper = hazard(x - 0.5), hazard(x + 0.5)
    start = hazard(np.array([xmin - 0.5]))
    values: FloatArray = start - lower + np.log(-np.expm1(lower - upper))
    return values


def _lognormal(x: FloatArray, xmin: float, mu: float, sigma: float) -> FloatArray:
    from scipy.special import log_ndtr

    return _rounded(lambda edge: -log_ndtr((mu - np.log(edge)) / sigma), x, xmin)


def _exponential(x: FloatArray, xmin: float, Lambda: float) -> FloatArray:
    return _rounded(lambda edge: Lambda * edge, x, xmin)


def _stretched(x: FloatArray, xmin: float, Lambda: float, beta: float) -> FloatArray:
    return _rounded(lambda edge: (Lambda * edge) ** beta, x, xmin)


_LOG_LIKELIHOODS: dict[str, Callable[..., FloatArray]] = {
    "lognormal": _lognormal,
    "exponential": _exponential,
    "stretched_exponential": _stretched,
}
