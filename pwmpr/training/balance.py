"""Which samples stand for all classes alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def balanced(batches: Iterable[tuple[Any, Tensor]], per_class: int = 10) -> tuple[Any, Tensor]:
    """Return the first samples of every class, as one batch.

    Parameters
    ----------
    batches
        Pairs of inputs and targets. If the targets are no vector of class numbers, or the inputs
        no tensor, the first batch is returned as it is.
    per_class
        Samples of each class; fewer where there are not so many.

    References
    ----------
    Wang, Zhang & Grosse 2020 (GraSP): ten samples of every class.

    Examples
    --------
    >>> labels = torch.tensor([0, 0, 0, 1, 0, 1])
    >>> x, y = balanced([(torch.arange(6), labels)], per_class=2)
    >>> x.tolist(), y.tolist()
    ([0, 1, 3, 5], [0, 0, 1, 1])
    """
    inputs: list[Tensor] = []
    targets: list[Tensor] = []
    counts: dict[int, int] = {}
    for x, y in batches:
        if not torch.is_tensor(x) or y.dim() != 1 or y.is_floating_point():
            return x, y
        chosen = []
        for position, label in enumerate(y.tolist()):
            if counts.get(label, 0) < per_class:
                counts[label] = counts.get(label, 0) + 1
                chosen.append(position)
        if chosen:
            index = torch.tensor(chosen, device=y.device)
            inputs.append(x[index.to(x.device)])
            targets.append(y[index])
    return torch.cat(inputs), torch.cat(targets)
