"""How well a network does on a split: its mean loss and accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pwmpr.data.batches import Batches
from pwmpr.training.machine import Machine

EVALUATION_BATCH = 512

Loss = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Score:
    """Mean loss and accuracy (0 to 1) over all targets of a split."""

    loss: float
    accuracy: float


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy; classes are the last dimension where that alone fits.

    Parameters
    ----------
    output
        Logits (B, C), (B, …, C) or (B, C, …).
    target
        Class numbers (B,) or (B, …).
    """
    if output.ndim > 2 and output.shape[:-1] == target.shape:
        output, target = output.flatten(0, -2), target.flatten()
    return F.cross_entropy(output, target)


def correct(output: Tensor, target: Tensor) -> Tensor:
    """Return how many targets the highest logit names, as a scalar tensor."""
    last = output.ndim > 2 and output.shape[:-1] == target.shape
    return (output.argmax(-1 if last else 1) == target).sum()


@torch.no_grad()
def evaluate(model: nn.Module, batches: Batches, loss: Loss, machine: Machine) -> Score:
    """Return a network's score on a split, in evaluation mode; the mode is put back afterwards."""
    training = model.training
    model.eval()
    total = torch.zeros((), dtype=torch.float64)
    hits = torch.zeros((), dtype=torch.int64)
    targets = samples = 0
    total, hits = total.to(machine.device), hits.to(machine.device)
    for x, y in batches.in_order(EVALUATION_BATCH):
        with machine.autocast():
            output = model(x)
            value = loss(output, y)
        total += value.double() * len(y)
        samples += len(y)
        if not y.is_floating_point():
            hits += correct(output, y)
            targets += y.numel()
    model.train(training)
    accuracy = float(hits) / targets if targets else float("nan")
    return Score(float(total) / max(1, samples), accuracy)
