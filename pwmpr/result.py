"""What came out of a run: history, density, accuracy, cost, masks and weights."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from pwmpr.folder import RunFolder
from pwmpr.masks import Masks
from pwmpr.plateau import Plateau
from pwmpr.settings import Settings
from pwmpr.sums import REMEDY
from topograph.errors import TopographError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import Tensor, nn

HISTORY_COLUMNS = (
    "phase", "cycle", "epoch", "step", "density", "train_loss", "val_accuracy", "flops",
    "seconds", "val_loss", "lr", "count", "device", "precision", "threads",
)  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """A network between two topology changes.

    Attributes
    ----------
    cycle
        Number of topology changes before it; 0 has the start masks.
    step, epoch
        Optimiser steps and epochs of the run when these masks began.
    density
        Kept weights over all in scope.
    count
        Kept weights.
    """

    cycle: int
    step: int
    epoch: int
    density: float
    count: int
    _folder: RunFolder
    _last: bool
    _digest: str

    @property
    def masks(self) -> Masks:
        """The masks, read now.

        Raises
        ------
        TopographError
            If their file holds others than the run had, or cannot be read.
        """
        masks = self._folder.masks(self.cycle)
        # SHA256SUMS is written when the run ends: it cannot tell what was damaged before.
        if masks.digest() != self._digest:
            raise TopographError(
                f"{self._folder.masks_path(self.cycle)} holds other masks than the run had; "
                "expected those whose digest is in snapshots.jsonl",
                REMEDY,
            )
        return masks

    @property
    def weights(self) -> dict[str, Tensor]:
        """The network's state when training with these masks ended, read now.

        For the masks that the run ended with and no rough training followed: the final state.

        Raises
        ------
        TopographError
            If it was not kept (``weight_snapshots=False``).
        """
        if self._last and not self._folder.weights_path(self.cycle).is_file():
            return self._folder.model_state()
        return self._folder.weights(self.cycle, self.masks)


class Snapshots(Sequence[Snapshot]):
    """The snapshots of a run; masks and weights are read when asked for.

    Parameters
    ----------
    folder
        The run's folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        rows = folder.snapshots()
        self._items = [
            Snapshot(
                row["index"], row["step"], row["epoch"], row["density"], row["count"], folder,
                number == len(rows), row["digest"],
            )
            for number, row in enumerate(rows, start=1)
        ]  # fmt: skip

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Snapshot: ...
    @overload
    def __getitem__(self, index: slice) -> list[Snapshot]: ...
    def __getitem__(self, index: int | slice) -> Snapshot | list[Snapshot]:
        return self._items[index]

    def __repr__(self) -> str:
        densities = ", ".join(f"{snapshot.density:.3g}" for snapshot in self)
        return f"Snapshots({len(self)}, densities {densities})"


