"""From the steps of a traced model to the nodes and what each reads, by following node ids.

Every activation on a path is followed as a :class:`~topograph.capturing.signals.Signal`. A weighted
operator ends it and starts a new group of nodes; a sum of signals that read different nodes is a
group too (:mod:`topograph.capturing.sums`); mixtures become mixed nodes
(:mod:`topograph.capturing.mixing`); everything else moves the ids or leaves them alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from topograph.capturing import picking, rules, windows
from topograph.capturing.attention import Average, attention
from topograph.capturing.fixed import FixedMap
from topograph.capturing.forms import Form
from topograph.capturing.mixing import (
    mix_axes,
    mix_folded,
    mix_product,
    mix_values,
    mix_windows,
    reduced_axes,
    spatial_axes,
)
from topograph.capturing.nodes import Nodes, Provisional
from topograph.capturing.opaque import All, Crossed, Even, Opaque, Written
from topograph.capturing.opaque_nodes import crossed, even, unknown, written
from topograph.capturing.partition import check_channels, first_kinds
from topograph.capturing.plan import Plan
from topograph.capturing.readings import mix_fixed, reads, vocabulary
from topograph.capturing.rules import Call
from topograph.capturing.signals import Signal, constant_axes, narrowed
from topograph.capturing.steps import Step
from topograph.capturing.sums import Sums
from topograph.capturing.trace import Trace, shape_of
from topograph.capturing.values import Values
from topograph.capturing.vocabulary import packets
from topograph.capturing.weights import learnt, packet

Value = Signal | tuple[Signal, ...]

EXPANDING = packets("expand expand_as")


class Constants:
    """The values of constants that ids depend on (indices, factors), with a record of them."""

    def __init__(self, trace: Trace, binding: Values) -> None:
        self.trace = trace
        self.binding = binding
        self.read: dict[fx.Node, Any] = {}

    def value(self, node: fx.Node) -> Any:
        """Return the value of a constant node."""
        value = self.binding.value(node)
        if isinstance(value, Tensor):
            value = value.cpu()
        if node not in self.read:
            # A copy, because training changes parameters in place.
            self.read[node] = value.clone() if isinstance(value, Tensor) else value
        return value


class Propagation:
    """Follows the ids through a plan; :attr:`nodes` and :attr:`outputs` are the result.

    Parameters
    ----------
    plan
        The steps.
    constants
        The values of constants.
    exact
        Whether every position is a node (unit granularity).
    split
        Whether positions that read differently are nodes of their own.
    partitions
        Placeholder name to the node of each input element (an index from 0 in the input's shape),
        for inputs whose channels are their nodes; elsewhere every element is one.

    Raises
    ------
    Restart
        If a convolution reads an input's elements: its channels are to be the nodes.
    """

    def __init__(
        self,
        plan: Plan,
        constants: Constants,
        exact: bool,
        partitions: Mapping[str, Tensor],
        split: bool = False,
    ) -> None:
        self.plan = plan
        self.constants = constants
        self.exact = exact
        self.split = split
        self.nodes = Nodes()
        self.values: dict[fx.Node, Value] = {}
        self.by_element: list[Provisional] = []
        self.first_kinds = first_kinds(plan)
        self.sums = Sums(plan, self.nodes, exact, split)
        for node in plan.inputs:
            self.values[node] = self._input(node, partitions.get(node.name))
        self._steering: list[np.ndarray] = []
        for step, lives, done in _in_order(plan):
            if lives:
                self.values[step.node] = self._run(step)
                beside = [n for n in step.node.all_input_nodes if n not in step.operands]
                self._note_steering(beside)
                if step.rule is rules.first_half:
                    self._note_gating_half(step)
            else:
                self._beside(step)
            for node in done:
                self.values.pop(node, None)
        self.outputs = self.sums.outputs({n: self._signal(n) for n in plan.outputs})

    @property
    def steering(self) -> np.ndarray:
        """Provisional numbers of the nodes that gates, queries and keys are made of, sorted."""
        return np.unique(np.concatenate([np.zeros(0, np.int64), *self._steering]))

    def _beside(self, step: Step) -> None:
        """Follow ids to where they meet what is no path."""
        moving = step.item is not None or (step.operator is None and step.rule in _MOVING)
        if moving and all(node in self.values for node in step.operands):
            self.values[step.node] = self._run(step)
        else:
            self._note_steering(step.operands)

    def _note_gating_half(self, step: Step) -> None:
        call = Call(step.node, self.constants, step.operands)  # type: ignore[arg-type]
        ids = self._signal(step.operands[0]).ids.chunk(2, call["dim"])[1]
        self._steering.append(np.unique(ids.numpy()) - 1)

    def _note_steering(self, nodes: Iterable[fx.Node]) -> None:
        for node in nodes:
            if node in self.values:
                ids = self._signal(node).ids
                found = np.unique(narrowed(ids, constant_axes(ids)).numpy())
                self._steering.append(found[found > 0] - 1)

    def _signal(self, node: fx.Node) -> Signal:
        value = self.values[node]
        return value if isinstance(value, Signal) else value[0]

    def _input(self, node: fx.Node, nodes: Tensor | None) -> Signal:
        shape = shape_of(node)
        index = torch.arange(int(np.prod(shape))).reshape(shape) if nodes is None else nodes
        group = self.nodes.add("input", int(index.max()) + 1, node, index)
        if nodes is None:
            group.shape = shape[1:] if shape[0] == 1 and len(shape) > 1 else shape
            self.by_element.append(group)
        return Signal((index + group.start + 1).expand(*shape))

    def _run(self, step: Step) -> Value:
        if step.item is not None:
            value = self.values[step.operands[0]]
            return value if isinstance(value, Signal) else value[step.item]
        if step.operator is not None:
            return self._weighted(step)
        signals = [self._signal(node) for node in step.operands]
        rule, first = step.rule, signals[0]
        if rule is None:
            return first
        call = Call(step.node, self.constants, step.operands)  # type: ignore[arg-type]
        shape = _shape(step.node)
        if rule is rules.broadcast or packet(step.node) in EXPANDING:
            return first.expand(shape)
        if rule in (rules.join, rules.scatter, rules.chosen):
            return self._joined(step, call, signals)
        if rule in (rules.readdress, rules.pad, rules.first_half):
            return first.moved(lambda tensor: rule(call, tensor))
        if isinstance(rule, picking.Picked):
            axes = picking.picked_axes(call)
            narrow = [1 if a in axes else n for a, n in enumerate(first.shape)]
            apart = self.exact or self.split
            mean = mix_axes(self.nodes, call, first, tuple(narrow), axes, True, apart)
            return mean.moved(lambda tensor: picking.at_first(call, tensor))
        if isinstance(rule, Opaque | Crossed):
            return self._opaque(step, call, signals)
        if rule in _MIXING or isinstance(rule, Average | FixedMap):
            return self._mixture(step, call, first, shape)
        if len(signals) == 1:
            return self._scaled(step, call, first.expand(shape))
        # What each operand is multiplied by: a sum is linear.
        units = torch.eye(len(signals), dtype=torch.float64)
        factors = [float(rule(call, *unit)) for unit in units]  # type: ignore[arg-type]
        return self.sums.add(step.node, step.operands, signals, factors)

    def _joined(self, step: Step, call: Call, signals: list[Signal]) -> Signal:
        rule: Any = step.rule
        axes = _joint_constant_axes(call, signals)
        shape = _shape(step.node)

        def joined(tensors: list[Tensor]) -> Tensor:
            result: Tensor = rule(call, *[narrowed(tensor, axes) for tensor in tensors])
            return result.expand(*shape)

        ids = joined([signal.ids for signal in signals])
        if all(signal.gain is None for signal in signals):
            return Signal(ids)
        return Signal(ids, joined([signal.gains for signal in signals]))

    def _mixture(self, step: Step, call: Call, signal: Signal, shape: tuple[int, ...]) -> Signal:
        rule: Any = step.rule
        apart = self.exact or self.split
        if rule is windows.mean or rule is windows.total:
            mean = rule is windows.mean
            return mix_axes(self.nodes, call, signal, shape, reduced_axes(call), mean, apart)
        if rule is windows.fold:
            return mix_folded(self.nodes, call, signal, shape, self.exact)
        if rule is attention:
            return mix_values(self.nodes, call, signal, shape, apart)
        if isinstance(rule, Average):
            on_the_left = step.node.args[0] is step.operands[0]
            axis = -1 if on_the_left or len(signal.shape) == 1 else -2
            return mix_product(self.nodes, call, axis, rule.size, signal, shape, apart)
        if isinstance(rule, FixedMap):
            return mix_fixed(self.nodes, self.by_element, rule, call, signal, self.exact)
        if not self.exact:
            axes = spatial_axes(call)
            images = [g for g in self.by_element if self.first_kinds.get(g.node) == "conv"]
            check_channels(self.nodes, images, signal.ids.flatten(-axes).flatten(0, -2))
        return mix_windows(self.nodes, call, rule, signal, shape, self.exact)

    def _opaque(self, step: Step, call: Call, signals: list[Signal]) -> Signal:
        rule: Any = step.rule
        if isinstance(rule, All):
            return unknown(self.nodes, call, signals, self.exact)
        if isinstance(rule, Even):
            return even(self.nodes, call, rule, signals[0], self.exact)
        if isinstance(rule, Written):
            terms = written(self.nodes, call, rule, signals)
        elif isinstance(rule, Crossed):
            terms = crossed(self.nodes, call, rule, signals, self.exact)
        else:
            terms = [signal.expand(_shape(step.node)) for signal in signals]
        if len(terms) == 1:
            return terms[0]
        total = terms[0]
        for count, term in enumerate(terms[1:], start=2):
            operands = step.operands[:count]
            total = self.sums.add(step.node, operands[-2:], [total, term], [1.0, 1.0])
        return total

    def _scaled(self, step: Step, call: Call, signal: Signal) -> Signal:
        rule: Any = step.rule
        ones = torch.ones((), dtype=torch.float64).expand(signal.ids.shape)
        factor = rule(call, narrowed(ones, constant_axes(ones))).expand(signal.ids.shape)
        if rule is rules.scaled and not bool((factor > 0).all()):
            constants = [n for n in step.node.all_input_nodes if n not in step.operands]
            if not any(learnt(self.plan.trace, node) for node in constants):
                # A constant 0 cuts the connection; a learnt one is a weight of value 0.
                same = constant_axes(signal.ids, factor)
                held = narrowed(factor, same) > 0
                ids = torch.where(held, narrowed(signal.ids, same), 0)
                signal = Signal(ids.expand(signal.ids.shape), signal.gain, signal.spread)
        return signal.times(factor)

    def _weighted(self, step: Step) -> Signal:
        op = step.operator
        assert op is not None
        form = Form.of(op)
        if op.kind == "embedding":
            readings = [vocabulary(self.nodes, op, form, self.exact)]
        else:
            signal = self._signal(step.operands[0])
            readings = reads(self.nodes, self.by_element, op, form, signal, self.exact, self.split)
        shape = shape_of(op.node)
        if self.exact:
            index = torch.arange(int(np.prod(shape))).reshape(shape)
        else:
            index = form.by_row(torch.arange(form.groups * form.rows))
        size = int(np.prod(shape)) if self.exact else form.groups * form.rows
        ids = torch.zeros((), dtype=torch.long)
        for reading in readings:
            own = index if len(readings) == 1 else _at_places(form, index, reading.places)
            group = self.nodes.add("layer", size, op.node, narrowed(own, constant_axes(own)))
            group.reading = reading
            group.shape = (shape[1:] if shape[0] == 1 else shape) if self.exact else None
            if len(readings) == 1:
                ids = _numbered(form, index, group.start + 1, self.exact)
            else:
                ids = torch.where(own >= 0, own + group.start + 1, ids)
        signal = Signal(ids)
        if op.kind == "addmm":
            call = Call(step.node, self.constants, step.operands)  # type: ignore[arg-type]
            for reading in readings:
                reading.factor = abs(float(call["alpha"]))
            if len(step.operands) > 1:
                added = self._signal(step.operands[1])
                beta = abs(float(call["beta"]))
                operands = (step.node, step.operands[1])
                return self.sums.add(step.node, operands, [signal, added], [1.0, beta])
        return signal


_MOVING = (
    None,
    rules.readdress,
    rules.broadcast,
    rules.pad,
    rules.join,
    rules.scatter,
    rules.first_half,
    rules.chosen,
)

_MIXING = (
    attention,
    windows.window_mean,
    windows.adaptive_mean,
    windows.as_is,
    windows.bilinear,
    windows.fold,
    windows.mean,
    windows.total,
)


def _numbered(form: Form, index: Tensor, start: int, exact: bool) -> Tensor:
    """Return the ids of a result's elements, with stride 0 along positions if it can be."""
    if exact:
        return index + start
    return form.by_row(torch.arange(start, start + form.groups * form.rows))


def _at_places(form: Form, index: Tensor, places: np.ndarray | None) -> Tensor:
    """Return the index with -1 at all other places of the result."""
    if places is None:
        return index
    inside = torch.zeros(form.groups, form.rows, form.places().shape[1], dtype=torch.bool)
    inside[..., torch.from_numpy(places)] = True
    order = form.result(torch.arange(index.numel()).reshape(index.shape)).reshape(-1)
    flat = torch.zeros(index.numel(), dtype=torch.bool)
    flat[order] = inside.reshape(-1)
    return torch.where(flat.reshape(index.shape), index, -1)


def _in_order(plan: Plan) -> Iterator[tuple[Step, bool, list[fx.Node]]]:
    """Yield each step, whether paths take it, and the nodes whose values are not needed after."""
    place = {node: k for k, node in enumerate(plan.trace.graph.nodes)}
    steps = sorted(
        [*((step, True) for step in plan.steps), *((step, False) for step in plan.beside)],
        key=lambda entry: place[entry[0].node],
    )
    last: dict[fx.Node, int] = {}
    for k, (step, _) in enumerate(steps):
        last.update(dict.fromkeys((*step.operands, *step.node.all_input_nodes), k))
    done: dict[int, list[fx.Node]] = {}
    for node, k in last.items():
        if node not in plan.outputs:
            done.setdefault(k, []).append(node)
    for k, (step, lives) in enumerate(steps):
        yield step, lives, done.get(k, [])


def _shape(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a node's value, or of the first of its values."""
    value = node.meta["val"]
    return tuple((value if isinstance(value, Tensor) else value[0]).shape)


def _joint_constant_axes(call: Call, signals: list[Signal]) -> list[int]:
    """Return the axes along which a concatenation may be done on one entry alone."""
    listed: Any = call.node.args[0]
    if packet(call.node) is not torch.ops.aten.cat or len(listed) != len(signals):
        return []
    dims = signals[0].ids.dim()
    along = call["dim"] % dims
    tensors = [tensor for signal in signals for tensor in (signal.ids, signal.gains)]
    shared = [
        axis
        for axis in range(dims)
        if all(t.dim() == dims and t.shape[axis] > 1 and t.stride(axis) == 0 for t in tensors)
    ]
    return [axis for axis in shared if axis != along]
