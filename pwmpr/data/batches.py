"""In what order, and how transformed, samples reach the network: a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
)

from pwmpr.data.dataset import Split, validation_indices
from pwmpr.seeds import derive, generator
from topograph.errors import TopographError

PADDING = 4  # pixels on each side before the random crop


class Batches(Protocol):
    """Batches of (input, target), drawn anew every epoch or taken in order."""

    samples: int

    def count(self, batch: int) -> int:
        """Return the number of batches of an epoch."""
        ...

    def epoch(
        self, number: int, batch: int, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Any, Tensor]]:
        """Yield the batches of an epoch from number ``start`` on, shuffled.

        With ``share=(k, n)`` only every n-th sample of each batch, from the k-th on: what one of n
        processes trains on. One for which nothing is left gets the batch's first sample.
        """
        ...

    def in_order(self, batch: int) -> Iterator[tuple[Any, Tensor]]:
        """Yield all samples once, in their own order, untransformed."""
        ...


def number_of_batches(samples: int, batch: int) -> int:
    """Return ⌈samples / batch⌉, less a last batch of one sample.

    Batch normalisation cannot train on a single sample, so that one waits for another epoch.

    Examples
    --------
    >>> number_of_batches(100, 32), number_of_batches(97, 32)
    (4, 3)
    """
    whole, rest = divmod(samples, batch)
    return max(1, whole + (rest > 1))


def dealt(first: int, stop: int, share: tuple[int, int]) -> slice:
    """Return which of the positions ``first`` … ``stop`` are dealt to one of several processes.

    Examples
    --------
    >>> dealt(10, 15, (1, 2)), dealt(10, 11, (1, 2))
    (slice(11, 15, 2), slice(10, 11, 2))
    """
    rank, size = share
    return slice(first + rank if first + rank < stop else first, stop, size)


class ImageBatches:
    """Batches of a `Split`: 8-bit images in memory, normalised when taken.

    Parameters
    ----------
    split
        Images and labels.
    mean, std
        Per channel, in 8-bit units.
    seed
        Order and augmentation of epoch e are a function of (seed, e) alone, on every device.
    augment
        ``"none"``, or ``"crop-flip"``: 4 black pixels added on every side, a random crop of the
        original size, a horizontal flip of every second image on average (He et al. 2015).
    device
        Where images live and batches are made.
    """

    def __init__(
        self,
        split: Split,
        mean: Tensor,
        std: Tensor,
        *,
        seed: int = 0,
        augment: str = "none",
        device: torch.device | str = "cpu",
    ) -> None:
        self.images = split.images.to(device)
        self.labels = split.labels.to(device)
        self.mean = mean.view(-1, 1, 1).to(device)
        self.std = std.view(-1, 1, 1).to(device)
        self.seed = seed
        self.augment = augment
        self.samples = len(split)

    def count(self, batch: int) -> int:
        """See `Batches`."""
        return number_of_batches(self.samples, batch)

    def epoch(
        self, number: int, batch: int, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Batches`."""
        order = torch.randperm(self.samples, generator=generator(self.seed, "order", number))
        order = order.to(self.images.device)
        if self.augment == "crop-flip":
            # Drawn for the whole epoch at once, so that batch b is the same whether or not the
            # epoch began at batch 0.
            draws = generator(self.seed, "augment", number)
            offsets = torch.randint(0, 2 * PADDING + 1, (self.samples, 2), generator=draws)
            flips = torch.randint(0, 2, (self.samples,), generator=draws)
            offsets, flips = (t.to(self.images.device) for t in (offsets, flips))
        for first in range(start * batch, self.count(batch) * batch, batch):
            part = dealt(first, min(first + batch, self.samples), share)
            images = self.images[order[part]]
            if self.augment == "crop-flip":
                images = crop_and_flip(images, offsets[part], flips[part])
            yield self._normalised(images), self.labels[order[part]]

    def in_order(self, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Batches`."""
        for images, labels in zip(self.images.split(batch), self.labels.split(batch), strict=True):
            yield self._normalised(images), labels

    def _normalised(self, images: Tensor) -> Tensor:  # uint8 (B, C, H, W) -> float32
        return images.float().sub_(self.mean).div_(self.std)


def crop_and_flip(images: Tensor, offsets: Tensor, flips: Tensor) -> Tensor:
    """Return images shifted by up to `PADDING` pixels (black comes in) and mirrored where asked.

    Parameters
    ----------
    images
        uint8, shape (B, C, H, W).
    offsets
        int64, shape (B, 2): row and column at which the crop begins in the padded image.
    flips
        int64, shape (B,): 1 where the crop is mirrored left to right.

    Examples
    --------
    >>> image = torch.arange(1, 5, dtype=torch.uint8).view(1, 1, 2, 2)
    >>> crop_and_flip(image, torch.tensor([[4, 5]]), torch.tensor([0]))[0, 0].tolist()
    [[2, 0], [4, 0]]
    >>> crop_and_flip(image, torch.tensor([[4, 4]]), torch.tensor([1]))[0, 0].tolist()
    [[2, 1], [4, 3]]
    """
    count, channels, height, width = images.shape
    device = images.device
    padded = F.pad(images, (PADDING,) * 4)  # (B, C, H + 8, W + 8)
    rows = offsets[:, :1] + torch.arange(height, device=device)  # (B, H)
    columns = torch.arange(width, device=device)
    columns = torch.where(flips[:, None] == 1, width - 1 - columns, columns) + offsets[:, 1:]
    pixels = rows[:, :, None] * (width + 2 * PADDING) + columns[:, None, :]  # (B, H, W)
    index = pixels.view(count, 1, -1).expand(count, channels, -1)
    return padded.flatten(2).gather(2, index).view_as(images)


class ItemBatches:
    """Batches of any map-style data set of (input, target) pairs.

    The order of epoch e is a function of (seed, e). Randomness inside the data set is its own
    affair: drawn from PyTorch's global generator it is repeated by a rerun.

    Parameters
    ----------
    dataset
        Has ``len()`` and ``[index] -> (input, target)``.
    seed
        Decides the order.
    device
        Where batches are moved.
    """

    def __init__(self, dataset: Any, *, seed: int = 0, device: torch.device | str = "cpu") -> None:
        self.dataset = dataset
        self.seed = seed
        self.device = torch.device(device)
        self.samples = len(dataset)

    def count(self, batch: int) -> int:
        """See `Batches`."""
        return number_of_batches(self.samples, batch)

    def epoch(
        self, number: int, batch: int, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Any, Tensor]]:
        """See `Batches`."""
        order = torch.randperm(self.samples, generator=generator(self.seed, "order", number))
        for first in range(start * batch, self.count(batch) * batch, batch):
            yield self._take(order[dealt(first, min(first + batch, self.samples), share)])

    def in_order(self, batch: int) -> Iterator[tuple[Any, Tensor]]:
        """See `Batches`."""
        for indices in torch.arange(self.samples).split(batch):
            yield self._take(indices)

    def _take(self, indices: Tensor) -> tuple[Any, Tensor]:
        if type(self.dataset) is TensorDataset:  # a subclass may transform its items
            items: Any = tuple(tensor[indices] for tensor in self.dataset.tensors)
        elif hasattr(self.dataset, "__getitems__"):
            items = default_collate(self.dataset.__getitems__(indices.tolist()))
        else:
            items = default_collate([self.dataset[index] for index in indices.tolist()])
        x, y = items
        return _to(x, self.device), _to(y, self.device)


class OwnTargets:
    """Batches whose targets are the inputs themselves, flattened: what is reconstructed."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.samples = batches.samples

    def count(self, batch: int) -> int:
        """See `Batches`."""
        return self.batches.count(batch)

    def epoch(
        self, number: int, batch: int, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Any, Tensor]]:
        """See `Batches`."""
        for x, _ in self.batches.epoch(number, batch, start, share):
            yield x, x.flatten(1)

    def in_order(self, batch: int) -> Iterator[tuple[Any, Tensor]]:
        """See `Batches`."""
        for x, _ in self.batches.in_order(batch):
            yield x, x.flatten(1)


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: _to(part, device) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to(part, device) for part in value)
    return value


def check_dataset(dataset: Any, name: str) -> Any:
    """Return a data set that `ItemBatches` or `ImageBatches` can take.

    A pair of tensors or arrays (inputs, targets) of one length is taken as a data set too.

    Raises
    ------
    TopographError
        If it is a loader or a stream, is empty, or its items are no (input, target) pairs.
    """
    if (
        isinstance(dataset, tuple)
        and len(dataset) == 2
        and all(hasattr(part, "shape") and part.shape for part in dataset)
    ):
        inputs, targets = (torch.as_tensor(part) for part in dataset)
        if len(inputs) != len(targets):
            raise TopographError(
                f"{name} pairs {len(inputs)} inputs with {len(targets)} targets",
                "pass as many targets as inputs",
            )
        dataset = TensorDataset(inputs, targets)
    if isinstance(dataset, DataLoader | IterableDataset):
        raise TopographError(
            f"{name} is a {type(dataset).__name__}; expected a map-style data set, whose order "
            "the run's seed decides",
            f"pass {name}=loader.dataset" if isinstance(dataset, DataLoader) else "index it",
        )
    if not isinstance(dataset, Sized) or not hasattr(dataset, "__getitem__"):
        raise TopographError(
            f"{name} is a {type(dataset).__name__}; expected a data set with len() and "
            "[index] -> (input, target)",
            "pass e.g. torch.utils.data.TensorDataset(inputs, targets)",
        )
    if len(dataset) == 0:
        raise TopographError(f"{name} is empty; expected at least one sample", "add samples")
    item = dataset[0]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise TopographError(
            f"the first item of {name} is a {type(item).__name__}; expected (input, target)",
            "let the data set return pairs",
        )
    return dataset


def split_off_validation(dataset: Any, fraction: float, seed: int) -> tuple[Any, Any]:
    """Return (training, validation) parts of a map-style data set; see `validation_indices`."""
    taken, kept = validation_indices(len(dataset), fraction, derive(seed, "validation"))
    if isinstance(dataset, Split):
        return dataset.subset(kept), dataset.subset(taken)
    return Subset(dataset, kept.tolist()), Subset(dataset, taken.tolist())
