"""How two ways of one thing are measured in the same run: seconds, memory, agreement, growth.

Every way runs in a forked process of its own on one thread, from inputs that are there already.
Seconds are of the processor (the shortest of up to five calls), so that other load on the machine
counts little; memory is the highest resident set during the first call beyond that before it. A
small case is run first, which loads what the way imports.
"""

from __future__ import annotations

import ctypes
import importlib.util
import multiprocessing
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

# NetworKit and igraph start threads of their own otherwise.
os.environ["OMP_NUM_THREADS"] = "1"


@dataclass(frozen=True)
class Way:
    """One way to the answer."""

    name: str
    run: Callable[[Any], Any]
    #: The module that has to be installed.
    needs: str = "topograph"
    #: The size up to which it is run.
    most: float = float("inf")


@dataclass(frozen=True)
class Case:
    """One input; ``size`` is what costs are to grow with."""

    name: str
    size: float
    make: Callable[[], Any]


@dataclass(frozen=True)
class Measured:
    """Result of one way on one case, or why there is none."""

    seconds: float
    megabytes: float
    result: Any
    failure: str = ""


def compare(
    cases: Iterable[Case],
    ways: Mapping[str, Way] | Iterable[Way],
    small: Callable[[], Any],
    agreement: Callable[[Any, Any], str],
    unit: str = "edges",
) -> None:
    """Print a Markdown table of every way on every case; the first way is what ratios refer to.

    ``small`` makes a small input; ``agreement`` says of a result and that of the first way how
    they agree.
    """
    ways = list(ways.values() if isinstance(ways, Mapping) else ways)
    print(f"| input | {unit} | way | seconds | ratio | extra peak, MB | agreement |")
    print("|---|---:|---|---:|---:|---:|---|")
    points: dict[str, list[tuple[float, float]]] = {way.name: [] for way in ways}
    tiny = small()
    for case in cases:
        given = case.make()
        first = None
        for way in ways:
            start = f"| {case.name} | {case.size:,.0f} | {way.name} |"
            if case.size > way.most:
                continue
            if importlib.util.find_spec(way.needs) is None:
                print(f"{start} | | | not installed |", flush=True)
                continue
            found = measured(way.run, given, tiny)
            if found.failure:
                print(f"{start} | | | {found.failure} |", flush=True)
                continue
            first = found if first is None else first
            points[way.name].append((case.size, found.seconds))
            says = "" if found is first else agreement(found.result, first.result)
            print(
                f"{start} {found.seconds:.3g} | {ratio(found.seconds, first.seconds)} | "
                f"{found.megabytes:,.0f} | {says} |",
                flush=True,
            )
    slopes = [
        f"{name} {slope(np.array(found)):.2f} ({len(found)})"
        for name, found in points.items()
        if len(found) > 1 and found[-1][0] > 3 * found[0][0]
    ]
    if slopes:
        print(f"\nSlope of log seconds against log {unit} (inputs): {'; '.join(slopes)}.")


def ratio(one: float, other: float) -> str:
    """Return one over the other to three digits, without an exponent."""
    value = one / other
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def slope(points: np.ndarray) -> float:
    """Return the slope of the line through the logarithms; points (n, 2) of size, seconds."""
    return float(np.polyfit(np.log(points[:, 0]), np.log(points[:, 1]), 1)[0])


def measured(run: Callable[[Any], Any], given: Any, small: Any) -> Measured:
    """Run one way in a process of its own."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(there, run, given, small))
    process.start()
    there.close()
    try:
        found: Measured = here.recv()
    except EOFError:
        found = Measured(np.nan, np.nan, None, "the process was ended (memory?)")
    process.join()
    return found


def _child(answer: Connection, run: Callable[[Any], Any], given: Any, small: Any) -> None:
    warnings.simplefilter("ignore")
    try:
        run(small)
        # Without it, memory that was freed but not given back hides what the run needs.
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmRSS")
        seconds, result = _timed(run, given)
        peak = _resident("VmHWM") - before
        best, spent = seconds, seconds
        for _ in range(4):
            if spent > 2:
                break
            seconds, _again = _timed(run, given)
            best, spent = min(best, seconds), spent + seconds
        answer.send(Measured(best, peak, result))
    except Exception as error:
        traceback.print_exc()
        answer.send(Measured(np.nan, np.nan, None, f"{type(error).__name__}: {error}"[:80]))


def _timed(run: Callable[[Any], Any], given: Any) -> tuple[float, Any]:
    start = time.process_time()
    result = run(given)
    return time.process_time() - start, result


def _resident(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(field + ":")[1].split()[0]) / 1024
