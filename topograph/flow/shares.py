"""Which part of all path weight runs through each node of a traced model.

A node's path centrality is the sum of value times gradient over the positions at which it is read
off; where that is says the layout (:mod:`topograph.capturing.layout`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from topograph.capturing.weights import Operator
from topograph.flow.blockfloat import BlockFloat, shifted

if TYPE_CHECKING:
    from topograph.capturing.layout import Layout, Site


def shares(
    layout: Layout,
    values: Mapping[fx.Node, BlockFloat],
    gradients: Mapping[fx.Node, BlockFloat],
    tokens: Callable[[Operator], BlockFloat],
    total: BlockFloat,
) -> dict[str, Tensor]:
    """Return group name to the nodes' shares C/R, float64 on the CPU.

    Parameters
    ----------
    layout
        The groups and where their nodes are read off.
    values, gradients
        By the nodes of the traced graph; a site that is in neither lies on no path.
    tokens
        What :func:`of_tokens` says of an embedding.
    total
        R, of one element.
    """
    tables = {}  # first node of a vocabulary to the embedding that reads it
    for wiring in layout.operators:
        if wiring.operator.kind == "embedding":
            tables[int(wiring.sources.flat[0])] = wiring.operator
    found = {}
    for name, group in layout.groups.items():
        part = BlockFloat(torch.zeros(group.size, dtype=torch.float64))
        site = layout.sites.get(name)
        if site is None and group.start in tables:
            op = tables[group.start]
            part = tokens(op)
        elif site is not None and site.node in values and site.node in gradients:
            part = _of_site(site, values[site.node], gradients[site.node], group.size)
        if float(total.mantissa):
            part = BlockFloat(part.mantissa / float(total.mantissa), part.exponent - total.exponent)
            found[name] = shifted(part.mantissa, part.exponent)
        else:
            found[name] = torch.zeros(group.size, dtype=torch.float64)
    return found


def of_tokens(op: Operator, leaf: Tensor, gradient: BlockFloat) -> BlockFloat:
    """Return Σ |θ| S over the row of each token: all of its paths begin in that row."""
    rows = (op.readdress(leaf) * op.readdress(gradient.mantissa)).sum(1, dtype=torch.float64)
    return BlockFloat(rows.cpu(), gradient.exponent)


def _of_site(site: Site, value: BlockFloat, gradient: BlockFloat, size: int) -> BlockFloat:
    """Return Σ value · gradient over the positions of each node of a site."""
    product = value.mantissa * gradient.mantissa
    index = site.index
    index = index.reshape(*[1] * (product.dim() - index.dim()), *index.shape)
    # Where the index is the same along an axis, the sum over that axis comes first.
    axes = [i for i in range(product.dim()) if index.shape[i] == 1]
    if axes:
        product = product.sum(axes, keepdim=True, dtype=torch.float64)
    ids = index.expand(product.shape).reshape(-1).cpu()
    flat = product.reshape(-1).to("cpu", torch.float64)
    held = ids >= 0
    sums = torch.zeros(size, dtype=torch.float64)
    sums.index_add_(0, ids[held], flat[held])
    return BlockFloat(sums, value.exponent + gradient.exponent)


def at_nodes(
    nodes: Sequence[fx.Node], blocks: Sequence[BlockFloat | None]
) -> dict[fx.Node, BlockFloat]:
    """Return node to block for the blocks that there are."""
    return {n: b for n, b in zip(nodes, blocks, strict=True) if b is not None}
