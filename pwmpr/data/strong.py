"""How images are augmented for vision transformers on small data (Lee et al. 2021, section 4.1).

Random crops and flips, AutoAugment, random erasing, repeated augmentation, and one of Mixup and
CutMix; with label smoothing, so that targets are probabilities of classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pwmpr.data.batches import PADDING, crop_and_flip, dealt, number_of_batches
from pwmpr.data.dataset import Split
from pwmpr.seeds import derive, generator
from topograph.errors import TopographError

#: What `pwmpr.settings.Settings.augment` knows for images in memory.
AUGMENTATIONS = ("crop-flip", "strong")

SMOOTHING = 0.1
REPEATS = 3  # of an image in its epoch (Hoffer et al. 2020)
ERASED = 0.25  # of the images
MIXED = 0.5  # of the batches


class StrongBatches:
    """Batches of a `Split`, strongly augmented in training, as they are in order.

    Parameters
    ----------
    split
        Images in memory, and labels.
    mean, std
        Per channel, in 8-bit units.
    classes
        Number of classes.
    seed
        Everything about epoch e is a function of (seed, e) alone.
    device
        Where batches are moved.

    Raises
    ------
    TopographError
        If torchvision, which has AutoAugment, cannot be imported.
    """

    def __init__(
        self,
        split: Split,
        mean: Tensor,
        std: Tensor,
        *,
        classes: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.split = split
        self.mean = mean.view(-1, 1, 1)
        self.std = std.view(-1, 1, 1)
        self.classes = classes
        self.seed = seed
        self.device = torch.device(device)
        self.samples = len(split)
        self.policy = auto_augment(split.images.shape[-1])

    def count(self, batch: int) -> int:
        """See `pwmpr.data.Batches`."""
        return number_of_batches(self.samples, batch)

    def epoch(
        self, number: int, batch: int, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See `pwmpr.data.Batches`; targets are probabilities of classes (B, classes)."""
        order = torch.randperm(self.samples, generator=generator(self.seed, "order", number))
        # Every image that is taken comes REPEATS times, in one batch where it fits.
        order = order.repeat_interleave(REPEATS)[: self.samples]
        for index in range(start, self.count(batch)):
            chosen = order[index * batch : (index + 1) * batch]
            draws = generator(derive(self.seed, "augment", number), "batch", index)
            images, labels = self.split.images[chosen], self.split.labels[chosen]
            x, y = self._augmented(images, labels, draws)  # mixed with each other, so all of them
            mine = dealt(0, len(x), share)
            yield x[mine], y[mine]

    def in_order(self, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See `pwmpr.data.Batches`; targets are class numbers."""
        for images, labels in zip(
            self.split.images.split(batch), self.split.labels.split(batch), strict=True
        ):
            yield self._normalised(images).to(self.device), labels.to(self.device)

    def _augmented(
        self, images: Tensor, labels: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        count = len(images)
        offsets = torch.randint(0, 2 * PADDING + 1, (count, 2), generator=draws)
        flips = torch.randint(0, 2, (count,), generator=draws)
        images = crop_and_flip(images, offsets, flips)
        policy_seed = int(torch.randint(0, 2**62, (1,), generator=draws))
        with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator
            torch.manual_seed(policy_seed)
            images = torch.stack([self.policy(image) for image in images])
        x = erase(self._normalised(images), draws)
        y = F.one_hot(labels, self.classes).float()
        y = y * (1 - SMOOTHING) + SMOOTHING / self.classes
        x, y = mix(x, y, draws)
        return x.to(self.device), y.to(self.device)

    def _normalised(self, images: Tensor) -> Tensor:
        return images.float().sub_(self.mean).div_(self.std)


def auto_augment(size: int) -> Any:
    """Return torchvision's AutoAugment: its CIFAR-10 policy up to 32 pixels, else ImageNet's."""
    try:
        from torchvision.transforms import v2
    except (ImportError, RuntimeError) as error:
        raise TopographError(
            f'augment="strong" needs torchvision, which cannot be imported ({error})',
            "pip install 'topograph[vision]' with a torchvision that fits the installed torch",
        ) from None
    policies = v2.AutoAugmentPolicy
    return v2.AutoAugment(policies.CIFAR10 if size <= 32 else policies.IMAGENET)


def erase(images: Tensor, draws: torch.Generator) -> Tensor:
    """Return images with a rectangle of noise in a quarter of them (Zhong et al. 2020).

    Parameters
    ----------
    images
        float32, normalised, shape (B, C, H, W).
    draws
        Decides which, where and with what. Areas are 2 to 40% of the image, aspects 0.3 to 3.3.
    """
    count, channels, height, width = images.shape
    images = images.clone()
    numbers = torch.rand(count, 5, dtype=torch.float64, generator=draws).tolist()
    for image, (chance, area, aspect, top, left) in zip(images, numbers, strict=True):
        if chance >= ERASED:
            continue
        surface = (0.02 + 0.38 * area) * height * width
        ratio = 0.3 * (1 / 0.09) ** aspect
        rows = min(height, max(1, round((surface * ratio) ** 0.5)))
        columns = min(width, max(1, round((surface / ratio) ** 0.5)))
        first, second = int(top * (height - rows + 1)), int(left * (width - columns + 1))
        noise = torch.randn(channels, rows, columns, generator=draws)
        image[:, first : first + rows, second : second + columns] = noise
    return images


def mix(x: Tensor, y: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return a batch mixed with its own permutation, in half of the batches.

    CutMix (Yun et al. 2019) and Mixup (Zhang et al. 2018) are equally likely; the part λ that stays
    is uniform on (0, 1), which is Beta(1, 1). Targets are mixed in the parts that were shown.

    Parameters
    ----------
    x
        (B, C, H, W).
    y
        Probabilities of classes (B, K).
    draws
        Decides how.
    """
    happens, which, part, row, column = torch.rand(5, dtype=torch.float64, generator=draws).tolist()
    partner = torch.randperm(len(x), generator=draws)
    if happens >= MIXED:
        return x, y
    if which < 0.5:
        return part * x + (1 - part) * x[partner], part * y + (1 - part) * y[partner]
    height, width = x.shape[-2:]
    side = (1 - part) ** 0.5
    centre = int(row * height), int(column * width)
    half = round(side * height) // 2, round(side * width) // 2
    top, bottom = max(0, centre[0] - half[0]), min(height, centre[0] + half[0])
    left, right = max(0, centre[1] - half[1]), min(width, centre[1] + half[1])
    x = x.clone()
    x[:, :, top:bottom, left:right] = x[partner][:, :, top:bottom, left:right]
    shown = 1 - (bottom - top) * (right - left) / (height * width)
    return x, shown * y + (1 - shown) * y[partner]
