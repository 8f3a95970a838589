"""How long ``pwmpr.run("digits")`` takes, and what it finds, beside dense and static training.

Each method runs with the recipe's settings and seeds 0, 1, 2; printed are seconds, final density,
test accuracy and nominal cost. Then the growth curve of one PWMPR run.

    python benchmarks/run_digits.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import pwmpr

SEEDS = (0, 1, 2)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pwmpr.run("digits", method="dense", epochs=1, out=Path(folder) / "warm-up", progress=False)
        print(f"{'method':<14}{'seconds':>9}{'density':>10}{'accuracy':>10}{'cost':>7}")
        found: dict[str, pwmpr.RunResult] = {}
        for method in ("pwmpr", "pwmp", "gradient", "random", "static", "dense"):
            results, seconds = [], []
            for seed in SEEDS:
                options = {}
                if method == "static":
                    options = {"start": "erk", "density": found["pwmpr"].density}
                begin = time.perf_counter()
                results.append(
                    pwmpr.run(
                        "digits", method=method, seed=seed, progress=False,
                        out=Path(folder) / f"{method}-{seed}", **options,
                    )
                )  # fmt: skip
                seconds.append(time.perf_counter() - begin)
            found[method] = results[0]
            density, accuracy, cost = (
                statistics.mean(getattr(result, name) for result in results)
                for name in ("density", "accuracy", "cost")
            )
            label = "static (ERK)" if method == "static" else method
            print(
                f"{label:<14}{statistics.mean(seconds):>9.2f}{density:>10.3f}{accuracy:>10.2%}"
                f"{cost:>7.2f}"
            )
        print("\ngrowth of PWMPR, seed 0:")
        print(found["pwmpr"].curve.to_string(index=False, float_format=lambda v: f"{v:.4g}"))
        print(found["pwmpr"].stopping)


if __name__ == "__main__":
    main()
