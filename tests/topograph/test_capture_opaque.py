"""Operators without a rule, and those whose reads depend on the data: an even average, and said."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.topograph.proofs import Written, against_autograd, prove, weight
from topograph.capturing import capture
from topograph.errors import TopographError
from topograph.flow import path_flow
from topograph.graph.layered import LayeredGraph
from topograph.inspection import inspect

T, C, H, OUT = 3, 4, 5, 2


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def between(function, **parts: nn.Module) -> Written:
    """Return a model with a function between two linear layers on tokens."""
    width = parts.pop("width", H)
    return Written(
        lambda self, x: self.b(function(self.a(x))), a=nn.Linear(C, H), b=nn.Linear(width, OUT)
    )


def dense(graph: LayeredGraph, source: str, target: str) -> np.ndarray:
    (found,) = [b for b in graph.blocks if (b.source, b.target) == (source, target)]
    return found.matrix.toarray()


@torch.library.custom_op("topograph_tests::mystery", mutates_args=())
def mystery(x: Tensor) -> Tensor:
    return x * x.sum()


mystery.register_fake(torch.empty_like)


#: Functions that put the tokens in another order, combine or choose among them.
ALONG_TOKENS = {
    "sort": lambda x: x.sort(1)[0],
    "pooled by sorting": lambda x: x.topk(2, 1)[0],
    "scan": lambda x: x.cumsum(1),
    "maximum so far": lambda x: x.cummax(1)[0],
    "spectrum": lambda x: torch.fft.fft(x, dim=1).real,
    "half a spectrum": lambda x: torch.fft.rfft(x, dim=1).abs(),
    "median": lambda x: x.median(1, keepdim=True)[0],
    "quantile": lambda x: x.quantile(0.5, 1, keepdim=True),
    "spread": lambda x: x.std(1, keepdim=True),
    "in its own order": lambda x: x.gather(1, x.argsort(1)),
    "of the largest": lambda x: x[:, x[0, :, 0].argsort()],
    "picked": lambda x: x.index_select(1, x[0, :, 0].argsort()[:2]),
}


@pytest.mark.parametrize("name", ALONG_TOKENS)
def test_features_stay_apart_along_tokens(name: str) -> None:
    model = between(ALONG_TOKENS[name])
    places = model(torch.randn(1, T, C)).shape[1]
    a, b = (m.weight.detach().abs().requires_grad_() for m in (model.a, model.b))
    total = places * (b @ a @ torch.ones(C)).sum()
    named = {"a.weight": a, "b.weight": b}
    graph = against_autograd(model, torch.zeros(1, T, C), total, named)
    assert [group.kind for group in graph.groups.values()] == ["input", "layer", "layer"]
    assert len(graph.coverage.opaque) == 1
    weights = model.b.weight.detach().abs().double()
    np.testing.assert_allclose(dense(graph, "a", "b"), weights, rtol=1e-6)


ALONG_FEATURES = {
    "sort": lambda x: x.sort(-1)[0],
    "scan": lambda x: x.cumsum(-1),
    "spectrum": lambda x: torch.fft.fft(x).real,
    "of everything": lambda x: torch.fft.fftn(x).imag,
    "unknown": lambda x: torch.ops.topograph_tests.mystery(x),
}


@pytest.mark.parametrize("name", ALONG_FEATURES)
def test_what_mixes_features_is_a_group_of_even_averages(name: str) -> None:
    graph, _ = prove(between(ALONG_FEATURES[name]), torch.zeros(1, T, C))
    (opaque,) = [group for group in graph.groups.values() if group.kind == "opaque"]
    assert opaque.size == H
    np.testing.assert_allclose(dense(graph, "a", opaque.name), np.full((H, H), 1 / H))
    assert not any(b.identity for b in graph.weight_blocks)
    assert graph.coverage.opaque


class FNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.head = nn.Linear(C, C), nn.Linear(C, C), nn.Linear(C, OUT)

    def forward(self, x: Tensor) -> Tensor:
        x = x + torch.fft.fft(torch.fft.fft(self.up(x), dim=-1), dim=-2).real
        return self.head(x + self.down(F.gelu(x)))


def test_a_fourier_layer_mixes_its_features_evenly() -> None:
    model = FNet()
    up, down, head = (m.weight.detach().abs().requires_grad_() for m in model.children())
    x = torch.ones(T, C)
    mixed = (x @ up.t()).mean(-1, keepdim=True)
    stream = x + mixed
    total = ((stream + stream @ down.t()) @ head.t()).sum()
    named = {"up.weight": up, "down.weight": down, "head.weight": head}
    graph = against_autograd(model, torch.zeros(1, T, C), total, named)
    assert [reason for _, _, reason in graph.coverage.opaque] == [
        "fft_fft mixes what lies along an axis"
    ]


class Messages(nn.Module):
    """Message passing; the edges are the model's own or an input."""

    def __init__(self, kind: str, edges: Tensor | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.edges = None if edges is None else nn.Buffer(edges)
        self.a, self.b = nn.Linear(C, H), nn.Linear(H, OUT)

    def forward(self, x: Tensor, edges: Tensor | None = None) -> Tensor:
        source, target = self.edges if edges is None else edges[0]
        own = self.a(x[0])
        sent, here = own[source], torch.zeros_like(own)
        wide = target[:, None].expand_as(sent)
        if self.kind == "index_add":
            here = here.index_add(0, target, sent)
        elif self.kind == "index_put":
            here = here.index_put((target,), sent, accumulate=True)
        elif self.kind == "scatter_add":
            here = here.scatter_add(0, wide, sent)
        else:
            here = here.scatter_reduce(0, wide, sent, self.kind, include_self=False)
        return self.b(here.relu() + own)


EDGES = torch.tensor([[0, 1, 2, 2, 0], [1, 0, 1, 0, 2]])


@pytest.mark.parametrize("kind", ["index_add", "index_put", "scatter_add", "mean", "amax"])
def test_messages_along_edges_of_the_data_come_from_anywhere(kind: str) -> None:
    model = Messages(kind)
    a, b = (m.weight.detach().abs().requires_grad_() for m in model.children())
    own = torch.ones(T, C) @ a.t()
    # Each of five messages is the mean of the nodes and goes to one of three of them.
    part = EDGES.shape[1] / T if kind in ("index_add", "index_put", "scatter_add") else 1.0
    total = ((own + part * own.mean(0)) @ b.t()).sum()
    named = {"a.weight": a, "b.weight": b}
    graph = against_autograd(model, (torch.zeros(1, T, C), EDGES[None]), total, named)
    assert len(graph.coverage.opaque) == 2
    assert all("depend" in reason for _, _, reason in graph.coverage.opaque)


@pytest.mark.parametrize("kind", ["index_add", "index_put", "scatter_add"])
def test_messages_along_known_edges_are_exact(kind: str) -> None:
    model = Messages(kind, EDGES)
    a, b = (m.weight.detach().abs().requires_grad_() for m in model.children())
    own = torch.ones(T, C) @ a.t()
    sums = torch.zeros(T, H).index_add(0, EDGES[1], own[EDGES[0]])
    total = ((own + sums) @ b.t()).sum()
    named = {"a.weight": a, "b.weight": b}
    graph = against_autograd(model, torch.zeros(1, T, C), total, named)
    assert graph.coverage.opaque == ()


def test_what_is_overwritten_at_known_places_is_gone() -> None:
    places = torch.tensor([0, 2])
    model = Written(
        lambda self, x: self.b(self.a(x[0]).index_put((places,), self.c(x[0])[:2])),
        a=nn.Linear(C, H),
        b=nn.Linear(H, OUT),
        c=nn.Linear(C, H),
    )
    a, b, c = (getattr(model, n).weight.detach().abs().requires_grad_() for n in "abc")
    x = torch.ones(C)
    total = (b @ (2 * c @ x + a @ x)).sum()
    named = {"a.weight": a, "b.weight": b, "c.weight": c}
    graph = against_autograd(model, torch.zeros(1, T, C), total, named)
    assert graph.coverage.opaque == ()


class Experts(nn.Module):
    """A mixture of experts: gates by softmax, or the two largest of them."""

    def __init__(self, routing: str) -> None:
        super().__init__()
        self.routing = routing
        self.router = nn.Linear(C, 3)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(C, H), nn.ReLU(), nn.Linear(H, C)) for _ in range(3)
        )
        self.head = nn.Linear(C, OUT)

    def forward(self, x: Tensor) -> Tensor:
        gates = self.router(x).softmax(-1)
        if self.routing != "all":
            best, which = gates.topk(2, -1)
            best = best / best.sum(-1, keepdim=True)
            if self.routing == "scattered":
                gates = torch.zeros_like(gates).scatter(-1, which, best)
            else:
                chosen = [((which == k) * best).sum(-1) for k in range(3)]
                gates = torch.stack(chosen, -1)
        mixed = sum(gates[..., k : k + 1] * expert(x) for k, expert in enumerate(self.experts))
        return self.head(mixed)


