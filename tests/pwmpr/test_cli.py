"""Does the command line run, resume and show, and say in one line what is wrong?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pwmpr
from pwmpr.cli import main
from pwmpr.options import descriptions, parse
from pwmpr.settings import NAMES
from topograph.errors import TopographError

QUICK = [
    "--method",
    "random",
    "--start",
    "random",
    "--rough-epochs",
    "1",
    "--epochs",
    "2",
    "--quiet",
]
ROOT = Path(__file__).resolve().parents[2]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_run_show_and_resume_print_the_result(tmp_path, capsys):
    folder = str(tmp_path / "r")
    assert main(["run", "digits", "--density", "0.08", "--out", folder, *QUICK]) == 0
    ran = capsys.readouterr().out
    result = pwmpr.load(folder)
    assert f"{result.accuracy:.2%} on test data" in ran
    assert folder in ran
    assert main(["show", folder]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(ran.strip())
    assert "extensive" in shown
    assert main(["show", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["density"] == result.density
    assert main(["resume", folder, "--quiet"]) == 0
    assert capsys.readouterr().out == ran


def test_settings_on_the_command_line_are_those_of_python(tmp_path, capsys):
    options = ["--model", "mlp-64-9-10", "--drops", "0.5,0.75", "--seed=3", "--max_density", "0.07"]
    assert main(["run", "digits", "--out", str(tmp_path / "r"), *QUICK, *options]) == 0
    settings = pwmpr.load(tmp_path / "r").settings
    assert (settings.model, settings.drops, settings.seed) == ("mlp-64-9-10", (0.5, 0.75), 3)
    assert settings.max_density == 0.07
    assert settings.rough_epochs == 1


def test_an_unfinished_run_is_shown_with_the_way_on(tmp_path, capsys):
    from pwmpr.folder import RunFolder
    from pwmpr.recipe import recipe_settings

    folder = RunFolder.create(tmp_path / "r")
    folder.write_settings({"settings": recipe_settings("digits").to_dict()})
    assert main(["show", str(tmp_path / "r")]) == 0
    assert "before its first epoch" in capsys.readouterr().out
    row = {"phase": "rough", "cycle": 2, "epoch": 9, "density": 0.08, "val_accuracy": 0.5}
    row |= {"step": 90, "flops": 1000, "seconds": 1.5}
    folder.add_history(row)
    folder.close()
    assert main(["show", str(tmp_path / "r")]) == 0
    shown = capsys.readouterr().out
    assert "rough cycle 2, epoch 9, density 0.08, validation accuracy 50.00%" in shown
    assert "pwmpr resume" in shown


def test_recipes_and_methods_are_listed_with_a_line_each(capsys):
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(pwmpr.recipes())
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    # Rules that other tests have registered are listed too; their names may hold spaces.
    assert all(a.startswith(b) for a, b in zip(lines, pwmpr.methods(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "digts"], 'recipe="digits"'),
        (["run", "cifar10-resnet32"], "data_dir"),
        (["run", "cifar10-resnet32", "--data-dir", "/nowhere"], "/nowhere"),
        (["run", "digits", "--method", "gradent"], 'method="gradient"'),
        (["run", "digits", "--lr", "-1"], "lr"),
        (["resume", "/nowhere"], "/nowhere"),
        (["show", "/nowhere"], "/nowhere"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_with_status_1(
    arguments, says, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert says in captured.err
    assert "Remedy" in captured.err
    assert not list(tmp_path.rglob("settings.json"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["run"], "recipe"),
        (["grow"], "grow"),
        (["run", "digits", "--growth", "0.2"], "did you mean --growth-ratio?"),
        (["run", "digits", "--lr", "fast"], "lr is 'fast'; expected a number"),
        (["run", "digits", "--nonsense", "1"], "--nonsense"),
        (["show"], "DIR"),
        (["resume", "a", "b"], "unrecognized"),
    ],
)
def test_what_cannot_be_understood_has_status_2(arguments, says, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert says in capsys.readouterr().err


def test_debug_shows_the_traceback():
    with pytest.raises(TopographError):
        main(["show", "/nowhere", "--debug"])
    done = python("-m", "pwmpr", "show", "/nowhere")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_help_needs_no_torch():
    code = (
        "import sys, pwmpr.cli\n"
        "try: pwmpr.cli.main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'pandas', 'sklearn'} & set(sys.modules)"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    for name in NAMES[1:]:
        assert f"--{name.replace('_', '-')}" in done.stdout


def test_every_setting_is_described():
    assert all(descriptions()[name] for name in NAMES)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rough_epochs", "5", 5),
        ("rough_epochs", "early-stop", "early-stop"),
        ("density", "none", None),
        ("nesterov", "yes", True),
        ("extensive", "false", False),
        ("dense", "fc.weight,*.out.weight", ("fc.weight", "*.out.weight")),
        ("model_options", '{"shortcut": "B"}', {"shortcut": "B"}),
        ("epochs", "30", 30),
        ("data_dir", "/data", "/data"),
    ],
)
def test_values_are_read_from_text(name, text, value):
    assert parse(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("seed", "1.5"), ("nesterov", "maybe"), ("model_options", "[1]"), ("drops", "a,b")],
)
def test_text_that_is_no_value_is_refused(name, text):
    with pytest.raises(TopographError, match=name):
        parse(name, text)
