"""The tensor path against plain autograd, enumeration of paths, and layered graphs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune

from topograph.errors import TopographError
from topograph.flow import PathFlow, path_flow

DOUBLE = torch.float64


def scores(flow: PathFlow, name: str) -> Tensor:
    """Return S itself, which these small nets' numbers allow."""
    return flow.scores[name].double() * math.exp(flow.log_scale)


def positive_(model: nn.Module, density: float = 1.0, seed: int = 0) -> nn.Module:
    """Make weights nonnegative doubles, of which a part is exactly 0."""
    generator = torch.Generator().manual_seed(seed)
    model.double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.rand(weight.shape, generator=generator, dtype=DOUBLE))
            weight.mul_(torch.rand(weight.shape, generator=generator) < density)
    return model


def assert_plain_passes_agree(model: nn.Module, example: Tensor) -> None:
    """Of a ReLU net with weights of at least 0 the forward is R and the gradient is S."""
    model.zero_grad()
    total = model(torch.ones_like(example)).sum()
    total.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    flow = path_flow(model, example)
    assert math.exp(flow.log_total) == pytest.approx(total.item(), rel=1e-9)
    for name, gradient in gradients.items():
        assert gradient is not None
        torch.testing.assert_close(scores(flow, name), gradient, rtol=1e-9, atol=1e-12)


def rectified(x: Tensor) -> Tensor:
    """ReLU with slope 1 at 0, where a dead unit still has a generality."""
    return x.clamp(min=0)


class Rectified(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return rectified(x)


# Random architectures: a list of layer makers, each of which takes channels and side and returns
# the layer with its own.


class Residual(nn.Module):
    def __init__(self, inside: int, out: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, out, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.stride, self.more = stride, out - inside
        plain = shortcut == "identity" and stride == 1 and not self.more
        self.shortcut = nn.Conv2d(inside, out, 1, stride, bias=False) if not plain else None
        if shortcut == "padded" and self.more >= 0:
            self.shortcut = None

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(rectified(self.first(x)))
        if self.shortcut is not None:
            return rectified(y + self.shortcut(x))
        x = x[:, :, :: self.stride, :: self.stride]
        return rectified(y + functional.pad(x, (0, 0, 0, 0, 0, self.more)))


class Dense(nn.Module):
    def __init__(self, inside: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, rectified(self.conv(x))], 1)


class Shuffle(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        left, right = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w).chunk(2, 1)
        return torch.cat([right, left], 1)


@st.composite
def architectures(draw: Callable[..., int]) -> tuple[nn.Module, Tensor]:
    channels, side = draw(st.integers(1, 3)), draw(st.integers(5, 9))
    example = torch.zeros(1, channels, side, side, dtype=DOUBLE)
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["conv", "conv", "residual", "pool", "dense", "shuffle"]))
        out = draw(st.integers(1, 4))
        if kind == "conv":
            size = draw(st.integers(1, 3))
            dilation = draw(st.integers(1, 2))
            if (size - 1) * dilation + 1 > side:
                continue
            groups = draw(st.sampled_from([1, channels]))
            out *= groups
            padding = draw(st.integers(0, 1))
            stride = draw(st.integers(1, 2))
            layers += [
                nn.Conv2d(channels, out, size, stride, padding, dilation, groups, bias=False),
                Rectified(),
            ]
            channels = out
        elif kind == "residual":
            shortcut = draw(st.sampled_from(["identity", "padded", "projected"]))
            layers.append(Residual(channels, out, draw(st.integers(1, 2)), shortcut))
            channels = out
        elif kind == "dense":
            layers.append(Dense(channels, out))
            channels += out
        elif kind == "shuffle" and channels % 2 == 0:
            layers.append(Shuffle())
        elif kind == "pool" and side >= 2:
            layers.append(nn.AvgPool2d(2, draw(st.integers(1, 2)), draw(st.integers(0, 1))))
        side = nn.Sequential(*layers).double()(example).shape[-1]
        if channels > 12:
            break
    if draw(st.booleans()):
        layers += [nn.Flatten(), nn.Linear(channels * side * side, 5, bias=False), Rectified()]
        layers += [nn.Linear(5, 2, bias=False)]
    else:
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 2, bias=False)]
    density = draw(st.sampled_from([0.3, 0.7, 1.0]))
    return positive_(nn.Sequential(*layers), density, draw(st.integers(0, 99))), example


@settings(max_examples=30)
@given(architectures())
def test_equals_plain_forward_and_backward(case: tuple[nn.Module, Tensor]) -> None:
    assert_plain_passes_agree(*case)


