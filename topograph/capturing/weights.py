"""Which weights a traced model multiplies its activations by, and their values and masks today.

A weighted operator takes one operand that varies with the input and one constant one. The constant
one is followed back through operators that only re-address it (slices, transposes, views) to its
*leaf*: a parameter, or the result of a computation on parameters (``weight_orig * weight_mask``,
weight normalisation). Masks and scores live in the leaf's shape, under the parameter's name.
"""

from __future__ import annotations

import math
import operator
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from topograph.capturing.masks import check_mask, found_masks
from topograph.capturing.trace import Source, Trace, place_of, scope_of
from topograph.capturing.vocabulary import CASTING, READDRESSING
from topograph.errors import TopographError

Masks = Mapping[str, Tensor]

aten = torch.ops.aten


#: Weighted operators, if one of their two operands varies and the other is a constant weight.
WEIGHTED = {
    aten.linear: "linear",
    aten.conv1d: "conv",
    aten.conv2d: "conv",
    aten.conv3d: "conv",
    aten.convolution: "conv",
    aten.conv_transpose1d: "conv_transpose",
    aten.conv_transpose2d: "conv_transpose",
    aten.conv_transpose3d: "conv_transpose",
    aten.addmm: "addmm",
    aten.mm: "matmul",
    aten.bmm: "matmul",
    aten.matmul: "matmul",
    aten.embedding: "embedding",
}


@dataclass(frozen=True)
class Operator:
    """One use of a weight by the traced model.

    Attributes
    ----------
    name
        Unique name: the module's qualified name where the parameter is its ``weight``, otherwise
        the parameter's; with ``#2`` and so on where one weight is used again.
    parameter
        The parameter's name as users write it (``conv1.weight``, also when it is pruned,
        parametrised or weight-normalised).
    kind
        ``"linear"``, ``"conv"``, ``"conv_transpose"``, ``"addmm"``, ``"matmul"``, ``"embedding"``.
    node
        The operator's node.
    signal, operand
        The nodes of the activation and of the weight as the operator takes it.
    leaf
        The node whose value is the weight before re-addressing.
    chain
        The re-addressing nodes from ``leaf`` (excluded) to ``operand`` (included), in order.
    """

    name: str
    parameter: str
    kind: str
    node: fx.Node
    signal: fx.Node
    operand: fx.Node
    leaf: fx.Node
    chain: tuple[fx.Node, ...]

    def readdress(self, value: Tensor) -> Tensor:
        """Return a tensor of the leaf's shape as the operator would take it, in its own type."""
        result: Any = value
        for node in self.chain:
            if packet(node) not in CASTING:
                result = _call(node, result)
        return result


def packet(node: fx.Node) -> Any:
    """Return the overload packet of a node's operator (``aten.add`` for ``aten.add.Tensor``)."""
    return getattr(node.target, "overloadpacket", node.target)


def operators(trace: Trace) -> tuple[Operator, ...]:
    """Return the uses of weights in ``trace``, in the order of computation."""
    if trace not in _OPERATORS:
        _OPERATORS[trace] = _find_operators(trace)
    return _OPERATORS[trace]


_OPERATORS: weakref.WeakKeyDictionary[Trace, tuple[Operator, ...]] = weakref.WeakKeyDictionary()


def _find_operators(trace: Trace) -> tuple[Operator, ...]:
    found: list[Operator] = []
    used: dict[str, int] = {}
    for node in trace.graph.nodes:
        kind = WEIGHTED.get(packet(node)) if node.op == "call_function" else None
        pair = operands(trace, node, kind) if kind else None
        if kind is None or pair is None:
            continue
        signal, operand = pair
        leaf, chain = _leaf(operand)
        owners = parameters_of(trace, leaf)
        if not owners:
            continue
        known = {source.name for source in trace.sources.values()}
        parameter = public_name(owners[0].name, known)
        name = _used_as(owners[0], parameter, known, scope_of(node)[0]).removesuffix(".weight")
        used[name] = used.get(name, 0) + 1
        if used[name] > 1:
            name = f"{name}#{used[name]}"
        found.append(Operator(name, parameter, kind, node, signal, operand, leaf, chain))
    return tuple(found)


def operands(trace: Trace, node: fx.Node, kind: str) -> tuple[fx.Node, fx.Node] | None:
    """Return the (varying, constant) operands, or None if the node has no such pair."""
    first, second = node.args[1:3] if kind == "addmm" else node.args[:2]
    if not (isinstance(first, fx.Node) and isinstance(second, fx.Node)):
        return None
    if trace.varies(first) and not trace.varies(second):
        return first, second
    if trace.varies(second) and not trace.varies(first):
        return second, first
    return None


def _leaf(operand: fx.Node) -> tuple[fx.Node, tuple[fx.Node, ...]]:
    chain: list[fx.Node] = []
    node = operand
    while node.op == "call_function" and (
        packet(node) in READDRESSING or packet(node) in CASTING or node.target is operator.getitem
    ):
        parent = node.args[0]
        if not isinstance(parent, fx.Node):
            break
        if node.target is operator.getitem and packet(parent) not in READDRESSING:
            break  # one of several results of a computation on weights
        chain.append(node)
        node = parent
    return node, tuple(reversed(chain))


def _call(node: fx.Node, value: Any) -> Any:
    assert callable(node.target)
    return node.target(value, *node.args[1:], **node.kwargs)


def parameters_of(trace: Trace, leaf: fx.Node) -> list[Source]:
    """Return the parameters that a constant node is, or is computed from, in order."""
    seen: set[fx.Node] = set()
    found: list[Source] = []
    queue = [leaf]
    while queue:
        node = queue.pop()
        if node in seen:
            continue
        seen.add(node)
        source = trace.sources.get(node.name)
        if source is not None and source.kind == "parameter":
            found.append(source)
        queue.extend(reversed(node.all_input_nodes))
    return found


