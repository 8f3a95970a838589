"""Which tensor of a checkpoint is which of a model, and how a model holds them for a while."""

from __future__ import annotations

import contextlib
import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from topograph.errors import TopographError
from topograph.inspection.fingerprints import PASSING
from topograph.inspection.parametrised import assemble, part, plain_name
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
    unused
        Weights (two dimensions and more) of the checkpoint that the model has no place for.
    """

    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    notes: tuple[str, ...]
    unused: tuple[str, ...] = ()


def match(model: nn.Module, weights: Weights, origin: str = "the checkpoint") -> Match:
    """Give every parameter of ``model`` its tensor of a checkpoint, and every buffer that is there.

    Prefixes that wrappers add (``module.``, ``_orig_mod.``) are left out of account on both
    sides; so is one common prefix on either side (``model.``, ``net.``, …). Weights that one side
    stores in parts (pruned, parametrised) fit whole ones on the other. A parameter that the file
    leaves out is taken from the one it is tied to; a buffer that is left out or has another shape
    keeps the model's values. Tensors that the model has no place for are noted.

    Raises
    ------
    TopographError
        If a parameter has no tensor, or one of another shape; the message lists them, with the
        nearest names in the checkpoint.
    """
    expected = {
        name: tensor for name, tensor in model.state_dict().items() if isinstance(tensor, Tensor)
    }
    names = _canonical(expected)
    found = {plain: weights.state[key] for key, plain in _canonical(weights.state).items()}
    masks = {plain: weights.masks[key].bool() for key, plain in _canonical(weights.masks).items()}
    notes = list(weights.notes)

    prefix, own = _prefixes(list(found), list(names.values()))
    if prefix:
        outside = sum(not key.startswith(prefix) for key in found)
        notes.append(f"names are read without their prefix {prefix!r}")
        if outside:
            notes.append(f"{outside} tensors outside {prefix!r} are not used")
        found = {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}
        masks = {key.removeprefix(prefix): mask for key, mask in masks.items()}
    names = {name: plain.removeprefix(own) for name, plain in names.items()}
    whole = assemble(found, keep=set(names.values()))
    found = whole.state
    notes += whole.notes

    state, left, wrong = _fill(model, expected, names, found)
    if left or wrong:
        raise _mismatch(model, origin, left, wrong, expected, names, found, state)
    notes += _kept_buffers(expected, state)
    used = {names[name] for name in state} | {plain_name(names[name]) for name in state}
    extra = [key for key in found if key not in used and not key.endswith(PASSING)]
    if extra:
        notes.append(f"the model has no place for {_listed(extra, 'tensors')}")
    unused = tuple(key for key in extra if found[key].dim() > 1)
    masks = _named_masks(masks | whole.masks, names)
    return Match(state, masks, tuple(notes), unused)


def place_masks(parameters: Collection[str], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return masks under the names of parameters, however they are filed.

    Names may have the prefixes that :func:`match` leaves out of account, be those of the layers,
    or end in ``_mask`` or ``.mask``; names that fit nothing stay as they are.

    Examples
    --------
    >>> list(place_masks(["conv1.weight", "fc.weight"], {"module.conv1.mask": torch.ones(1)}))
    ['conv1.weight']
    """
    names = _canonical(dict.fromkeys(parameters))
    found = {plain: masks[key] for key, plain in _canonical(masks).items()}
    bare = [key.removesuffix("_mask").removesuffix(".mask") for key in found]
    layers = {name.rpartition(".")[0] for name in names.values()}
    prefix, own = _prefixes(bare, [*names.values(), *layers])
    short = {key.removeprefix(prefix): mask for key, mask in found.items()}
    return _named_masks(short, {name: plain.removeprefix(own) for name, plain in names.items()})


