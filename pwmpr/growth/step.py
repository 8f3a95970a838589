"""What a growth rule can see when it chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pwmpr.gradients import dense_gradients
from pwmpr.masks import Masks
from topograph.errors import TopographError


@dataclass(frozen=True, eq=False)
class GrowthStep:
    """A network about to grow.

    Attributes
    ----------
    model : nn.Module
        Its missing weights may hold anything; only kept ones count.
    masks : Masks
        The weights kept so far.
    generator : numpy.random.Generator
        The one source of chance.
    example_input : tensor or tuple of tensors, optional
        An input of the model, for path scores.
    loss, batch : optional
        ``loss(model, batch)`` gives the scalar whose gradients are wanted.
    scores : mapping, optional
        Scores computed elsewhere (averaged over machines, say), by parameter name. If given,
        :meth:`path_scores` and :meth:`gradient_magnitudes` return them.
    momentum : mapping, optional
        Parameter name -> dense smoothed gradient, missing weights included.
    initial : mapping, optional
        Parameter name -> weights before training, whose magnitudes lead walks over missing weights.
    """

    model: nn.Module
    masks: Masks
    generator: np.random.Generator
    example_input: Any = None
    loss: Callable[[nn.Module, Any], Tensor] | None = None
    batch: Any = None
    scores: Mapping[str, Tensor] | None = None
    momentum: Mapping[str, Tensor] | None = None
    initial: Mapping[str, Tensor] | None = None

    def missing(self) -> dict[str, Tensor]:
        """Return, by parameter name, the flags of the weights that are not kept."""
        return {name: ~mask for name, mask in self.masks.items()}

    def path_scores(self) -> dict[str, Tensor]:
        """Return the PWMP score S(i, j) = φ(i) ψ(j) of every weight, up to one common factor.

        Raises
        ------
        TopographError
            If there is no example input, or a masked weight lies outside the path graph.
        """
        if self.scores is not None:
            return self._for_masks(self.scores, "scores")
        if self.example_input is None:
            raise TopographError(
                "example_input is None; path scores need an input of the model's shape",
                "pass example_input, e.g. one batch of one image",
            )
        # Here, because only path rules need the tensor path and torch.export with it.
        from topograph.flow import path_flow

        flow = path_flow(self.model, self.example_input, masks=self.masks)
        return self._for_masks(flow.scores, "path scores")

    def gradient_magnitudes(self) -> dict[str, Tensor]:
        """Return |∂ loss / ∂ weight| of every weight, missing ones taken as weights of value 0.

        Raises
        ------
        TopographError
            If there is no batch, or the loss or a gradient is not finite.
        """
        if self.scores is not None:
            return self._for_masks(self.scores, "scores")
        gradients = dense_gradients(self.model, self.masks, self.loss, self.batch)
        return {name: gradient.abs_() for name, gradient in gradients.items()}

    def momentum_magnitudes(self) -> dict[str, Tensor]:
        """Return |smoothed gradient| of every weight.

        Raises
        ------
        TopographError
            If there is none, or it does not fit the masks.
        """
        if self.scores is not None:
            return self._for_masks(self.scores, "scores")
        if self.momentum is None:
            raise TopographError(
                "momentum is None; this rule needs a smoothed gradient of all weights, missing "
                "ones included (an optimiser's own momentum is 0 at missing ones)",
                "keep a pwmpr.rewiring.SmoothedGradient and pass momentum=smoothed.values",
            )
        found = self._for_masks(self.momentum, "momentum")
        return {name: value.abs() for name, value in found.items()}

    def walked(self, count: int) -> dict[str, Tensor]:
        """Return ``count`` missing positions that further PHEW walks find.

        Walks follow |θ| of kept weights as they are now, and of missing ones as they were
        initially (or as the model holds them, without ``initial``).

        Raises
        ------
        TopographError
            If there is no example input, or walks do not reach so many missing weights.
        """
        if self.example_input is None:
            raise TopographError(
                "example_input is None; walks need an input of the model's shape",
                "pass example_input, e.g. one batch of one image",
            )
        # Here, because only walks need the captured graph.
        from pwmpr.starts.phew import more_positions

        found = more_positions(
            self.model, self.masks, count, self.example_input, self.generator, self.initial
        )
        return {name: torch.from_numpy(index) for name, index in found.items()}

    def _for_masks(self, scores: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
        for name, shape in self.masks.shapes.items():
            if name not in scores:
                raise TopographError(
                    f"there are no {what} for {name!r}: it lies on no modelled path",
                    "keep that weight dense (leave it out of the masks), or use another rule",
                )
            score = scores[name]
            if not torch.is_tensor(score) or tuple(score.shape) != shape:
                raise TopographError(
                    f"the {what} of {name!r} have shape {tuple(getattr(score, 'shape', ()))}; "
                    f"expected {shape}",
                    "pass one score for each weight, present and missing alike",
                )
        return {name: scores[name] for name in self.masks}
