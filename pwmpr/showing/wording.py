"""How numbers of a run are written for people, the same in tables and pictures."""

from __future__ import annotations

import math

from pwmpr.plateau import Plateau

_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def flops(value: float) -> str:
    """Return floating-point operations with a prefix.

    Examples
    --------
    >>> flops(2_904_610_200), flops(12)
    ('2.90 G', '12')
    """
    for size, prefix in _PREFIXES:
        if value >= size:
            return f"{_three(value / size)} {prefix}"
    return f"{value:g}"


def duration(seconds: float) -> str:
    """Return a length of time.

    Examples
    --------
    >>> duration(0.25), duration(75.2), duration(4000)
    ('0.25 s', '1 min 15 s', '1 h 06 min')
    """
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def percent(value: float) -> str:
    """Return a part of 1 in percent; a dash where there is none.

    Examples
    --------
    >>> percent(0.9512), percent(float("nan"))
    ('95.12%', '-')
    """
    return f"{value:.2%}" if math.isfinite(value) else "-"


def density(value: float) -> str:
    """Return a density to four digits.

    Examples
    --------
    >>> density(0.0624818)
    '0.06248'
    """
    return f"{value:.4g}" if math.isfinite(value) else "-"


def verdict(fit: Plateau, stated_density: float | None, *, finished: bool) -> str:
    """Return in a sentence what the plateau fit meant for growth.

    Parameters
    ----------
    fit
        The fit.
    stated_density
        The density that the run was to grow to; None for growth to the plateau.
    finished
        Whether growth is over.
    """
    if stated_density is not None:
        ends = "ended" if finished else "ends"
        told = f"Growth {ends} at density {density(stated_density)}, as told and not by the fit"
        return f"{told}: {fit.reason}."
    if fit.stopped:
        return f"Growth stopped at the plateau: {fit.reason}."
    if finished:
        return f"Growth ended at its limit and not at a plateau: {fit.reason}."
    return f"Growth goes on: {fit.reason}."


def _three(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
