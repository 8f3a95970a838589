"""When a model is still the one that was traced."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def fingerprint(model: nn.Module) -> int:
    """Hash what decides the operators of a forward and is not a weight's value.

    Hashed are the classes and plain attributes of all modules (two levels deep), their hooks, and
    the shapes, types and places of parameters and buffers.
    """
    parts: list[Any] = []
    for name, module in model.named_modules(remove_duplicate=False):
        parts.append((name, id(module), type(module), id(type(module).forward)))
        for key, value in module.__dict__.items():
            if key in ("_parameters", "_buffers"):
                parts.extend(
                    (key, leaf, tuple(t.shape), t.dtype, t.device)
                    for leaf, t in value.items()
                    if t is not None
                )
            elif key.endswith("_hooks"):
                parts.append((key, tuple(map(id, value.values()))))
            elif key not in ("_modules", "training"):
                parts.append((key, _plain(value, depth=2)))
    return hash(tuple(parts))


def _plain(value: Any, depth: int) -> Any:
    """Return a hashable stand-in that changes when a plain value inside ``value`` does."""
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    if depth == 0:
        return id(value)
    if isinstance(value, (tuple, list, set, frozenset)) and len(value) <= 256:
        return type(value), tuple(_plain(item, depth - 1) for item in value)
    if isinstance(value, dict) and len(value) <= 256:
        return tuple((str(k), _plain(v, depth - 1)) for k, v in value.items())
    inside = getattr(value, "__dict__", None)
    if isinstance(inside, dict) and not isinstance(value, (type, nn.Module)):
        return id(value), _plain(inside, depth - 1)
    return id(value)
