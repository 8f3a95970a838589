"""What each operator does to path weight: linear functions of tensors, one for each rule.

A rule takes a :class:`Call` and the tensors of the operands that the paths run through, and
returns the result (or results) that the linearised model has there. Every rule is linear in its
tensors, with coefficients of at least 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from topograph.capturing.trace import place_of, shape_of
from topograph.capturing.vocabulary import packets
from topograph.capturing.weights import Binding, Operator, packet
from topograph.errors import TopographError

aten = torch.ops.aten


@dataclass(frozen=True)
class Call:
    """One operator of the traced model, with today's constants.

    Attributes
    ----------
    node
        The operator's node.
    binding
        The values of the constants.
    operands
        The nodes that the paths run through, in the order of the rule's tensors.
    """

    node: fx.Node
    binding: Binding
    operands: tuple[fx.Node, ...]

    def __getitem__(self, name: str) -> Any:
        """Return an argument by its name in the operator's schema; varying nodes as they are."""
        node = self.node
        for position, argument in enumerate(node.target._schema.arguments):  # type: ignore
            if argument.name == name:
                if name in node.kwargs:
                    value: Any = node.kwargs[name]
                elif position < len(node.args):
                    value = node.args[position]
                else:
                    value = argument.default_value
                return self.constant(value)
        raise KeyError(name)

    def constant(self, value: Any) -> Any:
        """Return an argument with the constant nodes in it replaced by their values."""

        def one(node: fx.Node) -> Any:
            return node if self.binding.trace.varies(node) else self.binding.value(node)

        return fx.map_arg(value, one)

    def again(self, tensor: Any, function: Callable[..., Any] | None = None) -> Any:
        """Run the operator itself (or ``function``) with another first argument."""
        rest = self.constant(self.node.args[1:])
        target: Any = function or self.node.target
        return target(tensor, *rest, **self.constant(self.node.kwargs))


Rule = Callable[..., Tensor | Sequence[Tensor]]

# Elements in the same order in another shape. A view that the model takes may be impossible here,
# where memory is laid out differently.
_RESHAPING = packets("view _unsafe_view reshape view_as flatten unflatten squeeze unsqueeze")
_EXPANDING = packets("expand expand_as")


def broadcast(call: Call, tensor: Tensor) -> Tensor:
    """Return the operand in the result's shape."""
    return tensor.expand(shape_of(call.node))


def readdress(call: Call, tensor: Tensor) -> Tensor | Sequence[Tensor]:
    """Run the operator as it is; the layout in memory may differ from the model's."""
    kind = packet(call.node)
    if kind in _RESHAPING:
        return tensor.reshape(shape_of(call.node))
    if kind in _EXPANDING:
        return tensor.expand(shape_of(call.node))
    if kind is aten.view_as_real:
        return tensor.unsqueeze(-1).expand(shape_of(call.node))
    result: Tensor | Sequence[Tensor] = call.again(tensor)
    return result


def join(call: Call, *tensors: Tensor) -> Tensor:
    """Join the operands; where a constant is joined, no path arrives."""
    listed: Sequence[Any] = call.node.args[0]  # type: ignore[assignment]
    waiting = list(zip(call.operands, tensors, strict=True))
    parts = []
    for item in listed:
        if waiting and item is waiting[0][0]:
            parts.append(waiting.pop(0)[1])
        else:
            parts.append(tensors[0].new_zeros(shape_of(item)))
    result: Tensor = call.again(parts)
    return result


def scatter(call: Call, *tensors: Tensor) -> Tensor:
    """Write one operand into a part of the other; constants written or kept carry no path."""
    waiting = list(zip(call.operands, tensors, strict=True))
    parts = []
    for item in call.node.args[:2]:
        assert isinstance(item, fx.Node)
        if waiting and item is waiting[0][0]:
            parts.append(waiting.pop(0)[1])
        else:
            parts.append(tensors[0].new_zeros(shape_of(item)))
    result: Tensor = call.node.target(  # type: ignore[operator]
        *parts, *call.constant(call.node.args[2:]), **call.constant(call.node.kwargs)
    )
    return result


def first_half(call: Call, tensor: Tensor) -> Tensor:
    """Return the half of a gated linear unit that is gated."""
    half: Tensor = tensor.chunk(2, call["dim"])[0]
    return half


def choice(node: fx.Node) -> tuple[Any, Any, Any]:
    """Return condition, what is taken where it holds, and what elsewhere, of a choice."""
    if packet(node) is aten.where:
        return node.args[0], node.args[1], node.args[2]
    return node.args[1], node.args[2], node.args[0]  # masked_fill(self, mask, value)


def chosen(call: Call, *tensors: Tensor) -> Tensor:
    """Return what a constant condition chooses of the operands; constants carry no path."""
    condition, one, other = choice(call.node)
    waiting = dict(zip(call.operands, tensors, strict=True))
    zero = tensors[0].new_zeros(())
    mask = call.constant(condition).to(tensors[0].device)
    return torch.where(mask, waiting.get(one, zero), waiting.get(other, zero))


def middle(call: Call, first: Tensor, second: Tensor) -> Tensor:
    """Return the mean of two operands of which the larger or smaller counts."""
    return (first + second) / 2


