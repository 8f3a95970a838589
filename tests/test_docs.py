"""Do the pages' examples run, does the reference hold every public name, is the notebook true?"""

from __future__ import annotations

import doctest
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOTEBOOK = DOCS / "inspect.ipynb"
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")
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


def texts(notebook: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a pair a code cell: its source, and all the text that it put out."""
    pairs = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            parts = [
                out["text"] if out["output_type"] == "stream" else out["data"]["text/plain"]
                for out in cell["outputs"]
            ]
            pairs.append(("".join(cell["source"]), "\n".join("".join(part) for part in parts)))
    return pairs


# Sockets in a folder instead of ports: nothing else on the machine can listen or speak.
EXECUTE = """
import sys, nbclient, nbformat
from jupyter_client import AsyncKernelManager
notebook = nbformat.read(sys.argv[1], as_version=4)
kernel = AsyncKernelManager(kernel_name="python3", transport="ipc")
nbclient.NotebookClient(notebook, km=kernel, timeout=300).execute()
nbformat.write(notebook, sys.argv[2])
"""


def test_the_notebook_puts_out_what_is_stored_in_it(tmp_path, monkeypatch):
    pytest.importorskip("nbclient", reason="nbclient, of the extra docs, is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat comes with nbclient")
    pytest.importorskip("ipykernel", reason="ipykernel, of the extra docs, is not installed")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    stored = texts(notebook)
    # In a process of its own, whose sockets end with it.
    made = tmp_path / "executed.ipynb"
    command = [sys.executable, "-c", EXECUTE, str(NOTEBOOK), str(made)]
    subprocess.run(command, check=True, timeout=300)
    notebook = nbformat.read(made, as_version=4)
    for (source, now), (_, then) in zip(texts(notebook), stored, strict=True):
        # Words are the same; numbers may differ in what the sums of another processor differ in.
        assert NUMBER.sub("#", now).split() == NUMBER.sub("#", then).split(), source
        values = [[float(n.replace(",", "")) for n in NUMBER.findall(text)] for text in (now, then)]
        assert values[0] == pytest.approx(values[1], rel=0.05, abs=0.02), source


def test_the_notebook_is_small_and_holds_its_outputs_and_nothing_of_the_machine_it_ran_on():
    content = NOTEBOOK.read_text(encoding="utf-8")
    assert len(content) < 600_000
    for cell in json.loads(content)["cells"]:
        for out in cell.get("outputs", ()):
            assert out.get("name") != "stderr"
            assert out["output_type"] != "error"
            held = json.dumps(out.get("data", out.get("text")))
            assert not re.search(r"[\"' (](/[a-z]+){2,}", re.sub(r"</?\w+", "", held)), held[:200]
    outputs = [cell["outputs"] for cell in json.loads(content)["cells"] if "outputs" in cell]
    shown = [kind for cell in outputs for out in cell for kind in out.get("data", ())]
    assert shown.count("text/html") >= 2
    assert "image/png" in shown


def test_every_page_is_in_the_navigation():
    names = set(
        re.findall(r"[\w/-]+\.(?:md|ipynb)", (DOCS.parent / "mkdocs.yml").read_text("utf-8"))
    )
    pages = {
        str(page.relative_to(DOCS)) for page in DOCS.rglob("*") if page.suffix in {".md", ".ipynb"}
    }
    assert names == pages


def test_no_blank_line_cuts_a_table_in_two():
    for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]:
        lines = ["", *page.read_text(encoding="utf-8").splitlines(), ""]
        for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
            if line.startswith("|") and not before.strip():
                assert after.startswith("|--"), f"{page.name}: {line[:60]}"
