"""Random convolutional networks for which plain PyTorch gives path weights.

Weights are nonnegative and nothing has a bias, so on an all-ones input activations do nothing: the
sum of the outputs *is* R, and autograd's gradient of it with respect to a weight *is* the score S.
(ReLUs are leaky ones of slope 1 here, because at 0 the gradient of a ReLU is 0.)

Every network can be built *collapsed* as well: kernels summed to 1×1, pooling and interpolation
left out, flattened columns of one channel summed. On a 1×1 input of ones that is the channel graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn


@dataclass(frozen=True)
class Spec:
    """Layers as (kind, settings), and the shape of the input."""

    shape: tuple[int, int, int]
    layers: tuple[tuple[str, Any], ...]
    head: str
    density: float
    seed: int


class Step(nn.Module):
    """One layer of a random network."""

    def __init__(self, kind: str, channels: int, settings: Any, collapsed: bool) -> None:
        super().__init__()
        self.kind, self.settings, self.collapsed = kind, settings, collapsed
        if kind == "conv":
            self.conv = self._conv(channels, **settings)
        elif kind == "residual":
            self.one = self._conv(channels, channels, 3, padding=1)
            self.two = self._conv(channels, channels, 3, padding=1, groups=settings)
        elif kind == "project":
            self.conv = self._conv(channels, settings, 3, padding=1, stride=2)
            self.short = self._conv(channels, settings, 1, stride=2)
        elif kind == "transposed":
            self.conv = nn.ConvTranspose2d(channels, settings, 1 if collapsed else 2, bias=False)
            if not collapsed:
                self.conv.stride = (2, 2)
        elif kind in ("dense", "split"):
            width = channels // 2 if kind == "split" else channels
            self.conv = self._conv(width, width, 3, padding=1)
        elif kind == "norm":
            self.norm = nn.BatchNorm2d(channels)

    def _conv(self, before: int, after: int, kernel: int, **settings: Any) -> nn.Conv2d:
        if self.collapsed:
            return nn.Conv2d(before, after, 1, groups=settings.get("groups", 1), bias=False)
        return nn.Conv2d(before, after, kernel, bias=False, **settings)

    def forward(self, x: Tensor) -> Tensor:
        kind, settings = self.kind, self.settings
        if kind in ("conv", "transposed"):
            return F.leaky_relu(self.conv(x), 1.0)
        if kind == "residual":
            return x + self.two(F.leaky_relu(self.one(x), 1.0))
        if kind == "project":
            return self.conv(x) + self.short(x)
        if kind == "dense":
            return torch.cat([x, self.conv(x)], 1)
        if kind == "split":
            left, right = x.chunk(2, 1)
            return torch.cat([self.conv(right), left], 1)
        if kind == "shuffle":
            n, c, h, w = x.shape
            return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        if kind == "double":
            return x + settings * x
        if kind == "scale":
            return x * settings
        if kind == "norm":
            return self.norm(x)
        return x if self.collapsed else self._spatial(x)

    def _spatial(self, x: Tensor) -> Tensor:
        if self.kind == "pool":
            return F.avg_pool2d(x, **self.settings)
        if self.kind == "adaptive":
            return F.adaptive_avg_pool2d(x, self.settings)
        if self.kind == "flip":
            return x.flip(2).transpose(2, 3)
        return F.interpolate(x, scale_factor=2, mode=self.settings)


class Net(nn.Module):
    """The network of a spec."""

    def __init__(self, spec: Spec, collapsed: bool = False) -> None:
        super().__init__()
        self.head_kind = spec.head
        x = torch.zeros(1, *spec.shape)
        real = []
        for kind, settings in spec.layers:
            step = Step(kind, x.shape[1], settings, collapsed=False)
            real.append(Step(kind, x.shape[1], settings, collapsed))
            x = step.eval()(x)
        self.steps = nn.ModuleList(real)
        self.pixels = x.shape[2] * x.shape[3]
        columns = x.shape[1] * (self.pixels if spec.head == "flatten" and not collapsed else 1)
        self.fc = nn.Linear(columns, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        if self.head_kind == "flatten":
            return self.fc(x.flatten(1))
        return self.fc(x.mean([2, 3]))


def build(spec: Spec) -> tuple[Net, dict[str, Tensor]]:
    """Return the network with random nonnegative weights, and random masks (applied to them)."""
    torch.manual_seed(spec.seed)
    net = Net(spec).double().eval()
    masks = {}
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "norm" in name:
                parameter.copy_(torch.rand_like(parameter) if "weight" in name else 0 * parameter)
            else:
                parameter.copy_(torch.rand_like(parameter))
                masks[name] = torch.rand_like(parameter) < spec.density
                parameter.mul_(masks[name])
        for name, buffer in net.named_buffers():
            if "running_var" in name:
                buffer.copy_(torch.rand_like(buffer) + 0.5)
    return net, masks


def collapse(spec: Spec, net: Net) -> Net:
    """Return the network with kernels summed and space left out."""
    small = Net(spec, collapsed=True).double().eval()
    state = net.state_dict()
    for name, value in state.items():
        if value.dim() == 4:
            state[name] = value.sum((2, 3), keepdim=True)
        elif name == "fc.weight" and spec.head == "flatten":
            state[name] = value.view(value.shape[0], -1, net.pixels).sum(2)
    small.load_state_dict(state)
    return small


@st.composite
def specs(draw: st.DrawFn, most: int = 5) -> Spec:
    """Draw a network whose layers fit each other."""
    channels, height, width = (
        draw(st.integers(1, 3)),
        draw(st.integers(4, 7)),
        draw(st.integers(4, 7)),
    )
    shape = channels, height, width
    layers: list[tuple[str, Any]] = []
    for _ in range(draw(st.integers(1, most))):
        kind, settings = draw(_layer(channels, min(height, width)))
        step = Step(kind, channels, settings, collapsed=False).eval()
        _, channels, height, width = step(torch.zeros(1, channels, height, width)).shape
        layers.append((kind, settings))
    return Spec(
        shape,
        tuple(layers),
        draw(st.sampled_from(["flatten", "mean"])),
        draw(st.sampled_from([1.0, 0.6, 0.3])),
        draw(st.integers(0, 99)),
    )


@st.composite
def _layer(draw: st.DrawFn, channels: int, size: int) -> tuple[str, Any]:
    kinds = ["conv", "conv", "residual", "project", "dense", "double", "scale", "norm"]
    kinds += ["pool", "adaptive", "flip"] if size > 1 else []
    kinds += ["interpolate", "transposed"] if size < 5 else []
    kinds += ["shuffle", "split"] if channels % 2 == 0 else []
    kind = draw(st.sampled_from(kinds))
    if kind == "conv":
        groups = draw(st.sampled_from([g for g in (1, 2, channels) if channels % g == 0]))
        kernel = draw(st.integers(1, 3))
        dilation = draw(st.integers(1, 2)) if size > 4 else 1
        settings: Any = {
            "after": groups * draw(st.integers(1, max(1, 4 // groups))),
            "kernel": kernel,
            "groups": groups,
            "stride": draw(st.integers(1, 2)),
            "dilation": dilation,
            "padding": draw(st.integers(0, 2)) if size > dilation * (kernel - 1) else 2,
        }
        return kind, settings
    if kind == "residual":
        return kind, draw(st.sampled_from([1, channels]))
    if kind in ("project", "transposed", "adaptive"):
        return kind, draw(st.integers(1, 4))
    if kind in ("double", "scale"):
        return kind, draw(st.sampled_from([0.5, 1.0, 3.0]))
    if kind == "interpolate":
        return kind, draw(st.sampled_from(["nearest", "bilinear"]))
    if kind == "pool":
        return kind, {
            "kernel_size": 2,
            "stride": draw(st.integers(1, 2)),
            "padding": draw(st.integers(0, 1)),
            "count_include_pad": draw(st.booleans()),
            "ceil_mode": draw(st.booleans()),
        }
    return kind, None
