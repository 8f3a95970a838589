"""Whether a channel graph carries the path weight of its network in which a channel is one value.

At channel granularity a node stands for all positions at which it is. So the graph is right if it
has, at every node, the path weight of the network that is *collapsed*: wherever a group of nodes
is read off, all elements of a node take the mean of their values, and a weight is the sum of its
kernel over the taps. This network is run here on tensors, by the rules of the tensor path and
without ids; what the operators read in it is held against what the graph says.

Invariant: an element that reads no node (padding, a class token before the first block) is left
out of every mean, as the graph leaves it out: the *presence* of each element runs
beside its value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from topograph.capturing import rules, windows
from topograph.capturing.attention import Average, attention
from topograph.capturing.edges import column_reads
from topograph.capturing.fixed import FixedMap
from topograph.capturing.forms import Form
from topograph.capturing.layout import Layout
from topograph.capturing.opaque import Crossed, Opaque
from topograph.capturing.picking import Picked
from topograph.capturing.plan import Plan, plan
from topograph.capturing.rules import Call
from topograph.capturing.steps import Step
from topograph.capturing.trace import Trace
from topograph.capturing.weights import Binding, Operator, learnt
from topograph.capturing.wiring import Site, Wiring
from topograph.errors import TopographError
from topograph.flow.blockfloat import BlockFloat, normalised
from topograph.graph.layered import LayeredGraph
from topograph.paths import path_sums

#: How far logarithms may be apart.
_TOLERANCE = 1e-8


def check_collapse(trace: Trace, binding: Binding, layout: Layout, graph: LayeredGraph) -> int:
    """Check the path weight of every node of a channel graph against the collapsed network.

    Parameters
    ----------
    trace, binding, layout, graph
        The traced model, its constants, its layout and its graph (``granularity="channel"``,
        ``norm="identity"``).

    Returns
    -------
    int
        Number of weighted operators checked, all of which agree; 0 where the network has opaque
        operators other than reads by index, for which the check is not made.

    Raises
    ------
    TopographError
        If an operator reads another path weight than the graph says, or a node gets another.

    Examples
    --------
    >>> from torch import nn
    >>> from topograph.capturing import capture
    >>> from topograph.capturing.layout import layout
    >>> from topograph.capturing.trace import trace
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(2, 1, 2))
    >>> example = torch.zeros(1, 1, 4, 4)
    >>> traced = trace(model, example)
    >>> binding = Binding(traced, model)
    >>> check_collapse(traced, binding, layout(traced, binding), capture(model, example))
    2
    """
    if layout.granularity != "channel":
        raise TopographError(
            f'the layout has granularity "{layout.granularity}"; expected "channel"',
            "at unit granularity compare with the tensor path",
        )
    steps = plan(trace)
    if any(isinstance(s.rule, Opaque) and not isinstance(s.rule, Picked) for s in steps.steps):
        return 0
    found = _Collapsed(steps, binding, layout).read
    phi = path_sums(graph).log_complexity
    total = np.full(layout.n_nodes, -np.inf)
    for wiring in layout.operators:
        read = _read(layout, wiring, phi)
        op = wiring.operator
        if op in found:
            _compare(found[op], read, f'what "{op.name}" reads')
        _add_to(total, wiring, read, binding)
    for block in layout.identity:
        source, target = layout.nodes(block.source), layout.nodes(block.target)
        top = phi[source].max()
        if np.isfinite(top):
            with np.errstate(divide="ignore"):
                carried = np.log(block.matrix @ np.exp(phi[source] - top)) + top
            total[target] = np.logaddexp(total[target], carried)
    for name, group in layout.groups.items():
        if name not in layout.inputs:
            _compare(total[group.slice], phi[group.slice], f'what reaches "{name}"')
    return len(layout.operators)


def _compare(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    found, expected = found.reshape(-1), expected.reshape(-1)
    same = found == expected  # -inf included
    with np.errstate(invalid="ignore"):
        same |= np.abs(found - expected) <= _TOLERANCE * np.maximum(1, np.abs(expected))
    if not same.all():
        worst = int(np.flatnonzero(~same)[0])
        raise TopographError(
            f"the path weight of {what} differs: at {worst} of {len(same):,} "
            f"({int((~same).sum()):,} differ) its logarithm is {found[worst]:.9g} in the collapsed "
            f"network and {expected[worst]:.9g} in the graph",
            "this is an error of topograph: please report it with the model",
        )


def _read(layout: Layout, wiring: Wiring, phi: np.ndarray) -> np.ndarray:
    """Return the log of what each column (groups, columns) reads by the graph."""
    reads = column_reads(layout, wiring.sources.reshape(-1))
    used = np.unique(reads.indices)
    top = phi[used].max() if len(used) else -np.inf
    if not np.isfinite(top):
        return np.full(wiring.sources.shape, -np.inf)
    known = np.zeros(len(phi))
    known[used] = np.exp(phi[used] - top)
    read = (reads @ known).reshape(wiring.sources.shape)
    if wiring.gain is not None:
        read = read * wiring.gain
    with np.errstate(divide="ignore"):
        logs: np.ndarray = np.log(read) + top
    return logs


def _add_to(total: np.ndarray, wiring: Wiring, read: np.ndarray, binding: Binding) -> None:
    """Add to the log of what every node gets what an operator gives it."""
    top = read.max()
    if not np.isfinite(top):
        return
    rows = _kernel(wiring.operator, wiring.form, binding).numpy() @ np.exp(read - top)[..., None]
    rows = rows.reshape(-1)
    if wiring.factor is not None:
        rows = rows * wiring.factor
    held = wiring.targets >= 0
    with np.errstate(divide="ignore"):
        np.logaddexp.at(total, wiring.targets[held], np.log(rows[held]) + top)


def _kernel(op: Operator, form: Form, binding: Binding) -> Tensor:
    """Return Σ |θ| over taps: (groups, rows, columns), float64."""
    return form.weight(op.readdress(binding.magnitude(op)).cpu()).sum(-1, dtype=torch.float64)


class _Collapsed:
    """The collapsed network of a plan: what its weighted operators read."""

    def __init__(self, steps: Plan, binding: Binding, layout: Layout) -> None:
        self.plan, self.binding = steps, binding
        self.sites = {site.node: site for site in layout.sites.values()}
        #: Log of the mean that each column (groups, columns) reads, by operator.
        self.read: dict[Operator, np.ndarray] = {}
        self.values: dict[fx.Node, _Values] = {}
        for node in steps.inputs:
            one = torch.ones((), dtype=torch.float64).expand(node.meta["val"].shape)
            self.values[node] = ((_Value(one, one > 0, 0)),)
        for index, step in enumerate(steps.steps):
            self.values[step.node] = self._run(step)
            for node in steps.last_use.get(index, ()):
                del self.values[node]

    def _run(self, step: Step) -> _Values:
        operands = [self.values[node] for node in step.operands]
        if step.item is not None:
            return (operands[0][step.item if len(operands[0]) > 1 else 0],)
        if step.operator is None and step.rule is None:
            return operands[0]
        given = _aligned([values[0] for values in operands])
        call = Call(step.node, self.binding, step.operands)
        if step.operator is not None:
            value = self._weighted(step.operator, given[0])
            if len(given) > 1:  # an activation in an addmm's place for a bias
                one, other = _aligned([value, given[1]])
                value = self._sum(step, call, [one, other], partial(rules.plus_bias_signal, call))
            return (value,)
        rule: Any = step.rule
        if isinstance(rule, FixedMap):
            return (self._fixed(rule, call, given[0]),)
        if isinstance(rule, Crossed):
            terms = [
                _Value(
                    rule.term(call, position, value.tensor),
                    rule.term(call, position, value.present.to(torch.float64)) > 0,
                    value.exponent,
                )
                for position, value in enumerate(given)
            ]
            return (self._sum(step, call, terms, torch.add),)
        if isinstance(rule, Average | Picked) or rule in _MEANS:
            whole = 1.0 if rule in _WINDOWS and not _divides(call) else None
            return (_average(partial(rule, call), given[0], whole),)
        if len(given) > 1 and rule not in _TAKING:
            return (self._sum(step, call, given, partial(rule, call)),)
        moved = rule(call, *(value.tensor for value in given))
        there = self._presence(step, call, given)
        if isinstance(moved, Tensor):
            return (_Value(moved, there[0], given[0].exponent),)
        return tuple(_Value(t, p, given[0].exponent) for t, p in zip(moved, there, strict=True))

    def _presence(self, step: Step, call: Call, given: list[_Value]) -> tuple[Tensor, ...]:
        """Return which elements of what is only moved or multiplied read a node."""
        rule: Any = step.rule
        if rule is rules.scaled and any(
            learnt(self.plan.trace, n) for n in step.node.all_input_nodes if n not in step.operands
        ):
            rule = rules.broadcast  # a learnt 0 is a connection
        made = rule(call, *(value.present.to(torch.float64) for value in given))
        return tuple(t > 0 for t in ((made,) if isinstance(made, Tensor) else made))

    def _sum(self, step: Step, call: Call, terms: list[_Value], rule: Callable[..., Any]) -> _Value:
        """Add up; where a group is read off, each term's elements of one node at their mean."""
        shape = step.node.meta["val"].shape
        terms = [t.expand(shape) for t in _aligned(terms)]
        present = torch.stack([term.present for term in terms]).any(0)
        site = self.sites.get(step.node)
        if site is not None and step.operator is None:
            terms = [_evened(site, term) for term in terms]
            present = (site.index >= 0).expand(shape)
        return _Value(rule(*(term.tensor for term in terms)), present, terms[0].exponent)

    def _weighted(self, op: Operator, value: _Value) -> _Value:
        form = Form.of(op)
        kernel = _kernel(op, form, self.binding)
        if op.kind == "embedding":  # which reads its vocabulary, every token at 1
            rows = kernel.sum(-1)
        else:
            columns = _mean(form, value)
            with np.errstate(divide="ignore"):
                self.read[op] = np.log(columns.numpy()) + value.exponent * math.log(2)
            rows = (kernel @ columns[..., None])[..., 0]
        block = normalised(BlockFloat(rows.reshape(-1), value.exponent))
        result = form.by_row(block.mantissa)
        return _Value(result, torch.ones((), dtype=torch.bool).expand(result.shape), block.exponent)

    def _fixed(self, rule: FixedMap, call: Call, value: _Value) -> _Value:
        """Multiply by a constant as by a weight: columns at their mean, taps added up."""
        form = rule.form
        kernel = form.weight(rule.magnitude(call)).sum(-1)
        rows = (kernel @ _mean(form, value)[..., None])[..., 0].reshape(-1)
        there = form.signal(value.present.to(torch.float64)).amax(-1)
        there = ((kernel > 0).double() @ there[..., None])[..., 0].reshape(-1)
        return _Value(form.by_row(rows), form.by_row(there) > 0, value.exponent)


