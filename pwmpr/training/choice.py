"""Which strategy carries out a method."""

from __future__ import annotations

from pwmpr.method import Method
from pwmpr.training.fixed_density import Rewire
from pwmpr.training.learned import LearnThresholds
from pwmpr.training.pruned import Gradual, Prune
from pwmpr.training.strategies import Dense, Grow, Strategy

STRATEGIES: dict[str, type[Strategy]] = {
    "grow": Grow,
    "static": Strategy,
    "dense": Dense,
    "rewire": Rewire,
    "prune": Prune,
    "gradual": Gradual,
    "thresholds": LearnThresholds,
}


def strategy_for(method: Method) -> Strategy:
    """Return the strategy that carries out a method."""
    return STRATEGIES[method.strategy](method)
