"""What a run minimises, and what it counts as right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from pwmpr.models.rbm import Energies

Loss = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Objective:
    """A loss with its measure of accuracy.

    Attributes
    ----------
    loss
        ``loss(output, target)``, a scalar.
    hits
        ``hits(output, target)``: how many of ``target.numel()`` targets are met, as a scalar
        tensor; None where nothing can be counted.
    own_targets
        Whether the inputs themselves, flattened, are the targets.
    """

    loss: Loss
    hits: Callable[[Any, Tensor], Tensor | None]
    own_targets: bool = False


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy; classes are the last dimension where that alone fits.

    Parameters
    ----------
    output
        Logits (B, C), (B, …, C) or (B, C, …).
    target
        Class numbers (B,) or (B, …), or probabilities of classes (B, C).
    """
    if output.ndim > 2 and output.shape[:-1] == target.shape:
        output, target = output.flatten(0, -2), target.flatten()
    return F.cross_entropy(output, target)


def correct(output: Tensor, target: Tensor) -> Tensor | None:
    """Return how many targets the highest logit names, as a scalar tensor."""
    if target.is_floating_point():
        return None
    last = output.ndim > 2 and output.shape[:-1] == target.shape
    return (output.argmax(-1 if last else 1) == target).sum()


def contrastive_divergence(output: Tensor | Energies, target: Tensor) -> Tensor:
    """Return the mean difference of free energies in training, else the reconstruction error.

    Parameters
    ----------
    output
        What a `pwmpr.models.RBM` returns: energies in training mode; logits (B, V) otherwise.
    target
        The visible units, 0 to 1, shape (B, V).
    """
    if isinstance(output, Energies):
        return (output.data - output.model).mean()
    return F.binary_cross_entropy_with_logits(output, target)


def reconstructed(output: Tensor | Energies, target: Tensor) -> Tensor | None:
    """Return how many visible units come back on the right side of one half."""
    if isinstance(output, Energies):
        return None
    return ((output > 0) == (target > 0.5)).sum()


OBJECTIVES = {
    "cross-entropy": Objective(cross_entropy, correct),
    "contrastive-divergence": Objective(contrastive_divergence, reconstructed, own_targets=True),
}
