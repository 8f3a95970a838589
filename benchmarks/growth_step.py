"""What a growth step costs, rule by rule, beside the training that goes between two of them.

For each network: seconds of processor time of one growth step (scores, choice of positions, masks
at work again) by every rule, and its ratio to one epoch of masked training and to one pass that
treats the network as dense (what RigL and gradient growth need). One thread.

    python benchmarks/growth_step.py             # an MLP and ResNet-20, half a minute
    python benchmarks/growth_step.py --large     # ResNet-32 too
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pwmpr.growth import grow
from pwmpr.masks import Masks
from pwmpr.models import build
from pwmpr.scope import weights_in_scope
from pwmpr.training.machine import keep_freed_memory

RULES = ("random", "gradient", "pwmp", "pwmpr")
DENSITY, BATCH, STEPS_AN_EPOCH = 0.1, 128, 352


def random_masks(model: nn.Module) -> Masks:
    generator = torch.Generator().manual_seed(0)
    weights = weights_in_scope(model)
    return Masks(
        {n: torch.rand(w.shape, generator=generator) < DENSITY for n, w in weights.items()}
    )


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median processor time of some work, after a first time that does not count."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return statistics.median(times)


def measure(name: str, shape: tuple[int, ...], repeats: int) -> None:
    torch.manual_seed(0)
    model = build(name)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=1e-4, fused=True)
    masks = random_masks(model)
    handle = masks.attach(model, optimizer)
    x, y = torch.randn(BATCH, *shape), torch.randint(0, 10, (BATCH,))

    def train() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    def dense_pass() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    epoch = seconds(train, repeats) * STEPS_AN_EPOCH
    dense = seconds(dense_pass, repeats)
    print(f"\n{name}: {masks}; an epoch of {STEPS_AN_EPOCH} steps {epoch:.2f} s")
    print(f"{'rule':<10}{'ms':>9}{'of an epoch':>14}{'to a dense pass':>18}")
    for rule in RULES:

        def step(rule: str = rule) -> None:
            handle.update(masks)
            new = grow(model, masks, 0.25, rule, example_input=x[:1], batch=(x, y))
            handle.update(new)

        cost = seconds(step, repeats)
        print(f"{rule:<10}{cost * 1e3:>9.1f}{cost / epoch:>13.2%}{cost / dense:>17.2f}×")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="ResNet-32 too")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    measure("mlp-784-300-100-10", (784,), options.repeats)
    measure("resnet20", (3, 32, 32), options.repeats)
    if options.large:
        measure("resnet32", (3, 32, 32), options.repeats)


if __name__ == "__main__":
    main()
