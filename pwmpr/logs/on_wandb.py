"""A run's rows in Weights & Biases; a run that is resumed goes on under the same id."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class WeightsAndBiases:
    """See `pwmpr.logs.Log`; project and mode are those of wandb's own environment variables.

    Parameters
    ----------
    folder
        The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        import wandb

        place = str(folder.resolve())
        self._run = wandb.init(
            dir=str(folder),
            name=folder.name,
            id=hashlib.sha256(place.encode()).hexdigest()[:16],
            resume="allow",
        )

    def settings(self, values: Mapping[str, Any]) -> None:
        """Set the run's configuration."""
        self._run.config.update(dict(values), allow_val_change=True)

    def row(self, values: Mapping[str, Any]) -> None:
        """Log a row at its step."""
        self._run.log({k: v for k, v in values.items() if k != "step"}, step=values["step"])

    def close(self) -> None:
        """End the run."""
        self._run.finish()


def make(folder: Path) -> WeightsAndBiases:
    """Return the log of a run."""
    return WeightsAndBiases(folder)
