"""How well a layer mixes: the singular values of its connections against the best possible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from topograph.graph.layered import Block, LayeredGraph, check_graph
from topograph.graph.scaled import FloatArray

# Up to this many nodes on the smaller side all singular values are computed.
_DENSE = 256


@dataclass(frozen=True)
class LayerSpectrum:
    """The two largest singular values of one block of connections, and what they say.

    The block as a two-sided graph, every connection 1. Its eigenvalues are the singular values
    with both signs.

    Attributes
    ----------
    source, target
        Names of the groups.
    largest, second
        The two largest singular values σ₁ ≥ σ₂; 0 where there are fewer.
    bound
        √(d₁ - 1) + √(d₂ - 1), with d₁ and d₂ the mean degrees of the source and the target nodes
        that have connections: what σ₂ of the best expanders does not exceed. NaN without
        connections.
    components
        Number of connected parts, nodes without connections left out. From two on, nothing mixes
        between them.
    """

    source: str
    target: str
    largest: float
    second: float
    bound: float
    components: int

    @property
    def spectral_gap(self) -> float:
        """σ₁ - σ₂, at least 0: the larger, the faster the layer mixes."""
        return self.largest - self.second

    @property
    def ramanujan_gap(self) -> float:
        """Bound minus σ₂. At least 0: the layer is as good as a Ramanujan graph."""
        return self.bound - self.second


def layer_spectra(graph: LayeredGraph) -> dict[tuple[str, str], LayerSpectrum]:
    """Return spectral gap and Ramanujan gap of every block of connections.

    Structure alone counts: a weight of 0 is a connection, a convolution has one for a pair of
    channels. **Decision**: of layers whose nodes differ in degree the bound takes the mean
    degrees, as the source does.

    Parameters
    ----------
    graph
        A layered graph.

    Returns
    -------
    dict
        (source, target) to :class:`LayerSpectrum`, in the order of ``graph.weight_blocks``.

    Raises
    ------
    TopographError
        If ``graph`` is no layered graph.

    References
    ----------
    Hoang, Liu, Marculescu and Wang 2023, "Revisiting pruning at initialization through the lens of
    Ramanujan graph" (the gap is their Δr of the whole layer); the bound: Feng and Li 1996; gaps
    and mixing: Hoory, Linial and Wigderson 2006, "Expander graphs and their applications".

    Examples
    --------
    >>> import numpy as np
    >>> from topograph.graph import layered_graph
    >>> full = layered_graph({"x": 4, "y": 4}, [("x", "y", np.ones((4, 4)))])
    >>> found = layer_spectra(full)["x", "y"]
    >>> found.spectral_gap, found.ramanujan_gap == 2 * 3**0.5
    (4.0, True)
    """
    return {
        (block.source, block.target): _spectrum(block) for block in check_graph(graph).weight_blocks
    }


def _spectrum(block: Block) -> LayerSpectrum:
    ones = block.with_entries(np.ones(block.matrix.nnz))
    into, out = np.diff(ones.indptr), np.bincount(ones.indices, minlength=ones.shape[1])
    connected = ones[into > 0][:, out > 0]
    if not connected.nnz:
        return LayerSpectrum(block.source, block.target, 0.0, 0.0, float("nan"), 0)
    n_targets, n_sources = connected.shape
    bound = np.sqrt(connected.nnz / n_sources - 1) + np.sqrt(connected.nnz / n_targets - 1)
    parts = _components(connected)
    largest, second = _two_largest(parts)
    return LayerSpectrum(
        block.source, block.target, largest, second, float(bound), components=len(parts)
    )


def _components(connected: sp.csr_array) -> list[sp.csr_array]:
    """Return the connected parts of a two-sided graph, each as a matrix of its own."""
    n_targets = connected.shape[0]
    both = sp.block_array([[None, connected], [connected.T, None]], format="csr")
    number, label = sp.csgraph.connected_components(both, directed=False)
    if number == 1:
        return [connected]
    rows = np.argsort(label[:n_targets], kind="stable")
    columns = np.argsort(label[n_targets:], kind="stable")
    row_ends = np.cumsum(np.bincount(label[:n_targets], minlength=number))
    column_ends = np.cumsum(np.bincount(label[n_targets:], minlength=number))
    ordered = connected[rows][:, columns]
    row_starts, column_starts = np.r_[0, row_ends[:-1]], np.r_[0, column_ends[:-1]]
    return [
        ordered[a:b, c:d]
        for a, b, c, d in zip(row_starts, row_ends, column_starts, column_ends, strict=True)
    ]


def _two_largest(parts: list[sp.csr_array]) -> tuple[float, float]:
    """Return the two largest singular values of all parts together.

    Part by part, because an iterative solver can miss a value that two parts share. σ₁ of a part
    is at most √(largest degree of the one side × largest degree of the other).
    """
    bounds = np.array(
        [np.sqrt(np.diff(part.indptr).max() * np.bincount(part.indices).max()) for part in parts]
    )
    found = [0.0, 0.0]
    for k in np.argsort(-bounds, kind="stable"):
        if bounds[k] <= found[1]:
            break
        found = sorted([*found, *_of_connected(parts[k])], reverse=True)[:2]
    return float(found[0]), float(found[1])


def _of_connected(part: sp.csr_array) -> FloatArray:
    if min(part.shape) <= _DENSE:
        values: FloatArray = np.linalg.svd(part.toarray(), compute_uv=False)[:2]
        return values
    start = np.random.default_rng(0).standard_normal(min(part.shape))
    return np.asarray(sp.linalg.svds(part, k=2, v0=start, return_singular_vectors=False))
