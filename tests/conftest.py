"""What every test shares: one thread, no deadlines, and the folder of real data."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

#: A program of its own that needs atheris, which few machines have; the suite replays without it.
collect_ignore = ["fuzz/run.py"]

# The Agg backend needs no screen; set before matplotlib is first imported.
os.environ.setdefault("MPLBACKEND", "Agg")

# Shells start background jobs with SIGINT ignored, which all children would inherit.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "topograph", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("topograph")


@pytest.fixture(autouse=True, scope="session")
def single_thread() -> None:
    """Small tensors: more threads only contend, and sums stay in one order."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with real data: TOPOGRAPH_DATA, or shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("TOPOGRAPH_DATA", beside))
    if not root.is_dir():
        pytest.skip(f"no data folder at {root}; set TOPOGRAPH_DATA to run this test")
    return root
