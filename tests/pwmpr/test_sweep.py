"""Are many runs carried out once each, whatever becomes of the workers, by every engine?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

import pwmpr
from pwmpr.cli import main
from pwmpr.folder import RunFolder
from pwmpr.sweeping import Outcome, grid, plan, read_plan, sweep
from pwmpr.sweeping.on_workers import RETRIES, run_on_workers
from topograph.errors import TopographError

SMALL = {"method": "static", "density": 0.1, "epochs": 2}


def small(*seeds, **settings):
    return [{"recipe": "digits", **SMALL, "seed": seed, **settings} for seed in seeds]


# plans


def test_a_grid_is_every_combination_of_lists():
    runs = grid("digits", method=["rigl", "set"], seed=range(2), drops=(0.5, 0.75), density=0.1)
    assert len(runs) == 4
    assert {(run["method"], run["seed"]) for run in runs} == {
        ("rigl", 0), ("rigl", 1), ("set", 0), ("set", 1)}  # fmt: skip
    assert all(run["drops"] == (0.5, 0.75) for run in runs)


def test_folders_are_named_by_settings_and_not_by_where_they_are_trained(tmp_path):
    one, two, three = (
        plan(small(0, **extra), tmp_path)[0].folder
        for extra in ({}, {"threads": 2, "device": "cpu"}, {"lr": 0.5})
    )
    assert one == two
    assert three != one
    assert one.parent == tmp_path


def test_a_plan_file_crosses_grid_and_runs(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(
        "recipe: digits\n"
        "settings: {density: 0.1, epochs: 1, drops: [0.5, 0.75]}\n"
        "grid: {seed: [0, 1]}\n"
        "runs:\n  - {method: static}\n  - {method: rigl, lr: 0.05}\n"
    )
    tasks = read_plan(path)
    assert [(t.settings["method"], t.settings["seed"]) for t in tasks] == [
        ("static", 0), ("static", 1), ("rigl", 0), ("rigl", 1)]  # fmt: skip
    assert {t.folder.parent for t in tasks} == {tmp_path / "study"}
    assert tasks[0].settings["drops"] == (0.5, 0.75)
    assert read_plan(path) == tasks


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("recipe: digits\nsetings: {}\n", "setings"),
        ("recipe: digits\ngrid: {seed: 3}\n", r"\[3\]"),
        ("recipe: digits\ngrid: {sed: [3]}\n", "did you mean 'seed'"),
        ("recipe: digitz\n", 'did you mean recipe="digits"'),
        ("- a\n", "holds a list"),
        ("recipe: [\n", "YAML"),
        ("recipe: digits\nruns: [1]\n", "mappings"),
        ("grid: {seed: [0]}\n", "with a recipe"),
        ("recipe: digits\nsettings: {epochs: -1}\n", "epochs is -1"),
    ],
)
def test_plans_that_mean_nothing_are_refused_before_anything_runs(tmp_path, text, says):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(TopographError, match=says):
        sweep(path)
    assert list(tmp_path.iterdir()) == [path]


def test_equal_runs_and_empty_sweeps_are_refused(tmp_path):
    with pytest.raises(TopographError, match="the same as an earlier one"):
        plan(small(0, 0), tmp_path)
    with pytest.raises(TopographError, match="no run"):
        plan([], tmp_path)
    with pytest.raises(TopographError, match="run 1 of the sweep is 3"):
        plan([3], tmp_path)


# the local engine


def test_a_sweep_gives_the_runs_that_one_by_one_would_give_and_keeps_them(tmp_path):
    found = sweep(small(0, 1), workers=2, out=tmp_path)
    assert [o.status for o in found.outcomes] == ["done", "done"]
    alone = pwmpr.run("digits", **SMALL, seed=1, threads=1, out=tmp_path / "alone")
    torch.testing.assert_close(
        RunFolder.open(found.folders[1]).model_state(),
        RunFolder.open(alone.folder).model_state(), rtol=0, atol=0,
    )  # fmt: skip
    frame = found.frame
    assert frame["seed"].tolist() == [0, 1]
    assert frame["accuracy"].iloc[1] == alone.accuracy
    assert {"recipe", "method", "density", "cost", "seconds"} <= set(frame)
    times = [(folder / "result.json").stat().st_mtime_ns for folder in found.folders]
    again = sweep(small(0, 1), workers=2, out=tmp_path)
    assert [o.status for o in again.outcomes] == ["kept", "kept"]
    assert times == [(folder / "result.json").stat().st_mtime_ns for folder in again.folders]
    pd.testing.assert_frame_equal(
        frame.drop(columns=["status", "attempts"]), again.frame.drop(columns=["status", "attempts"])
    )


def test_settings_that_differ_are_columns_beside_results_of_the_same_name(tmp_path):
    runs = [*small(0, epochs=1), {"recipe": "digits", "method": "dense", "epochs": 2}]
    frame = sweep(runs, workers=1, out=tmp_path).frame
    assert frame["density"].tolist() == [0.1, 1.0]
    assert frame["set_density"].iloc[0] == 0.1
    assert frame["set_density"].isna().iloc[1]
    assert frame["set_epochs"].tolist() == frame["epochs"].tolist() == [1, 2]


def test_one_run_that_fails_ends_no_other_and_says_why(tmp_path):
    runs = [*small(0), *small(1, lr=1e30), *small(2)]
    found = sweep(runs, workers=1, out=tmp_path)
    assert [o.status for o in found.outcomes] == ["done", "failed", "done"]
    assert "lower lr" in found.failed[0].error
    assert "1 of 3" not in str(found)
    assert "2 of 3 runs finished" in str(found)
    assert found.frame["error"].iloc[1] == found.failed[0].error


def test_a_run_that_was_stopped_goes_on(tmp_path):
    task = plan(small(0), tmp_path)[0]

    class StopError(Exception):
        pass

    from pwmpr.training.trainer import Trainer

    ended = Trainer._end_epoch
    with pytest.MonkeyPatch.context() as patch:

        def stop(trainer, *args):
            ended(trainer, *args)
            raise StopError

        patch.setattr(Trainer, "_end_epoch", stop)
        with pytest.raises(StopError):
            pwmpr.run("digits", **SMALL, seed=0, threads=1, out=task.folder)
    found = sweep(small(0), workers=1, out=tmp_path)
    assert found.outcomes[0].status == "done"
    whole = pwmpr.run("digits", **SMALL, seed=0, threads=1, out=tmp_path / "whole")
    torch.testing.assert_close(
        RunFolder.open(task.folder).model_state(), whole.model.state_dict(), rtol=0, atol=0
    )


def test_a_run_that_another_process_is_writing_is_left_to_it(tmp_path):
    import fcntl

    task = plan(small(0), tmp_path)[0]
    task.folder.mkdir(parents=True)
    with (task.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = sweep(small(0), workers=1, out=tmp_path)
    assert found.outcomes[0].status == "busy"
    assert found.failed


def test_the_run_of_a_killed_worker_is_begun_again(tmp_path):
    tasks = plan(small(0, epochs=40), tmp_path)
    outcomes = run_on_workers(tasks, 1)
    pid = os.getpid()
    killer = subprocess.Popen(
        [sys.executable, "-c", KILLER, str(pid), str(tasks[0].folder / "metrics.jsonl")]
    )
    found = list(outcomes)
    killer.wait(timeout=60)
    assert killer.returncode == 0
    assert found == [(0, Outcome(tasks[0].folder, "done", attempts=2))]


# Waits until a run has a row, then kills the worker that writes it: the child that is no tracker.
KILLER = """
import os, signal, sys, time
from pathlib import Path
parent, metrics = sys.argv[1:]
end = time.time() + 50
while time.time() < end:
    if Path(metrics).exists() and Path(metrics).read_text().count("\\n") >= 2:
        for task in Path(f"/proc/{parent}/task").iterdir():
            for child in (task / "children").read_text().split():
                line = Path(f"/proc/{child}/cmdline").read_bytes()
                if b"spawn_main" in line and int(child) != os.getpid():
                    os.kill(int(child), signal.SIGKILL)
                    sys.exit(0)
    time.sleep(0.02)
