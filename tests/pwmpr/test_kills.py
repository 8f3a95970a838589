"""Does a run that is killed or told to stop, at any moment, go on to the bits it would have had?

The runs are real processes; see killed.py.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pwmpr import sums

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

#: How often each run of `RUNS` is killed, and how many moments of a small run are taken.
KILLS, SAMPLED = 4, 20


@pytest.fixture(scope="module")
def ask(tmp_path_factory) -> Iterator[Callable[..., Any]]:
    """A function that has killed.py do something and returns what it says."""
    program = Path(__file__).with_name("killed.py")
    said = tmp_path_factory.mktemp("killed") / "stderr"
    with said.open("w") as stderr:
        helper = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(program)],
            env={**os.environ, "PYTHONPATH": str(program.parents[2]), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def ask(do: str, **order: Any) -> Any:
        helper.stdin.write(json.dumps({"do": do, **order}) + "\n")
        helper.stdin.flush()
        answer = helper.stdout.readline()
        assert answer, said.read_text()[-3000:]
        return json.loads(answer)

    yield ask
    helper.stdin.close()
    helper.wait()
    helper.stdout.close()


def content(folder: Path) -> dict[str, object]:
    """Return everything that a run has come to, but for its seconds."""
    found: dict[str, object] = {}
    for file in sorted(folder.rglob("*.safetensors")):
        found[str(file.relative_to(folder))] = file.read_bytes()
    for name in ("metrics.jsonl", "snapshots.jsonl"):
        rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        found[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    result = json.loads((folder / "result.json").read_text())
    found["result"] = {k: v for k, v in result.items() if k != "seconds"}
    for name in sums.read(folder):
        sums.check(folder, name)
    assert not list(folder.rglob(".*"))  # what a killed writer left half written
    return found


GROWING = {"start_density": 0.05, "rough_epochs": 1, "epochs": 3}
RUNS = {
    "pwmpr": {"method": "pwmpr", "density": 0.12, **GROWING},
    "pwmpr, kept": {"method": "pwmpr", "density": 0.12, "optimizer_state": "kept", **GROWING},
    "gradient, sparse": {"method": "gradient", "density": 0.12, "kernels": "sparse", **GROWING},
    "rigl": {"method": "rigl", "density": 0.1, "epochs": 8, "update_every": 5},
    "snfs": {"method": "snfs", "density": 0.1, "epochs": 8},
    "dsr": {"method": "dsr", "density": 0.1, "epochs": 8, "update_every": 5},
    "imp": {"method": "imp", "density": 0.5, "epochs": 3, "rewind": 5},
    "str": {"method": "str", "epochs": 8, "weight_decay": 1e-3, "threshold": 0.01},
    "gmp": {"method": "gmp", "density": 0.2, "epochs": 8, "update_every": 5},
}


def test_the_runs_below_are_killed_25_times_at_least():
    assert len(RUNS) * KILLS >= 25


@pytest.mark.parametrize("name", RUNS)
def test_a_run_killed_again_and_again_comes_to_the_same_bits(ask, tmp_path, name):
    moments = ask(
        "killed_on_its_way",
        path=str(tmp_path / "r"),
        settings=RUNS[name],
        kills=KILLS,
        seed=len(name),
    )
    assert len(moments) == KILLS
    assert content(tmp_path / "r") == content(tmp_path / "r-whole"), moments


# A run that goes through every phase in few steps, and has few moments.
SMALL = {
    "method": "pwmpr", "density": 0.06, "start_density": 0.05, "rough_epochs": 1, "epochs": 1,
    "validation": 0.5, "batch": 512,
}  # fmt: skip


@pytest.fixture(scope="module")
def small(ask, tmp_path_factory) -> tuple[dict[str, object], list[str]]:
    """What the small run comes to, and its moments."""
    folder = tmp_path_factory.mktemp("small") / "whole"
    moments = ask("whole", path=str(folder), settings=SMALL)
    return content(folder), moments


def test_a_run_killed_at_any_moment_once_comes_to_the_same_bits(ask, small, tmp_path):
    """A seeded sample of the moments, or with PWMPR_EVERY_MOMENT=1 all of them."""
    whole, moments = small
    numbers = list(range(1, len(moments) + 1))
    if os.environ.get("PWMPR_EVERY_MOMENT") != "1":
        numbers = random.Random(0).sample(numbers, SAMPLED)
    for number in numbers:
        moment = ask("killed_at", path=str(tmp_path / "r"), settings=SMALL, at=number)
        assert moment == moments[number - 1]
        assert content(tmp_path / "r") == whole, moment
        shutil.rmtree(tmp_path / "r")
        (tmp_path / "r.killed").unlink()


def test_the_moments_are_of_every_kind(small):
    _, moments = small
    for phase in ("start", "rough", "extensive", "final"):
        assert any(moment.startswith(phase) for moment in moments), phase
    for what in ("settings.json", "step-000.safetensors", "step-001.safetensors", "metrics.jsonl",
                 "snapshots.jsonl", "000000.pt", "manifest.json", "model.safetensors",
                 "SHA256SUMS", "result.json"):  # fmt: skip
        for act in ("open", "half of", "replace"):
            if (act, what) != ("replace", "metrics.jsonl"):
                assert any(moment.endswith(f"{act} {what}") for moment in moments), (act, what)


# signals

EXITS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 138}


PHASES = [
    "rough step", "rough evaluation", "rough growth", "extensive step", "extensive evaluation",
    "final evaluation",
]  # fmt: skip


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        *((at, signal.SIGTERM) for at in PHASES),
        *((at, kind) for at in PHASES[::5] for kind in (signal.SIGINT, signal.SIGUSR1)),
    ],
)
def test_a_signal_in_any_phase_ends_the_run_soon_and_it_goes_on(ask, small, tmp_path, at, kind):
    whole, moments = small
    assert at in moments
    found = ask("signalled", path=str(tmp_path / "r"), settings=SMALL, at=at, kind=int(kind))
    assert found["status"] == EXITS[kind]
    steps = [moment for moment in found["after"] if moment.endswith((" step", " evaluation"))]
    # Growth ends in a checkpoint, and the next step looks.
    assert steps == (["rough step"] if at == "rough growth" else [])
    assert "final half of result.json" not in found["after"]
    assert content(tmp_path / "r") == whole
