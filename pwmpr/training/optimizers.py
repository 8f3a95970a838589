"""Which optimiser a run's settings name."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pwmpr.method import method_named
from pwmpr.settings import Settings


def build_optimizer(settings: Settings, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser of all parameters that ask for gradients.

    A fused one where it has state for every weight. Fused kernels round the last few elements of a
    tensor otherwise than the rest, so that a vector of kept weights would not get to the last bit
    the values that they have in the whole tensor; and over so short vectors they gain nothing.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kind: type[torch.optim.Optimizer]
    options: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        kind = torch.optim.SGD
        options |= {"momentum": settings.momentum, "nesterov": settings.nesterov}
    else:
        kind = torch.optim.AdamW
    whole = method_named(settings.method).strategy in ("dense", "thresholds")
    if settings.optimizer_state == "kept" and not whole:
        return kind(parameters, **options)
    try:
        return kind(parameters, **options, fused=True)
    except RuntimeError:  # a parameter's type or device has no fused kernel
        return kind(parameters, **options)
