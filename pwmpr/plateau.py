"""At which density accuracy stops rising, and whether growth may stop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from topograph.check import check_choice
from topograph.errors import TopographError

#: The part of the asymptote (or of the gain) at which the plateau begins.
LEVEL = 0.95
#: Growth never stops on fewer points.
LEAST_POINTS = 5


@dataclass(frozen=True)
class Plateau:
    """A fitted performance-density curve P(ρ) = P0 + A (1 - e^(-βρ)) and what follows from it.

    Attributes
    ----------
    ok : bool
        Whether the curve could be fitted. If not, ``reason`` says why and the numbers are NaN.
    onset : float
        The smallest density at which the fit reaches 95% of its asymptote; 0 if it starts there.
    p0, gain, beta : float
        P0, A > 0 and β > 0. The asymptote is ``p0 + gain``.
    r2 : float
        1 - (squared residuals) / (squared deviations from the mean).
    stopped : bool
        Whether growth may stop: at least 5 points, the onset inside the range of densities seen,
        and so the last density at or past it.
    reason : str
        Why growth stops or goes on, in a sentence.
    points : int
        Number of points fitted.
    """

    ok: bool
    onset: float
    p0: float
    gain: float
    beta: float
    r2: float
    stopped: bool
    reason: str
    points: int

    @property
    def asymptote(self) -> float:
        """The accuracy that the fit tends to: P0 + A."""
        return self.p0 + self.gain

    @overload
    def predict(self, density: float) -> float: ...
    @overload
    def predict(self, density: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def predict(self, density: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
        """Return the fitted accuracy at a density, or at an array of them."""
        value = self.asymptote - self.gain * np.exp(-self.beta * np.asarray(density, float))
        return float(value) if np.ndim(density) == 0 else np.asarray(value)


def fit_plateau(
    densities: ArrayLike, accuracies: ArrayLike, reference: str = "asymptote"
) -> Plateau:
    """Fit the performance-density curve of a growing network and tell whether growth may stop.

    Parameters
    ----------
    densities : array_like of float
        In (0, 1], in any order; densities may repeat.
    accuracies : array_like of float
        Validation accuracy (or any performance that rises) at each density, in any unit.
    reference : {"asymptote", "gain"}
        Onset at 95% of the asymptotic value, 0.95 (P0 + A), or of the gain, P0 + 0.95 A.

    Returns
    -------
    Plateau
        Data that the curve does not fit give ``ok=False`` and a reason, never an exception.

    Raises
    ------
    TopographError
        If lengths differ, a density is outside (0, 1] or an accuracy is not finite.

    Notes
    -----
    Source: P, section 4 ("When to stop"). Least squares with A, β > 0 by variable projection: for
    each β the best P0 and A are a straight-line fit, so one variable is left, which is searched
    on a grid over every β that the densities can tell apart and then refined. A fit is refused if
    accuracy does not rise, if β falls to the lower end (a straight line, no plateau in sight) or
    rises to the upper end (a step: the rise is over before the second density).

    A curve that starts at 95% of its asymptote (A ≤ 0.05 (P0 + A)) has onset 0. An onset below the
    smallest density seen is not inside the range, so it does not stop growth: the fit's rise is
    then extrapolated, not seen.

    Examples
    --------
    >>> density = [0.05 * 1.25**k for k in range(8)]
    >>> fit = fit_plateau(density, [60 + 30 * (1 - math.exp(-15 * d)) for d in density])
    >>> fit.stopped, round(fit.onset, 4), round(fit.p0, 3), round(fit.gain, 3), round(fit.beta, 3)
    (True, 0.1265, 60.0, 30.0, 15.0)
    """
    check_choice(reference, "reference", ("asymptote", "gain"))
    rho, accuracy = _checked(densities, accuracies)
    distinct = np.unique(rho)
    if distinct.size < 3:
        return _no_fit(rho.size, f"{distinct.size} distinct densities; the curve needs at least 3")
    if np.ptp(accuracy) == 0:
        return _no_fit(rho.size, "accuracy is the same at every density")

    span, gap = float(distinct[-1] - distinct[0]), float(distinct[1] - distinct[0])
    # Below, the curve is a straight line over the range to 1e-3; above, all but the points at the
    # smallest density lie on the asymptote to 1e-13 (or A passes 1e260).
    low, high = math.log(2e-3 / span), math.log(min(30 / gap, 600 / float(distinct[0])))
    if low >= high:
        return _no_fit(rho.size, f"densities from {distinct[0]:.6g} on are only {span:.2g} apart")
    grid = np.linspace(low, high, max(64, math.ceil((high - low) * 20)))
    profile = np.array([_Line.fit(rho, accuracy, math.exp(x)).residual for x in grid])
    best = int(np.argmin(profile))
    if not math.isfinite(profile[best]):
        return _no_fit(rho.size, "accuracy does not rise with density")
    if best == 0:
        return _no_fit(rho.size, "accuracy still rises in a straight line: no plateau in sight")
    if best == grid.size - 1:
        return _no_fit(rho.size, "all of the rise lies between the first two densities")
    refined = minimize_scalar(
        lambda x: _Line.fit(rho, accuracy, math.exp(x)).residual,
        bounds=(grid[best - 1], grid[best + 1]),
        method="bounded",
        options={"xatol": 1e-10},
    )
    beta = math.exp(refined.x if refined.fun <= profile[best] else grid[best])
    line = _Line.fit(rho, accuracy, beta)
    return _plateau(rho, accuracy, beta, line, reference)


@dataclass(frozen=True)
class _Line:
    """For one β the least-squares line: accuracy = asymptote - drop · e^(-β(ρ - ρ_min)).

    In this form A = drop · e^(β ρ_min) never enters the fit, so that large β lose no digits.
    """

    asymptote: float
    drop: float
    residual: float

    @classmethod
    def fit(cls, rho: NDArray[np.float64], accuracy: NDArray[np.float64], beta: float) -> _Line:
        decay = np.exp(-beta * (rho - rho.min()))
        x, y = decay - decay.mean(), accuracy - accuracy.mean()
        slope = float(x @ y) / float(x @ x)
        if not slope < 0:
            return cls(math.nan, math.nan, math.inf)
        residual = y - slope * x
        return cls(
            float(accuracy.mean() - slope * decay.mean()), -slope, float(residual @ residual)
        )


def _plateau(
    rho: NDArray[np.float64],
    accuracy: NDArray[np.float64],
    beta: float,
    line: _Line,
    reference: str,
) -> Plateau:
    least, most = float(rho.min()), float(rho.max())
    # The fit misses its reference level by ``short``: drop · e^(-β(onset - least)) = short.
    if reference == "gain":
        onset = -math.log1p(-LEVEL) / beta
    elif line.asymptote > 0:
        short = (1 - LEVEL) * line.asymptote
        onset = max(0.0, least + math.log(line.drop / short) / beta)
    else:
        return _no_fit(
            rho.size, f"the fit tends to {line.asymptote:.4g}: 95% of it is no level to reach"
        )
    gain = line.drop * math.exp(beta * least)
    deviation = accuracy - accuracy.mean()
    stopped = False
    if rho.size < LEAST_POINTS:
        reason = f"{rho.size} points; the rule needs at least {LEAST_POINTS}"
    elif onset > most:
        reason = f"the plateau begins at density {onset:.4g}, beyond the {most:.4g} seen"
    elif onset < least:
        reason = f"the plateau begins at density {onset:.4g}, below the least seen, {least:.4g}"
    else:
        stopped = True
        reason = f"the plateau begins at density {onset:.4g}, and {most:.4g} is reached"
    return Plateau(
        ok=True,
        onset=onset,
        p0=line.asymptote - gain,
        gain=gain,
        beta=beta,
        r2=1 - line.residual / float(deviation @ deviation),
        stopped=stopped,
        reason=reason,
        points=rho.size,
    )


def _no_fit(points: int, reason: str) -> Plateau:
    nan = math.nan
    return Plateau(False, nan, nan, nan, nan, nan, False, f"no fit: {reason}", points)


def _checked(
    densities: ArrayLike, accuracies: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    arrays = []
    for name, values in (("densities", densities), ("accuracies", accuracies)):
        try:
            array = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            array = np.empty((0, 0))
        if array.ndim != 1:
            raise TopographError(
                f"{name} is {values!r}; expected a flat sequence of numbers",
                f"pass e.g. {name}=[0.05, 0.0625, 0.078]",
            )
        arrays.append(array)
    rho, accuracy = arrays
    if rho.size != accuracy.size:
        raise TopographError(
            f"{rho.size} densities for {accuracy.size} accuracies; expected as many of both",
            "pass one accuracy a density",
        )
    outside = rho[~((rho > 0) & (rho <= 1))]
    if outside.size:
        raise TopographError(
            f"densities hold {outside[0]}; expected numbers in (0, 1]", "pass kept / all weights"
        )
    if not np.isfinite(accuracy).all():
        raise TopographError(
            f"accuracies hold {accuracy[~np.isfinite(accuracy)][0]}; expected finite numbers",
            "leave out points without a measured accuracy",
        )
    return rho, accuracy
