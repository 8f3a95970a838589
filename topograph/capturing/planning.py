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

from topograph.capturing import gates, opaque, pairs, rules, windows
from topograph.capturing import vocabulary as words
from topograph.capturing.features import Features
from topograph.capturing.fixed import fixed_map
from topograph.capturing.picking import Picked, picks
from topograph.capturing.rules import Rule
from topograph.capturing.steps import Fact, Step, steering
from topograph.capturing.trace import Trace, shape_of
from topograph.capturing.weights import WEIGHTED, Operator, operands, operators, packet

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
    features: Features = field(init=False)
    _numbers: dict[Any, int] = field(default_factory=dict)
    _several: dict[fx.Node, tuple[tuple[fx.Node, ...], Rule]] = field(default_factory=dict)
    _roots: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.features = Features(self.steps)

    def run(self) -> None:
        """Fill ``facts`` and ``steps``."""
        weighted = {op.node: op for op in operators(self.trace)}
        for node in self.trace.graph.nodes:
            if node in self.trace.inputs:
                self.facts[node] = Fact(self.fresh())
            elif self.trace.varies(node) and _is_tensor(node):
                self._visit(node, weighted.get(node))

    def fresh(self) -> int:
        """Return a root that no signal has yet."""
        return next(self._roots)

    def carries(self, argument: Any) -> bool:
        """Whether paths may come from an argument of an operator."""
        return isinstance(argument, fx.Node) and argument in self.facts

    def _visit(self, node: fx.Node, op: Operator | None) -> None:
        kind = packet(node)
        if op is not None:
            self._weighted(node, op)
        elif node.target is operator.getitem:
            self._item(node)
        elif kind in WEIGHTED and self._fixed(node):
            pass
        elif kind in _PLANNED:
            _PLANNED[kind](self, node)
        elif kind not in words.FILLING:
            self.unknown(node)

    def add(
        self, node: fx.Node, operands: Any, rule: Rule | None, fact: Fact | None = None
    ) -> None:
        """Note a node's step and fact (by default that of a new signal)."""
        self.steps[node] = Step(node, tuple(operands), rule)
        self.facts[node] = fact or Fact(self.fresh())

    def unknown(self, node: fx.Node, statistic: int | None = None, gate: int = 0) -> None:
        """Note that it is not known what of its operands a node's value depends on."""
        carried = [n for n in node.all_input_nodes if self.carries(n)]
        if carried:
            self.add_opaque(node, carried, opaque.All(), Fact(self.fresh(), gate, statistic))

    def add_opaque(
        self, node: fx.Node, operands: Any, rule: Rule, fact: Fact | None = None
    ) -> None:
        """Note an operator that may have several values, each of which has the rule by itself."""
        self.add(node, operands, rule, fact)
        if not isinstance(node.meta.get("val"), Tensor):
            self._several[node] = (tuple(operands), rule)

    def transparent(self, node: fx.Node, operand: Any, fact: Fact | None = None) -> None:
        """Note that a node's value is its operand's, broadcast if need be."""
        value = node.meta.get("val")
        same = not isinstance(value, Tensor) or shape_of(node) == self.shape(operand)
        self.add(node, [operand], None if same else rules.broadcast, fact or self.facts[operand])

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """Return the shape of a node's value, or of the first of its values."""
        value = node.meta["val"]
        return tuple((value if isinstance(value, Tensor) else value[0]).shape)

    # One method for each class of operators.

    def _weighted(self, node: fx.Node, op: Operator) -> None:
        if op.kind == "embedding" and self._steers(op.signal):
            return  # a table looked up by a position or a mask: like a constant, no path
        bias = [node.args[0]] if op.kind == "addmm" and self.carries(node.args[0]) else []
        carried = [n for n in (op.signal, *bias) if self.carries(n)]
        if op.signal in carried:
            self.steps[node] = Step(node, tuple(carried), operator=op)  # type: ignore[arg-type]
            self.facts[node] = Fact(self.fresh())
        elif carried:
            self.unknown(node)

    def _fixed(self, node: fx.Node) -> bool:
        """Note the product with a constant that is no parameter, if it is one."""
        kind = WEIGHTED[packet(node)]
        pair = operands(self.trace, node, kind)
        if pair is None or kind in ("embedding", "addmm") or not self.carries(pair[0]):
            return False
        self.add(node, [pair[0]], fixed_map(node, kind, *pair))
        return True

    def _steers(self, node: fx.Node) -> bool:
        """Whether a value is made of counts, choices or comparisons, not of inputs as they are."""
        while node in self.steps:
            step = self.steps[node]
            if isinstance(step.rule, opaque.Opaque) or step.operator is not None:
                return True
            node = step.operands[0]
        return node not in self.facts

    def _item(self, node: fx.Node) -> None:
        parent, index = node.args
        if not self.carries(parent):
            return
        assert isinstance(parent, fx.Node)
        assert isinstance(index, int)
        fact = self.facts[parent]
        if parent in self._several:
            operands, rule = self._several[parent]
            if isinstance(rule, opaque.Even) and not node.meta["val"].is_floating_point():
                rule = opaque.All("it says where in a line something is")
            self.add(node, operands, rule, Fact(self.fresh(), fact.gate, fact.statistic))
        elif packet(parent) in words.READDRESSING:
            self.steps[node] = Step(node, (parent,), item=index)
            self.facts[node] = Fact(self._number(node), fact.gate, fact.statistic)
        elif packet(parent) in words.STATISTICS or index == 0:
            self.transparent(node, parent)
        else:
            self.unknown(node)

    def _elementwise(self, node: fx.Node) -> None:
        varying = [n for n in node.all_input_nodes if self.carries(n)]
        if len(varying) > 1:
            rule = opaque.Each("a function of several activations in the same place")
            self.add(node, varying, rule)
        elif varying:
            fact = self.facts[varying[0]]
            rank = words.GATES.get(packet(node), fact.gate)
            if packet(node) in words.CLIPS and packet(varying[0]) in words.ADDING:
                rank = 1  # clip(x + 3): a hard sigmoid written out
            softmax = fact.softmax if packet(node) in words.DROPPING else None
            if packet(node) in words.AVERAGING:
                axis: Any = node.args[1]
                softmax = shape_of(node)[int(axis)]
            self.transparent(node, varying[0], Fact(fact.root, rank, fact.statistic, softmax))

    def _compare(self, node: fx.Node) -> None:
        carried = [n for n in node.all_input_nodes if self.carries(n)]
        if carried:
            gate = max(words.GATES.values())
            self.add(node, carried, opaque.Each("yes or no"), Fact(self.fresh(), gate))

    def _halve(self, node: fx.Node) -> None:
        signal: Any = node.args[0]
        if not self.carries(signal):
            return
        value = _first_of_halves(signal, node)
        if value is None:
            self.add(node, [signal], rules.first_half)
        elif self.carries(value):
            self.transparent(node, value, Fact(self.fresh()))
        else:  # a gated constant: no path leads on, and the gate only steers
            self.steps[node] = Step(node, (signal,), steering)

    def _cast(self, node: fx.Node) -> None:
        if self.carries(node.args[0]) and node.meta.get("val") is not None:
            self.transparent(node, node.args[0])

    def _copy(self, node: fx.Node) -> None:
        if self.carries(node.args[1]):
            self.transparent(node, node.args[1])

    def _normalisation(self, node: fx.Node) -> None:
        signal: Any = node.args[0]
        if [n for n in node.all_input_nodes if self.carries(n)] != [signal]:
            self.unknown(node)  # a gain that depends on the input
            return
        fact = Fact(self.facts[signal].root)
        if self.norm == "scale":
            self.add(node, [signal], rules.normalisation_gain, fact)
        else:
            self.transparent(node, signal, fact)

    def _readdress(self, node: fx.Node) -> None:
        signal: Any = node.args[0]
        if self.carries(signal) and picks(self.trace, node):
            self.add_opaque(node, [signal], Picked(), Fact(self.fresh(), self.facts[signal].gate))
            return
        if any(self.trace.varies(n) for n in node.all_input_nodes if n is not signal):
            # Which elements are read depends on the input.
            read = opaque.indexed if packet(node) in opaque.INDEXING else Planner.unknown
            read(self, node)
            return
        if not self.carries(signal):
            return
        fact = self.facts[signal]
        if packet(node) in words.ALIASES:
            self.transparent(node, signal, fact)
        else:
            moved = Fact(self._number(node), fact.gate, fact.statistic, fact.softmax)
            self.add(node, [signal], rules.readdress, moved)

    def _number(self, node: fx.Node) -> int:
        """Return a number that is the same for the same re-addressing of the same signal."""

        def one(argument: Any) -> Any:
            if isinstance(argument, fx.Node):
                return self.facts[argument].root if argument in self.facts else argument.name
            return argument

        key = str((node.target, fx.map_arg(node.args, one), node.kwargs))
        if key not in self._numbers:
            self._numbers[key] = self.fresh()
        return self._numbers[key]

    def _join(self, node: fx.Node) -> None:
        listed: Any = node.args[0]
        self._merge(node, [n for n in listed if self.carries(n)], rules.join)

    def _scatter(self, node: fx.Node) -> None:
        self._merge(node, [n for n in node.args[:2] if self.carries(n)], rules.scatter)

    def _merge(self, node: fx.Node, operands: list[Any], rule: Rule) -> None:
        if operands:
            gate = min(self.facts[n].gate for n in operands)
            self.add(node, operands, rule, Fact(self.fresh(), gate))

    def _local(self, node: fx.Node) -> None:
        signal: Any = node.args[0]
        if not self.carries(signal):
            self.unknown(node)
            return
        fact = Fact(self.fresh(), self.facts[signal].gate)  # a pooled gate is a gate
        self.add(node, [signal], _local_rule(packet(node)), fact)

    def _reduce(self, node: fx.Node) -> None:
        signal: Any = node.args[0]
        if node.target in (aten.max.other, aten.min.other):
            pairs.extreme(self, node)
            return
        if [n for n in node.all_input_nodes if self.carries(n)] != [signal]:
            self.unknown(node)
            return
        fact = self.facts[signal]
        over = fact.root if fact.statistic is None else fact.statistic
        if packet(node) in words.STATISTICS:
            axes = opaque.axes_of(node, len(self.shape(signal)))
            even = opaque.Even(axes, "a statistic counts as the mean")
            self.add_opaque(node, [signal], even, Fact(self.fresh(), 0, over))
            return
        rule = windows.total if packet(node) in words.SUMS else windows.mean
        self.add(node, [signal], rule, Fact(self.fresh(), fact.gate, over))


