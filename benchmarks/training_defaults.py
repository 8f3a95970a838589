"""What each of the training defaults is worth: allocator, memory layout, bfloat16 autocast.

Every way is timed in a process of its own, since the allocator's thresholds cannot be lowered
again; the processes take turns, and the best of the rounds counts. Printed are milliseconds of
processor time a training step (batch 128, SGD with momentum, one thread) and the ratio to PyTorch's
defaults.

    python benchmarks/training_defaults.py
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time

import torch
from torch import nn

from pwmpr.models import build
from pwmpr.training.machine import keep_freed_memory

WAYS = {
    "PyTorch's defaults": (),
    "allocator thresholds": ("allocator",),
    "and channels-last": ("allocator", "channels_last"),
    "and bf16 autocast (all defaults)": ("allocator", "channels_last", "bf16"),
}
MODELS = {"resnet20": (3, 32, 32), "resnet32": (3, 32, 32), "mlp-3072-1024-512-10": (3, 32, 32)}
ROUNDS, STEPS = 2, 8


def step_seconds(name: str, used: tuple[str, ...]) -> float:
    """Return the median processor time of a training step."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if "allocator" in used:
        keep_freed_memory()
    model, x = build(name), torch.randn(128, *MODELS[name])
    if "channels_last" in used and any(isinstance(m, nn.Conv2d) for m in model.modules()):
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (128,))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    autocast = torch.autocast("cpu", torch.bfloat16) if "bf16" in used else None
    times = []
    for step in range(STEPS + 2):
        began = time.process_time()
        optimizer.zero_grad()
        with autocast or contextlib.nullcontext():
            loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if step >= 2:
            times.append(time.process_time() - began)
    return statistics.median(times)


def main() -> None:
    for name in MODELS:
        best = dict.fromkeys(WAYS, float("inf"))
        for _ in range(ROUNDS):
            for way, used in WAYS.items():
                command = [sys.executable, __file__, name, *used]
                printed = subprocess.run(command, check=True, capture_output=True, text=True)
                best[way] = min(best[way], float(printed.stdout))
        plain = best["PyTorch's defaults"]
        print(f"\n{name}\n\n| way | ms a step | ratio |\n|---|---|---|")
        for way, seconds in best.items():
            print(f"| {way} | {seconds * 1000:.1f} | {seconds / plain:.2f} |")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(step_seconds(sys.argv[1], tuple(sys.argv[2:])))
    else:
        main()
