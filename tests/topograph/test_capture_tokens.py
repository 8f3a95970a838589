"""Tokens that read differently: one node for their mean, or nodes of their own as at units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.topograph.proofs import Written
from tests.topograph.test_capture_attention import Decoder, ViT
from topograph.capturing import capture
from topograph.capturing.layout import layout
from topograph.capturing.trace import trace
from topograph.capturing.weights import Binding
from topograph.errors import TopographError
from topograph.flow import path_flow
from topograph.influence import check_influence
from topograph.paths import path_sums


class Mixing(nn.Module):
    """Mixes the tokens of every feature, then the features of every token."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens, self.features = nn.Linear(tokens, tokens), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(x.mT).relu().mT
        return x + self.features(x).relu()


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(2, 3, 2, 2)
        self.blocks = nn.Sequential(Mixing(4, 3), Mixing(4, 3))
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.patches(x).flatten(2).mT).mean(1))


class Causal(nn.Module):
    """Causal attention over tokens of which the first is a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Decoder().block
        self.up, self.first = nn.Linear(3, 6), nn.Parameter(torch.randn(1, 1, 6))
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.first, self.up(x)], 1)
        return self.head(self.inner(self.inner(x)).mean(1))


CASES = {
    "class token": (ViT, torch.zeros(1, 3, 4, 4)),
    "class token by softmax": (lambda: ViT("softmax"), torch.zeros(1, 3, 4, 4)),
    "mixer": (Mixer, torch.zeros(1, 2, 4, 4)),
    "causal": (Causal, torch.zeros(1, 3, 3)),
}


@pytest.mark.parametrize("name", CASES)
def test_split_tokens_are_the_units_of_equal_reads(name: str) -> None:
    make, example = CASES[name]
    torch.manual_seed(0)
    model = make().eval()
    split = capture(model, example, tokens="split")
    flow = path_flow(model, example, tokens="split")
    units = capture(model, example, granularity="unit")
    total = path_sums(units).log_total
    assert path_sums(split).log_total == pytest.approx(total, rel=1e-9)
    sums = path_sums(split)
    centrality = np.exp(sums.log_complexity + sums.log_generality - sums.log_total)
    for group, share in flow.share.items():
        # Of every node, over all its positions; an input's patches lie apart in the unit graph.
        if split.groups[group].kind != "input":
            np.testing.assert_allclose(
                centrality[split.nodes(group)], share.numpy(), rtol=1e-8, atol=1e-12
            )
    traced = trace(model, example)
    binding = Binding(traced, model)
    assert check_influence(traced, binding, layout(traced, binding, tokens="split"), units=40) > 0
    assert split.n_nodes > capture(model, example).n_nodes
    assert split.coverage.modelled == capture(model, example).coverage.modelled


def test_tokens_that_read_the_same_stay_one() -> None:
    model = Written(
        lambda self, x: self.b(self.a(x).relu() + x), a=nn.Linear(4, 4), b=nn.Linear(4, 2)
    )
    merged, split = (
        capture(model, torch.zeros(1, 5, 4), tokens=tokens) for tokens in ("merge", "split")
    )
    assert {n: g.size for n, g in merged.groups.items()} == {
        n: g.size for n, g in split.groups.items()
    }


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(TopographError, match='expected one of "merge", "split"'):
        capture(nn.Linear(2, 2), torch.zeros(1, 2), tokens="apart")
