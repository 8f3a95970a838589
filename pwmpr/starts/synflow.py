"""Which weights carry the paths of a network: SynFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from pwmpr.masks import Masks
from pwmpr.sampling import largest
from pwmpr.scope import parameters_named
from topograph.capturing.trace import ExampleInput
from topograph.errors import TopographError
from topograph.flow import path_flow

#: Rounds of scoring and pruning; one round, the published code's default, collapses layers.
ROUNDS = 100


def synaptic_saliency(
    model: nn.Module, masks: Masks, example_input: ExampleInput
) -> dict[str, Tensor]:
    """Return |∂R/∂θ · θ| of every kept weight, up to one common factor; 0 for missing ones.

    R is the summed output of the network made linear with weights |θ ⊙ m| on an all-ones input,
    carried as block floating point, so that no depth overflows. The saliency of all weights into a
    unit equals that of all weights out of it; in a strictly layered network every layer's sum is R.

    Parameters
    ----------
    model : nn.Module
    masks : Masks
    example_input : tensor, tuple or dict
        Only shapes matter.

    Raises
    ------
    TopographError
        If the model cannot be captured, or a masked weight lies on no modelled path.

    References
    ----------
    Tanaka, Kunin, Yamins & Ganguli 2020, "Pruning neural networks without any data by iteratively
    conserving synaptic flow", NeurIPS, eq. 5.
    """
    scores = path_flow(model, example_input, masks=masks).scores
    saliency = {}
    for name, parameter in parameters_named(model, masks.shapes).items():
        if name not in scores:
            raise TopographError(
                f"there is no path score for {name!r}: it lies on no modelled path",
                "keep that weight dense (dense=...), or use another rule",
            )
        kept = masks[name].to(parameter.device)
        size = parameter.detach().abs().to(scores[name].dtype)
        saliency[name] = torch.where(kept, scores[name] * size, 0)
    return saliency


def synflow_positions(
    model: nn.Module,
    example_input: ExampleInput,
    shapes: Mapping[str, tuple[int, ...]],
    count: int,
    rounds: int = ROUNDS,
) -> dict[str, np.ndarray]:
    """Prune to ``count`` weights in rounds, each to density ρ^(k/rounds), scored with masks on.

    Counts are exact in every round: ⌈n ρ^(k/rounds)⌉ weights of highest saliency over all layers
    at once, ties to the lower position.

    Returns
    -------
    dict
        Parameter name to flat positions, ascending.

    References
    ----------
    Tanaka et al. 2020, Algorithm 1.
    """
    size = sum(math.prod(shape) for shape in shapes.values())
    masks = Masks({name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()})
    chosen: dict[str, Tensor] = {}
    for k in range(1, rounds + 1):
        kept = count if k == rounds else math.ceil(size * (count / size) ** (k / rounds))
        saliency = synaptic_saliency(model, masks, example_input)
        chosen = largest(saliency, min(max(kept, count), masks.count), dict(masks))
        masks = _masks(chosen, shapes)
    return {name: index.numpy() for name, index in chosen.items()}


def _masks(chosen: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> Masks:
    masks = {}
    for name, shape in shapes.items():
        mask = torch.zeros(math.prod(shape), dtype=torch.bool)
        mask[chosen[name]] = True
        masks[name] = mask.reshape(shape)
    return Masks(masks)
