"""Do ERK allocations and training FLOPs of ResNet-50 have the published numbers?"""

from __future__ import annotations

import math

import pytest

from pwmpr.cost import Ledger, Operator
from pwmpr.starts.densities import erk_counts, uniform_counts

#: Weights and multiply-accumulates in millions, of ResNet-50 on 224×224 pictures.
WEIGHTS, MACS = 25_502_912, 4_089


def resnet50() -> dict[str, tuple[tuple[int, ...], int]]:
    """Name -> shape of the weight and number of places it is used at."""
    layers: dict[str, tuple[tuple[int, ...], int]] = {"conv1": ((64, 3, 7, 7), 112**2)}
    width, side = 64, 56
    for stage, (inner, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            layers[f"{name}.conv1"] = ((inner, width, 1, 1), side**2)
            side //= stride
            layers[f"{name}.conv2"] = ((inner, inner, 3, 3), side**2)
            layers[f"{name}.conv3"] = ((4 * inner, inner, 1, 1), side**2)
            if block == 0:
                layers[f"{name}.downsample"] = ((4 * inner, width, 1, 1), side**2)
            width = 4 * inner
    layers["fc"] = ((1000, 2048), 1)
    return layers


def ledger() -> Ledger:
    operators = tuple(
        Operator("convolution", name, 2 * math.prod(shape) * places, math.prod(shape))
        for name, (shape, places) in resnet50().items()
    )
    return Ledger(operators, tuple(resnet50()))


def allocated(sparsity: float) -> dict[str, int]:
    shapes = {name: shape for name, (shape, _) in resnet50().items()}
    return erk_counts(shapes, round(WEIGHTS * (1 - sparsity)))


def test_the_network_has_the_published_size():
    assert sum(math.prod(shape) for shape, _ in resnet50().values()) == WEIGHTS
    assert ledger().dense_forward / 2e6 == pytest.approx(MACS, abs=1)


@pytest.mark.parametrize(
    ("sparsity", "dense_layers", "ratio"),
    [(0.8, 8, 0.4138), (0.9, 1, 0.2418), (0.95, 0, 0.1217), (0.965, 0, 0.0852), (0.99, 0, 0.0243)],
)
def test_erk_macs_have_four_published_digits(sparsity, dense_layers, ratio):
    counts, account = allocated(sparsity), ledger()
    account.keep(counts)
    assert sum(counts.values()) == round(WEIGHTS * (1 - sparsity))
    full = [n for n, (shape, _) in resnet50().items() if counts[n] == math.prod(shape)]
    assert len(full) == dense_layers
    assert account.sparse_forward / account.dense_forward == pytest.approx(ratio, abs=5e-5)


def test_first_and_last_layers_have_the_published_densities():
    eighty, ninety = allocated(0.8), allocated(0.9)
    assert eighty["conv1"] / 9408 == pytest.approx(0.857, abs=5e-4)
    assert ninety["conv1"] / 9408 == pytest.approx(0.420, abs=5e-4)
    assert ninety["fc"] / 2_048_000 == pytest.approx(0.073, abs=5e-4)


@pytest.mark.parametrize(("sparsity", "ratio"), [(0.8, 0.2231), (0.9, 0.1260)])
def test_uniform_with_a_dense_first_layer(sparsity, ratio):
    account = ledger()
    shapes = {n: shape for n, (shape, _) in resnet50().items() if n != "conv1"}
    sizes = {n: math.prod(shape) for n, shape in shapes.items()}
    counts = uniform_counts(shapes, round((1 - sparsity) * sum(sizes.values())))
    assert all(abs(counts[n] - (1 - sparsity) * size) <= 1 for n, size in sizes.items())
    account.keep(counts)
    assert account.sparse_forward / account.dense_forward == pytest.approx(ratio, abs=5e-5)


@pytest.mark.parametrize(("sparsity", "reported"), [(0.8, 0.42), (0.9, 0.24)])
def test_rigl_trains_at_the_reported_part_of_dense_flops(sparsity, reported):
    """RigL, Table 1: ERK, ΔT = 100; its counter charges biases and activations too (0.42)."""
    account = ledger()
    account.keep(allocated(sparsity))
    account.add_training(101)  # 100 steps and one update, a sample each
    account.add_dense_weight_gradient(1)
    f_s, f_d = account.sparse_forward, account.dense_forward
    assert account.total == 3 * f_s * 100 + 2 * f_s + f_d
    assert account.total / 101 / (3 * f_d) == pytest.approx(reported, abs=7e-3)


def test_sparse_momentum_trains_at_its_formula():
    account = ledger()
    account.keep(allocated(0.9))
    account.add_training(1)
    account.add_dense_weight_gradient(1)
    assert account.total == 2 * account.sparse_forward + account.dense_forward
