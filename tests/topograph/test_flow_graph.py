"""The tensor path against the graph path: equal where space plays no part, and unit by unit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from topograph.capturing import capture
from topograph.core import average_tau_core_ratio, tau_core, tau_core_ratios
from topograph.flow import path_flow
from topograph.graph.layered import LayeredGraph
from topograph.paths import path_sums


def assert_same_as_graph(model: nn.Module, example: Tensor) -> None:
    """Shares by node id, and log R, to 1e-9."""
    graph, flow = capture(model, example), path_flow(model, example)
    sums = path_sums(graph)
    assert list(flow.share) == list(graph.groups)
    assert (flow.inputs, flow.outputs) == (graph.inputs, graph.outputs)
    assert flow.offsets == {name: group.start for name, group in graph.groups.items()}
    assert flow.log_total == pytest.approx(sums.log_total, rel=1e-9)
    found = torch.cat(list(flow.share.values())).numpy()
    np.testing.assert_allclose(found, sums.share, rtol=1e-9, atol=1e-12)


class Residual(nn.Module):
    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inside, out), nn.Linear(out, out)
        self.shortcut = nn.Linear(inside, out) if inside != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (self.second(self.first(x).relu()) + self.shortcut(x)).relu()


class Dense(nn.Module):
    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inside, out)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.fc(x).tanh(), x[:, ::2]], 1)


@st.composite
def linear_nets(draw: Callable[..., int]) -> nn.Module:
    torch.manual_seed(draw(st.integers(0, 999)))
    size, layers = 4, []
    for _ in range(draw(st.integers(1, 5))):
        kind, out = draw(st.sampled_from([nn.Linear, Residual, Dense])), draw(st.integers(1, 5))
        layers += [kind(size, out), nn.ReLU()]
        size = out + (size + 1) // 2 if kind is Dense else out
    model = nn.Sequential(*layers, nn.Linear(size, 3))
    density = draw(st.sampled_from([0.4, 0.8, 1.0]))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(torch.rand_like(weight) < density)
    return model


@settings(max_examples=15)
@given(linear_nets())
def test_linear_nets_have_the_shares_of_their_graph(model: nn.Module) -> None:
    assert_same_as_graph(model, torch.zeros(1, 4))


def test_tokens_tied_to_the_head_have_the_shares_of_their_graph() -> None:
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.fc = nn.Embedding(6, 4), nn.Linear(4, 4)
            self.head = nn.Linear(4, 6, bias=False)
            self.head.weight = self.table.weight

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.table(tokens)
            return self.head(x + self.fc(x).relu())

    assert_same_as_graph(Language(), torch.zeros(1, 1, dtype=torch.long))


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
        self.side = nn.Conv2d(4, 6, 1, stride=2)
        self.last = nn.Conv2d(6, 3, 2, dilation=2)
        self.fc = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.stem(x).relu(), 3, 1, 1)
        x = (self.down(x) + self.side(x)).relu()
        return self.fc(self.last(x).flatten(1))


def by_channel(graph: LayeredGraph, share: np.ndarray, name: str, channels: int) -> np.ndarray:
    return share[graph.nodes(name)].reshape(channels, -1).sum(1)


def test_channels_have_the_shares_of_their_units() -> None:
    model, example = Convolutional(), torch.zeros(1, 2, 8, 8)
    flow = path_flow(model, example)
    units = capture(model, example, granularity="unit")
    sums = path_sums(units)
    assert flow.log_total == pytest.approx(sums.log_total, rel=1e-9)
    compared = 0
    for name, share in flow.share.items():
        if name in units.groups:
            expected = by_channel(units, sums.share, name, len(share))
            np.testing.assert_allclose(share.numpy(), expected, rtol=1e-9, atol=1e-12)
            compared += 1
    assert compared >= 4


def test_cores_are_taken_from_either() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2))
    graph, flow = capture(model, torch.zeros(1, 6)), path_flow(model, torch.zeros(1, 6))
    assert tau_core(flow, 0.7).nodes.tolist() == tau_core(graph, 0.7).nodes.tolist()
    assert tau_core_ratios(flow, 0.7) == tau_core_ratios(graph, 0.7)
    assert average_tau_core_ratio(flow) == average_tau_core_ratio(graph)
