"""Do the pages' examples run, does the reference hold every public name, is the notebook true?"""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if ">>>" in page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testfile(str(page), module_relative=False, optionflags=flags)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("package", ["topograph", "pwmpr"])
def test_the_reference_holds_every_public_name_where_it_is_defined(package):
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    referenced = set(re.findall(r"^::: (\S+)", pages, re.M))
    home = importlib.import_module(package)
    for name in home.__all__:
        if name == "__version__" or hasattr(getattr(home, name), "__path__"):
            continue
        value = getattr(home, name)
        where = f"{value.__module__}.{value.__qualname__}"
        assert where in referenced, f"docs/api/ says nothing of {package}.{name} ({where})"


def test_the_reference_names_nothing_that_does_not_exist():
    for page in (DOCS / "api").glob("*.md"):
        for path in re.findall(r"^::: (\S+)", page.read_text(encoding="utf-8"), re.M):
            module, _, name = path.rpartition(".")
            assert hasattr(importlib.import_module(module), name), f"{page.name}: {path}"
