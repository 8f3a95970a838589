"""What S's convolutional network is: three convolutions and a global average (S, Table 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from topograph.check import check_integer
from topograph.errors import TopographError


class PooledConvNet(nn.Module):
    """Three 3×3 convolutions without padding, max pooling after the first two, a linear layer."""

    dense_weights: tuple[str, ...] = ()

    def __init__(self, widths: Sequence[int], classes: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3)
        self.conv2 = nn.Conv2d(widths[0], widths[1], 3)
        self.conv3 = nn.Conv2d(widths[1], widths[2], 3)
        self.fc = nn.Linear(widths[2], classes)
        for module in (self.conv1, self.conv2, self.conv3, self.fc):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # both kinds have a bias here

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images: (B, channels, H, W) -> (B, classes)."""
        x = F.max_pool2d(self.conv1(x).relu(), 2)
        x = F.max_pool2d(self.conv2(x).relu(), 2)
        x = self.conv3(x).relu().mean(dim=(2, 3))
        output: Tensor = self.fc(x)
        return output


def pooled_convnet(
    *, widths: Sequence[int] = (32, 64, 128), classes: int = 10, channels: int = 3
) -> PooledConvNet:
    """Return S's convolutional network with He initialisation, for images of 18 pixels and more.

    Parameters
    ----------
    widths
        Channels of the three convolutions.
    classes, channels
        Number of outputs, and of channels of the image.

    Raises
    ------
    TopographError
        If an argument is outside its range.

    Examples
    --------
    >>> sum(p.numel() for p in pooled_convnet().parameters())  # S, Table 5
    94538
    """
    if len(widths) != 3:
        raise TopographError(
            f"widths is {tuple(widths)!r}; expected the channels of three convolutions",
            "pass e.g. widths=(32, 64, 128)",
        )
    return PooledConvNet(
        [check_integer(width, "a width", least=1) for width in widths],
        check_integer(classes, "classes", least=1),
        check_integer(channels, "channels", least=1),
    )
