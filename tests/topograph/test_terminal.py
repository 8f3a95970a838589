"""What a report looks like on a terminal: width, colours, names that would steer it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

import topograph as tg
from topograph.cli import main
from topograph.inspection import Report
from topograph.inspection.terminal import report_parts

EVIL = "\x1b[31mred\u202e[bold]"


@pytest.fixture(scope="module")
def report() -> Report:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module(EVIL, nn.Linear(8, 20))
    model.add_module("a_second_layer_with_a_long_name_" * 3, nn.Linear(20, 12))
    model.add_module("last", nn.Linear(12, 3))
    masks = {f"{EVIL}.weight": torch.rand(20, 8) < 0.2}
    report = tg.inspect(model, masks=masks)
    return replace(report, title=f"{report.title}\r\nof a file")


def shown(report: Report, width: int, **options: object) -> str:
    out = io.StringIO()
    Console(file=out, width=width, **options).print(report)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 110, 200])
def test_no_line_is_wider_than_the_terminal(report: Report, width: int) -> None:
    text = shown(report, width)
    assert max(map(len, text.splitlines())) <= width
    first = report.layers.sort_values("dead", ascending=False).iloc[0]
    row = next(line for line in text.splitlines() if line.startswith(r"\x1b") and "%" in line)
    assert f" {first['dead']} " in row
    assert (f" {first['k_shell_max']}" in row) == (width > 80)
    joined = "".join(line.split("  ")[0].strip() for line in text.splitlines())
    assert "a_second_layer_with_a_long_name_" * 3 in joined  # folded, not cut


def test_names_do_not_steer_the_terminal(report: Report) -> None:
    for text in (str(report), shown(report, 110), shown(report, 110, force_terminal=True)):
        assert "\u202e" not in text
        assert "\r" not in text
        assert "\x1b[31mred" not in text
    assert r"\x1b[31mred\u202e[bold]" in str(report)
    assert r"Sequential\r\nof a file" in shown(report, 110)
    assert "\x1b" not in shown(report, 110)


def test_a_name_that_utf8_cannot_hold(report: Report, tmp_path: Path) -> None:
    layers = report.layers.astype({"layer": object})
    layers.loc[2, "layer"] = "\udcff"
    odd = replace(report, title="\udcff", layers=layers)
    for suffix in ("html", "json", "csv"):
        assert "\\udcff" in odd.save(tmp_path / f"a.{suffix}").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["title"] == "\udcff"


def test_colours_are_for_terminals(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[1m" in shown(report, 110, force_terminal=True, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31" not in shown(report, 110, force_terminal=True)


def test_top_sets_the_rows(report: Report) -> None:
    def rows(top: int) -> int:
        out = io.StringIO()
        console = Console(file=out, width=200)
        for part in report_parts(report, top):
            console.print(part)
        return sum(line.startswith(("last", "a_second")) for line in out.getvalue().splitlines())

    assert rows(0) == 0
    assert rows(1) < rows(10)


def test_output_to_a_file_has_no_escapes(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(nn.Linear(4, 3).state_dict(), path)
    words = ["-m", "topograph", "inspect", str(path), "--model", "torch.nn:Linear(4, 3)"]
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        env=os.environ | {"TERM": "xterm-256color"},
        cwd=Path(__file__).parents[2],
        check=True,
    )
    assert b"\x1b" not in done.stdout
    assert b"1 of 1 weighted operators" in done.stdout


def test_masks_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, masks = tmp_path / "weights.pt", tmp_path / "masks.pt"
    torch.save(nn.Linear(4, 3).state_dict(), weights)
    kept = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 1, 1]])
    torch.save({"masks": {"weight_mask": kept}}, masks)
    words = ["inspect", str(weights), "--model", "torch.nn:Linear(4, 3)", "--masks"]
    assert main([*words, str(masks)]) == 0
    assert "7 of 12 weights are kept" in capsys.readouterr().out
    torch.save({"epoch": 3}, masks)
    assert main([*words, str(masks)]) == 1
    assert "holds no masks" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "none.pt")]) == 1


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(nn.Linear(6, 5).state_dict(), path)
    written = []
    for k in range(2):
        report = tg.inspect(path, model="torch.nn:Linear(6, 5)")
        files = [report.save(tmp_path / f"{k}.{suffix}") for suffix in ("html", "json", "csv")]
        written.append([file.read_bytes() for file in files])
    assert written[0] == written[1]
