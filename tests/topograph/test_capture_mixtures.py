"""Products without a softmax, constant kernels, folds: what carries paths, and how much."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from topograph.capturing import capture
from topograph.capturing.layout import layout
from topograph.capturing.trace import trace
from topograph.capturing.weights import Binding
from topograph.collapse import check_collapse
from topograph.flow import path_flow
from topograph.graph.layered import LayeredGraph
from topograph.influence import check_influence
from topograph.paths import path_sums

WIDTH, TOKENS = 6, 4


class LinearAttention(nn.Module):
    """Queries · (keysᵀ · values), normalised by a column of ones beside the values."""

    def __init__(self, spelling: str = "relu") -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, 3)
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).reshape(1, TOKENS, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4).unbind(0)
        if self.spelling == "relu":
            v = F.pad(v, (0, 1), value=1.0)
            y = q.relu() @ (k.relu().transpose(-1, -2) @ v)
            y = y[..., :-1] / (y[..., -1:] + 1e-6)
        elif self.spelling == "softmax of keys":
            y = q @ (k.softmax(-2).transpose(-1, -2) @ v)
        elif self.spelling == "scores":
            scores = q @ k.transpose(-1, -2)
            y = scores.relu().square() @ v
        else:  # everything the other way round
            y = ((v.transpose(-1, -2) @ k) @ q.transpose(-1, -2)).transpose(-1, -2)
        return self.out(y.transpose(1, 2).reshape(1, TOKENS, WIDTH))


class TalkingHeads(nn.Module):
    """A linear layer mixes the heads of an attention after its softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.talk = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(2, 2)
        self.out = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).reshape(1, TOKENS, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-1, -2)).softmax(-1)
        weights = self.talk(weights.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.out((weights @ v).transpose(1, 2).reshape(1, TOKENS, WIDTH))


class Similarity(nn.Module):
    """Two towers whose features are multiplied in the end: each carries paths."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(WIDTH, 3), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x[0]) @ self.other(x[0]).t()


class Blur(nn.Module):
    """A constant filter before the stride; a constant mixture of channels; a learnt layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(5, 2, 1)
        kernel = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("kernel", (kernel[:, None] * kernel / 8).repeat(4, 1, 1, 1))
        self.register_buffer("colours", torch.tensor([[1.0, -2, 0, 0]] * 4 + [[0, 0, 0, 3.0]]))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(self.first(x).relu(), (1, 1, 1, 1), mode="reflect")
        x = F.conv2d(x, self.kernel, stride=2, groups=4)
        return self.last(F.linear(x.permute(0, 2, 3, 1), self.colours).permute(0, 3, 1, 2))


class Outlook(nn.Module):
    """Every place attends to the places of its window; windows are added up where they overlap."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.v = nn.Conv2d(3, WIDTH, 1), nn.Linear(WIDTH, WIDTH)
        self.attention, self.out = nn.Linear(WIDTH, 2 * 81), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).permute(0, 2, 3, 1)
        _, h, w, c = x.shape
        v = F.unfold(self.v(x).permute(0, 3, 1, 2), 3, padding=1)
        v = v.reshape(1, 2, c // 2, 9, h * w).permute(0, 1, 4, 3, 2)
        weights = self.attention(x).reshape(1, h * w, 2, 9, 9).permute(0, 2, 1, 3, 4).softmax(-1)
        y = (weights @ v).permute(0, 1, 4, 3, 2).reshape(1, c * 9, h * w)
        return self.out(F.fold(y, (h, w), 3, padding=1).permute(0, 2, 3, 1))


class ResponseNorm(nn.Module):
    """Features rescaled by their norms over the image, relative to the mean norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)
        self.gain, self.bias = nn.Parameter(torch.ones(4, 1, 1)), nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        norm = x.norm(dim=(2, 3), keepdim=True)
        x = x + torch.addcmul(self.bias, self.gain, x * (norm / (norm.mean(1, keepdim=True) + 1)))
        return self.last(x)


class Standardised(nn.Conv2d):
    """A convolution whose weight is normalised in every forward."""

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(flat, None, None, training=True, momentum=0.0)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, padding=self.padding)


TOKENS_IN, IMAGE = torch.zeros(1, TOKENS, WIDTH), torch.zeros(1, 3, 5, 5)
CASES = {
    "linear attention": (LinearAttention, TOKENS_IN),
    "softmax of keys": (lambda: LinearAttention("softmax of keys"), TOKENS_IN),
    "scores": (lambda: LinearAttention("scores"), TOKENS_IN),
    "transposed": (lambda: LinearAttention("transposed"), TOKENS_IN),
    "talking heads": (TalkingHeads, TOKENS_IN),
    "similarity": (Similarity, TOKENS_IN),
    "blur": (Blur, IMAGE),
    "outlook": (Outlook, IMAGE),
    "response norm": (ResponseNorm, IMAGE),
    "standardised": (
        lambda: nn.Sequential(Standardised(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)),
        IMAGE,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_unit_graph_influence_and_collapse(name: str) -> None:
    make, example = CASES[name]
    torch.manual_seed(0)
    model: nn.Module = make().eval()
    flow = path_flow(model, example)
    graph = capture(model, example, granularity="unit")
    assert path_sums(graph).log_total == pytest.approx(flow.log_total, rel=1e-9)
    traced = trace(model, example)
    binding = Binding(traced, model)
    for granularity in ("unit", "channel"):
        wires = layout(traced, binding, granularity)
        assert check_influence(traced, binding, wires, units=24) > 0
    assert check_collapse(traced, binding, wires, capture(model, example)) > 0


def dense(graph: LayeredGraph, source: str, target: str) -> np.ndarray:
    (found,) = (b for b in graph.weight_blocks if (b.source, b.target) == (source, target))
    return found.matrix.toarray()


@pytest.mark.parametrize("spelling", ["relu", "softmax of keys", "scores", "transposed"])
def test_queries_and_keys_of_a_linear_attention_are_no_paths(spelling: str) -> None:
    model = LinearAttention(spelling)
    graph = capture(model, TOKENS_IN)
    assert graph.groups["qkv"].size == WIDTH
    weight = model.qkv.weight.detach().abs().double()
    np.testing.assert_array_equal(dense(graph, "input", "qkv"), weight[2 * WIDTH :])
    np.testing.assert_allclose(
        dense(graph, "qkv", "out"), model.out.weight.detach().abs().double(), rtol=1e-12
    )


def test_heads_that_talk_only_steer() -> None:
    graph = capture(TalkingHeads(), TOKENS_IN)
    assert [name for name, _ in graph.coverage.missing] == ["talk"]
    assert graph.groups["qkv"].size == WIDTH


def test_both_factors_of_a_product_at_the_end_carry_paths() -> None:
    model = Similarity()
    total = path_flow(model, TOKENS_IN).log_total
    rows = [w.detach().abs().double().sum(1) for w in (model.one.weight, model.other.weight)]
    expected = TOKENS * TOKENS * sum(float(row.sum()) for row in rows)
    assert total == pytest.approx(math.log(expected), rel=1e-6)


def test_a_constant_filter_is_no_node_and_keeps_its_sum() -> None:
    model = Blur()
    graph = capture(model, IMAGE)
    assert set(graph.groups) == {"input", "first", "last"}
    expected = model.last.weight.detach().abs().double()[:, :, 0, 0] @ model.colours.abs().double()
    np.testing.assert_allclose(dense(graph, "first", "last"), 2 * expected, rtol=1e-6)
    assert graph.coverage.total == 2
