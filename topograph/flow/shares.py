"""Which part of all path weight runs through each node of a traced model.

A node's path centrality is the sum of value times gradient over the positions at which it is read
off; where that is says the layout (:mod:`topograph.capture.layout`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from topograph.flow.blockfloat import BlockFloat, shifted

if TYPE_CHECKING:
    from topograph.capture.layout import Layout, Site


def shares(
    layout: Layout,
    values: Mapping[fx.Node, BlockFloat],
    gradients: Mapping[fx.Node, BlockFloat],
    total: BlockFloat,
) -> dict[str, Tensor]:
    """Return group name to the nodes' shares C/R, float64 on the CPU.

    Parameters
    ----------
    layout
        The groups and where their nodes are read off.
    values, gradients
        By the nodes of the traced graph; a site that is in neither lies on no path.
    total
        R, of one element.
    """
    found = {}
    for name, site in layout.sites.items():
        size = layout.groups[name].size
        if site.node not in values or site.node not in gradients or not float(total.mantissa):
            found[name] = torch.zeros(size, dtype=torch.float64)
            continue
        parts = centrality(site, values[site.node], gradients[site.node], size)
        exponent = values[site.node].exponent + gradients[site.node].exponent - total.exponent
        found[name] = shifted(parts / float(total.mantissa), exponent)
    return found


def centrality(site: Site, value: BlockFloat, gradient: BlockFloat, size: int) -> Tensor:
    """Return the mantissas of Σ value · gradient for each node of a site, float64 on the CPU."""
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
    return sums.index_add_(0, ids[held], flat[held])


def at_nodes(
    nodes: Sequence[fx.Node], blocks: Sequence[BlockFloat | None]
) -> dict[fx.Node, BlockFloat]:
    """Return node to block for the blocks that there are."""
    return {n: b for n, b in zip(nodes, blocks, strict=True) if b is not None}
