"""Where several signals meet in one node: residual sums, and what the outputs read.

A sum of two signals that read the same nodes (x + x, or two parts that do not overlap) needs no
node. Any other sum is one group of nodes, and both operands' nodes lead into it by fixed links;
except that an operand which is all of a group, node by node, and is read nowhere else *becomes*
the sum: its own inputs lead into the sum directly.

At channel granularity a node stands for all positions. Axes are positions where one operand reads
the same node everywhere along them, unless the operand with the earliest nodes (the residual
stream) reads a different one at every place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, fx

from topograph.capturing.nodes import Links, Merge, Nodes, Provisional
from topograph.capturing.plan import Plan
from topograph.capturing.signals import (
    Signal,
    constant_axes,
    distinct_along,
    narrowed,
    uniform_along,
)
from topograph.capturing.steps import Step
from topograph.capturing.trace import shape_of
from topograph.errors import TopographError


class Sums:
    """Makes the groups of sums and outputs.

    Parameters
    ----------
    plan
        The steps, for who reads what.
    nodes
        Where groups are added.
    exact
        Whether every position is a node (unit granularity).
    split
        Whether positions that read differently are nodes of their own.
    """

    def __init__(self, plan: Plan, nodes: Nodes, exact: bool, split: bool = False) -> None:
        self.nodes = nodes
        self.exact = exact
        self.split = split
        self._returned = set(plan.outputs)
        self._steps: dict[fx.Node, Step] = {step.node: step for step in plan.steps}
        self._readers: dict[fx.Node, list[fx.Node]] = {}
        for step in plan.steps:
            for node in step.operands:
                self._readers.setdefault(node, []).append(step.node)

    def add(
        self,
        node: fx.Node,
        operands: Sequence[fx.Node],
        signals: Sequence[Signal],
        factors: Sequence[float],
    ) -> Signal:
        """Return what a sum reads, each operand multiplied by its factor."""
        terms = [
            signal if factor == 1 else signal.times(torch.tensor(factor, dtype=torch.float64))
            for signal, factor in zip(signals, factors, strict=True)
        ]
        shape = shape_of(node)
        one = _as_one([term.expand(shape) for term in terms])
        if one is not None:
            return one
        group, links = self._group("sum", node, terms, shape)
        for operand, link in zip(operands, links, strict=True):
            if not self._merged(group, operand, node, link):
                group.links.append(link)
        assert group.index is not None
        ids = torch.where(group.index >= 0, group.index + group.start + 1, 0)
        return Signal(ids.expand(*shape))

    def outputs(self, returned: Mapping[fx.Node, Signal]) -> tuple[Provisional, ...]:
        """Return the groups that the model's outputs read, adding one where they need it."""
        found: list[Provisional] = []
        for node, signal in returned.items():
            if bool((signal.ids > 0).any()):
                whole = self._whole(node, signal)
                if whole is None:
                    group, links = self._group("output", node, [signal], signal.shape)
                    group.links = links
                    whole = [group]
                found.extend(whole)
        if not found:
            raise TopographError(
                "no path leads from the model's input to its outputs",
                "check that the outputs depend on the input through weights",
            )
        return tuple(dict.fromkeys(found))

    def _group(
        self, kind: str, node: fx.Node, terms: Sequence[Signal], shape: tuple[int, ...]
    ) -> tuple[Provisional, list[Links]]:
        """Add a group of the nodes that the elements of a value are, and what each term gives."""
        positions = [] if self.exact or self.split else _position_axes(terms, len(shape))
        full = [term.expand(shape) for term in terms]
        same = constant_axes(*[t for term in full for t in (term.ids, term.gains)])
        ids = [_rows(narrowed(term.ids, same), positions) for term in full]  # (rows, positions)
        gains = [_rows(narrowed(term.gains, same), positions) for term in full]
        held = np.zeros(len(ids[0]), bool)
        for term_ids in ids:
            held |= (term_ids > 0).any(1)
        row_node = np.full(len(held), -1)
        if self.exact:
            row_node[held] = np.arange(int(held.sum()))
            first = np.flatnonzero(held)
        else:
            keys = [_distinct(part) for part in (*ids, *(g.view(np.int64) for g in gains))]
            first, row_node[held] = _in_order(np.concatenate(keys, axis=1)[held])
            first = np.flatnonzero(held)[first]
        links = []
        for term_ids, term_gains in zip(ids, gains, strict=True):
            links.append(_links(term_ids[first], term_gains[first]))
        narrow = [1 if a in same or a in positions else n for a, n in enumerate(shape)]
        group = self.nodes.add(kind, len(first), node, torch.from_numpy(row_node).reshape(narrow))
        group.averaged = any(bool((rows != rows[:, :1]).any()) for rows in ids)
        if self.exact:
            group.shape = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
        return group, links

    def _merged(self, group: Provisional, operand: fx.Node, reader: fx.Node, link: Links) -> bool:
        """Let the operand's group become ``group`` if the operand is all of it and its only use."""
        if len(link.sources) != group.size or len(np.unique(link.targets)) != group.size:
            return False
        source = self.nodes.group(int(link.sources[0]))
        if source.kind not in ("layer", "sum") or source.size != group.size or source.merge:
            return False
        local = np.sort(link.sources) - source.start
        if (local != np.arange(source.size)).any() or not self._used_by(source, operand, reader):
            return False
        order = np.argsort(link.sources)
        gain = link.factors[order]
        source.merge = Merge(group, link.targets[order], None if (gain == 1).all() else gain)
        return True

    def _used_by(self, group: Provisional, node: fx.Node, reader: fx.Node | None) -> bool:
        """Whether a group's value is used once: by ``reader`` (None: returned)."""
        while node is not reader:
            uses = [*self._readers.get(node, []), *([None] if node in self._returned else [])]
            if uses != [reader] and not (node is group.node and node is reader):
                return False
            if node is group.node:
                return True
            step = self._steps.get(node)
            if step is None or len(step.operands) != 1 or step.operator is not None:
                return False
            node, reader = step.operands[0], node
        return node is group.node

    def _whole(self, node: fx.Node, signal: Signal) -> list[Provisional] | None:
        """Return the groups of which an output is every node equally often, or None."""
        same = constant_axes(signal.ids, signal.gains)
        ids = narrowed(signal.ids, same).reshape(-1).numpy()
        gains = narrowed(signal.gains, same).reshape(-1).numpy()
        read, place, counts = np.unique(ids[ids > 0] - 1, return_inverse=True, return_counts=True)
        groups = self.nodes.groups_of(read)
        for group in groups:
            inside = (read >= group.start) & (read < group.start + group.size)
            if group.kind in ("mixed", "input") or inside.sum() != group.size:
                return None
            if len(np.unique(counts[inside])) > 1 or (self.exact and counts[inside][0] > 1):
                return None
        if (gains[ids > 0] != 1).any():
            mean = np.bincount(place, weights=gains[ids > 0]) / counts
            if len(groups) > 1 or not self._used_by(groups[0], node, None):
                return None
            groups[0].factor = mean
        return groups


