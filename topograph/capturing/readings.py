"""What a weighted operator reads: one node a column, or the mean of those at its positions.

And what the product with a constant reads, which has columns too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from topograph.capturing.fixed import FixedMap
from topograph.capturing.forms import Form
from topograph.capturing.nodes import Nodes, Provisional, Reading, signal_of
from topograph.capturing.partition import check_channels
from topograph.capturing.rules import Call
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


def mix_fixed(
    nodes: Nodes,
    by_element: Sequence[Provisional],
    rule: FixedMap,
    call: Call,
    signal: Signal,
    exact: bool,
) -> Signal:
    """Return what the product of a signal with a constant reads.

    Parameters
    ----------
    nodes
        Where mixed nodes are added.
    by_element
        The inputs whose elements are their nodes.
    rule, call, signal
        The product, and what its activation reads.
    exact
        Whether positions count (unit granularity). Otherwise taps are added up, as a weight's are.

    Raises
    ------
    Restart
        If positions read different elements of an input, whose nodes have to be its channels.
    """
    form = rule.form
    kernel = form.weight(rule.magnitude(call).cpu())  # (groups, rows, columns, taps)
    (reading,) = reads(nodes, by_element, rule.operator, form, signal, exact)
    if exact:
        return _by_unit(nodes, form, call, kernel.numpy(), reading.ids, reading.gain)
    table = kernel.sum(-1).numpy()
    g, r, c = np.nonzero(table)
    ids, factors = reading.ids[g, c], table[g, r, c]
    if reading.gain is not None:
        factors = factors * reading.gain[g, c]
    held = ids > 0
    n_rows = form.groups * form.rows
    rows = g * form.rows + r
    found, gain = nodes.mixed(call.node, rows[held], ids[held] - 1, factors[held], n_rows)
    made = signal_of(found, gain, (n_rows,))
    return Signal(form.by_row(made.ids), None if made.gain is None else form.by_row(made.gain))


def _by_unit(
    nodes: Nodes,
    form: Form,
    call: Call,
    kernel: np.ndarray,
    ids: np.ndarray,
    gains: np.ndarray | None,
) -> Signal:
    places = form.places()  # (taps, places of the result)
    element = torch.arange(math.prod(form.shape)).reshape(form.shape)
    result = form.result(element).numpy()  # (groups, rows, places of the result)
    g, r, c, t = np.nonzero(kernel)
    read = places[t]  # (coefficients, places of the result)
    inside = read >= 0
    sources = np.where(inside, ids[g[:, None], c[:, None], np.maximum(read, 0)], 0)
    factors = np.broadcast_to(kernel[g, r, c, t][:, None], read.shape)
    if gains is not None:
        factors = factors * gains[g[:, None], c[:, None], np.maximum(read, 0)]
    rows = result[g, r]
    held = sources > 0
    size = math.prod(form.shape)
    found = nodes.mixed(call.node, rows[held], sources[held] - 1, factors[held], size)
    return signal_of(*found, form.shape)
