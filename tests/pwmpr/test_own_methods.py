"""Do rules that a script registers run by name on the command line and in a sweep's workers?"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pwmpr.folder import RunFolder

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"
RULES = '''
from pwmpr.growth import register as growth_rule
from pwmpr.rewiring import drop_counts, missing_after, smallest, strongest
from pwmpr.rewiring import register as rewiring_rule


@growth_rule("first-missing")
def first_missing(step, count):
    """The missing weights that come first."""
    found = {}
    for name, free in step.missing().items():
        found[name] = free.reshape(-1).nonzero().reshape(-1)[:count]
        count -= len(found[name])
    return found


@rewiring_rule("poorest", update_every=5, update_fraction=0.2, start="erk")
def poorest(step):
    """Grow into the units with the fewest connections."""
    counts = drop_counts(step.masks, step.fraction)
    dropped = smallest(step.weights(), step.masks, counts)
    need = {n: 1 / (1 + m.sum(1, keepdim=True)).expand(m.shape) for n, m in step.masks.items()}
    return step.change(dropped, strongest(need, missing_after(step.masks, dropped), counts))
'''
PLAN = """
recipe: digits
settings: {density: 0.1, epochs: 1, rough_epochs: 1, start_density: 0.09, start: random}
grid: {method: [poorest, first-missing]}
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The script of the page, beside the rules that it imports."""
    found = re.search(r"```python\n(# mine\.py\n.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert found is not None
    (tmp_path / "my_rules.py").write_text(RULES, encoding="utf-8")
    (tmp_path / "mine.py").write_text(found[1], encoding="utf-8")
    (tmp_path / "study.yaml").write_text(PLAN, encoding="utf-8")
    return tmp_path / "mine.py"


def call(script: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, script.name, *words],
        cwd=script.parent, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_rule_of_ones_own_runs_by_name(script):
    assert "poorest" in call(script, "methods")
    call(script, "run", "digits", "--method", "poorest", "--density", "0.1", "--epochs", "1",
         "--out", "one")  # fmt: skip
    folder = RunFolder.open(script.parent / "one")
    assert folder.settings()["settings"]["update_every"] == 5
    assert folder.finished


def test_workers_of_a_sweep_know_the_rules_that_the_script_imports(script):
    call(script, "sweep", "study.yaml", "--workers", "1")
    folders = sorted((script.parent / "study").glob("*/settings.json"))
    found = {RunFolder.open(path.parent).settings()["settings"]["method"] for path in folders}
    assert found == {"poorest", "first-missing"}
    assert all(RunFolder.open(path.parent).finished for path in folders)
