"""What Transformers are made of: spellings of gates, norms, positions, attention and pooling.

Each network says by hand, in plain PyTorch on magnitudes and ones, what its linearised self is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

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

WIDTH, TOKENS, WORDS = 4, 5, 7


def heavy(layer: nn.Module, x: Tensor) -> Tensor:
    """Return what a layer does to path weight."""
    weight: Any = layer.weight
    return x @ weight.detach().double().abs().t()


def rows(table: nn.Embedding) -> Tensor:
    """Return what every place of a text gets, with all words at 1: (1, tokens, features)."""
    return table.weight.detach().double().abs().sum(0).expand(1, TOKENS, -1)


class SwiGLU(nn.Module):
    """One factor is directly the result of an activation: it is the gate."""

    example = torch.zeros(1, WIDTH)

    def __init__(self, activation: Callable[[Tensor], Tensor] = F.silu, swapped: bool = False):
        super().__init__()
        self.gate, self.up = nn.Linear(WIDTH, 6), nn.Linear(WIDTH, 6)
        self.down = nn.Linear(6, 3)
        self.activation, self.swapped = activation, swapped

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.activation(self.gate(x)), self.up(x)
        return self.down(up * gate if self.swapped else gate * up)

    def by_hand(self, x: Tensor) -> Tensor:
        return heavy(self.down, heavy(self.up, x))


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def written_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x.pow(3.0))))


def erf_gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


class OwnSignal(nn.Module):
    """A signal times what was made of it: no gate can be told, both carry."""

    example = torch.zeros(1, WIDTH)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner = nn.Linear(WIDTH, 6), nn.Linear(6, 6)
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.first(x))
        return self.last(x * self.inner(x))

    def by_hand(self, x: Tensor) -> Tensor:
        x = heavy(self.first, x)
        return heavy(self.last, x + heavy(self.inner, x))


class Activated(nn.Module):
    """Activations written out are transparent, as they are as one operator."""

    example = torch.zeros(1, WIDTH)

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.activation = nn.Linear(WIDTH, 6), nn.Linear(6, 3), activation

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.activation(self.first(x)))

    def by_hand(self, x: Tensor) -> Tensor:
        return heavy(self.last, heavy(self.first, x))


class RMSNorm(nn.Module):
    """Written out, with a learnt gain as γ or 1 + γ."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.weight, self.form = nn.Parameter(torch.rand(WIDTH) + 0.5), form

    def forward(self, x: Tensor) -> Tensor:
        variance = x.pow(2).mean(-1, keepdim=True)
        if self.form == "rsqrt":
            return self.weight * (x * torch.rsqrt(variance + 1e-6))
        if self.form == "1 + γ":
            return x.float() * torch.pow(variance + 1e-6, -0.5) * (1 + self.weight)
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * self.weight + 1


class Normed(nn.Module):
    example = torch.zeros(1, TOKENS, WIDTH)

    def __init__(self, form: str = "rsqrt") -> None:
        super().__init__()
        self.norm, self.up, self.down = RMSNorm(form), nn.Linear(WIDTH, 6), nn.Linear(6, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.up(self.norm(x)))

    def by_hand(self, x: Tensor) -> Tensor:
        return x + heavy(self.down, heavy(self.up, x))


class Counted(nn.Module):
    """Positions are counted from the words that are no padding; kinds are looked up by position."""

    example = torch.zeros(1, TOKENS, dtype=torch.long)

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.places, self.kinds = nn.Embedding(TOKENS + 2, WIDTH), nn.Embedding(2, WIDTH)
        self.head = nn.Linear(WIDTH, 3)
        self.register_buffer("zeros", torch.zeros(1, TOKENS + 2, dtype=torch.long))

    def forward(self, tokens: Tensor) -> Tensor:
        mask = tokens.ne(1).int()
        places = torch.cumsum(mask, 1) * mask + 1
        kinds = torch.gather(self.zeros, 1, places.long())
        return self.head(self.words(tokens) + self.kinds(kinds) + self.places(places))

    def by_hand(self, _: Tensor) -> Tensor:
        return heavy(self.head, rows(self.words))


