"""A run's folder as its processes other than the first have it: to be read, never written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pwmpr.checkpoints import Checkpoints
from pwmpr.folder import RunFolder
from pwmpr.masks import Masks


class ReadOnlyCheckpoints(Checkpoints):
    """The checkpoints of a run, to be read."""

    def save(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""


class ReadOnlyFolder(RunFolder):
    """The folder of a run, to be read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.checkpoints = ReadOnlyCheckpoints(path / "checkpoints")

    def discard(self) -> None:
        """Do nothing."""

    def lock(self) -> None:
        """Do nothing."""

    def add_history(self, row: Mapping[str, Any]) -> None:
        """Do nothing."""

    def write_masks(self, index: int, masks: Masks) -> None:
        """Do nothing."""

    def write_weights(self, index: int, state: Mapping[str, Tensor], masks: Masks) -> None:
        """Do nothing."""

    def write_model(self, state: Mapping[str, Tensor]) -> None:
        """Do nothing."""

    def write_result(self, values: Mapping[str, Any]) -> None:
        """Do nothing."""

    def _write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Do nothing."""

    def _write_lines(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Do nothing."""
