"""What a step of the tensor path is, and what is known of a value without computing it."""

from __future__ import annotations

import operator
from dataclasses import dataclass

from torch import Tensor, fx

from topograph.capturing import rules
from topograph.capturing.rules import Rule
from topograph.capturing.trace import place_of
from topograph.capturing.weights import Operator


@dataclass(frozen=True)
class Fact:
    """What is known of a node's value without computing it.

    Attributes
    ----------
    root
        Number of the signal of which the value is a function element by element: two values of
        one root hold the same units in the same places.
    gate
        Rank as a gate (see ``vocabulary.GATES``), 0 for none.
    statistic
        The root of the signal over whose axes the value was taken, if it was.
    softmax
        If the value is made of the entries of a softmax, how many of them added to 1.
    normalised
        Whether the signal was divided by a statistic of its own and not multiplied since.
    """

    root: int
    gate: int = 0
    statistic: int | None = None
    softmax: int | None = None
    normalised: bool = False


@dataclass(frozen=True)
class Step:
    """One operator on a path.

    Attributes
    ----------
    node
        The operator's node.
    operands
        The nodes that the paths come from.
    rule
        What it does to them; None if the value is the operand's, as it is. Weighted operators
        have none.
    operator
        The use of a weight, for a weighted operator.
    item
        Which of the operand's several values is meant, for a ``getitem``.
    """

    node: fx.Node
    operands: tuple[fx.Node, ...]
    rule: Rule | None = None
    operator: Operator | None = None
    item: int | None = None

    @property
    def made_by(self) -> fx.Node:
        """The operator whose value, or one of whose values, the node is."""
        if self.node.target is operator.getitem:
            parent = self.node.args[0]
            assert isinstance(parent, fx.Node)
            return parent
        return self.node

    @property
    def rescaling(self) -> bool:
        """Whether the rule may make numbers larger or smaller."""
        return self.rule not in _MOVING

    @property
    def splits(self) -> bool:
        """Whether there are several results."""
        return self.rule is rules.readdress and not isinstance(self.node.meta["val"], Tensor)


_MOVING = (rules.readdress, rules.broadcast, rules.join, rules.scatter, rules.pad)


def steering(node: fx.Node, *_: Tensor) -> Tensor:
    """Stand in for a rule where no path runs: what the operands are made of only steers."""
    raise AssertionError(f"{place_of(node)} is on a path")
