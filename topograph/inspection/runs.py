"""What a run's folder holds: its network, its snapshots, and how accurate each of them was.

Topograph knows nothing of training; the folder's reader is pwmpr's own, imported when it is needed.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from topograph.errors import TopographError
from topograph.inspection.builders import ModelSpec, build_model


@dataclass(frozen=True, eq=False)
class Run:
    """A run as it lies on the disk, finished or not.

    Attributes
    ----------
    folder
        pwmpr's reader of the folder.
    described
        What settings.json says.
    snapshots
        pwmpr's snapshots, in order of time.
    """

    folder: Any
    described: dict[str, Any]
    snapshots: Any

    @property
    def about(self) -> dict[str, Any]:
        """What settings.json says of the model."""
        return self.described.get("model") or {}

    @property
    def settings(self) -> dict[str, Any]:
        """The settings the run was started with."""
        return self.described.get("settings") or {}

    @property
    def example(self) -> Tensor | None:
        """An input of one sample that fits, or None where its shape was not written down."""
        shape = self.about.get("input_shape")
        dtype = getattr(torch, str(self.about.get("input_dtype") or "float32"), None)
        if not shape or not isinstance(dtype, torch.dtype):
            return None
        return torch.zeros(1, *shape, dtype=dtype)

    def model(self, spec: ModelSpec | None = None) -> nn.Module:
        """Return the run's network with weights of no meaning, or the one that ``spec`` names.

        Raises
        ------
        TopographError
            If the run had a model of its own class and none is given.
        """
        if spec is not None:
            return build_model(spec)
        if not self.about.get("name"):
            raise TopographError(
                f"the run in {self.folder.path} trained a model of its own class, "
                f"{self.about.get('class')}",
                "give such a model: model=Net(), or --model package.module:Net",
            )
        build = importlib.import_module("pwmpr.models").build
        with torch.random.fork_rng(devices=[]):
            module: nn.Module = build(self.about["name"], **(self.about.get("options") or {}))
        return module

    def weights(self, number: int) -> Mapping[str, Tensor] | None:
        """Return the weights that the training of a snapshot ended with; None if not kept."""
        snapshot = self.snapshots[number]
        if self._kept(snapshot):
            state: Mapping[str, Tensor] = snapshot.weights
            return state
        last = number == len(self.snapshots) - 1
        return self.folder.model_state() if last and self.folder.finished else None

    def accuracies(self) -> list[float]:
        """Return each snapshot's validation accuracy, 0 to 1, at the end of its training.

        The last epoch that ended with its masks and the weights that :meth:`weights` gives; NaN
        where none did.
        """
        rows = self.folder.history()
        steps = [*(snapshot.step for snapshot in self.snapshots), math.inf]
        found = []
        for number, snapshot in enumerate(self.snapshots):
            here = [row for row in rows if steps[number] < row["step"] <= steps[number + 1]]
            if self._kept(snapshot):
                # Weights are kept when rough training ends; what follows has others.
                here = [row for row in here if row["phase"] == "rough"]
            values = [row["val_accuracy"] for row in here if row["count"] == snapshot.count]
            found.append(math.nan if not values or values[-1] is None else float(values[-1]))
        return found

    def _kept(self, snapshot: Any) -> bool:
        return bool(self.folder.weights_path(snapshot.cycle).is_file())


def open_run(path: Path) -> Run:
    """Open a run's folder.

    Raises
    ------
    TopographError
        If it is no such folder, or pwmpr cannot be imported.
    """
    try:
        folder_module = importlib.import_module("pwmpr.folder")
        result_module = importlib.import_module("pwmpr.result")
    except ImportError as error:
        raise TopographError(
            f"{path} is the folder of a run, and pwmpr cannot be imported ({error})",
            "install pwmpr, or pass a checkpoint file",
        ) from None
    folder = folder_module.RunFolder.open(path)
    return Run(folder, folder.settings(), result_module.Snapshots(folder))
