"""What a weighted operator reads: one node a column, or the mean of those at its positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from topograph.capturing.forms import Form
from topograph.capturing.nodes import Nodes, Provisional, Reading
from topograph.capturing.partition import check_channels
from topograph.capturing.signals import Signal, constant_axes, narrowed, single
from topograph.capturing.weights import Operator


def vocabulary(nodes: Nodes, op: Operator, form: Form, exact: bool) -> Reading:
    """Return what an embedding reads: a new input group of one-hot tokens (of each position)."""
    places = int(np.prod(form.shape[:-1])) if exact else 1
    group = nodes.add("input", form.columns * places, op.signal)
    ids = np.arange(group.start + 1, group.start + 1 + group.size)
    columns = ids.reshape(places, form.columns).T[None]
    return Reading(op, form, columns if exact else columns[..., 0], None)


def reads(
    nodes: Nodes,
    by_element: Sequence[Provisional],
    op: Operator,
    form: Form,
    signal: Signal,
    exact: bool,
    split: bool = False,
) -> list[Reading]:
    """Return what an operator reads of a signal: one reading for all places, or several.

    Parameters
    ----------
    nodes
        Where mixed nodes are added.
    by_element
        The inputs whose elements are their nodes.
    op, form, signal
        The use of a weight, its form, and what its activation reads.
    exact
        Whether positions count (unit granularity). Otherwise columns are read as a whole: places
        that read nothing (padding, constants) are left out, others count the same.
    split
        Whether places that read differently have readings of their own (linear layers only; a
        convolution's windows overlap).

    Raises
    ------
    Restart
        If positions read different elements of an input, whose nodes have to be its channels.
    """
    if exact:
        gain = None if signal.gain is None else form.signal(signal.gain).numpy()
        return [Reading(op, form, form.signal(signal.ids).numpy(), gain)]
    constant = [
        axis
        for axis in constant_axes(signal.ids, signal.gains)
        if axis in form.position_axes(signal.ids.dim())
    ]
    ids = form.signal(narrowed(signal.ids, constant))  # (groups, columns, positions)
    gains = form.signal(narrowed(signal.gains, constant))
    only = single(ids, -1)
    held = ids > 0
    count = held.sum(-1).clamp(min=1)
    apart = split and form.taps == 1 and bool((ids != ids[..., :1]).any())
    if not apart and bool((only >= 0).all()):
        gain = None
        if signal.gain is not None:
            gain = ((gains * held).sum(-1) / count).numpy()
        return [Reading(op, form, only.numpy(), gain)]
    check_channels(nodes, by_element, ids.flatten(0, 1))
    if apart:
        return _classes(op, form, signal)
    rows = torch.arange(only.numel()).reshape(*only.shape, 1).expand(ids.shape)
    factors = gains / count[..., None]
    mixed, gain = nodes.mixed(
        op.node,
        rows[held].numpy(),
        ids[held].numpy() - 1,
        factors[held].numpy(),
        only.numel(),
    )
    shape = tuple(only.shape)
    return [Reading(op, form, mixed.reshape(shape), gain.reshape(shape))]


def _classes(op: Operator, form: Form, signal: Signal) -> list[Reading]:
    """Return a reading for each set of places that read the same nodes, in order of appearance."""
    ids = form.signal(signal.ids).numpy()  # (groups, columns, places)
    gains = form.signal(signal.gains).numpy()
    keys = np.concatenate([ids, gains], axis=1).reshape(-1, ids.shape[2]).T
    _, first, kind = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    readings = []
    for number in np.argsort(first):
        places = np.flatnonzero(kind.reshape(-1) == number)
        place = places[0]
        gain = None if signal.gain is None else gains[..., place]
        readings.append(Reading(op, form, ids[..., place], gain, places=places))
    return readings
