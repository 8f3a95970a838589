"""How long does turning a network into its layered graph take, and what part is the export?

Prints seconds for the first and later captures of ResNet-50 on 224×224 images (random weights, 20%
kept) and of smaller networks, beside the seconds of one forward pass and of ``torch.export`` alone.

    python benchmarks/capture.py
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import topograph as tg
from pwmpr.models import build


class Bottleneck(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = nn.Sequential()
        if stride != 1 or before != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet50(nn.Module):
    def __init__(self, blocks: tuple[int, ...] = (3, 4, 6, 3), classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        before, stages = 64, []
        for stage, count in enumerate(blocks):
            width = 64 << stage
            layers = []
            for k in range(count):
                layers.append(Bottleneck(before, width, 2 if stage and not k else 1))
                before = 4 * width
            stages.append(nn.Sequential(*layers))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def export(model: nn.Module, example: Tensor) -> None:
    with torch.no_grad():
        torch.export.export(model, (example,), strict=False).run_decompositions({})


def masks_of(model: nn.Module, density: float) -> dict[str, Tensor]:
    return {
        f"{name}.weight": torch.rand_like(module.weight) < density
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }


def main() -> None:
    torch.manual_seed(0)
    cases: list[tuple[str, Callable[[], nn.Module], tuple[int, ...]]] = [
        ("MLP 784-300-100-10", lambda: build("mlp-784-300-100-10"), (1, 784)),
        ("ResNet-32, 32×32", lambda: build("resnet32"), (1, 3, 32, 32)),
        ("ResNet-110, 32×32", lambda: build("resnet110"), (1, 3, 32, 32)),
        ("ResNet-50, 224×224", ResNet50, (1, 3, 224, 224)),
    ]
    tg.capture(nn.Linear(2, 2), torch.zeros(1, 2))  # the first export of a process warms up torch
    print(
        f"{'network':<20}{'nodes':>8}{'edges':>12}{'export':>9}{'first':>8}{'dense':>8}"
        f"{'masked':>8}{'forward':>9}   seconds"
    )
    for name, make, shape in cases:
        model, example = make().eval(), torch.zeros(shape)
        masks = masks_of(model, 0.2)
        with torch.no_grad():
            forward = min(seconds(lambda: model(example)) for _ in range(2))
        exported = seconds(lambda: export(model, example))
        first = seconds(lambda: tg.capture(model, example))
        dense = min(seconds(lambda: tg.capture(model, example)) for _ in range(2))
        masked = min(seconds(lambda: tg.capture(model, example, masks=masks)) for _ in range(2))
        graph = tg.capture(model, example, masks=masks)
        print(
            f"{name:<20}{graph.n_nodes:>8}{graph.n_edges:>12,}{exported:>9.2f}{first:>8.2f}"
            f"{dense:>8.2f}{masked:>8.2f}{forward:>9.3f}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"peak memory {peak:.0f} MiB; first = a first capture with its export, then from the cache"
    )


if __name__ == "__main__":
    main()
