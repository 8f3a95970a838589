"""What a labelled image data set in memory is: splits of 8-bit images with their statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from topograph.errors import TopographError

# Arrays of a data set that would need more than this are refused before they are allocated.
MEMORY_LIMIT = 16 << 30


@dataclass(frozen=True, eq=False)
class Split:
    """Images with labels, in memory.

    Attributes
    ----------
    images
        uint8, shape (N, C, H, W).
    labels
        int64, shape (N,), class numbers from 0.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise TopographError(
                f"images are {self.images.dtype} of shape {tuple(self.images.shape)}; expected "
                "uint8 of shape (N, C, H, W)",
                "pass 8-bit images with their channels second",
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise TopographError(
                f"labels are {self.labels.dtype} of shape {tuple(self.labels.shape)}; expected "
                f"int64 of shape ({len(self.images)},)",
                "pass one class number for every image",
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], int(self.labels[index])

    def subset(self, indices: Tensor) -> Split:
        """Return the images and labels at ``indices``, in that order."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set with its splits.

    Attributes
    ----------
    name
        What the data are called, e.g. ``"CIFAR-10"``.
    classes
        Names of the classes, by class number.
    train, validation, test
        The splits; a missing one is None.
    encoding
        How the images were stored: ``"raw"``, ``"PNG"``, ``"JPEG"``, …
    source
        The folder or package that they were read from.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split | None
    test: Split | None
    encoding: str = "raw"
    source: str = ""

    @property
    def title(self) -> str:
        """The name for captions; lossy copies are named as such."""
        return f"{self.name} (JPEG copies)" if self.encoding == "JPEG" else self.name

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def split_validation(self, fraction: float = 0.1, seed: int = 0) -> Dataset:
        """Return the data with a validation split, taken at random off the training split.

        A validation split that the data came with stays as it is.

        Parameters
        ----------
        fraction
            Part of the training images that become validation images, in [0, 1).
        seed
            Decides which; the same seed always takes the same images.

        Raises
        ------
        TopographError
            If no training or no validation image would be left.
        """
        if self.validation is not None or fraction == 0:
            return self
        taken, kept = validation_indices(len(self.train), fraction, seed)
        return replace(self, train=self.train.subset(kept), validation=self.train.subset(taken))


def validation_indices(count: int, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return (validation indices, training indices) of a seeded random split, each ascending.

    The validation part has round(fraction · count) members.

    Raises
    ------
    TopographError
        If one of the two parts would be empty.

    Examples
    --------
    >>> taken, kept = validation_indices(10, 0.2, seed=0)
    >>> len(taken), len(kept), sorted(taken.tolist() + kept.tolist()) == list(range(10))
    (2, 8, True)
    """
    size = round(fraction * count)
    if not 0 < size < count:
        raise TopographError(
            f"validation={fraction} of {count} training samples is {size} samples; expected at "
            "least one validation sample and one training sample",
            "pass validation= between 0 and 1, or a data set of your own as validation=",
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[:size].sort().values, order[size:].sort().values


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
