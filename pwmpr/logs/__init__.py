"""Where a run's rows go beside its own metrics.jsonl: TensorBoard, W&B, or an object of one's own.

The run's folder is the record; these only show it elsewhere. So one that fails is left out with a
warning, and never ends a run.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from topograph.check import check_choice
from topograph.errors import TopographError

#: Name to the module whose ``make(folder)`` gives the log, and the extra that installs it.
NAMES = {"tensorboard": "pwmpr.logs.on_tensorboard", "wandb": "pwmpr.logs.on_wandb"}


@runtime_checkable
class Log(Protocol):
    """What ``pwmpr.run(log_to=…)`` takes: any object with these three methods."""

    def settings(self, values: Mapping[str, Any]) -> None:
        """Take all settings of the run, once, before the first row."""

    def row(self, values: Mapping[str, Any]) -> None:
        """Take a row of the history, one an epoch; ``values["step"]`` says when it was."""

    def close(self) -> None:
        """Write what is left; nothing follows."""


class Logs:
    """Several logs as one; a log that raises is left out from then on, with a warning.

    Parameters
    ----------
    logs
        By what name each is warned of.
    """

    def __init__(self, logs: Mapping[str, Log] | None = None) -> None:
        self._logs = dict(logs or {})

    def settings(self, values: Mapping[str, Any]) -> None:
        """Hand the settings on."""
        self._each(lambda log: log.settings(values))

    def row(self, values: Mapping[str, Any]) -> None:
        """Hand a row on, a copy to each."""
        self._each(lambda log: log.row(dict(values)))

    def close(self) -> None:
        """Close all of them."""
        self._each(lambda log: log.close())

    def _each(self, do: Callable[[Log], None]) -> None:
        for name, log in list(self._logs.items()):
            try:
                do(log)
            except Exception as error:  # whatever it is, training is worth more
                del self._logs[name]
                warnings.warn(
                    f"log {name} failed and is left out ({type(error).__name__}: {error}); the run "
                    "goes on",
                    stacklevel=3,
                )


def open_logs(log_to: str | Log | Iterable[str | Log], folder: Path) -> Logs:
    """Return the logs that are asked for.

    Parameters
    ----------
    log_to
        Names (``"tensorboard"``, ``"wandb"``), objects like `Log`, or several of them.
    folder
        The run's folder.

    Raises
    ------
    TopographError
        If there is none of that name, its package is not installed, or an object lacks a method.
    """
    asked = [log_to] if isinstance(log_to, str | Log) else list(log_to)
    logs: dict[str, Log] = {}
    for one in asked:
        if not isinstance(one, str):
            if not isinstance(one, Log):
                raise TopographError(
                    f"log_to holds {one!r}; expected a name or an object with the methods "
                    "settings, row and close",
                    f"the names are {', '.join(NAMES)}",
                )
            logs[f"{type(one).__name__} {len(logs)}"] = one
            continue
        module = NAMES[check_choice(one, "log_to", NAMES)]
        try:
            logs[one] = importlib.import_module(module).make(folder)
        except ImportError as error:
            raise TopographError(
                f"log_to is {one!r}, which is not installed ({error})",
                f'pip install "topograph[{one}]"',
            ) from None
    return Logs(logs)
