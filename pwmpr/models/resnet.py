"""What the CIFAR residual networks are: three stages, 16/32/64 wide by default.

He et al. 2015 (section 4.2), depth 6n + 2. Parameter names are those of Y. Idelbayev's published
CIFAR ResNets (``conv1``, ``layer1.0.conv1``, …, ``linear``), so its checkpoints load after the
prefix ``module.`` is taken off.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from topograph.check import check_choice, check_integer
from topograph.errors import TopographError


class PaddedShortcut(nn.Module):
    """Option A: every second pixel, the new channels zero, half of them on either side."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.before = before
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C + before + after, H/2, W/2) from (B, C, H, W)."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut around them."""

    def __init__(self, width_in: int, width_out: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width_out)
        self.shortcut: nn.Module = nn.Sequential()
        if stride != 1 or width_in != width_out:
            if shortcut == "A":
                new = width_out - width_in
                self.shortcut = PaddedShortcut(new // 2, new - new // 2)
            else:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(width_in, width_out, 1, stride, bias=False),
                    nn.BatchNorm2d(width_out),
                )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's feature map: (B, C, H, W) -> (B, K, H/stride, W/stride)."""
        out = self.bn1(self.conv1(x)).relu()
        out = self.bn2(self.conv2(out))
        total: Tensor = out + self.shortcut(x)
        return total.relu()


class CifarResNet(nn.Module):
    """A residual network of three stages for small images; see `resnet`.

    Shortcut convolutions and the last linear layer are declared dense (P, section 5).
    """

    dense_weights: tuple[str, ...]

    def __init__(
        self, blocks: int, widths: Sequence[int], shortcut: str, classes: int, channels: int
    ) -> None:
        super().__init__()
        convolved = ("*.shortcut.0.weight",) if shortcut == "B" else ()
        self.dense_weights = ("linear.weight", *convolved)
        self.conv1 = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        width_in = widths[0]
        for stage, width in enumerate(widths, start=1):
            layers = []
            for block in range(blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                layers.append(BasicBlock(width_in, width, stride, shortcut))
                width_in = width
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.linear = nn.Linear(width_in, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images: (B, channels, H, W) -> (B, classes)."""
        x = self.bn1(self.conv1(x)).relu()
        for stage in (1, 2, 3):
            x = self.get_submodule(f"layer{stage}")(x)
        x = x.mean(dim=(2, 3))  # (B, widths[2])
        output: Tensor = self.linear(x)
        return output


def resnet(
    depth: int,
    *,
    classes: int = 10,
    shortcut: str = "A",
    widths: Sequence[int] = (16, 32, 64),
    channels: int = 3,
) -> CifarResNet:
    """Return a CIFAR ResNet with He initialisation.

    Parameters
    ----------
    depth
        Number of weighted layers, 6n + 2: 8, 14, 20, 32, 44, 56, 110, …
    classes
        Number of outputs.
    shortcut
        Where the width changes: ``"A"`` takes every second pixel and pads channels with zeros (no
        weights), ``"B"`` is a 1×1 convolution with batch normalisation.
    widths
        Channels of the three stages.
    channels
        Channels of the image.

    Raises
    ------
    TopographError
        If the depth is not 6n + 2, or another argument is outside its range.

    Notes
    -----
    GraSP's "ResNet-32" (1.86 M) is ``resnet(32, widths=(32, 64, 128), shortcut="B")``.

    Examples
    --------
    >>> sum(p.numel() for p in resnet(32).parameters())
    464154
    """
    check_choice(shortcut, "shortcut", ("A", "B"))
    check_integer(classes, "classes", least=1)
    check_integer(channels, "channels", least=1)
    if check_integer(depth, "depth", least=8) % 6 != 2:
        raise TopographError(
            f"depth is {depth}; expected 6n + 2 layers",
            "pass a depth such as 8, 14, 20, 32, 44, 56 or 110",
        )
    if len(widths) != 3:
        raise TopographError(
            f"widths is {tuple(widths)!r}; expected the channels of three stages",
            "pass e.g. widths=(16, 32, 64)",
        )
    stage_widths = [check_integer(width, "a width", least=1) for width in widths]
    if shortcut == "A" and sorted(stage_widths) != stage_widths:
        raise TopographError(
            f"widths is {tuple(widths)!r}; expected widths that do not fall, as shortcut A only "
            "adds channels",
            'pass rising widths, or shortcut="B"',
        )
    return CifarResNet((depth - 2) // 6, stage_widths, shortcut, classes, channels)
