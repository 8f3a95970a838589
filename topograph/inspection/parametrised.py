"""Which weight a checkpoint means that stores it in parts: pruned, normalised, masked apart."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

#: What parts of a weight are called, as (pattern of a name, what stands in its place).
_PARTS = (
    (re.compile(r"(^|\.)parametrizations\.(\w+)\.(?:original\d?|\d+\.\w+)$"), r"\1\2"),
    (re.compile(r"^(.*?)_orig$"), r"\1"),
    (re.compile(r"^(.*weight\w*)_[gv]$"), r"\1"),
)
#: What masks are called that lie beside the weights, as (pattern, name of what is masked).
_MASKS = (
    (re.compile(r"^(.*)_mask$"), (r"\1",)),
    (re.compile(r"^(.*)\.mask$"), (r"\1.weight", r"\1")),
    (re.compile(r"^masks?\.(.*)$"), (r"\1", r"\1.weight")),
)


@dataclass(frozen=True)
class Assembled:
    """Tensors by the names of whole weights.

    Attributes
    ----------
    state
        Name to tensor.
    masks
        Parameter name to bool tensor.
    notes
        What was put together.
    """

    state: dict[str, Tensor]
    masks: dict[str, Tensor]
    notes: tuple[str, ...]


def plain_name(name: str) -> str:
    """Return the name of the weight that a tensor is a part of, or its own.

    Examples
    --------
    >>> plain_name("conv.weight_orig"), plain_name("fc.parametrizations.weight.original0")
    ('conv.weight', 'fc.weight')
    """
    for pattern, whole in _PARTS:
        if pattern.search(name):
            return pattern.sub(whole, name)
    return name


def assemble(state: Mapping[str, Tensor], keep: Collection[str] = ()) -> Assembled:
    """Put weights together that are stored in parts.

    Known are ``torch.nn.utils.prune`` (``x_orig``, ``x_mask``), weight norm and spectral norm in
    their old forms (``x_g``, ``x_v``; ``x_orig``, ``x_u``, ``x_v``) and as parametrisations
    (``parametrizations.x.original…``), and masks of zeros and ones that lie beside the weights
    (``x_mask``, ``layer.mask``, ``masks.x``) with the shape of what they mask.

    Parameters
    ----------
    state
        Name to tensor, as stored.
    keep
        Names that are wanted as they are, because the model has them.
    """
    held = dict(state)
    masks: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def take(name: str) -> Tensor:
        return held.pop(name)

    def there(*names: str) -> bool:
        return all(name in held and name not in keep for name in names)

    for key in list(state):
        base = key.removesuffix("_orig")
        if key != base and there(key) and base not in held:
            if there(base + "_mask"):
                held[base] = take(key)
                masks[base] = take(base + "_mask").bool()
                _count(counts, "weights stored as weight_orig with weight_mask")
            elif there(base + "_u"):
                left, right = take(base + "_u"), held.pop(base + "_v", None)
                held[base] = _spectral(take(key), left, right)
                _count(counts, "weights put together from a spectral norm's parts")
            elif base.endswith(("weight", "bias")):
                held[base] = take(key)
                _count(counts, "weights stored as weight_orig")
        elif (
            key.endswith("_g")
            and there(key, key[:-1] + "v")
            and key[:-2] not in held
            and _is_length(held[key], held[key[:-1] + "v"])
        ):
            length = take(key)
            held[key[:-2]] = _of_length(take(key[:-1] + "v"), length)
            _count(counts, "weights put together from a weight norm's parts")
    for start in _parametrised(held, keep):
        name, note = _parametrisation(held, masks, start)
        if name:
            _count(counts, note)
    for key in list(held):
        whole = _masked_by(key, held, keep)
        if whole is not None:
            masks[whole] = take(key).bool()
            _count(counts, "masks stored as tensors of their own")
    return Assembled(held, masks, tuple(f"{count} {what}" for what, count in counts.items()))


def part(name: str, shape: torch.Size, whole: Tensor | None) -> Tensor | None:
    """Return what a model that keeps a weight in parts has under ``name``, from the whole weight.

    None where it does not follow from the weight: a mask, a spectral norm's vectors.
    """
    if whole is None or name == plain_name(name):
        return None
    if name.endswith(("_g", ".original0")):
        kept = [dim for dim, size in enumerate(shape) if size != 1]
        others = [dim for dim in range(whole.dim()) if dim not in kept]
        value = torch.linalg.vector_norm(whole.float(), dim=others or None, keepdim=True)
        return value.to(whole.dtype).reshape(shape) if value.numel() == shape.numel() else None
    if name.endswith(("_orig", "_v", ".original", ".original1")) and whole.shape == shape:
        return whole
    return None


def _count(counts: dict[str, int], what: str) -> None:
    counts[what] = counts.get(what, 0) + 1


def _is_length(length: Tensor, direction: Tensor) -> bool:
    """Whether a tensor can be the g of a weight norm: one value, or one for each of a dimension."""
    if length.numel() == 1:
        return True
    wide = [dim for dim, size in enumerate(length.shape) if size != 1]
    return (
        length.dim() == direction.dim()
        and len(wide) == 1
        and length.shape[wide[0]] == direction.shape[wide[0]]
    )


def _of_length(direction: Tensor, length: Tensor) -> Tensor:
    """Return g v / ‖v‖, the norm over the dimensions that g has not."""
    if length.dim() != direction.dim():
        return direction * (length / torch.linalg.vector_norm(direction.float()))
    kept = [dim for dim, size in enumerate(length.shape) if size != 1]
    others = [dim for dim in range(direction.dim()) if dim not in kept]
    norm = torch.linalg.vector_norm(direction.float(), dim=others or None, keepdim=True)
    scale = torch.where(norm > 0, length.float() / norm, torch.zeros_like(norm))
    return (direction.float() * scale).to(direction.dtype)


def _spectral(weight: Tensor, left: Tensor, right: Tensor | None) -> Tensor:
    """Return W / σ with σ = uᵀ W v; W as it is where the vectors do not fit it."""
    for dim in range(weight.dim()):  # the dimension that u belongs to is not stored
        rows = weight.movedim(dim, 0).flatten(1).float()
        if rows.shape[0] != left.numel() or (right is not None and rows.shape[1] != right.numel()):
            continue
        across = rows.T @ left.float()
        sigma = across.norm() if right is None else across @ right.float()
        return weight / sigma.to(weight.dtype) if sigma != 0 else weight
    return weight


def _parametrised(held: Mapping[str, Tensor], keep: Collection[str]) -> list[str]:
    """Return where parametrised weights lie: names up to ``….parametrizations.weight.``."""
    marks = (re.match(r"^(.*?parametrizations\.\w+\.)(?:original\d?)$", key) for key in held)
    starts = [mark[1] for mark in marks if mark and mark[0] not in keep]
    return list(dict.fromkeys(starts))


def _parametrisation(
    held: dict[str, Tensor], masks: dict[str, Tensor], start: str
) -> tuple[str, str]:
    """Replace the parts of one parametrised weight by the weight; return its name and how."""
    name = plain_name(start + "original")
    parts = {key.removeprefix(start): held[key] for key in held if key.startswith(start)}
    if name in held:
        return "", ""
    if {"original0", "original1"} <= parts.keys():
        if not _is_length(parts["original0"], parts["original1"]):
            return "", ""
        value = _of_length(parts["original1"], parts["original0"])
        note = "weights put together from a weight norm's parts"
    elif {"original", "0._u"} <= parts.keys():
        value = _spectral(parts["original"], parts["0._u"], parts.get("0._v"))
        note = "weights put together from a spectral norm's parts"
    elif "original" in parts:
        value, note = parts["original"], "weights read from a parametrisation"
        for key, tensor in parts.items():
            if key != "original" and _is_mask(tensor, value):
                masks[name] = tensor.bool() & masks.get(name, torch.tensor(True))
                note = "weights read from a parametrisation with a mask"
    else:
        return "", ""
    for key in parts:
        del held[start + key]
    held[name] = value
    return name, note


def _masked_by(key: str, held: Mapping[str, Tensor], keep: Collection[str]) -> str | None:
    """Return the weight that a tensor is the mask of, or None if it is no mask."""
    if key in keep:
        return None
    for pattern, names in _MASKS:
        mark = pattern.match(key)
        for name in (mark.expand(text) for text in names) if mark else ():
            if name != key and name in held and _is_mask(held[key], held[name]):
                return name
    return None


def _is_mask(tensor: Tensor, weight: Tensor) -> bool:
    """Whether a tensor has a weight's shape and holds zeros and ones alone."""
    if tensor.shape != weight.shape or tensor.dim() == 0:
        return False
    return tensor.dtype == torch.bool or bool(((tensor == 0) | (tensor == 1)).all())
