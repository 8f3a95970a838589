"""What a labelled image data set is: splits of 8-bit images with their statistics."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pwmpr.data.lists import PictureList
from pwmpr.data.statistics import channel_statistics
from topograph.errors import TopographError


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

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of every channel, in 8-bit units."""
        return channel_statistics(self.images)

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
        The splits; a missing one is None. In memory, or lists of pictures on disk.
    encoding
        How the images were stored: ``"raw"``, ``"PNG"``, ``"JPEG"``, …
    source
        The folder or package that they were read from.
    """

    name: str
    classes: tuple[str, ...]
    train: Split | PictureList
    validation: Split | PictureList | None
    test: Split | PictureList | None
    encoding: str = "raw"
    source: str = ""

    @property
    def title(self) -> str:
        """The name for captions; lossy copies are named as such.

        Data whose classes are WordNet ids (ImageNet and its parts) are JPEG from the start.
        """
        original = all(re.fullmatch(r"n\d{8}", name) for name in self.classes)
        lossy = self.encoding == "JPEG" and not original
        return f"{self.name} (JPEG copies)" if lossy else self.name

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        return self.train.shape

    @property
    def outputs(self) -> int:
        """How many classes a model of it tells apart."""
        return len(self.classes)

    @property
    def options(self) -> dict[str, Any]:
        """What the data decide about a network that is built for them."""
        channels, height, width = self.shape
        return {
            "classes": len(self.classes),
            "channels": channels,
            "size": height,
            "visible": channels * height * width,
        }

    @property
    def details(self) -> dict[str, Any]:
        """What tells these data from others, as plain values."""
        mean, std = self.train.statistics()
        return {
            "encoding": self.encoding,
            "classes": list(self.classes),
            "mean": mean.tolist(),
            "std": std.tolist(),
        }

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
