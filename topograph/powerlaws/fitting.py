"""Whether degrees follow a power law: the exact discrete fit, and how well it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from topograph.check import check_choice, check_integer
from topograph.errors import TopographError
from topograph.graph.scaled import FloatArray, IntArray
from topograph.powerlaws.alternatives import ALTERNATIVES, Comparison, compare
from topograph.powerlaws.bootstrap import p_value
from topograph.powerlaws.scan import MIN_DISTINCT, closest_tail, tail_from
from topograph.powerlaws.zeta import log_moments, scaled_zeta

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAN = float("nan")


@dataclass(frozen=True, eq=False)
class PowerLawFit:
    """The law P(k) = k^-α / ζ(α, xmin) fitted to the degrees from xmin on, or why there is none.

    Attributes
    ----------
    ok
        Whether there is a fit. If not, ``reason`` says why, the numbers are NaN, and ``xmin`` is
        ``None`` unless it was given.
    alpha
        Exponent of largest likelihood, above 1.
    xmin
        Smallest degree of the tail that the law describes.
    sigma
        Standard error of ``alpha``, from the Fisher information of the discrete law.
    D
        Two-sided Kolmogorov-Smirnov distance between tail and law, 0 to 1.
    p_value
        Part of the synthetic data sets from the law that are farther from their own fit than the
        data are from theirs. At most 0.1: the degrees are no power law (Clauset et al.). NaN
        without replicas.
    n, n_tail
        Number of positive degrees, and of those from ``xmin`` on.
    reason
        Why there is no fit; empty where there is one.
    n_zero
        Number of degrees 0. They are left out: a power law has none.
    fixed_xmin
        Whether ``xmin`` was given.
    replicas, seed
        Size and seed of the bootstrap.
    degrees, counts
        The distinct positive degrees, ascending, and the number of nodes of each; int64.
    """

    ok: bool
    alpha: float
    xmin: int | None
    sigma: float
    D: float
    p_value: float
    n: int
    n_tail: int
    reason: str
    n_zero: int
    fixed_xmin: bool
    replicas: int
    seed: int
    degrees: IntArray = field(repr=False)
    counts: IntArray = field(repr=False)

    def compare(self, alternatives: Iterable[str] = ALTERNATIVES) -> dict[str, Comparison]:
        """Test the law against other distributions on the same tail, by likelihood ratio.

        Needs no bootstrap. The truncated power law takes some seconds, the others less than one.

        Parameters
        ----------
        alternatives
            Any of ``"lognormal"``, ``"exponential"``, ``"stretched_exponential"`` and
            ``"truncated_power_law"``.

        Returns
        -------
        dict
            Name to :class:`Comparison`: ``R`` above 0 speaks for the power law, a ``p_value``
            above 0.1 says that the data do not tell.

        Raises
        ------
        TopographError
            For an unknown alternative, or where there is no fit.

        References
        ----------
        Clauset, Shalizi and Newman 2009, section 5. Fits and tests of the alternatives are those
        of the powerlaw package (Alstott et al. 2014), always discrete.

        Examples
        --------
        >>> import numpy as np
        >>> degrees = np.random.default_rng(0).zipf(2.5, 1000)
        >>> against = fit_power_law(degrees, replicas=0).compare(["exponential"])["exponential"]
        >>> against.R > 0, against.favours()
        (True, 'power_law')
        """
        names = [check_choice(name, "alternative", ALTERNATIVES) for name in alternatives]
        xmin, law = self._law()
        inside = self.degrees >= xmin
        tail = np.repeat(self.degrees[inside], self.counts[inside]).astype(np.float64)
        ours = -self.alpha * np.log(tail / xmin) - np.log(law)
        return {name: compare(tail, xmin, self.alpha, ours, name) for name in names}

    def ccdf(self) -> tuple[IntArray, FloatArray]:
        """Return the distinct positive degrees, and the part of them that is at least each."""
        return self.degrees, np.cumsum(self.counts[::-1])[::-1] / max(self.n, 1)

    def fitted_ccdf(self) -> tuple[IntArray, FloatArray]:
        """Return the distinct degrees from xmin on, and what the law says of :meth:`ccdf` there.

        Raises
        ------
        TopographError
            Where there is no fit.
        """
        xmin, law = self._law()
        degrees = np.union1d([xmin], self.degrees[self.degrees >= xmin])
        alpha = np.array(self.alpha)
        reached = np.exp(-alpha * np.log(degrees / xmin))
        at_least = reached * scaled_zeta(alpha, degrees.astype(np.float64)) / law
        return degrees, at_least * (self.n_tail / self.n)

    def figure(self, axes: Any = None) -> Figure:
        """Return a matplotlib figure of the cumulative distribution with the fitted law.

        Parameters
        ----------
        axes
            Axes to draw into; by default those of a new figure.
        """
        from topograph.powerlaws.figure import draw

        return draw(self, axes)

    def _law(self) -> tuple[int, float]:
        """Return xmin and xmin^α ζ(α, xmin)."""
        if not self.ok or self.xmin is None:
            raise TopographError(
                f"there is no power law: {self.reason}", "look at fit.ok before using the law"
            )
        return self.xmin, float(scaled_zeta(np.array(self.alpha), np.array(float(self.xmin))))


def fit_power_law(
    degrees: Any, xmin: int | None = None, replicas: int = 2500, seed: int = 0
) -> PowerLawFit:
    """Fit a discrete power law to degrees, and test by bootstrap whether it holds.

    α is the exact maximum of the likelihood for every possible start of the tail; the start is
    the one whose law is closest to the data (smallest D, ties to the smaller start), among all
    that leave at least three distinct degrees. The p-value comes from synthetic data sets, each
    fitted anew in full.

    Parameters
    ----------
    degrees
        Whole numbers of at least 0, one a node, of shape (n,). Zeros are counted and left out.
    xmin
        Start of the tail, at least 1, or ``None`` to find it.
    replicas
        Number of synthetic data sets; 2,500 give p to ±0.01. 0: no p-value.
    seed
        Seed of the bootstrap; the same seed gives the same p-value.

    Returns
    -------
    PowerLawFit
        With ``ok=False`` and a reason where the tail has fewer than three distinct degrees.

    Raises
    ------
    TopographError
        If the degrees are no list of whole numbers of at least 0, or for an ``xmin`` below 1, a
        negative number of replicas or a negative seed.

    References
    ----------
    Clauset, Shalizi and Newman 2009, "Power-law distributions in empirical data"; the survival
    paper, section 4.6.

    Examples
    --------
    >>> import numpy as np
    >>> fit = fit_power_law(np.random.default_rng(0).zipf(2.5, 2000))
    >>> fit.xmin, round(fit.alpha, 2), round(fit.sigma, 2), fit.p_value > 0.1
    (1, 2.5, 0.04, True)
    >>> fit_power_law([4, 4, 7, 0]).reason
    'the positive degrees have 2 distinct values (4, 7); a fit needs at least 3'
    """
    numbers = _check_degrees(degrees)
    if xmin is not None:
        xmin = check_integer(xmin, "xmin", least=1)
    replicas = check_integer(replicas, "replicas")
    seed = check_integer(seed, "seed")
    distinct, counts = np.unique(numbers[numbers > 0], return_counts=True)
    n = int(counts.sum())
    inside = distinct if xmin is None else distinct[distinct >= xmin]
    missing = PowerLawFit(
        ok=False,
        alpha=_NAN,
        xmin=xmin,
        sigma=_NAN,
        D=_NAN,
        p_value=_NAN,
        n=n,
        n_tail=0 if xmin is None else int(counts[len(distinct) - len(inside) :].sum()),
        reason=_too_few(inside, xmin),
        n_zero=len(numbers) - n,
        fixed_xmin=xmin is not None,
        replicas=replicas,
        seed=seed,
        degrees=distinct,
        counts=counts,
    )
    if len(inside) < MIN_DISTINCT:
        return missing
    x, weight = distinct.astype(np.float64), counts.astype(np.float64)
    tail = closest_tail(x, weight) if xmin is None else tail_from(x, weight, xmin)
    _, _, variance = log_moments(np.array([tail.alpha]), np.array([tail.xmin]))
    return replace(
        missing,
        ok=True,
        alpha=tail.alpha,
        xmin=int(tail.xmin),
        # The Fisher information of n_tail observations is n_tail d²/dα² log ζ(α, xmin).
        sigma=float(1 / np.sqrt(tail.size * variance[0])),
        D=tail.distance,
        p_value=p_value(x, weight, tail, replicas, seed, xmin is not None) if replicas else _NAN,
        n_tail=tail.size,
        reason="",
    )


def _check_degrees(degrees: Any) -> IntArray:
    if hasattr(degrees, "detach"):
        degrees = degrees.detach().cpu()
    try:
        given = np.asarray(degrees)
    except (TypeError, ValueError, RuntimeError):
        given = np.array(None)
    remedy = "pass e.g. topograph.degree(graph)"
    if given.size == 0 and given.ndim == 1:
        return np.empty(0, np.int64)
    if given.ndim != 1 or given.dtype.kind not in "iuf":
        raise TopographError(
            f"degrees is a {type(degrees).__name__} of shape {given.shape} and type {given.dtype}; "
            "expected whole numbers of at least 0, one a node, of shape (n,)",
            remedy,
        )
    wrong = ~np.isfinite(given) | (given < 0) | (given != np.floor(given)) | (given >= 2.0**53)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise TopographError(
            f"degrees[{at}] is {given[at].item()!r}; expected whole numbers of at least 0 (the "
            "law is one of counts)",
            remedy,
        )
    return given.astype(np.int64)


def _too_few(distinct: IntArray, xmin: int | None) -> str:
    what = "the positive degrees" if xmin is None else f"the degrees from xmin={xmin} on"
    if not len(distinct):
        return f"{what} are none; a fit needs at least {MIN_DISTINCT} distinct values"
    listed = ", ".join(map(str, distinct.tolist()))
    values = "value" if len(distinct) == 1 else "values"
    return (
        f"{what} have {len(distinct)} distinct {values} ({listed}); a fit needs at least "
        f"{MIN_DISTINCT}"
    )
