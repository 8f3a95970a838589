"""Along which axes the elements of a value are different features, and along which positions.

A product of two activations is attention when features meet features: whose features are summed
over steers, whose features are left carries the paths. To tell, every feature that a weighted
operator makes gets a number, and the numbers are moved by the operators themselves, as node ids are
later (:mod:`topograph.capturing.signals`), but without any constant of the model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from topograph.capturing import rules, windows
from topograph.capturing.attention import Average, attention
from topograph.capturing.forms import Form
from topograph.capturing.opaque import Crossed
from topograph.capturing.rules import Call
from topograph.capturing.signals import on_ids, uniform_along
from topograph.capturing.steps import Step
from topograph.capturing.trace import shape_of

Marks = Tensor | tuple[Tensor, ...]

#: Feature numbers of the second factor of a product are below, those of the first above.
_HALF = 1 << 31


class Features:
    """Numbers the features of values, as far as they are asked for.

    Parameters
    ----------
    steps
        The steps found so far, in order of computation; may grow between questions.
    """

    def __init__(self, steps: dict[fx.Node, Step]) -> None:
        self._steps = steps
        self._marks: dict[fx.Node, Marks] = {}

    def along(self, node: fx.Node, axis: int) -> bool:
        """Whether elements along an axis of a value are different features."""
        return _varies(self._of(node), axis)

    def factor(self, node: fx.Node, axis: int) -> int | None:
        """Return which factor of an outer product lies along an axis; None if both, or if none."""
        marks = self._of(node)
        if not bool((marks >= _HALF).any()):
            return None
        first, second = _varies(marks // _HALF, axis), _varies(marks % _HALF, axis)
        return None if first == second else 0 if first else 1

    def _of(self, node: fx.Node) -> Tensor:
        for known in [n for n in self._steps if n not in self._marks]:
            self._marks[known] = self._made(self._steps[known])
        marks = self._marks.get(node)
        if marks is None:  # an input
            return torch.zeros((), dtype=torch.int64).expand(shape_of(node))
        return marks if isinstance(marks, Tensor) else marks[0]

    def _made(self, step: Step) -> Marks:
        node, rule = step.node, step.rule
        if step.operator is not None:
            form = Form.of(step.operator)
            return form.by_row(torch.arange(form.groups * form.rows) + 1)
        parts = [self._known(operand) for operand in step.operands]
        if step.item is not None:
            first = self._marks.get(step.operands[0])
            return first[step.item] if isinstance(first, tuple) else parts[0]
        shape = _shape(node)
        if isinstance(rule, Crossed):
            one, other = (_reduced(part, axis) for part, axis in zip(parts, (-1, -2), strict=True))
            return (one % _HALF * _HALF + other % _HALF).expand(shape)
        if isinstance(rule, Average) or rule is attention:
            return _expanded(_contracted(node, step.operands[0], parts[0]), shape)
        if rule in (windows.mean, windows.total):
            for axis in _axes(node, parts[0].dim()):
                parts[0] = _reduced(parts[0], axis)
            return _reshaped(parts[0], shape)
        if rule in (rules.readdress, rules.first_half, rules.pad, rules.join, rules.scatter):
            return _moved(step, parts, shape)
        featured = [p for p in parts if p.dim() <= len(shape) and bool((p != 0).any())]
        return _expanded(featured[0] if featured else torch.zeros((), dtype=torch.int64), shape)

    def _known(self, node: fx.Node) -> Tensor:
        marks = self._marks.get(node)
        if marks is None:
            value = node.meta["val"]
            shape = (value if isinstance(value, Tensor) else value[0]).shape
            return torch.zeros((), dtype=torch.int64).expand(shape)
        return marks if isinstance(marks, Tensor) else marks[0]


def _varies(marks: Tensor, axis: int) -> bool:
    return not uniform_along(marks, axis % marks.dim())


def _shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta["val"]
    return tuple((value if isinstance(value, Tensor) else value[0]).shape)


def _reduced(marks: Tensor, axis: int) -> Tensor:
    if marks.stride(axis) == 0:
        return marks.narrow(axis, 0, 1)
    return marks.amax(axis, keepdim=True)


def _contracted(node: fx.Node, values: fx.Node, marks: Tensor) -> Tensor:
    """Return the marks of what is averaged over the axis that a product sums over."""
    first = len(node.args) > 1 and node.args[0] is values
    return _reduced(marks, -1 if first else -2)


def _axes(node: fx.Node, dims: int) -> list[int]:
    axes: Any = node.args[1] if len(node.args) > 1 else None
    listed = axes if isinstance(axes, (tuple, list)) else [axes]
    return [a for a in listed if isinstance(a, int)] or list(range(dims))


def _expanded(marks: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return marks in a shape; along axes whose size changed only the first counts."""
    for axis in range(-1, -marks.dim() - 1, -1):
        if -axis <= len(shape) and marks.shape[axis] not in (1, shape[axis]):
            marks = _reduced(marks, axis)
    return marks.expand(shape)


def _reshaped(marks: Tensor, shape: tuple[int, ...]) -> Tensor:
    return (
        marks.reshape(shape)
        if marks.numel() == torch.Size(shape).numel()
        else marks.new_zeros(()).expand(shape)
    )


def _moved(step: Step, parts: list[Tensor], shape: tuple[int, ...]) -> Marks:
    """Return the marks of what only moves, by the rule itself where it needs no constant."""
    node = step.node
    listed = node.args[0] if step.rule is rules.join else node.args[:2]
    joined = [n for n in (listed if isinstance(listed, (tuple, list)) else []) if n is not None]
    free = {*step.operands, *(joined if step.rule in (rules.join, rules.scatter) else [])}
    if any(n not in free for n in node.all_input_nodes):
        return _expanded(parts[0], shape) if parts[0].dim() == len(shape) else _nothing(node)
    call = Call(node, None, step.operands)  # type: ignore[arg-type]
    rule: Any = step.rule
    if len(parts) > 1 or step.rule in (rules.join, rules.scatter):
        made: Marks = rule(call, *parts)
    else:
        made = on_ids(lambda tensor: rule(call, tensor), parts[0])
    return made if isinstance(made, Tensor) else tuple(made)


def _nothing(node: fx.Node) -> Marks:
    value = node.meta["val"]
    zero = torch.zeros((), dtype=torch.int64)
    if isinstance(value, Tensor):
        return zero.expand(value.shape)
    return tuple(zero.expand(part.shape) for part in value)
