"""Which tensor of a checkpoint is which of a model, and how a model holds them for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from topograph.errors import TopographError
from topograph.inspection.wrappings import Weights

#: Parts of names that wrappers of a model add (DataParallel, torch.compile).
_WRAPPED = frozenset({"module", "_orig_mod"})


@dataclass(frozen=True)
class Match:
    """A checkpoint's tensors under the names of a model.

    Attributes
    ----------
    state
        Name in the model to tensor of the shape and type that it has there.
    masks
        Parameter name to bool tensor.
    notes
        What a reader of a report should know about the matching.
    """

    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    notes: tuple[str, ...]


def match(model: nn.Module, weights: Weights, origin: str = "the checkpoint") -> Match:
    """Give every parameter and buffer of ``model`` its tensor of a checkpoint.

    Prefixes that wrappers add (``module.``, ``_orig_mod.``) are left out of account on both
    sides; so is one common prefix in the checkpoint (``model.``, ``net.``, …). A pair ``x_orig``,
    ``x_mask`` of ``torch.nn.utils.prune`` fits a plain ``x``. Apart from that, names and shapes
    have to agree one to one.

    Raises
    ------
    TopographError
        If they do not; the message lists what is missing, unexpected and of another shape.
    """
    expected = {
        name: tensor for name, tensor in model.state_dict().items() if isinstance(tensor, Tensor)
    }
    names = _canonical(expected)
    found = {plain: weights.state[key] for key, plain in _canonical(weights.state).items()}
    masks = {plain: weights.masks[key].bool() for key, plain in _canonical(weights.masks).items()}
    notes = list(weights.notes)

    prefix = _prefix(list(found), list(names.values()))
    outside = [key for key in found if not key.startswith(prefix)]
    if prefix:
        notes.append(f"names are read without their prefix {prefix!r}")
        if outside:
            notes.append(f"{len(outside)} tensors outside {prefix!r} are not used")
        found = {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}
        masks = {key.removeprefix(prefix): mask for key, mask in masks.items()}
    pruned = _merge_pruned(found, masks, set(names.values()))
    if pruned:
        notes.append(f"{pruned} weights stored as weight_orig with weight_mask")

    state: dict[str, Tensor] = {}
    missing, misshapen = [], []
    for name, plain in names.items():
        value = found.pop(plain, None)
        if value is None and not plain.endswith("num_batches_tracked"):
            missing.append(name)
        elif value is not None and value.shape != expected[name].shape:
            misshapen.append(
                f"{name} ({tuple(value.shape)} there, {tuple(expected[name].shape)} in the model)"
            )
        elif value is not None:
            state[name] = value.to(expected[name].dtype)
    unexpected = [key for key in found if not key.endswith("num_batches_tracked")]
    problems = [
        _listed(missing, "missing"),
        _listed(unexpected, "unexpected"),
        _listed(misshapen, "of another shape"),
    ]
    if any(problems):
        raise TopographError(
            f"{origin} does not fit {type(model).__name__}: " + "; ".join(filter(None, problems)),
            "build the model with the arguments it was trained with, or name another model",
        )
    back = {plain: name for name, plain in names.items()}
    return Match(state, {back.get(k, k): m for k, m in masks.items()}, tuple(notes))


def _canonical(names: Mapping[str, object]) -> dict[str, str]:
    """Map every name to itself without wrappers' parts; to itself alone where two would meet."""
    plain = {n: ".".join(part for part in n.split(".") if part not in _WRAPPED) for n in names}
    return plain if len(set(plain.values())) == len(plain) else {name: name for name in names}


def _prefix(found: Sequence[str], expected: Sequence[str]) -> str:
    """Return the prefix in the checkpoint under which most of the expected names are."""
    there = set(found)
    candidates = {""}
    for name in expected[:2]:
        for stand_in in (name, name + "_orig"):
            candidates |= {k.removesuffix(stand_in) for k in found if k.endswith("." + stand_in)}

    def score(prefix: str) -> tuple[int, int]:
        hits = sum(prefix + name in there or prefix + name + "_orig" in there for name in expected)
        return hits, -len(prefix)

    return max(sorted(candidates), key=score)


def _merge_pruned(found: dict[str, Tensor], masks: dict[str, Tensor], expected: set[str]) -> int:
    """Turn pairs ``x_orig``, ``x_mask`` into ``x`` and a mask where the model has a plain ``x``."""
    merged = 0
    for key in [key for key in found if key.endswith("_orig")]:
        name = key.removesuffix("_orig")
        if name in expected and key not in expected and name + "_mask" in found:
            mask = found.pop(name + "_mask").bool()
            found[name] = found.pop(key)
            masks[name] = mask
            merged += 1
    for key in list(masks):  # masks may be filed under the layer or under weight_mask
        for name in (key.removesuffix("_mask"), key + ".weight"):
            if key not in expected and name in expected:
                masks[name] = masks.pop(key)
                break
    return merged


def _listed(names: Sequence[str], what: str) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{len(names)} {what}: {', '.join(names[:4])}{more}"


@contextlib.contextmanager
def holding(model: nn.Module, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Run the body with ``state`` in place of the model's own values, which come back afterwards.

    The tensor objects stay the model's (tied weights stay tied, optimisers keep their
    references); only the storage behind them is exchanged, so nothing is copied.

    Raises
    ------
    TopographError
        If the model's tensors are on the meta device, which has no storage to exchange.
    """
    own: dict[str, Tensor] = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    if state and any(own[name].is_meta for name in state):
        raise TopographError(
            "the model is on the meta device; expected one with weights", "build it on the CPU"
        )
    before = {id(tensor): (tensor, tensor.data) for tensor in own.values()}
    try:
        with torch.no_grad():
            for name, value in state.items():
                own[name].data = value.to(own[name].device)
        yield
    finally:
        for tensor, data in before.values():
            tensor.data = data
