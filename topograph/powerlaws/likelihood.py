"""Which exponent makes a tail most likely, for many tails at once."""

from __future__ import annotations

import numpy as np

from topograph.graph.scaled import FloatArray
from topograph.powerlaws.zeta import log_moments

_TOLERANCE = 1e-12
_MAX_STEPS = 100


def most_likely_alpha(mean_log: FloatArray, xmin: FloatArray) -> FloatArray:
    """Return the α of largest likelihood of tails with these means of log(x / xmin).

    The likelihood of P(x) = x^-α / ζ(α, xmin) is largest where the law's own mean of
    log(x / xmin) is the data's. Exact, by Newton's method; infinite where the mean is 0 (all of
    the tail at xmin).

    Parameters
    ----------
    mean_log
        Means of log(x / xmin) over each tail, at least 0, float64 of shape (n,).
    xmin
        Smallest value of each tail, at least 1, float64 of shape (n,).

    References
    ----------
    Clauset, Shalizi and Newman 2009, "Power-law distributions in empirical data", section 3.2 and
    appendix B (eq. 3.5 and, for the first guess, 3.7).

    Examples
    --------
    >>> float(most_likely_alpha(np.array([0.5699609930945328]), np.array([1.0]))[0])
    2.0
    """
    result = np.full(len(mean_log), np.inf)
    left = np.flatnonzero(mean_log > 0)
    goal, q = mean_log[left], xmin[left]
    log_goal = np.log(goal)
    alpha = 1 + 1 / (goal + np.log(q / (q - 0.5)))
    # log of the mean falls convexly in α: Newton's steps on it never pass the root from below.
    for _ in range(_MAX_STEPS):
        _, mean, variance = log_moments(alpha, q)
        step = (np.log(mean) - log_goal) * mean / variance
        step = np.maximum(step, -0.75 * (alpha - 1))
        alpha = alpha + step
        going = np.abs(step) > _TOLERANCE * alpha
        result[left[~going]] = alpha[~going]
        left, goal, q = left[going], goal[going], q[going]
        alpha, log_goal = alpha[going], log_goal[going]
        if not len(left):
            break
    result[left] = alpha
    return result
