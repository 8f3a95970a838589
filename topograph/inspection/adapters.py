"""What a model's weights are with a LoRA adapter merged into them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from topograph.errors import TopographError

_PART = re.compile(r"^(?:base_model\.model\.)?(.*)\.lora_([AB])(?:\.\w+)?\.weight$")
#: Settings with which W + s B A is not the merged weight, or not with one rank and scale.
_UNKNOWN = ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "lora_bias")


def merge_adapter(
    model: nn.Module, state: Mapping[str, Tensor], config: Mapping[str, Any], origin: str
) -> tuple[dict[str, Tensor], int]:
    """Return the weights W + s B A that a LoRA adapter makes of a model's, and how many.

    Hu et al. 2021: s is ``lora_alpha / r``, or ``lora_alpha / √r`` with ``use_rslora``. The model
    is not changed.

    Raises
    ------
    TopographError
        If it is another kind of adapter, or does not fit the model.
    """
    used = [key for key in _UNKNOWN if config.get(key)]
    if str(config.get("peft_type", "")).upper() != "LORA" or used:
        kind = f"{config.get('peft_type')}{' with ' + ', '.join(used) if used else ''}"
        raise TopographError(
            f"{origin} holds an adapter of the kind {kind}; expected a plain LoRA",
            "merge it (peft's merge_and_unload) and save the merged model",
        )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, (int, float)):
        raise TopographError(
            f"{origin} has r={rank!r} and lora_alpha={alpha!r}; expected numbers",
            "save the adapter again",
        )
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        mark = _PART.match(key)
        if mark is None:
            raise TopographError(
                f"{origin} holds {key}, which is no part of a LoRA on a linear layer",
                "merge the adapter (peft's merge_and_unload) and save the merged model",
            )
        parts.setdefault(mark[1], {})[mark[2]] = value
    weights = dict(model.named_parameters(remove_duplicate=False))
    merged = {}
    for name, pair in parts.items():
        weight = weights.get(f"{name}.weight")
        if weight is None or pair.keys() != {"A", "B"}:
            raise TopographError(
                f"{origin} changes {name}, which {type(model).__name__} does not have",
                f"pass the model that it was made for: {config.get('base_model_name_or_path')}",
            )
        change = pair["B"].double() @ pair["A"].double()
        change = change.T if config.get("fan_in_fan_out") else change
        if change.shape != weight.shape:
            raise TopographError(
                f"{origin} changes {name} by a matrix of shape {tuple(change.shape)}; the model "
                f"has {tuple(weight.shape)}",
                f"pass the model that it was made for: {config.get('base_model_name_or_path')}",
            )
        held = weight.detach().double().cpu() + scale * change.cpu()
        merged[f"{name}.weight"] = held.to(weight.dtype)
    return merged, len(merged)
