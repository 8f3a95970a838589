"""What every operator of a trace does to paths: which operands they come from, and by which rule.

Gates, normalisations written out and functions of one signal by itself are told apart by what is
known of each value without computing it: its :class:`~topograph.capturing.steps.Fact`.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from topograph.capturing import rules, windows
from topograph.capturing import vocabulary as words
from topograph.capturing.rules import Rule
from topograph.capturing.steps import Fact, Step, refused
from topograph.capturing.trace import Trace, shape_of
from topograph.capturing.weights import Operator, operators, packet

aten = torch.ops.aten


@dataclass
class Planner:
    """Goes through a trace in order and finds the fact and the step of each node.

    Attributes
    ----------
    trace
        The traced model.
    norm
        ``"identity"`` or ``"scale"``, as in :func:`topograph.path_flow`.
    facts
        Filled by :meth:`run`; a node that no path reaches has none.
    steps
        The same for steps; inputs have none.
    """

    trace: Trace
    norm: str
    facts: dict[fx.Node, Fact] = field(default_factory=dict)
    steps: dict[fx.Node, Step] = field(default_factory=dict)
    _numbers: dict[Any, int] = field(default_factory=dict)
    _fresh: Iterator[int] = field(default_factory=itertools.count)

    def run(self) -> None:
        """Fill ``facts`` and ``steps``."""
        weighted = {op.node: op for op in operators(self.trace)}
        for node in self.trace.graph.nodes:
            if node in self.trace.inputs:
                self.facts[node] = Fact(next(self._fresh))
            elif self.trace.varies(node):
                self._visit(node, weighted.get(node))

    def _carries(self, argument: Any) -> bool:
        """Whether paths may come from an argument of an operator."""
        return isinstance(argument, fx.Node) and argument in self.facts

    def _visit(self, node: fx.Node, op: Operator | None) -> None:
        kind = packet(node)
        if op is not None:
            self._weighted(node, op)
        elif node.target is operator.getitem:
            self._item(node)
        elif kind in _PLANNED:
            _PLANNED[kind](self, node)
        elif kind not in words.FILLING:
            self._unknown(node)

    def _add(
        self, node: fx.Node, operands: Any, rule: Rule | None, fact: Fact | None = None
    ) -> None:
        self.steps[node] = Step(node, tuple(operands), rule)
        self.facts[node] = fact or Fact(next(self._fresh))

    def _unknown(self, node: fx.Node, statistic: int | None = None) -> None:
        carried = [n for n in node.all_input_nodes if self._carries(n)]
        if carried:
            self._add(node, carried, refused, Fact(next(self._fresh), 0, statistic))

    def _transparent(self, node: fx.Node, operand: Any, fact: Fact | None = None) -> None:
        value = node.meta.get("val")
        same = not isinstance(value, Tensor) or shape_of(node) == self._shape(operand)
        self._add(node, [operand], None if same else rules.broadcast, fact or self.facts[operand])

    def _shape(self, node: fx.Node) -> tuple[int, ...]:
        value = node.meta["val"]
        return tuple((value if isinstance(value, Tensor) else value[0]).shape)

    # One method for each class of operators.

    def _weighted(self, node: fx.Node, op: Operator) -> None:
        bias = [node.args[0]] if op.kind == "addmm" and self._carries(node.args[0]) else []
        operands = [n for n in (op.signal, *bias) if self._carries(n)]
        if op.signal in operands:
            self.steps[node] = Step(node, tuple(operands), operator=op)  # type: ignore[arg-type]
            self.facts[node] = Fact(next(self._fresh))
        elif operands:
            self._unknown(node)

    def _item(self, node: fx.Node) -> None:
        parent, index = node.args
        if not self._carries(parent):
            return
        assert isinstance(parent, fx.Node)
        assert isinstance(index, int)
        fact = self.facts[parent]
        if packet(parent) in words.READDRESSING:
            self.steps[node] = Step(node, (parent,), item=index)
            self.facts[node] = Fact(self._number(node), fact.gate, fact.statistic)
        elif packet(parent) in words.STATISTICS or index == 0:
            self._transparent(node, parent)
        else:
            self._unknown(node)

    def _elementwise(self, node: fx.Node) -> None:
        varying = [n for n in node.all_input_nodes if self._carries(n)]
        if len(varying) != 1:
            self._unknown(node)
        else:
            fact = self.facts[varying[0]]
            rank = words.GATES.get(packet(node), fact.gate)
            if packet(node) in words.CLIPS and packet(varying[0]) in words.ADDING:
                rank = 1  # clip(x + 3): a hard sigmoid written out
            self._transparent(node, varying[0], Fact(fact.root, rank, fact.statistic))

    def _cast(self, node: fx.Node) -> None:
        if self._carries(node.args[0]) and node.meta.get("val") is not None:
            self._transparent(node, node.args[0])

    def _copy(self, node: fx.Node) -> None:
        if self._carries(node.args[1]):
            self._transparent(node, node.args[1])

    def _normalisation(self, node: fx.Node) -> None:
        signal: Any = node.args[0]
        if [n for n in node.all_input_nodes if self._carries(n)] != [signal]:
            self._unknown(node)  # a gain that depends on the input
            return
        fact = Fact(self.facts[signal].root)
        if self.norm == "scale":
            self._add(node, [signal], rules.normalisation_gain, fact)
        else:
            self._transparent(node, signal, fact)

    def _readdress(self, node: fx.Node) -> None:
        signal: Any = node.args[0]
        if [n for n in node.all_input_nodes if self._carries(n)] != [signal]:
            self._unknown(node)  # which elements are read depends on the input
            return
        fact = self.facts[signal]
        if packet(node) in _ALIASES:
            self._transparent(node, signal, fact)
        else:
            moved = Fact(self._number(node), fact.gate, fact.statistic)
            self._add(node, [signal], rules.readdress, moved)

    def _number(self, node: fx.Node) -> int:
        """Return a number that is the same for the same re-addressing of the same signal."""

        def one(argument: Any) -> Any:
            if isinstance(argument, fx.Node):
                return self.facts[argument].root if argument in self.facts else argument.name
            return argument

        key = str((node.target, fx.map_arg(node.args, one), node.kwargs))
        if key not in self._numbers:
            self._numbers[key] = next(self._fresh)
        return self._numbers[key]

    def _join(self, node: fx.Node) -> None:
        listed: Any = node.args[0]
        self._merge(node, [n for n in listed if self._carries(n)], rules.join)

    def _scatter(self, node: fx.Node) -> None:
        self._merge(node, [n for n in node.args[:2] if self._carries(n)], rules.scatter)

    def _merge(self, node: fx.Node, operands: list[Any], rule: Rule) -> None:
        if operands:
            gate = min(self.facts[n].gate for n in operands)
            self._add(node, operands, rule, Fact(next(self._fresh), gate))

    def _local(self, node: fx.Node) -> None:
        signal: Any = node.args[0]
        if not self._carries(signal):
            self._unknown(node)
            return
        fact = Fact(next(self._fresh), self.facts[signal].gate)  # a pooled gate is a gate
        self._add(node, [signal], _local_rule(packet(node)), fact)

    def _reduce(self, node: fx.Node) -> None:
        signal: Any = node.args[0]
        if [n for n in node.all_input_nodes if self._carries(n)] != [signal]:
            self._unknown(node)
            return
        fact = self.facts[signal]
        over = fact.root if fact.statistic is None else fact.statistic
        if packet(node) in words.STATISTICS or _compares(node):
            self._unknown(node, over)
            return
        rule = windows.total if packet(node) in words.SUMS else windows.mean
        self._add(node, [signal], rule, Fact(next(self._fresh), fact.gate, over))

    def _addition(self, node: fx.Node) -> None:
        one: Any
        other: Any
        one, other = node.args[:2]
        operands: list[Any] = [n for n in (one, other) if self._carries(n)]
        if len(operands) < 2:
            self._one_term(node, operands)
            return
        first, second = (self.facts[n] for n in operands)
        if packet(node) is not aten.add and second.statistic == first.root:
            self._transparent(node, one)  # x - mean(x): a normalisation written out
        elif packet(node) is not aten.add and first.statistic == second.root:
            self._transparent(node, other)
        elif first.root == second.root:
            gate = min(first.gate, second.gate)
            self._add(node, operands, rules.weighted_sum, Fact(first.root, gate, first.statistic))
        else:
            self._add(node, operands, rules.weighted_sum)

    def _one_term(self, node: fx.Node, operands: list[Any]) -> None:
        if not operands:
            return
        signal: Any = operands[0]
        multiplied: Any = node.args[0 if packet(node) is aten.rsub else 1]
        alpha: Any = node.args[2] if len(node.args) > 2 else node.kwargs.get("alpha", 1)
        if multiplied is signal and abs(alpha) != 1:
            self._add(node, operands, rules.weighted_sum, self.facts[signal])
        else:
            self._transparent(node, signal)

    def _product(self, node: fx.Node) -> None:
        one, other = node.args[:2]
        operands: list[Any] = [n for n in (one, other) if self._carries(n)]
        if len(operands) == 1:
            constant = other if operands[0] is one else one
            if isinstance(constant, (int, float)) and abs(constant) == 1:
                self._transparent(node, operands[0])
            else:
                self._add(node, operands, rules.scaled, self.facts[operands[0]])
        elif operands:
            self._gated(node, operands)

    def _gated(self, node: fx.Node, operands: list[Any]) -> None:
        one, other = operands
        first, second = self.facts[one], self.facts[other]
        if first.root == second.root:  # x·σ(x), x·x: one signal, counted once
            kept = one if first.gate <= second.gate else other
            self._transparent(node, kept, Fact(first.root, min(first.gate, second.gate)))
        elif second.statistic == first.root:  # a normalisation written out
            self._transparent(node, one)
        elif first.statistic == second.root:
            self._transparent(node, other)
        elif first.gate != second.gate:
            kept = one if first.gate < second.gate else other
            self._transparent(node, kept, Fact(next(self._fresh), min(first.gate, second.gate)))
        else:
            self._add(node, operands, rules.both, Fact(next(self._fresh), first.gate))


#: Re-addressing operators whose result has the same elements in the same places.
_ALIASES = words.packets("clone contiguous detach alias lift_fresh_copy")


def _compares(node: fx.Node) -> bool:
    """Whether a maximum or minimum is one of two tensors."""
    return node.target in (aten.max.other, aten.min.other)


def _local_rule(kind: Any) -> Rule:
    if kind in words.PADDING:
        return rules.pad
    if kind in words.RESIZING:
        return windows.bilinear if kind is aten.upsample_bicubic2d else windows.as_is
    name = kind.__name__
    if "max_pool" not in name:
        return windows.as_is
    return windows.adaptive_mean if "adaptive" in name else windows.window_mean


def _planned() -> dict[Any, Callable[[Planner, fx.Node], None]]:
    planner = Planner
    classes: list[tuple[Any, Callable[[Planner, fx.Node], None]]] = [
        (words.POINTWISE | words.SOFTMAX, planner._elementwise),
        (words.CASTING, planner._cast),
        (words.COPYING, planner._copy),
        (words.NORMALISATION, planner._normalisation),
        (words.READDRESSING, planner._readdress),
        (words.JOINING, planner._join),
        (words.SCATTERING, planner._scatter),
        (words.PADDING | words.POOLING | words.RESIZING, planner._local),
        (words.MEANS | words.SUMS | words.STATISTICS, planner._reduce),
        (words.ADDING, planner._addition),
        (words.MULTIPLYING, planner._product),
    ]
    return {kind: method for kinds, method in classes for kind in kinds}


_PLANNED = _planned()
