"""A run's rows as TensorBoard scalars, in ``tensorboard/`` of the run's folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoard:
    """See `pwmpr.logs.Log`.

    Parameters
    ----------
    folder
        The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def settings(self, values: Mapping[str, Any]) -> None:
        """Write the settings as text."""
        self._writer.add_text("settings", f"```json\n{json.dumps(dict(values), indent=2)}\n```")

    def row(self, values: Mapping[str, Any]) -> None:
        """Write the numbers of a row at its step, on the disk at once."""
        for name, value in values.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if name != "step" and number and math.isfinite(value):
                self._writer.add_scalar(name, value, values["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


def make(folder: Path) -> TensorBoard:
    """Return the log of a run."""
    return TensorBoard(folder)
