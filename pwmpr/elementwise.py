"""Which optimisers step every weight by itself, and with what state a weight begins.

An element-wise optimiser computes a weight's next value from that weight, its gradient and its own
state alone. Then weights can be left out of a step, or stepped in another arrangement, without a
change to any other.
"""

from __future__ import annotations

from typing import Any

from torch import optim

# These map weight 0, gradient 0 and fresh state to weight 0 and fresh state, in whatever variant
# (momentum, weight decay, centred, AMSGrad), but for 0/0 when eps is 0.
ELEMENTWISE = (
    optim.SGD,
    optim.Adam,
    optim.AdamW,
    optim.NAdam,
    optim.RAdam,
    optim.Adamax,
    optim.Adagrad,
    optim.Adadelta,
    optim.RMSprop,
    optim.Rprop,
    optim.ASGD,
)
# State that starts at a value other than 0: the option of the parameter group that holds it.
_FRESH_STATE = {
    (optim.Adagrad, "sum"): "initial_accumulator_value",
    (optim.Rprop, "step_size"): "lr",
}


def is_elementwise(optimizer: optim.Optimizer) -> bool:
    """Return whether an optimiser is known to step every weight by itself."""
    return type(optimizer) in ELEMENTWISE


def fresh_state(optimizer: optim.Optimizer, key: str, group: dict[str, Any]) -> float:
    """Return the value with which an entry of a new weight's state begins."""
    for (kind, state), option in _FRESH_STATE.items():
        if state == key and isinstance(optimizer, kind):
            return float(group.get(option, 0.0))
    return 0.0
