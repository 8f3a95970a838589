"""How much of a network is in its graph, and what is not, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx

from topograph.capturing.opaque import Opaque
from topograph.capturing.operators import parameters_of
from topograph.capturing.plan import Plan
from topograph.capturing.rules import scaled
from topograph.capturing.trace import Trace, is_whole, shape_of
from topograph.capturing.vocabulary import CONTRACTING, MULTIPLYING, SOFTMAX
from topograph.capturing.weights import Operator, operators, packet, public_name


@dataclass(frozen=True)
class Coverage:
    """What was modelled of a captured network.

    Attributes
    ----------
    modelled, total
        Weighted operators whose weights are edges of the graph, and all of them.
    missing
        (operator, reason) of the others.
    verified
        Units whose influence on the network was checked against the graph.
    notes
        What else a reader should know.
    opaque
        (operator, module, reason) of the operators on paths that count as an even average of all
        that they may depend on.
    partly
        (operator, rows left out, rows) of those of which a part of the rows are queries, keys or
        gates, and no nodes of the graph.

    Examples
    --------
    >>> print(Coverage(2, 3, (("attention.query", "query or key of an attention"),)))
    2 of 3 weighted operators modelled; not attention.query (query or key of an attention)
    """

    modelled: int
    total: int
    missing: tuple[tuple[str, str], ...] = ()
    verified: int = 0
    notes: tuple[str, ...] = ()
    opaque: tuple[tuple[str, str, str], ...] = ()
    partly: tuple[tuple[str, int, int], ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.modelled} of {self.total} weighted operators modelled"]
        if self.missing:
            listed = [f"{name} ({reason})" for name, reason in self.missing[:8]]
            more = len(self.missing) - len(listed)
            parts.append("not " + ", ".join(listed) + (f" and {more} more" if more else ""))
        if self.verified:
            parts.append(f"influence of {self.verified} units verified")
        return "; ".join([*parts, *self.opaque_lines(), *self.notes])

    def opaque_lines(self) -> list[str]:
        """Return a sentence for each reason why operators are opaque."""
        alike: dict[tuple[str, str], list[str]] = {}
        for name, module, reason in self.opaque:
            alike.setdefault((name, reason), []).append(module)
        lines = []
        for (name, reason), modules in alike.items():
            named = [module for module in modules if module]
            where = f" in {named[0]}" if named else ""
            more = f" and {len(modules) - 1} more" if len(modules) > 1 else ""
            lines.append(f"opaque: {name}{where}{more} ({reason})")
        return lines


def partly_note(partly: Sequence[tuple[str, int, int]]) -> str:
    """Return one sentence for all operators of which rows are left out.

    Examples
    --------
    >>> partly_note([("blocks.0.attn.qkv", 384, 576), ("blocks.1.attn.qkv", 384, 576)])
    'of 2 fused projections (blocks.*.attn.qkv) the query, key and gate rows, 768 of 1,152, are
    left out'
    """
    names = list(dict.fromkeys(re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name, _, _ in partly))
    listed = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    what = f"the fused projection {partly[0][0]}"
    if len(partly) > 1:
        what = f"{len(partly)} fused projections ({listed})"
    left, rows = sum(entry[1] for entry in partly), sum(entry[2] for entry in partly)
    return f"of {what} the query, key and gate rows, {left:,} of {rows:,}, are left out"


def missing_operators(trace: Trace, plan: Plan) -> tuple[tuple[str, str], ...]:
    """Return name and reason for every use of a weight that lies on no path."""
    modelled = set(plan.operators)
    live = {step.node: set(step.operands) for step in plan.steps}
    steps = {step.node for step in (*plan.steps, *plan.beside)}

    def reason_of(op: Operator) -> str:
        if op.kind == "embedding" and op.node not in steps:
            return "looked up by an index that is computed"
        return _reason(op.node, live)

    missing = [(op.name, reason_of(op)) for op in operators(trace) if op not in modelled]
    known = {source.name for source in trace.sources.values()}
    for step in plan.steps:
        if isinstance(step.rule, Opaque) and step.operator is None:
            owners = [
                owner
                for node in step.made_by.all_input_nodes
                if not trace.varies(node) and len(shape_of(node)) > 1
                for owner in parameters_of(trace, node)
            ]
            reason = f"read by the opaque {step.made_by.target}"
            missing += [(public_name(owner.name, known), reason) for owner in owners]
        elif step.rule is scaled:
            # A factor for every channel is a gain; a matrix of them may be a weight written out.
            owners = [
                owner
                for node in step.node.all_input_nodes
                if not trace.varies(node) and sum(size > 1 for size in shape_of(node)) > 1
                for owner in parameters_of(trace, node)
            ]
            reason = "multiplies element by element: a factor, no connection"
            missing += [(public_name(owner.name, known), reason) for owner in owners]
    return tuple(dict.fromkeys(missing))


def unmodelled_values(trace: Trace, plan: Plan) -> list[str]:
    """Return notes on inputs and returned values that are none of the graph's."""
    notes = [
        f'the input "{node.name}" lies on no path'
        for node in trace.inputs
        if node not in plan.inputs
    ]
    notes += _beside(trace)
    left = [node for node in trace.outputs if node not in plan.outputs]
    on = sum(not is_whole(node) for node in left)
    if on:
        notes.append(
            f"{on} returned value{'s lead' if on > 1 else ' leads'} on to another and "
            f"{'are' if on > 1 else 'is'} no output"
        )
    if len(left) > on:
        notes.append(f"{len(left) - on} returned of whole numbers or truth values: no output")
    return notes


def _beside(trace: Trace) -> list[str]:
    """Return notes on the weights that are multiplied with no activation: tables, or unused."""
    used = {s.name for op in operators(trace) for s in parameters_of(trace, op.leaf)}
    idle: list[str] = []
    constant: list[str] = []
    for node in trace.graph.nodes:
        source = trace.sources.get(node.name)
        if source is None or source.kind != "parameter" or source.name in used:
            continue
        if node.meta["val"].dim() > 1:
            (constant if node.users else idle).append(source.name)
    notes = []
    if constant:
        notes.append(f"constants here (tables, factors): {_listed(constant)}")
    if idle:
        notes.append(f"not used by the forward: {_listed(idle)}")
    return notes


def _listed(names: list[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _reason(node: fx.Node, live: dict[fx.Node, set[fx.Node]]) -> str:
    """Say why no path runs through a node, from where its value meets the paths."""
    queue: list[tuple[fx.Node, bool]] = [(node, False)]
    seen: set[fx.Node] = set()
    while queue:
        current, scored = queue.pop(0)
        if current in seen:
            continue
        seen.add(current)
        for user in current.users:
            if user in live and current not in live[user]:
                if packet(user) in MULTIPLYING:
                    return "gate"
                if scored or "attention" in str(user.target):
                    return "query or key of an attention"
                if packet(user) in CONTRACTING:
                    return "weighs what an attention reads"
                return f"only steers {user.target}"
            queue.append((user, scored or packet(user) in SOFTMAX))
    return "no path leads from it to the outputs"
