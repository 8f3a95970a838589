"""The command line: exit status, one line on standard error, files written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import topograph
from topograph.cli import main

MODEL = "torch.nn:Linear(4, 3)"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": nn.Linear(4, 3).state_dict()}, path)
    return path


def test_inspect_prints_and_writes(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    html, numbers = checkpoint.with_name("a.html"), checkpoint.with_name("a.json")
    words = ["inspect", str(checkpoint), "--model", MODEL]
    assert main([*words, "--html", str(html), "--json", str(numbers)]) == 0
    out = capsys.readouterr()
    assert "1 of 1 weighted operators" in out.out
    assert out.err == ""
    assert html.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert json.loads(numbers.read_text(encoding="utf-8"))["summary"]["weights"] == 12


def test_every_form_is_written(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"html": "html", "json": "json", "csv": "csv", "parquet": "parquet", "figure": "svg"}
    files = {option: checkpoint.with_suffix(f".{suffix}") for option, suffix in names.items()}
    words = [word for option, file in files.items() for word in (f"--{option}", str(file))]
    assert main(["inspect", str(checkpoint), "--model", MODEL, "--top", "0", *words]) == 0
    out = capsys.readouterr().out
    for file in files.values():
        assert f"written: {file}" in out
        assert file.stat().st_size > 100
    assert "Layers that stand out" not in out


@pytest.mark.parametrize("command", ["inspect", "compare"])
def test_help_says_what_each_option_takes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "example: topograph " + command in out
    for option in ("--model", "--input-size", "--tau", "--device", "--trust", "--top", "--debug",
                   "--html", "--json", "--csv"):  # fmt: skip
        assert option in out


def test_the_input_size_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "conv.pt"
    torch.save(nn.Conv2d(2, 3, 3).state_dict(), path)
    words = ["inspect", str(path), "--model", "torch.nn:Conv2d(2, 3, 3)", "--input-size"]
    assert main([*words, "2", "9", "7"]) == 0
    assert "2×9×7" in capsys.readouterr().out
    assert main([*words, "5", "9", "7"]) == 1


def test_a_model_beside_the_user_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    source = "from torch import nn\ndef build():\n    return nn.Linear(4, 3)\n"
    (tmp_path / "my_own_network.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", str(checkpoint), "--model", "my_own_network:build"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-file.pt", "--model", MODEL],
        ["{checkpoint}", "--model", "resnet20"],
        ["{checkpoint}", "--model", "torch.nn:Linear(4, 4)"],
        ["{checkpoint}", "--model", "nowhere:net"],
        ["{checkpoint}", "--model", MODEL, "--tau", "3"],
        ["{checkpoint}", "--model", MODEL, "--html", "report.txt"],
        ["{checkpoint}", "--model", MODEL, "--html", "report"],
        ["{checkpoint}", "--model", MODEL, "--csv", "no/such/folder/layers.csv"],
        ["{checkpoint}", "--model", MODEL, "--device", "nowhere"],
        ["{checkpoint}", "--model", MODEL, "--masks", "no-such-file.pt"],
        ["{checkpoint}", "--model", MODEL, "--input-size", "0"],
    ],
)
def test_bad_input_is_one_line(
    checkpoint: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.format(checkpoint=checkpoint) for word in words]
    assert main(["inspect", *words]) == 1
    out = capsys.readouterr()
    assert len(out.err.splitlines()) == 1
    assert out.err.startswith("topograph: ")
    assert out.out == ""


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(topograph.TopographError):
        main(["inspect", "no-such-file.pt", "--debug"])


@pytest.mark.parametrize(
    "words", [[], ["inspect"], ["unknown"], ["inspect", "a", "--tau", "x"], ["compare", "a"]]
)
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_as_a_process(checkpoint: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONWARNINGS": "default"}
        return subprocess.run(
            [sys.executable, "-m", "topograph", *words],
            capture_output=True,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[2],
            check=False,
        )

    assert run("--version").stdout == f"topograph {topograph.__version__}\n"
    failed = run("inspect", str(checkpoint), "--model", "nowhere:net")
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
