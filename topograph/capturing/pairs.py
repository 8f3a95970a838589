"""What two activations make together: sums, choices, attention.

Each function notes the step of one node with the planner. Which of two operands carries the paths
is told by what is known of them, their :class:`~topograph.capturing.steps.Fact`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from topograph.capturing import rules
from topograph.capturing.attention import Average
from topograph.capturing.attention import attention as mean_of_values
from topograph.capturing.opaque import Crossed
from topograph.capturing.steps import Fact, Step
from topograph.capturing.trace import shape_of
from topograph.capturing.weights import packet

if TYPE_CHECKING:
    from topograph.capturing.planning import Planner

aten = torch.ops.aten


def addition(planner: Planner, node: fx.Node) -> None:
    """Two activations added or subtracted, or one and a constant."""
    one: Any
    other: Any
    one, other = node.args[:2]
    operands: list[Any] = [n for n in (one, other) if planner.carries(n)]
    if len(operands) < 2:
        _one_term(planner, node, operands)
        return
    first, second = (planner.facts[n] for n in operands)
    if packet(node) is not aten.add and second.statistic == first.root:
        planner.transparent(node, one)  # x - mean(x): a normalisation written out
    elif packet(node) is not aten.add and first.statistic == second.root:
        planner.transparent(node, other)
    elif first.root == second.root:
        gate = min(first.gate, second.gate)
        planner.add(node, operands, rules.weighted_sum, Fact(first.root, gate, first.statistic))
    else:
        planner.add(node, operands, rules.weighted_sum)


def _one_term(planner: Planner, node: fx.Node, operands: list[Any]) -> None:
    if not operands:
        return
    signal: Any = operands[0]
    multiplied: Any = node.args[0 if packet(node) is aten.rsub else 1]
    alpha: Any = node.args[2] if len(node.args) > 2 else node.kwargs.get("alpha", 1)
    if multiplied is signal and abs(alpha) != 1:
        planner.add(node, operands, rules.weighted_sum, planner.facts[signal])
    else:
        planner.transparent(node, signal)


def extreme(planner: Planner, node: fx.Node) -> None:
    """Take the larger or smaller of two activations, or of one and a constant."""
    operands: list[Any] = [n for n in node.args[:2] if planner.carries(n)]
    if len(operands) == 1:
        planner.transparent(node, operands[0])
    elif operands:
        first, second = (planner.facts[n] for n in operands)
        if first.root == second.root:
            planner.transparent(node, operands[0], Fact(first.root))
        else:
            planner.add(node, operands, rules.middle)


def choice(planner: Planner, node: fx.Node) -> None:
    """Choose between two operands for every element, by a condition."""
    condition, one, other = rules.choice(node)
    operands: list[Any] = [n for n in (one, other) if planner.carries(n)]
    if not operands:
        return
    facts = [planner.facts[n] for n in operands]
    if not planner.trace.varies(condition):
        gate = min(fact.gate for fact in facts)
        planner.add(node, operands, rules.chosen, Fact(planner.fresh(), gate))
    elif len(operands) == 1 or facts[0].root == facts[1].root:
        planner.transparent(node, operands[0])  # a function of one signal, piece by piece
    else:
        planner.add(node, operands, rules.both)


def contraction(planner: Planner, node: fx.Node) -> None:
    """Multiply two matrices that both depend on the input: attention, in one of its spellings.

    The weights of an attention are a softmax, or what has no feature of its own in the result
    (queries, whose features are summed over; scores that went through other functions). What they
    are multiplied with is averaged evenly. Otherwise each factor carries its paths, with the other
    at 1: in keysᵀ · values until queries sum over the features of the keys.
    """
    operands: list[Any] = [n for n in node.args[:2] if planner.carries(n)]
    if len(operands) < 2:
        planner.unknown(node)
        return
    softmax = [n for n in operands if planner.facts[n].softmax is not None]
    one, other = operands
    if len(softmax) == 1:
        size = planner.facts[softmax[0]].softmax or 1
        planner.add(node, [other if softmax[0] is one else one], Average(size))
        return
    size = shape_of(one)[-1]
    if len(shape_of(one)) < 2 or len(shape_of(other)) < 2:
        planner.unknown(node)
        return
    rows, columns = planner.features.along(one, -2), planner.features.along(other, -1)
    values, axis = (one, -1) if rows else (other, -2)
    keys = None
    if planner.features.along(values, axis):
        keys = planner.features.factor(values, axis)
        rows = columns if keys is None else rows  # a matrix of features: a filter, no values
    if rows == columns:
        planner.add(node, operands, Crossed())
        return
    if keys is not None:
        _without_keys(planner, values, keys)
    planner.add(node, [values], Average(size))


def _without_keys(planner: Planner, node: fx.Node, keys: int) -> None:
    """Leave the keys out of keysᵀ · values when their features are summed over by queries.

    ``keys`` says which factor they are.
    """
    while node in planner.steps:
        step = planner.steps[node]
        if isinstance(step.rule, Crossed):
            kept: Any = step.operands[1 - keys]
            summed = shape_of(kept)[-2 if keys == 0 else -1]
            planner.steps[node] = Step(node, (kept,), Average(summed))
            return
        if len(step.operands) != 1 or step.operator is not None:
            return
        node = step.operands[0]


def attention(planner: Planner, node: fx.Node) -> None:
    """Attend to values, by queries and keys."""
    values: Any = node.args[2]
    if planner.carries(values):
        planner.add(node, [values], mean_of_values)
    else:
        planner.unknown(node)
