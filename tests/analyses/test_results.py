"""The page of results says what the kept histories say."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: A figure of each paper, of the quick ones; `make figures` draws all.
SOME = ["cost", "dormant_neurons"]


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "analyses"))
    return importlib.import_module("results")


def test_the_page_says_what_the_histories_say(results: ModuleType) -> None:
    assert results.main(["--check", "--only", *SOME]) == results.PAGE


def test_a_number_that_the_histories_do_not_hold_is_found(
    results: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = results.PAGE.read_text(encoding="utf-8")
    begun = page.index("<!-- draw dormant_neurons")
    place = page.index("| 10 |", begun)
    changed = tmp_path / "results.md"
    changed.write_text(page[:place] + "| 11 |" + page[place + 6 :], encoding="utf-8")
    monkeypatch.setattr(results, "PAGE", changed)
    with pytest.raises(SystemExit, match="does not say what its histories say"):
        results.main(["--check", "--only", "dormant_neurons"])


def test_every_picture_of_the_page_is_there_and_every_script_is_on_it(results: ModuleType) -> None:
    page = results.PAGE.read_text(encoding="utf-8")
    drawn = {block[1].split()[0] for block in results.BLOCK.findall(page)}
    scripts = {
        path.stem
        for path in (ROOT / "analyses").glob("*.py")
        if "present(" in path.read_text(encoding="utf-8") and path.stem != "present"
    }
    assert drawn == scripts
    for image in results.PAGE.parent.glob("images/results/*.png"):
        assert f"images/results/{image.name}" in page
