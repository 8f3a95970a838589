"""How a run ends when it is asked to: at the next step, with a checkpoint."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


class Interrupt:
    """Remembers SIGINT, SIGTERM or SIGUSR1 until the loop looks.

    The handler does nothing but set a flag: writing a checkpoint inside one could meet the loop
    half-way through a step. A second signal of the same kind acts as it always does.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._process = os.getpid()
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether the run was asked to end."""
        return self.signal is not None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Listen for signals, in the main thread; elsewhere this does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kinds = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGUSR1"):
            kinds.append(signal.SIGUSR1)
        self._before = {kind: signal.signal(kind, self._remember) for kind in kinds}
        try:
            yield
        finally:
            for kind, handler in self._before.items():
                signal.signal(kind, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked worker goes as it always would
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self.signal == number:
            signal.signal(number, self._before[signal.Signals(number)])
            signal.raise_signal(number)
        self.signal = number

    def leave(self) -> None:
        """End the run as the signal asks: KeyboardInterrupt, or exit status 128 + its number."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + (self.signal or 0))
