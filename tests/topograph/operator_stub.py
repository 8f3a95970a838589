"""Lets packages that import torchvision be imported where its wheel is for another torch."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

_LIBRARIES: list[Any] = []  # operators go when their library is collected


def stub_torchvision() -> None:
    """Declare the two operators that torchvision's CUDA wheel cannot load beside a CPU torch.

    No model uses them, but neither torchvision nor what imports it can be imported without.
    """
    if not importlib.util.find_spec("torchvision") or hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _LIBRARIES.append(library)
