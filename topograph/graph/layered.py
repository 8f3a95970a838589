"""What a weighted layered DAG is: groups of nodes, and sparse blocks of edges between them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import scipy.sparse as sp

from topograph.check import check_integer
from topograph.errors import TopographError
from topograph.graph.blocks import Block as Block
from topograph.graph.blocks import merge, read_matrix
from topograph.graph.operators import OperatorRecord

if TYPE_CHECKING:
    from topograph.capturing.coverage import Coverage


@dataclass(frozen=True)
class Group:
    """The nodes of one layer's output: channels, neurons, or the entries of an input.

    Parameters
    ----------
    name
        Unique name in the graph; for captured networks the module's qualified name.
    start, size
        Global id of the first node, and the number of nodes.
    kind
        ``"input"``, ``"layer"``, ``"sum"`` (a residual sum), ``"output"`` or ``"opaque"``.
    members
        Names of the operators whose outputs are these nodes (a residual sum has several).
    shape
        Shape of the group's nodes as the network sees them (an input image's, say), or ``None``.
    """

    name: str
    start: int
    size: int
    kind: str = "layer"
    members: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None

    @property
    def stop(self) -> int:
        """One past the global id of the last node."""
        return self.start + self.size

    @property
    def slice(self) -> slice:
        """The group's global node ids."""
        return slice(self.start, self.stop)


