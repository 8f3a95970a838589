"""How fast power-law fits and their p-values are beside igraph's C code and the powerlaw package.

The bootstrap draws 2,500 synthetic data sets and refits each in full, on one thread. igraph does
the same work; the powerlaw package has no bootstrap, so the time of one of its exact refits is
multiplied. Prints seconds, and how many times longer than topograph each takes.

    python benchmarks/power_law.py            # about a minute
    python benchmarks/power_law.py --large    # 100,000 degrees too, some minutes
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # igraph's bootstrap is only repeatable, and alike, on one

import argparse
import random
import resource
import time
import warnings
from collections.abc import Callable

import igraph
import numpy as np

from topograph.powerlaws import fit_power_law

REPLICAS = 2500


def degrees_of_the_law(alpha: float, size: int) -> np.ndarray:
    x = np.arange(1, 200_000, dtype=np.float64)
    mass = x**-alpha
    return np.random.default_rng(0).choice(x, size, p=mass / mass.sum()).astype(np.int64)


def degrees_of_an_mlp() -> np.ndarray:
    """Return hidden degrees of 3072-1024-512-10 with 5% of its weights kept at random."""
    rng = np.random.default_rng(0)
    first = rng.binomial(3072, 0.05, 1024) + rng.binomial(512, 0.05, 1024)
    return np.concatenate([first, rng.binomial(1024, 0.05, 512) + rng.binomial(10, 0.05, 512)])


def words_of_moby_dick() -> np.ndarray:
    import powerlaw

    return np.asarray(powerlaw.load_test_dataset("words")).astype(np.int64)


def seconds(call: Callable[[], object], repeats: int = 1) -> tuple[float, object]:
    """Return the shortest of some runs, and the result."""
    best, result = np.inf, None
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - start)
    return best, result


def by_igraph(degrees: list[int], replicas: int) -> igraph.FittedPowerLaw:
    random.seed(0)
    # igraph makes 0.25 / precision² replicas.
    precision = 0.5 / replicas**0.5 if replicas else 0.5
    return igraph.power_law_fit(degrees, method="auto", p_precision=precision)


def by_powerlaw(degrees: np.ndarray) -> object:
    import powerlaw

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return powerlaw.Fit(
            degrees,
            discrete=True,
            estimate_discrete=False,
            parameter_ranges={"alpha": [1.01, 200]},
            verbose=0,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="100,000 degrees too")
    large = parser.parse_args().large
    cases = {
        "power law 2.5": degrees_of_the_law(2.5, 1536),
        "power law 3.5": degrees_of_the_law(3.5, 1536),
        "MLP at 5%": degrees_of_an_mlp(),
        "Poisson 30": np.random.default_rng(0).poisson(30, 1536) + 1,
        "Moby Dick": words_of_moby_dick(),
    }
    if large:
        cases["power law 2.5 L"] = degrees_of_the_law(2.5, 100_000)
    print(
        f"{'degrees':<16}{'n':>8}{'distinct':>9}  {'engine':<10}{'fit, s':>9}{'with p, s':>11}"
        f"{'ratio':>8}  α, xmin, D, p"
    )
    fit_power_law(cases["power law 2.5"], replicas=10)  # imports done
    for name, degrees in cases.items():
        head = f"{name:<16}{len(degrees):>8,}{len(np.unique(degrees)):>9}"
        quick, _ = seconds(lambda d=degrees: fit_power_law(d, replicas=0), 3)
        ours, fit = seconds(lambda d=degrees: fit_power_law(d, replicas=REPLICAS), 2)
        print(
            f"{head}  {'topograph':<10}{quick:>9.4f}{ours:>11.3f}{1.0:>8.1f}  {fit.alpha:.5f}, "
            f"{fit.xmin}, {fit.D:.6f}, {fit.p_value:.3f}"
        )
        given = degrees.tolist()
        quick, _ = seconds(lambda d=given: by_igraph(d, 0), 3)
        theirs, found = seconds(lambda d=given: by_igraph(d, REPLICAS))
        print(
            f"{head}  {'igraph':<10}{quick:>9.4f}{theirs:>11.3f}{theirs / ours:>8.1f}  "
            f"{found.alpha:.5f}, {found.xmin:.0f}, {found.D:.6f}, {found.p:.3f}"
        )
        quick, package = seconds(lambda d=degrees: by_powerlaw(d))
        theirs = quick * (1 + REPLICAS)
        print(
            f"{head}  {'powerlaw':<10}{quick:>9.4f}{theirs:>11.3f}{theirs / ours:>8.1f}  "
            f"{package.power_law.alpha:.5f}, {package.xmin:.0f}, {package.power_law.D:.6f}, -"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"largest memory of all engines together: {peak:.0f} MB")


if __name__ == "__main__":
    main()
