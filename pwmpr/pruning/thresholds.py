"""Which weights fall below thresholds that are learned with them: STR."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from pwmpr.masks import Masks
from pwmpr.scope import weights_in_scope
from topograph.errors import TopographError


def soft_threshold(weight: Tensor, s: Tensor) -> Tensor:
    """Return sign(θ) relu(|θ| − σ(s)), the weight that a layer computes with.

    Parameters
    ----------
    weight
        θ of any shape.
    s
        A number: the layer's threshold is its sigmoid.

    References
    ----------
    Kusupati et al. 2020, "Soft threshold weight reparameterization for learnable sparsity", ICML,
    eq. 4.

    Examples
    --------
    >>> soft_threshold(torch.tensor([1.0, -0.25, -2.0]), torch.tensor(0.0))
    tensor([ 0.5000, -0.0000, -1.5000])
    """
    return torch.sign(weight) * functional.relu(torch.abs(weight) - torch.sigmoid(s))


class SoftThreshold(nn.Module):
    """The parametrization of a weight by θ and s, with s learned."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.tensor(float(initial)))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight that the layer computes with."""
        return soft_threshold(weight, self.s)


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Learned thresholds at work on a model: made by :func:`learn_thresholds`.

    Attributes
    ----------
    model : nn.Module
    parts : mapping
        Parameter name (as it was) -> its parametrization, which holds s.
    """

    model: nn.Module
    parts: Mapping[str, SoftThreshold]

    @torch.no_grad()
    def masks(self) -> Masks:
        """Return the masks of the weights above their thresholds now.

        Raises
        ------
        TopographError
            If no weight at all is above.
        """
        return Masks({name: _weight(self.model, name) != 0 for name in self.parts})

    def harden(self) -> Masks:
        """Leave the thresholded weights behind as plain parameters, and return their masks.

        The optimiser must be built anew for them. The thresholds are gone.

        Raises
        ------
        TopographError
            If no weight at all is above its threshold; the model is then unchanged.
        """
        masks = self.masks()
        for name in self.parts:
            module = self.model.get_submodule(name.rpartition(".")[0])
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        return masks


def learn_thresholds(
    model: nn.Module, initial: float = -8.0, dense: Iterable[str] = ()
) -> Thresholds:
    """Let every layer in scope learn below which magnitude its weights count as 0 (STR).

    Weights become sign(θ) relu(|θ| − σ(s)) with one s a layer, trained with them. Build the
    optimiser afterwards: weight decay on s drives the density, which is found, not set.

    Parameters
    ----------
    model : nn.Module
        Changed in place: ``weight`` of layers in scope becomes computed.
    initial : float
        s at the start. The authors' code takes −3,200 for ResNet-50 at a density of 10%, far below
        where σ has a gradient, so that weight decay alone moves s at first.
    dense : iterable of str
        Glob patterns of weights left alone, beside the model's own ``dense_weights``.

    Returns
    -------
    Thresholds
        ``.masks()`` tells the density; ``.harden()`` ends it.

    Raises
    ------
    TopographError
        If no weight is in scope, or one is tied to several modules.

    References
    ----------
    Kusupati et al. 2020, Algorithm 1.

    Examples
    --------
    >>> model = nn.Linear(3, 1, bias=False)
    >>> model.weight.data = torch.tensor([[1.0, -0.25, -2.0]])
    >>> thresholds = learn_thresholds(model, initial=0.0)
    >>> thresholds.harden().count, model.weight.tolist()
    (2, [[0.5, -0.0, -1.5]])
    """
    weights = weights_in_scope(model, dense)
    uses = [id(p) for _, p in model.named_parameters(remove_duplicate=False)]
    for name, weight in weights.items():
        if uses.count(id(weight)) > 1:
            raise TopographError(
                f"{name!r} is one weight of several modules; expected a weight of its own",
                f"keep it dense: dense=[{name!r}]",
            )
    parts = {}
    for name, weight in weights.items():
        module = model.get_submodule(name.rpartition(".")[0])
        part = SoftThreshold(initial).to(weight.device, weight.dtype)
        # Unsafe: the weight read is not the weight set, by intent.
        parametrize.register_parametrization(module, "weight", part, unsafe=True)
        parts[name] = part
    return Thresholds(model, parts)


def _weight(model: nn.Module, name: str) -> Tensor:
    value: Tensor = getattr(model.get_submodule(name.rpartition(".")[0]), "weight")  # noqa: B009
    return value.detach()
