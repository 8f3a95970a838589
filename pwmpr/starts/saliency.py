"""Which weights matter to the loss at initialisation: SNIP and GraSP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pwmpr.gradients import check_batch, dense_gradients, loss_value, undisturbed
from pwmpr.masks import Masks
from pwmpr.sampling.best import Best
from pwmpr.scope import check_finite

Loss = Callable[[nn.Module, Any], Tensor]
GradientScores = Callable[[nn.Module, tuple[str, ...], Loss | None, Any], dict[str, Tensor]]

#: GraSP divides the logits by this before the loss.
TEMPERATURE = 200.0


def snip_scores(
    model: nn.Module, names: tuple[str, ...], loss: Loss | None = None, batch: Any = None
) -> dict[str, Tensor]:
    """Return |θ · ∂L/∂θ| of every weight: how much the loss feels its mask.

    Parameters
    ----------
    model : nn.Module
        In the mode in which it is to be scored.
    names : tuple of str
        Parameters to score.
    loss, batch
        ``loss(model, batch)`` gives a scalar; None: cross-entropy of ``(x, y)``. Signed gradients
        are averaged over the batch, the absolute value comes last.

    Raises
    ------
    TopographError
        If the batch is missing, or loss or gradients are not finite.

    References
    ----------
    Lee, Ajanthan & Torr 2019, "SNIP: single-shot network pruning based on connection
    sensitivity", ICLR, eq. 6 (its normalisation changes no rank).

    Examples
    --------
    >>> model = nn.Linear(2, 1, bias=False)
    >>> model.weight.data = torch.tensor([[3.0, -1.0]])
    >>> snip_scores(model, ("weight",), lambda net, x: net(x).sum(), torch.tensor([[1.0, 2.0]]))
    {'weight': tensor([[3., 2.]])}
    """
    masks = Masks.dense(model, names)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    gradients = dense_gradients(model, masks, loss, batch)
    return {name: (parameters[name].detach() * g).abs() for name, g in gradients.items()}


def grasp_scores(
    model: nn.Module, names: tuple[str, ...], loss: Loss | None = None, batch: Any = None
) -> dict[str, Tensor]:
    """Return θ · Hg of every weight, g the gradient and H the Hessian of the loss.

    Weights of large θ·Hg are kept: removing the others keeps the gradient flow up. Batch
    normalisation runs in training mode and outputs are divided by 200, whatever the loss.

    Parameters
    ----------
    model : nn.Module
    names : tuple of str
        Parameters to score; g and H are taken with respect to these.
    loss, batch
        As for `snip_scores`; the paper takes 10 samples of every class.

    Raises
    ------
    TopographError
        If the batch is missing, or loss or scores are not finite.

    References
    ----------
    Wang, Zhang & Grosse 2020, "Picking winning tickets before training by preserving gradient
    flow", ICLR, eq. 8: their score is −θ·Hg and the largest of it are removed.

    Examples
    --------
    For L = (θ₁ + 2 θ₂)² and outputs that are not divided, g = 2 (θ₁ + 2 θ₂) (1, 2) and
    Hg = 10 g; the division scales all scores by 200⁻⁴:

    >>> model = nn.Linear(2, 1, bias=False)
    >>> model.weight.data = torch.tensor([[3.0, -1.0]])
    >>> scores = grasp_scores(
    ...     model, ("weight",), lambda net, x: net(x).square().sum(), torch.tensor([[1.0, 2.0]]))
    >>> scores["weight"] * 200.0**4
    tensor([[ 60., -40.]])
    """
    check_batch(batch)
    known = dict(model.named_parameters(remove_duplicate=False))
    weights = [known[name] for name in names]
    wanted = [weight.requires_grad for weight in weights]
    try:
        with undisturbed(model), torch.enable_grad():
            model.train()
            for weight in weights:
                weight.requires_grad_(True)
            value = loss_value(_Tempered(model), loss, batch)
            first = torch.autograd.grad(
                value, weights, create_graph=True, allow_unused=True, materialize_grads=True
            )
            flow = torch.stack([(g.detach() * g).sum() for g in first]).sum()
            second = torch.autograd.grad(flow, weights, allow_unused=True, materialize_grads=True)
    finally:
        for weight, want in zip(weights, wanted, strict=True):
            weight.requires_grad_(want)
    scores = {
        name: weight.detach() * hg.detach()
        for name, weight, hg in zip(names, weights, second, strict=True)
    }
    check_finite(scores)
    return scores


def highest(scores: Mapping[str, Tensor], count: int) -> dict[str, np.ndarray]:
    """Return the positions of the highest scores of either sign over all layers at once.

    Ties go to the earlier layer, in a layer to the lower flat position.

    Examples
    --------
    >>> found = highest({"a": torch.tensor([-3.0, 1.0]), "b": torch.tensor([1.0, -1.0])}, 3)
    >>> found["a"].tolist(), found["b"].tolist()
    ([1], [0, 1])
    """
    best, ends, first = Best(count), [], 0
    for score in scores.values():
        flat = score.detach().double().cpu().reshape(-1).numpy()
        index = np.flatnonzero(-flat < best.bound)
        best.add(-flat[index], first + index)
        first += len(flat)
        ends.append(first)
    positions = best.positions()
    parts = np.split(positions, np.searchsorted(positions, ends[:-1]))
    starts = [0, *ends[:-1]]
    return {n: part - start for n, part, start in zip(scores, parts, starts, strict=True)}


class _Tempered(nn.Module):
    """A model whose outputs are divided by the temperature."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        output: Tensor = self.model(*inputs, **options) / TEMPERATURE
        return output
