"""Do settings printed as YAML, read again, mean the same run?"""

from __future__ import annotations

import pytest

import pwmpr
from pwmpr.cli import main
from pwmpr.running import resolve
from topograph.errors import TopographError


@pytest.mark.parametrize("recipe", pwmpr.recipes())
def test_printed_settings_are_read_back_as_the_same(tmp_path, capsys, recipe):
    changes = ["--method", "rigl", "--density", "0.2", "--drops", "0.5,0.75"]
    assert main(["run", recipe, "--print-settings", *changes]) == 0
    file = tmp_path / "mine.yaml"
    file.write_text(capsys.readouterr().out)
    expected = resolve(recipe, method="rigl", density=0.2, drops=(0.5, 0.75))
    assert resolve(str(file)) == expected
    assert resolve(str(file), seed=4) == expected.with_changes(seed=4)


def test_a_file_starts_from_a_recipe_and_runs(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("recipe: digits\nmethod: static\ndensity: 0.1\nepochs: 1\n")
    assert main(["run", str(file), "--quiet", "--out", str(tmp_path / "a"), "--seed", "3"]) == 0
    settings = pwmpr.load(tmp_path / "a").settings
    assert (settings.method, settings.epochs, settings.seed) == ("static", 1, 3)
    assert settings.model == resolve("digits").model
    assert pwmpr.run(str(file), out=tmp_path / "b", seed=3, progress=False).settings == settings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("recipe: digits\ngrowth: 0.3\n", "did you mean 'growth_ratio'"),
        ("recipe: digit\n", 'did you mean recipe="digits"'),
        ("recipe: [\n", "YAML"),
        ("- a\n", "holds a list"),
        ("recipe: digits\nlr: fast\n", "a number"),
    ],
)
def test_a_file_that_means_nothing_is_refused(tmp_path, text, says):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(TopographError, match=says):
        pwmpr.run(str(file), out=tmp_path / "r")
    assert not (tmp_path / "r").exists()
    with pytest.raises(TopographError, match="cannot be read"):
        resolve(str(tmp_path / "missing.yaml"))
