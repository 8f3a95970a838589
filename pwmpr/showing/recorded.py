"""What a run's folder says of it, finished or not; nothing is written and no weights are read."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pwmpr.folder import RunFolder
from pwmpr.method import METHODS
from pwmpr.plateau import Plateau, fit_plateau
from topograph.errors import TopographError

#: What a row of the history needs to be shown.
_NEEDED = ("phase", "cycle", "epoch", "step", "density", "flops", "seconds")


@dataclass(frozen=True)
class Stage:
    """A stretch of training between two decisions of the method.

    What choosing its weights took, in FLOPs and seconds, counts with the stage that they begin.

    Attributes
    ----------
    phase, cycle
        As in the history: ``"rough"`` or ``"extensive"``; changes of the masks so far.
    begin, end
        Epochs of the run before it and at its end.
    steps
        Optimiser steps.
    density_from, density_to
        Density in its first and its last epoch.
    accuracy, loss
        On the validation data at its end; NaN where there is none.
    flops, seconds
        Spent in it.
    over
        False for the last stage of a run that is not finished.
    """

    phase: str
    cycle: int
    begin: int
    end: int
    steps: int
    density_from: float
    density_to: float
    accuracy: float
    loss: float
    flops: float
    seconds: float
    over: bool

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return self.end - self.begin


@dataclass(frozen=True)
class Phase:
    """All stages of one phase that follow one another, added up.

    Attributes
    ----------
    name
        ``"rough"``, ``"extensive"``.
    stages
        How many.
    begin, end, steps, density_from, density_to, flops, seconds
        As in `Stage`.
    """

    name: str
    stages: int
    begin: int
    end: int
    steps: int
    density_from: float
    density_to: float
    flops: float
    seconds: float

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return self.end - self.begin


@dataclass(frozen=True)
class Recorded:
    """A run as its folder tells it.

    Attributes
    ----------
    path
        The folder.
    settings
        All settings.
    history
        The rows of metrics.jsonl.
    result
        The content of result.json; None for a run that is not finished.
    written
        Seconds since the folder was last written to, for an unfinished run with a history.
    """

    path: Path
    settings: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]
    result: Mapping[str, Any] | None = None
    written: float | None = None

    @classmethod
    def read(cls, path: str | Path) -> Recorded:
        """Read a run's folder, which another process may be writing.

        Raises
        ------
        TopographError
            If it is no run's folder, or a file in it is damaged.
        """
        folder = RunFolder.open(path)
        # The result first: a run that ends meanwhile is shown as unfinished, and never torn.
        result = folder.result() if folder.finished else None
        described = folder.settings()
        settings = described.get("settings")
        if not isinstance(settings, dict) or not {"recipe", "method", "seed"} <= set(settings):
            raise TopographError(
                f"{folder.path / 'settings.json'} names no recipe, method and seed; expected the "
                "settings of a run",
                "restore the file, or start the run again",
            )
        history = folder.history()
        for number, row in enumerate(history, start=1):
            missing = [name for name in _NEEDED if name not in row]
            if missing:
                raise TopographError(
                    f"line {number} of {folder.path / 'metrics.jsonl'} has no {missing[0]!r}; "
                    "expected a row of a run's history",
                    "restore the file; in an unfinished run, pwmpr resume writes it anew",
                )
        if result is not None and len(history) != result.get("epochs"):
            raise TopographError(
                f"{folder.path / 'metrics.jsonl'} has {len(history)} whole lines; expected "
                f"{result.get('epochs')}, one an epoch",
                "restore the file, or start the run again",
            )
        metrics = folder.path / "metrics.jsonl"
        written = None
        if result is None and history:
            written = max(0.0, time.time() - metrics.stat().st_mtime)
        return cls(folder.path, settings, tuple(history), result, written)

    @property
    def finished(self) -> bool:
        """Whether there is a result."""
        return self.result is not None

    @property
    def measure(self) -> str:
        """The column that tells how good the network is: accuracy, or loss where there is none."""
        finite = any(math.isfinite(number(row.get("val_accuracy"))) for row in self.history)
        return "val_accuracy" if finite or not self.history else "val_loss"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages so far."""
        found: list[Stage] = []
        before: Mapping[str, Any] = {"epoch": 0, "step": 0, "flops": 0, "seconds": 0.0}
        for _, group in groupby(self.history, key=lambda row: (row["phase"], row["cycle"])):
            rows = list(group)
            first, last = rows[0], rows[-1]
            found.append(
                Stage(
                    phase=last["phase"],
                    cycle=last["cycle"],
                    begin=before["epoch"],
                    end=last["epoch"],
                    steps=last["step"] - before["step"],
                    density_from=first["density"],
                    density_to=last["density"],
                    accuracy=number(last.get("val_accuracy")),
                    loss=number(last.get("val_loss")),
                    flops=last["flops"] - before["flops"],
                    seconds=last["seconds"] - before["seconds"],
                    over=self.finished or last is not self.history[-1],
                )
            )
            before = last
        return tuple(found)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases so far, in the order in which they came."""
        found = []
        for name, group in groupby(self.stages, key=lambda stage: stage.phase):
            stages = list(group)
            found.append(
                Phase(
                    name=name,
                    stages=len(stages),
                    begin=stages[0].begin,
                    end=stages[-1].end,
                    steps=sum(stage.steps for stage in stages),
                    density_from=stages[0].density_from,
                    density_to=stages[-1].density_to,
                    flops=sum(stage.flops for stage in stages),
                    seconds=sum(stage.seconds for stage in stages),
                )
            )
        return tuple(found)

    @property
    def grows(self) -> bool:
        """Whether the method grows and looks for a plateau."""
        if self.result is not None:
            return self.result.get("stopping") is not None
        method = METHODS.get(str(self.settings["method"]))
        return any(row["phase"] == "rough" for row in self.history) and (
            method is None or method.strategy == "grow"
        )

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """Density and accuracy at the end of every rough training that is over."""
        return tuple(
            (stage.density_to, stage.accuracy)
            for stage in self.stages
            if stage.phase == "rough" and stage.over
        )

    @property
    def stopping(self) -> Plateau | None:
        """The plateau fit: the result's, or that to the points so far."""
        if not self.grows:
            return None
        if self.result is not None:
            held = dict(self.result["stopping"])
            for name in ("onset", "p0", "gain", "beta", "r2"):
                held[name] = number(held[name])
            return Plateau(**held)
        points = self.points
        if not points or not all(math.isfinite(accuracy) for _, accuracy in points):
            return None
        densities, accuracies = zip(*points, strict=True)
        reference = self.settings.get("plateau_reference", "asymptote")
        return fit_plateau(densities, accuracies, reference=reference)

    @property
    def dense_flops(self) -> float | None:
        """FLOPs of the dense network's full training, which cost is measured in."""
        return None if self.result is None else float(self.result["dense_flops"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: those of result.json and what is computed from the rows."""
        last = self.history[-1] if self.history else None
        stopping = self.stopping
        values: dict[str, Any] = {
            "folder": str(self.path),
            "finished": self.finished,
            **(self.result or {}),
            "settings": dict(self.settings),
            "phases": [asdict(phase) | {"epochs": phase.epochs} for phase in self.phases],
            "stages": [asdict(stage) | {"epochs": stage.epochs} for stage in self.stages],
        }
        if self.result is None:
            values |= {"last": None if last is None else dict(last)}
            values |= {"stopping": None if stopping is None else asdict(stopping)}
        return {name: _plain(value) for name, value in values.items()}


def number(value: float | None) -> float:
    """Return a number as JSON holds it: None stands for NaN."""
    return math.nan if value is None else float(value)


def read_all(folders: Iterable[str | Path]) -> list[Recorded]:
    """Read runs; a folder of runs, such as a sweep's, stands for those in it, by name.

    Raises
    ------
    TopographError
        If a folder is neither, or a file is damaged.
    """
    found: dict[Path, Recorded] = {}
    for given in folders:
        path = Path(given).expanduser()
        inside = [path]
        if path.is_dir() and not (path / "settings.json").is_file():
            inside = sorted(place.parent for place in path.glob("*/settings.json"))
            if not inside:
                raise TopographError(
                    f"{path} holds no settings.json, and no folder in it does; expected the folder "
                    "of a run, or a folder of such folders",
                    "pass the folder that pwmpr.run(out=…) or a sweep wrote",
                )
        for place in inside:
            found.setdefault(place.resolve(), Recorded.read(place))
    return list(found.values())


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _plain(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(held) for held in value]
    return value