@dataclass(frozen=True)
class _Value:
    """Numbers times a power of two, and which of them read any node."""

    tensor: Tensor
    present: Tensor
    exponent: int

    def expand(self, shape: Sequence[int]) -> _Value:
        return _Value(self.tensor.expand(*shape), self.present.expand(*shape), self.exponent)


_Values = tuple[_Value, ...]

#: Means over windows: those that reach into the padding count as one in the middle.
_WINDOWS = (windows.window_mean, windows.adaptive_mean, windows.as_is, windows.bilinear)

_MEANS = (*_WINDOWS, attention, windows.fold, windows.mean)

#: Rules of several operands that take each element from one of them.
_TAKING = (rules.join, rules.scatter, rules.chosen)


def _aligned(values: list[_Value]) -> list[_Value]:
    """Return values of one exponent, the largest."""
    top = max(value.exponent for value in values)
    return [
        value
        if value.exponent == top
        else _Value(
            torch.ldexp(value.tensor, torch.tensor(value.exponent - top)), value.present, top
        )
        for value in values
    ]


def _divides(call: Call) -> bool:
    """Whether a pooling divides by a number of its own instead of its window's size."""
    names = [argument.name for argument in call.node.target._schema.arguments]  # type: ignore
    return "divisor_override" in names and call["divisor_override"] is not None