def test_equals_plain_forward_and_backward_with_relu() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2, bias=False),
        nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 3, bias=False),
    )  # fmt: skip
    assert_plain_passes_agree(positive_(model), torch.zeros(1, 2, 8, 8, dtype=DOUBLE))


# Every path of a small residual net, one by one. Nodes are (layer, channel, row, column).

Node = tuple[str, int, int, int]
Edges = dict[Node, list[tuple[Node, float, tuple[str, int, int, int, int] | None]]]


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        self.conv = nn.Conv2d(2, 2, 2, stride=1, dilation=2, padding=1, bias=False)
        self.fc = nn.Linear(2, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = rectified(self.stem(x))
        x = rectified(self.conv(x) + x)
        return self.fc(x.mean((2, 3)))


def convolution_edges(
    edges: Edges, name: str, weight: Tensor, source: str, target: str, side: int, dilation: int
) -> None:
    values = weight.detach().abs().tolist()
    for o, i, a, b in itertools.product(*map(range, weight.shape)):
        for row, column in itertools.product(range(side), repeat=2):
            r, c = row + a * dilation - 1, column + b * dilation - 1
            if 0 <= r < side and 0 <= c < side:
                edges.setdefault((source, i, r, c), []).append(
                    ((target, o, row, column), values[o][i][a][b], (name, o, i, a, b))
                )


def paths(edges: Edges, start: Node) -> Iterator[tuple[float, list[Node], list[tuple]]]:
    stack: list[tuple[float, list[Node], list[tuple]]] = [(1.0, [start], [])]
    while stack:
        weight, nodes, used = stack.pop()
        if nodes[-1][0] == "y":
            yield weight, nodes, used
        for target, factor, position in edges.get(nodes[-1], []):
            stack.append(
                (weight * factor, [*nodes, target], used + ([position] if position else []))
            )


def test_equals_the_enumeration_of_paths() -> None:
    torch.manual_seed(1)
    model = Tiny().double()
    side = 3
    edges: Edges = {}
    convolution_edges(edges, "stem.weight", model.stem.weight, "x", "h", side, 1)
    convolution_edges(edges, "conv.weight", model.conv.weight, "h", "s", side, 2)
    for c, row, column in itertools.product(range(2), range(side), range(side)):
        edges[("h", c, row, column)].append((("s", c, row, column), 1.0, None))
        for o in range(2):
            weight = abs(float(model.fc.weight[o, c].detach())) / side**2
            edges.setdefault(("s", c, row, column), []).append(
                (("y", o, 0, 0), weight, ("fc.weight", o, c, 0, 0))
            )
    total = 0.0
    through: dict[tuple[str, int], float] = {}
    gradient = {name: torch.zeros_like(w) for name, w in model.named_parameters()}
    for row, column in itertools.product(range(side), repeat=2):
        for weight, nodes, used in paths(edges, ("x", 0, row, column)):
            total += weight
            for layer, channel, *_ in nodes:
                through[layer, channel] = through.get((layer, channel), 0) + weight
            for name, *position in used:
                kept = position if name != "fc.weight" else position[:2]
                factor = abs(float(dict(model.named_parameters())[name][tuple(kept)].detach()))
                gradient[name][tuple(kept)] += weight / factor
    flow = path_flow(model, torch.zeros(1, 1, side, side))
    assert math.exp(flow.log_total) == pytest.approx(total, rel=1e-12)
    for name, expected in gradient.items():
        torch.testing.assert_close(scores(flow, name), expected.detach(), rtol=1e-12, atol=0)
    for group, layer in (("input", "x"), ("stem", "h"), ("fc", "y")):
        expected = [through[key] / total for key in sorted(through) if key[0] == layer]
        assert flow.share[group].tolist() == pytest.approx(expected, rel=1e-12)
    (merged,) = set(flow.hidden) - {"stem"}
    expected = [through["s", channel] / total for channel in range(2)]
    assert flow.share[merged].tolist() == pytest.approx(expected, rel=1e-12)


def test_a_score_is_what_a_new_weight_adds_to_the_total() -> None:
    torch.manual_seed(2)
    model = Tiny().double()
    masks = {name: torch.rand_like(w) < 0.5 for name, w in model.named_parameters()}
    example = torch.zeros(1, 1, 5, 5)
    before = path_flow(model, example, masks)
    tried = 0
    for name, weight in model.named_parameters():
        for position in (~masks[name]).nonzero().tolist()[:4]:
            with torch.no_grad():
                weight[tuple(position)] = -0.75
            grown = {**masks, name: masks[name].clone()}
            grown[name][tuple(position)] = True
            gain = math.exp(path_flow(model, example, grown).log_total)
            expected = 0.75 * float(scores(before, name)[tuple(position)])
            assert gain - math.exp(before.log_total) == pytest.approx(expected, rel=1e-9, abs=1e-12)
            tried += 1
    assert tried >= 8


def test_scores_where_no_path_is_left() -> None:
    model = nn.Sequential(*[nn.Linear(2, 2, bias=False) for _ in range(3)]).double()
    with torch.no_grad():
        for layer in model:
            layer.weight.fill_(1.0)
        model[1].weight.zero_()
    flow = path_flow(model, torch.zeros(1, 2))
    assert flow.log_total == -math.inf
    assert all(not share.any() for share in flow.share.values())
    # The missing middle weights would complete paths: 2 ways in times 2 ways out each.
    torch.testing.assert_close(scores(flow, "1.weight"), torch.full((2, 2), 4.0, dtype=DOUBLE))
    assert not scores(flow, "0.weight").any()
    assert not scores(flow, "2.weight").any()


def test_masks_given_found_and_made_of_zeros_agree() -> None:
    def build() -> nn.Sequential:
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)
        )

    example = torch.zeros(1, 2, 4, 4)
    mask = torch.rand(3, 2, 3, 3) < 0.5
    given_mask = path_flow(build(), example, {"0.weight": mask})
    zeros, pruned = build(), build()
    with torch.no_grad():
        zeros[0].weight.mul_(mask)
    prune.custom_from_mask(pruned[0], "weight", mask)
    with_orig = path_flow(build(), example, {"0.weight": mask.float()})
    for flow in (path_flow(zeros, example), path_flow(pruned, example), with_orig):
        assert flow.log_total == pytest.approx(given_mask.log_total, rel=1e-14)
        assert set(flow.scores) == {"0.weight", "3.weight"}
        for name, score in given_mask.scores.items():
            torch.testing.assert_close(flow.scores[name], score)
    assert bool((given_mask.scores["0.weight"][~mask] > 0).all())


