"""How long it takes to an accuracy on Fashion-MNIST: dense, against grown from 1% of the weights.

One network, one optimiser, a constant rate; the dense one trains epoch after epoch, the grown one
grows by a quarter after every epoch (rule pwmpr). Printed are processor seconds of the whole run
(training, growth, evaluation, checkpoints) until the validation accuracy first reaches each target,
the median over seeds, in one thread. Runs of one seed follow each other, so that a busier machine
meets all of them.

    python benchmarks/time_to_accuracy.py --data-dir data/fashion_mnist
    python benchmarks/time_to_accuracy.py --data-dir … --seeds 1 --epochs 3
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import pwmpr

MODEL = "mlp-784-1024-1024-10"
TARGETS = (0.80, 0.82, 0.84, 0.85, 0.86, 0.87, 0.88)
GROWN: dict[str, Any] = {"method": "pwmpr", "start_density": 0.01, "rough_epochs": 1}
WAYS: dict[str, dict[str, Any]] = {
    "dense": {"method": "dense"},
    "grown from 1%, masked": GROWN,
    "grown from 1%, sparse layers (auto)": GROWN | {"kernels": "auto"},
}


class Clock:
    """Cross-entropy that notes the processor time of every training step."""

    def __init__(self) -> None:
        self.began = time.process_time()
        self.seconds: list[float] = []

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.seconds.append(time.process_time() - self.began)
        return F.cross_entropy(output, target)


def seconds_to(way: str, seed: int, settings: argparse.Namespace) -> tuple[list[float], Any]:
    """Return the processor seconds until each target (inf if it is never met), and the run."""
    clock = Clock()
    grows = way != "dense"
    with tempfile.TemporaryDirectory() as folder:
        result = pwmpr.run(
            "fashion-mnist-mlp",
            model=MODEL,
            data_dir=settings.data_dir,
            loss=clock,
            out=Path(folder) / "run",
            seed=seed,
            lr=0.05,
            schedule="constant",
            threads=1,
            precision=settings.precision,
            progress=False,
            epochs=settings.epochs,
            **WAYS[way],
            **({"density": 0.01 * 1.25**settings.growths, "extensive": False} if grows else {}),
        )
        history = result.history
    clock.seconds.append(time.process_time() - clock.began)  # the end of the last epoch
    found = []
    for target in TARGETS:
        met = history[history["val_accuracy"] >= target]
        # The step after the one that ended the epoch began when its evaluation had ended.
        found.append(clock.seconds[int(met["step"].iloc[0])] if len(met) else float("inf"))
    return found, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="folder of the IDX files")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10, help="of dense training")
    parser.add_argument("--growths", type=int, default=12, help="steps of a quarter, from 1%%")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--leave-out", nargs="*", default=[], choices=[*WAYS][1:])
    settings = parser.parse_args()
    ways = [way for way in WAYS if way not in settings.leave_out]
    times: dict[str, list[list[float]]] = {way: [] for way in ways}
    for seed in range(settings.seeds):
        for way in ways:
            found, result = seconds_to(way, seed, settings)
            times[way].append(found)
            last = result.history.iloc[-1]
            print(
                f"seed {seed}, {way}: {last['val_accuracy']:.2%} at density {last['density']:.3g}, "
                f"{last['epoch']:.0f} epochs, cost {result.cost:.3f}; {result.summary['kernels']}",
                flush=True,
            )
    medians = {
        way: [statistics.median(run[k] for run in runs) for k in range(len(TARGETS))]
        for way, runs in times.items()
    }
    print(f"\n{MODEL}, {settings.precision}: processor seconds to a validation accuracy\n")
    print(f"| way | {' | '.join(f'{target:.0%}' for target in TARGETS)} |")
    print("|---|" + "---|" * len(TARGETS))
    for way, found in medians.items():
        cells = [
            "-"
            if seconds == float("inf")
            else f"{seconds:.1f}"
            if base == float("inf")
            else f"{seconds:.1f} ({seconds / base:.2f})"
            for seconds, base in zip(found, medians["dense"], strict=True)
        ]
        print(f"| {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
