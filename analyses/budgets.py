"""For how long to train at a fixed density so that growth to there has no more.

Growth from ρ_init to ρ takes n = ⌈ln(ρ/ρ_init) / ln(1+γ)⌉ steps, n + 1 rough trainings and the
extensive one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from command import Command

if TYPE_CHECKING:
    from pwmpr.settings import Settings

#: The setting that a recipe counts its extensive training in, ``epochs`` or ``iterations``, and
#: how many; both are None where runs exist already.
Length = dict[str, int | None]


def as_long(command: Command, density: float) -> Length:
    """Return the training that has as many epochs as growth to a density and what follows it.

    Raises
    ------
    SystemExit
        If rough training has no fixed length.
    """
    return _in_all(command, density, [1.0] * (steps(command, density) + 1))


def as_dear(command: Command, density: float) -> Length:
    """Return the training that takes as many floating-point operations as growth does.

    Growth's rough trainings are the cheaper the lower their density.

    Raises
    ------
    SystemExit
        If rough training has no fixed length.
    """
    settings = _settings(command)
    grown = [
        min(settings.start_density * (1 + settings.growth_ratio) ** step, density)
        for step in range(steps(command, density) + 1)
    ]
    return _in_all(command, density, [passed / density for passed in grown])


def steps(command: Command, density: float) -> int:
    """Return the number of growth steps to a density."""
    settings = _settings(command)
    ratio = math.log(density / settings.start_density) / math.log(1 + settings.growth_ratio)
    return max(0, math.ceil(ratio - 1e-9))


def batches(settings: Settings) -> int:
    """Return the number of batches in an epoch of a recipe's training data."""
    from pwmpr.data.batches import number_of_batches
    from pwmpr.data.parts import prepare_parts

    train = prepare_parts(settings, None, None, None).train
    return number_of_batches(len(train), settings.batch)


def _in_all(command: Command, density: float, rough: list[float]) -> Length:
    """Return the extensive training and a part of a rough one for each of ``rough``."""
    if command.from_runs is not None:
        return {"epochs": None, "iterations": None}
    settings = _settings(command)
    if isinstance(settings.rough_epochs, str):
        raise SystemExit(
            f"{command.name} trains fixed densities as long as growth takes; expected rough "
            f"trainings of a fixed length, not rough_epochs={settings.rough_epochs}. Remedy: --set "
            "rough_epochs=10."
        )
    epochs = settings.rough_epochs * sum(rough)
    if settings.iterations is None:
        return {"epochs": round(epochs + (settings.epochs or 0))}
    return {"iterations": round(epochs * batches(settings) + settings.iterations)}


def _settings(command: Command) -> Settings:
    from pwmpr.running import resolve

    common = dict(command.common)
    return resolve(common.pop("recipe"), **common)
