"""What the gradient of every weight, kept or missing, was lately: v ← βv + (1−β)g."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pwmpr.masks import Masks
from pwmpr.scope import parameters_named
from topograph.check import check_positive
from topograph.errors import TopographError


class SmoothedGradient:
    """The dense gradient, smoothed over steps.

    An optimiser's own momentum is 0 at missing weights while masks are attached, so this is kept
    beside it. It may not be masked: where it is large, connections grow.

    Parameters
    ----------
    beta : float
        β in [0, 1).

    Attributes
    ----------
    values : dict
        Parameter name -> v, of the parameter's shape.

    References
    ----------
    S, section 3.2; Dettmers & Zettlemoyer 2019 (whose v is 1/(1−β) times this one: neither shares
    nor ranks differ).

    Examples
    --------
    >>> model = nn.Linear(2, 1, bias=False)
    >>> masks = Masks({"weight": torch.tensor([[True, False]])})
    >>> smoothed = SmoothedGradient(beta=0.5)
    >>> for _ in range(2):
    ...     model.weight.grad = torch.tensor([[4.0, 8.0]])
    ...     smoothed.observe(model, masks)
    >>> smoothed.values["weight"]
    tensor([[3., 6.]])
    """

    def __init__(self, beta: float = 0.9, values: Mapping[str, Tensor] | None = None) -> None:
        if check_positive(beta, "beta", zero=True) >= 1:
            raise TopographError(f"beta is {beta}; expected a number in [0, 1)", "pass beta=0.9")
        self.beta = beta
        self.values: dict[str, Tensor] = dict(values or {})

    @torch.no_grad()
    def observe(self, model: nn.Module, masks: Masks) -> None:
        """Take in the gradients that a backward pass has left; call it before the optimiser step.

        The step masks the gradients: after it, those of missing weights are gone.
        """
        for name, parameter in parameters_named(model, masks.shapes).items():
            value = self.values.get(name)
            if value is None:
                value = torch.zeros_like(parameter)
            elif value.device != parameter.device:
                value = value.to(parameter.device)
            if parameter.grad is not None:
                value.lerp_(parameter.grad.to(value.dtype), 1 - self.beta)
            else:
                value.mul_(self.beta)
            self.values[name] = value
