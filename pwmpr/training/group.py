"""Which processes train one network together, and what they have to agree on.

Every process holds the whole network and all data. Each batch is dealt out among them, gradients
are averaged by PyTorch's own ``DistributedDataParallel``, and every decision about masks is that
of process 0, which hands its positions to the others. ``DistributedDataParallel`` would not notice
if masks or weights differed, so they are compared by hash after every change and before every
checkpoint.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pwmpr.masks import Masks
from topograph.errors import TopographError

#: Steps between two looks at whether some process was asked to end.
ASK_EVERY = 10

#: How long a process waits for the others.
TIMEOUT = datetime.timedelta(minutes=30)

#: What the errors of broken connections have in them.
_LOST = re.compile(
    r"gloo|nccl|process ?group|connection (closed|reset|refused)|broken pipe|peer|store", re.I
)


class Group:
    """One process by itself; `Several` is what it is among others.

    Attributes
    ----------
    rank, size
        Number of this process, and of all.
    """

    rank = 0
    size = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the run's folder."""
        return self.rank == 0

    def share(self, samples: int) -> int:
        """Return how many of a batch's samples are dealt to this process.

        Examples
        --------
        >>> Group().share(7)
        7
        """
        return len(range(self.rank, samples, self.size))

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return what the forward pass runs, such that gradients are those of all processes."""
        return model

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        return value

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in some process."""
        return flag

    def agree(self, masks: Masks) -> Masks:
        """Return the masks of process 0."""
        return masks

    def told(self, value: Any) -> Any:
        """Return the plain value that process 0 has."""
        return value

    def settle(self, model: nn.Module) -> None:
        """Give the model the buffers (running statistics) of process 0."""

    def check_same(self, masks: Masks, model: nn.Module) -> None:
        """Refuse to go on where masks or weights differ between processes."""

    def wait(self) -> None:
        """Wait until all processes are here."""

    @contextlib.contextmanager
    def guard(self, folder: Path) -> Iterator[None]:
        """Say in plain words that another process was lost."""
        yield


class Several(Group):
    """One process among several, as ``torchrun`` starts them.

    Parameters
    ----------
    device
        Where this process computes; decides between gloo and nccl.
    """

    def __init__(self, device: torch.device) -> None:
        import torch.distributed as dist

        self.dist = dist
        self.rank = int(os.environ["RANK"])
        self.size = int(os.environ["WORLD_SIZE"])
        self.device = device
        if not dist.is_initialized():
            backend = "nccl" if device.type == "cuda" else "gloo"
            if device.type == "cuda":
                torch.cuda.set_device(device)
            dist.init_process_group(backend, timeout=TIMEOUT)
            # Kept for the process's next run: connections that are ended and made again may meet
            # the old ones.
            atexit.register(_end)

    def wrap(self, model: nn.Module) -> nn.Module:
        """See `Group`; buffers stay each process's own until `settle`."""
        from torch.nn.parallel import DistributedDataParallel

        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)

    def total(self, value: Tensor) -> Tensor:
        """See `Group`; the order of the sum is the same in every process."""
        parts = [torch.empty_like(value) for _ in range(self.size)]
        self.dist.all_gather(parts, value.contiguous())
        return torch.stack(parts).sum(0)

    def any(self, flag: bool) -> bool:
        """See `Group`."""
        up = torch.tensor([float(flag)], device=self.device)
        return bool(self.total(up) > 0)

    def agree(self, masks: Masks) -> Masks:
        """See `Group`; kept positions travel as sorted whole numbers."""
        held: list[Any] = [None]
        if self.first:
            held[0] = {name: mask.flatten().nonzero()[:, 0] for name, mask in masks.items()}
        self.dist.broadcast_object_list(held, src=0)
        made = {}
        for name, shape in masks.shapes.items():
            mask = torch.zeros(shape, dtype=torch.bool)
            mask.view(-1)[held[0][name]] = True
            made[name] = mask
        return Masks(made)

    def told(self, value: Any) -> Any:
        """See `Group`."""
        held = [value]
        self.dist.broadcast_object_list(held, src=0)
        return held[0]

    @torch.no_grad()
    def settle(self, model: nn.Module) -> None:
        """See `Group`."""
        for buffer in model.buffers():
            self.dist.broadcast(buffer, src=0)

    def check_same(self, masks: Masks, model: nn.Module) -> None:
        """See `Group`.

        Raises
        ------
        TopographError
            If they differ; every process raises it.
        """
        mine = {"masks": masks.digest(), "weights": digest(dict(model.named_parameters()))}
        everyone: list[Any] = [None] * self.size
        self.dist.all_gather_object(everyone, mine)
        for what in ("masks", "weights"):
            other = [rank for rank, held in enumerate(everyone) if held[what] != everyone[0][what]]
            if other:
                raise TopographError(
                    f"the {what} of process {other[0]} differ from those of process 0; expected "
                    f"the same in all {self.size} processes",
                    "go on from the last checkpoint with pwmpr resume; on a GPU, deterministic "
                    "kernels (torch.use_deterministic_algorithms) rule out one cause",
                )

    def wait(self) -> None:
        """See `Group`."""
        self.dist.barrier()

    @contextlib.contextmanager
    def guard(self, folder: Path) -> Iterator[None]:
        """See `Group`.

        Raises
        ------
        TopographError
            In place of what the broken connection raises.
        """
        try:
            yield
        except TopographError:
            raise
        except RuntimeError as error:
            words = " ".join(str(error).split())
            if not _LOST.search(words):
                raise
            raise TopographError(
                f"process {self.rank} of {self.size} has lost another one ({words[:200]})",
                f"pwmpr resume {folder} goes on from the last checkpoint",
            ) from error


def digest(parameters: Mapping[str, Tensor]) -> str:
    """Return a hash of the bits of some tensors."""
    found = hashlib.sha256()
    for name, parameter in parameters.items():
        values = parameter.detach().contiguous().reshape(-1).view(torch.uint8)
        found.update(name.encode() + values.cpu().numpy().tobytes())
    return found.hexdigest()


def is_several() -> bool:
    """Whether this process was started as one of several (by ``torchrun``)."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join(device: torch.device) -> Group:
    """Return the group that this process is in."""
    return Several(device) if is_several() else Group()


def _end() -> None:
    """End the connections to the others, if they are still there."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
