"""What pooled, interpolated, averaged and summed values read: fixed linear mixtures of nodes.

The coefficients are not written down a second time: the rule of the tensor path is run on one-hot
images, and its results are the columns of the matrix.

At channel granularity space plays no part: where all that a window holds is one node, it is read
as it is, and where it holds several, in the proportion of the window's part inside the image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from topograph.capturing.attention import by_head, weights
from topograph.capturing.nodes import Nodes, signal_of
from topograph.capturing.rules import Call, Rule
from topograph.capturing.signals import Signal, constant_axes, narrowed, single
from topograph.capturing.trace import place_of
from topograph.capturing.weights import packet
from topograph.errors import TopographError

#: Largest number of coefficients of one mixture that is looked at.
LIMIT = 1 << 28


def mix_windows(
    nodes: Nodes, call: Call, rule: Rule, signal: Signal, shape: tuple[int, ...], exact: bool
) -> Signal:
    """Return what a pooled or interpolated activation reads.

    Parameters
    ----------
    nodes
        Where mixed nodes are added.
    call, rule
        The operator, and what it does to a tensor; the same in every plane of trailing axes.
    signal, shape
        What its operand reads, and the result's shape.
    exact
        Whether positions count (unit granularity).
    """
    axes = spatial_axes(call)
    leading = signal.shape[:-axes]
    if not exact:
        only, gain = _settled(signal, axes)
        if bool((only >= 0).all()):
            gain = gain * _interior(call, rule, signal)
            ones = (*leading, *[1] * axes)
            found = signal_of(only.numpy(), gain.numpy(), tuple(only.shape))
            moved = found.moved(lambda t: t.reshape(ones))
            assert isinstance(moved, Signal)
            return moved.expand((*leading, *shape[-axes:]))
    matrix = _matrix(call, rule, signal.shape, axes, shape)
    n_out, n_in = matrix.shape
    ids = signal.ids.reshape(-1, n_in).numpy()
    gains = signal.gains.reshape(-1, n_in).numpy()
    if len(ids) * matrix.nnz > LIMIT:
        raise _too_large(call, len(ids) * matrix.nnz)
    entries = matrix.tocoo()
    out, place = entries.coords
    sources = ids[:, place]
    factors = entries.data[None] * (sources > 0)
    rows = out[None] + n_out * np.arange(len(ids))[:, None]
    if not exact:
        inside = (matrix @ (ids > 0).T).T  # (planes, places of the result)
        factors = factors / np.where(inside > 0, inside, 1)[:, out]
        factors = factors * _interior(call, rule, signal)
    factors = factors * gains[:, place]
    held = sources > 0
    mixed = nodes.mixed(call.node, rows[held], sources[held] - 1, factors[held], n_out * len(ids))
    return signal_of(*mixed, (*leading, *shape[-axes:]))


def mix_axes(
    nodes: Nodes,
    call: Call,
    signal: Signal,
    shape: tuple[int, ...],
    axes: Sequence[int],
    mean: bool,
    exact: bool,
) -> Signal:
    """Return what a mean or sum over whole axes reads (all axes if none are given)."""
    dims = len(signal.shape)
    reduced = sorted(axis % dims for axis in axes) or list(range(dims))
    ids, gains = signal.ids, signal.gains
    constant = constant_axes(ids, gains) if dims else []
    repeated = int(np.prod([ids.shape[axis] for axis in constant if axis in reduced]))
    n_terms = int(np.prod([ids.shape[axis] for axis in reduced]))
    ids, gains = narrowed(ids, constant), narrowed(gains, constant)
    ids = ids.movedim(reduced, list(range(-len(reduced), 0))) if reduced else ids
    gains = gains.movedim(reduced, list(range(-len(reduced), 0))) if reduced else gains
    outer = ids.shape[: dims - len(reduced)]
    sources = ids.reshape(int(np.prod(outer)), -1).numpy()
    factors = gains.reshape(sources.shape).numpy() * (sources > 0)
    if not mean:
        factors = factors * repeated
    elif exact:
        factors = factors * (repeated / n_terms)
    else:
        factors = factors / np.maximum(1, (sources > 0).sum(1, keepdims=True))
    rows = np.broadcast_to(np.arange(len(sources))[:, None], sources.shape)
    held = sources > 0
    mixed = nodes.mixed(call.node, rows[held], sources[held] - 1, factors[held], len(sources))
    found = signal_of(*mixed, tuple(outer))
    kept = [size for axis, size in enumerate(signal.shape) if axis not in reduced]
    moved = found.expand(kept).moved(lambda t: t.reshape(shape))
    assert isinstance(moved, Signal)
    return moved


def mix_folded(
    nodes: Nodes, call: Call, signal: Signal, shape: tuple[int, ...], exact: bool
) -> Signal:
    """Return what values read to which the elements of overlapping windows are added up.

    The operand is (…, channels × places of a window, windows). Where each element goes is seen by
    cutting windows out of an image of its own places.
    """
    ids, gains = signal.ids, signal.gains
    planes = int(np.prod(shape[:-2]))  # batch and channels
    n_out = shape[-2] * shape[-1]
    image = torch.arange(1, n_out + 1, dtype=torch.float64).reshape(1, 1, *shape[-2:])
    cut = torch.nn.functional.unfold(
        image, call["kernel_size"], call["dilation"], call["padding"], call["stride"]
    )
    place = cut.reshape(-1).long().numpy() - 1  # (places of a window × windows); -1 in the padding
    sources = ids.reshape(planes, -1).numpy()
    factors = gains.reshape(planes, -1).numpy()
    held = (sources > 0) & (place >= 0)
    rows = place[None] + n_out * np.arange(planes)[:, None]
    if not exact:  # the mean of what is read, as often as a place in the middle is covered
        counts = np.bincount(rows[held], minlength=planes * n_out)
        covered = np.bincount(place[place >= 0], minlength=n_out).max()
        factors = factors * (covered / np.maximum(1, counts))[np.maximum(rows, 0)]
    size = planes * n_out
    return signal_of(
        *nodes.mixed(call.node, rows[held], sources[held] - 1, factors[held], size), shape
    )


def mix_values(
    nodes: Nodes, call: Call, signal: Signal, shape: tuple[int, ...], exact: bool
) -> Signal:
    """Return what the result of an attention reads: means of its values over the keys."""
    found = signal.moved(lambda tensor: by_head(call, tensor))
    assert isinstance(found, Signal)
    allowed = weights(call, torch.zeros(found.shape, dtype=torch.float64, device="cpu"))
    if allowed is None or not exact:
        return mix_product(nodes, call, -2, found.shape[-2], found, shape, exact)
    n_queries, n_keys = shape[-2], found.shape[-2]
    matrices = allowed.expand(*shape[:-1], n_keys).reshape(-1, n_queries, n_keys).numpy()
    ids = found.ids.reshape(len(matrices), n_keys, -1).numpy()
    gains = found.gains.reshape(ids.shape).numpy()
    n_features = ids.shape[2]
    if np.count_nonzero(matrices) * n_features > LIMIT:
        raise _too_large(call, np.count_nonzero(matrices) * n_features)
    plane, query, key = np.nonzero(matrices)
    sources = ids[plane, key]  # (coefficients, features)
    factors = matrices[plane, query, key][:, None] * gains[plane, key]
    rows = (plane * n_queries + query)[:, None] * n_features + np.arange(n_features)
    held = sources > 0
    size = int(np.prod(shape))
    mixed = nodes.mixed(call.node, rows[held], sources[held] - 1, factors[held], size)
    return signal_of(*mixed, shape)


def mix_product(
    nodes: Nodes,
    call: Call,
    axis: int,
    size: int,
    signal: Signal,
    shape: tuple[int, ...],
    exact: bool,
) -> Signal:
    """Return what Σ over an axis of signal / size reads, for every place along a new axis."""
    reduced = list(signal.shape)
    terms = reduced[axis]
    reduced[axis] = 1
    found = mix_axes(nodes, call, signal, tuple(reduced), [axis], mean=True, exact=exact)
    if terms != size:
        found = found.times(torch.tensor(terms / size, dtype=torch.float64))
    return found.expand(shape)


def reduced_axes(call: Call) -> list[int]:
    """Return the axes that a mean, maximum or sum runs over; none for all of them."""
    names = [argument.name for argument in call.node.target._schema.arguments]  # type: ignore
    axes = call["dim"] if "dim" in names else None
    if axes is None:
        return []
    return [int(axis) for axis in (axes if isinstance(axes, (tuple, list)) else [axes])]


def spatial_axes(call: Call) -> int:
    """Return how many trailing axes a pooling or interpolation works on."""
    found = re.search(r"([123])d", packet(call.node).__name__)
    assert found is not None
    return int(found[1])


def _settled(signal: Signal, axes: int) -> tuple[Tensor, Tensor]:
    """Return each plane's only id (-1 if it has several) and its mean gain where it reads."""
    constant = constant_axes(signal.ids, signal.gains)
    trailing = [a for a in constant if a >= len(signal.shape) - axes]
    ids = narrowed(signal.ids, trailing).flatten(-axes).flatten(0, -2)
    gains = narrowed(signal.gains, trailing).flatten(-axes).flatten(0, -2)
    held = ids > 0
    return single(ids, 1), (gains * held).sum(1) / held.sum(1).clamp(min=1)


