"""map_graph: a graph on disk is the graph in memory, whatever its matrices come as."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given

import topograph as tg
from tests.topograph import brute_force
from tests.topograph.graphs import layered_graphs, stored
from topograph.graph import mapped
from topograph.graph.mapped import map_graph, open_graph


def on_disk(graph: tg.LayeredGraph, folder: str | Path) -> tg.LayeredGraph:
    sizes = {name: group.size for name, group in graph.groups.items()}
    return map_graph(
        folder,
        sizes,
        ((b.source, b.target, b.matrix) for b in graph.weight_blocks),
        graph.inputs,
        graph.outputs,
        ((b.source, b.target, b.matrix) for b in graph.identity_blocks),
    )


@given(layered_graphs())
def test_every_measure_is_the_same_from_disk(graph: tg.LayeredGraph) -> None:
    with TemporaryDirectory() as folder:
        looked = on_disk(graph, folder)
        for measure in (tg.degree, tg.isolated_nodes, tg.dead_nodes, tg.k_shell):
            assert measure(looked).tolist() == measure(graph).tolist()
        assert tg.path_centrality(looked).tolist() == tg.path_centrality(graph).tolist()
        assert tg.path_sums(looked).log_total == tg.path_sums(graph).log_total
        assert tg.k_shell(looked).tolist() == brute_force.shells(graph)
        assert tg.tau_core(looked).nodes.tolist() == tg.tau_core(graph).nodes.tolist()
        assert repr(looked) == repr(graph)


def layer(seed: int, shape: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(shape).astype(np.float32) * (rng.random(shape) < 0.4)
    assert isinstance(weights, np.ndarray)
    return weights


FORMS = {
    "float32": lambda w: w,
    "float64": lambda w: w.astype(np.float64) * (1 + 1e-12),
    "sparse": sp.csr_array,
    "tensor": torch.from_numpy,
    "transposed": lambda w: torch.from_numpy(np.ascontiguousarray(w.T)).T,
    "bfloat16": lambda w: torch.from_numpy(w).bfloat16(),
    "float16": lambda w: w.astype(np.float16),
    "integers": lambda w: np.rint(9 * w).astype(np.int8),
    "large-integers": lambda w: np.rint(9 * w).astype(np.int64) * (2**40 + 1),
    "lists": lambda w: w.tolist(),
}


@pytest.mark.parametrize("form", FORMS)
def test_matrices_of_any_kind_are_kept_exactly(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "_CHUNK", 64)  # several chunks, the last one cut short
    given = FORMS[form](layer(0, (31, 12)))
    dense = given.toarray() if sp.issparse(given) else given
    dense = dense.double().numpy() if isinstance(dense, torch.Tensor) else np.array(dense, float)
    graph = map_graph(tmp_path / "g", {"x": 12, "y": 31}, [("x", "y", given)])
    assert (graph.blocks[0].matrix.toarray() == np.abs(dense)).all()
    assert graph.n_edges == np.count_nonzero(dense)


def test_stored_zeros_of_a_sparse_matrix_are_edges(tmp_path: Path) -> None:
    matrix = stored([[0.0, None], [2.0, 0.0]])
    graph = map_graph(tmp_path / "g", {"x": 2, "y": 2}, [("x", "y", matrix)])
    assert tg.degree(graph).tolist() == [2, 1, 1, 2]


def test_blocks_lie_in_files_and_are_written_one_by_one(tmp_path: Path) -> None:
    alive = []

    def layers() -> Iterator[tuple[str, str, Any]]:
        for k in range(4):
            # The layers before this one have been written when it is asked for.
            alive.append(len(list((tmp_path / "g").glob("*.indptr"))))
            yield str(k), str(k + 1), layer(k, (50, 50))

    graph = map_graph(tmp_path / "g", {str(k): 50 for k in range(5)}, layers())
    assert alive == [0, 1, 2, 3]
    for block in graph.blocks:
        assert not block.matrix.data.flags.writeable  # still the file, not a copy
        assert not block.matrix.indices.flags.writeable


def test_a_graph_is_opened_again(tmp_path: Path) -> None:
    sizes, triples = {"x": 6, "h": 5, "y": 4}, [("x", "h", layer(1, (5, 6)))]
    triples.append(("h", "y", layer(2, (4, 5))))
    first = map_graph(tmp_path / "g", sizes, triples, identity=[("x", "y", np.eye(4, 6))])
    again = open_graph(str(tmp_path / "g"))
    assert repr(again) == repr(first)
    assert tg.path_centrality(again).tolist() == tg.path_centrality(first).tolist()
    assert len(again.identity_blocks) == 1


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        ([("x", "y", np.ones((2, 3)))], r"has shape \(2, 3\); expected .* \(3, 2\)"),
        ([("x", "y", np.full((3, 2), np.nan))], "NaN or infinite"),
        ([("y", "x", np.ones((2, 3)))], "in this order"),
        ([("x", "z", np.ones((2, 3)))], "in this order"),
        ([("x", "y", np.ones((3, 2)))] * 2, "twice"),
    ],
)
def test_what_is_no_graph_is_refused(tmp_path: Path, triples: Any, message: str) -> None:
    with pytest.raises(tg.TopographError, match=message):
        map_graph(tmp_path / "g", {"x": 2, "y": 3}, triples)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(tg.TopographError, match="is not empty"):
        map_graph(tmp_path, {"x": 1, "y": 1}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def spoil_length(folder: Path) -> None:
    with (folder / "000.indices").open("ab") as file:
        file.write(b"\0")


def spoil_counts(folder: Path) -> None:
    (folder / "000.indptr").write_bytes(np.array([0, 9, 1, 6], "<i8").tobytes())


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_length,
        spoil_counts,
        lambda folder: (folder / "000.magnitudes").unlink(),
        lambda folder: (folder / "graph.json").write_text("{"),
        lambda folder: (folder / "graph.json").unlink(),
        lambda folder: (folder / "graph.json").write_text('{"format": "other", "version": 1}'),
    ],
    ids=["length", "counts", "missing", "torn", "none", "other"],
)
def test_a_damaged_folder_is_named(tmp_path: Path, spoil: Any) -> None:
    map_graph(tmp_path / "g", {"x": 2, "y": 3}, [("x", "y", np.ones((3, 2)))])
    spoil(tmp_path / "g")
    with pytest.raises(tg.TopographError, match="holds no complete graph"):
        open_graph(tmp_path / "g")
