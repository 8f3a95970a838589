"""Which arguments are acceptable: the validators behind the public functions."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable

from topograph.errors import TopographError


def check_fraction(value: object, name: str, *, zero: bool = False) -> float:
    """Return ``value`` as a float in (0, 1], or in [0, 1] where ``zero`` is allowed."""
    low = "[0" if zero else "(0"
    expected = f"{name} is {value!r}; expected a number in {low}, 1]"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TopographError(expected, f"pass {name} as a fraction, e.g. {name}=0.5")
    number = float(value)
    if not (math.isfinite(number) and number <= 1 and (number > 0 or (zero and number == 0))):
        raise TopographError(expected, f"pass {name} as a fraction, e.g. {name}=0.5")
    return number


def check_positive(value: object, name: str, *, zero: bool = False) -> float:
    """Return ``value`` as a finite float above 0 (or at least 0 where ``zero`` is allowed)."""
    bound = "of at least 0" if zero else "above 0"
    problem = f"{name} is {value!r}; expected a finite number {bound}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TopographError(problem, f"pass {name} as a number")
    number = float(value)
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise TopographError(problem, f"pass {name} as a number {bound}")
    return number


def check_integer(value: object, name: str, *, least: int = 0) -> int:
    """Return ``value`` as an int of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < least:
        raise TopographError(
            f"{name} is {value!r}; expected a whole number of at least {least}",
            f"pass e.g. {name}={max(least, 1)}",
        )
    return int(value)


def check_choice(value: object, name: str, choices: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``choices``; otherwise say which is nearest."""
    options = list(choices)
    if isinstance(value, str) and value in options:
        return value
    near = difflib.get_close_matches(str(value), options, n=1)
    hint = f'did you mean {name}="{near[0]}"?' if near else f"choose one of these for {name}"
    listed = ", ".join(f'"{option}"' for option in options)
    raise TopographError(f"{name} is {value!r}; expected one of {listed}", hint)
