"""Which elements of an input are one node at channel granularity.

Every element by itself, unless the input is read at many positions by one weight (a convolution, a
linear layer on tokens): then the channels, or features, that it reads are the nodes. Which axis
these lie along is seen where the ids arrive; so ids start out by element, and start again with
this partition once it is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, fx

from topograph.capturing.nodes import Nodes, Provisional
from topograph.capturing.plan import Plan


class Restart(Exception):  # noqa: N818
    """Ids have to be followed again, with other nodes for some inputs.

    Parameters
    ----------
    partitions
        Placeholder name to the node of each input element, broadcastable to the input's shape.
    """

    def __init__(self, partitions: dict[str, Tensor]) -> None:
        super().__init__()
        self.partitions = partitions


def first_kinds(plan: Plan) -> dict[fx.Node, str]:
    """Return for each input the kind of the first weighted operator that reads it."""
    found: dict[fx.Node, str] = {}
    readers: dict[fx.Node, set[fx.Node]] = {node: {node} for node in plan.inputs}
    for step in plan.steps:
        inputs = set().union(*(readers.get(node, set()) for node in step.operands))
        if step.operator is None:
            readers[step.node] = inputs
        else:
            for node in inputs:
                found.setdefault(node, step.operator.kind)
    return found


def check_channels(nodes: Nodes, inputs: Sequence[Provisional], ids: Tensor) -> None:
    """Start again if a row reads different elements of an input at different positions.

    Parameters
    ----------
    nodes
        The nodes found so far.
    inputs
        The inputs whose elements are their nodes.
    ids
        (rows, positions) of provisional numbers plus 1: what each channel reads.

    Raises
    ------
    Restart
        With a partition of every such input by the rows that read it.
    """
    if not inputs:
        return
    row = np.full(nodes.count, -1)
    rows = torch.arange(len(ids))[:, None].expand(ids.shape)[ids > 0]
    row[ids[ids > 0].numpy() - 1] = rows.numpy()
    free = len(ids)  # the first label that is not used
    for group in reversed(nodes.groups):
        inside = slice(group.start, group.start + group.size)
        if group.merge is not None:
            given = row[group.merge.group.start + group.merge.nodes]
            row[inside] = np.where(given >= 0, free + given, -1)
        highest = int(row[inside].max(initial=-1))
        free = max(free, highest + 1)
        for links in group.links if highest >= 0 else []:
            given = row[group.start + links.targets]
            if group.kind == "sum":  # its terms (three colours made one) are different channels
                given = np.where(given >= 0, free + given, -1)
                free += highest + 1
            row[links.sources[given >= 0]] = given[given >= 0]
    found = {}
    for group in inputs:
        labels = row[group.start : group.start + group.size]
        read = labels[labels >= 0]
        if len(read) > len(np.unique(read)):
            assert group.index is not None
            shape = tuple(group.index.shape)
            found[group.node.name] = _partition(labels.reshape(shape))
    if found:
        raise Restart(found)


def _partition(labels: np.ndarray) -> Tensor:
    """Return the nodes of an input's elements, given the row that reads each (-1: none).

    Where each index along one axis has its own row, the nodes are these indices (elements that are
    not read join them); otherwise the rows are, and elements that are not read stay alone.
    """
    for axis in np.argsort(labels.shape, kind="stable"):
        lines = np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1)
        highest = lines.max(1)
        known = highest >= 0
        same = np.where(lines >= 0, lines, highest[:, None]) == highest[:, None]
        if bool(same.all()) and len(np.unique(highest[known])) == int(known.sum()):
            shape = [1] * labels.ndim
            shape[axis] = labels.shape[axis]
            return torch.arange(labels.shape[axis]).reshape(shape)
    flat = labels.reshape(-1).copy()
    unread = flat < 0
    flat[unread] = flat.max() + 1 + np.arange(int(unread.sum()))
    nodes = np.unique(flat, return_inverse=True)[1]
    return torch.from_numpy(nodes.reshape(labels.shape))
