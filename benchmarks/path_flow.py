"""What the tensor path costs beside one plain training step of batch 1.

Prints, for several networks, seconds of ``path_flow`` (plan cached), of a plain float32 forward and
backward pass of batch 1 of the same model, and their ratio. Aim: at most 2 on ResNet-50 at 224×224.

Usage: ``python benchmarks/path_flow.py [--threads 1] [--repeats 5] [--density 0.1]``
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from topograph.flow import path_flow


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions beside an identity or a 1×1 shortcut."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inside != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


def resnet50(classes: int = 1000) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    inside = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            layers.append(Bottleneck(inside, 64 << stage, stride))
            inside = 4 * (64 << stage)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes))


def vgg16(classes: int = 10) -> nn.Sequential:
    layers: list[nn.Module] = []
    inside = 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if width:
            layers += [
                nn.Conv2d(inside, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            inside = width
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, classes))


def mlp() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(3072, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU(),
        nn.Linear(512, 10),
    )  # fmt: skip


def plain(model: nn.Module, example: Tensor) -> Callable[[], object]:
    def step() -> None:
        model.zero_grad(set_to_none=True)
        model(example).sum().backward()

    return step


def seconds(*functions: Callable[[], object], repeats: int) -> list[float]:
    """Return the median seconds of each function; they take turns, so that load hits all alike."""
    times: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(repeats):
        for spent, function in zip(times, functions, strict=True):
            start = time.perf_counter()
            function()
            spent.append(time.perf_counter() - start)
    return [statistics.median(spent) for spent in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--density", type=float, default=0.1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {options.threads} thread(s), masks of {options.density:.0%}")
    print(f"{'network':<16}{'plain s':>10}{'flow s':>10}{'ratio':>8}{'masked s':>10}{'ratio':>8}")
    for name, model, side in (
        ("MLP", mlp(), 32),
        ("VGG-16", vgg16(), 32),
        ("ResNet-50", resnet50(), 64),
        ("ResNet-50", resnet50(), 224),
    ):
        example = torch.randn(1, 3, side, side)
        model.eval()  # a batch of one has no batch statistics
        masks = {
            key: torch.rand_like(value) < options.density
            for key, value in model.named_parameters()
            if value.dim() > 1
        }
        times = seconds(
            plain(model, example),
            lambda m=model, x=example: path_flow(m, x),  # type: ignore[misc]
            lambda m=model, x=example, k=masks: path_flow(m, x, k),  # type: ignore[misc]
            repeats=options.repeats,
        )
        dense, sparse = times[1] / times[0], times[2] / times[0]
        print(
            f"{f'{name} {side}':<16}{times[0]:>10.4f}{times[1]:>10.4f}{dense:>8.2f}"
            f"{times[2]:>10.4f}{sparse:>8.2f}"
        )


if __name__ == "__main__":
    main()
