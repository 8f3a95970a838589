"""From provisional nodes to a layout: global ids, names, and no mixed or merged nodes left."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from topograph.capturing.compose import added, from_entries, product
from topograph.capturing.naming import named
from topograph.capturing.nodes import Links, Provisional, Reading
from topograph.capturing.propagation import Propagation
from topograph.capturing.wiring import Layout, Site, Wiring
from topograph.graph.blocks import Block
from topograph.graph.layered import Group


def settle(
    propagation: Propagation, missing: Iterable[tuple[str, str]], notes: Iterable[str]
) -> Layout:
    """Return the layout that a propagation came to."""
    return _Settling(propagation).layout(tuple(missing), tuple(notes))


#: Kinds of groups of which nodes that only steer are left out.
_LEFT_OUT = ("layer", "sum", "mixed", "opaque")


class _Settling:
    """Invariant: sources are never merged (a merged group was read by its sum alone)."""

    def __init__(self, propagation: Propagation) -> None:
        self.exact = propagation.exact
        self.all = propagation.nodes.groups
        self.count = propagation.nodes.count
        self.outputs = propagation.outputs
        read, self.dropped = self._read(propagation.steering)
        self.groups = [
            group
            for group in self.all
            if group.kind != "mixed"
            and group.merge is None
            and not self._dropped(group).all()
            and not (_is_tokens(group) and not read[group.start : group.start + group.size].any())
        ]
        self.size = {id(group): int((~self._dropped(group)).sum()) for group in self.groups}
        starts = np.cumsum([0, *(self.size[id(group)] for group in self.groups)])
        self.start = {id(g): int(s) for g, s in zip(self.groups, starts, strict=False)}
        self.n_nodes = int(starts[-1])
        self.names = named(self.groups)
        # By provisional number: the final id, or -1; and the row among the mixed nodes, or -1.
        self.final = np.full(self.count, -1)
        self.mixed = np.full(self.count, -1)
        n_mixed = 0
        for group in self.all:
            inside = slice(group.start, group.start + group.size)
            if id(group) in self.start:
                ids = self.start[id(group)] + np.cumsum(~self._dropped(group)) - 1
                self.final[inside] = np.where(self._dropped(group), -1, ids)
            elif group.kind == "mixed":
                self.mixed[inside] = n_mixed + np.arange(group.size)
                n_mixed += group.size
        self.mixtures = self._mixtures(n_mixed)

    def layout(self, missing: tuple[tuple[str, str], ...], notes: tuple[str, ...]) -> Layout:
        members: dict[int, list[str]] = {id(group): [] for group in self.groups}
        for group in self.all:
            if group.reading is not None:
                members[id(_heir(group))].append(group.reading.operator.name)
        groups = {
            self.names[id(g)]: Group(
                self.names[id(g)],
                self.start[id(g)],
                self.size[id(g)],
                g.kind,
                tuple(members[id(g)]),
                g.shape,
            )
            for g in self.groups
        }
        used = self._mixtures_read()
        number = np.full(self.count + 1, -1)  # by provisional number plus 1
        number[1:] = self.final
        number[used + 1] = self.n_nodes + np.arange(len(used))
        return Layout(
            "unit" if self.exact else "channel",
            MappingProxyType(groups),
            tuple(self.names[id(g)] for g in self.groups if g.kind == "input"),
            tuple(dict.fromkeys(self.names[id(_heir(g))] for g in self.outputs)),
            MappingProxyType(
                {
                    self.names[id(g)]: Site(g.node, self._index(g, g.index))
                    for g in self.groups
                    if g.index is not None
                }
            ),
            tuple(
                self._wiring(group, group.reading, number)
                for group in self.all
                if group.reading is not None
            ),
            sp.csr_array(self.mixtures[self.mixed[used]]),
            tuple(self._identity()),
            missing,
            tuple(notes),
            frozenset(self.names[id(g)] for g in self.groups if g.averaged),
            partly=tuple(self._partly()),
        )

    def _dropped(self, group: Provisional) -> np.ndarray:
        """Return which nodes of a group are left out: those that only steer."""
        return self.dropped[group.start : group.start + group.size]

    def _index(self, group: Provisional, index: Tensor) -> Tensor:
        """Return a site's index with the nodes that are left out as none."""
        if not self._dropped(group).any():
            return index
        final = self.final[group.start : group.start + group.size] - self.start[id(group)]
        local = torch.from_numpy(np.append(np.where(self._dropped(group), -1, final), -1))
        return local[index]

    def _partly(self) -> Iterable[tuple[str, int, int]]:
        """Yield name, rows left out and rows of the operators of which rows only steer.

        All uses of a weight are one entry, under the name of the first.
        """
        said: set[str] = set()
        for group in self.groups:
            count = int(self._dropped(group).sum())
            if not count:
                continue
            # A layer's result may have been merged into the sum that it goes to.
            made = [g.reading.operator for g in self.all if g.reading and _heir(g) is group]
            if made and made[0].parameter not in said:
                said |= {op.parameter for op in made}
                yield made[0].name, count, group.size

    def _read(self, steering: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which provisional numbers anything reads, and which nodes are left out.

        Nodes that gates, queries or keys alone are made of are none of the graph's; what only they
        are made of is neither. So reads are gathered from the last group to the first.
        """
        read = np.zeros(self.count, bool)
        dropped = np.zeros(self.count, bool)
        steers = np.zeros(self.count, bool)
        steers[steering] = True
        for group in self.all:
            if group.reading is not None:
                ids = group.reading.ids
                read[ids[ids > 0] - 1] = True
        for group in self.outputs:
            read[group.start : group.start + group.size] = True
        for group in reversed(self.all):
            inside = slice(group.start, group.start + group.size)
            if group.merge is not None:
                dropped[inside] = dropped[group.merge.group.start + group.merge.nodes]
            elif group.kind in _LEFT_OUT:
                dropped[inside] = steers[inside] & ~read[inside]
            for links in group.links:
                out = dropped[group.start + links.targets]
                read[links.sources[~out]] = True
                steers[links.sources[out]] = True
        return read, dropped

    def _mixtures_read(self) -> np.ndarray:
        """Return the provisional numbers of the mixed nodes that weights read, sorted."""
        found = [g.reading.ids.reshape(-1) - 1 for g in self.all if g.reading is not None]
        numbers = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
        numbers = numbers[numbers >= 0]
        return numbers[self.mixed[numbers] >= 0]

    def _mixtures(self, n_mixed: int) -> sp.csr_array:
        """Return what the mixed nodes read of the final ones: (mixed nodes, nodes).

        With A the links from nodes and B those from other mixed nodes (which come earlier, so that
        powers of B end in 0), this is (1 + B + B² + …) A.
        """
        rows, sources, factors = _entries(
            (self.mixed[group.start] + links.targets, links)
            for group in self.all
            if group.kind == "mixed"
            for links in group.links
        )
        held = ~self.dropped[sources]  # what is left out is read by what is left out alone
        rows, sources, factors = rows[held], sources[held], factors[held]
        onto = self.final[sources] >= 0
        direct = from_entries(
            rows[onto], self.final[sources[onto]], factors[onto], (n_mixed, self.n_nodes)
        )
        through = from_entries(
            rows[~onto], self.mixed[sources[~onto]], factors[~onto], (n_mixed, n_mixed)
        )
        total, term = direct, direct
        while through.nnz and term.nnz:
            term = product(through, term)
            total = added([total, term])
        return total

    def _targets(self, group: Provisional) -> tuple[np.ndarray, np.ndarray]:
        """Return the final ids of a group's nodes (-1: left out), and the factor of each."""
        local, gain = np.arange(group.size), np.ones(group.size)
        while group.merge is not None:
            if group.merge.gain is not None:
                gain = gain * group.merge.gain[local]
            local, group = group.merge.nodes[local], group.merge.group
        if group.factor is not None:
            gain = gain * group.factor[local]
        return self.final[group.start + local], gain

    def _wiring(self, group: Provisional, reading: Reading, number: np.ndarray) -> Wiring:
        targets, factor = self._targets(group)
        form = reading.form
        if self.exact:
            places = np.arange(group.size).reshape(form.shape)
            order = (
                form.result(torch.from_numpy(places)).numpy().reshape(form.groups * form.rows, -1)
            )
            targets, factor = targets[order], factor[order]
        factor = factor * reading.factor
        return Wiring(
            reading.operator,
            form,
            number[reading.ids],
            reading.gain,
            targets,
            None if (factor == 1).all() else factor,
            reading.places,
        )

    def _identity(self) -> Iterable[Block]:
        into: dict[int, list[tuple[np.ndarray, Links]]] = {}
        for group in self.all:
            if group.kind == "mixed" or not group.links:
                continue
            targets, gain = self._targets(group)
            heir = _heir(group)
            if id(heir) not in self.start:  # all of it only steers
                continue
            for links in group.links:
                held = targets[links.targets] >= 0
                local, sources = links.targets[held], links.sources[held]
                into.setdefault(id(heir), []).append(
                    (
                        targets[local] - self.start[id(heir)],
                        Links(local, sources, links.factors[held] * gain[local]),
                    )
                )
        for group in self.groups:
            rows, sources, factors = _entries(into.get(id(group), []))
            if not len(rows):
                continue
            onto = self.final[sources] >= 0
            shape = (self.size[id(group)], self.n_nodes)
            matrix = from_entries(rows[onto], self.final[sources[onto]], factors[onto], shape)
            if not onto.all():
                mixed = from_entries(
                    rows[~onto],
                    self.mixed[sources[~onto]],
                    factors[~onto],
                    (shape[0], self.mixtures.shape[0]),
                )
                matrix = added([matrix, product(mixed, self.mixtures)])
            yield from self._split(group, matrix)

    def _split(self, group: Provisional, matrix: sp.csr_array) -> Iterable[Block]:
        """Cut a matrix over all nodes into one identity block a source group."""
        entries = matrix.tocoo()
        rows, columns = entries.coords
        for source in self.groups:
            start = self.start[id(source)]
            size = self.size[id(source)]
            inside = (columns >= start) & (columns < start + size)
            if inside.any():
                block = from_entries(
                    rows[inside],
                    columns[inside] - start,
                    entries.data[inside],
                    (self.size[id(group)], size),
                )
                yield Block(self.names[id(source)], self.names[id(group)], block, identity=True)


def _is_tokens(group: Provisional) -> bool:
    """Whether these are the elements of an input of whole numbers (not the vocabulary's)."""
    if group.kind != "input" or group.index is None:
        return False
    return not group.node.meta["val"].is_floating_point()


def _heir(group: Provisional) -> Provisional:
    """Return the group that a merged group went into in the end."""
    while group.merge is not None:
        group = group.merge.group
    return group


def _entries(
    parts: Iterable[tuple[np.ndarray, Links]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, sources and factors of links, one after another."""
    listed = [(rows, links.sources, links.factors) for rows, links in parts]
    if not listed:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    rows, sources, factors = (np.concatenate(part) for part in zip(*listed, strict=True))
    return rows, sources, factors
