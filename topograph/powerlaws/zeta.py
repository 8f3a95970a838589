"""What a discrete power law's sums are: the Hurwitz zeta function, scaled to fit any float."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topograph.graph.scaled import FloatArray

# B_2k / (2k)! of the Euler-Maclaurin formula, for k = 1 to 8.
_BERNOULLI = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
    -3617 / 10670622842880000,
)

# From alpha + 10 on, the eight terms leave less than 1e-14 of the sum.
_MARGIN = 10

# What follows a term of exp(-45) of the second adds nothing, to the mean of the logarithm neither.
_NEGLIGIBLE = 45.0


def scaled_zeta(alpha: FloatArray, q: FloatArray) -> FloatArray:
    """Return q^α ζ(α, q) = Σ_{x≥q} (x/q)^-α, at least 1; the arrays broadcast.

    The zeta function itself leaves the floats (185^-22 is 1e-50, 1000^-200 is 0); this one does
    not. α is above 1 and q at least 1.

    References
    ----------
    Johansson 2015, "Rigorous high-precision computation of the Hurwitz zeta function and its
    derivatives" (Euler-Maclaurin summation).

    Examples
    --------
    >>> float(scaled_zeta(np.array(2.0), np.array(1.0))) * 6 / np.pi**2
    1.0
    """
    alpha, q = np.broadcast_arrays(alpha, q)
    shape = alpha.shape
    alpha, q = alpha.ravel(), q.ravel()
    n_direct, rest_counts = _direct_terms(alpha, q)
    start = q + n_direct
    # Σ_{x≥a} x^-α = a^-α [a / (α-1) + 1/2 + Σ_k b_k (α)_{2k-1} / a^(2k-1)]
    term = alpha / start
    rest = start / (alpha - 1)
    rest += 0.5
    per_square = 1 / (start * start)
    for k, bernoulli in enumerate(_BERNOULLI, 1):
        rest += bernoulli * term
        term *= (alpha + (2 * k - 1)) * (alpha + 2 * k) * per_square
    total = rest
    shifted = np.flatnonzero(n_direct)
    log = np.log(start[shifted] / q[shifted])
    total[shifted] *= np.exp(-alpha[shifted] * log) * rest_counts[shifted]
    for j in range(int(n_direct.max(initial=0))):
        at = np.flatnonzero(n_direct > j)
        total[at] += np.exp(-alpha[at] * np.log1p(j / q[at]))
    return total.reshape(shape)


def log_moments(alpha: FloatArray, q: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return q^α ζ(α, q), and mean and variance of log(x/q) under the power law from q on.

    The mean is -d/dα log ζ(α, q) - log q, the variance d²/dα² log ζ(α, q). Arrays of one shape
    (n,).

    Examples
    --------
    >>> zeta, mean, variance = log_moments(np.array([2.0]), np.array([1.0]))
    >>> mean, variance                    # 0.56996 = -ζ'(2)/ζ(2)
    (array([0.56996099]), array([0.88448183]))
    """
    n_direct, rest_counts = _direct_terms(alpha, q)
    start = q + n_direct
    # E(α), E'(α), E''(α) for Σ_{x≥a} (x/q)^-α = (a/q)^-α E(α).
    per_alpha = 1 / (alpha - 1)
    value = start * per_alpha
    first = -value * per_alpha
    second = -2 * first * per_alpha
    value += 0.5
    term, term1, term2 = alpha / start, 1 / start, np.zeros_like(start)
    per_square = 1 / (start * start)
    for k, bernoulli in enumerate(_BERNOULLI, 1):
        value += bernoulli * term
        first += bernoulli * term1
        second += bernoulli * term2
        if k == len(_BERNOULLI):
            break
        step = (alpha + (2 * k - 1)) * (alpha + 2 * k) * per_square
        step1 = (2 * alpha + (4 * k - 1)) * per_square
        term2 = term2 * step + 2 * (term1 * step1 + term * per_square)
        term1 = term1 * step + term * step1
        term = term * step
    shifted = np.flatnonzero(n_direct)
    if len(shifted):
        log = np.log(start[shifted] / q[shifted])
        weight = np.exp(-alpha[shifted] * log) * rest_counts[shifted]
        e, e1, e2 = value[shifted], first[shifted], second[shifted]
        value[shifted] = weight * e
        first[shifted] = weight * (e1 - log * e)
        second[shifted] = weight * (log * (log * e - 2 * e1) + e2)
        for j in range(int(n_direct.max())):
            at = np.flatnonzero(n_direct > j)
            log = np.log1p(j / q[at])
            weight = np.exp(-alpha[at] * log)
            value[at] += weight
            weight *= log
            first[at] -= weight
            second[at] += weight * log
    mean = -first / value
    return value, mean, second / value - mean * mean


def _direct_terms(alpha: FloatArray, q: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return how many terms to add one by one, and whether what follows them counts at all.

    Either the terms reach so far out that the Euler-Maclaurin formula holds for the rest, or
    they fall so fast (large α, small q) that there is no rest to speak of.
    """
    asymptotic = np.ceil(alpha + _MARGIN - q)
    decayed = np.ceil((q + 1) * np.exp(np.minimum(_NEGLIGIBLE / alpha, 700)) - q)
    return np.maximum(np.minimum(asymptotic, decayed), 0), asymptotic <= decayed
