"""The operators of a network that a graph's weight edges come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OperatorRecord:
    """One use of a weight in a captured network.

    Attributes
    ----------
    name
        The operator's name: mostly its module's qualified name.
    parameter
        The weight's name as users write it. Several operators may use one parameter.
    kind
        ``"linear"``, ``"conv"``, ``"conv_transpose"``, ``"matmul"``, ``"addmm"``, ``"embedding"``.
    shape
        Shape of the weight as the operator takes it.
    sources
        Names of the groups that it reads.
    target
        Name of the group that it writes to.
    kept, size
        Weights that the mask keeps, and all weights.
    """

    name: str
    parameter: str
    kind: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    target: str
    kept: int
    size: int
