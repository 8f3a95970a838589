"""Which connections a network has after some have moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

import pwmpr.rewiring.guided
import pwmpr.rewiring.rules  # noqa: F401  (both register their rules)
from pwmpr.masks import Masks
from pwmpr.rewiring.registry import preset_named
from pwmpr.rewiring.step import Rewiring, RewiringStep
from topograph.check import check_integer, check_positive
from topograph.errors import TopographError


def rewire(
    model: nn.Module,
    masks: Masks,
    rule: str = "rigl",
    fraction: float = 0.3,
    *,
    gradients: Mapping[str, Tensor] | None = None,
    momentum: Mapping[str, Tensor] | None = None,
    threshold: float = 1e-3,
    gamma: float = 1.0,
    loss: Callable[[nn.Module, Any], Tensor] | None = None,
    batch: Any = None,
    seed: int = 0,
    generator: np.random.Generator | None = None,
) -> Rewiring:
    """Drop some connections and grow as many: one update of dynamic sparse training.

    Nothing is changed: ``rewire(...).apply_(handle)`` carries it out on the model and optimiser
    that the masks are attached to.

    Parameters
    ----------
    model : nn.Module
    masks : Masks
        The weights kept so far.
    rule : str
        ``"set"``, ``"set-magnitude"``, ``"rigl"``, ``"momentum"``, ``"snfs"``, ``"dsr"``, … or a
        registered one; see `rewiring_rules`.
    fraction : float
        α_t in [0, 1): what part of the kept weights to drop; see `drop_fraction`.
    gradients : mapping, optional
        Parameter name -> dense gradient of the loss (``parameter.grad`` after a backward pass),
        for ``"rigl"``; otherwise taken from ``batch``.
    momentum : mapping, optional
        ``SmoothedGradient.values``, for ``"momentum"`` and ``"snfs"``.
    threshold : float
        For ``"dsr"``: the threshold that the last update returned.
    gamma : float
        For ``"gse-…"``: candidates per kept weight.
    loss, batch : optional
        ``loss(model, batch)`` gives a scalar; without ``loss``, the cross-entropy of ``model(x)``
        for a batch ``(x, y)``.
    seed : int
        Chance is a function of the seed and of the masks, so that a loop with one seed draws anew
        at every update.
    generator : numpy.random.Generator, optional
        Chance from this generator instead.

    Returns
    -------
    Rewiring
        The new masks, of exactly the old count.

    Raises
    ------
    TopographError
        If a setting is out of range, something that the rule needs is missing, or a kept weight
        is NaN.

    Examples
    --------
    >>> import torch
    >>> model = nn.Linear(4, 4, bias=False)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> masks = Masks({"weight": torch.eye(4)})
    >>> handle = masks.attach(model, optimizer)
    >>> change = rewire(model, masks, "rigl", 0.5, gradients={"weight": torch.rand(4, 4)})
    >>> change.apply_(handle)
    >>> change.moved, handle.masks.count
    (2, 4)
    """
    preset = preset_named(rule)
    if not isinstance(masks, Masks):
        masks = Masks(masks)
    if not check_positive(fraction, "fraction", zero=True) < 1:
        raise TopographError(
            f"fraction is {fraction}; expected a part in [0, 1)", "pass e.g. fraction=0.3"
        )
    check_positive(threshold, "threshold")
    check_positive(gamma, "gamma")
    if generator is None:
        drawn_for = int(masks.digest()[:8], 16)
        generator = np.random.default_rng([check_integer(seed, "seed"), drawn_for])
    step = RewiringStep(
        model, masks, generator, fraction, gradients, momentum, threshold, gamma, loss, batch
    )
    return preset.rule(step)
