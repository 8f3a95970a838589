"""How a sweep runs on one machine: worker processes that are started anew, one thread each.

A worker that is lost (killed, out of memory) takes one run down with it, which another worker goes
on with from its checkpoint. Each worker has one card where there are any.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, cast

from pwmpr.sweeping.outcome import Outcome
from pwmpr.sweeping.plan import Task
from pwmpr.sweeping.work import carry_out

#: How often a run is begun again when its worker was lost.
RETRIES = 2


def run_on_workers(tasks: Sequence[Task], workers: int) -> Iterator[tuple[int, Outcome]]:
    """Carry out tasks and yield (position, outcome) as they end.

    Parameters
    ----------
    tasks
        The runs.
    workers
        Processes at a time.
    """
    crew = _Crew(workers)
    try:
        yield from crew.work_off(tasks)
    finally:
        crew.dismiss()


class _Crew:
    """Worker processes with the connections through which they get tasks."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.context = multiprocessing.get_context("spawn")
        self.cards = _cards()
        self.processes: dict[Connection, Any] = {}
        self.places: dict[Connection, int] = {}
        self.busy: dict[Connection, int] = {}

    def work_off(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Outcome]]:
        waiting = deque(range(len(tasks)))
        attempts = [0] * len(tasks)
        while waiting or self.busy:
            while waiting and len(self.busy) < self.size:
                worker = self._free_worker()
                position = waiting.popleft()
                attempts[position] += 1
                self.busy[worker] = position
                with contextlib.suppress(OSError):  # it died meanwhile, which its end reports below
                    worker.send(tasks[position])
            for ready in wait(list(self.busy)):
                worker = cast(Connection, ready)
                position = self.busy.pop(worker)
                try:
                    outcome: Outcome = worker.recv()
                except (EOFError, OSError):
                    code = self._bury(worker)
                    if attempts[position] <= RETRIES:
                        waiting.appendleft(position)
                        continue
                    outcome = Outcome(
                        tasks[position].folder,
                        "failed",
                        f"its worker was lost {attempts[position]} times (exit code {code})",
                    )
                yield (
                    position,
                    Outcome(outcome.folder, outcome.status, outcome.error, attempts[position]),
                )

    def _free_worker(self) -> Connection:
        for worker in self.processes:
            if worker not in self.busy:
                return worker
        ours, theirs = self.context.Pipe()
        place = min(set(range(self.size)) - set(self.places.values()))
        card = self.cards[place % len(self.cards)] if self.cards else None
        process = self.context.Process(target=_serve, args=(theirs, card), daemon=True)
        with _environment(OMP_NUM_THREADS="1"):
            process.start()
        theirs.close()
        self.processes[ours], self.places[ours] = process, place
        return ours

    def _bury(self, worker: Connection) -> int | None:
        process = self.processes.pop(worker)
        del self.places[worker]
        worker.close()
        process.join(timeout=10)
        code: int | None = process.exitcode
        return code

    def dismiss(self) -> None:
        """End all workers; a run that is under way writes a checkpoint first."""
        for worker, process in self.processes.items():
            if worker in self.busy:
                process.terminate()
                continue
            # Whoever is idle leaves by itself: what is killed leaves semaphores behind, and Python
            # warns of them on the terminal.
            with contextlib.suppress(OSError):
                worker.send(None)
        for worker in list(self.processes):
            process = self.processes[worker]
            process.join(timeout=30)
            if process.is_alive():
                process.kill()
            self._bury(worker)
        self.busy.clear()


def _serve(connection: Connection, card: str | None) -> None:
    """Carry out tasks until None comes or the connection closes (in a worker process)."""
    if card is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = card
    while True:
        try:
            task = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        if task is None:
            return
        outcome = carry_out(task)
        try:
            connection.send(outcome)
        except OSError:  # whoever asked is gone; the run is finished all the same
            return


def _cards() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [card for card in visible.split(",") if card.strip()]
    import torch

    return [str(card) for card in range(torch.cuda.device_count())]


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables while a process is started, which inherits them."""
    missing = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)
