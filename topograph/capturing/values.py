"""The values of a traced model's constants, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from topograph.capturing.hollow import is_hollow
from topograph.capturing.trace import Source, Trace, place_of
from topograph.errors import TopographError


class Values:
    """The values of a trace's constants in a model.

    Parameters
    ----------
    trace
        The plan.
    model
        The model that was traced (or one of the same structure).
    weights
        Values of parameters and buffers by name, which go before those in the model. They are read
        where they are needed, and nothing that is computed from them is kept.
    """

    def __init__(
        self, trace: Trace, model: nn.Module, weights: Mapping[str, Tensor] | None = None
    ) -> None:
        self.trace = trace
        self._given: Mapping[str, Tensor] = {} if weights is None else weights
        self._state: dict[str, Tensor] = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        self._kept: dict[str, Any] = {}
        self._passing = _computed_from(
            trace, {name for name, source in trace.sources.items() if self.stored_as(source)}
        )

    def stored_as(self, source: Source) -> str | None:
        """Return the name under which a constant is among the weights given, if it is."""
        return next((n for n in (source.name, *source.aliases) if n in self._given), None)

    def passing(self, node: fx.Node) -> bool:
        """Whether a constant is computed from given weights, and so anew each time."""
        return node.name in self._passing

    def value(self, node: fx.Node) -> Any:
        """Return the value of a constant node (computed once, unless from given weights)."""
        if node.name in self._kept:
            return self._kept[node.name]
        value = self._evaluate(node)
        if not self.passing(node):
            self._kept[node.name] = value
        return value

    def arguments(self, node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return a node's arguments with constant nodes replaced by their values."""

        def one(argument: Any) -> Any:
            if isinstance(argument, fx.Node) and not self.trace.varies(argument):
                return self.value(argument)
            return argument

        return fx.map_arg(node.args, one), fx.map_arg(node.kwargs, one)

    def _evaluate(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            source = self.trace.sources.get(node.name)
            return None if source is None else self._stored(source)
        if node.op != "call_function" or self.trace.varies(node):
            raise TopographError(
                f"the value of {place_of(node)} depends on the input",
                "this is an error of topograph: please report it",
            )
        args, kwargs = self.arguments(node)
        assert callable(node.target)
        with torch.no_grad():
            return node.target(*args, **kwargs)

    def _stored(self, source: Source) -> Tensor:
        held = self._state.get(source.name)
        if held is None:
            held = self.trace.constants[source.name]
        name = self.stored_as(source)
        if name is not None:
            given = self._given[name]
            if given.shape != held.shape:
                raise TopographError(
                    f'weights holds "{name}" with shape {tuple(given.shape)}; expected '
                    f"{tuple(held.shape)}, as in the model",
                    "pass the weights of this very architecture",
                )
            device = None if is_hollow(held) else held.device
            return given.detach().to(dtype=held.dtype, device=device)
        if is_hollow(held):
            raise TopographError(
                f'the {source.kind} "{source.name}" has no values: the model holds it without '
                "memory (on the meta device or as a fake tensor)",
                "pass weights=, a mapping from its name to its values; or use "
                "topograph.structure, which needs no weights",
            )
        return held.detach()


def _computed_from(trace: Trace, names: set[str]) -> frozenset[str]:
    """Return the names of some nodes, and of the constants computed from them."""
    found = set(names)
    for node in trace.graph.nodes if names else ():
        constant = node.op == "call_function" and not trace.varies(node)
        if constant and any(parent.name in found for parent in node.all_input_nodes):
            found.add(node.name)
    return frozenset(found)
