"""What a run shows while it trains: one line, on a terminal or in a notebook."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tqdm import tqdm as plain_bar

if TYPE_CHECKING:
    from pwmpr.training.trainer import Trainer


#: Where the end is known: without the rate, so that 80 columns leave room for a bar.
_TO_THE_END = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"


class Display:
    """A progress bar of optimiser steps, with phase, density and the last validation accuracy.

    How many growth steps there will be is not known beforehand, so the bar has an end only in
    the extensive phase.

    Parameters
    ----------
    show
        None shows it on a terminal or in a notebook only.
    """

    def __init__(self, show: bool | None = None) -> None:
        if show is None:
            show = sys.stderr.isatty() or "ipykernel" in sys.modules
        bar = plain_bar
        if show:  # imported here: in a notebook without ipywidgets its import warns
            from tqdm.auto import tqdm as bar
        self._bar = bar(unit=" steps", disable=not show, dynamic_ncols=True)

    def __call__(self, trainer: Trainer) -> None:
        """Show where the trainer is."""
        if self._bar.disable:
            return
        stage, step = trainer.stage, trainer.progress.step
        if stage is not None and stage.phase == "extensive":
            self._bar.total = step - trainer.progress.stage_step + stage.steps
            self._bar.bar_format = _TO_THE_END
        self._bar.update(step - self._bar.n)
        if stage is not None and trainer.progress.batch == 1:
            last = ""
            if trainer.history:
                last = f", validation {trainer.history[-1]['val_accuracy']:.1%}"
            cycle = f" {stage.cycle}" if stage.phase == "rough" else ""
            density = f"density {trainer.masks.density:.3g}"
            self._bar.set_description(f"{stage.phase}{cycle}, {density}{last}")

    def close(self) -> None:
        """Leave the line as it stands."""
        self._bar.close()
