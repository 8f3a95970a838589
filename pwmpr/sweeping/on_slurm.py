"""How a sweep runs under SLURM: an array of jobs by submitit, each of which can be requeued."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pwmpr.sweeping.outcome import Outcome
from pwmpr.sweeping.plan import Task
from pwmpr.sweeping.work import carry_out
from topograph.errors import TopographError

#: Seconds between two looks at the jobs.
POLL = 2.0


class Job:
    """What a job does; `submitit` calls ``checkpoint`` when its time is up, and requeues."""

    def __call__(self, task: Task) -> Outcome:
        """Carry out a run, or go on with it."""
        return carry_out(task, threads=None)

    def checkpoint(self, task: Task) -> Any:
        """Return the same job: the run's own checkpoint says where it goes on."""
        import submitit

        return submitit.helpers.DelayedSubmission(Job(), task)


def run_on_slurm(
    tasks: Sequence[Task],
    workers: int,
    folder: Path,
    cluster: str | None = None,
    **parameters: Any,
) -> Iterator[tuple[int, Outcome]]:
    """Submit one job a run and yield (position, outcome) as they end.

    Parameters
    ----------
    tasks
        The runs; their folders must be visible to the nodes.
    workers
        Jobs at a time.
    folder
        For submitit's logs.
    cluster
        None finds SLURM; ``"local"`` runs the jobs on this machine.
    parameters
        Of ``submitit.AutoExecutor.update_parameters``: ``timeout_min``, ``slurm_partition``,
        ``gpus_per_node``, ``cpus_per_task``, ``mem_gb``, …

    Raises
    ------
    TopographError
        If submitit is missing, there is no SLURM here, or a parameter is unknown.
    """
    try:
        import submitit
    except ImportError:
        raise TopographError(
            'engine="slurm" needs submitit, which is not installed',
            "pip install 'topograph[slurm]'",
        ) from None
    try:
        executor = submitit.AutoExecutor(folder=folder / "%j", cluster=cluster)
        settings = {"timeout_min": 24 * 60, "name": "pwmpr", **parameters}
        if executor.cluster == "slurm":
            settings.setdefault("slurm_array_parallelism", workers)
        executor.update_parameters(**settings)
    except (RuntimeError, ValueError, TypeError, NameError) as error:
        raise TopographError(
            f"the sweep cannot be submitted ({error})",
            'run where sbatch is, or pass engine="local"; parameters are those of submitit',
        ) from None
    if executor.cluster == "slurm":
        jobs = executor.map_array(Job(), list(tasks))
        yield from _collect(dict(enumerate(jobs)), tasks)
        return
    # The local executor starts all jobs at once, so they are handed to it a few at a time.
    running: dict[int, Any] = {}
    for position, task in enumerate(tasks):
        while len(running) >= workers:
            yield from _ended(running, tasks)
        running[position] = executor.submit(Job(), task)
    yield from _collect(running, tasks)


def _collect(jobs: dict[int, Any], tasks: Sequence[Task]) -> Iterator[tuple[int, Outcome]]:
    while jobs:
        yield from _ended(jobs, tasks)


def _ended(jobs: dict[int, Any], tasks: Sequence[Task]) -> Iterator[tuple[int, Outcome]]:
    """Yield what has ended, and take it out of ``jobs``; wait a little if nothing has."""
    ended = [position for position, job in jobs.items() if job.done()]
    for position in ended:
        job = jobs.pop(position)
        try:
            outcome: Outcome = job.result()
        except Exception as error:  # whatever the job died of
            words = " ".join(str(error).split())[-300:]
            outcome = Outcome(tasks[position].folder, "failed", f"its job was lost: {words}")
        yield position, outcome
    if not ended:
        time.sleep(POLL)