@pytest.mark.parametrize("routing", ["all", "scattered", "compared"])
def test_every_expert_counts_with_its_gate_at_one(routing: str) -> None:
    model = Experts(routing)
    named = {
        n: p.detach().abs().requires_grad_()
        for n, p in model.named_parameters()
        if p.dim() == 2 and "router" not in n
    }
    x = torch.ones(C)
    mixed = sum(
        named[f"experts.{k}.2.weight"] @ named[f"experts.{k}.0.weight"] @ x for k in range(3)
    )
    total = T * (named["head.weight"] @ mixed).sum()
    graph = against_autograd(model, torch.zeros(1, T, C), total, named)
    assert graph.coverage.missing == (("router", "gate"),)


def test_tokens_sent_to_an_expert_by_index_may_come_from_and_go_anywhere() -> None:
    def forward(self, x: Tensor) -> Tensor:
        chosen = self.router(x[0])[:, 0].topk(2, 0)[1]
        sent = self.expert(x[0][chosen]) * self.router(x[0])[chosen].sigmoid()
        return self.head(torch.zeros_like(x[0]).index_add(0, chosen, sent))

    model = Written(forward, router=nn.Linear(C, 1), expert=nn.Linear(C, C), head=nn.Linear(C, OUT))
    expert, head = (getattr(model, n).weight.detach().abs() for n in ("expert", "head"))
    named = {"expert.weight": expert.requires_grad_(), "head.weight": head.requires_grad_()}
    total = 2 * (head @ expert @ torch.ones(C)).sum()
    graph = against_autograd(model, torch.zeros(1, T, C), total, named)
    reasons = {reason for _, _, reason in graph.coverage.opaque}
    assert reasons == {
        "which elements are read depends on the input",
        "where elements are written depends on the input",
    }


