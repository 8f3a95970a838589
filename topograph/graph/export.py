"""How a layered graph looks to other graph libraries: networkx, igraph, SciPy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import scipy.sparse as sp

from topograph.check import check_choice
from topograph.errors import TopographError
from topograph.graph.adjacency import adjacency
from topograph.graph.layered import Block, LayeredGraph, check_graph


def to_networkx(graph: LayeredGraph, *, identity: bool = True) -> Any:
    """Return a ``networkx.DiGraph`` whose nodes are the node ids.

    Nodes carry ``name`` (``"layer[index]"``), ``layer``, ``index`` in the layer, and ``kind`` of
    the layer. Edges carry ``weight``, ``connection`` and ``identity``. A connection has
    ``connection=True`` and its own weight. An identity edge, which only carries paths on, has
    ``identity=True`` and its weight a second time as ``identity_weight``. A pair of nodes joined
    by both is one edge with both flags: ``weight`` is the connection's, ``identity_weight`` the
    identity edge's.

    Parameters
    ----------
    graph
        A layered graph.
    identity
        Whether identity edges are carried over.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph, or networkx is not installed.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 1, "y": 2}, [("x", "y", [[5], [7]])],
    ...                       identity=[("x", "y", [[1], [0]])])
    >>> out = to_networkx(graph)
    >>> out.nodes[2]
    {'name': 'y[1]', 'layer': 'y', 'index': 1, 'kind': 'output'}
    >>> out.edges[0, 1]
    {'weight': 5.0, 'connection': True, 'identity': True, 'identity_weight': 1.0}
    >>> out.edges[0, 2]
    {'weight': 7.0, 'connection': True, 'identity': False}
    """
    check_graph(graph)
    networkx = _imported("networkx")
    result = networkx.DiGraph()
    for name, group in graph.groups.items():
        for index in range(group.size):
            result.add_node(
                group.start + index,
                name=f"{name}[{index}]",
                layer=name,
                index=index,
                kind=group.kind,
            )
    for block in graph.weight_blocks:
        result.add_edges_from(
            (source, target, {"weight": weight, "connection": True, "identity": False})
            for source, target, weight in _edges(graph, block)
        )
    for block in graph.identity_blocks if identity else ():
        for source, target, weight in _edges(graph, block):
            if result.has_edge(source, target):
                result.edges[source, target].update(identity=True, identity_weight=weight)
            else:
                result.add_edge(
                    source,
                    target,
                    weight=weight,
                    connection=False,
                    identity=True,
                    identity_weight=weight,
                )
    return result


def to_igraph(graph: LayeredGraph, *, identity: bool = True) -> Any:
    """Return a directed ``igraph.Graph`` whose vertex indices are the node ids.

    Vertices carry ``name`` (``"layer[index]"``), ``layer``, ``index`` in the layer, and ``kind``
    of the layer. Edges carry ``weight`` and ``identity``. A pair of nodes joined by a connection
    and an identity edge has two parallel edges.

    Parameters
    ----------
    graph
        A layered graph.
    identity
        Whether identity edges are carried over. Without them the graph is simple.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph, or igraph is not installed.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 1, "y": 2}, [("x", "y", [[5], [7]])])
    >>> out = to_igraph(graph)
    >>> out.vs[2].attributes()
    {'name': 'y[1]', 'layer': 'y', 'index': 1, 'kind': 'output'}
    >>> out.es["weight"], out.get_edgelist()
    ([5.0, 7.0], [(0, 1), (0, 2)])
    """
    check_graph(graph)
    igraph = _imported("igraph")
    blocks = graph.blocks if identity else graph.weight_blocks
    # Pairs of Python ints: the published wheel turns an edge array into nested lists and parses
    # those, several times slower and with twice the memory.
    pairs = chain.from_iterable(_pairs(graph, block) for block in blocks)
    result = igraph.Graph(n=graph.n_nodes, edges=pairs, directed=True)
    groups = graph.groups.values()
    result.vs["name"] = [f"{group.name}[{k}]" for group in groups for k in range(group.size)]
    result.vs["layer"] = [group.name for group in groups for _ in range(group.size)]
    result.vs["index"] = [k for group in groups for k in range(group.size)]
    result.vs["kind"] = [group.kind for group in groups for _ in range(group.size)]
    result.es["weight"] = list(chain.from_iterable(block.matrix.data.tolist() for block in blocks))
    result.es["identity"] = [block.identity for block in blocks for _ in range(block.matrix.nnz)]
    return result


def to_scipy(graph: LayeredGraph, edges: str = "weights") -> sp.csr_array:
    """Return the adjacency matrix: CSR of shape (n_nodes, n_nodes), entry [source, target].

    Rows are where edges start and columns where they end, as in ``scipy.sparse.csgraph`` and
    networkx; blocks are stored the other way round. Stored zeros are edges of weight 0.

    Parameters
    ----------
    graph
        A layered graph.
    edges
        ``"weights"``: the connections with their weights. ``"identity"``: the edges that only
        carry paths on. ``"paths"``: both, by magnitude, added up where a pair of nodes has both;
        the sums over paths are those of this matrix.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph, or for an unknown choice of edges.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> graph = layered_graph({"x": 1, "y": 2}, [("x", "y", [[-5], [7]])],
    ...                       identity=[("x", "y", [[1], [0]])])
    >>> to_scipy(graph).toarray().tolist()
    [[0.0, -5.0, 7.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    >>> to_scipy(graph, "paths").toarray().tolist()
    [[0.0, 6.0, 7.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    check_graph(graph)
    edges = check_choice(edges, "edges", ("weights", "identity", "paths"))
    if edges == "paths":
        matrix = adjacency(graph, graph.blocks, lambda block: np.abs(block.matrix.data))
    else:
        blocks = graph.weight_blocks if edges == "weights" else graph.identity_blocks
        matrix = adjacency(graph, blocks, lambda block: block.matrix.data)
    return matrix.T.tocsr()


def _pairs(graph: LayeredGraph, block: Block) -> Iterator[tuple[int, int]]:
    source, target = graph.groups[block.source].start, graph.groups[block.target].start
    entries = block.matrix.tocoo()
    rows, columns = entries.coords
    return zip((columns + source).tolist(), (rows + target).tolist(), strict=True)


def _edges(graph: LayeredGraph, block: Block) -> Iterable[tuple[int, int, float]]:
    weights = block.matrix.data.tolist()
    for (source, target), weight in zip(_pairs(graph, block), weights, strict=True):
        yield source, target, weight


def _imported(library: str) -> Any:
    try:
        return __import__(library)
    except ImportError:
        raise TopographError(
            f"the library {library} is not installed; expected it for this export",
            f"run: pip install {library}",
        ) from None
