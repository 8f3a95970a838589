"""Which steps do the paths of a traced model take from its inputs to its outputs.

Decided once a trace, without weights. Only what the outputs need along paths is kept, so that an
operator without a rule counts as opaque only where a path has to pass it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx

from topograph.capturing.opaque import Opaque
from topograph.capturing.planning import Planner
from topograph.capturing.rules import multiply_adds
from topograph.capturing.steps import Step
from topograph.capturing.trace import Trace, is_whole, place_of, scope_of
from topograph.capturing.weights import Operator
from topograph.check import check_choice
from topograph.errors import TopographError


@dataclass(frozen=True, eq=False)
class Plan:
    """The steps that the paths of a traced model take, in order of computation.

    Attributes
    ----------
    steps
        What is needed of the graph, inputs left out.
    inputs, outputs
        The placeholders and the returned nodes that lie on paths.
    last_use
        Index of a step to the nodes whose values no later step needs.
    multiply_adds
        Multiplications of weights for one sample.
    beside
        The steps that no path to the outputs takes: they lead to gates, queries and keys.
    """

    trace: Trace
    steps: tuple[Step, ...]
    inputs: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]
    last_use: dict[int, tuple[fx.Node, ...]]
    multiply_adds: int
    beside: tuple[Step, ...] = ()

    @property
    def opaque(self) -> tuple[tuple[str, str, str], ...]:
        """Operator, module and reason of what is not known, or depends on the data, on paths."""
        found: list[tuple[str, str, str]] = []
        for step in self.steps:
            if isinstance(step.rule, Opaque) and step.rule.reason:
                module = scope_of(step.made_by)[0]
                found.append((str(step.made_by.target), module, step.rule.reason))
        return tuple(dict.fromkeys(found))

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The uses of weights that paths run through."""
        return tuple(step.operator for step in self.steps if step.operator is not None)


def plan(trace: Trace, norm: str = "identity") -> Plan:
    """Return the steps of a trace's paths (computed once).

    Parameters
    ----------
    trace
        A traced model.
    norm
        ``"identity"``: normalisations are transparent; ``"scale"``: they multiply by |γ|/√(var+ε).

    """
    # A plan refers to its trace, so a table by trace would keep both for ever.
    known: dict[str, Plan] = trace.__dict__.setdefault("_plans", {})
    if norm not in known:
        planner = Planner(trace, norm)
        planner.run()
        known[norm] = _needed(planner)
    return known[norm]


def check_opaque(plan: Plan, opaque: str) -> None:
    """Refuse a plan with opaque operators if ``opaque`` is ``"refuse"``.

    Raises
    ------
    TopographError
        That names the first opaque operator and its module; or for another value than ``"group"``.
    """
    check_choice(opaque, "opaque", ("group", "refuse"))
    for step in plan.steps if opaque == "refuse" else ():
        if isinstance(step.rule, Opaque) and step.rule.reason:
            raise TopographError(
                f"{place_of(step.made_by)} is opaque: {step.rule.reason}",
                'pass opaque="group" to take it as an even average, take the part of the model '
                "before or after it, or replace it by operators that have a rule (linear, "
                "convolution, pooling, re-addressing, sums, gates, pointwise functions)",
            )


def _final(returned: list[fx.Node]) -> list[fx.Node]:
    """Leave out what is returned and led on to another returned value as well.

    An encoder's states beside the decoder's logits, hidden states and cached keys and values are
    no final layer's; numbers that are whole or true and false are no pre-activations.
    """
    numbers = [node for node in returned if not is_whole(node)] or returned
    before: set[fx.Node] = set()
    queue = list(numbers)
    seen: set[fx.Node] = set()
    while queue:
        node = queue.pop()
        for operand in node.all_input_nodes:
            before.add(operand)
            if operand not in seen:
                seen.add(operand)
                queue.append(operand)
    return [node for node in numbers if node not in before]


def _needed(planner: Planner) -> Plan:
    """Keep what the outputs need along paths."""
    trace = planner.trace
    outputs = _final([node for node in trace.outputs if node in planner.facts])
    live: set[fx.Node] = set(outputs)
    for node in reversed(trace.graph.nodes):
        if node in live and node in planner.steps:
            live.update(planner.steps[node].operands)
    steps = tuple(step for node, step in planner.steps.items() if node in live)
    last: dict[fx.Node, int] = {}
    for index, step in enumerate(steps):
        last.update(dict.fromkeys(step.operands, index))
    freed: dict[int, tuple[fx.Node, ...]] = {}
    for node, index in last.items():
        if node not in outputs:
            freed[index] = (*freed.get(index, ()), node)
    return Plan(
        trace,
        steps,
        tuple(node for node in trace.inputs if node in live),
        tuple(outputs),
        freed,
        sum(multiply_adds(s.operator) for s in steps if s.operator is not None),
        tuple(step for node, step in planner.steps.items() if node not in live),
    )
