"""Does a run that is killed with SIGKILL, at any moment, go on to the bits it would have had?

The runs are real processes. So that each costs no start of Python, they are forked from one helper
that has imported everything and computed nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

HELPER = r"""
import json, os, random, signal, sys, time
import pwmpr
from pwmpr.data import read_digits
from pwmpr.starts import initial_masks
import pandas, scipy.optimize, pwmpr.training.trainer

read_digits()
COMMON = dict(model="mlp-64-24-10", threads=1, precision="fp32", progress=False, batch=64)


def begin(path, settings):
    # Start the run, or go on with it, in a child of its own.
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if os.path.exists(path + "/settings.json"):
            pwmpr.resume(path, progress=False)
        else:
            pwmpr.run("digits", out=path, **COMMON, **settings)
        code = 0
    except BaseException as error:
        print("child:", type(error).__name__, error, file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_at_random(path, settings, kills, seed):
    rng, done = random.Random(seed), 0
    started = time.monotonic()
    assert ended(begin(path + "-whole", settings)) == 0
    whole = time.monotonic() - started
    while done < kills:
        pid = begin(path, settings)
        time.sleep(rng.uniform(0, 0.6 * whole))
        os.kill(pid, signal.SIGKILL)
        code = ended(pid)
        assert code in (0, -signal.SIGKILL), code
        if os.path.exists(path + "/result.json"):
            if code == -signal.SIGKILL:
                done += 1
            return done
        done += 1
    assert ended(begin(path, settings)) == 0
    return done


if __name__ == "__main__":
    order = json.loads(sys.stdin.read())
    print(json.dumps(globals()[order.pop("do")](**order)))
"""


def helper(tmp_path: Path, **order) -> object:
    path = tmp_path / "helper.py"
    path.write_text(HELPER)
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(path)],
        input=json.dumps(order),
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


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
    assert not list(folder.rglob("*.tmp"))
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


@pytest.mark.parametrize("name", RUNS)
def test_a_run_killed_at_random_moments_comes_to_the_same_bits(tmp_path, name):
    run = str(tmp_path / "r")
    kills = helper(
        tmp_path, do="kill_at_random", path=run, settings=RUNS[name], kills=4, seed=len(name)
    )
    assert content(tmp_path / "r") == content(tmp_path / "r-whole")
    assert kills >= 1