def _as_one(terms: Sequence[Signal]) -> Signal | None:
    """Return the sum of terms that read the same nodes wherever both read any, or None."""
    first, second = terms
    same = constant_axes(first.ids, second.ids, first.gains, second.gains)
    one, other = narrowed(first.ids, same), narrowed(second.ids, same)
    if not bool(((one == other) | (one == 0) | (other == 0)).all()):
        return None
    gain = narrowed(first.gains, same) * (one > 0) + narrowed(second.gains, same) * (other > 0)
    ids = torch.maximum(one, other)
    shape = first.shape
    if bool((gain[ids > 0] == 1).all()):
        return Signal(ids.expand(*shape))
    return Signal(ids.expand(*shape), gain.expand(*shape))


def _position_axes(terms: Sequence[Signal], dims: int) -> list[int]:
    """Return the axes of a sum's value that are positions; ``terms`` are not broadcast yet."""
    stream = min(terms, key=_earliest)
    found = []
    for axis in range(dims):
        own = [(term, axis - dims + len(term.shape)) for term in terms]
        if any(_positional(term, a) for term, a in own) and not any(
            term is stream and a >= 0 and distinct_along(term.ids, a) for term, a in own
        ):
            found.append(axis)
    return found


def _positional(term: Signal, axis: int) -> bool:
    if axis < 0 or term.shape[axis] == 1 or axis in term.spread:
        return False
    return uniform_along(term.ids, axis)


def _earliest(term: Signal) -> int:
    ids = narrowed(term.ids, constant_axes(term.ids))
    held = ids[ids > 0]
    return int(held.min()) if held.numel() else torch.iinfo(torch.int64).max


def _rows(tensor: Tensor, positions: Sequence[int]) -> np.ndarray:
    """Return a tensor as (rows, positions), the given axes being positions."""
    moved = tensor.movedim(list(positions), list(range(-len(positions), 0)))
    kept = tensor.dim() - len(positions)
    n_rows = int(np.prod(moved.shape[:kept]))
    return np.ascontiguousarray(moved.reshape(n_rows, -1).numpy())


def _distinct(rows: np.ndarray) -> np.ndarray:
    """Return the first of columns that are all the same."""
    return rows[:, :1] if bool((rows == rows[:, :1]).all()) else rows


def _in_order(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where different rows occur first, in order, and the number of each row's kind.

    Rows of integers are told apart by a hash, which is checked.
    """
    multipliers = np.random.default_rng(0).integers(1, 1 << 62, keys.shape[1]) * 2 + 1
    hashes = (keys * multipliers).sum(1)  # modulo 2**64
    _, first, kind = np.unique(hashes, return_index=True, return_inverse=True)
    if not bool((keys[first][kind] == keys).all()):
        _, first, kind = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return first[order], rank[kind.reshape(-1)]


def _links(ids: np.ndarray, gains: np.ndarray) -> Links:
    """Return what each row (its number a target) reads: the mean over where it reads anything."""
    reads = ids > 0
    counts = np.maximum(1, reads.sum(1))
    top = ids.max(1)
    alone = ((ids == top[:, None]) | ~reads).all(1)  # one node, wherever any is read
    lone = np.flatnonzero(alone & (top > 0))
    factors = (gains[lone] * reads[lone]).sum(1) / counts[lone]
    rows = np.flatnonzero(~alone)
    if not len(rows):
        return Links(lone, top[lone] - 1, factors)
    targets, places = np.nonzero(reads[rows])
    sources = ids[rows][targets, places] - 1
    parts = (gains[rows] / counts[rows, None])[targets, places]
    pairs, place = np.unique(rows[targets] * (top.max() + 1) + sources, return_inverse=True)
    sums = np.bincount(place, weights=parts, minlength=len(pairs))
    mixed, read = np.divmod(pairs, top.max() + 1)
    order = np.argsort(np.concatenate([lone, mixed]), kind="stable")
    return Links(
        np.concatenate([lone, mixed])[order],
        np.concatenate([top[lone] - 1, read])[order],
        np.concatenate([factors, sums])[order],
    )
