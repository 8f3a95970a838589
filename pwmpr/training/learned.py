"""How STR runs: every layer learns the magnitude below which its weights count as 0."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pwmpr.masks import Masks
from pwmpr.method import Method
from pwmpr.pruning import soft_threshold
from pwmpr.scope import parameters_named
from pwmpr.training.schedule import Stage
from pwmpr.training.strategies import Dense
from topograph.errors import TopographError

if TYPE_CHECKING:
    from pwmpr.training.trainer import Trainer


class LearnThresholds(Dense):
    """Train θ and one s a layer; the network computes with sign(θ) relu(|θ| − σ(s)).

    The model's parameters hold what it computes with; θ, which lives on below its threshold, is
    here, and so are s and its momentum. Before every step the gradients are carried over to θ and
    s, the optimiser steps θ, and s follows by SGD with the run's rate, momentum and
    ``threshold_decay``. Density is found, not set. Kusupati et al. 2020.
    """

    def __init__(self, method: Method) -> None:
        super().__init__(method)
        self.theta: dict[str, Tensor] = {}
        self.s: dict[str, Tensor] = {}
        self.inertia: dict[str, Tensor] = {}

    def start(self, trainer: Trainer) -> Masks:
        """Return masks that keep everything, with the thresholds at work."""
        settings = trainer.settings
        if settings.density is not None or settings.threshold >= 1:
            raise TopographError(
                f"density is {settings.density} and threshold {settings.threshold}; method 'str' "
                "finds its own density, from a threshold below 1",
                "leave density out; weight_decay, threshold and threshold_decay steer it",
            )
        masks = super().start(trainer)
        level = math.log(settings.threshold / (1 - settings.threshold))
        for name, parameter in parameters_named(trainer.model, masks.shapes).items():
            self.theta[name] = parameter.detach().clone()
            self.s[name] = torch.full_like(parameter.detach().reshape(-1)[0], level)
            self.inertia[name] = torch.zeros_like(self.s[name])
        self._threshold(trainer.model)
        return masks

    @torch.no_grad()
    def before_step(self, trainer: Trainer, batch: tuple[Any, Tensor]) -> bool:
        """Step θ and s in place of the weights that the network computes with."""
        parameters = dict(trainer.model.named_parameters(remove_duplicate=False))
        slopes = {}
        for name, theta in self.theta.items():
            parameter, s = parameters[name], self.s[name]
            sigma = torch.sigmoid(s)
            if parameter.grad is not None:
                # ∂w/∂θ = [|θ| > σ(s)] and ∂w/∂s = −sign(θ) σ'(s) where |θ| > σ(s).
                parameter.grad.mul_(theta.abs() > sigma)
                moved = (parameter.grad * theta.sign()).sum()
                slopes[name] = -moved * sigma * (1 - sigma)
            parameter.copy_(theta)
        trainer.optimizer.step()
        settings = trainer.settings
        decay = settings.threshold_decay
        decay = settings.weight_decay if decay is None else decay
        rate = trainer.optimizer.param_groups[0]["lr"]
        for name, s in self.s.items():
            self.theta[name].copy_(parameters[name])
            slope = slopes.get(name, torch.zeros_like(s)) + decay * s
            self.inertia[name].mul_(settings.momentum).add_(slope)
            s.sub_(rate * self.inertia[name])
        self._threshold(trainer.model)
        return True

    def kept(self, trainer: Trainer) -> Masks:
        """Return the masks of the weights above their thresholds now."""
        names = list(self.theta) or list(trainer.masks)
        return Masks.from_model(trainer.model, names)

    def after_epoch(self, trainer: Trainer) -> None:
        """Let the account go on with the weights that are above now."""
        trainer.ledger.keep(self.kept(trainer).counts)

    def next(self, trainer: Trainer) -> Stage | None:
        """Keep what is above its threshold; that is the result."""
        trainer.change_masks(self.kept(trainer))
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return θ, s and its momentum."""
        return {"theta": self.theta, "s": self.s, "inertia": self.inertia}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.theta, self.s = state["theta"], state["s"]
        self.inertia = state["inertia"]

    @torch.no_grad()
    def _threshold(self, model: nn.Module) -> None:
        parameters = dict(model.named_parameters(remove_duplicate=False))
        for name, theta in self.theta.items():
            parameters[name].copy_(soft_threshold(theta, self.s[name]))