def test_products_of_activations_carry_either_with_the_other_at_one() -> None:
    model = Written(
        lambda self, x: self.head(self.k(x).mT @ self.v(x)),
        k=nn.Linear(C, H),
        v=nn.Linear(C, C),
        head=nn.Linear(C, OUT),
    )
    k, v, head = (
        getattr(model, n).weight.detach().abs().requires_grad_() for n in ("k", "v", "head")
    )
    x = torch.ones(T, C)
    inner = (x @ k.t()).sum(0)[:, None] + (x @ v.t()).sum(0)[None]
    total = (inner @ head.t()).sum()
    named = {"k.weight": k, "v.weight": v, "head.weight": head}
    graph = against_autograd(model, torch.zeros(1, T, C), total, named)
    assert graph.coverage.opaque == ()


def test_a_weight_that_an_opaque_operator_reads_is_named() -> None:
    model = Written(
        lambda self, x: self.b(torch.cdist(self.a(x), self.codes)),
        a=nn.Linear(C, H),
        codes=weight(1, 6, H),
        b=nn.Linear(6, OUT),
    )
    graph, _ = prove(model, torch.zeros(1, T, C))
    assert graph.groups["cdist"].size == 6
    assert graph.coverage.missing == (("codes", "read by the opaque aten.cdist.default"),)
    assert (graph.coverage.modelled, graph.coverage.total) == (2, 3)


def test_an_image_read_by_a_grid_keeps_its_channels() -> None:
    model = Written(
        lambda self, x: self.b(
            F.grid_sample(self.a(x), self.grid(x.mean((2, 3))).view(1, 2, 2, 2))
        ),
        a=nn.Conv2d(3, 4, 1),
        grid=nn.Linear(3, 8),
        b=nn.Conv2d(4, OUT, 2),
    )
    graph, _ = prove(model, torch.zeros(1, 3, 4, 4))
    assert list(graph.groups) == ["input", "a", "b"]
    assert graph.coverage.missing == (("grid", "only steers aten.grid_sampler.default"),)


def test_a_longer_sequence_than_is_written_out_is_one_group() -> None:
    model = Written(
        lambda self, x: self.b(self.rnn(self.a(x))[0]),
        a=nn.Linear(C, C),
        rnn=nn.LSTM(C, H, batch_first=True),
        b=nn.Linear(H, OUT),
    )
    graph = capture(model, torch.zeros(1, 300, C))
    assert graph.groups["rnn"].kind == "opaque"
    assert graph.groups["rnn"].size == H
    assert {name for name, _ in graph.coverage.missing} == {"rnn.weight_ih_l0", "rnn.weight_hh_l0"}
    assert math.isfinite(path_flow(model, torch.zeros(1, 300, C)).log_total)


def test_opaque_operators_can_be_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(C, H), Written(lambda self, x: x.sort(-1)[0]))
    for call in (capture, path_flow):
        with pytest.raises(TopographError, match=r'aten.sort.default in module "1" \(Written\)'):
            call(model, torch.zeros(1, C), opaque="refuse")
        call(between(lambda x: x.relu()), torch.zeros(1, T, C), opaque="refuse")
    with pytest.raises(TopographError, match='expected one of "group", "refuse"'):
        capture(model, torch.zeros(1, C), opaque="ignore")


def test_too_many_connections_are_refused_with_the_remedy() -> None:
    model = between(lambda x: torch.linalg.pinv(x).mT)
    with pytest.raises(TopographError, match="fewer positions"):
        capture(model, torch.zeros(1, 2000, C), granularity="unit")


def test_a_report_says_what_is_opaque() -> None:
    report = inspect(between(lambda x: x.sort(-1)[0]), example_input=torch.zeros(1, T, C))
    assert any("Opaque: aten.sort.default" in line for line in report.coverage_lines)
    assert report.coverage.verified > 0
