"""Which edges an operator has between units: every kept tap at every position is one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from topograph.capturing.compose import from_entries, pattern, product
from topograph.capturing.edges import Groups, column_reads, split
from topograph.capturing.forms import Form
from topograph.capturing.plan import Plan
from topograph.capturing.weights import Binding
from topograph.capturing.wiring import Layout, Wiring
from topograph.errors import TopographError
from topograph.graph.blocks import Block

#: Largest number of edges of a graph at unit granularity.
EDGE_LIMIT = 10_000_000


def check_size(plan: Plan, binding: Binding) -> None:
    """Refuse a unit graph that is too large, before anything of its size is made.

    Raises
    ------
    TopographError
        If there would be more than ``EDGE_LIMIT`` edges.
    """
    edges = 0
    for op in plan.operators:
        form = Form.of(op)
        places = math.prod(form.shape) // (form.groups * form.rows)
        edges += int(op.readdress(binding.mask(op)).sum()) * places
    if edges > EDGE_LIMIT:
        raise TopographError(
            f"the graph at unit granularity would have up to {edges:,} edges; expected at most "
            f"{EDGE_LIMIT:,}",
            'pass an example_input of smaller height and width, or use granularity="channel"',
        )


def unit_blocks(
    layout: Layout, groups: Groups, wiring: Wiring, binding: Binding
) -> Iterator[Block]:
    """Yield the blocks of one operator, one for each group that it reads."""
    (target,) = groups.of(wiring.targets)
    op, form = wiring.operator, wiring.form
    weights = form.weight(op.readdress(binding.magnitude(op)).cpu()).double().numpy()
    kept = form.weight(op.readdress(binding.mask(op)).cpu()).numpy()
    places = form.places()  # (taps, places of the result)
    n_reads = wiring.sources.size
    # What each tap of each column reads at each place of the result: an index into sources.
    index = np.arange(n_reads).reshape(wiring.sources.shape)[:, :, np.maximum(places, 0)]
    index[:, :, places < 0] = -1
    g, r, c, t = np.nonzero(kept)
    read = index[g, c, t]  # (kept weights, places of the result)
    rows = np.where(wiring.targets >= 0, wiring.targets - target.start, -1)[g * form.rows + r]
    values = np.broadcast_to(weights[g, r, c, t][:, None], read.shape)
    if wiring.factor is not None:
        values = values * wiring.factor[g * form.rows + r]
    valid = (read >= 0) & (rows >= 0)
    rows, read, values = rows[valid], read[valid], values[valid]
    if wiring.gain is not None:
        values = values * wiring.gain.reshape(-1)[read]
    reads = column_reads(layout, wiring.sources.reshape(-1))
    shape = (target.size, n_reads)
    used = (wiring.targets.reshape(form.groups, form.rows, -1) >= 0).sum(1)  # (groups, places)
    each = np.broadcast_to(used[:, None, None], index.shape)
    counts = np.bincount(index[index >= 0], weights=each[index >= 0], minlength=n_reads)
    positions = sp.csr_array(sp.diags_array(counts) @ pattern(reads))
    for edges in split(
        groups,
        product(from_entries(rows, read, values, shape), reads),
        product(from_entries(rows, read, np.ones(len(read)), shape), pattern(reads)),
        positions,
    ):
        yield edges.block(target, wiring)
