"""Whether a graph's nodes are connected as the network's values are: who is moved by one unit.

One unit is set to 1 in the linearised network, every other weighted operator to 0. What then is not
0 in the inputs of the weighted operators must be exactly what the layout says they read of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, fx

from topograph.capturing.compose import from_entries
from topograph.capturing.edges import column_reads
from topograph.capturing.layout import Layout
from topograph.capturing.plan import Plan, plan
from topograph.capturing.steps import Step
from topograph.capturing.trace import Trace, shape_of
from topograph.capturing.weights import Binding, Operator
from topograph.errors import TopographError
from topograph.flow.replay import replay


def check_influence(
    trace: Trace,
    binding: Binding,
    layout: Layout,
    units: int | Iterable[int] = 16,
    seed: int = 0,
) -> int:
    """Check the influence of some units against a layout.

    Parameters
    ----------
    trace, binding, layout
        The traced model, its constants and its layout (``norm="identity"``).
    units
        Node ids, or how many of them to draw: evenly over the groups.
    seed
        Of the draw.

    Returns
    -------
    int
        Number of units checked, all of which agree.

    Raises
    ------
    TopographError
        If a unit moves an input of an operator that it does not lead to, or the other way round.

    Examples
    --------
    >>> from torch import nn
    >>> from topograph.capturing.layout import layout
    >>> from topograph.capturing.trace import trace
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> traced = trace(model, torch.zeros(1, 3))
    >>> binding = Binding(traced, model)
    >>> check_influence(traced, binding, layout(traced, binding), units=5)
    5
    """
    expected = Expected(layout)
    chosen = _drawn(layout, units, seed) if isinstance(units, int) else list(units)
    steps = plan(trace)
    for unit in chosen:
        group = next(g for g in layout.groups.values() if g.start <= unit < g.stop)
        site = layout.sites[group.name]
        part = _beyond(steps, site.node)
        given = {node: torch.zeros(()).expand(shape_of(node)) for node in part.inputs}
        given[site.node] = (
            (site.index == unit - group.start).double().expand(shape_of(site.node)).clone()
        )
        moved: dict[Operator, Tensor] = {}

        def weighted(op: Operator, signal: Tensor, moved: dict = moved) -> Tensor:
            moved[op] = signal != 0
            return torch.zeros(shape_of(op.node), dtype=signal.dtype)

        replay(part, binding, weighted=weighted, given=given)
        for wiring, surely, perhaps in expected.of(unit):
            op = wiring.operator
            if op.kind == "embedding":  # which reads no other node
                continue
            found = np.zeros(len(surely), bool)
            if op in moved:
                signal = wiring.form.signal(moved[op])
                if wiring.places is not None:
                    signal = signal[..., torch.from_numpy(wiring.places)]
                if layout.granularity == "channel":
                    signal = signal.any(-1)
                found = signal.numpy().reshape(-1)
            if (surely & ~found).any() or (found & ~perhaps).any():
                raise TopographError(
                    f"the influence of {group.name}[{unit - group.start}] on the input of "
                    f'"{op.name}" is not what the graph says',
                    "this is an error of topograph: please report it with the model",
                )
    return len(chosen)


def _beyond(steps: Plan, start: fx.Node) -> Plan:
    """Return the steps that a value reaches before and in the next weighted operators.

    Everything else is 0 when all weights are; what a step reads of it is an input of the plan.
    """
    reached, beside, needed = {start}, dict[fx.Node, None](), dict[fx.Node, Step]()
    for step in steps.steps:
        arrived = [node for node in step.operands if node in reached]
        if arrived:
            beside.update((n, None) for n in step.operands if n not in reached | needed.keys())
            needed[step.node] = step
            if step.operator is None or arrived != [step.operator.signal]:
                reached.add(step.node)
    found = tuple(needed.values())
    return replace(steps, steps=found, inputs=(start, *beside), outputs=(), last_use={})


class Expected:
    """What every operator reads of a unit, by the layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        start = {name: group.start for name, group in layout.groups.items()}
        entries = [
            (block.matrix.tocoo(), start[block.target], start[block.source])
            for block in layout.identity
        ]
        n = layout.n_nodes
        carried = [(m.coords[0] + t, m.coords[1] + s, m.data) for m, t, s in entries]
        into = np.ones(n)  # which sums stand for all their positions
        for name in layout.averaged:
            into[layout.nodes(name)] = 0
        self.exact = into
        parts = [np.concatenate(part) for part in zip(*carried, strict=True)] or [
            np.zeros(0, int)
        ] * 3
        self.identity = from_entries(parts[0], parts[1], (parts[2] != 0).astype(float), (n, n))
        self.reads = [
            (wiring, _nonzero(column_reads(layout, wiring.sources.reshape(-1)), wiring.gain))
            for wiring in layout.operators
        ]

    def of(self, unit: int) -> Iterable[tuple]:
        """Yield each wiring, and which of its columns (flat) a unit surely and perhaps moves.

        Through residual sums; through one that averages positions, perhaps.
        """
        surely = self._reached(unit, self.exact)
        perhaps = self._reached(unit, np.ones_like(self.exact))
        for wiring, reads in self.reads:
            yield wiring, (reads @ surely) > 0, (reads @ perhaps) > 0

    def _reached(self, unit: int, through: np.ndarray) -> np.ndarray:
        reached = np.zeros(self.layout.n_nodes)
        reached[unit] = 1
        new = reached
        while new.any():
            new = ((self.identity @ new) * through > 0) & (reached == 0)
            reached[new] = 1
        return reached


def _nonzero(reads: sp.csr_array, gain: np.ndarray | None) -> sp.csr_array:
    """Return 1 where a column reads a node with a factor that is not 0."""
    if gain is not None:
        reads = sp.csr_array(sp.diags_array(gain.reshape(-1).astype(float)) @ reads)
    return sp.csr_array(reads > 0).astype(float)


def _drawn(layout: Layout, count: int, seed: int) -> list[int]:
    """Draw nodes group after group, each time one not drawn before, until there are enough."""
    generator = np.random.default_rng(seed)
    waiting = [
        list(group.start + generator.permutation(group.size))
        for name, group in layout.groups.items()
        if name in layout.sites and group.kind != "output"
    ]
    order = generator.permutation(len(waiting))
    chosen: list[int] = []
    while len(chosen) < count and any(waiting):
        for k in order:
            if waiting[k] and len(chosen) < count:
                chosen.append(int(waiting[k].pop()))
    return chosen
