"""What a list of labelled pictures on disk is, and how one is decoded."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from pwmpr.data.pictures import read_file
from pwmpr.data.statistics import channel_statistics
from topograph.errors import TopographError

#: Pictures that the channel statistics are taken from.
STATISTICS_FROM = 2000


@dataclass(frozen=True, eq=False)
class PictureList:
    """Paths of pictures with labels; a picture is decoded when it is taken.

    Attributes
    ----------
    paths
        Files, in a fixed order.
    labels
        int64, shape (N,): class numbers from 0.
    size
        Side in pixels that pictures are brought to.
    """

    paths: tuple[Path, ...]
    labels: Tensor
    size: int

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return centred(self.paths[index], self.size), int(self.labels[index])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one picture."""
        return 3, self.size, self.size

    def subset(self, indices: Tensor) -> PictureList:
        """Return the pictures and labels at ``indices``, in that order."""
        paths = tuple(self.paths[index] for index in indices.tolist())
        return PictureList(paths, self.labels[indices], self.size)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of every channel, of evenly spaced pictures."""
        chosen = np.linspace(0, len(self) - 1, min(len(self), STATISTICS_FROM)).round().astype(int)
        sample = torch.stack([centred(self.paths[index], self.size) for index in np.unique(chosen)])
        return channel_statistics(sample)


def centred(path: Path, size: int) -> Tensor:
    """Return the middle of a picture, uint8 (3, size, size): its short side at 8/7 of the size."""
    image = _open(path)
    scale = round(size * 8 / 7) / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return _pixels(image.crop((left, top, left + size, top + size)))


def random_part(path: Path, size: int, draws: Sequence[float]) -> Tensor:
    """Return a random part of a picture, uint8 (3, size, size).

    Parameters
    ----------
    path, size
        The picture, and the side of the result.
    draws
        Five numbers in [0, 1): area, aspect, left, top, mirror.
    """
    image = _open(path)
    width, height = image.size
    area = width * height * (0.08 + 0.92 * draws[0])
    aspect = math.exp((2 * draws[1] - 1) * math.log(4 / 3))
    part_width = min(width, max(1, round(math.sqrt(area * aspect))))
    part_height = min(height, max(1, round(math.sqrt(area / aspect))))
    left = int(draws[2] * (width - part_width + 1))
    top = int(draws[3] * (height - part_height + 1))
    box = (left, top, left + part_width, top + part_height)
    image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    if draws[4] >= 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _pixels(image)


def _open(path: Path) -> Image.Image:
    place, content = read_file(path)
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return picture.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise TopographError(
            f"{place} cannot be decoded as a picture ({error})", "replace or remove it"
        ) from None
    except Image.DecompressionBombError as error:
        raise TopographError(f"{place} is too large ({error})", "remove it") from None


def _pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
