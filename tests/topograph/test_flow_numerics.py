"""Path weights past the range of floats: deep nets, dead parts, float32, torch's own settings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from topograph.errors import TopographError
from topograph.flow import PathFlow, path_flow
from topograph.graph.layered import layered_graph
from topograph.paths import path_sums


def seeded_mlp(depth: int, width: int, scale: float, density: float = 0.5) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(width, width, bias=False) for _ in range(depth)]).double()
    with torch.no_grad():
        for layer in model:
            layer.weight.copy_(torch.randn(width, width) * scale)
            layer.weight.mul_(torch.rand(width, width) < density)
    return model


@pytest.mark.parametrize(("depth", "scale"), [(1000, 50.0), (300, 1e-3)])
def test_a_mlp_of_a_thousand_layers_agrees_with_its_graph(depth: int, scale: float) -> None:
    width = 8
    model = seeded_mlp(depth, width, scale)
    names = ["input", *(str(i) for i in range(depth))]
    graph = layered_graph(
        dict.fromkeys(names, width),
        [(names[i], names[i + 1], layer.weight.detach().numpy()) for i, layer in enumerate(model)],
    )
    sums = path_sums(graph)
    flow = path_flow(model, torch.zeros(1, width))
    assert abs(flow.log_total) > 1000  # far past float64, whose logarithms end at 709
    assert flow.log_total == pytest.approx(sums.log_total, rel=1e-12)
    for name in names:
        share = flow.share[name].numpy()
        assert share.sum() == pytest.approx(1, abs=1e-9)
        np.testing.assert_allclose(share, sums.share[graph.nodes(name)], rtol=1e-9, atol=1e-15)
    # S(i, j) = φ(i) ψ(j), present and missing alike.
    phi = sums.log_complexity[graph.nodes(names[200])]
    psi = sums.log_generality[graph.nodes(names[201])]
    found = np.log(flow.scores["200.weight"].numpy()) + flow.log_scale
    np.testing.assert_allclose(found, psi[:, None] + phi[None, :], rtol=1e-12)
    assert 0.25 <= max(float(score.max()) for score in flow.scores.values()) <= 1


class Deep(nn.Module):
    def __init__(self, blocks: int, scale: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(2))
            for _ in range(blocks)
        )
        self.fc = nn.Linear(4, 3, bias=False)
        with torch.no_grad():
            for weight in self.parameters():
                weight.mul_(scale * (torch.rand_like(weight) < 0.6))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        for first, second in self.blocks:
            x = functional.relu(x + second(functional.relu(first(x))))
        return self.fc(x.mean((2, 3)))


def test_a_residual_net_of_two_hundred_blocks() -> None:
    model = Deep(200, 20.0).double()
    flow = path_flow(model, torch.zeros(1, 2, 4, 4))
    # The same sums with every activation divided by its total.
    x, log = torch.ones(1, 2, 4, 4, dtype=torch.float64), 0.0
    with torch.no_grad():
        for weight in model.parameters():
            weight.abs_()
        x = model.stem(x)
        for first, second in model.blocks:
            x = x + second(first(x))
            log, x = log + math.log(float(x.sum())), x / x.sum()
        log += math.log(float(model.fc(x.mean((2, 3))).sum()))
    assert flow.log_total == pytest.approx(log, rel=1e-12)
    assert log > 1300
    assert float(flow.share["stem"].sum()) == pytest.approx(1, abs=1e-9)
    assert float(flow.share["fc"].sum()) == pytest.approx(1, abs=1e-9)
    for name, share in flow.share.items():
        assert bool(torch.isfinite(share).all()), name
        assert 0 <= float(share.sum()) < 1 + 1e-9, name
    assert all(bool(torch.isfinite(score).all()) for score in flow.scores.values())


def assert_close_to(flow: PathFlow, exact: PathFlow, tolerance: float) -> None:
    assert flow.log_total == pytest.approx(exact.log_total, abs=tolerance)
    for name, share in exact.share.items():
        assert float((flow.share[name] - share).abs().max()) <= tolerance * float(share.max()), name
    factor = math.exp(flow.log_scale - exact.log_scale)
    for name, score in exact.scores.items():
        error = (flow.scores[name].double() * factor - score).abs().max()
        assert float(error) <= tolerance * float(score.max()), name


def test_float32_is_near_float64() -> None:
    model = Deep(40, 5.0)
    example = torch.zeros(1, 2, 8, 8)
    exact = path_flow(model, example, dtype=torch.float64)
    rough = path_flow(model, example, dtype=torch.float32)
    assert exact.log_total > 150  # float32 alone ends at 88
    assert (exact.dtype, rough.dtype) == (torch.float64, torch.float32)
    assert all(score.dtype == torch.float32 for score in rough.scores.values())
    assert_close_to(rough, exact, 3e-6)


def test_dead_parts_with_huge_generality_do_not_overflow() -> None:
    # Unit 0 of every layer is reached and weak; unit 1 is never reached and strong.
    depth = 130
    model = nn.Sequential(*[nn.Linear(2, 2, bias=False) for _ in range(depth)]).double()
    with torch.no_grad():
        for index, layer in enumerate(model):
            strong = 0.0 if index == 0 else 100.0
            layer.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, strong]]))
    flow = path_flow(model, torch.zeros(1, 2))
    assert flow.log_total == pytest.approx(0)
    assert flow.share["10"].tolist() == pytest.approx([1, 0])
    # From the input to unit 1 of the first layer, then through depth - 1 weights of 100.
    best = flow.scores["0.weight"]
    expected = 2 * (depth - 1) * math.log(10)
    assert math.log(float(best[1, 0])) + flow.log_scale == pytest.approx(expected)
    assert all(bool(torch.isfinite(score).all()) for score in flow.scores.values())


def wide_range(depth: int) -> nn.Sequential:
    """All path weight runs through units that are 1e-30 of their dead-end neighbour a layer."""
    model = nn.Sequential(*[nn.Linear(2, 2, bias=False) for _ in range(depth)])
    with torch.no_grad():
        for layer in model:
            layer.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1e-30]]))
        model[-1].weight[0, 0] = 0
    return model


def test_a_range_beyond_float32_is_computed_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TopographError, match=r"pass dtype=torch\.float64"):
        path_flow(wide_range(3), torch.zeros(1, 2), dtype=torch.float32)
    monkeypatch.setattr("topograph.flow.tensor_path._CHEAP", 0)  # as if the model were large
    flow = path_flow(wide_range(3), torch.zeros(1, 2))
    assert flow.dtype == torch.float64
    assert flow.log_total == pytest.approx(-90 * math.log(10))
    assert flow.share["0"].tolist() == pytest.approx([0, 1])
    with pytest.raises(TopographError, match="span more than the range"):
        path_flow(wide_range(14), torch.zeros(1, 2))  # 1e-420 of the neighbour: no float holds it


def test_a_total_that_underflows_is_no_missing_path() -> None:
    # Weak in the first half beside a dead end, then weak beside units that nothing reaches.
    model = nn.Sequential(*[nn.Linear(3, 3, bias=False) for _ in range(24)]).double()
    with torch.no_grad():
        for layer in model:
            layer.weight.copy_(torch.diag(torch.tensor([1.0, 1e-30, 1.0])))
        model[0].weight[2] = 0  # the third unit is never reached
        model[-1].weight[0] = 0  # the first leads nowhere
    with pytest.raises(TopographError, match="span more than the range"):
        path_flow(model, torch.zeros(1, 3))


def test_large_models_are_computed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topograph.flow.tensor_path._CHEAP", 100)
    model = seeded_mlp(3, 8, 1.0).float()
    flow = path_flow(model, torch.zeros(1, 8))
    assert flow.dtype == torch.float32
    assert_close_to(flow, path_flow(model, torch.zeros(1, 8), dtype=torch.float64), 3e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_half_precision_are_read_exactly(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    half = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).to(dtype)
    flow = path_flow(half, torch.zeros(1, 2, 4, 4, dtype=dtype))
    same = path_flow(half.double(), torch.zeros(1, 2, 4, 4, dtype=torch.float64))
    assert flow.log_total == same.log_total
    assert torch.equal(flow.scores["0.weight"], same.scores["0.weight"])


def test_settings_of_torch_make_no_difference() -> None:
    model, example = seeded_mlp(3, 8, 1.0).float(), torch.zeros(1, 8)
    expected = path_flow(model, example, dtype=torch.float32)

    def check() -> None:
        flow = path_flow(model, example, dtype=torch.float32)
        assert flow.log_total == expected.log_total
        for name, score in expected.scores.items():
            assert torch.equal(flow.scores[name], score)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        check()
    with torch.no_grad():
        check()
    with torch.inference_mode():
        check()
    before = torch.backends.mkldnn.matmul.fp32_precision
    try:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        check()
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
