"""How fast positions are sampled in proportion to weight, beside torch.topk, multinomial and NumPy.

Every way draws 1.25% of the positions without replacement, weights log-normal, 5% of the positions
not available, in a process of its own on one thread. Prints processor seconds (the median of
repeats), how many times longer than pwmpr, and memory beyond the weights and flags.

    python benchmarks/sampling.py            # 25 million positions; pwmpr alone at 200 million
    python benchmarks/sampling.py --large    # the others at 200 million too, minutes and 6 GB
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pwmpr.sampling import largest, sample_uniformly, sample_without_replacement

DENSITY = 80  # one position in so many is drawn


def by_pwmpr(weight: Tensor, free: Tensor, count: int) -> None:
    sample_without_replacement({"w": weight}, count, np.random.default_rng(0), {"w": free})


def by_topk(weight: Tensor, free: Tensor, count: int) -> None:
    keys = torch.empty_like(weight).exponential_()
    keys.div_(weight)
    keys[~free] = torch.inf
    torch.topk(keys, count, largest=False, sorted=False)


def by_argpartition(weight: Tensor, free: Tensor, count: int) -> None:
    keys = np.random.default_rng(0).standard_exponential(weight.numel(), dtype=np.float32)
    keys /= weight.numpy()
    keys[~free.numpy()] = np.inf
    np.argpartition(keys, count)[:count]


def by_multinomial(weight: Tensor, free: Tensor, count: int) -> None:
    torch.multinomial(weight * free, count, replacement=False)


def by_choice(weight: Tensor, free: Tensor, count: int) -> None:
    p = (weight * free).double().numpy()
    p /= p.sum()
    np.random.default_rng(0).choice(p.size, count, replace=False, p=p, shuffle=False)


def largest_by_pwmpr(weight: Tensor, free: Tensor, count: int) -> None:
    largest({"w": weight}, count, {"w": free})


def uniform_by_pwmpr(weight: Tensor, free: Tensor, count: int) -> None:
    sample_uniformly({"w": free}, count, np.random.default_rng(0))


WAYS: dict[str, Callable[[Tensor, Tensor, int], None]] = {
    "pwmpr": by_pwmpr,
    "exponential keys, torch.topk": by_topk,
    "exponential keys, np.argpartition": by_argpartition,
    "torch.multinomial": by_multinomial,
    "numpy Generator.choice": by_choice,
    "pwmpr, the largest": largest_by_pwmpr,
    "pwmpr, uniform": uniform_by_pwmpr,
}


def peak_megabytes(reset: bool = False) -> float:
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(way: str, number: int, repeats: int) -> None:
    """Print seconds and megabytes of one way: what a process of its own runs."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    weight = torch.empty(number).log_normal_()
    free = torch.empty(number, dtype=torch.bool).bernoulli_(0.95)
    # The first call also loads code; a small one does that.
    WAYS[way](weight[:1000], free[:1000], 10)
    start = peak_megabytes(reset=True)
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        WAYS[way](weight, free, number // DENSITY)
        seconds.append(time.process_time() - began)
    print(statistics.median(seconds), peak_megabytes() - start)


def table(number: int, ways: list[str], repeats: int) -> None:
    print(f"\n{number // DENSITY:,} of {number:,} positions")
    print(f"{'':34} {'seconds':>8} {'ratio':>7} {'MB':>7}")
    ours = float("nan")
    for way in ways:
        command = [sys.executable, __file__, "--way", way, "--number", str(number)]
        done = subprocess.run(
            [*command, "--repeats", str(repeats)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(f"{way:34} {done.stderr.strip().splitlines()[-1][:60]}")
            continue
        seconds, megabytes = map(float, done.stdout.split())
        ours = seconds if way == "pwmpr" else ours
        print(f"{way:34} {seconds:8.3f} {seconds / ours:7.1f} {megabytes:7.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, default=25_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    settings = parser.parse_args()
    if settings.way:
        measure(settings.way, settings.number, settings.repeats)
        return
    table(settings.number, list(WAYS), settings.repeats)
    own = [way for way in WAYS if way.startswith("pwmpr")]
    table(8 * settings.number, list(WAYS) if settings.large else own, 1)


if __name__ == "__main__":
    main()