def test_weight_norm_and_tied_weights() -> None:
    torch.manual_seed(4)
    plain = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Tanh(), nn.Linear(3, 3, bias=False))
    normed = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(2)))
    for source, target in ((plain[0], normed[0]), (plain[2], normed[1])):
        target.load_state_dict(source.state_dict())
        nn.utils.parametrizations.weight_norm(target)
    a, b = path_flow(plain, torch.zeros(1, 3)), path_flow(normed, torch.zeros(1, 3))
    torch.testing.assert_close(b.scores["0.weight"], a.scores["0.weight"], rtol=1e-5, atol=0)
    torch.testing.assert_close(b.scores["1.weight"], a.scores["2.weight"], rtol=1e-5, atol=0)

    layer = nn.Linear(3, 3, bias=False).double()
    weight = layer.weight.detach().abs().requires_grad_()
    ones = torch.ones(1, 3, dtype=DOUBLE)
    total = (ones @ weight.T @ weight.T).sum()
    total.backward()
    flow = path_flow(nn.Sequential(layer, nn.ReLU(), layer), torch.zeros(1, 3))
    assert list(flow.scores) == ["0.weight"]
    torch.testing.assert_close(scores(flow, "0.weight"), weight.grad)


def test_the_model_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    model.train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    path_flow(model, torch.randn(5, 3))
    assert [module.training for module in model] == [True, False, True, True]
    assert all(weight.grad is None for weight in model.parameters())
    assert not model[0].weight.requires_grad
    assert model[3].weight.requires_grad
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"norm": "scaled"}, 'did you mean norm="scale"'),
        ({"dtype": torch.float16}, "torch.float64, torch.float32 or None"),
        ({"masks": {"0.wheight": torch.ones(2, 3)}}, "0.wheight"),
        ({"masks": {"0.weight": torch.ones(3, 2)}}, "expected (2, 3)"),
        ({"example_input": torch.zeros(1, 4)}, "does not run on example_input"),
        ({"example_input": None}, "example_input is a NoneType"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, words: str) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(TopographError) as raised:
        path_flow(model, **{"example_input": torch.zeros(1, 3), **arguments})
    assert words in str(raised.value)


def test_an_operator_without_rule_is_named_with_its_module() -> None:
    class Running(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.cumsum(-1)

    model = nn.Sequential(nn.Linear(3, 3), Running(), nn.Linear(3, 1))
    with pytest.raises(TopographError, match=r'cumsum.* in module "1" \(Running\)'):
        path_flow(model, torch.zeros(1, 3), opaque="refuse")
