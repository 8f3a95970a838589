"""Small hand-written networks of every common kind, whose graphs can be counted by hand."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(sizes: tuple[int, ...] = (6, 5, 4, 3)) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n, m in itertools.pairwise(sizes):
        layers += [nn.Linear(n, m), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class BasicBlock(nn.Module):
    def __init__(self, before: int, width: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.grows, self.kind = before != width, shortcut
        self.shortcut = nn.Sequential()
        if self.grows and shortcut == "B":
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.grows and self.kind == "A":
            pad = (out.shape[1] - x.shape[1]) // 2
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, pad, pad))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Module):
    """CIFAR ResNet of 6n + 2 layers; shortcut "A" slices and pads, "B" is a 1×1 convolution."""

    def __init__(
        self,
        n: int = 1,
        widths: tuple[int, ...] = (4, 8, 16),
        shortcut: str = "A",
        classes: int = 5,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        before = widths[0]
        for stage, width in enumerate(widths):
            blocks = []
            for k in range(n):
                blocks.append(BasicBlock(before, width, 2 if stage and not k else 1, shortcut))
                before = width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def vgg(size: int = 8) -> nn.Sequential:
    """Convolutions with max pooling, then a flattened map into linear layers."""
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(6 * (size // 4) ** 2, 7), nn.ReLU(), nn.Dropout()),
        nn.Linear(7, 5),
    )


class InvertedResidual(nn.Module):
    def __init__(self, before: int, width: int, expand: int, stride: int) -> None:
        super().__init__()
        inner = before * expand
        self.body = nn.Sequential(
            *(nn.Conv2d(before, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            *(nn.BatchNorm2d(inner), nn.ReLU6()),
            *(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width)),
        )
        self.residual = stride == 1 and before == width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1, bias=False)
        self.blocks = nn.Sequential(InvertedResidual(4, 6, 2, 2), InvertedResidual(6, 6, 3, 1))
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(F.relu6(self.stem(x))).mean([2, 3]))


class DenseNet(nn.Module):
    """Every layer reads the concatenation of all before it."""

    def __init__(self, growth: int = 3, layers: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(4 + growth * k),
                nn.ReLU(),
                nn.Conv2d(4 + growth * k, growth, 3, padding=1),
            )
            for k in range(layers)
        )
        self.fc = nn.Linear(4 + growth * layers, 5)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.stem(x)]
        for layer in self.layers:
            maps.append(layer(torch.cat(maps, 1)))
        return self.fc(F.avg_pool2d(torch.cat(maps, 1), 8).flatten(1))


class ShuffleBlock(nn.Module):
    """Half of the channels pass; the two halves are shuffled into each other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.body = nn.Sequential(
            *(nn.Conv2d(half, half, 1), nn.ReLU()),
            nn.Conv2d(half, half, 3, padding=1, groups=half),
            *(nn.Conv2d(half, half, 1), nn.ReLU()),
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        joined = torch.cat([left, self.body(right)], 1)
        n, c, h, w = joined.shape
        return joined.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleNet(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.Sequential(ShuffleBlock(width), ShuffleBlock(width))
        self.fc = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.blocks(F.relu(self.stem(x))).mean([2, 3]))


class Inception(nn.Module):
    """Branches of different kernels side by side, and a pooled one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.one = nn.Conv2d(4, 2, 1)
        self.three = nn.Sequential(nn.Conv2d(4, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(4, 2, 1))
        self.fc = nn.Linear(7, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = torch.cat([self.one(x), self.three(x), self.pool(x)], 1)
        return self.fc(F.adaptive_max_pool2d(x.relu(), 1).flatten(1))


class Signal1d(nn.Module):
    """Convolutions along time, with dilation and a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 4, 3, stride=2, padding=1)
        self.second = nn.Conv1d(4, 4, 3, padding="same", dilation=2, groups=2)
        self.last = nn.Linear(4 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        x = x + self.second(x).relu()
        return self.last(F.avg_pool1d(x, 2).flatten(1))


class UNet(nn.Module):
    """Down and up again, with a transposed convolution, an interpolation and long skips."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(3, 4, 3, padding=1)
        self.down2 = nn.Conv2d(4, 6, 3, padding=1)
        self.bottom = nn.Conv2d(6, 6, 3, padding=1)
        self.up2 = nn.ConvTranspose2d(6, 6, 2, stride=2)
        self.merge2 = nn.Conv2d(12, 4, 3, padding=1)
        self.merge1 = nn.Conv2d(8, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x).relu()
        two = self.down2(F.max_pool2d(one, 2)).relu()
        low = self.bottom(F.max_pool2d(two, 2)).relu()
        two = self.merge2(torch.cat([self.up2(low), two], 1)).relu()
        two = F.interpolate(two, scale_factor=2, mode="bilinear")
        return self.head(self.merge1(torch.cat([two, one], 1)).relu())


class Decoder(nn.Module):
    """A linear layer's units laid out as an image, pixel shuffle, convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4 * 2 * 2)
        self.conv = nn.Conv2d(4, 8, 3, padding=1)
        self.last = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(x).relu().view(-1, 4, 2, 2)
        return self.last(F.pixel_shuffle(self.conv(x).relu(), 2))


class SqueezeExcite(nn.Module):
    """A residual block whose channels are gated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.down = nn.Linear(4, 2)
        self.up = nn.Linear(2, 4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        y = self.conv(x)
        gate = self.up(self.down(y.mean([2, 3])).relu()).sigmoid()
        return self.fc((x + y * gate[:, :, None, None]).relu().mean([2, 3]))


#: Network and the shape of its input.
NETS = {
    "mlp": (mlp, (1, 6)),
    "resnet-a": (lambda: ResNet(shortcut="A"), (1, 3, 8, 8)),
    "resnet-b": (lambda: ResNet(shortcut="B"), (1, 3, 8, 8)),
    "vgg": (vgg, (1, 3, 8, 8)),
    "mobilenet": (MobileNet, (1, 3, 8, 8)),
    "densenet": (DenseNet, (1, 3, 8, 8)),
    "shufflenet": (ShuffleNet, (1, 3, 4, 4)),
    "inception": (Inception, (1, 3, 6, 6)),
    "signal1d": (Signal1d, (1, 2, 16)),
    "unet": (UNet, (1, 3, 8, 8)),
    "decoder": (Decoder, (1, 3)),
    "squeeze-excite": (SqueezeExcite, (1, 3, 6, 6)),
}
