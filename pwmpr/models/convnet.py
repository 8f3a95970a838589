"""What the small convolutional network of the recipes is."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from topograph.check import check_integer
from topograph.errors import TopographError


class ConvNet(nn.Module):
    """Two 3×3 convolutions with max pooling, one hidden linear layer, one output layer."""

    dense_weights: tuple[str, ...] = ()

    def __init__(
        self, size: int, widths: Sequence[int], hidden: int, classes: int, channels: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.conv2 = nn.Conv2d(widths[0], widths[1], 3, padding=1)
        self.fc1 = nn.Linear(widths[1] * (size // 4) ** 2, hidden)
        self.fc2 = nn.Linear(hidden, classes)
        for module in (self.conv1, self.conv2, self.fc1, self.fc2):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # both kinds have a bias here

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images: (B, channels, size, size) -> (B, classes)."""
        x = F.max_pool2d(self.conv1(x).relu(), 2)
        x = F.max_pool2d(self.conv2(x).relu(), 2)
        x = self.fc1(x.flatten(1)).relu()
        output: Tensor = self.fc2(x)
        return output


def convnet(
    *,
    size: int = 28,
    widths: Sequence[int] = (32, 64),
    hidden: int = 128,
    classes: int = 10,
    channels: int = 1,
) -> ConvNet:
    """Return a small convolutional network with He initialisation.

    Parameters
    ----------
    size
        Height and width of the image, at least 4.
    widths
        Channels of the two convolutions.
    hidden
        Units of the hidden linear layer.
    classes, channels
        Number of outputs, and of channels of the image.

    Raises
    ------
    TopographError
        If an argument is outside its range.

    Examples
    --------
    >>> sum(p.numel() for p in convnet(size=8, widths=(8, 16), hidden=32).parameters())
    3658
    """
    if len(widths) != 2:
        raise TopographError(
            f"widths is {tuple(widths)!r}; expected the channels of two convolutions",
            "pass e.g. widths=(32, 64)",
        )
    return ConvNet(
        check_integer(size, "size", least=4),
        [check_integer(width, "a width", least=1) for width in widths],
        check_integer(hidden, "hidden", least=1),
        check_integer(classes, "classes", least=1),
        check_integer(channels, "channels", least=1),
    )
