"""Attention, gated units, embeddings and choices: what is a path, what only steers one."""

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
from topograph.flow import path_flow
from topograph.graph.layered import LayeredGraph
from topograph.influence import check_influence
from topograph.paths import path_sums

WIDTH, HEADS, TOKENS = 6, 2, 4


class Fused(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, spelling: str = "sdpa") -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        parts = self.qkv(x).reshape(n, t, 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        if self.spelling == "sdpa":
            y = F.scaled_dot_product_attention(q, k, v)
        elif self.spelling == "causal":
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(d // HEADS)
            y = F.dropout(scores.softmax(-1), 0.1, self.training) @ v
        return self.proj(y.transpose(1, 2).reshape(n, t, d))


class Block(nn.Module):
    def __init__(self, spelling: str = "sdpa") -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = Fused(spelling)
        self.up, self.down = nn.Linear(WIDTH, 8), nn.Linear(8, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class ViT(nn.Module):
    def __init__(self, spelling: str = "sdpa") -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 2, 2)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.place = nn.Parameter(torch.randn(1, 5, WIDTH))
        self.blocks = nn.Sequential(Block(spelling), Block(spelling))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        return self.head(self.blocks(x)[:, 0])


class Grouped(nn.Module):
    """Queries of two heads share the keys and values of one; then gated linear units."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(6, 6), nn.Linear(6, 3), nn.Linear(6, 3)
        self.out, self.gated = nn.Linear(6, 6), nn.Linear(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).view(1, TOKENS, -1, 3).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        x = x + self.out(y.transpose(1, 2).reshape(1, TOKENS, 6))
        return F.glu(self.gated(x), -1)


class Decoder(nn.Module):
    """A tied embedding and causal attention."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(7, WIDTH), nn.Embedding(TOKENS, WIDTH)
        self.block = Block("causal")
        self.head = nn.Linear(WIDTH, 7, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.places(torch.arange(tokens.shape[1]))
        return self.head(self.block(x))


class Choices(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.register_buffer("mask", torch.tensor([True, False, True, False]))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        y = torch.where(self.mask, a, b).masked_fill(torch.tensor([False] * 3 + [True]), 0.0)
        y = torch.where(y > 0, y, 0.1 * y)
        return self.last(torch.maximum(y, a) * (a > 0))


class Attention(nn.MultiheadAttention):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, x, x, need_weights=self.need_weights)[0]


def multihead(need_weights: bool) -> Attention:
    model = Attention(WIDTH, HEADS, batch_first=True)
    model.need_weights = need_weights
    return model


CASES = {
    "vit": (ViT, torch.zeros(1, 3, 4, 4)),
    "vit by softmax": (lambda: ViT("softmax"), torch.zeros(1, 3, 4, 4)),
    "multihead": (lambda: multihead(False), torch.zeros(1, TOKENS, WIDTH)),
    "multihead with weights": (lambda: multihead(True), torch.zeros(1, TOKENS, WIDTH)),
    "encoder": (
        lambda: nn.TransformerEncoderLayer(WIDTH, HEADS, 8, batch_first=True),
        torch.zeros(1, TOKENS, WIDTH),
    ),
    "grouped": (Grouped, torch.zeros(1, TOKENS, 6)),
    "decoder": (Decoder, torch.zeros(1, TOKENS, dtype=torch.long)),
    "choices": (Choices, torch.zeros(1, 4)),
}


@pytest.mark.parametrize("name", CASES)
def test_unit_graph_and_tensor_path_agree_and_influence_holds(name: str) -> None:
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


def dense(graph: LayeredGraph, source: str, target: str) -> np.ndarray:
    found = [b for b in graph.weight_blocks if (b.source, b.target) == (source, target)]
    return found[0].matrix.toarray()


@pytest.mark.parametrize("spelling", ["sdpa", "softmax"])
def test_a_fused_projection_has_nodes_for_its_values_alone(spelling: str) -> None:
    model = ViT(spelling)
    graph = capture(model, torch.zeros(1, 3, 4, 4))
    assert graph.groups["blocks.0.attention.qkv"].size == WIDTH
    assert graph.n_nodes == 3 + WIDTH + 2 * (WIDTH + WIDTH + 8 + WIDTH) + 3
    weight = model.blocks[0].attention.qkv.weight.detach().abs().double()
    np.testing.assert_array_equal(
        dense(graph, "patches", "blocks.0.attention.qkv"), weight[2 * WIDTH :]
    )
    names = ("blocks.0.attention.qkv", "blocks.1.attention.qkv")
    assert graph.coverage.partly == tuple((name, 2 * WIDTH, 3 * WIDTH) for name in names)
    assert str(graph.coverage).endswith(
        "; of 2 fused projections (blocks.*.attention.qkv) the query, key and gate rows, "
        "24 of 36, are left out"
    )
    block = next(b for b in graph.weight_blocks if b.target == "blocks.0.attention.qkv")
    assert block.n_positions == WIDTH * WIDTH


def test_queries_keys_and_gates_are_named() -> None:
    graph = capture(Grouped(), torch.zeros(1, TOKENS, 6))
    assert graph.coverage.modelled == 3
    assert graph.coverage.total == 5
    reason = "query or key of an attention"
    assert graph.coverage.missing == (("q", reason), ("k", reason))
    assert graph.groups["gated"].size == 4
    # Both query heads read the same three values.
    weights = dense(graph, "v", "add")
    assert weights.shape == (6, 3)
    block = next(b for b in graph.weight_blocks if (b.source, b.target) == ("v", "add"))
    assert set(block.tap_counts.tolist()) == {2}


def test_tied_weights_are_one_parameter_at_two_places() -> None:
    model = Decoder()
    graph = capture(model, torch.zeros(1, TOKENS, dtype=torch.long))
    assert graph.inputs == ("input",)
    assert graph.groups["input"].size == graph.groups["head"].size == 7
    assert [op.parameter for op in graph.operators if op.name in ("words", "head")] == [
        "words.weight",
        "words.weight",
    ]
    table = model.words.weight.detach().abs().double()
    np.testing.assert_array_equal(dense(graph, "input", "words"), table.t())
    np.testing.assert_array_equal(dense(graph, "block#2", "head"), table)


def test_constant_choices_cut_and_others_pass() -> None:
    graph = capture(Choices(), torch.zeros(1, 4))
    carried = {(b.source, b.target): b.matrix.toarray() for b in graph.identity_blocks}
    # maximum(y, a) counts as the mean: y is a in places 0 and 2, b in 1 and nothing in 3.
    np.testing.assert_array_equal(carried["b", "maximum"], np.diag([0, 0.5, 0, 0]))
    np.testing.assert_array_equal(carried["a", "maximum"], np.diag([1, 0.5, 1, 0.5]))
