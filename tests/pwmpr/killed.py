"""Runs that end themselves at a moment of their progress; a program, driven by test_kills.py.

It imports everything once, by a run of its own, and forks a child for every run: a start of Python,
and what torch imports when it first traces a network, take longer than such a run.

A moment is a step of training, an evaluation, a growth step, or a file's opening, half-written
state, syncing, renaming or removal. Moments are counted, not timed: a loaded machine kills where an
idle one does. Children skip the syncing itself: what a killed process has written, stays.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
import random
import signal
import sys
import tempfile
from pathlib import Path

import pwmpr
import pwmpr.running
import pwmpr.starts
import pwmpr.training.strategies
from pwmpr.training.trainer import Trainer

COMMON = {
    "model": "mlp-64-24-10", "threads": 1, "precision": "fp32", "progress": False, "batch": 64,
}  # fmt: skip


class Moments:
    """Counts the moments of a run under a folder, and sends the process a signal at one of them.

    ``at`` is a number, from 1 on, or a label. A label is the phase and what happens.
    """

    def __init__(self, folder: str, at: int | str | None, kind: int) -> None:
        self.folder, self.at, self.kind = folder, at, kind
        self.phase, self.labels = "start", []

    def reached(self, what: str) -> None:
        label = f"{self.phase} {what}"
        self.labels.append(label)
        if self.at in (len(self.labels), label):
            self.at = None
            with open(self.folder + ".killed", "a") as file:  # noqa: PTH123 (Path is watched)
                file.write(label + "\n")
            os.kill(os.getpid(), self.kind)

    def watch(self) -> None:
        moments = self

        class HalfWritten(io.FileIO):
            def write(self, content):
                content = bytes(content)
                half = super().write(content[: len(content) // 2])
                moments.reached(f"half of {short(self.name)}")
                return half + super().write(content[half:])

        def short(path):
            """Return a name without what is drawn for a temporary file."""
            return Path(path).name.lstrip(".").split(f".{os.getpid()}-")[0]

        def opened(path, mode="r", buffering=-1, *rest, **named):
            if not str(path).startswith(moments.folder + "/") or mode not in ("wb", "ab"):
                return real_open(path, mode, buffering, *rest, **named)
            moments.reached(f"open {short(path)}")
            raw = HalfWritten(path, mode)
            return raw if buffering == 0 else io.BufferedWriter(raw)

        def told(name, real):
            def call(path, *rest, **named):
                if str(path).startswith(moments.folder):
                    moments.reached(f"{name} {short(path)}")
                return real(path, *rest, **named)

            return call

        def phased(name, real):
            def call(trainer, *rest):
                moments.phase = trainer.stage.phase if trainer.stage else "final"
                moments.reached(name)
                return real(trainer, *rest)

            return call

        def growing(*rest):
            moments.reached("growth")
            return real_select(*rest)

        real_open = pathlib.Path.open
        pathlib.Path.open = opened
        for name in ("replace", "unlink", "mkdir"):
            setattr(pathlib.Path, name, told(name, getattr(pathlib.Path, name)))
        os.fsync = lambda handle: moments.reached("fsync")
        Trainer._asked_to_end = phased("step", Trainer._asked_to_end)
        Trainer.score = phased("evaluation", Trainer.score)
        real_select = pwmpr.training.strategies.select
        pwmpr.training.strategies.select = growing


def begin(path: str, settings: dict, at: int | str | None = None, kind: int = signal.SIGKILL):
    """Start the run, or go on with it, in a child; return its exit status and its moments."""
    pid = os.fork()
    if pid == 0:
        code, moments = 1, Moments(path, at, kind)
        try:
            moments.watch()
            if os.path.exists(path + "/settings.json"):  # noqa: PTH110
                pwmpr.resume(path, progress=False)
            else:
                pwmpr.run("digits", out=path, **{**COMMON, **settings})
            code = 0
        except KeyboardInterrupt:
            code = 130
        except SystemExit as error:
            code = error.code
        except BaseException as error:
            sys.stderr.write(f"child: {type(error).__name__}: {error}\n")
            sys.stderr.flush()
        finally:
            with open(path + ".moments", "w") as file:  # noqa: PTH123
                json.dump(moments.labels, file)
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    labels = None if status < 0 else json.loads(Path(path + ".moments").read_text())
    return status, labels


def whole(path: str, settings: dict) -> list[str]:
    """Carry the run out without a stop; return its moments."""
    status, labels = begin(path, settings)
    assert status == 0, status
    return labels


def killed_on_its_way(path: str, settings: dict, kills: int, seed: int) -> list[str]:
    """Kill a run again and again, the last time while it is tested and its result written.

    Each kill but the last comes within a ``kills``-th of the run's moments after the start or the
    one before, so that the run cannot end too soon.
    """
    rng, labels = random.Random(seed), whole(path + "-whole", settings)
    ends = [label for label in labels if label.startswith("final")]
    moments = [rng.randint(1, len(labels) // kills) for _ in range(kills - 1)]
    for at in [*moments, rng.choice(ends)]:
        status, _ = begin(path, settings, at)
        assert status == -signal.SIGKILL, (status, at)
    assert begin(path, settings)[0] == 0
    return Path(path + ".killed").read_text().splitlines()


def killed_at(path: str, settings: dict, at: int) -> str:
    """Kill a new run once, at a moment given by its number, and let it go on to its end."""
    status, _ = begin(path, settings, at)
    assert status == -signal.SIGKILL, (status, at)
    assert begin(path, settings)[0] == 0
    return Path(path + ".killed").read_text().strip()


def signalled(path: str, settings: dict, at: str, kind: int) -> dict:
    """Send a new run a signal, and let it go on; return its exit status and the moments after."""
    status, labels = begin(path, settings, at, kind)
    assert begin(path, settings)[0] == 0
    return {"status": status, "after": (labels or [])[(labels or [at]).index(at) + 1 :]}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        pwmpr.run(
            "digits", out=made + "/r", density=0.06, start_density=0.05, rough_epochs=1, epochs=1,
            **COMMON,
        )  # fmt: skip
    for line in sys.stdin:
        order = json.loads(line)
        answer = globals()[order.pop("do")](**order)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
