"""The public way to carry out many runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from pwmpr.sweeping.outcome import Outcome, Sweep
from pwmpr.sweeping.plan import Task, plan, read_plan
from pwmpr.sweeping.work import is_finished
from topograph.check import check_choice, check_integer
from topograph.errors import TopographError

ENGINES = ("local", "slurm", "ray")


def sweep(
    runs: str | Path | Iterable[Mapping[str, Any]],
    engine: str = "local",
    workers: int | None = None,
    *,
    out: str | Path = "runs",
    progress: bool | None = None,
    **options: Any,
) -> Sweep:
    """Carry out many runs, several at a time, each only once.

    Every run has a folder named by its settings. A run that is finished is kept, one that was
    stopped goes on, one that another process is writing is left to it: a sweep can be stopped and
    called again, and several machines can work off one plan on a shared disk.

    Parameters
    ----------
    runs
        Mappings with a ``recipe`` and any settings of `pwmpr.run` (see `pwmpr.sweeping.grid`), or
        the path of a plan file (see `pwmpr.sweeping.read_plan`).
    engine
        ``"local"``: processes on this machine, one thread and, where there are any, one card each.
        ``"slurm"``: jobs by submitit (extra ``[slurm]``). ``"ray"``: tasks on a Ray cluster
        (extra ``[ray]``).
    workers
        Runs at a time; by default as many as this machine has cores (SLURM: 64).
    out
        The folder that the runs' folders lie in; a plan file names its own.
    progress
        Whether to show a progress bar; by default on a terminal and in a notebook.
    options
        Of the engine. SLURM: ``cluster="local"`` for jobs on this machine, and submitit's
        parameters (``timeout_min``, ``slurm_partition``, ``gpus_per_node``, …). Ray: ``gpus`` and
        ``cpus`` that a run takes, parts of a card too, and ``address``.

    Returns
    -------
    Sweep
        ``.frame`` (a row a run), ``.folders``, ``.results()``, ``.failed``. A run that fails ends
        no other.

    Raises
    ------
    TopographError
        For a plan that cannot be carried out (before anything starts), or an engine that is not
        there.

    Examples
    --------
    >>> import tempfile
    >>> runs = [{"recipe": "digits", "method": "static", "density": 0.1, "epochs": 1, "seed": 0}]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = sweep(runs, workers=1, out=folder)
    ...     [(o.status, o.error) for o in found.outcomes]
    [('done', '')]
    """
    check_choice(engine, "engine", ENGINES)
    tasks = read_plan(runs) if isinstance(runs, str | Path) else plan(runs, out)
    if workers is None:
        workers = 64 if engine == "slurm" else len(os.sched_getaffinity(0))
    check_integer(workers, "workers", least=1)
    found: dict[int, Outcome] = {
        position: Outcome(task.folder, "kept")
        for position, task in enumerate(tasks)
        if is_finished(task.folder)
    }
    waiting = [position for position in range(len(tasks)) if position not in found]
    bar = tqdm(
        total=len(tasks), initial=len(found), unit=" runs", desc="sweep",
        disable=None if progress is None else not progress,
    )  # fmt: skip
    try:
        if waiting:
            chosen = [tasks[position] for position in waiting]
            for place, outcome in _engine(engine, chosen, min(workers, len(chosen)), options):
                found[waiting[place]] = outcome
                bar.update()
                if not outcome.finished and not bar.disable:
                    said = f"{outcome.folder}: {outcome.status}: {outcome.error}"
                    bar.write(said, file=sys.stderr)
    finally:
        bar.close()
    return Sweep(tuple(found[position] for position in range(len(tasks))))


def _engine(
    engine: str, tasks: Sequence[Task], workers: int, options: dict[str, Any]
) -> Iterator[tuple[int, Outcome]]:
    if engine == "local":
        if options:
            raise TopographError(
                f"engine='local' takes no {', '.join(options)}; expected workers alone",
                "leave it out, or name another engine",
            )
        from pwmpr.sweeping.on_workers import run_on_workers

        return run_on_workers(tasks, workers)
    if engine == "slurm":
        from pwmpr.sweeping.on_slurm import run_on_slurm

        folder = tasks[0].folder.parent / "slurm"
        return run_on_slurm(tasks, workers, folder, **options)
    from pwmpr.sweeping.on_ray import run_on_ray

    try:
        return run_on_ray(tasks, workers, **options)
    except TypeError as error:
        raise TopographError(
            f"engine='ray' does not take these options ({error})", "it takes gpus, cpus, address"
        ) from None
