"""What a product of two factors is: a gain, a gate, an activation or a normalisation written out.

Which of two activations carries the paths is told by what is known of them, their
:class:`~topograph.capturing.steps.Fact`, and by which operator made them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from topograph.capturing import rules
from topograph.capturing import vocabulary as words
from topograph.capturing.steps import Fact
from topograph.capturing.trace import is_whole
from topograph.capturing.weights import learnt, packet

if TYPE_CHECKING:
    from topograph.capturing.planning import Planner

aten = torch.ops.aten


def product(planner: Planner, node: fx.Node) -> None:
    """Two activations multiplied or divided, or one and a constant."""
    one, other = node.args[:2]
    operands: list[Any] = [n for n in (one, other) if planner.carries(n)]
    if len(operands) == 1:
        _multiplied(planner, node, operands[0], other if operands[0] is one else one)
    elif operands:
        _gated(planner, node, operands)


def _multiplied(planner: Planner, node: fx.Node, signal: Any, factor: Any) -> None:
    """One activation multiplied or divided by a constant, or by what no path comes from."""
    fact = planner.facts[signal]
    affine = planner.norm == "identity" and fact.normalised and _is_learnt(planner, factor)
    if affine:  # the gain of a normalisation written out
        planner.transparent(node, signal, Fact(fact.root, fact.gate, fact.statistic))
    elif planner.trace.varies(factor) or (isinstance(factor, (int, float)) and abs(factor) == 1):
        planner.transparent(node, signal)
    elif is_whole(node):
        planner.transparent(node, signal)  # whole numbers are names of tokens, not amounts
    else:
        planner.add(node, [signal], rules.scaled, fact)


def _is_learnt(planner: Planner, factor: Any) -> bool:
    constant = isinstance(factor, fx.Node) and not planner.trace.varies(factor)
    return constant and learnt(planner.trace, factor)


def _gated(planner: Planner, node: fx.Node, operands: list[Any]) -> None:
    one, other = operands
    first, second = planner.facts[one], planner.facts[other]
    if first.root == second.root:  # x·σ(x), x·x: a function of one value, counted once
        kept = _last_common(planner, one, other)
        planner.transparent(node, kept, Fact(first.root, min(first.gate, second.gate)))
    elif second.statistic == first.root:
        _normalised(planner, node, one, other)
    elif first.statistic == second.root:
        _normalised(planner, node, other, one)
    elif first.statistic is not None and first.statistic == second.statistic:
        # Numbers of one signal by each other: such a number too.
        planner.unknown(node, first.statistic, min(first.gate, second.gate))
    elif first.gate != second.gate:
        kept = one if first.gate < second.gate else other
        gate = min(first.gate, second.gate)
        planner.transparent(node, kept, Fact(planner.fresh(), gate))
    elif _activated(planner, one) != _activated(planner, other):
        gating, kept = (one, other) if _activated(planner, one) else (other, one)
        if gating in _ancestors(planner, kept):  # the signal times what was made of it
            planner.add(node, operands, rules.both, Fact(planner.fresh(), first.gate))
        else:
            planner.transparent(node, kept, Fact(planner.fresh(), first.gate))
    else:
        planner.add(node, operands, rules.both, Fact(planner.fresh(), first.gate))


def _normalised(planner: Planner, node: fx.Node, signal: Any, statistic: Any) -> None:
    """Note a normalisation written out: a signal by a number taken over itself."""
    fact = planner.facts[signal]
    dividing = packet(node) is aten.div or _inverse(planner, statistic)
    whole = Fact(fact.root, fact.gate, fact.statistic, normalised=dividing)
    planner.transparent(node, signal, whole)


def _inverse(planner: Planner, node: fx.Node) -> bool:
    """Whether a value is one over another."""
    node = _made_by(planner, node)
    exponent = node.args[1] if packet(node) is aten.pow else None
    below = isinstance(exponent, (int, float)) and exponent < 0
    return packet(node) in (aten.rsqrt, aten.reciprocal) or below


def _activated(planner: Planner, node: fx.Node) -> bool:
    """Whether a value is directly the result of an activation function: a GLU's gate."""
    made = _made_by(planner, node)
    if packet(made) in words.ACTIVATIONS:
        return True
    factors: list[Any] = (
        [n for n in made.args[:2] if planner.carries(n)] if packet(made) is aten.mul else []
    )
    gates = [planner.facts[n] for n in factors]  # x·σ(x) written out
    return len(gates) == 2 and gates[0].root == gates[1].root and gates[0].gate != gates[1].gate


def _made_by(planner: Planner, node: fx.Node) -> fx.Node:
    """Return the operator that makes a value, before dropout, casts and copies."""
    while packet(node) in words.DROPPING | words.CASTING | words.ALIASES and node in planner.steps:
        node = planner.steps[node].operands[0]
    return node


def _ancestors(planner: Planner, node: fx.Node, root: int | None = None) -> set[fx.Node]:
    """Return a node and what it is made of along paths (of one root, if one is given)."""
    found: set[fx.Node] = set()
    queue = [node]
    while queue:
        current = queue.pop()
        if current not in found and root in (None, planner.facts[current].root):
            found.add(current)
            queue.extend(planner.steps[current].operands if current in planner.steps else ())
    return found


def _last_common(planner: Planner, one: fx.Node, other: fx.Node) -> fx.Node:
    """Return the last value that two functions of one signal are both made of.

    So x/2·(1 + tanh(…x…)), a GELU written out, is an activation of x like any other.
    """
    root = planner.facts[one].root
    common = _ancestors(planner, one, root) & _ancestors(planner, other, root)
    lower = one if planner.facts[one].gate <= planner.facts[other].gate else other
    return next((node for node in reversed(planner.facts) if node in common), lower)
