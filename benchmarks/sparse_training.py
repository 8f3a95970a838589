"""What a training step of a sparse MLP costs: steps a second and memory, beside other ways.

All ways train the same network on the same batch (128, SGD with momentum and weight decay, one
thread). They take turns, five steps each, in one process; printed is the median processor time of a
step and its ratio to the dense step beside it. Memory is the highest resident set over five steps
at 5% density beyond that before the network was made, in a process of its own.

    python benchmarks/sparse_training.py             # some minutes
    python benchmarks/sparse_training.py --rounds 3 --densities 0.05 --no-memory
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib.util
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize, prune

from pwmpr.masks import Masks
from pwmpr.models import mlp
from pwmpr.training.machine import keep_freed_memory

NETWORKS = ([3072, 1024, 512, 10], [784, 300, 100, 10])
DENSITIES = (0.2, 0.1, 0.05, 0.02, 0.01)
MEMORY_AT = 0.05
STEPS = 4
BATCH = 128


@dataclass(frozen=True)
class Training:
    """A network in training: a context for its forward pass, and an optimiser."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    context: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext


class Times(nn.Module):
    """The parametrization weight * mask."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def optimizer_of(model: nn.Module, fused: bool = True) -> torch.optim.Optimizer:
    options = {"momentum": 0.9, "weight_decay": 5e-4, "fused": fused}
    return torch.optim.SGD(model.parameters(), 0.1, **options)


def dense(sizes: list[int], masks: Masks) -> Training:
    model = mlp(sizes)
    return Training(model, optimizer_of(model))


def masked(sizes: list[int], masks: Masks) -> Training:
    model = mlp(sizes)
    optimizer = optimizer_of(model)
    masks.attach(model, optimizer)
    return Training(model, optimizer)


def kept(sizes: list[int], masks: Masks) -> Training:
    model = mlp(sizes)
    optimizer = optimizer_of(model, fused=False)
    masks.attach(model, optimizer, state="kept")
    return Training(model, optimizer)


def sparse(sizes: list[int], masks: Masks) -> Training:
    model = mlp(sizes)
    optimizer = optimizer_of(model, fused=False)
    handle = masks.attach(model, optimizer, state="kept")
    return Training(model, optimizer, lambda: handle.sparse_layers().computing())


def parametrized(sizes: list[int], masks: Masks) -> Training:
    model = mlp(sizes)
    for name in masks:
        module = model.get_submodule(name.removesuffix(".weight"))
        parametrize.register_parametrization(module, "weight", Times(masks[name].float()))
    return Training(model, optimizer_of(model))


def pruned(sizes: list[int], masks: Masks) -> Training:
    model = mlp(sizes)
    for name in masks:
        module = model.get_submodule(name.removesuffix(".weight"))
        prune.custom_from_mask(module, "weight", masks[name].float())
    return Training(model, optimizer_of(model))


def sparsimony(sizes: list[int], masks: Masks) -> Training:
    from sparsimony.parametrization.fake_sparsity import FakeSparsity

    model = mlp(sizes)
    for name in masks:
        module = model.get_submodule(name.removesuffix(".weight"))
        parametrize.register_parametrization(module, "weight", FakeSparsity(masks[name].float()))
    return Training(model, optimizer_of(model))


def sparselab(sizes: list[int], masks: Masks) -> Training:
    """SparseLab draws masks of its own, of the same densities."""
    from sparselab import SparseLinear

    layers: list[nn.Module] = [nn.Flatten()]
    for name, (outputs, inputs) in masks.shapes.items():
        layers += [SparseLinear(inputs, outputs, sparsity=1 - masks.densities[name]), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    return Training(model, optimizer_of(model))


def in_bf16(make: Callable[[list[int], Masks], Training]) -> Callable[..., Training]:
    def made(sizes: list[int], masks: Masks) -> Training:
        training = make(sizes, masks)
        return Training(
            training.model, training.optimizer, lambda: torch.autocast("cpu", torch.bfloat16)
        )

    return made


WAYS: dict[str, Callable[[list[int], Masks], Training]] = {
    "dense": dense,
    "pwmpr, masked": masked,
    "pwmpr, kept state": kept,
    "pwmpr, sparse layers": sparse,
    "`torch.nn.utils.prune`": pruned,
    "weight * mask by parametrize": parametrized,
    "sparsimony": sparsimony,
    "SparseLab": sparselab,
    "dense, bf16": in_bf16(dense),
    "pwmpr, masked, bf16": in_bf16(masked),
    "pwmpr, kept state, bf16": in_bf16(kept),
}
NEEDS = {"sparsimony": "sparsimony", "SparseLab": "sparselab"}


def installed(way: str) -> bool:
    return way not in NEEDS or importlib.util.find_spec(NEEDS[way]) is not None


def step(training: Training, x: Tensor, y: Tensor) -> None:
    training.optimizer.zero_grad()
    with training.context():
        loss = F.cross_entropy(training.model(x), y)
    loss.backward()
    training.optimizer.step()


def problem(sizes: list[int], density: float) -> tuple[Masks, Tensor, Tensor]:
    torch.manual_seed(0)
    shapes = {f"fc{k + 1}.weight": (sizes[k + 1], sizes[k]) for k in range(len(sizes) - 1)}
    masks = Masks({name: torch.rand(shape) < density for name, shape in shapes.items()})
    return masks, torch.randn(BATCH, sizes[0]), torch.randint(0, sizes[-1], (BATCH,))


def milliseconds(sizes: list[int], density: float, rounds: int) -> dict[str, tuple[float, float]]:
    """Return, by way, the median processor time of a step and its ratio to the dense one."""
    masks, x, y = problem(sizes, density)
    trainings = {way: make(sizes, masks) for way, make in WAYS.items() if installed(way)}
    seconds: dict[str, list[float]] = {way: [] for way in trainings}
    for _ in range(rounds):
        for way, training in trainings.items():
            step(training, x, y)  # brings back what the other ways have driven out of the caches
            began = time.process_time()
            for _ in range(STEPS):
                step(training, x, y)
            seconds[way].append((time.process_time() - began) / STEPS)
    base = seconds["dense"]
    return {
        way: (
            statistics.median(times) * 1e3,
            statistics.median(t / d for t, d in zip(times, base, strict=True)),
        )
        for way, times in seconds.items()
    }


def megabytes(way: str, sizes: list[int], density: float) -> float:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_train_and_tell, args=(there, way, sizes, density))
    process.start()
    there.close()
    peak: float = here.recv()
    process.join()
    return peak


def _train_and_tell(answer: Connection, way: str, sizes: list[int], density: float) -> None:
    masks, x, y = problem(sizes, density)
    small = [8, 8, 4]  # loads what the way imports
    few, small_x, small_y = problem(small, 0.5)
    step(WAYS[way](small, few), small_x, small_y)
    ctypes.CDLL(None).malloc_trim(0)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    training = WAYS[way](sizes, masks)
    for _ in range(5):
        step(training, x, y)
    answer.send(_resident("VmHWM") - before)


def _resident(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(field + ":")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--densities", type=float, nargs="+", default=DENSITIES)
    settings = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    # Before the allocator's thresholds are raised, which a fork inherits: they do not change peaks.
    memory = {
        (way, str(sizes)): megabytes(way, sizes, MEMORY_AT)
        for sizes in NETWORKS
        for way in WAYS
        if installed(way) and not settings.no_memory
    }
    keep_freed_memory()
    for sizes in NETWORKS:
        found = {d: milliseconds(sizes, d, settings.rounds) for d in settings.densities}
        print(f"\nMLP {'-'.join(map(str, sizes))}\n")
        heads = [f"{density:.0%} kept" for density in settings.densities]
        print(f"| way | {' | '.join(heads)} | memory at {MEMORY_AT:.0%} |")
        print("|---|" + "---|" * (len(heads) + 1))
        for way in WAYS:
            if not installed(way):
                print(f"| {way} | not installed |" + " |" * len(heads))
                continue
            cells = []
            for density in settings.densities:
                ms, ratio = found[density][way]
                cells.append(f"{ms:.2f} ms ({ratio:.2f})")
            cells.append(f"{memory[way, str(sizes)]:.0f} MB" if memory else "")
            print(f"| {way} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
