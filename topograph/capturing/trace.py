"""What a model computes: one functional graph of ATen operators, without touching the model.

The graph comes from the first exporter that can read the model
(:mod:`topograph.capturing.exporting`): functional, shapes fixed for one sample, weighted operators
whole; only recurrent layers and products of many spellings (einsum, bilinear) are written out.
Nodes that depend on no input are *constant*: they are evaluated where their value is needed
(:class:`topograph.capturing.values.Values`), so masks, weight normalisation and position tables
fold away.

A :class:`Trace` holds no weight: it is a plan, made once a model and input shape, that stays valid
while training changes the weights.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from topograph.capturing.by_values import digest
from topograph.capturing.calling import ExampleInput as ExampleInput
from topograph.capturing.calling import arguments_of, check_model, first_sample, signature_of
from topograph.capturing.exporting import exported
from topograph.capturing.fingerprint import fingerprint
from topograph.capturing.hollow import has_hollow
from topograph.errors import TopographError


@dataclass(frozen=True)
class Source:
    """Where the value of a constant placeholder lives in the model.

    Attributes
    ----------
    kind
        ``"parameter"``, ``"buffer"`` or ``"constant"``.
    name
        Its first qualified name in the model.
    aliases
        All its names: a tied parameter has several.
    """

    kind: str
    name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Trace:
    """The functional operator graph of a model for one sample.

    Attributes
    ----------
    graph
        ``torch.fx`` graph of ATen operators; ``node.meta["val"]`` holds a fake tensor (or a tuple
        of them) with each value's shape.
    sources
        Placeholder name to :class:`Source`, for parameters, buffers and lifted constants.
    constants
        The lifted constant tensors by name.
    inputs, outputs
        Placeholders of the model's tensor inputs, and the nodes whose values it returns.
    examples
        The example tensors of ``inputs``, cut to one sample.
    varying
        Names of the nodes that depend on an input; every other node is constant.
    notes
        What a reader of a result should know about how the trace was made.
    decided
        If the trace holds for some values only: a hash of those of the input and of the weights.
    """

    graph: fx.Graph
    sources: Mapping[str, Source]
    constants: Mapping[str, Tensor]
    inputs: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]
    examples: tuple[Tensor, ...]
    varying: frozenset[str]
    notes: tuple[str, ...] = ()
    decided: str = ""

    def varies(self, node: object) -> bool:
        """Whether ``node`` is a graph node whose value depends on an input."""
        return isinstance(node, fx.Node) and node.name in self.varying


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a node's (single tensor) value."""
    return tuple(int(size) for size in node.meta["val"].shape)


def is_whole(node: fx.Node) -> bool:
    """Whether a node's value holds whole numbers or truth values."""
    kind = node.meta["val"].dtype
    return not bool(kind.is_floating_point or kind.is_complex)


