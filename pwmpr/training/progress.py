"""How far a run has come."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Progress:
    """How far a run has come; with the checkpoint's tensors it decides all that follows.

    ``epoch`` counts finished epochs of the run, ``batch`` finished batches of the present one;
    ``stage_step`` and ``stage_epoch`` count from the beginning of the stage.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    samples: int = 0
    stage_step: int = 0
    stage_epoch: int = 0
    best_loss: float = math.inf
    epochs_since_best: int = 0
    snapshot: int = 0
    seconds: dict[str, float] = field(
        default_factory=lambda: {"training": 0.0, "evaluation": 0.0, "topology": 0.0}
    )
