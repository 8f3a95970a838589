"""What a file that holds a program is good for: refused, or loaded where it is trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from topograph.errors import TopographError


def read_torchscript(path: Path) -> Any:
    """Refuse a TorchScript program: its weights cannot be had without its code."""
    raise TopographError(
        f"{path} is a TorchScript program; expected weights",
        'load it where it is trusted and save its weights: torch.save(m.state_dict(), "w.pt")',
    )


def read_exported(path: Path, trust: bool = False) -> Any:
    """Return the module of a ``.pt2`` program, which runs code pickled in it."""
    if not trust:
        raise TopographError(
            f"{path} is an exported program (.pt2), and loading one runs pickled code",
            "save the weights alone, or pass trust=True for a file from a source that you trust",
        )
    return torch.export.load(path).module()