def _first_of_halves(signal: fx.Node, node: fx.Node) -> Any:
    """Return what is gated by a gated linear unit, if both halves are joined just before it."""
    if packet(signal) is not aten.cat:
        return None
    parts: Any = signal.args[0]
    dims = len(shape_of(node))
    joined: Any = signal.args[1] if len(signal.args) > 1 else 0
    halved: Any = node.args[1] if len(node.args) > 1 else -1
    joined_there = joined % dims == halved % dims
    if len(parts) != 2 or not joined_there or shape_of(parts[0]) != shape_of(node):
        return None
    return parts[0]


def _is_tensor(node: fx.Node) -> bool:
    """Whether a value is a tensor or several, and no number taken out of one (``.item()``)."""
    return isinstance(node.meta.get("val"), (Tensor, tuple, list))


def _local_rule(kind: Any) -> Rule:
    if kind in words.PADDING:
        return rules.pad
    if kind in words.RESIZING:
        return windows.bilinear if kind is aten.upsample_bicubic2d else windows.as_is
    if kind in words.FOLDING:
        return windows.fold
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
        (words.PADDING | words.POOLING | words.RESIZING | words.FOLDING, planner._local),
        (words.MEANS | words.SUMS | words.STATISTICS, planner._reduce),
        (words.COMPARING, planner._compare),
        (words.HALVING, planner._halve),
        (words.ADDING, pairs.addition),
        (words.MULTIPLYING, gates.product),
        (words.EXTREMES, pairs.extreme),
        (words.CHOOSING, pairs.choice),
        (opaque.ALONG | words.PAIRING, opaque.along),
        (opaque.SAMPLING, opaque.sampled),
        (opaque.WRITING, opaque.scattered),
        (words.CONTRACTING, pairs.contraction),
        (words.ATTENTION, pairs.attention),
    ]
    return {kind: method for kinds, method in classes for kind in kinds}


_PLANNED = _planned()
