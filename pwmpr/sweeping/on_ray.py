"""How a sweep runs on a Ray cluster: a task a run, retried where its worker was lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pwmpr.sweeping.outcome import Outcome
from pwmpr.sweeping.plan import Task
from pwmpr.sweeping.work import carry_out
from topograph.errors import TopographError

#: How often Ray begins a run again when its worker was lost.
RETRIES = 3


def run_on_ray(
    tasks: Sequence[Task],
    workers: int,
    gpus: float = 0,
    cpus: float = 1,
    address: str | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Carry out tasks on a Ray cluster and yield (position, outcome) as they end.

    Parameters
    ----------
    tasks
        The runs; their folders must be visible to all nodes.
    workers
        Tasks at a time.
    gpus, cpus
        What a run takes; ``gpus=0.25`` lets four share a card.
    address
        Of a cluster; None joins the one that this process is in, or starts one here.

    Raises
    ------
    TopographError
        If ray is missing, or the cluster cannot be joined or lacks what a run takes.
    """
    try:
        import ray
    except ImportError:
        raise TopographError(
            'engine="ray" needs ray, which is not installed', "pip install 'topograph[ray]'"
        ) from None
    started = not ray.is_initialized()
    if started:
        _join(ray, address, workers)
    try:
        offered = ray.cluster_resources()
        for kind, wanted in (("CPU", cpus), ("GPU", gpus)):
            if wanted > offered.get(kind, 0):
                raise TopographError(
                    f"a run takes {wanted} {kind}, and the cluster has {offered.get(kind, 0):g}",
                    f"ask for less ({kind.lower()}s=…), or join another cluster (address=…)",
                )
        work = ray.remote(
            num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False
        )(carry_out)
        running: dict[Any, int] = {}
        for position, task in enumerate(tasks):
            while len(running) >= workers:
                yield from _ended(ray, running, tasks)
            running[work.remote(task)] = position
        while running:
            yield from _ended(ray, running, tasks)
    finally:
        if started:
            ray.shutdown()


def _join(ray: Any, address: str | None, workers: int) -> None:
    options: dict[str, Any] = {"address": address} if address else {"num_cpus": workers}
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise TopographError(
            f"the Ray cluster {address or 'on this machine'} cannot be joined ({error})",
            "check the address, or leave it out to start one here",
        ) from None


def _ended(
    ray: Any, running: dict[Any, int], tasks: Sequence[Task]
) -> Iterator[tuple[int, Outcome]]:
    ended, _ = ray.wait(list(running), num_returns=1)
    for reference in ended:
        position = running.pop(reference)
        try:
            outcome: Outcome = ray.get(reference)
        except ray.exceptions.RayError as error:
            words = " ".join(str(error).split())[:300]
            outcome = Outcome(tasks[position].folder, "failed", f"its worker was lost: {words}")
        yield position, outcome