def _average(rule: Callable[[Tensor], Any], value: _Value, whole: float | None = None) -> _Value:
    """Return the mean over those elements that read something, times what a whole window adds to.

    By default that is the most that any window does.
    """
    part = rule(value.present.to(torch.float64))
    if whole is None:
        ones = torch.ones((), dtype=torch.float64).expand(value.present.shape)
        whole = float(rule(ones).amax())
    held = part > 0
    mean = rule(value.tensor) / torch.where(held, part, 1)
    return _Value(mean * held * whole, held, value.exponent)


def _mean(form: Form, value: _Value) -> Tensor:
    """Return each column's mean over the positions at which it reads something."""
    values, held = form.signal(value.tensor), form.signal(value.present.to(torch.float64))
    return values.sum(-1) / held.sum(-1).clamp(min=1)


def _evened(site: Site, value: _Value) -> _Value:
    """Return every element that is a node's at the mean of the node's elements that are present."""
    dims = value.tensor.dim()
    index = site.index.reshape(*[1] * (dims - site.index.dim()), *site.index.shape)
    same = [axis for axis in range(dims) if index.shape[axis] == 1]
    held = value.present.to(torch.float64)
    sums = (value.tensor * held).sum(same, keepdim=True) if same else value.tensor * held
    counts = held.sum(same, keepdim=True) if same else held
    nodes = index.reshape(-1)
    known = nodes >= 0
    total = torch.zeros(2, int(nodes.max()) + 1, dtype=torch.float64)
    total[0].index_add_(0, nodes[known], sums.reshape(-1)[known])
    total[1].index_add_(0, nodes[known], counts.reshape(-1)[known])
    mean = torch.cat([total[0] / total[1].clamp(min=1), torch.zeros(1, dtype=torch.float64)])
    return _Value(mean[index].expand(value.tensor.shape), value.present, value.exponent)
