"""How a model is called on one sample, and which of what it returns are its output tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from topograph.errors import TopographError

ExampleInput = Tensor | Sequence[Any] | Mapping[str, Any]

#: Where torch keeps the modules whose weights are packed integers.
_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


def check_model(model: object) -> None:
    """Refuse what is no module, and modules that hold no Python code or no weights yet."""
    if not isinstance(model, nn.Module):
        raise TopographError(
            f"model is a {type(model).__name__}; expected a torch.nn.Module",
            "pass the module itself; for a checkpoint use topograph.inspect",
        )
    for name, module in model.named_modules():
        place = f'the module "{name}"' if name else "model"
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        if isinstance(module, torch.jit.ScriptModule):
            raise TopographError(
                f"{place} is a TorchScript module, which cannot be captured",
                "pass the Python module it was made from, with its state dict loaded",
            )
        if kind.startswith(_QUANTISED) and "functional_modules" not in kind:
            raise TopographError(
                f"{place} ({kind}) holds quantised weights, which cannot be captured",
                "pass the model from before it was quantised, or dequantise it",
            )
        for own, value in (*module._parameters.items(), *module._buffers.items()):
            if value is None:
                continue
            path = f"{name}.{own}" if name else own
            if is_lazy(value):
                raise TopographError(
                    f'"{path}" has no shape yet: {place} ({type(module).__name__}) is lazy',
                    "run the model once on an example, so that its shapes are known",
                )
            if value.is_quantized:
                raise TopographError(
                    f'"{path}" is a quantised tensor, which cannot be captured',
                    "pass the model from before it was quantised, or dequantise it",
                )


def arguments_of(example: ExampleInput) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and keyword arguments that an example input stands for."""
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


def signature_of(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
    """Return what of the arguments decides a trace: shapes and types, and other values."""

    def one(value: Any) -> Any:
        if isinstance(value, Tensor):
            return tuple(value.shape), value.dtype, value.device
        return repr(value)

    return (*map(one, arguments), *((name, one(value)) for name, value in keywords.items()))


def first_sample(value: Any) -> Any:
    """Return the first sample of a batch, a batch of one; anything else as it is."""
    return value[:1] if isinstance(value, Tensor) and value.dim() > 1 else value


def shapes_of(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> str:
    """Return the shapes of the tensors among arguments, in words."""
    values = (*arguments, *keywords.values())
    return ", ".join(str(tuple(value.shape)) for value in values if isinstance(value, Tensor))


class Leaves(nn.Module):
    """A model that returns the tensors of whatever the one inside returns, as a tuple.

    Tracers know tensors in tuples, lists and dicts; a model may return any object with fields.
    """

    #: What comes before the names of the model's own modules and parameters.
    PREFIX = "inner."

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner = model

    def forward(self, *arguments: Any, **keywords: Any) -> tuple[Tensor, ...]:
        """Return the tensors of the model's outputs, in order."""
        returned = self.inner(*arguments, **keywords)
        return tuple(_tensors(_fields(returned)))


def _fields(returned: Any) -> Any:
    """Return what the model returns, an object as a dict of its fields."""
    plain = (Tensor, Mapping, tuple, list)
    if isinstance(returned, plain) or not hasattr(returned, "__dict__"):
        return returned
    return vars(returned)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for entry in dataclasses.fields(value):
            yield from _tensors(getattr(value, entry.name))
    elif isinstance(value, SimpleNamespace):
        yield from _tensors(vars(value))
