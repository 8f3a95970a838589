"""What masks cost a training step, beside dense training and other ways to mask.

The ways take turns, step by step, in one process on one thread; printed are the median processor
time of a step and its ratio to dense. Density 5%, SGD with momentum and weight decay, batch 128.

    python benchmarks/masked_training.py            # a minute
    python benchmarks/masked_training.py --steps 200
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize, prune

from pwmpr.masks import Masks
from pwmpr.models import mlp, resnet
from pwmpr.scope import weights_in_scope

DENSITY = 0.05


class Times(nn.Module):
    """The parametrization weight * mask."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the masked weight."""
        return weight * self.mask


def module_of(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(name.removesuffix(".weight"))


def dense(model: nn.Module, masks: Masks) -> torch.optim.Optimizer:
    return optimizer_of(model)


def attached(model: nn.Module, masks: Masks) -> torch.optim.Optimizer:
    optimizer = optimizer_of(model)
    masks.attach(model, optimizer)
    return optimizer


def parametrized(model: nn.Module, masks: Masks) -> torch.optim.Optimizer:
    for name in masks:
        module = module_of(model, name)
        parametrize.register_parametrization(module, "weight", Times(masks[name].float()))
    return optimizer_of(model)


def pruned(model: nn.Module, masks: Masks) -> torch.optim.Optimizer:
    for name in masks:
        prune.custom_from_mask(module_of(model, name), "weight", masks[name].float())
    return optimizer_of(model)


def filled(model: nn.Module, masks: Masks) -> torch.optim.Optimizer:
    optimizer = optimizer_of(model)
    weights = [model.get_parameter(name) for name in masks]
    gone = [~masks[name] for name in masks]
    masks.apply_(model)

    def before(*_: object) -> None:
        for weight, zero in zip(weights, gone, strict=True):
            weight.grad.masked_fill_(zero, 0)

    optimizer.register_step_pre_hook(before)
    return optimizer


WAYS: dict[str, Callable[[nn.Module, Masks], torch.optim.Optimizer]] = {
    "dense": dense,
    "pwmpr, attached": attached,
    "gradients by masked_fill_": filled,
    "weight * mask by parametrize": parametrized,
    "torch.nn.utils.prune": pruned,
}


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)


def compare(
    title: str, make: Callable[[], nn.Module], shape: tuple[int, ...], steps: int, bf16: bool
) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(128, *shape), torch.randint(0, 10, (128,))
    weights = weights_in_scope(make())
    masks = Masks({name: torch.rand_like(w) < DENSITY for name, w in weights.items()})
    runs = {}
    for way, prepare in WAYS.items():
        torch.manual_seed(0)
        model = make()
        if bf16 and len(shape) == 3:
            model = model.to(memory_format=torch.channels_last)
            x = x.to(memory_format=torch.channels_last)
        runs[way] = (model, prepare(model, masks))
    seconds: dict[str, list[float]] = {way: [] for way in runs}
    for step in range(steps + 3):
        for way, (model, optimizer) in runs.items():
            began = time.process_time()
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext():
                loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            if step >= 3:
                seconds[way].append(time.process_time() - began)
    print(f"\n{title}")
    base = statistics.median(seconds["dense"])
    for way, times in seconds.items():
        # The ratio step by step: both steps ran next to each other on the same busy machine.
        ratio = statistics.median(t / d for t, d in zip(times, seconds["dense"], strict=True))
        print(f"  {way:30} {statistics.median(times) * 1e3:8.2f} ms {ratio:6.3f}")
    assert base > 0


def keep_memory() -> None:
    """Let glibc keep freed memory, as pwmpr.run does: page faults would drown the difference."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)
        libc.mallopt(-1, 2**31 - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="of the MLP; a fifth of the ResNet")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    steps = settings.steps
    sizes = [3072, 1024, 512, 10]
    compare("MLP 3072-1024-512-10, fp32", lambda: mlp(sizes), (3072,), steps, False)
    compare("MLP 3072-1024-512-10, bf16", lambda: mlp(sizes), (3072,), steps, True)
    few = max(5, steps // 5)
    compare("ResNet-32, fp32", lambda: resnet(32), (3, 32, 32), few, False)
    compare("ResNet-32, channels_last bf16", lambda: resnet(32), (3, 32, 32), few, True)


if __name__ == "__main__":
    main()
