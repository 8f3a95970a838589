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
) -> Reading:
    """Return what an operator reads of a signal.

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

    Raises
    ------
    Restart
        If positions read different elements of an input, whose nodes have to be its channels.
    """
    if exact:
        gain = None if signal.gain is None else form.signal(signal.gain).numpy()
        return Reading(op, form, form.signal(signal.ids).numpy(), gain)
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
    if bool((only >= 0).all()):
        gain = None
        if signal.gain is not None:
            gain = ((gains * held).sum(-1) / count).numpy()
        return Reading(op, form, only.numpy(), gain)
    check_channels(nodes, by_element, ids.flatten(0, 1))
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
    return Reading(op, form, mixed.reshape(shape), gain.reshape(shape))
