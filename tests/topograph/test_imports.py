"""Importing topograph is light: what is heavy is imported where it is used."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {
    "igraph",
    "matplotlib",
    "networkx",
    "pandas",
    "powerlaw",
    "pyarrow",
    "rich",
    "safetensors",
    "scipy.optimize",
    "scipy.stats",
    "sklearn",
    "sympy",
    "timm",
    "torch._dynamo",
    "torch._functorch.aot_autograd",
    "torch._inductor",
    "torch.export",
    "torchvision",
    "transformers",
}


def added(statement: str) -> set[str]:
    """Return the modules that a statement imports which ``import torch`` alone does not."""
    code = (
        f"import sys, torch; before = set(sys.modules); {statement}; "
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_the_package_imports_nothing_but_itself() -> None:
    found = added("import topograph")
    assert found
    assert {name.split(".")[0] for name in found} == {"topograph"}


def test_names_import_nothing_heavy_before_they_are_called() -> None:
    names = ("capture", "structure", "path_flow", "path_sums", "k_shell", "open_weights")
    found = added("; ".join(["import topograph", *(f"topograph.{name}" for name in names)]))
    assert "topograph.capturing.structure" in found
    assert sorted(found & HEAVY) == []