def scope_of(node: fx.Node) -> tuple[str, str]:
    """Return qualified name and class name of the module in which ``node`` is computed."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return "", ""
    name, kind = stack[-1]
    return str(name), str(kind).rsplit(".", 1)[-1]


def place_of(node: fx.Node) -> str:
    """Return words for an error: the operator, and the module that computes it."""
    name, kind = scope_of(node)
    where = f'module "{name}" ({kind})' if name else f"the model itself ({kind})" if kind else ""
    return f"operator {node.target}" + (f" in {where}" if where else "")


def trace(model: nn.Module, example_input: ExampleInput) -> Trace:
    """Return the operator graph of ``model``, from a cache while the model's structure is the same.

    Parameters
    ----------
    model
        Any ``nn.Module``. It is traced in evaluation mode and left as it was.
    example_input
        A tensor, a sequence of positional or a mapping of keyword arguments, with a batch
        dimension of which the first sample is used.

    Raises
    ------
    TopographError
        If the model cannot be run on, or exported for, the example.

    Notes
    -----
    The cache compares the classes, plain attributes, hooks and parameter shapes of all modules;
    a forward that reads global variables, or settings nested more than two levels deep, is beyond
    it: call :func:`forget` after changing one.
    """
    check_model(model)
    arguments, keywords = arguments_of(example_input)
    arguments = tuple(map(first_sample, arguments))
    keywords = {name: first_sample(value) for name, value in keywords.items()}
    key = (fingerprint(model), signature_of(arguments, keywords))
    known = _CACHE.setdefault(model, {})
    found = known.get(key)
    if found is None or (found.decided and found.decided != digest(model, arguments, keywords)):
        known.pop(key, None)
        while len(known) >= 4:  # a model is looked at through few input shapes
            known.pop(next(iter(known)))
        known[key] = found = _trace(model, arguments, keywords)
    return found


def forget(model: nn.Module) -> None:
    """Drop what was traced of ``model``."""
    _CACHE.pop(model, None)


_CACHE: weakref.WeakKeyDictionary[nn.Module, dict[Any, Trace]] = weakref.WeakKeyDictionary()


def _trace(model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Trace:
    made = exported(model, arguments, keywords, valued=not has_hollow(model))
    program = made.program
    nodes = {node.name: node for node in program.graph.nodes}
    kinds = {"PARAMETER": "parameter", "BUFFER": "buffer", "CONSTANT_TENSOR": "constant"}
    aliases = _aliases(model)
    own = {*aliases, *(name for name, _ in model.named_buffers(remove_duplicate=False))}
    constants = {n: v for n, v in program.constants.items() if isinstance(v, Tensor)}
    sources: dict[str, Source] = {}
    inputs: list[fx.Node] = []
    for spec in program.graph_signature.input_specs:
        name = getattr(spec.arg, "name", None)
        if name is None or name not in nodes:
            continue
        if spec.kind.name in kinds and spec.target is not None:
            target, kind = spec.target.removeprefix(made.prefix), kinds[spec.kind.name]
            if kind != "constant" and target not in own:  # what was decided by values
                target, kind = spec.target, "constant"
                constants[target] = program.state_dict[target]
            names = aliases.get(target, (target,))
            sources[name] = Source(kind, names[0], names)
        elif spec.kind.name == "USER_INPUT" and isinstance(nodes[name].meta.get("val"), Tensor):
            inputs.append(nodes[name])
    _strip_scopes(program.graph, made.prefix)
    varying = _varying(program.graph, inputs)
    outputs = [
        nodes[spec.arg.name]
        for spec in program.graph_signature.output_specs
        if spec.kind.name == "USER_OUTPUT" and getattr(spec.arg, "name", None) in varying
    ]
    if not outputs:
        raise TopographError(
            f"{type(model).__name__} returns no tensor that depends on its input",
            "return the model's outputs as tensors (or tuples, lists, dicts of tensors)",
        )
    return Trace(
        program.graph,
        sources,
        constants,
        tuple(inputs),
        tuple(dict.fromkeys(outputs)),
        tuple(v for v in (*arguments, *keywords.values()) if isinstance(v, Tensor)),
        varying,
        made.notes,
        digest(model, arguments, keywords) if made.by_values else "",
    )


def _strip_scopes(graph: fx.Graph, prefix: str) -> None:
    """Name the modules of a wrapped model as the model names them."""
    if not prefix:
        return
    for node in graph.nodes:
        stack = node.meta.get("nn_module_stack")
        if stack:
            node.meta["nn_module_stack"] = {
                key: (f"{name}.".removeprefix(prefix).rstrip("."), kind)
                for key, (name, kind) in stack.items()
                if f"{name}.".startswith(prefix)
            }


def _aliases(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return, for every name of a parameter, all names of that parameter in the model's order."""
    shared: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        shared.setdefault(id(parameter), []).append(name)
    return {name: tuple(names) for names in shared.values() for name in names}


def _varying(graph: fx.Graph, inputs: Sequence[fx.Node]) -> frozenset[str]:
    varying = {node.name for node in inputs}
    for node in graph.nodes:
        if node.op == "call_function" and any(n.name in varying for n in node.all_input_nodes):
            varying.add(node.name)
    return frozenset(varying)
