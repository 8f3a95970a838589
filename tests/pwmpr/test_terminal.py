"""What does somebody see on a terminal of 80 columns, and what gets into a pipe?"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import yaml

import pwmpr

ROOT = Path(__file__).resolve().parents[2]
RUN = ["run", "digits", "--method", "random", "--start", "random", "--start-density", "0.1",
       "--density", "0.12", "--rough-epochs", "1", "--epochs", "3", "--model", "mlp-64-9-10",
       "--batch", "512"]  # fmt: skip
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment() -> dict[str, str]:
    held = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        held.pop(name, None)
    return held


def on_terminal(*arguments: str, status: int = 0) -> str:
    """Return all that a command writes on a terminal of 80 columns, control codes and all."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "pwmpr", *arguments],
        env=environment(), stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True,
    )  # fmt: skip
    os.close(theirs)
    held = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side was closed
            break
        if not part:
            break
        held += part
    os.close(ours)
    assert process.wait() == status, held.decode()
    return held.decode()


def screen(raw: str) -> list[str]:
    """Return the lines that stand there at the end: after a carriage return text lies over text."""
    lines = []
    for line in ESCAPE.sub("", raw).split("\n"):
        seen = ""
        for part in line.rstrip("\r").split("\r"):
            seen = part + seen[len(part) :]
        lines.append(seen.rstrip())
    return lines


def piped(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pwmpr", *arguments],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_run_prints_its_settings_a_bar_and_the_result_in_80_columns(tmp_path):
    folder = str(tmp_path / "r")
    raw = on_terminal(*RUN, "--out", folder)
    lines = screen(raw)
    end = lines.index(f"folder: {folder}")
    printed = yaml.safe_load("\n".join(lines[:end]))
    result = pwmpr.load(folder)
    assert printed["method"] == "random"
    assert printed["start_density"] == 0.1
    assert set(printed) == set(result.settings.to_dict())
    (bar,) = [line for line in lines if f"extensive, density {result.density:.3g}" in line]
    steps = result.summary["steps"]
    assert f"{steps}/{steps}" in bar
    assert "100%|" in bar
    assert len(bar) <= 80
    assert lines.index(bar) > end
    assert str(result).splitlines()[3] in lines
    assert lines[-2] == f"folder    {folder}"
    rest = screen(on_terminal("resume", folder))
    assert [line for line in rest if line] == [line for line in str(result).splitlines() if line]


def test_quiet_shows_the_result_alone(tmp_path):
    folder = str(tmp_path / "r")
    raw = on_terminal(*RUN, "--out", folder, "--quiet")
    assert raw.replace("\r\n", "\n").rstrip() == str(pwmpr.load(folder)).rstrip()


def test_a_run_that_goes_on_says_from_where(tmp_path):
    folder = tmp_path / "r"
    result = pwmpr.run("digits", method="static", density=0.2, start="random", epochs=2,
                       model="mlp-64-9-10", out=folder)  # fmt: skip
    (folder / "result.json").unlink()
    lines = screen(on_terminal("resume", str(folder)))
    assert "run       digits, method static, seed 0" in lines
    assert any(line.startswith("state     unfinished: extensive") for line in lines)
    assert str(pwmpr.load(folder)) in "\n".join(lines)
    assert pwmpr.load(folder).accuracy == result.accuracy


def test_a_pipe_gets_neither_control_codes_nor_remains_of_bars(tmp_path):
    plan = tmp_path / "plan.yaml"
    quick = "{epochs: 2, method: static, density: 0.2, start: random, model: mlp-64-9-10}"
    plan.write_text(f"recipe: digits\nsettings: {quick}\ngrid: {{seed: [0, 1]}}\n")
    folder = str(tmp_path / "r")
    for arguments in (
        [*RUN, "--out", folder], ["show", folder], ["methods"],
        ["sweep", str(plan), "--workers", "1"],
    ):  # fmt: skip
        done = piped(*arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert not set(done.stdout) & set("\x1b\r\b█"), arguments
        assert "%|" not in done.stdout
        assert done.stdout.strip()


def test_two_workers_of_a_sweep_share_one_bar(tmp_path):
    plan = tmp_path / "plan.yaml"
    quick = "{epochs: 2, method: static, density: 0.2, start: random, model: mlp-64-9-10}"
    plan.write_text(f"recipe: digits\nsettings: {quick}\ngrid: {{seed: [0, 1, 2]}}\n")
    raw = on_terminal("sweep", str(plan), "--workers", "2")
    lines = screen(raw)
    bars = [line for line in lines if "%|" in line]
    assert len(bars) == 1
    assert bars[0].startswith("sweep: 100%|")
    assert "3/3" in bars[0]
    assert all(part.startswith("sweep:") for part in raw.split("\r") if "%|" in part)
    assert "3 of 3 runs finished" in lines
    assert not [line for line in lines if len(line) > 80]
    again = screen(on_terminal("sweep", str(plan), "--workers", "2"))
    assert "3 of 3 runs finished, 3 of them before" in again


def test_lists_and_tables_fit_80_columns(tmp_path):
    pwmpr.run("digits", method="random", start="random", start_density=0.1, density=0.2, epochs=2,
              rough_epochs=1, model="mlp-64-9-10", out=tmp_path / "r")  # fmt: skip
    for arguments in (["recipes"], ["methods"], ["show", str(tmp_path / "r")]):
        lines = screen(on_terminal(*arguments))
        # Folders are not broken, so that they can be copied.
        long = [line for line in lines if len(line) > 80 and str(tmp_path) not in line]
        assert not long
    names = [line.split()[0] for line in screen(on_terminal("methods")) if line[:1].strip()]
    assert set(names) >= {"pwmpr", "rigl", "imp-c"}


@pytest.mark.parametrize("quiet", [False, True])
def test_a_mistake_is_one_line_on_a_terminal_too(tmp_path, quiet):
    more = ["--quiet"] if quiet else []
    out = str(tmp_path / "r")
    raw = on_terminal("run", "digts", "--out", out, *more, status=1)
    assert "\x1b" not in raw
    assert raw.startswith("pwmpr: ")
    assert 'recipe="digits"' in raw
    assert raw.count("\n") == 1
