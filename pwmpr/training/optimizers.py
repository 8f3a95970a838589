"""Which optimiser a run's settings name."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pwmpr.settings import Settings


def build_optimizer(settings: Settings, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser of all parameters that ask for gradients, fused where that works."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kind: type[torch.optim.Optimizer]
    options: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        kind = torch.optim.SGD
        options |= {"momentum": settings.momentum, "nesterov": settings.nesterov}
    else:
        kind = torch.optim.AdamW
    try:
        return kind(parameters, **options, fused=True)
    except RuntimeError:  # a parameter's type or device has no fused kernel
        return kind(parameters, **options)
