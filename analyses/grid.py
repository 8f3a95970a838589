"""How the runs behind a figure are trained: one folder a run, several at a time, each only once."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from tqdm.auto import tqdm

#: Settings that say where a run is trained and not what comes out.
_WHERE = ("data_dir", "device")


@dataclass(frozen=True)
class Run:
    """One run of a grid: its folder and what it is run with."""

    folder: Path
    recipe: str
    method: str
    seed: int
    settings: Mapping[str, object] = field(default_factory=dict)


def grid(
    recipe: str, methods: Sequence[str], seeds: Sequence[int], out: Path, **settings: object
) -> list[Run]:
    """List one run a method and seed, in folders named by what decides their results."""
    decisive = {name: value for name, value in settings.items() if name not in _WHERE}
    text = json.dumps(decisive, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return [
        Run(out / f"{recipe}-{method}-seed{seed}-{digest}", recipe, method, seed, settings)
        for method, seed in itertools.product(methods, seeds)
    ]


def train(runs: Sequence[Run], workers: int) -> list[Path]:
    """Train what is not trained yet and return the folders, in the order of ``runs``.

    A run that was stopped half-way is resumed, a finished one is kept, so a grid can be stopped
    and called again.
    """
    waiting = [run for run in runs if not (run.folder / "result.json").exists()]
    if waiting:
        # One thread a run: two runs of one thread beat one run of two.
        context = multiprocessing.get_context("spawn")
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        with ProcessPoolExecutor(min(workers, len(waiting)), context) as pool:
            jobs = [pool.submit(_train, run) for run in waiting]
            for job in tqdm(as_completed(jobs), total=len(jobs), desc="training", unit="run"):
                job.result()
    return [run.folder for run in runs]


def _train(run: Run) -> None:
    import pwmpr

    if (run.folder / "settings.json").exists():
        pwmpr.resume(run.folder)
        return
    pwmpr.run(
        run.recipe,
        method=run.method,
        seed=run.seed,
        out=run.folder,
        **{"threads": 1, **run.settings},
    )


def finished(folder: Path) -> list[Path]:
    """Return the folders of finished runs in ``folder``, in the order of their names."""
    found = sorted(path.parent for path in folder.glob("*/result.json"))
    if not found:
        raise SystemExit(
            f"{folder} holds no finished run; expected folders with a result.json. "
            "Remedy: pass the folder that holds the run folders."
        )
    return found
