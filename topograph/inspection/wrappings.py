"""Where the weights are inside what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from topograph.errors import TopographError

#: Keys that training scripts put a state dict under, the likeliest first.
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "generator",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema",
    "ema",
)

#: Keys that hold one mask a parameter.
MASKS = ("masks", "mask", "mask_dict")


@dataclass(frozen=True)
class Weights:
    """The tensors of a checkpoint, by the names it gives them.

    Attributes
    ----------
    state
        Name to tensor; dense.
    masks
        Parameter name to bool tensor, where the checkpoint keeps masks.
    notes
        What a reader of a report should know about how they were found.
    """

    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def unwrap(held: Any, origin: str = "the checkpoint") -> Weights:
    """Find the state dict, and masks if there are any, in what a checkpoint holds.

    Parameters
    ----------
    held
        A state dict; a mapping that holds one under a usual name (``state_dict``, ``model``,
        ``net``, ``ema``, …) at any depth, with masks perhaps beside it (``masks``); or a module.
    origin
        What to call it in an error.

    Raises
    ------
    TopographError
        If there is no mapping from names to tensors in it.

    Examples
    --------
    >>> import torch
    >>> unwrap({"epoch": 3, "net": {"weight": torch.ones(1, 2)}}).notes
    ("weights found under 'net'",)
    """
    if isinstance(held, nn.Module):
        return Weights(dict(held.state_dict()))
    path: list[str] = []
    masks: dict[str, Tensor] = {}
    while isinstance(held, Mapping):
        for key in MASKS:
            if isinstance(held.get(key), Mapping):
                masks |= {str(k): v for k, v in held[key].items() if isinstance(v, Tensor)}
        inner = _inner(held)
        if inner is None:
            return _weights(held, masks, path, origin)
        path.append(inner)
        held = held[inner]
        if isinstance(held, nn.Module):
            held = held.state_dict()
    raise TopographError(
        f"{origin} holds a {type(held).__name__}; expected a state dict",
        'save it with torch.save(model.state_dict(), "weights.pt")',
    )


def _inner(held: Mapping[Any, Any]) -> str | None:
    """Return the key to go down by, or None where ``held`` is the state dict itself."""
    for key in WRAPPERS:
        value = held.get(key)
        if isinstance(value, nn.Module) or (isinstance(value, Mapping) and _has_tensors(value)):
            return key
    if any(isinstance(value, Tensor) for value in held.values()):
        return None
    below = [
        key
        for key, value in held.items()
        if isinstance(key, str)
        and isinstance(value, Mapping)
        and _has_tensors(value)
        and key not in MASKS
        and "optim" not in key.lower()
    ]
    return below[0] if len(below) == 1 else None


def _has_tensors(value: Any, depth: int = 4) -> bool:
    if isinstance(value, Tensor):
        return True
    if depth and isinstance(value, Mapping):
        return any(_has_tensors(item, depth - 1) for item in value.values())
    return False


def _weights(
    held: Mapping[Any, Any], masks: dict[str, Tensor], path: list[str], origin: str
) -> Weights:
    state: dict[str, Tensor] = {}
    notes = [f"weights found under {' > '.join(map(repr, path))}"] if path else []
    for key, value in held.items():
        if not isinstance(value, Tensor):
            continue
        name = str(key)
        if str(value.layout) != "torch.strided":
            masks.setdefault(name, _stored(value))
            value = value.to_dense()
        state[name] = value.detach()
    if not state:
        keys = ", ".join(repr(str(key)) for key in list(held)[:8])
        raise TopographError(
            f"{origin} holds no tensors by name; its keys are {keys or 'none'}",
            'save the weights with torch.save(model.state_dict(), "weights.pt")',
        )
    return Weights(state, masks, tuple(notes))


def _stored(value: Tensor) -> Tensor:
    """Return where a sparse tensor stores an entry, zeros included."""
    mask = torch.zeros(value.shape, dtype=torch.bool)
    mask[tuple(value.to_sparse_coo().coalesce().indices())] = True
    return mask
