"""What a restricted Boltzmann machine is: one layer of connections, both ways."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from topograph.check import check_integer


class Energies(NamedTuple):
    """Free energies of samples: of the data (B,), and of what the machine made of them (B,)."""

    data: Tensor
    model: Tensor


class RBM(nn.Module):
    """Visible and hidden units with connections between them and none inside either.

    In training mode the output is a pair of free energies, whose difference has the gradient of
    contrastive divergence. In evaluation mode it is the logits of the visible units after one step
    to the hidden units and back, without sampling: visible → hidden → visible with tied weights,
    which is also the graph of the machine.
    """

    dense_weights: tuple[str, ...] = ()

    def __init__(self, visible: int, hidden: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.hidden = nn.Linear(visible, hidden)
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        nn.init.normal_(self.hidden.weight, std=0.01)  # Hinton 2012, section 8
        nn.init.zeros_(self.hidden.bias)

    def forward(self, x: Tensor) -> Tensor | Energies:
        """Return energies in training mode, logits (B, visible) otherwise.

        Parameters
        ----------
        x
            Probabilities or states of the visible units, 0 to 1, shape (B, …).
        """
        v = x.flatten(1)
        if not self.training:
            return self._visible(torch.sigmoid(self.hidden(v)))
        return Energies(self.free_energy(v), self.free_energy(self.chain(v)))

    def free_energy(self, v: Tensor) -> Tensor:
        """Return F(v) = −b·v − Σ log(1 + exp(c + Wv)), shape (B,)."""
        return -(v @ self.visible_bias) - F.softplus(self.hidden(v)).sum(1)

    @torch.no_grad()
    def chain(self, v: Tensor) -> Tensor:
        """Return the visible units after `steps` Gibbs steps from v.

        Hidden states are sampled, visible ones are taken as probabilities (Hinton 2012, section 3).
        """
        for _ in range(self.steps):
            h = torch.bernoulli(torch.sigmoid(self.hidden(v).float()))
            v = torch.sigmoid(self._visible(h.to(v.dtype)))
        return v

    def _visible(self, h: Tensor) -> Tensor:
        return F.linear(h, self.hidden.weight.t(), self.visible_bias)


def rbm(*, visible: int = 784, hidden: int = 500, steps: int = 1) -> RBM:
    """Return a restricted Boltzmann machine with small random weights.

    It is trained with ``objective="contrastive-divergence"`` and ``scaling="unit"``.

    Parameters
    ----------
    visible, hidden
        Number of units.
    steps
        Gibbs steps of contrastive divergence, the k of CD-k.

    Raises
    ------
    TopographError
        If a number is below 1.

    References
    ----------
    Hinton 2012, *A Practical Guide to Training Restricted Boltzmann Machines*; S, appendix D.

    Examples
    --------
    >>> machine = rbm(visible=6, hidden=4).eval()
    >>> machine(torch.zeros(2, 6)).shape
    torch.Size([2, 6])
    """
    return RBM(
        check_integer(visible, "visible", least=1),
        check_integer(hidden, "hidden", least=1),
        check_integer(steps, "steps", least=1),
    )
