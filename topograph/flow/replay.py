"""What values a traced model has when it is made linear: weights |θ|, gates 1, no bias.

The steps of a :class:`~topograph.capturing.plan.Plan` are run on tensors of one sample, with
today's constants. What weighted operators do may be replaced, and any value may be given
beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

import torch
from torch import Tensor, fx

from topograph.capturing.plan import Plan
from topograph.capturing.rules import Call, apply_weight, plus_bias_signal
from topograph.capturing.steps import Step
from topograph.capturing.trace import shape_of
from topograph.capturing.weights import Binding, Operator
from topograph.flow.blockfloat import BlockFloat
from topograph.flow.tape import Tape

Values = dict[fx.Node, BlockFloat]
#: A weighted operator on the mantissas of its signal: linear, with coefficients of at least 0.
Weighted = Callable[[Operator, Tensor], Tensor]


def replay(
    plan: Plan,
    binding: Binding,
    *,
    leaf: Callable[[Operator], Tensor] | None = None,
    weighted: Weighted | None = None,
    given: Mapping[fx.Node, Tensor] | None = None,
    keep: Collection[fx.Node] = (),
    tape: Tape | None = None,
    again: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Values:
    """Run the linearised model on an all-ones input.

    Parameters
    ----------
    plan, binding
        What to run, with which constants.
    leaf
        The weight of an operator in its leaf's shape, nonnegative; |θ ⊙ m| by default.
    weighted
        Does what weighted operators do, instead of multiplying by ``leaf(op)``.
    given
        Values taken for nodes instead of computing them (or, for inputs, instead of ones).
    keep
        Nodes whose values are wanted, besides those of the outputs.
    tape
        Records what gradients need; the gradients with respect to leaves are kept under the
        operators' names.
    again
        Whether the tape makes each leaf anew on the way back, and keeps none.
    dtype
        ``torch.float64`` or ``torch.float32``.

    Returns
    -------
    dict
        Node to :class:`BlockFloat`, for the inputs, the outputs and ``keep`` (those of them that
        lie on paths to the outputs). Nodes that only pass a signal on share its block.
    """
    given = given or {}
    tape = tape or Tape(recording=False)
    weights = leaf or partial(_magnitude, binding, dtype)

    def made(op: Operator) -> Tensor | Callable[[], Tensor]:
        return partial(weights, op) if again else weights(op)

    device = _device(plan, binding)
    values: dict[fx.Node, BlockFloat | tuple[BlockFloat, ...]] = {}
    lasting = {*plan.inputs, *plan.outputs, *keep}
    found: Values = {}

    def store(node: fx.Node, value: BlockFloat | tuple[BlockFloat, ...]) -> None:
        values[node] = value
        if node in lasting:
            found[node] = _single(value)

    for node in plan.inputs:
        ones = torch.ones(shape_of(node), dtype=dtype, device=device)
        store(node, BlockFloat(given[node].to(ones) if node in given else ones))
    for index, step in enumerate(plan.steps):
        if step.node in given:
            store(step.node, BlockFloat(given[step.node]))
        else:
            store(step.node, _run(step, binding, values, made, weighted, tape))
        for node in plan.last_use.get(index, ()):
            del values[node]
    return found


def _run(
    step: Step,
    binding: Binding,
    values: Mapping[fx.Node, BlockFloat | tuple[BlockFloat, ...]],
    weights: Callable[[Operator], Tensor | Callable[[], Tensor]],
    weighted: Weighted | None,
    tape: Tape,
) -> BlockFloat | tuple[BlockFloat, ...]:
    first = values[step.operands[0]]
    if step.item is not None:
        return first[step.item] if isinstance(first, tuple) else first
    if step.operator is None and step.rule is None:
        return first
    operands = [_single(values[node]) for node in step.operands]
    call = Call(step.node, binding, step.operands)
    op = step.operator
    if op is None:
        assert step.rule is not None
        results = tape.apply(partial(step.rule, call), operands, rescaling=step.rescaling)
        return results if step.splits else results[0]
    if weighted is not None:
        (product,) = tape.apply(partial(weighted, op), operands[:1])
    else:
        (product,) = tape.apply(
            lambda signal, weight: apply_weight(op, call, signal, op.readdress(weight)),
            operands[:1],
            weight=weights(op),
            key=op.name,
        )
    if len(operands) > 1:
        (product,) = tape.apply(partial(plus_bias_signal, call), [product, operands[1]])
    return product


def _single(value: BlockFloat | tuple[BlockFloat, ...]) -> BlockFloat:
    return value if isinstance(value, BlockFloat) else value[0]


def _magnitude(binding: Binding, dtype: torch.dtype, op: Operator) -> Tensor:
    return binding.magnitude(op).to(dtype)


def _device(plan: Plan, binding: Binding) -> torch.device:
    for op in plan.operators:
        return binding.weight(op).device
    return torch.device("cpu")
