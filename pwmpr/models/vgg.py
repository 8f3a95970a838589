"""What the VGG networks are: 3×3 convolutions with batch normalisation, five poolings."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pwmpr.models.depths import check_depth
from topograph.check import check_integer
from topograph.errors import TopographError

# Convolutions of each of the five stages (Simonyan & Zisserman 2015, table 1: A, B, D, E).
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Five stages of convolutions, each with a max pooling behind it, then linear layers.

    The last linear layer is declared dense, as in the residual networks (P, section 5).
    """

    dense_weights: tuple[str, ...] = ("linear.weight",)

    def __init__(
        self, stages: Sequence[int], size: int, hidden: Sequence[int], classes: int, channels: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width_in = channels
        for count, width in zip(stages, WIDTHS, strict=True):
            for _ in range(count):
                layers += [
                    nn.Conv2d(width_in, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                ]
                width_in = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        units = width_in * (size // 32) ** 2
        inner: list[nn.Module] = []
        for width in hidden:
            inner += [nn.Linear(units, width), nn.ReLU()]
            units = width
        self.hidden = nn.Sequential(*inner)
        self.linear = nn.Linear(units, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images: (B, channels, size, size) -> (B, classes)."""
        output: Tensor = self.linear(self.hidden(self.features(x).flatten(1)))
        return output


def vgg(
    depth: int,
    *,
    size: int = 32,
    hidden: Sequence[int] = (),
    classes: int = 10,
    channels: int = 3,
) -> VGG:
    """Return a VGG network with batch normalisation and He initialisation.

    Parameters
    ----------
    depth
        11, 13, 16 or 19.
    size
        Height and width of the image, at least 32.
    hidden
        Units of the linear layers before the last. None, as is usual on CIFAR; the original on
        224×224 has (4096, 4096).
    classes, channels
        Number of outputs, and of channels of the image.

    Raises
    ------
    TopographError
        If an argument is outside its range.

    Examples
    --------
    >>> sum(p.numel() for p in vgg(16).parameters())
    14724042
    """
    check_depth(depth, STAGES)
    if check_integer(size, "size", least=1) < 32:
        raise TopographError(
            f"size is {size}; five poolings leave nothing of it, expected at least 32 pixels",
            'pad the images, or take the network "convnet"',
        )
    return VGG(
        STAGES[depth],
        size,
        [check_integer(width, "a width of hidden", least=1) for width in hidden],
        check_integer(classes, "classes", least=1),
        check_integer(channels, "channels", least=1),
    )
