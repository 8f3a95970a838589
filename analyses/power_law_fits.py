"""Power laws fitted to the degrees of runs over training, with two starts of the tail."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rewiring import METHODS
from tqdm.auto import tqdm

import topograph as tg
from topograph.powerlaws import PowerLawFit

#: Where a tail begins: where the law fits best, or at one degree for all, as S does.
BEST, FIXED = "best fit", "fixed"
TAILS = (BEST, FIXED)
#: S begins at 110 connections, three quarters of the mean degree of its hidden units.
PART = 0.75
#: Other distributions, and how they are called in print.
RIVALS = {
    "lognormal": "lognormal",
    "exponential": "exponential",
    "truncated_power_law": "truncated power law",
}
#: At this p a likelihood-ratio test tells two distributions apart (Clauset et al., section 5).
LEVEL = 0.1


@dataclass(frozen=True)
class Fits:
    """The fits of every tail, run and snapshot looked at.

    Attributes
    ----------
    of
        (tail, run, snapshot) -> fit.
    frame
        The same as a table: a row a fit, numbers NaN where there is none.
    fixed_xmin
        Where the fixed tail begins.
    """

    of: dict[tuple[str, str, int], PowerLawFit]
    frame: pd.DataFrame
    fixed_xmin: int


def fit_all(units: pd.DataFrame, fixed_xmin: int | None, replicas: int) -> Fits:
    """Fit the degrees of every run and snapshot.

    Parameters
    ----------
    units
        A row a hidden unit, run and snapshot; see `rewiring.hidden`.
    fixed_xmin
        Where the fixed tail begins; by default at `PART` of the mean degree.
    replicas
        Size of the bootstrap.
    """
    fixed = fixed_xmin or max(1, round(PART * float(units["degree"].mean())))
    groups = units.groupby(["run", "method", "seed", "snapshot", "epochs"], observed=True)["degree"]
    found, rows = {}, []
    bar = tqdm(groups, desc="fitting", unit="fit", total=groups.ngroups, disable=None)
    for (run, method, seed, at, epochs), degrees in bar:
        for tail, xmin in ((BEST, None), (FIXED, fixed)):
            fit = tg.fit_power_law(degrees.to_numpy(), xmin, replicas)
            found[tail, str(run), int(at)] = fit
            row = {"run": run, "method": method, "seed": seed, "snapshot": at, "epochs": epochs}
            numbers = {
                name: float(getattr(fit, name)) if fit.ok else math.nan
                for name in ("alpha", "sigma", "D", "p_value", "xmin", "n_tail")
            }
            rows.append({**row, "tail": tail, **numbers})
    return Fits(found, pd.DataFrame(rows), fixed)


def compared(fits: Fits, snapshot: int) -> pd.DataFrame:
    """Return the likelihood-ratio tests of every run at one snapshot.

    A row a tail, run and other distribution: ``R`` above 0 speaks for the power law, ``favours``
    says for which the test decides.
    """
    at = fits.frame[fits.frame["snapshot"] == snapshot]
    rows = []
    for tail, run, method, seed in at[["tail", "run", "method", "seed"]].itertuples(index=False):
        fit = fits.of[tail, str(run), int(snapshot)]
        for name, test in (fit.compare(RIVALS) if fit.ok else {}).items():
            rows.append((tail, run, method, seed, name, test.R, test.p_value, test.favours(LEVEL)))
    columns = ["tail", "run", "method", "seed", "rival", "R", "p", "favours"]
    return pd.DataFrame(rows, columns=columns)


def distribution(
    fit: PowerLawFit,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return every degree of a tail, and which part of it is at most that: data, then law.

    The fit's D is the largest difference of the two.
    """
    xmin = int(fit.xmin or 0)
    degrees = np.arange(xmin, fit.degrees[-1] + 1)
    inside = fit.degrees >= xmin
    counts = np.zeros(len(degrees))
    counts[fit.degrees[inside] - xmin] = fit.counts[inside]
    # The law at all degrees, those that no unit has too, and one beyond.
    beyond = np.append(degrees, degrees[-1] + 1)
    _, at_least = replace(fit, degrees=beyond, counts=np.ones_like(beyond)).fitted_ccdf()
    law = 1 - at_least[1:] * (fit.n / fit.n_tail)
    return degrees, np.cumsum(counts) / fit.n_tail, law


def by_method(frame: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    """Yield the rows of every regrow rule that is there, in one order."""
    for method in METHODS:
        part = frame[frame["method"] == method]
        if len(part):
            yield method, part