def pad(call: Call, tensor: Tensor) -> Tensor:
    """Pad; whatever constant the model pads with, no path comes from there."""
    kind = packet(call.node)
    if kind is aten.constant_pad_nd or (kind is aten.pad and call["mode"] == "constant"):
        return functional.pad(tensor, call["pad"])
    result: Tensor = call.again(tensor)
    return result


def scaled(call: Call, tensor: Tensor) -> Tensor:
    """Multiply by the magnitude of the constant factor, or divide by the constant divisor."""
    dividing = packet(call.node) is aten.div and call.node.args[0] is call.operands[0]
    other = call["other"] if call.node.args[0] is call.operands[0] else call["self"]
    factor = _like(other, tensor).abs()
    if dividing:
        factor = 1 / factor
    if not bool(torch.isfinite(factor).all()):
        raise TopographError(
            f"{place_of(call.node)} multiplies by a constant that is infinite or NaN",
            "check the model's buffers and parameters",
        )
    return tensor * factor


def weighted_sum(call: Call, *tensors: Tensor) -> Tensor:
    """Add up the operands; a difference is a sum of magnitudes."""
    factor = abs(float(call["alpha"]))
    # rsub multiplies its first argument, add and sub their second.
    multiplied = 0 if packet(call.node) is aten.rsub else 1
    alone = len(tensors) == 1
    first = 0 if not alone or call.node.args[0] is call.operands[0] else 1
    terms = [
        tensor * factor if position == multiplied and factor != 1 else tensor
        for position, tensor in enumerate(tensors, start=first)
    ]
    return broadcast(call, terms[0]) if alone else terms[0] + terms[1]


def both(call: Call, first: Tensor, second: Tensor) -> Tensor:
    """Carry each of two multiplied activations with the other at 1."""
    return first + second


def normalisation_gain(call: Call, tensor: Tensor) -> Tensor:
    """Multiply by |γ|, and for a batch normalisation by 1/√(var + ε) as well."""
    names = [argument.name for argument in call.node.target._schema.arguments]  # type: ignore
    weight = call["weight"] if "weight" in names else None
    variance = call["running_var"] if "running_var" in names else None
    for flag in ("training", "use_input_stats"):
        if flag in names and call[flag]:
            variance = None  # the statistics are those of the input
    gain: Tensor | None = None
    if isinstance(weight, Tensor):
        gain = _like(weight, tensor).abs()
    if isinstance(variance, Tensor):
        root = torch.sqrt(_like(variance, tensor) + call["eps"])
        gain = 1 / root if gain is None else gain / root
    if gain is None:
        return tensor
    by_channel = not any(kind in packet(call.node).__name__ for kind in ("layer_norm", "rms_norm"))
    if by_channel:
        gain = gain.reshape(1, -1, *[1] * (tensor.dim() - 2))
    return tensor * gain


def apply_weight(op: Operator, call: Call, tensor: Tensor, weight: Tensor) -> Tensor:
    """Run a weighted operator on another signal and weight, without its bias.

    Parameters
    ----------
    op
        The use of the weight.
    call
        The operator's call, for its other arguments.
    tensor
        The signal.
    weight
        In the shape of the operator's operand (``op.readdress`` of one in the leaf's shape).
    """
    node = op.node
    target: Any = node.target
    result: Tensor
    tensor = tensor.to(weight.device)
    if op.kind == "embedding":
        # The input is one token in each place; with all tokens at 1 the rows of the table add up.
        return tensor.unsqueeze(-1) * weight.sum(0)
    if op.kind == "addmm":
        product = tensor @ weight if node.args[1] is op.signal else weight @ tensor
        alpha = abs(float(call["alpha"]))
        return product if alpha == 1 else product * alpha
    if op.kind == "matmul":
        return target(*((tensor, weight) if node.args[0] is op.signal else (weight, tensor)))
    keywords = {k: v for k, v in call.constant(node.kwargs).items() if k != "bias"}
    result = target(tensor, weight, None, *call.constant(node.args[3:]), **keywords)
    return result


def plus_bias_signal(call: Call, product: Tensor, bias: Tensor) -> Tensor:
    """Add the activation that stands in an ``addmm``'s place for a bias."""
    return product + bias * abs(float(call["beta"]))


def _like(value: Any, tensor: Tensor) -> Tensor:
    """Return a number or tensor in the type and place of ``tensor``."""
    if isinstance(value, Tensor):
        value = value.abs() if value.is_complex() else value
        return value.detach().to(dtype=tensor.dtype, device=tensor.device)
    return torch.tensor(float(value), dtype=tensor.dtype, device=tensor.device)


def multiply_adds(op: Operator) -> int:
    """Return how many multiplications the use of a weight takes for one sample."""
    weight = op.operand.meta["val"]
    result = math.prod(shape_of(op.node))
    if op.kind == "embedding":
        return int(weight.numel())
    if op.kind in ("conv", "linear"):
        return result * (int(weight.numel()) // max(1, int(weight.shape[0])))
    if op.kind == "conv_transpose":
        return math.prod(shape_of(op.signal)) * (
            int(weight.numel()) // max(1, int(weight.shape[0]))
        )
    return result * int(shape_of(op.signal)[-1])
