"""Whether a run goes on where it was begun, and what follows if not."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pwmpr.training.assembly import versions
from pwmpr.training.machine import find_device
from topograph.errors import TopographError

if TYPE_CHECKING:
    from pwmpr.training.trainer import Trainer

# Precision and layout follow from the run's own settings and model, wherever it goes on.
_OF_THE_MACHINE = {"device": "device", "name": "on", "threads": "threads", "processes": "processes"}


def refuse_missing_device(folder: Path, device: str, begun_on: Mapping[str, Any]) -> None:
    """Refuse to go on where the run's device is not there: another one computes other bits.

    Raises
    ------
    TopographError
        If there is no such device.
    """
    try:
        find_device(device)
    except TopographError as error:
        raise TopographError(
            f"the run in {folder} was begun on {device} ({begun_on.get('name', 'unknown')}), "
            f"which is not here ({error.problem})",
            "resume where there is such a device; on another kind the same seed gives another "
            "run, which pwmpr.run starts",
        ) from None


def say_other_versions(folder: Path, begun_with: Mapping[str, str]) -> None:
    """Warn where a run goes on with other versions than it began with: bits may differ."""
    here = versions()
    _say(
        folder,
        [
            f"{name} {begun_with[name]} (now {here[name]})"
            for name in here
            if begun_with.get(name, here[name]) != here[name]
        ],
        "begun with",
    )


def say_other_machine(folder: Path, begun_on: Mapping[str, Any], trainer: Trainer) -> None:
    """Warn where a run goes on with another processor, card or number of processes or threads."""
    here = trainer.machine.to_dict() | {"processes": trainer.group.size}
    _say(
        folder,
        [
            f"{word} {begun_on[name]} (now {here[name]})"
            for name, word in _OF_THE_MACHINE.items()
            if begun_on.get(name, here[name]) != here[name]
        ],
        "begun with" if begun_on.get("name") == here["name"] else "begun",
    )


def _say(folder: Path, other: list[str], how: str) -> None:
    if other:
        warnings.warn(
            f"the run in {folder} was {how} {', '.join(other)}; it goes on, and may come to "
            "other bits than without the stop",
            stacklevel=4,
        )
