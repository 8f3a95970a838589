"""What the four-stage residual networks are: ResNet-18 to ResNet-152.

He et al. 2015 (table 1), with the stride of a bottleneck in its 3×3 convolution, as in
torchvision, whose parameter names these are (``conv1``, ``layer1.0.conv1``, ``downsample.0``,
``fc``), so that its checkpoints load.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pwmpr.models.depths import check_depth
from topograph.check import check_choice, check_integer

# Blocks of each stage, and whether they are bottlenecks.
STAGES = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
WIDTHS = (64, 128, 256, 512)


class Block(nn.Module):
    """Convolutions with a shortcut around them: two 3×3, or 1×1, 3×3, 1×1 (a bottleneck)."""

    def __init__(self, width_in: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        width_out = 4 * width if bottleneck else width
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        widths = (width_in, width, width, width_out) if bottleneck else (width_in, width, width)
        self.depth = len(kernels)
        for layer, kernel in enumerate(kernels, start=1):
            # The stride is that of the first 3×3 convolution.
            step = stride if layer == kernels.index(3) + 1 else 1
            convolution = nn.Conv2d(
                widths[layer - 1], widths[layer], kernel, step, kernel // 2, bias=False
            )
            self.add_module(f"conv{layer}", convolution)
            self.add_module(f"bn{layer}", nn.BatchNorm2d(widths[layer]))
        self.downsample: nn.Module | None = None
        if stride != 1 or width_in != width_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(width_in, width_out, 1, stride, bias=False), nn.BatchNorm2d(width_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's feature map: (B, C, H, W) -> (B, K, H/stride, W/stride)."""
        out = x
        for layer in range(1, self.depth + 1):
            out = self.get_submodule(f"bn{layer}")(self.get_submodule(f"conv{layer}")(out))
            out = out.relu() if layer < self.depth else out
        total: Tensor = out + (x if self.downsample is None else self.downsample(x))
        return total.relu()


class ResNet(nn.Module):
    """A residual network of four stages; see `imagenet_resnet`.

    Shortcut convolutions and the last linear layer are declared dense (P, section 5).
    """

    dense_weights: tuple[str, ...] = ("fc.weight", "*.downsample.0.weight")

    def __init__(
        self, blocks: Sequence[int], bottleneck: bool, stem: str, classes: int, channels: int
    ) -> None:
        super().__init__()
        self.pools = stem == "imagenet"
        kernel, stride = (7, 2) if self.pools else (3, 1)
        self.conv1 = nn.Conv2d(channels, 64, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        width_in = 64
        for stage, (count, width) in enumerate(zip(blocks, WIDTHS, strict=True), start=1):
            layers = []
            for block in range(count):
                stride = 2 if stage > 1 and block == 0 else 1
                layers.append(Block(width_in, width, stride, bottleneck))
                width_in = 4 * width if bottleneck else width
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.fc = nn.Linear(width_in, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images: (B, channels, H, W) -> (B, classes)."""
        x = self.bn1(self.conv1(x)).relu()
        if self.pools:
            x = F.max_pool2d(x, 3, 2, 1)
        for stage in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        output: Tensor = self.fc(x.mean(dim=(2, 3)))
        return output


def imagenet_resnet(
    depth: int, *, size: int = 224, stem: str | None = None, classes: int = 1000, channels: int = 3
) -> ResNet:
    """Return a four-stage residual network with He initialisation.

    Parameters
    ----------
    depth
        18, 34, 50, 101 or 152.
    size
        Height and width of the image; decides the stem where that is not given.
    stem
        ``"imagenet"``: a 7×7 convolution of stride 2 and a max pooling. ``"small"``: a 3×3
        convolution of stride 1, for images of 64 pixels and fewer, where it is the default.
    classes, channels
        Number of outputs, and of channels of the image.

    Raises
    ------
    TopographError
        If an argument is outside its range.

    Examples
    --------
    >>> sum(p.numel() for p in imagenet_resnet(50).parameters())  # torchvision: 25.56 M
    25557032
    """
    check_depth(depth, STAGES)
    small = check_integer(size, "size", least=8) <= 64
    stem = ("small" if small else "imagenet") if stem is None else stem
    check_choice(stem, "stem", ("imagenet", "small"))
    blocks, bottleneck = STAGES[depth]
    return ResNet(
        blocks,
        bottleneck,
        stem,
        check_integer(classes, "classes", least=1),
        check_integer(channels, "channels", least=1),
    )