sys.exit(1)
"""


def test_a_run_whose_workers_are_always_lost_is_given_up(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'spawn_main' in ' '.join(sys.orig_argv): os._exit(9)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path.cwd()}")
    found = list(run_on_workers(plan(small(0), tmp_path), 1))
    assert found[0][1].status == "failed"
    assert f"lost {RETRIES + 1} times (exit code 9)" in found[0][1].error


def test_an_interrupted_sweep_leaves_checkpoints_and_goes_on(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "recipe: digits\nsettings: {method: static, density: 0.1, epochs: 60}\ngrid: {seed: [0]}\n"
    )
    command = [sys.executable, "-m", "pwmpr", "sweep", str(path), "--workers", "1", "--quiet"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
    folder = read_plan(path)[0].folder
    end = time.time() + 60
    while time.time() < end and not (
        (folder / "metrics.jsonl").exists() and (folder / "metrics.jsonl").stat().st_size
    ):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not (folder / "result.json").exists()
    assert RunFolder.open(folder).checkpoints
    assert main(["sweep", str(path), "--workers", "1", "--quiet"]) == 0
    assert (folder / "result.json").exists()


# the other engines


def test_jobs_of_submitit_carry_out_a_sweep_on_this_machine(tmp_path):
    pytest.importorskip("submitit", reason="submitit is not installed")
    found = sweep(small(0), "slurm", 1, out=tmp_path, cluster="local", timeout_min=5)
    assert [o.status for o in found.outcomes] == ["done"]
    assert (tmp_path / "slurm").is_dir()


def test_a_job_whose_time_is_up_is_submitted_again():
    submitit = pytest.importorskip("submitit", reason="submitit is not installed")
    from pwmpr.sweeping.on_slurm import Job

    task = plan(small(0))[0]
    again = Job().checkpoint(task)
    assert isinstance(again, submitit.helpers.DelayedSubmission)
    assert again.args == (task,)


def test_without_slurm_the_engine_says_so(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TopographError, match="cannot be submitted"):
        sweep(small(0), "slurm", out=tmp_path, cluster="slurm")


@pytest.mark.filterwarnings("ignore")
def test_ray_carries_out_a_sweep_and_begins_the_run_of_a_killed_worker_again(tmp_path):
    ray = pytest.importorskip("ray", reason="ray is not installed")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        metrics = plan(small(0, epochs=40), tmp_path)[0].folder / "metrics.jsonl"
        killer = subprocess.Popen([sys.executable, "-c", RAY_KILLER, str(metrics)])
        found = sweep(small(0, epochs=40), "ray", 1, out=tmp_path)
        killer.wait(timeout=60)
        assert killer.returncode == 0
        assert [(o.status, o.error) for o in found.outcomes] == [("done", "")]
        with pytest.raises(TopographError, match="takes 2 GPU"):
            sweep(small(1), "ray", out=tmp_path, gpus=2)
    finally:
        ray.shutdown()


RAY_KILLER = """
import os, signal, sys, time
from pathlib import Path
metrics = Path(sys.argv[1])
end = time.time() + 240
while time.time() < end:
    if metrics.exists() and metrics.read_text().count("\\n") >= 2:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if line.startswith(b"ray::carry_out"):
                os.kill(int(entry.name), signal.SIGKILL)
                sys.exit(0)
    time.sleep(0.02)
sys.exit(1)
"""


@pytest.mark.parametrize(
    ("engine", "options", "says"),
    [("dask", {}, '"local"'), ("local", {"gpus": 1}, "takes no gpus"), ("ray", {"gpu": 1}, "gpus")],
)
def test_engines_and_options_that_are_none_are_refused(tmp_path, engine, options, says):
    with pytest.raises(TopographError, match=says):
        sweep(small(0), engine, out=tmp_path, **options)


# the command


def test_the_command_lists_runs_and_fails_where_one_failed(tmp_path, capsys):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "recipe: digits\nsettings: {method: static, density: 0.1, epochs: 1}\n"
        "grid: {lr: [0.02, 1.0e+30]}\n"
    )
    assert main(["sweep", str(path), "--list"]) == 0
    assert capsys.readouterr().out.count("to do") == 2
    table = tmp_path / "table.csv"
    assert main(["sweep", str(path), "--workers", "1", "--quiet", "--csv", str(table)]) == 1
    out, err = capsys.readouterr()
    assert "1 of 2 runs finished" in out
    assert "failed" in err
    assert "lower lr" in err
    assert len(pd.read_csv(table)) == 2
    assert json.loads((read_plan(path)[0].folder / "settings.json").read_text())["settings"]["lr"]