def learnt(trace: Trace, node: fx.Node) -> bool:
    """Whether a constant node is a parameter or computed from one."""
    return bool(parameters_of(trace, node))


def _used_as(owner: Source, parameter: str, known: set[str], scope: str) -> str:
    """Return the name under which the module that computes an operator holds its weight."""
    for alias in owner.aliases:
        name = public_name(alias, known)
        if name.rpartition(".")[0] == scope:
            return name
    return parameter


#: Suffixes of the tensors that stand in for a weight, each with one that must be there beside it.
_PAIRS = (("_orig", "_mask"), ("_mask", "_orig"), ("_g", "_v"), ("_v", "_g"))


def public_name(name: str, known: set[str]) -> str:
    """Return a parameter's name as users write it.

    Parameters
    ----------
    name
        A name in the model's state: ``conv.weight_orig``,
        ``conv.parametrizations.weight.original0``, ``conv.weight_g``.
    known
        All names of parameters and buffers in the model.

    Examples
    --------
    >>> public_name("conv.weight_orig", {"conv.weight_orig", "conv.weight_mask"})
    'conv.weight'
    >>> public_name("fc.parametrizations.weight.original", set())
    'fc.weight'
    """
    head, parametrised, tail = name.rpartition("parametrizations.")
    if parametrised and ".original" in tail:
        return head + tail[: tail.index(".original")]
    for suffix, partner in _PAIRS:
        base = name.removesuffix(suffix)
        if base != name and base + partner in known:
            return base
    return name


class Binding:
    """The values of a trace's constants in a model, at one moment.

    Parameters
    ----------
    trace
        The plan.
    model
        The model that was traced (or one of the same structure).
    masks
        Parameter name to a bool tensor of the parameter's shape; for weights that are not named
        the mask is found in the model (``torch.nn.utils.prune``, a parametrisation's ``mask``
        buffer) or, failing that, is where the weight is not exactly 0.

    Raises
    ------
    TopographError
        If a mask names no weight of the model, has another shape or holds other values than 0
        and 1, or if a weight holds NaN or infinite values.
    """

    def __init__(self, trace: Trace, model: nn.Module, masks: Masks | None = None) -> None:
        self.trace = trace
        self.operators = operators(trace)
        self._values: dict[str, Any] = {}
        self._masks: dict[str, Tensor | None] = {}  # None: where the weight is not 0
        self._state: dict[str, Tensor] = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        found = found_masks(model)
        given = self._checked(masks)
        for op in self.operators:
            if op.leaf.name in self._masks:
                continue
            weight = self.value(op.leaf)
            if weight.numel() and not all(map(math.isfinite, map(float, weight.aminmax()))):
                raise TopographError(
                    f'the weight "{op.parameter}" holds NaN or infinite values',
                    "load a checkpoint from before the training diverged",
                )
            mask = given.get(op.parameter, found.get(op.parameter))
            if mask is not None:
                mask = mask.to(weight.device) if mask.shape == weight.shape else None
            self._masks[op.leaf.name] = mask

    def _checked(self, masks: Masks | None) -> dict[str, Tensor]:
        known = {source.name for source in self.trace.sources.values()}
        shapes = {op.parameter: op.leaf.meta["val"].shape for op in self.operators}
        given: dict[str, Tensor] = {}
        for key, mask in (masks or {}).items():
            name = public_name(key, known)
            if name not in shapes:
                if name in self._state:  # a parameter outside the path graph, e.g. a bias
                    continue
                raise TopographError(
                    f'masks names "{key}", which is no parameter of the model',
                    "use the names of model.named_parameters()",
                )
            given[name] = check_mask(mask, key, tuple(shapes[name]))
        return given

    def value(self, node: fx.Node) -> Any:
        """Return the value of a constant node (computed once)."""
        if node.name not in self._values:
            self._values[node.name] = self._evaluate(node)
        return self._values[node.name]

    def arguments(self, node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return a node's arguments with constant nodes replaced by their values."""

        def one(argument: Any) -> Any:
            if isinstance(argument, fx.Node) and not self.trace.varies(argument):
                return self.value(argument)
            return argument

        return fx.map_arg(node.args, one), fx.map_arg(node.kwargs, one)

    def weight(self, op: Operator) -> Tensor:
        """Return the weight in its leaf's shape, as the model holds it (signed, unmasked)."""
        value: Tensor = self.value(op.leaf)
        return value

    def mask(self, op: Operator) -> Tensor:
        """Return which entries of the leaf are kept: a bool tensor of the leaf's shape."""
        mask = self._masks[op.leaf.name]
        return self.weight(op) != 0 if mask is None else mask

    def magnitude(self, op: Operator) -> Tensor:
        """Return |θ ⊙ m| in the leaf's shape."""
        magnitude = self.weight(op).detach().abs()
        mask = self._masks[op.leaf.name]
        return magnitude if mask is None else magnitude * mask

    def _evaluate(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            source = self.trace.sources.get(node.name)
            if source is None:
                return None
            if source.name in self._state:
                return self._state[source.name].detach()
            return self.trace.constants[source.name].detach()
        if node.op != "call_function" or self.trace.varies(node):
            raise TopographError(
                f"the value of {place_of(node)} depends on the input",
                "this is an error of topograph: please report it",
            )
        args, kwargs = self.arguments(node)
        assert callable(node.target)
        with torch.no_grad():
            return node.target(*args, **kwargs)
