"""The figure of growing networks is drawn end to end, and again from the runs it left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--seeds", "0", "--set", "rough_epochs=1", "--set", "density=0.07")


def draw(*arguments: str) -> Path:
    """Run the script as a user does and return the path that it prints last."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "analyses" / "tau_core_evolution.py"), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evolution")
    assert draw(*SMALL, "--out", str(folder)) == folder / "tau_core_evolution.png"
    return folder


def test_figures_numbers_and_settings_are_left(out: Path) -> None:
    for suffix in ("png", "svg", "csv", "json"):
        assert (out / f"tau_core_evolution.{suffix}").stat().st_size > 100
    frame = pd.read_csv(out / "tau_core_evolution.csv")
    assert set(frame["method"]) == {"pwmpr", "random", "gradient", "pwmp"}
    assert frame["density"].between(0.04, 0.07).all()
    starts = frame[frame["cycle"] == 0]
    assert starts["log10_total"].nunique() == 1  # all rules start from the same trained network
    assert frame["tau_core_ratio"].between(0, 1).all()


def test_runs_that_exist_are_drawn_again(out: Path, tmp_path: Path) -> None:
    draw("--from-runs", str(out / "runs"), "--out", str(tmp_path))
    again = pd.read_csv(tmp_path / "tau_core_evolution.csv")
    first = pd.read_csv(out / "tau_core_evolution.csv")
    order = ["method", "cycle"]
    pd.testing.assert_frame_equal(
        again.sort_values(order, ignore_index=True), first.sort_values(order, ignore_index=True)
    )
