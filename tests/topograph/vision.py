"""Lets torchvision be imported where its compiled operators do not load.

Its wheel on the package index is built for CUDA and does not load beside a CPU torch. The models
need none of its operators, but the import needs two of them declared.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch

_KEPT: list[Any] = []  # operators go when their library is collected


def declare_operators() -> None:
    """Declare torchvision's operators if it is installed and its own do not load."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or _KEPT:
        return
    (folder,) = spec.submodule_search_locations or [""]
    try:
        torch.ops.load_library(str(Path(folder) / "_C.so"))
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
