"""What a PHEW start costs, beside walking one step at a time.

Prints seconds for 5% of ResNet-32 and (with --large) 2% of ResNet-50 at 224×224: the capture with
its options, and the walks. The alternative draws every step of one walk at a time from the same
options with ``numpy.random.Generator.choice``, as the published code does from its weight tensors;
it is timed on a few walks, and its seconds are a lower bound: for as many walks as are needed if
every step of every walk found a new weight.

    python benchmarks/phew.py
    python benchmarks/phew.py --large
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from path_flow import resnet50
from torch import Tensor, nn

from pwmpr.models import build
from pwmpr.scope import weights_in_scope
from pwmpr.starts.network import Network, network
from pwmpr.starts.phew import phew_positions

SAMPLE = 30


def one_at_a_time(seen: Network, rng: np.random.Generator) -> float:
    """Return the mean seconds of a forward walk whose steps are drawn one by one."""
    options, ends = seen.forward, set(seen.outputs.tolist())
    began = time.perf_counter()
    for turn in range(SAMPLE):
        node = int(seen.inputs[turn % len(seen.inputs)])
        while node not in ends:
            first, last = options.start[node], options.start[node + 1]
            mass = np.diff(options.cumulative[first : last + 1])
            node = int(options.following[first + rng.choice(last - first, p=mass / mass.sum())])
    return (time.perf_counter() - began) / SAMPLE


def measure(name: str, model: nn.Module, example: Tensor, density: float) -> None:
    shapes = {key: tuple(weight.shape) for key, weight in weights_in_scope(model).items()}
    count = int(density * sum(np.prod(shape) for shape in shapes.values()))
    began = time.perf_counter()
    seen = network(model, example)
    captured = time.perf_counter() - began
    began = time.perf_counter()
    phew_positions(seen, shapes, count, np.random.default_rng(0))
    walked = time.perf_counter() - began
    single = one_at_a_time(seen, np.random.default_rng(0))
    # Each walk adds at most its length in weights, so at least count / length walks are needed.
    depth = len(shapes)
    least = count / depth * single
    print(
        f"| {name} at {density:.0%} | {count:,} | {captured:.1f} | {walked:.2f} | "
        f"at least {least:.0f} | over {least / walked:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="ResNet-50 too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| network | weights kept | capture s | walks s | one step at a time s | ratio |")
    print("|---|---|---|---|---|---|")
    measure("ResNet-32", build("resnet32"), torch.zeros(1, 3, 32, 32), 0.05)
    if options.large:
        measure("ResNet-50", resnet50(), torch.zeros(1, 3, 224, 224), 0.02)


if __name__ == "__main__":
    main()
