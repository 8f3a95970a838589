"""Layer densities: the published ERK numbers, and exact totals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pwmpr.starts.densities import er_counts, erk_counts, uniform_counts


def resnet50_shapes() -> dict[str, tuple[int, ...]]:
    """The convolutions and the classifier of ResNet-50: 25,502,912 weights."""
    shapes: dict[str, tuple[int, ...]] = {"conv1": (64, 3, 7, 7)}
    width = 64
    for stage, (inner, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            shapes[f"{name}.conv1"] = (inner, width, 1, 1)
            shapes[f"{name}.conv2"] = (inner, inner, 3, 3)
            shapes[f"{name}.conv3"] = (4 * inner, inner, 1, 1)
            if block == 0:
                shapes[f"{name}.downsample"] = (4 * inner, width, 1, 1)
            width = 4 * inner
    return shapes | {"fc": (1000, 2048)}


def test_erk_of_resnet50_is_as_published() -> None:
    """RigL's published allocation: dense layers, first and last layer at 80% and 90%."""
    shapes = resnet50_shapes()
    total = sum(map(math.prod, shapes.values()))
    assert total == 25_502_912
    dense, conv1, fc = {}, {}, {}
    for sparsity in (0.8, 0.9):
        counts = erk_counts(shapes, round(total * (1 - sparsity)))
        density = {name: counts[name] / math.prod(shapes[name]) for name in shapes}
        dense[sparsity] = sum(value == 1 for value in density.values())
        conv1[sparsity], fc[sparsity] = density["conv1"], density["fc"]
    assert dense == {0.8: 8, 0.9: 1}
    assert conv1[0.8] == pytest.approx(0.857, abs=5e-4)
    assert conv1[0.9] == pytest.approx(0.42, abs=5e-4)
    assert fc[0.9] == pytest.approx(0.073, abs=5e-4)


shape = st.one_of(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), st.integers(1, 3)),
)


@given(st.lists(shape, min_size=1, max_size=6), st.floats(0.0, 1.0))
def test_totals_are_exact_and_no_layer_overflows(shapes: list, fraction: float) -> None:
    named = {f"layer{k}": shape for k, shape in enumerate(shapes)}
    total = int(fraction * sum(math.prod(shape) for shape in shapes))
    for counts in (uniform_counts(named, total), er_counts(named, total), erk_counts(named, total)):
        assert sum(counts.values()) == total
        assert all(0 <= counts[name] <= math.prod(named[name]) for name in named)


def test_er_leaves_kernels_out() -> None:
    shapes = {"conv": (8, 4, 3, 3), "fc": (10, 8)}
    # (8 + 4) / 32 of 288 and (10 + 8) / 80 of 80: 108 against 18 weights at scale 1.
    assert er_counts(shapes, 63) == {"conv": 54, "fc": 9}
