"""How one run of a sweep is brought to its end, whatever state it is in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pwmpr.folder import RunFolder
from pwmpr.sweeping.outcome import Outcome
from pwmpr.sweeping.plan import Task
from topograph.errors import TopographError

BUSY = "is being written by another process"


def is_finished(folder: Path) -> bool:
    """Whether a folder holds a finished run."""
    return (folder / "result.json").is_file()


def carry_out(task: Task, threads: int | None = 1, **overrides: Any) -> Outcome:
    """Start a run, go on with it, or leave it as it is; never raises for what is wrong with it.

    Parameters
    ----------
    task
        The run.
    threads
        CPU threads, where the plan says nothing.
    overrides
        Settings that say where it is trained (``device``), where the plan says nothing.
    """
    from pwmpr.running import resume, run

    folder = task.folder
    if is_finished(folder):
        return Outcome(folder, "kept")
    try:
        if (folder / "settings.json").is_file():
            opened = RunFolder.open(folder)
            if opened.finished:  # since we looked
                return Outcome(folder, "kept")
            resume(folder, progress=False)
        else:
            here = {"threads": threads, **overrides}
            settings = {**{k: v for k, v in here.items() if v is not None}, **task.settings}
            run(task.recipe, out=folder, progress=False, **settings)
    except TopographError as error:
        if BUSY in error.problem:
            return Outcome(folder, "busy", error.problem)
        return Outcome(folder, "failed", str(error))
    except MemoryError as error:
        return Outcome(folder, "failed", f"out of memory ({error})")
    except Exception as error:  # a model or data set of the user's own may raise anything
        return Outcome(folder, "failed", f"{type(error).__name__}: {error}")
    return Outcome(folder, "done")
