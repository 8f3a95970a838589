"""How well a network does on a split: its mean loss and accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from pwmpr.data.batches import Batches
from pwmpr.training.group import Group
from pwmpr.training.machine import Machine
from pwmpr.training.objectives import Objective

EVALUATION_BATCH = 512


@dataclass(frozen=True)
class Score:
    """Mean loss and accuracy (0 to 1) over all targets of a split."""

    loss: float
    accuracy: float


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Batches,
    objective: Objective,
    machine: Machine,
    group: Group | None = None,
    between: Callable[[], None] = lambda: None,
) -> Score:
    """Return a network's score on a split, in evaluation mode; the mode is put back afterwards.

    Several processes take the batches in turn and add up what they find. ``between`` is called
    after every batch.
    """
    training = model.training
    group = group or Group()
    group.settle(model)
    model.eval()
    total = torch.zeros((), dtype=torch.float64)
    hits = torch.zeros((), dtype=torch.int64)
    targets = samples = 0
    total, hits = total.to(machine.device), hits.to(machine.device)
    for number, (x, y) in enumerate(batches.in_order(EVALUATION_BATCH)):
        if number % group.size != group.rank:
            continue
        with machine.autocast():
            output = model(x)
            value = objective.loss(output, y)
        total += value.double() * len(y)
        samples += len(y)
        met = objective.hits(output, y)
        if met is not None:
            hits += met
            targets += y.numel()
        between()
    model.train(training)
    if group.size > 1:
        counts = torch.tensor([samples, targets], dtype=torch.float64, device=machine.device)
        found = group.total(torch.cat([total[None], hits[None].double(), counts]))
        total, hits = found[0], found[1]
        samples, targets = int(found[2]), int(found[3])
    accuracy = float(hits) / targets if targets else float("nan")
    return Score(float(total) / max(1, samples), accuracy)
