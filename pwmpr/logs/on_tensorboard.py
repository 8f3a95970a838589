"""A run's rows as TensorBoard scalars, in ``tensorboard/`` of the run's folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoard:
    """See `pwmpr.logs.Log`.

    After a kill, rows past the checkpoint come once more; each process therefore marks at its
    first row from which step on what earlier ones wrote is void, and TensorBoard shows one of each.

    Parameters
    ----------
    folder
        The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._open = SummaryWriter
        self._place = folder / "tensorboard"
        self._settings = ""
        self._writer: SummaryWriter | None = None

    def settings(self, values: Mapping[str, Any]) -> None:
        """Keep the settings, which are written as text with the first row of a new run."""
        if not self._place.exists():
            self._settings = f"```json\n{json.dumps(dict(values), indent=2)}\n```"

    def row(self, values: Mapping[str, Any]) -> None:
        """Write the numbers of a row at its step, on the disk at once."""
        if self._writer is None:
            self._writer = self._open(str(self._place), purge_step=values["step"])
            if self._settings:
                self._writer.add_text("settings", self._settings)
        for name, value in values.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if name != "step" and number and math.isfinite(value):
                self._writer.add_scalar(name, value, values["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


def make(folder: Path) -> TensorBoard:
    """Return the log of a run."""
    return TensorBoard(folder)