def _interior(call: Call, rule: Rule, signal: Signal) -> float:
    """Return what the coefficients of a whole window add up to."""
    names = [argument.name for argument in call.node.target._schema.arguments]  # type: ignore
    if "divisor_override" not in names or call["divisor_override"] is None:
        return 1.0
    ones = torch.ones(signal.shape, dtype=torch.float64)
    return float(rule(call, ones).amax())  # type: ignore[union-attr]


def _matrix(
    call: Call, rule: Rule, operand: tuple[int, ...], axes: int, shape: tuple[int, ...]
) -> sp.csr_array:
    """Return the coefficients of one plane: (places of the result, places of the operand)."""
    n_in, n_out = int(np.prod(operand[-axes:])), int(np.prod(shape[-axes:]))
    if n_in * n_out > LIMIT:
        raise _too_large(call, n_in * n_out)
    planes = int(np.prod(operand[:-axes]))
    columns = []
    for start in range(0, n_in, planes):
        images = torch.zeros(planes, n_in, dtype=torch.float64)
        count = min(planes, n_in - start)
        images[torch.arange(count), start + torch.arange(count)] = 1
        result = rule(call, images.reshape(operand))
        assert isinstance(result, Tensor)
        columns.append(sp.csr_array(result.reshape(planes, n_out)[:count].numpy()))
    return sp.csr_array(sp.vstack(columns).T)


def _too_large(call: Call, count: int) -> TopographError:
    return TopographError(
        f"{place_of(call.node)} mixes values that read different nodes, with {count} "
        f"coefficients; expected at most {LIMIT}",
        "capture with an example_input of smaller height and width",
    )
