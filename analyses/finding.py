"""What a figure says about a claim: numbers, and a verdict by a rule that is written down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

AGREES, DISAGREES, OPEN = "agrees", "does not agree", "cannot be told"
#: By how much accuracy may fall short and still count as as good: δ of P's problem statement, for
#: which P prints no number.
TOLERANCE = 0.005


@dataclass(frozen=True)
class Finding:
    """A claim of a paper beside what was measured.

    Attributes
    ----------
    claim
        The paper's, in one sentence.
    measured
        The numbers that test it.
    verdict
        ``"agrees"``, ``"does not agree"`` or ``"cannot be told"``.
    """

    claim: str
    measured: str
    verdict: str

    def __post_init__(self) -> None:
        if self.verdict not in (AGREES, DISAGREES, OPEN):
            raise ValueError(
                f"verdict is {self.verdict!r}; expected one of the three of finding.py"
            )


@dataclass(frozen=True)
class Difference:
    """How much larger one thing is than another, over paired runs.

    Attributes
    ----------
    mean
        Mean of the paired differences.
    error
        Their standard error; NaN for one pair.
    pairs
        Number of pairs.
    """

    mean: float
    error: float
    pairs: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% confidence interval of the mean by Student's t; NaN for one pair."""
        if self.pairs < 2:
            return math.nan, math.nan
        half = self.error * float(stats.t.ppf(0.975, self.pairs - 1))
        return self.mean - half, self.mean + half

    @property
    def sign(self) -> int:
        """1 or -1 where Student's t tells the mean from 0 at the level of 5%, else 0.

        With one pair nothing can be told: 0.
        """
        if self.pairs < 2 or abs(self.mean) <= self.error * stats.t.ppf(0.975, self.pairs - 1):
            return 0
        return 1 if self.mean > 0 else -1

    def text(self, scale: float = 1.0, digits: int = 2, unit: str = "") -> str:
        """Return it as ``+1.20 ± 0.30``."""
        spread = "" if math.isnan(self.error) else f" ± {self.error * scale:.{digits}f}"
        return f"{self.mean * scale:+.{digits}f}{spread}{unit}"


def difference(
    frame: pd.DataFrame, column: str, by: str, first: str, second: str, pair: list[str]
) -> Difference:
    """Compare ``column`` of two kinds of runs.

    Parameters
    ----------
    frame
        A row a run.
    column
        What is compared.
    by, first, second
        The column that tells the kinds apart, and its two values: first minus second.
    pair
        Columns that are equal in the two runs of a pair, e.g. seed and density.
    """
    kinds = [
        frame.loc[frame[by] == kind].set_index(pair)[column].astype(float)
        for kind in (first, second)
    ]
    return deviation(kinds[0] - kinds[1])


def deviation(values: pd.Series, reference: float = 0.0) -> Difference:
    """Compare one number a run with a reference: value minus reference."""
    found = values.dropna().to_numpy(float) - reference
    if not len(found):
        return Difference(math.nan, math.nan, 0)
    error = float(np.std(found, ddof=1) / math.sqrt(len(found))) if len(found) > 1 else math.nan
    return Difference(float(found.mean()), error, len(found))


def verdict(difference: Difference, expected: int) -> str:
    """Return the verdict on a claim that the difference is positive (1), negative (-1) or none (0).

    A claim of equality agrees where a t-test at 5% finds no difference: the error printed beside it
    says how large a difference could have been found.
    """
    if difference.pairs < 2:
        return OPEN
    if expected == 0:
        return AGREES if difference.sign == 0 else DISAGREES
    if difference.sign == 0:
        return OPEN
    return AGREES if difference.sign == expected else DISAGREES


def as_good(
    claim: str, measured: str, difference: Difference, tolerance: float = TOLERANCE
) -> Finding:
    """Return the finding on a claim that the first is as accurate as the second, or more.

    It agrees where the 95% confidence interval of the difference lies above -``tolerance``, and
    does not where it lies below 0 and not above that; in between nothing can be told. So a wide
    error never passes for equality.
    """
    least, most = difference.interval
    if difference.pairs < 2:
        found = OPEN
    elif least > -tolerance:
        found = AGREES
    else:
        found = DISAGREES if most < 0 else OPEN
    return Finding(f"{claim}, at most {tolerance * 100:g} points less", measured, found)


def verdict_within(values: pd.Series, least: float, most: float) -> str:
    """Return the verdict on a claim about a size, measured once a seed.

    It agrees where every seed lies from ``least`` to ``most``, and does not where none does.
    """
    held = values.dropna().astype(float)
    inside = held.between(least, most)
    if len(held) < 2 or inside.nunique() > 1:
        return OPEN
    return AGREES if inside.all() else DISAGREES


def together(verdicts: Sequence[str]) -> str:
    """Return the verdict on a claim about several things, of which each has its own.

    It agrees where all do, does not where one does not, and else cannot be told.
    """
    if DISAGREES in verdicts:
        return DISAGREES
    return OPEN if OPEN in verdicts or not verdicts else AGREES


def markdown(findings: list[Finding]) -> str:
    """Return findings as a Markdown table."""
    lines = ["| claim | measured | verdict |", "|---|---|---|"]
    lines += [f"| {f.claim} | {f.measured} | **{f.verdict}** |" for f in findings]
    return "\n".join(lines)


def table(frame: pd.DataFrame, digits: int = 2) -> str:
    """Return a frame as a Markdown table; numbers with ``digits`` decimals, integers plain."""

    def text(value: object) -> str:
        if isinstance(value, float):
            return "–" if math.isnan(value) else f"{value:.{digits}f}"
        return str(value)

    flat = frame.reset_index() if frame.index.name or frame.index.nlevels > 1 else frame
    lines = ["| " + " | ".join(map(str, flat.columns)) + " |", "|" + "---|" * flat.shape[1]]
    lines += ["| " + " | ".join(map(text, row)) + " |" for row in flat.itertuples(index=False)]
    return "\n".join(lines)


def mean_and_spread(values: pd.Series, scale: float = 1.0, digits: int = 2) -> str:
    """Return ``mean ± standard deviation`` of some runs, or the one value."""
    held = values.dropna().astype(float) * scale
    if not len(held):
        return "–"
    if len(held) == 1:
        return f"{held.iloc[0]:.{digits}f}"
    return f"{held.mean():.{digits}f} ± {held.std(ddof=1):.{digits}f}"
