"""What became of the runs of a sweep."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pwmpr.folder import RunFolder
from pwmpr.result import RunResult

if TYPE_CHECKING:
    import pandas as pd

#: Settings that say where a run was trained and not what.
_WHERE = ("data_dir", "device", "threads")


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    Attributes
    ----------
    folder
        Where it lies.
    status
        ``"done"``; ``"kept"`` (it was finished before); ``"failed"``; ``"busy"`` (another process
        is writing it).
    error
        Why it failed; empty otherwise.
    attempts
        How often it was begun: more than once where a worker was lost.
    """

    folder: Path
    status: str
    error: str = ""
    attempts: int = 1

    @property
    def finished(self) -> bool:
        """Whether there is a result."""
        return self.status in ("done", "kept")


@dataclass(frozen=True)
class Sweep:
    """The outcomes of many runs, in the order of the plan.

    Attributes
    ----------
    outcomes
        One a run.
    """

    outcomes: tuple[Outcome, ...]

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def folders(self) -> list[Path]:
        """The folders of the finished runs."""
        return [outcome.folder for outcome in self.outcomes if outcome.finished]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The outcomes without a result."""
        return tuple(outcome for outcome in self.outcomes if not outcome.finished)

    def results(self) -> list[RunResult]:
        """Return the results of the finished runs, without their networks."""
        return [RunResult.load(folder, weights=False) for folder in self.folders]

    @property
    def frame(self) -> pd.DataFrame:
        """A row a run.

        ``folder``, ``status``, ``error``, ``attempts``; ``recipe``, ``method``, ``seed`` and every
        setting in which the finished runs differ (``set_density`` is the density that was asked
        for, as setting and result have one name); ``density``, ``count``, ``accuracy``,
        ``accuracy_on``, ``cost``, ``epochs``, ``seconds`` of the finished ones.
        """
        import pandas as pd

        rows = []
        settings = []
        for outcome in self.outcomes:
            row = asdict(outcome) | {"folder": str(outcome.folder)}
            held = {}
            if outcome.finished:
                opened = RunFolder.open(outcome.folder)
                held = opened.settings()["settings"]
                result = opened.result()
                for name in ("density", "count", "accuracy", "accuracy_on", "cost", "epochs"):
                    row[name] = result[name]
                row["seconds"] = sum(result["seconds"].values())
            rows.append(row)
            settings.append(held)
        names = dict.fromkeys(name for held in settings for name in held)
        chosen = ["recipe", "method", "seed"]
        finished = [held for held in settings if held]
        for name in names:
            values = {repr(held.get(name)) for held in finished}
            if len(values) > 1 and name not in (*chosen, *_WHERE):
                chosen.append(name)
        frame = pd.DataFrame(rows)
        for place, name in enumerate(chosen):
            column = f"set_{name}" if name in frame else name
            frame.insert(1 + place, column, [held.get(name) for held in settings])
        return frame

    def __str__(self) -> str:
        done = sum(outcome.finished for outcome in self.outcomes)
        lines = [f"{done} of {len(self)} runs finished"]
        lines += [f"{o.folder}: {o.status}: {o.error}" for o in self.failed]
        return "\n".join(lines)