@dataclass(frozen=True, eq=False)
class LayeredGraph:
    """A weighted layered DAG; made by :func:`layered_graph` or :func:`topograph.capture`.

    Node ids are global, 0 to ``n_nodes`` - 1, group after group in topological order.

    Attributes
    ----------
    groups
        Read-only mapping from name to :class:`Group`, in topological order.
    blocks
        The :class:`Block` of every connected pair of groups; at most one weight block and one
        identity block a pair.
    inputs, outputs
        Names of the groups that paths start from and end in.
    granularity
        ``"channel"``, ``"unit"``, or ``""`` for a graph made from matrices.
    coverage
        What was modelled of a captured network, or ``None``.
    operators
        The weighted operators of a captured network, in the order of computation.
    """

    groups: Mapping[str, Group]
    blocks: tuple[Block, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    granularity: str = ""
    coverage: Coverage | None = None
    operators: tuple[OperatorRecord, ...] = ()

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return sum(group.size for group in self.groups.values())

    @property
    def n_edges(self) -> int:
        """Number of weight edges (identity edges are no connections)."""
        return sum(block.matrix.nnz for block in self.weight_blocks)

    @property
    def weight_blocks(self) -> tuple[Block, ...]:
        """The blocks whose edges are connections."""
        return tuple(block for block in self.blocks if not block.identity)

    @property
    def identity_blocks(self) -> tuple[Block, ...]:
        """The blocks whose edges only carry paths on."""
        return tuple(block for block in self.blocks if block.identity)

    @property
    def hidden(self) -> tuple[str, ...]:
        """Names of the groups that are neither input nor output."""
        ends = {*self.inputs, *self.outputs}
        return tuple(name for name in self.groups if name not in ends)

    def group(self, name: str) -> Group:
        """Return the group of this name, or the group that the operator of this name writes to.

        Raises
        ------
        TopographError
            If neither a group nor an operator has this name.
        """
        if name in self.groups:
            return self.groups[name]
        for group in self.groups.values():
            if name in group.members:
                return group
        near = difflib.get_close_matches(str(name), self.groups, n=3)
        raise TopographError(
            f"no group is named {name!r}",
            "did you mean " + " or ".join(map(repr, near)) + "?"
            if near
            else "list(graph.groups) gives the names",
        )

    def nodes(self, name: str) -> slice:
        """Return the global node ids of a group, as a slice.

        Examples
        --------
        >>> graph = layered_graph({"x": 2, "y": 1}, [("x", "y", [[1.0, 0.5]])])
        >>> graph.nodes("y")
        slice(2, 3, None)
        """
        return self.group(name).slice

    def to_networkx(self, *, identity: bool = True) -> Any:
        """Return a ``networkx.DiGraph``; see :func:`topograph.graph.export.to_networkx`."""
        from topograph.graph.export import to_networkx

        return to_networkx(self, identity=identity)

    def to_igraph(self, *, identity: bool = True) -> Any:
        """Return a directed ``igraph.Graph``; see :func:`topograph.graph.export.to_igraph`."""
        from topograph.graph.export import to_igraph

        return to_igraph(self, identity=identity)

    def to_scipy(self, edges: str = "weights") -> sp.csr_array:
        """Return the adjacency matrix; see :func:`topograph.graph.export.to_scipy`."""
        from topograph.graph.export import to_scipy

        return to_scipy(self, edges)

    def __repr__(self) -> str:
        return (
            f"LayeredGraph({len(self.groups)} groups, {self.n_nodes} nodes, {self.n_edges} edges, "
            f"inputs={list(self.inputs)}, outputs={list(self.outputs)})"
        )


def layered_graph(
    sizes: Mapping[str, int],
    matrices: Iterable[tuple[str, str, Any]],
    inputs: str | Iterable[str] | None = None,
    outputs: str | Iterable[str] | None = None,
    identity: Iterable[tuple[str, str, Any]] = (),
) -> LayeredGraph:
    """Build a layered graph from one matrix a pair of layers.

    Parameters
    ----------
    sizes
        Group name to number of nodes (at least 1), in topological order.
    matrices
        Triples (source, target, matrix) of shape (sizes[target], sizes[source]): a sparse matrix,
        whose stored zeros are edges, or anything NumPy reads, of which only nonzeros are. Several
        matrices for one pair are parallel edges: their magnitudes are added.
    inputs, outputs
        Group names; the first and the last group by default.
    identity
        Triples as in ``matrices`` whose edges carry paths and are no connections.

    Raises
    ------
    TopographError
        For an unknown or empty group, a matrix of the wrong shape or with NaN or infinite
        entries, or an edge that runs against the order of ``sizes``.

    Examples
    --------
    >>> graph = layered_graph({"x": 2, "h": 3, "y": 1},
    ...                       [("x", "h", [[1, 0], [0, 2], [1, 1]]), ("h", "y", [[1, 1, 0]])])
    >>> graph.n_nodes, graph.n_edges
    (6, 6)
    """
    if not isinstance(sizes, Mapping) or not all(isinstance(name, str) for name in sizes):
        raise TopographError(
            f"sizes is {sizes!r}; expected a mapping from group names to numbers of nodes",
            'pass e.g. {"input": 784, "output": 10}',
        )
    if not sizes:
        raise TopographError("sizes is empty; expected at least one group", "name one group")
    groups: dict[str, Group] = {}
    start = 0
    names = list(sizes)
    first = _names(inputs, names[:1], sizes, "inputs")
    last = _names(outputs, names[-1:], sizes, "outputs")
    for name, size in sizes.items():
        check_integer(size, f"sizes[{name!r}]", least=1)
        kind = "input" if name in first else "output" if name in last else "layer"
        groups[name] = Group(name, start, int(size), kind, (name,))
        start += int(size)
    blocks = [
        *merge(_blocks(matrices, groups, "matrices")),
        *merge(_blocks(identity, groups, "identity")),
    ]
    return LayeredGraph(MappingProxyType(groups), tuple(blocks), first, last)


def _names(
    given: str | Iterable[str] | None, default: list[str], sizes: Mapping[str, int], what: str
) -> tuple[str, ...]:
    if given is None:
        return tuple(default)
    chosen: list[Any] = (
        [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    )
    if not chosen or any(not isinstance(name, str) or name not in sizes for name in chosen):
        raise TopographError(
            f"{what} is {given!r}; expected names of groups in sizes: {list(sizes)!r}",
            f"name at least one group of sizes in {what}",
        )
    return tuple(dict.fromkeys(chosen))


def _blocks(triples: Any, groups: Mapping[str, Group], what: str) -> list[Block]:
    order = {name: k for k, name in enumerate(groups)}
    blocks = []
    if not isinstance(triples, Iterable):
        raise TopographError(
            f"{what} is a {type(triples).__name__}; expected triples (source, target, matrix)",
            "pass an iterable of triples",
        )
    for triple in triples:
        try:
            source, target, given = triple
        except (TypeError, ValueError):
            raise TopographError(
                f"an entry of {what} is a {type(triple).__name__}; expected a triple "
                "(source, target, matrix)",
                "pass an iterable of triples",
            ) from None
        for name in (source, target):
            if not isinstance(name, str) or name not in groups:
                raise TopographError(
                    f"{what} names the group {name!r}; expected one of {list(groups)!r}",
                    "add the group to sizes or mend the name",
                )
        if order[source] >= order[target]:
            raise TopographError(
                f"{what} leads from {source!r} to {target!r}; expected edges that follow the "
                "order of sizes",
                "list the groups in topological order",
            )
        shape = (groups[target].size, groups[source].size)
        matrix = read_matrix(given, shape, f"{source} -> {target}")
        blocks.append(Block(source, target, matrix, identity=what == "identity"))
    return blocks


def check_graph(value: object, name: str = "graph") -> LayeredGraph:
    """Return ``value`` if it is a :class:`LayeredGraph`; otherwise say how to make one."""
    if isinstance(value, LayeredGraph):
        return value
    raise TopographError(
        f"{name} is a {type(value).__name__}; expected a LayeredGraph",
        "make one with topograph.capture(model, example_input) or topograph.layered_graph",
    )