def _fill(
    model: nn.Module,
    expected: Mapping[str, Tensor],
    names: Mapping[str, str],
    found: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Return the model's tensors from ``found``, the parameters without one, and the misshapen."""
    state: dict[str, Tensor] = {}
    left: list[str] = []
    wrong: list[str] = []
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, plain in names.items():
        shape = expected[name].shape
        value = found.get(plain)
        if value is None:
            value = part(plain, shape, found.get(plain_name(plain)))
        if value is None or value.shape != shape:
            if name in parameters:
                (left if value is None else wrong).append(name)
            continue
        if expected[name].is_floating_point() and not value.is_floating_point() and value.dim() > 1:
            raise TopographError(
                f"{name} is stored as {value.dtype}, quantised with scales that are not known",
                "save the weights dequantised",
            )
        state[name] = value.to(expected[name].dtype)
    tied = {id(parameters[name]): value for name, value in state.items() if name in parameters}
    for name in list(left):
        if id(parameters[name]) in tied:
            state[name] = tied[id(parameters[name])]
            left.remove(name)
    return state, left, wrong


def _kept_buffers(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    kept = [n for n in expected if n not in state and not n.endswith(PASSING)]
    return [f"not in the checkpoint, so as the model has them: {_listed(kept, 'buffers')}"][
        : bool(kept)
    ]


def _mismatch(
    model: nn.Module,
    origin: str,
    left: list[str],
    wrong: list[str],
    expected: Mapping[str, Tensor],
    names: Mapping[str, str],
    found: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
) -> TopographError:
    """Return the error that says where a checkpoint and a model differ, and what to try."""
    shapes = {
        name: (tuple(found[names[name]].shape), tuple(expected[name].shape)) for name in wrong
    }
    heads = {name.rpartition(".")[0] for name in wrong}
    if not left and len(heads) == 1 and all(a[1:] == b[1:] for a, b in shapes.values()):
        (there, here) = next(iter(shapes.values()))
        return TopographError(
            f"the checkpoint has {there[0]} classes, the model {here[0]} ({next(iter(heads))}); "
            f"all other weights fit {type(model).__name__} in {origin}",
            f"build the model with {there[0]} classes, e.g. num_classes={there[0]}, or "
            f"classes={there[0]} for a pwmpr network",
        )
    placed = {names[name] for name in [*state, *wrong]}
    spare = [key for key in found if key not in placed]
    listed = []
    for name in left[:4]:
        alike = [key for key in spare if found[key].shape == expected[name].shape]
        near = difflib.get_close_matches(names[name], alike or spare, n=1, cutoff=0.3)
        listed.append(f"{name} (nearest: {near[0]})" if near else name)
    missing = f"{len(left)} missing: {', '.join(listed)}" + _more(left)
    misshapen = [f"{n} ({there} there, {here} in the model)" for n, (there, here) in shapes.items()]
    problems = [
        missing if left else "",
        _listed(misshapen, "of another shape") if wrong else "",
        _listed(spare, "unexpected") if spare and left else "",
    ]
    fits = f"{len(state)} of {len(expected)} tensors fit" if state else "no tensor fits"
    return TopographError(
        f"{origin} does not fit {type(model).__name__} ({fits}): "
        + "; ".join(filter(None, problems)),
        "build the model with the arguments it was trained with, or name another model",
    )


def _canonical(names: Mapping[str, object]) -> dict[str, str]:
    """Map every name to itself without wrappers' parts; to itself alone where two would meet."""
    plain = {n: ".".join(part for part in n.split(".") if part not in _WRAPPED) for n in names}
    return plain if len(set(plain.values())) == len(plain) else {name: name for name in names}


def _prefixes(found: Sequence[str], expected: Sequence[str]) -> tuple[str, str]:
    """Return the prefixes of either side under which most names agree; at most one is not empty."""
    there, here = {plain_name(n) for n in found}, {plain_name(n) for n in expected}
    in_file, in_model = _prefix(there, here), _prefix(here, there)
    return (in_file[1], "") if in_file[0] >= in_model[0] else ("", in_model[1])


def _prefix(longer: Collection[str], shorter: Collection[str]) -> tuple[int, str]:
    """Return how many names agree without the best prefix of ``longer``, and the prefix."""
    hits: Counter[str] = Counter({"": 0})
    for name in longer:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in shorter:
                hits["".join(f"{part}." for part in parts[:start])] += 1
    best = min(hits, key=lambda prefix: (-hits[prefix], len(prefix), prefix))
    return hits[best], best


def _named_masks(masks: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return masks by parameter; they may be filed under the layer, ``x_mask`` or ``x.mask``."""
    back = {plain: name for name, plain in names.items()}
    whole = {plain_name(plain): name for plain, name in back.items() if plain.endswith("_orig")}
    whole |= {plain_name(plain): name for plain, name in back.items() if "parametriz" in plain}
    placed = {}
    for key, mask in masks.items():
        bare = key.removesuffix("_mask").removesuffix(".mask")
        ways = (key, bare, f"{bare}.weight", f"{key}.weight")
        name = next((back[way] for way in ways if way in back), None)
        name = name or next((whole[way] for way in ways if way in whole), key)
        placed[name] = mask
    return placed


def _listed(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what}: {', '.join(names[:4])}{_more(names)}"


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 4} more" if len(names) > 4 else ""


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
