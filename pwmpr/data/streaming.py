"""How pictures are taken from disk while a network trains, where memory does not hold them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from pwmpr.data.batches import dealt, number_of_batches
from pwmpr.data.lists import PictureList, centred, random_part
from pwmpr.seeds import generator


class PictureBatches:
    """Batches of a `PictureList`, decoded by several threads ahead of the training.

    Parameters
    ----------
    pictures
        Paths and labels.
    mean, std
        Per channel, in 8-bit units.
    seed
        Order and crops of epoch e are a function of (seed, e) alone.
    augment
        ``"none"``: the middle of the picture. ``"resized-crop-flip"``: a random part of 8 to 100%
        of the area and of aspect 3/4 to 4/3, scaled to the size, every second one mirrored on
        average (Szegedy et al. 2015).
    device
        Where batches are moved.
    threads
        That decode.
    """

    def __init__(
        self,
        pictures: PictureList,
        mean: Tensor,
        std: Tensor,
        *,
        seed: int = 0,
        augment: str = "none",
        device: torch.device | str = "cpu",
        threads: int = 8,
    ) -> None:
        self.pictures = pictures
        self.mean = mean.view(-1, 1, 1).to(device)
        self.std = std.view(-1, 1, 1).to(device)
        self.seed = seed
        self.augment = augment
        self.device = torch.device(device)
        self.threads = threads
        self.samples = len(pictures)

    def count(self, batch: int) -> int:
        """See `pwmpr.data.Batches`."""
        return number_of_batches(self.samples, batch)

    def epoch(
        self, number: int, batch: int, start: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See `pwmpr.data.Batches`."""
        order = torch.randperm(self.samples, generator=generator(self.seed, "order", number))
        draws = torch.rand(
            self.samples, 5, dtype=torch.float64, generator=generator(self.seed, "augment", number)
        )
        firsts = range(start * batch, self.count(batch) * batch, batch)
        parts = [order[dealt(f, min(f + batch, self.samples), share)] for f in firsts]
        yield from self._decoded(parts, draws)

    def in_order(self, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See `pwmpr.data.Batches`."""
        yield from self._decoded(torch.arange(self.samples).split(batch), None)

    def _decoded(
        self, parts: Sequence[Tensor], draws: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        size, paths = self.pictures.size, self.pictures.paths
        numbers = draws if self.augment == "resized-crop-flip" else None

        def one(index: int) -> Tensor:
            if numbers is not None:
                return random_part(paths[index], size, numbers[index].tolist())
            return centred(paths[index], size)

        with ThreadPoolExecutor(self.threads) as pool:
            ahead = [pool.map(one, part.tolist()) for part in parts[:2]]
            for position, part in enumerate(parts):
                images = torch.stack(list(ahead.pop(0))).to(self.device)
                if position + 2 < len(parts):
                    ahead.append(pool.map(one, parts[position + 2].tolist()))
                normalised = images.float().sub_(self.mean).div_(self.std)
                yield normalised, self.pictures.labels[part].to(self.device)
