"""What a rewiring rule can see when it moves connections, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pwmpr.gradients import dense_gradients
from pwmpr.masks import Masks
from pwmpr.scope import check_finite, parameters_named
from topograph.errors import TopographError

if TYPE_CHECKING:
    from pwmpr.attach import Attached


@dataclass(frozen=True, eq=False)
class RewiringStep:
    """A network about to move some of its connections.

    Attributes
    ----------
    model : nn.Module
        Its missing weights may hold anything; only kept ones count.
    masks : Masks
        The weights kept so far.
    generator : numpy.random.Generator
        The one source of chance.
    fraction : float
        α_t: what part of the kept weights to drop now, in [0, 1). DSR aims at it with its
        threshold.
    gradients : mapping, optional
        Parameter name -> dense gradient of the loss, missing weights included.
    momentum : mapping, optional
        Parameter name -> dense smoothed gradient, missing weights included.
    threshold : float
        DSR's global threshold on |θ|.
    gamma : float
        GSE's candidates per kept weight.
    loss, batch : optional
        ``loss(model, batch)`` gives the scalar whose gradients are wanted where none are given.
    """

    model: nn.Module
    masks: Masks
    generator: np.random.Generator
    fraction: float
    gradients: Mapping[str, Tensor] | None = None
    momentum: Mapping[str, Tensor] | None = None
    threshold: float = 1e-3
    gamma: float = 1.0
    loss: Callable[[nn.Module, Any], Tensor] | None = None
    batch: Any = None

    def weights(self) -> dict[str, Tensor]:
        """Return the weights by parameter name, on the CPU, missing ones as 0.

        Raises
        ------
        TopographError
            If a kept weight is not finite.
        """
        weights = {}
        for name, parameter in parameters_named(self.model, self.masks.shapes).items():
            weights[name] = parameter.detach().cpu().masked_fill(~self.masks[name], 0)
        check_finite(weights)
        return weights

    def gradient_magnitudes(self) -> dict[str, Tensor]:
        """Return |∂ loss / ∂ weight| of every weight, missing ones taken as weights of value 0.

        Raises
        ------
        TopographError
            If there are neither gradients nor a batch, or they are not finite or do not fit.
        """
        if self.gradients is not None:
            return self._magnitudes(self.gradients, "gradients")
        found = dense_gradients(self.model, self.masks, self.loss, self.batch)
        return self._magnitudes(found, "gradients")

    def momentum_magnitudes(self) -> dict[str, Tensor]:
        """Return |smoothed gradient| of every weight.

        Raises
        ------
        TopographError
            If there is none, or it is not finite or does not fit.
        """
        if self.momentum is None:
            raise TopographError(
                "momentum is None; this rule needs a smoothed gradient of all weights, missing "
                "ones included (an optimiser's own momentum is 0 at missing ones)",
                "keep a pwmpr.rewiring.SmoothedGradient and pass momentum=smoothed.values",
            )
        return self._magnitudes(self.momentum, "momentum")

    def count_pass(self) -> None:
        """Say that a rule takes the batch through the network once more; accounts listen here."""

    def change(
        self,
        dropped: Mapping[str, np.ndarray],
        grown: Mapping[str, np.ndarray],
        *,
        keeps_regrown: bool = False,
        threshold: float | None = None,
    ) -> Rewiring:
        """Return what becomes of the masks if these flat positions are dropped, then grown.

        Raises
        ------
        TopographError
            If a position is dropped that is not kept, grown that still is, or named twice; or if
            not as many are grown as dropped.
        """
        survivors = {}
        for name, mask in self.masks.items():
            flat = mask.reshape(-1)
            index = torch.from_numpy(np.asarray(dropped.get(name, ()), dtype=np.int64))
            if not bool(flat[index].all()) or len(torch.unique(index)) != len(index):
                raise TopographError(
                    f"positions dropped from {name!r} are missing already or named twice",
                    "drop kept positions, each once",
                )
            flat[index] = False
            survivors[name] = mask
        kept = Masks(survivors)
        new = kept.with_added({n: torch.as_tensor(index) for n, index in grown.items()})
        if new.count != self.masks.count:
            raise TopographError(
                f"{new.count - kept.count} weights grown for {self.masks.count - kept.count} "
                "dropped; expected as many",
                "grow as many as are dropped: the density stays",
            )
        return Rewiring(self.masks, kept, new, keeps_regrown, threshold)

    def _magnitudes(self, values: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
        magnitudes = {}
        for name, shape in self.masks.shapes.items():
            value = values.get(name)
            if value is None or tuple(value.shape) != shape:
                raise TopographError(
                    f"the {what} of {name!r} have shape {tuple(getattr(value, 'shape', ()))}; "
                    f"expected {shape}",
                    "pass one number for each weight, present and missing alike",
                )
            magnitudes[name] = value.detach().abs().cpu()
        check_finite(magnitudes)
        return magnitudes


@dataclass(frozen=True, eq=False)
class Rewiring:
    """Connections moved: made by :func:`pwmpr.rewiring.rewire`.

    Attributes
    ----------
    before : Masks
        What was kept.
    survivors : Masks
        What was not dropped.
    masks : Masks
        What is kept from now on: survivors and grown ones, as many as before.
    keeps_regrown : bool
        Whether weights that were dropped and grown again at once keep value and momentum (RigL);
        otherwise they start at 0 like all new ones.
    threshold : float or None
        DSR's threshold for the next time.
    """

    before: Masks
    survivors: Masks
    masks: Masks
    keeps_regrown: bool = False
    threshold: float | None = None

    @property
    def moved(self) -> int:
        """Number of weights dropped, and grown."""
        return self.before.count - self.survivors.count

    def apply_(self, handle: Attached) -> None:
        """Let an attached model and optimiser go on with the new masks."""
        if not self.keeps_regrown:
            handle.update(self.survivors)
        handle.update(self.masks)