@dataclass(frozen=True, eq=False)
class RunResult:
    """The outcome of a finished run.

    Attributes
    ----------
    history : pandas.DataFrame
        A row an epoch: ``phase`` ("rough", "extensive"), ``cycle`` (growth steps so far),
        ``epoch``, ``step``, ``density``, ``train_loss``, ``val_accuracy`` (0 to 1), ``flops`` and
        ``seconds`` (both since the run's beginning), then ``val_loss``, ``lr``, ``count`` (kept
        weights), and what computed it: ``device``, ``precision``, ``threads``. Accuracy is the
        network's at the end of the epoch.
    density : float
        Final density.
    accuracy : float
        Of the final weights on the test data, 0 to 1; on the validation data where there are no
        test data (``summary["accuracy_on"]`` says which).
    cost : float
        Training FLOPs over the FLOPs of the dense network's full training (nominal).
    stopping : Plateau or None
        The plateau fit; None for methods that do not grow.
    snapshots : Snapshots
        Masks and weights at every density, lazily read.
    model : nn.Module or None
        The trained network on the CPU or the run's device; None if it was loaded from a folder
        without its class.
    masks : Masks
        The final masks.
    folder : Path
        Where everything lies.
    settings : Settings
        All settings.
    summary : dict
        The plain numbers of result.json: FLOPs by kind, seconds by kind, losses, counts.
    """

    history: pd.DataFrame
    density: float
    accuracy: float
    cost: float
    stopping: Plateau | None
    snapshots: Snapshots
    model: nn.Module | None
    masks: Masks
    folder: Path
    settings: Settings
    summary: dict[str, Any]

    @classmethod
    def load(
        cls, folder: str | Path, model: nn.Module | None = None, *, weights: bool = True
    ) -> RunResult:
        """Read the outcome of a finished run from its folder.

        Parameters
        ----------
        folder
            The run's folder.
        model
            For a run with a model of one's own: such a model; it gets the trained weights.
        weights
            False leaves out the network (``model`` is None).

        Raises
        ------
        TopographError
            If it is no folder of a finished run, a file is broken, or the model does not fit.
        """
        opened = RunFolder.open(folder)
        summary = opened.result()
        described = opened.settings()
        settings = Settings.from_dict(described["settings"])
        if model is None and settings.model and weights:
            import torch

            from pwmpr.models import build

            with torch.random.fork_rng(devices=[]):
                model = build(settings.model, **described["model"]["options"])
        if model is not None:
            try:
                model.load_state_dict(opened.model_state())
            except RuntimeError as error:
                raise TopographError(
                    f"the trained weights in {opened.path} do not fit the model ({error})",
                    "pass the model that the run was started with",
                ) from None
        return cls.gather(opened, settings, summary, model)

    @classmethod
    def gather(
        cls,
        folder: RunFolder,
        settings: Settings,
        summary: dict[str, Any],
        model: nn.Module | None,
    ) -> RunResult:
        """Put a result together from a folder and a model that has the trained weights."""
        import pandas as pd

        snapshots = Snapshots(folder)
        stopping = summary["stopping"]
        history = folder.history()
        if len(history) != summary["epochs"]:
            raise TopographError(
                f"{folder.path / 'metrics.jsonl'} has {len(history)} whole lines; expected "
                f"{summary['epochs']}, one an epoch",
                "restore the file, or start the run again",
            )
        return cls(
            history=pd.DataFrame(history, columns=list(HISTORY_COLUMNS)),
            density=summary["density"],
            accuracy=_number(summary["accuracy"]),
            cost=summary["cost"],
            stopping=None if stopping is None else Plateau(**_numbers(stopping)),
            snapshots=snapshots,
            model=model,
            masks=snapshots[-1].masks,
            folder=folder.path,
            settings=settings,
            summary=summary,
        )

    @property
    def curve(self) -> pd.DataFrame:
        """The last epoch of every cycle and phase: accuracy against density."""
        ends = self.history.groupby(["phase", "cycle"], sort=False).tail(1)
        return ends[["phase", "cycle", "epoch", "density", "train_loss", "val_accuracy"]]

    def figure(self) -> Figure:
        """Draw the run: accuracy and density by epoch, the plateau, the cost by phase.

        Returns
        -------
        matplotlib.figure.Figure
            Accuracy against epoch, phases shaded, with the density below; accuracy against
            density with the plateau fit, where there is one; FLOPs and seconds by phase.
        """
        from pwmpr.showing.picture import run_figure
        from pwmpr.showing.recorded import Recorded

        rows = tuple(self.history.to_dict("records"))
        return run_figure(Recorded(self.folder, self.settings.to_dict(), rows, self.summary))

    def __repr__(self) -> str:
        return "\n".join(f"{name:<10}{value}" for name, value in self._lines())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self._lines()
        )
        table = self.curve.to_html(index=False, float_format="%.4g")
        return f"<table>{rows}</table>{table}"

    def _lines(self) -> list[tuple[str, str]]:
        settings, summary = self.settings, self.summary
        seconds = sum(summary["seconds"].values())
        lines = [
            ("run", f"{settings.recipe}, method {settings.method}, seed {settings.seed}"),
            ("data", str(summary["data"])),
            (
                "density",
                f"{self.density:.4g} ({self.masks.count:,} of {self.masks.size:,} weights)",
            ),
            ("accuracy", f"{self.accuracy:.2%} on {summary['accuracy_on']} data"),
            ("cost", f"{self.cost:.3g} × dense training (nominal FLOPs)"),
            ("time", f"{seconds:.1f} s for {summary['epochs']} epochs, {summary['steps']:,} steps"),
        ]
        if self.stopping is not None:
            grown = "" if self.stopping.stopped or settings.density else "not at a plateau; "
            lines.append(("stopping", grown + self.stopping.reason))
        return [*lines, ("folder", str(self.folder))]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    names = ("onset", "p0", "gain", "beta", "r2")
    return {k: _number(v) if k in names else v for k, v in values.items()}
