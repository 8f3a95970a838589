from __future__ import annotations

import math

import networkx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given

import topograph as tg
from tests.topograph.graphs import layered_graphs, stored
from topograph.spectra import LayerSpectrum, layer_spectra


def only(matrix: object) -> LayerSpectrum:
    """Return the spectrum of a network of one layer."""
    shape = matrix.shape if sp.issparse(matrix) else np.shape(matrix)
    graph = tg.layered_graph({"x": shape[1], "y": shape[0]}, [("x", "y", matrix)])
    return layer_spectra(graph)["x", "y"]


@given(layered_graphs())
def test_spectra_are_those_of_the_adjacency_matrix(graph: tg.LayeredGraph) -> None:
    spectra = layer_spectra(graph)
    assert list(spectra) == [(block.source, block.target) for block in graph.weight_blocks]
    for block in graph.weight_blocks:
        found = spectra[block.source, block.target]
        ones = np.zeros(block.matrix.shape)
        ones[block.matrix.tocoo().coords] = 1
        both = np.block(
            [[np.zeros((len(ones), len(ones))), ones], [ones.T, np.zeros((len(ones.T),) * 2)]]
        )
        # Eigenvalues come in pairs of both signs.
        values = np.append(np.sort(np.linalg.eigvalsh(both))[::-1], 0)
        assert found.largest == pytest.approx(values[0], abs=1e-9)
        assert found.second == pytest.approx(max(values[1], 0), abs=1e-9)
        assert found.spectral_gap == pytest.approx(values[0] - max(values[1], 0), abs=1e-9)
        plain = networkx.from_numpy_array(both)
        plain.remove_nodes_from(list(networkx.isolates(plain)))
        assert found.components == networkx.number_connected_components(plain)
        if ones.any():
            degrees = [side[side > 0].mean() for side in (ones.sum(axis=0), ones.sum(axis=1))]
            bound = sum(math.sqrt(d - 1) for d in degrees)
            assert found.bound == pytest.approx(bound)
            assert found.ramanujan_gap == pytest.approx(bound - max(values[1], 0), abs=1e-9)
        else:
            assert math.isnan(found.ramanujan_gap)


def test_large_layers_agree_with_the_full_decomposition() -> None:
    # Past 256 nodes the solver is iterative.
    matrix = sp.random_array((400, 700), density=0.02, rng=np.random.default_rng(0), format="csr")
    found = only(matrix)
    values = np.linalg.svd((matrix.toarray() != 0).astype(float), compute_uv=False)
    assert [found.largest, found.second] == pytest.approx(values[:2].tolist(), rel=1e-9)


def test_equal_parts_have_no_gap_at_any_size() -> None:
    # Both parts share all singular values, which iterative solvers may find only once.
    part = sp.random_array((300, 300), density=0.05, rng=np.random.default_rng(1), format="csr")
    found = only(sp.block_diag([part, part], format="csr"))
    assert found.components >= 2
    assert found.spectral_gap == pytest.approx(0, abs=1e-9)
    assert found.largest == pytest.approx(
        np.linalg.norm((part.toarray() != 0).astype(float), 2), rel=1e-9
    )


def test_known_graphs() -> None:
    full = only(np.ones((5, 7)))
    assert full.largest == pytest.approx(math.sqrt(35))
    assert full.second == pytest.approx(0, abs=1e-9)
    assert full.components == 1
    # The points and lines of the Fano plane: σ₂ = √2 below the bound 2√2.
    fano = np.array([[(j - i) % 7 in (1, 2, 4) for j in range(7)] for i in range(7)], float)
    found = only(fano)
    assert (found.largest, found.second) == pytest.approx((3, math.sqrt(2)))
    assert found.ramanujan_gap == pytest.approx(math.sqrt(2))
    # A matching is as badly connected as can be.
    matching = only(np.eye(6))
    assert (matching.components, matching.spectral_gap, matching.bound) == (6, 0, 0)


def test_weights_do_not_count_and_stored_zeros_do() -> None:
    found = only(stored([[3.0, 0.0], [-2.0, 0.5]]))
    assert found.largest == pytest.approx(2)
    assert found.second == pytest.approx(0, abs=1e-12)


def test_random_layers_are_near_ramanujan_and_blocky_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(600) for _ in range(8)]).ravel()
    spread = sp.csr_array((np.ones(4800), (rows, np.tile(np.arange(600), 8))), shape=(600, 600))
    assert abs(only(spread).ramanujan_gap) < 0.5
    blocky = sp.block_diag([np.ones((8, 8))] * 75, format="csr")
    assert only(blocky).ramanujan_gap < -2


def test_anything_but_a_graph_is_refused() -> None:
    with pytest.raises(tg.TopographError, match="expected a LayeredGraph"):
        layer_spectra(np.eye(2))  # type: ignore[arg-type]
