"""Which learning rate a step has, and what a stage of training is."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from pwmpr.settings import Settings


@dataclass(frozen=True)
class Stage:
    """One stretch of training with masks that a strategy has set before it.

    Attributes
    ----------
    phase
        ``"rough"`` (between growth steps) or ``"extensive"`` (the full schedule).
    cycle
        Number of growth steps before it.
    steps
        Optimiser steps, at most.
    patience
        Epochs without a lower validation loss that end it early; None never does.
    begin
        The step of the stage's schedule that it begins with.
    """

    phase: str
    cycle: int
    steps: int
    patience: int | None = None
    begin: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain values."""
        return asdict(self)


def learning_rate(settings: Settings, stage: Stage, stage_step: int, step: int) -> float:
    """Return the learning rate of one optimiser step.

    Rough training stays at the initial rate (decision: it is the first part of the schedule of
    full training, broken off long before the first drop; P, section 4.2). Extensive training
    runs the whole schedule from its beginning: ``"step"`` multiplies by ``drop_factor`` at each of
    the ``drops`` (P: 20K and 25K of 30K iterations), ``"cosine"`` falls to zero. Warm-up happens
    once, over the first ``warmup`` steps of the run.

    Parameters
    ----------
    settings
        Rates and schedule.
    stage
        The stage that the step belongs to.
    stage_step
        Number of the step in its stage, from 0.
    step
        Number of the step in the run, from 0.

    Examples
    --------
    >>> settings = Settings(lr=0.1, iterations=30)
    >>> stage = Stage("extensive", 3, 30)
    >>> [round(learning_rate(settings, stage, k, 100 + k), 4) for k in (0, 19, 20, 25)]
    [0.1, 0.1, 0.01, 0.001]
    """
    warm = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    if stage.phase == "rough" or settings.schedule == "constant":
        return settings.lr * warm
    if settings.schedule == "step":
        # Rounded before it is compared: 20,000 of 30,000 is the drop at 2/3, not a step later.
        passed = sum(stage_step >= round(drop * stage.steps) for drop in settings.drops)
        return settings.lr * warm * settings.drop_factor**passed
    rising = max(0, settings.warmup - (step - stage_step))
    fraction = max(0, stage_step - rising) / max(1, stage.steps - rising)
    return settings.lr * warm * 0.5 * (1 + math.cos(math.pi * fraction))
