"""Which settings of torch would make path sums less exact than their type: put aside here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Run the body without autocast, TensorFloat-32, bf16 products and inference mode.

    Each costs three to five digits, or forbids gradients. Everything is put back afterwards.
    """
    cudnn: Any = torch.backends.cudnn
    mkldnn: Any = torch.backends.mkldnn
    switches: tuple[Any, ...] = (
        torch.backends.cuda.matmul,
        cudnn.conv,
        mkldnn.matmul,
        mkldnn.conv,
    )
    before = [switch.fp32_precision for switch in switches]
    kinds = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    try:
        for switch in switches:
            switch.fp32_precision = "ieee"
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            for kind in kinds:
                stack.enter_context(torch.autocast(kind, enabled=False))
            yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value
