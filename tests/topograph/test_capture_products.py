"""Products of all spellings: every weight is an edge, attention is a mean, whatever the letters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.topograph.proofs import Written, against_autograd, prove, weight
from topograph.capturing.products import PRODUCTS, einsum
from topograph.capturing.trace import trace

aten = torch.ops.aten


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


EQUATIONS = [
    "btc,hcd->bhtd",
    "hdc,btc->tbhd",
    "btc,cd",
    "btc,c->bt",
    "btc,c->btc",
    "btc,td->bcd",
    "...c,cd->...d",
    "btc,btd->cd",
    "bii->bi",
    "btc->",
    "btc,cd,de->bte",
    "btc,tcd->btd",
    "btc,xcd->btd",
]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_written_out_is_einsum(equation: str) -> None:
    sizes = {"b": 2, "t": 3, "c": 4, "d": 5, "h": 2, "e": 3, "i": 3, "x": 2}
    terms = equation.partition("->")[0].split(",")
    shapes = [[sizes[a] for a in term.replace("...", "bt")] for term in terms]
    tensors = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    torch.testing.assert_close(einsum(equation, tensors), torch.einsum(equation, *tensors))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_letters_in_any_order(data: st.DataObject) -> None:
    letters = st.lists(st.sampled_from("abcde"), min_size=1, max_size=4, unique=True)
    terms = data.draw(st.lists(letters, min_size=1, max_size=3))
    known = sorted(set().union(*terms))
    result = data.draw(st.lists(st.sampled_from(known), unique=True))
    sizes = dict(zip("abcde", (1, 2, 3, 2, 4), strict=True))
    tensors = [torch.randn([sizes[a] for a in term], dtype=torch.float64) for term in terms]
    equation = ",".join(map("".join, terms)) + "->" + "".join(result)
    torch.testing.assert_close(einsum(equation, tensors), torch.einsum(equation, *tensors))


OTHERS = [
    (aten.tensordot.default, [(2, 3, 4), (4, 3, 5)], ([2, 1], [0, 1]), {}),
    (aten.inner.default, [(2, 3), (5, 3)], (), {}),
    (aten.outer.default, [(2,), (3,)], (), {}),
    (aten.mv.default, [(2, 3), (3,)], (), {}),
    (aten.dot.default, [(3,), (3,)], (), {}),
    (aten.bilinear.default, [(2, 3), (2, 4), (5, 3, 4), (5,)], (), {}),
    (aten.baddbmm.default, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], (), {"beta": 2, "alpha": 3}),
    (aten.addbmm.default, [(3, 5), (2, 3, 4), (2, 4, 5)], (), {"beta": 0}),
    (aten.addmv.default, [(3,), (3, 4), (4,)], (), {"alpha": 2}),
    (aten.addr.default, [(3, 4), (3,), (4,)], (), {}),
    (aten.addcmul.default, [(3, 4), (3, 4), (4,)], (), {"value": 2}),
    (aten.addcdiv.default, [(3, 4), (3, 4), (4,)], (), {"value": 2}),
    (aten.lerp.Scalar, [(3, 4), (3, 4)], (0.25,), {}),
]


@pytest.mark.parametrize(("operator", "shapes", "rest", "named"), OTHERS)
def test_what_is_written_out_is_the_operator(operator, shapes, rest, named) -> None:
    tensors = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    torch.testing.assert_close(
        PRODUCTS[operator](*tensors, *rest, **named), operator(*tensors, *rest, **named)
    )


def test_attention_by_einsum_is_a_mean_of_values() -> None:
    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (torch.einsum("btc,chd->bthd", x, w) for w in (self.q, self.k, self.v))
        scores = torch.einsum("bthd,bshd->bhts", q, k).softmax(-1)
        mixed = torch.einsum("bhts,bshd->bthd", scores, v)
        return torch.einsum("bthd,hdc->btc", mixed, self.out)

    parts = {name: weight(4, 2, 3) for name in "qkv"}
    model = Written(forward, **parts, out=weight(2, 3, 4))
    v, out = (p.detach().abs().requires_grad_() for p in (model.v, model.out))
    values = torch.einsum("btc,chd->bthd", torch.ones(1, 5, 4), v).mean(1, keepdim=True)
    total = torch.einsum("bthd,hdc->btc", values.expand(1, 5, 2, 3), out).sum()
    graph = against_autograd(model, torch.zeros(1, 5, 4), total, {"v": v, "out": out})
    reason = "query or key of an attention"
    assert graph.coverage.missing == (("q", reason), ("k", reason))


def test_every_head_has_a_weight_of_its_own() -> None:
    model = Written(
        lambda self, x: torch.einsum("btgc,gcd->btgd", self.first(x).view(1, 3, 2, 2), self.heads),
        first=nn.Linear(4, 4),
        heads=weight(2, 2, 5),
    )
    graph, _ = prove(model, torch.zeros(1, 3, 4))
    (block,) = [b for b in graph.weight_blocks if b.target == "heads"]
    expected = torch.block_diag(*model.heads.detach().abs().transpose(1, 2)).double()
    np.testing.assert_array_equal(block.matrix.toarray(), expected)


def test_a_bilinear_layer_carries_either_operand_with_the_other_at_one() -> None:
    model = Written(
        lambda self, x: self.both(x, self.first(x)),
        both=nn.Bilinear(4, 3, 5),
        first=nn.Linear(4, 3),
    )
    one, two = (p.detach().abs().requires_grad_() for p in (model.first.weight, model.both.weight))
    x = torch.ones(4)
    pairs = x[:, None] + (one @ x)[None]
    total = torch.einsum("kij,ij->k", two, pairs).sum()
    named = {"first.weight": one, "both.weight": two}
    graph = against_autograd(model, torch.zeros(1, 4), total, named)
    assert graph.coverage.missing == ()


def test_a_bag_of_words_is_an_embedding() -> None:
    model = Written(
        lambda self, x: self.head(self.words(x)), words=nn.EmbeddingBag(7, 3), head=nn.Linear(3, 2)
    )
    tokens = torch.tensor([[0, 1, 2]])
    table, head = (p.detach().abs().requires_grad_() for p in model.parameters() if p.dim() == 2)
    named = {"words.weight": table, "head.weight": head}
    graph = against_autograd(model, tokens, (head @ table.sum(0)).sum(), named)
    assert graph.groups["input"].size == 7


def test_weight_norm_is_its_product() -> None:
    model = torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 5))
    graph, _ = prove(model, torch.zeros(1, 4))
    (block,) = graph.weight_blocks
    np.testing.assert_allclose(block.matrix.toarray(), model.weight.detach().abs(), rtol=1e-6)
    assert block.parameters == ("weight",)


def test_nothing_is_left_of_the_spelling() -> None:
    model = Written(lambda self, x: torch.einsum("bc,cd->bd", x, self.w), w=weight(3, 2))
    graph = trace(model, torch.zeros(1, 3)).graph
    assert not any("einsum" in str(node.target) for node in graph.nodes)


def test_a_matrix_multiplied_element_by_element_is_said_to_be_no_connection() -> None:
    model = Written(lambda self, x: (x.unsqueeze(-2) * self.w).sum(-1), w=weight(5, 4))
    graph, flow = prove(model, torch.zeros(1, 3, 4))
    assert math.exp(flow.log_total) == pytest.approx(3 * model.w.abs().sum().item(), rel=1e-6)
    reason = "multiplies element by element: a factor, no connection"
    assert graph.coverage.missing == (("w", reason),)


class LowRank(nn.Module):
    """A frozen layer with a low-rank addition, as LoRA has it."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = (
            nn.Linear(4, 5),
            nn.Linear(4, 2, bias=False),
            nn.Linear(2, 5, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x)) * 4.0


def test_a_low_rank_addition_is_two_layers_beside_the_base() -> None:
    model = LowRank()
    names = ("base.weight", "down.weight", "up.weight")
    state = dict(model.named_parameters())
    leaves = {name: state[name].detach().abs().requires_grad_() for name in names}
    base, down, up = leaves.values()
    x = torch.ones(4)
    total = (base @ x + 4.0 * (up @ down @ x)).sum()
    graph = against_autograd(model, torch.zeros(1, 4), total, leaves)
    assert graph.coverage.missing == ()


@pytest.mark.parametrize("kind", ["spectral_norm", "orthogonal"])
def test_a_parametrised_convolution_has_the_weight_that_it_computes(kind: str) -> None:
    model = nn.Conv2d(3, 4, 3, padding=1)
    model = getattr(torch.nn.utils.parametrizations, kind)(model).eval()
    graph, _ = prove(model, torch.zeros(1, 3, 4, 4))
    (block,) = graph.weight_blocks
    expected = model.weight.detach().abs().double().sum((2, 3))
    np.testing.assert_allclose(block.matrix.toarray(), expected, rtol=1e-5)
