"""Where the weights are inside what a checkpoint holds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from topograph.errors import TopographError, printable
from topograph.inspection.readers.limits import LIMIT_VARIABLE, max_bytes

#: Keys that training scripts put a state dict under, the one to take first: the raw weights
#: before their moving average.
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
    "student",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema",
    "ema",
    "teacher",
)

#: Keys that hold one mask a parameter.
MASKS = ("masks", "mask", "mask_dict")

#: Wrappings within wrappings beyond this are no checkpoint.
_DEPTH = 16

#: What is beside the weights and has tensors of its own.
_BESIDE = ("optim", "sched", "scaler", "rng", "loss", "buffer_state")


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
        ``net``, ``ema``, …) at any depth, with masks perhaps beside it (``masks``); tensors or
        NumPy arrays in nested mappings or lists, which are named by their keys with dots between
        them; or a module. Where several state dicts lie side by side, the first of
        :data:`WRAPPERS` is taken, and the notes say so.
    origin
        What to call it in an error.

    Raises
    ------
    TopographError
        If there are no tensors in it.

    Examples
    --------
    >>> import torch
    >>> unwrap({"epoch": 3, "net": {"weight": torch.ones(1, 2)}}).notes
    ("weights found under 'net'",)
    """
    path: list[str] = []
    notes: list[str] = []
    masks: dict[str, Tensor] = {}
    while True:
        if isinstance(held, nn.Module):
            held = held.state_dict()
        if isinstance(held, (Tensor, np.ndarray)):
            held = {"tensor": held}
        if isinstance(held, (list, tuple)):
            held = {str(position): item for position, item in enumerate(held)}
        if not isinstance(held, Mapping):
            raise TopographError(
                f"{origin} holds a {type(held).__name__}; expected a state dict",
                'save it with torch.save(model.state_dict(), "weights.pt")',
            )
        for key in MASKS:
            if isinstance(held.get(key), Mapping):
                masks |= {name: _dense(value, name)[0] for name, value in _leaves(held[key])}
        if "pytorch-lightning_version" in held:
            notes.append(f"written by Lightning {held['pytorch-lightning_version']}"[:80])
        inner, passed = _inner(held)
        if inner is None:
            break
        path.append(inner)
        if len(path) > _DEPTH:
            raise TopographError(
                f"{origin} holds containers nested more than {_DEPTH} deep; expected a state dict",
                'save the weights with torch.save(model.state_dict(), "weights.pt")',
            )
        notes += [f"{inner!r} is taken, and not {', '.join(map(repr, passed))}"] if passed else []
        held = held[inner]
    found = [f"weights found under {' > '.join(map(repr, path))}"] if path else []
    return _weights(held, masks, [*found, *notes], origin)


def _inner(held: Mapping[Any, Any]) -> tuple[str | None, list[str]]:
    """Return the key to go down by, and the other wrappers; None where the weights are here."""
    wrapped = [key for key in WRAPPERS if key in held and _has_tensors(held[key])]
    wrapped = [key for key in wrapped if not isinstance(held[key], (Tensor, np.ndarray))]
    if wrapped:
        return wrapped[0], wrapped[1:]
    if any(_is_array(value) and value.ndim for value in held.values()):
        return None, []
    below = [
        key
        for key, value in held.items()
        if not _is_array(value) and _has_tensors(value) and not _is_beside(key)
    ]
    if len(below) != 1 or not isinstance(below[0], str):
        return None, []
    inner = held[below[0]]
    is_layer = isinstance(inner, Mapping) and ("weight" in inner or "kernel" in inner)
    return (None if is_layer else below[0]), []


def _is_beside(key: object) -> bool:
    return key in MASKS or any(word in str(key).lower() for word in _BESIDE)


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray))


def _has_tensors(value: Any, depth: int = 4) -> bool:
    if _is_array(value) or isinstance(value, nn.Module):
        return True
    if depth and isinstance(value, Mapping):
        return any(_has_tensors(item, depth - 1) for item in value.values())
    if depth and isinstance(value, (list, tuple)):
        return any(_has_tensors(item, depth - 1) for item in value)
    return False


def _leaves(value: Any, name: str = "", depth: int = _DEPTH) -> Iterator[tuple[str, Any]]:
    """Yield every tensor or array with its keys joined by dots, optimizer states left out."""
    if _is_array(value):
        yield name, value
        return
    if isinstance(value, nn.Module):
        value = value.state_dict()
    if isinstance(value, (list, tuple)):
        value = {str(position): item for position, item in enumerate(value)}
    if depth and isinstance(value, Mapping):
        for key, item in value.items():
            if _is_array(item) or not _is_beside(key):
                yield from _leaves(item, f"{name}.{key}" if name else str(key), depth - 1)


def _weights(
    held: Mapping[Any, Any], masks: dict[str, Tensor], notes: list[str], origin: str
) -> Weights:
    state: dict[str, Tensor] = {}
    for given, value in _leaves(held):
        if isinstance(value, np.ndarray) and value.dtype.kind not in "fiub":
            continue
        # Reports show names on terminals and pages; what is not printable in them does harm there.
        name = printable(given)
        if name in state:
            raise TopographError(
                f"{origin} holds two tensors called {name[:200]!r}; expected one of each name",
                "save the weights with names that differ",
            )
        state[name], stored = _dense(value, name)
        if stored is not None:
            masks.setdefault(name, stored)
    if not state:
        keys = ", ".join(repr(str(key)) for key in list(held)[:8])
        raise TopographError(
            f"{origin} holds no tensors by name; its keys are {keys or 'none'}",
            'save the weights with torch.save(model.state_dict(), "weights.pt")',
        )
    return Weights(state, masks, tuple(notes))


def _dense(value: Any, name: str) -> tuple[Tensor, Tensor | None]:
    """Return a tensor as a dense one, and where a sparse one stores an entry."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
    value = value.detach()
    if value.is_quantized:
        return value.dequantize(), None
    if value.layout == torch.strided:
        return value, None
    if value.numel() * value.element_size() > max_bytes():
        raise TopographError(
            f"{name} is a sparse tensor of shape {tuple(value.shape)}, too large to be laid out",
            f"set {LIMIT_VARIABLE} to the bytes that tensors may take, where there are so many",
        )
    return value.to_dense(), _stored(value)


def _stored(value: Tensor) -> Tensor:
    """Return where a sparse tensor stores an entry, zeros included."""
    if value.layout == torch.sparse_coo:
        mask = torch.zeros(value.shape, dtype=torch.bool)
        mask[tuple(value.coalesce().indices())] = True
        return mask
    by_row = value.layout in (torch.sparse_csr, torch.sparse_bsr)
    outer = value.crow_indices() if by_row else value.ccol_indices()
    inner = value.col_indices() if by_row else value.row_indices()
    ones = torch.ones_like(value.values(), dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "support is in beta state"
        marked = torch.sparse_compressed_tensor(
            outer, inner, ones, value.shape, layout=value.layout, check_invariants=True
        )
        return marked.to_dense() != 0