class Hashed(nn.Module):
    """Tokens are hashed into a smaller table, and their number is checked on the way."""

    example = torch.zeros(1, TOKENS, dtype=torch.long)

    def __init__(self) -> None:
        super().__init__()
        self.buckets, self.head = nn.Embedding(3, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        torch._check(tokens.max().item() <= WORDS)
        return self.head(self.buckets((tokens + 1) * 31 % 3))

    def by_hand(self, _: Tensor) -> Tensor:
        return heavy(self.head, rows(self.buckets))


class Pooled(nn.Module):
    """The token that stands where the input says: at its largest number, by index or gather."""

    example = torch.zeros(1, TOKENS, dtype=torch.long)

    def __init__(self, by: str = "index") -> None:
        super().__init__()
        self.words, self.head, self.by = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, 3), by
        self.places = nn.Parameter(torch.rand(TOKENS, WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) * self.places  # each place reads otherwise
        end = tokens.argmax(-1)
        if self.by == "index":
            return self.head(x[torch.arange(len(x)), end])
        if self.by == "gather":
            return self.head(x.gather(1, end[:, None, None].expand(-1, 1, WIDTH))[:, 0])
        return self.head(x.index_select(1, end)[:, 0])

    def by_hand(self, _: Tensor) -> Tensor:
        x = rows(self.words) * self.places.detach().double().abs()
        return heavy(self.head, x.mean(1))


class Cross(nn.Module):
    """A decoder attends to an encoder, whose states are returned as well."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, WIDTH), nn.Embedding(WORDS, WIDTH)
        self.q, self.k = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.v, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        self.head.weight = self.decoder.weight
        self.bias = nn.Embedding(3, 1)

    example = (torch.zeros(1, 6, 3), torch.zeros(1, TOKENS, dtype=torch.long))

    def forward(self, sound: Tensor, tokens: Tensor) -> dict[str, Any]:
        states, x = self.encoder(sound), self.decoder(tokens)
        keys = self.k(states)
        scores = self.q(x) @ keys.transpose(1, 2)
        far = (torch.arange(TOKENS)[:, None] - torch.arange(6)).clamp(-1, 1) + 1
        scores = scores + self.bias(far)[..., 0]
        x = x + self.out(scores.softmax(-1) @ self.v(states))
        return {"logits": self.head(x), "cache": (keys, states), "best": scores.argmax(-1)}

    def by_hand(self, sound: Tensor, _: Tensor) -> Tensor:
        values = heavy(self.v, heavy(self.encoder, sound)).mean(1, keepdim=True)
        return heavy(self.head, rows(self.decoder) + heavy(self.out, values))


class Shared(nn.Module):
    """All heads of the queries share one head of keys and values, and masks say what is seen."""

    example = torch.zeros(1, TOKENS, WIDTH)

    def __init__(self, slope: float = 0.0) -> None:
        super().__init__()
        self.qkv, self.out, self.slope = nn.Linear(WIDTH, 8), nn.Linear(4, 3), slope

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).split([4, 2, 2], -1)
        q, k, v = (part.view(1, TOKENS, -1, 2).transpose(1, 2) for part in (q, k, v))
        places = torch.arange(TOKENS)
        mask = self.slope * (places - places[:, None])  # attention with linear biases
        mask = mask.masked_fill(places > places[:, None], torch.finfo(x.dtype).min)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(x.dtype))
        return self.out(y.transpose(1, 2).reshape(1, TOKENS, 4))

    def by_hand(self, x: Tensor) -> Tensor:
        weight = self.qkv.weight.detach().double().abs()[6:]
        seen = torch.ones(TOKENS, TOKENS, dtype=torch.float64).tril()
        values = seen / seen.sum(1, keepdim=True) @ (x @ weight.t())
        return heavy(self.out, torch.cat([values, values], -1))


class Padded(Shared):
    """One mask for all queries: the last two tokens are never seen."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unsqueeze(1) for part in self.qkv(x).split([2, 2, 4], -1))
        seen = (torch.arange(TOKENS) < TOKENS - 2).view(1, 1, 1, TOKENS)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(y.view(1, TOKENS, 4))

    def by_hand(self, x: Tensor) -> Tensor:
        values = x[:, : TOKENS - 2] @ self.qkv.weight.detach().double().abs()[4:].t()
        return heavy(self.out, values.mean(1, keepdim=True).expand(1, TOKENS, 4))


class Conv1D(nn.Module):
    """A linear layer as addmm, its weight the other way round (GPT-2)."""

    example = torch.zeros(1, TOKENS, WIDTH)

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(WIDTH, 3)), nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        flat = torch.addmm(self.bias, x.view(-1, WIDTH), self.weight)
        return flat.view(*x.shape[:-1], 3)

    def by_hand(self, x: Tensor) -> Tensor:
        return x @ self.weight.detach().double().abs()


