"""Which strategy carries out a method."""

from __future__ import annotations

from pwmpr.method import Method
from pwmpr.training.fixed_density import Rewire
from pwmpr.training.strategies import Dense, Grow, Strategy

STRATEGIES: dict[str, type[Strategy]] = {
    "grow": Grow,
    "static": Strategy,
    "dense": Dense,
    "rewire": Rewire,
}


def strategy_for(method: Method) -> Strategy:
    """Return the strategy that carries out a method."""
    return STRATEGIES[method.strategy](method)
