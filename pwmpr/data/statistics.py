"""What the mean and spread of the channels of images are."""

from __future__ import annotations

import torch
from torch import Tensor


def channel_statistics(images: Tensor, chunk: int = 512) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of every channel, in 8-bit units (0 to 255).

    A channel without variation gets the deviation 1, so that dividing by it is harmless.

    Parameters
    ----------
    images
        uint8, shape (N, C, H, W).
    chunk
        Images taken into float at a time.

    Examples
    --------
    >>> mean, std = channel_statistics(torch.tensor([0, 10], dtype=torch.uint8).view(2, 1, 1, 1))
    >>> mean.tolist(), std.tolist()
    ([5.0], [5.0])
    """
    channels = images.shape[1]
    total = torch.zeros(channels, dtype=torch.float64)
    squares = torch.zeros(channels, dtype=torch.float64)
    for part in images.split(chunk):
        for channel in range(channels):
            # Whole numbers below 2^53 add up exactly in float64, in any order.
            values = part[:, channel].reshape(-1).double()
            total[channel] += values.sum()
            squares[channel] += values.dot(values)
    count = images.numel() / max(1, channels)
    mean = total / count
    std = (squares / count - mean**2).clamp(min=0).sqrt()
    return mean.float(), torch.where(std > 0, std, 1.0).float()
