"""How a graph larger than memory is kept: every block as memory-mapped CSR in a folder.

::

    graph.json           group sizes, inputs, outputs, and each block's ends and counts
    000.indptr           int64, one more than the block has rows
    000.indices          int32, source index of every edge, row after row, ascending in a row
    000.magnitudes       float32 or float64, |weight| of every edge

Numbers are little-endian without a header. The system reads pages as a measure comes to them and
takes them back when memory is short, so that a measure that goes block by block needs room for one
block at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from topograph.errors import TopographError
from topograph.graph.blocks import read_matrix
from topograph.graph.layered import Block, LayeredGraph, layered_graph

FORMAT = "topograph-graph"
VERSION = 1

# Dense matrices are read this many entries at a time.
_CHUNK = 1 << 22


def map_graph(
    folder: str | Path,
    sizes: Mapping[str, int],
    matrices: Iterable[tuple[str, str, Any]],
    inputs: str | Iterable[str] | None = None,
    outputs: str | Iterable[str] | None = None,
    identity: Iterable[tuple[str, str, Any]] = (),
) -> LayeredGraph:
    """Write a layered graph to a folder, matrix by matrix, and open it from there.

    As :func:`topograph.layered_graph`, for graphs that do not fit into memory: ``matrices`` may be
    a generator, of which one matrix is held at a time. Magnitudes are kept, not signs; they are
    exact, as float32 unless a matrix is float64 or of integers beyond 16 bits.

    Parameters
    ----------
    folder
        A new or empty folder; on local disk, for its files are mapped into memory.
    sizes, inputs, outputs
        As in :func:`topograph.layered_graph`.
    matrices, identity
        Triples (source, target, matrix) of shape (sizes[target], sizes[source]): a sparse matrix,
        whose stored zeros are edges, or an array or tensor of any float type, of which only
        nonzeros are. Each pair of groups at most once.

    Returns
    -------
    LayeredGraph
        Its blocks' arrays are memory-mapped and read-only. The folder must stay as it is.

    Raises
    ------
    TopographError
        As :func:`topograph.layered_graph`; also if the folder holds something already, or a pair
        comes twice.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from topograph.paths import path_centrality
    >>> layers = (("x", "h", np.eye(2)), ("h", "y", np.ones((1, 2))))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     graph = map_graph(folder, {"x": 2, "h": 2, "y": 1}, iter(layers))
    ...     path_centrality(graph).tolist()
    [0.5, 0.5, 0.5, 0.5, 1.0]
    """
    place = Path(folder)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise TopographError(
            f"{place} is not empty; expected a new or empty folder",
            "pass another folder, or open_graph(folder) if it holds a graph",
        )
    bare = layered_graph(sizes, (), inputs, outputs)
    place.mkdir(parents=True, exist_ok=True)
    listed: list[dict[str, Any]] = []
    for what, triples in (("matrices", matrices), ("identity", identity)):
        pairs: set[tuple[str, str]] = set()
        for source, target, matrix in triples:
            name = f"{source} -> {target}"
            _check_pair(bare, source, target, pairs, what)
            pairs.add((source, target))
            shape = bare.groups[target].size, bare.groups[source].size
            stem = place / f"{len(listed):03d}"
            edges, dtype = _write(stem, matrix, shape, name)
            entry = {"source": source, "target": target, "identity": what == "identity"}
            listed.append({**entry, "edges": edges, "dtype": dtype})
    described = {
        "format": FORMAT,
        "version": VERSION,
        "sizes": {name: group.size for name, group in bare.groups.items()},
        "inputs": list(bare.inputs),
        "outputs": list(bare.outputs),
        "blocks": listed,
    }
    (place / "graph.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    return open_graph(place)


def open_graph(folder: str | Path) -> LayeredGraph:
    """Open a graph that :func:`map_graph` wrote; no edge is read before a measure needs it.

    Lengths and counts are checked, the edges themselves are not: open only folders that
    :func:`map_graph` wrote.

    Raises
    ------
    TopographError
        If the folder holds no such graph, or a file is missing or of another length.
    """
    place = Path(folder)
    try:
        described = json.loads((place / "graph.json").read_text(encoding="utf-8"))
        if (described["format"], described["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {described['format']!r} {described['version']!r}")
        blocks = described["blocks"]
        bare = layered_graph(described["sizes"], (), described["inputs"], described["outputs"])
        opened = [
            _open(place / f"{number:03d}", bare, entry) for number, entry in enumerate(blocks)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, TopographError):
            raise
        raise TopographError(
            f"{place} holds no complete graph ({type(error).__name__}: {error})",
            "pass a folder that map_graph wrote to its end",
        ) from None
    return LayeredGraph(bare.groups, tuple(opened), bare.inputs, bare.outputs)


def _check_pair(
    bare: LayeredGraph, source: str, target: str, pairs: set[tuple[str, str]], what: str
) -> None:
    if (source, target) in pairs:
        raise TopographError(
            f"{what} names the pair {source!r}, {target!r} twice; expected it once",
            "add the matrices' magnitudes up before",
        )
    known = bare.groups
    if source not in known or target not in known or known[source].start >= known[target].start:
        raise TopographError(
            f"{what} leads from {source!r} to {target!r}; expected two groups of {list(known)!r} "
            "in this order",
            "list the groups in topological order",
        )


def _write(stem: Path, matrix: Any, shape: tuple[int, int], name: str) -> tuple[int, str]:
    """Write a block's files; return its number of edges and the type of its magnitudes."""
    counts = np.zeros(shape[0] + 1, np.int64)
    dtype = ""
    with (
        stem.with_suffix(".indices").open("wb") as indices,
        stem.with_suffix(".magnitudes").open("wb") as magnitudes,
    ):
        for start, part in _parts(matrix, shape, name):
            dtype = dtype or _magnitude_type(part.dtype)
            filled = np.diff(part.indptr)
            counts[start + 1 : start + 1 + len(filled)] = filled
            part.indices.astype("<i4").tofile(indices)
            np.abs(part.data).astype(dtype).tofile(magnitudes)
    np.cumsum(counts).astype("<i8").tofile(stem.with_suffix(".indptr"))
    return int(counts.sum()), dtype


