"""Whether a channel graph carries the path weight of its network in which a channel is one value.

At channel granularity a node stands for all positions at which it is. So the graph is right if it
has, at every node, the path weight of the network that is *collapsed*: wherever a group of nodes
is read off, all elements of a node take the mean of their values, and a weight is the sum of its
kernel over the taps. This network is run here on tensors, by the rules of the tensor path and
without ids; what the operators read in it is held against what the graph says.

Invariant: an element that reads no node (padding, a class token before the first block) is left
out of every mean, as the graph leaves it out: beside the values runs the *presence* of each element.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, fx

from topograph.capturing import rules, windows
from topograph.capturing.attention import Average, attention
from topograph.capturing.edges import column_reads
from topograph.capturing.forms import Form
from topograph.capturing.layout import Layout
from topograph.capturing.mixing import reduced_axes
from topograph.capturing.plan import Plan, plan
from topograph.capturing.rules import Call
from topograph.capturing.steps import Step
from topograph.capturing.trace import Trace
from topograph.capturing.weights import Binding, Operator, learnt
from topograph.capturing.wiring import Site, Wiring
from topograph.errors import TopographError
from topograph.flow.replay import Values, replay
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
        Number of weighted operators checked, all of which agree.

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
    values, presence = _Collapsed(plan(trace), binding, layout).run()
    phi = path_sums(graph).log_complexity
    total = np.full(layout.n_nodes, -np.inf)
    for wiring in layout.operators:
        read = _read(layout, wiring, phi)
        op = wiring.operator
        if op.kind != "embedding":  # which reads its vocabulary, every token at 1
            block = values[op.signal]
            seen = _mean(wiring.form, block.mantissa, presence[op.signal])
            with np.errstate(divide="ignore"):
                found = np.log(seen.numpy()) + block.exponent * math.log(2)
            _compare(found, read, f'what "{op.name}" reads')
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


def _mean(form: Form, signal: Tensor, present: Tensor) -> Tensor:
    """Return each column's mean over the positions at which it reads something."""
    values, held = form.signal(signal.double()), form.signal(present.double())
    return values.sum(-1) / held.sum(-1).clamp(min=1)


class _Collapsed:
    """The collapsed network of a plan."""

    def __init__(self, steps: Plan, binding: Binding, layout: Layout) -> None:
        self.plan, self.binding = steps, binding
        self.sites = {site.node: site for site in layout.sites.values()}
        self.presence: dict[fx.Node, Tensor] = {}

    def run(self) -> tuple[Values, Mapping[fx.Node, Tensor]]:
        """Return values and presence of what the weighted operators read."""
        operands = {node for step in self.plan.steps for node in step.operands}
        there = replay(
            replace(self.plan, steps=tuple(map(self._presence_step, self.plan.steps))),
            self.binding,
            weighted=lambda op, signal: torch.ones(Form.of(op).shape, dtype=signal.dtype),
            keep=operands,
        )
        self.presence = {node: (block.mantissa > 0) for node, block in there.items()}
        values = replay(
            replace(self.plan, steps=tuple(map(self._value_step, self.plan.steps))),
            self.binding,
            weighted=self._weighted,
            keep={op.signal for op in self.plan.operators},
        )
        return values, self.presence

    def _presence_step(self, step: Step) -> Step:
        if step.rule is rules.scaled and any(
            learnt(self.plan.trace, n) for n in step.node.all_input_nodes if n not in step.operands
        ):
            return replace(step, rule=rules.broadcast)  # a learnt 0 is a connection
        if step.node in self.sites and step.operator is None:
            return replace(step, rule=partial(_at_site, self.sites[step.node]))
        return step

    def _value_step(self, step: Step) -> Step:
        rule = step.rule
        if step.node in self.sites and len(step.operands) > 1 and step.operator is None:
            return replace(step, rule=partial(self._sum, step))
        if rule is windows.total:
            return replace(step, rule=partial(self._total, step))
        if isinstance(rule, Average) or rule in _MEANS:
            return replace(step, rule=partial(self._average, step))
        return step

    def _average(self, step: Step, call: Call, tensor: Tensor) -> Tensor:
        """Return the mean over those elements that read something."""
        assert step.rule is not None
        held = self.presence[step.operands[0]].to(tensor)
        part = step.rule(call, held)
        whole = step.rule(call, torch.ones_like(held))
        mean = step.rule(call, tensor)
        assert isinstance(part, Tensor)
        assert isinstance(whole, Tensor)
        assert isinstance(mean, Tensor)
        return torch.where(part > 0, mean / torch.where(part > 0, part, 1), 0) * whole.amax()

    def _total(self, step: Step, call: Call, tensor: Tensor) -> Tensor:
        assert step.rule is not None
        result = step.rule(call, tensor)
        assert isinstance(result, Tensor)
        return result

    def _sum(self, step: Step, call: Call, *tensors: Tensor) -> Tensor:
        """Add up, each operand's elements of one node at their mean."""
        assert step.rule is not None
        site = self.sites[step.node]
        shape = call.node.meta["val"].shape
        even = [
            _evened(site, tensor.expand(shape), self.presence[node].expand(shape))
            for tensor, node in zip(tensors, step.operands, strict=True)
        ]
        result = step.rule(call, *even)
        assert isinstance(result, Tensor)
        return result

    def _weighted(self, op: Operator, signal: Tensor) -> Tensor:
        form = Form.of(op)
        kernel = _kernel(op, form, self.binding)
        if op.kind == "embedding":
            rows = kernel.sum(-1)
        else:
            columns = _mean(form, signal, self.presence[op.signal])
            rows = (kernel @ columns[..., None])[..., 0]
        return form.by_row(rows.reshape(-1)).contiguous()


_MEANS = (
    attention,
    windows.window_mean,
    windows.adaptive_mean,
    windows.as_is,
    windows.bilinear,
    windows.mean,
)


def _at_site(site: Site, call: Call, *tensors: Tensor) -> Tensor:
    """Return where a group's elements are nodes."""
    held = (site.index >= 0).to(tensors[0])
    return held.expand(call.node.meta["val"].shape).contiguous()


def _evened(site: Site, tensor: Tensor, present: Tensor) -> Tensor:
    """Return every element that is a node's at the mean of the node's elements that are present."""
    index = site.index.reshape(*[1] * (tensor.dim() - site.index.dim()), *site.index.shape)
    same = [axis for axis in range(tensor.dim()) if index.shape[axis] == 1]
    held = present.to(tensor)
    sums = (tensor * held).sum(same, keepdim=True) if same else tensor * held
    counts = held.sum(same, keepdim=True) if same else held
    nodes = index.reshape(-1)
    known = nodes >= 0
    size = int(nodes.max()) + 1
    total = torch.zeros(2, size, dtype=tensor.dtype)
    total[0].index_add_(0, nodes[known], sums.reshape(-1)[known])
    total[1].index_add_(0, nodes[known], counts.reshape(-1)[known])
    mean = torch.cat([total[0] / total[1].clamp(min=1), torch.zeros(1, dtype=tensor.dtype)])
    return mean[index].expand(tensor.shape).contiguous()
