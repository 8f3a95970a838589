"""Which operators of a traced model multiply an activation by a weight, and by which.

A weighted operator takes one operand that varies with the input and one constant one. The constant
one is followed back through operators that only re-address it (slices, transposes, views) to its
*leaf*: a parameter, or the result of a computation on parameters (``weight_orig * weight_mask``,
weight normalisation). Masks and scores live in the leaf's shape, under the parameter's name.
"""

from __future__ import annotations

import operator
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from topograph.capturing.parameters import public_name
from topograph.capturing.trace import Source, Trace, scope_of
from topograph.capturing.vocabulary import CASTING, READDRESSING

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