def _parts(matrix: Any, shape: tuple[int, int], name: str) -> Iterator[tuple[int, sp.csr_array]]:
    """Yield the first row and the canonical CSR of some rows of a matrix, one after another."""
    given = getattr(matrix, "shape", None)
    if sp.issparse(matrix) or given is None or tuple(given) != shape:
        whole = read_matrix(matrix, shape, name)
        kept = np.float32 if getattr(matrix, "dtype", None) == np.float32 else np.float64
        yield 0, whole.astype(kept)
        return
    rows = max(1, _CHUNK // max(shape[1], 1))
    for start in range(0, shape[0], rows):
        dense = _array(matrix[start : start + rows])
        if not np.isfinite(dense).all():
            raise TopographError(
                f"the matrix {name} holds NaN or infinite weights; expected finite numbers",
                "remove or replace them",
            )
        yield start, sp.csr_array(dense)


def _array(rows: Any) -> NDArray[Any]:
    """Return rows of an array or a tensor as an array; half precisions as float32."""
    if hasattr(rows, "detach"):
        rows = rows.detach().cpu()
        rows = rows.numpy() if rows.dtype.itemsize > 4 else rows.float().numpy()
    array = np.asarray(rows)
    if array.dtype.kind not in "fiub":
        return array.astype(np.float64)
    return array.astype(_magnitude_type(array.dtype))


def _magnitude_type(dtype: np.dtype[Any]) -> str:
    """Return the smaller of float32 and float64 that holds the type's every number."""
    return "<f4" if np.can_cast(dtype, np.float32) else "<f8"


def _open(stem: Path, bare: LayeredGraph, entry: Mapping[str, Any]) -> Block:
    source, target, edges = entry["source"], entry["target"], entry["edges"]
    rows, columns = bare.groups[target].size, bare.groups[source].size
    if entry["dtype"] not in ("<f4", "<f8"):
        raise ValueError(f"type {entry['dtype']!r}")
    indptr = np.asarray(_mapped(stem.with_suffix(".indptr"), "<i8", rows + 1))
    if indptr[0] != 0 or indptr[-1] != edges or (np.diff(indptr) < 0).any():
        raise ValueError(f"{stem.name}.indptr does not count {edges} edges")
    # scipy keeps one type for both, and copies the larger array if they differ.
    if edges <= np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    indices = _mapped(stem.with_suffix(".indices"), "<i4", edges)
    data = _mapped(stem.with_suffix(".magnitudes"), entry["dtype"], edges)
    matrix = sp.csr_array((data, indices, indptr), shape=(rows, columns), copy=False)
    matrix.has_canonical_format = True
    return Block(source, target, matrix, identity=bool(entry["identity"]))


def _mapped(path: Path, dtype: str, length: int) -> NDArray[Any]:
    there, needed = path.stat().st_size, length * np.dtype(dtype).itemsize
    if there != needed:
        raise ValueError(f"{path.name} has {there} bytes, not {needed}")
    if not length:  # nothing cannot be mapped
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r", shape=(length,))
