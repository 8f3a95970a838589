"""What operators other than weights do to paths: pooling, sums, gates, normalisation, attention."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from topograph.flow import path_flow

DOUBLE = torch.float64


class Between(nn.Module):
    """A convolution, some function, and a linear layer on all of its elements."""

    def __init__(self, function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 4, 3, padding=1, bias=False).double()
        self.function = function
        size = self.function(self.conv(torch.zeros(shape, dtype=DOUBLE))).numel()
        self.fc = nn.Linear(size, 2, bias=False)
        self.double()
        with torch.no_grad():
            for weight in self.parameters():
                weight.abs_()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.function(self.conv(x)).flatten(1))


SHAPE = (1, 2, 7, 6)


def total(function: Callable[[Tensor], Tensor], **options: str) -> float:
    return path_flow(
        Between(function, SHAPE), torch.zeros(SHAPE, dtype=DOUBLE), **options
    ).log_total


def linear_total(model_of: Callable[[Tensor], Tensor], like: Callable[[Tensor], Tensor]) -> float:
    """Return log R when ``model_of``, run as it is, stands in the place of ``like``."""
    model = Between(like, SHAPE)
    with torch.no_grad():
        value = model_of(model.conv(torch.ones(SHAPE, dtype=DOUBLE)))
        return math.log(float(model.fc(value.flatten(1)).sum()))


def test_a_maximum_counts_as_the_mean_of_its_window() -> None:
    assert total(lambda x: functional.max_pool2d(x, 2)) == pytest.approx(
        total(lambda x: functional.avg_pool2d(x, 2)), rel=1e-14
    )
    assert total(lambda x: functional.adaptive_max_pool2d(x, 3)) == pytest.approx(
        total(lambda x: functional.adaptive_avg_pool2d(x, 3)), rel=1e-14
    )
    assert total(lambda x: x.amax((2, 3))) == pytest.approx(total(lambda x: x.mean((2, 3))))
    assert total(lambda x: x.max(-1).values) == pytest.approx(total(lambda x: x.mean(-1)))


@pytest.mark.parametrize(
    ("size", "stride", "padding", "dilation", "ceil"),
    [(3, 2, 1, 1, False), (3, 2, 1, 1, True), (2, 3, 0, 2, True), (3, 1, 1, 2, False),
     (2, 2, 1, 3, True), ((2, 3), (1, 2), (0, 1), (2, 1), True)],
)  # fmt: skip
def test_windows_of_a_maximum_hold_elements_of_the_input_only(
    size: int, stride: int, padding: int, dilation: int, ceil: bool
) -> None:
    def pool(x: Tensor) -> Tensor:
        return functional.max_pool2d(x, size, stride, padding, dilation, ceil)

    def by_hand(x: Tensor) -> Tensor:
        # Which elements a window holds, by raising one element at a time.
        flat = torch.arange(x[0, 0].numel(), dtype=DOUBLE)
        held = torch.stack(
            [
                pool((flat == i).double().reshape(1, 1, *x.shape[-2:]) - 1)[0, 0] == 0
                for i in flat.int()
            ]
        )
        weights = held.double() / held.double().sum(0)
        return torch.einsum("ncp,phw->nchw", x.flatten(2), weights)

    assert total(pool) == pytest.approx(linear_total(by_hand, pool), rel=1e-12)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: functional.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        lambda x: functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        lambda x: functional.avg_pool2d(x, 2, divisor_override=3),
        lambda x: functional.interpolate(x, scale_factor=2, mode="nearest"),
        lambda x: functional.interpolate(x, size=(9, 11), mode="bilinear"),
        lambda x: functional.pad(x, (1, 2, 0, 1)),
        lambda x: functional.pad(x, (1, 2, 0, 1), mode="reflect"),
        lambda x: functional.pad(x, (-1, 2)),
        lambda x: functional.pixel_shuffle(x, 2),
        lambda x: functional.unfold(x, 2),
        lambda x: x.roll(2, -1).flip(2)[:, [0, 2, 2]],
        lambda x: torch.stack([x, x.transpose(1, 2).reshape(x.shape)]).sum(0),
        lambda x: torch.cat([x, torch.zeros(1, 1, 7, 6), x[:, :1]], 1),
        lambda x: x[..., ::2] + x.mean((2, 3), keepdim=True),
        lambda x: x.sum((1, 2)) / 3 + torch.add(x, x, alpha=2).mean((1, 2)),
    ],
)
def test_linear_operators_run_as_they_are(function: Callable[[Tensor], Tensor]) -> None:
    assert total(function) == pytest.approx(linear_total(function, function), rel=1e-12)


def test_only_magnitudes_count() -> None:
    def signed(x: Tensor) -> Tensor:
        return torch.sub(x * -2, x[:, :1], alpha=3) / -4

    def unsigned(x: Tensor) -> Tensor:
        return (x * 2 + 3 * x[:, :1]) / 4

    assert total(signed) == pytest.approx(linear_total(unsigned, signed), rel=1e-12)
    assert total(lambda x: 5 - x) == pytest.approx(total(lambda x: x))


def test_what_is_added_or_padded_carries_no_path() -> None:
    plain = total(lambda x: functional.pad(x, (1, 1)))
    assert total(lambda x: functional.pad(x, (1, 1), value=7.0) + 3) == pytest.approx(plain)

    def written(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, 1] = 5.0
        x[:, 2] = x[:, 0] * 2
        return torch.cat([x, torch.ones_like(x)], 1)

    def without(x: Tensor) -> Tensor:
        empty = torch.zeros_like(x)
        return torch.cat([x[:, :1], empty[:, :1], 2 * x[:, :1], x[:, 3:], empty], 1)

    assert total(written) == pytest.approx(linear_total(without, written), rel=1e-12)


IDENTITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "softmax": lambda x: torch.softmax(x, 1),
    "swish by hand": lambda x: x * torch.sigmoid(x),
    "mish by hand": lambda x: x * torch.tanh(functional.softplus(x)),
    "square": lambda x: x * x,
    "layer norm by hand": lambda x: (
        (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1e-5).sqrt()
    ),
    "rms norm by hand": lambda x: x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6),
    "l2 normalisation": lambda x: functional.normalize(x, dim=1),
    "global attention": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "hard sigmoid by hand": lambda x: x * functional.relu6(x.roll(1, -1) + 3),
    "gate of another signal": lambda x: x * torch.sigmoid(x.roll(1, 2)),
    "gate first": lambda x: torch.sigmoid(x.roll(1, 2).amax(1, keepdim=True)).expand(x.shape) * x,
    "wavenet": lambda x: torch.tanh(x) * torch.sigmoid(x.roll(1, 2)),
    "standardised constants": lambda x: (x - 0.5) + torch.arange(6.0),
}  # fmt: skip


@pytest.mark.parametrize("name", IDENTITIES)
def test_pointwise_functions_gates_and_normalisations_are_transparent(name: str) -> None:
    assert total(IDENTITIES[name]) == pytest.approx(total(lambda x: x), rel=1e-12)


def test_two_plain_activations_each_carry_the_path() -> None:
    def product(x: Tensor) -> Tensor:
        return x.flip(2) * x.roll(1, 2)

    assert total(product) == pytest.approx(
        linear_total(lambda x: x.flip(2) + x.roll(1, 2), product), rel=1e-12
    )


class SqueezeExcite(nn.Module):
    def __init__(self, gated: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gated = gated
        self.conv = nn.Conv2d(2, 4, 3, bias=False)
        self.last = nn.Conv2d(4, 2, 1, bias=False)
        self.down, self.up = nn.Linear(4, 2), nn.Linear(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv(x))
        if self.gated:
            gate = self.up(functional.relu(self.down(x.mean((2, 3))))).sigmoid()
            x = x * gate[:, :, None, None]
        return self.last(x)


def test_weights_of_a_gate_have_no_scores() -> None:
    example = torch.zeros(1, 2, 5, 5)
    gated, plain = path_flow(SqueezeExcite(True), example), path_flow(SqueezeExcite(False), example)
    assert gated.log_total == plain.log_total
    assert set(gated.scores) == {"conv.weight", "last.weight"}


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True),
     nn.LayerNorm([4, 7, 6]), nn.RMSNorm([7, 6]), nn.BatchNorm2d(4, track_running_stats=False)],
    ids=lambda norm: type(norm).__name__,
)  # fmt: skip
def test_normalisation_is_transparent_or_a_gain(norm: nn.Module) -> None:
    torch.manual_seed(5)
    with torch.no_grad():
        norm.weight.uniform_(-2, 2)
    variance = torch.ones(())
    if getattr(norm, "running_var", None) is not None:
        norm.running_var.uniform_(0.5, 2)
        variance = norm.running_var[:, None, None] + norm.eps
    gain = norm.weight.detach().abs()
    gain = (gain if gain.dim() > 1 else gain[:, None, None]) / variance.sqrt()
    norm.double().eval()
    assert total(norm) == pytest.approx(total(lambda x: x), rel=1e-12)
    model = Between(lambda x: x * gain, SHAPE)
    with torch.no_grad():
        expected = math.log(float(model(torch.ones(SHAPE, dtype=DOUBLE)).sum()))
    assert total(norm, norm="scale") == pytest.approx(expected, rel=1e-6)


def test_a_filter_that_depends_on_the_input_carries_paths_as_well() -> None:
    class Dynamic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maker = nn.Linear(3, 9)

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.maker(x).view(3, 3)

    model = Dynamic()
    # Either with the other at 1: three filters read three inputs, and are nine sums themselves.
    expected = 9 + float(model.maker.weight.detach().abs().sum())
    flow = path_flow(model, torch.zeros(1, 3))
    assert math.exp(flow.log_total) == pytest.approx(expected, rel=1e-6)


FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": lambda x, w: functional.linear(x, w),
    "matmul": lambda x, w: x @ w.T,
    "left matmul": lambda x, w: (w @ x.T).T,
    "addmm": lambda x, w: torch.addmm(torch.ones(3), x, w.T, beta=3, alpha=2) / 2,
    "addmm onto the signal": lambda x, w: torch.addmm(x, x, w.T, beta=0.5) - x / 2,
    "slices": lambda x, w: torch.cat([x @ w[:1].T, x @ w[1:].T], 1),
    "conv1d": lambda x, w: functional.conv1d(x[:, :, None], w[:, :, None])[..., 0],
    "conv2d": lambda x, w: functional.conv2d(x[..., None, None], w[..., None, None]).flatten(1),
    "transposed": lambda x, w: functional.conv_transpose1d(
        x[:, :, None], w.T[:, :, None], torch.ones(3)
    )[..., 0],
}


@pytest.mark.parametrize("name", FORMS)
def test_every_way_to_multiply_by_a_weight(name: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([[1.0, -2, 3], [0, 1, 1], [2, 0, -1]]))

        def forward(self, x: Tensor) -> Tensor:
            return FORMS[name](x, self.weight)

    flow = path_flow(Model(), torch.zeros(1, 3))
    extra = 3.0 if name == "addmm onto the signal" else 0.0  # x/2 added and subtracted: 1 each
    assert math.exp(flow.log_total) == pytest.approx(11 + extra)
    score = flow.scores["weight"] * math.exp(flow.log_scale)
    torch.testing.assert_close(score, torch.ones(3, 3, dtype=score.dtype))


def test_tokens_are_one_hot_and_all_at_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2, bias=False)).double()
    flow = path_flow(model, torch.zeros(1, 4, dtype=torch.long))
    table, weight = (w.detach().abs().requires_grad_() for w in model.parameters())
    value = 4 * (torch.ones(1, 5, dtype=DOUBLE) @ table @ weight.T).sum()  # four places
    value.backward()
    assert math.exp(flow.log_total) == pytest.approx(value.item())
    for name, leaf in (("0.weight", table), ("1.weight", weight)):
        torch.testing.assert_close(flow.scores[name] * math.exp(flow.log_scale), leaf.grad)
    expected = (table * table.grad).sum(1) / value
    torch.testing.assert_close(flow.share["input"], expected.detach())