CASES: dict[str, Callable[[], Any]] = {
    "swiglu": SwiGLU,
    "geglu, swapped": lambda: SwiGLU(F.gelu, swapped=True),
    "reglu": lambda: SwiGLU(F.relu),
    "swiglu written out": lambda: SwiGLU(swish),
    "geglu written out": lambda: SwiGLU(written_gelu, swapped=True),
    "own signal": OwnSignal,
    "gelu": lambda: Activated(F.gelu),
    "gelu by tanh": lambda: Activated(written_gelu),
    "gelu by erf": lambda: Activated(erf_gelu),
    "rms norm": Normed,
    "rms norm, 1 + γ": lambda: Normed("1 + γ"),
    "layer norm written out": lambda: Normed("centred"),
    "counted positions": Counted,
    "hashed tokens": Hashed,
    "pooled by index": Pooled,
    "pooled by gather": lambda: Pooled("gather"),
    "pooled by index_select": lambda: Pooled("index_select"),
    "cross attention": Cross,
    "one head of values": Shared,
    "linear biases": lambda: Shared(0.5),
    "one mask for all queries": Padded,
    "conv1d": Conv1D,
}


def made(name: str) -> Any:
    torch.manual_seed(0)
    return CASES[name]().eval()


@pytest.mark.parametrize("name", CASES)
def test_paths_are_those_of_the_network_linearised_by_hand(name: str) -> None:
    model = made(name)
    example = model.example
    inputs = example if isinstance(example, tuple) else (example,)
    ones = [torch.ones(value.shape, dtype=torch.float64) for value in inputs]
    by_hand = math.log(float(model.by_hand(*ones).sum()))
    assert path_flow(model, example).log_total == pytest.approx(by_hand, abs=1e-9)
    graph = capture(model, example, granularity="unit")
    assert path_sums(graph).log_total == pytest.approx(by_hand, abs=1e-9)
    traced = trace(model, example)
    binding = Binding(traced, model)
    wires = layout(traced, binding)
    assert check_influence(traced, binding, wires, units=16) > 0
    assert check_influence(traced, binding, layout(traced, binding, "unit"), units=16) > 0
    by_channel = capture(model, example)
    assert check_collapse(traced, binding, wires, by_channel) == len(by_channel.operators)


def missing(name: str) -> dict[str, str]:
    model = made(name)
    return dict(capture(model, model.example).coverage.missing)


def test_what_is_no_path_is_named_with_its_reason() -> None:
    assert missing("swiglu") == missing("geglu written out") == {"gate": "gate"}
    computed = "looked up by an index that is computed"
    assert missing("counted positions") == {"kinds": computed, "places": computed}
    steering = "query or key of an attention"
    assert missing("cross attention") == {"q": steering, "k": steering}
    assert missing("own signal") == {}
    factor = "multiplies element by element: a factor, no connection"
    assert missing("pooled by index") == {"places": factor}


def dense(graph: LayeredGraph, source: str, target: str) -> np.ndarray:
    (found,) = [b for b in graph.blocks if (b.source, b.target) == (source, target)]
    return found.matrix.toarray()


@pytest.mark.parametrize("form", ["rsqrt", "1 + γ", "centred"])
def test_a_normalisation_written_out_has_the_gain_of_one_as_an_operator(form: str) -> None:
    model = made("rms norm") if form == "rsqrt" else Normed(form)
    gain = model.norm.weight.detach().double().abs() + (form == "1 + γ")
    up = model.up.weight.detach().double().abs()
    plain = capture(model, model.example)
    np.testing.assert_allclose(dense(plain, "input", "up"), up, rtol=1e-6)
    scaled = capture(model, model.example, norm="scale")
    np.testing.assert_allclose(dense(scaled, "input", "up"), up * gain, rtol=1e-6)


def test_a_layer_scale_is_none_of_a_normalisations_gain() -> None:
    class Scaled(Normed):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.full((WIDTH,), 0.25))

        def forward(self, x: Tensor) -> Tensor:
            return self.up(self.norm(x) * self.scale)

    model = Scaled()
    up = model.up.weight.detach().double().abs()
    np.testing.assert_allclose(dense(capture(model, model.example), "input", "up"), up / 4)


def test_what_leads_on_is_no_output() -> None:
    model = made("cross attention")
    graph = capture(model, model.example)
    assert graph.outputs == ("head",)
    assert set(graph.inputs) == {"sound", "tokens"}
    notes = str(graph.coverage)
    assert "2 returned values lead on to another and are no output" in notes
    assert "1 returned of whole numbers or truth values: no output" in notes
