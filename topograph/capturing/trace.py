"""What a model computes: one functional graph of ATen operators, without touching the model.

The graph comes from ``torch.export`` (non-strict) and ``run_decompositions`` of next to nothing:
functional, shapes fixed for one sample, weighted operators whole. Nodes that depend on no input are
*constant*: they are evaluated where their value is needed
(:class:`topograph.capturing.weights.Binding`), so masks, weight normalisation and position tables
fold away.

A :class:`Trace` holds no weight: it is a plan, made once a model and input shape, that stays valid
while training changes the weights.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from topograph.capturing.fingerprint import fingerprint
from topograph.capturing.undisturbed import quiet, undisturbed
from topograph.capturing.vocabulary import TAKEN_APART
from topograph.errors import TopographError

ExampleInput = Tensor | Sequence[Any] | Mapping[str, Any]


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
    """

    graph: fx.Graph
    sources: Mapping[str, Source]
    constants: Mapping[str, Tensor]
    inputs: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]
    examples: tuple[Tensor, ...]
    varying: frozenset[str]
    notes: tuple[str, ...] = ()

    def varies(self, node: object) -> bool:
        """Whether ``node`` is a graph node whose value depends on an input."""
        return isinstance(node, fx.Node) and node.name in self.varying


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a node's (single tensor) value."""
    return tuple(int(size) for size in node.meta["val"].shape)


def is_whole(node: fx.Node) -> bool:
    """Whether a node's value holds whole numbers or truth values."""
    kind: torch.dtype = node.meta["val"].dtype
    return not (kind.is_floating_point or kind.is_complex)


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
    _check_model(model)
    arguments, keywords = _arguments(example_input)
    key = (fingerprint(model), _signature(arguments, keywords))
    known = _CACHE.setdefault(model, {})
    if key not in known:
        while len(known) >= 4:  # a model is looked at through few input shapes
            known.pop(next(iter(known)))
        known[key] = _trace(model, arguments, keywords)
    return known[key]


def forget(model: nn.Module) -> None:
    """Drop what was traced of ``model``."""
    _CACHE.pop(model, None)


_CACHE: weakref.WeakKeyDictionary[nn.Module, dict[Any, Trace]] = weakref.WeakKeyDictionary()


def _check_model(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise TopographError(
            f"model is a {type(model).__name__}; expected a torch.nn.Module",
            "pass the module itself; for a checkpoint use topograph.inspect",
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise TopographError(
            "model is a TorchScript module, which cannot be captured",
            "pass the Python module it was made from",
        )


def _arguments(example: ExampleInput) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Tensor):
        arguments: tuple[Any, ...] = (example,)
        keywords: dict[str, Any] = {}
    elif isinstance(example, Mapping):
        arguments, keywords = (), dict(example)
    elif isinstance(example, (tuple, list)):
        arguments, keywords = tuple(example), {}
    else:
        raise TopographError(
            f"example_input is a {type(example).__name__}; expected a tensor, a tuple of "
            "positional arguments or a dict of keyword arguments",
            "pass e.g. torch.zeros(1, 3, 32, 32)",
        )
    tensors = [value for value in (*arguments, *keywords.values()) if isinstance(value, Tensor)]
    if not tensors:
        raise TopographError(
            "example_input holds no tensor; expected at least one",
            "pass e.g. torch.zeros(1, 3, 32, 32)",
        )
    for value in tensors:
        if value.dim() == 0 or value.numel() == 0:
            raise TopographError(
                f"example_input has a tensor of shape {tuple(value.shape)}; expected a batch of "
                "at least one sample",
                "add a batch dimension: x.unsqueeze(0)",
            )
    return arguments, keywords


def _signature(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
    def one(value: Any) -> Any:
        if isinstance(value, Tensor):
            return tuple(value.shape), value.dtype, value.device
        return repr(value)

    return (*map(one, arguments), *((name, one(value)) for name, value in keywords.items()))


def _first_sample(value: Any) -> Any:
    return value[:1] if isinstance(value, Tensor) and value.dim() > 1 else value


def _trace(model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Trace:
    first = tuple(map(_first_sample, arguments))
    first_keywords = {name: _first_sample(value) for name, value in keywords.items()}
    try:
        program = _export(model, first, first_keywords)
    except Exception as error:
        raise _refusal(model, first, first_keywords, error) from error
    signature = program.graph_signature
    nodes = {node.name: node for node in program.graph.nodes}
    kinds = {"PARAMETER": "parameter", "BUFFER": "buffer", "CONSTANT_TENSOR": "constant"}
    aliases = _aliases(model)
    sources: dict[str, Source] = {}
    inputs: list[fx.Node] = []
    for spec in signature.input_specs:
        name = getattr(spec.arg, "name", None)
        if name is None or name not in nodes:
            continue
        if spec.kind.name in kinds and spec.target is not None:
            names = aliases.get(spec.target, (spec.target,))
            sources[name] = Source(kinds[spec.kind.name], names[0], names)
        elif spec.kind.name == "USER_INPUT" and isinstance(nodes[name].meta.get("val"), Tensor):
            inputs.append(nodes[name])
    varying = _varying(program.graph, inputs)
    outputs = [
        nodes[spec.arg.name]
        for spec in signature.output_specs
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
        {name: value for name, value in program.constants.items() if isinstance(value, Tensor)},
        tuple(inputs),
        tuple(dict.fromkeys(outputs)),
        tuple(v for v in (*first, *first_keywords.values()) if isinstance(v, Tensor)),
        varying,
    )


def _aliases(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return, for every name of a parameter, all names of that parameter in the model's order."""
    shared: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        shared.setdefault(id(parameter), []).append(name)
    return {name: tuple(names) for names in shared.values() for name in names}


def _export(
    model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> torch.export.ExportedProgram:
    # Without no_grad some models appear as a higher-order operator; without
    # run_decompositions in-place writes on views would be lost to a reader of the graph.
    with undisturbed(model), quiet(), torch.no_grad():
        program = torch.export.export(model, arguments, keywords or None, strict=False)
        return program.run_decompositions(
            {
                operator: parts
                for operator, parts in torch.export.default_decompositions().items()
                if getattr(operator, "overloadpacket", None) in TAKEN_APART
            }
        )


def _varying(graph: fx.Graph, inputs: Sequence[fx.Node]) -> frozenset[str]:
    varying = {node.name for node in inputs}
    for node in graph.nodes:
        if node.op == "call_function" and any(n.name in varying for n in node.all_input_nodes):
            varying.add(node.name)
    return frozenset(varying)


def _refusal(
    model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], error: Exception
) -> TopographError:
    """Tell a model that does not run on the example from one that cannot be exported."""
    name = type(model).__name__
    shapes = [tuple(v.shape) for v in (*arguments, *keywords.values()) if isinstance(v, Tensor)]
    try:
        with undisturbed(model), torch.no_grad():
            model(*arguments, **keywords)
    except Exception as failure:
        return TopographError(
            f"{name} does not run on example_input of shape {_join(shapes)}: {_line(failure)}",
            "pass an example of the shape and type that the model takes, batch dimension first",
        )
    return TopographError(
        f"{name} runs on example_input of shape {_join(shapes)} but cannot be exported as one "
        f"graph: {_line(error)}",
        "make the forward independent of the values of tensors (no `if tensor:`, no .item()), "
        "or capture the part of the model that is",
    )


def _join(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))


def _line(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text[:300]}"
