"""How dynamic sparse training runs: connections move while the weights train, the density stays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pwmpr.cost import Ledger
from pwmpr.masks import Masks
from pwmpr.method import Method
from pwmpr.rewiring import RewiringStep, SmoothedGradient, drop_fraction, is_due, preset_named
from pwmpr.rewiring.registry import Preset
from pwmpr.seeds import derive
from pwmpr.training.strategies import Strategy

if TYPE_CHECKING:
    from pwmpr.training.trainer import Trainer


class Rewire(Strategy):
    """Train once with the full schedule; every so often a rule of `pwmpr.rewiring` moves weights.

    The masks change before the optimiser step that they fall on, by the gradients of its batch.
    At ``switch_at`` of the training, ``switch_method`` takes over, where one is given (S, E).
    """

    def __init__(self, method: Method) -> None:
        super().__init__(method)
        self.preset = preset_named(method.rule or method.name)
        self.threshold: float | None = None
        self.smoothed: SmoothedGradient | None = None
        self.explored: Masks | None = None

    def start(self, trainer: Trainer) -> Masks:
        """Return the start masks at the density that stays."""
        self._presets(trainer)  # refuses an unknown switch_method before anything is done
        self.explored = super().start(trainer)
        return self.explored

    def needs_dense_gradients(self, trainer: Trainer) -> bool:
        """Return whether gradients are smoothed, or weights move at this step."""
        return self._smooths(trainer) or self._fraction(trainer) > 0

    def before_step(self, trainer: Trainer, batch: tuple[Any, Tensor]) -> bool:
        """Smooth the dense gradient where it is needed; move weights when they are due."""
        settings, now, stage = trainer.settings, trainer.progress, trainer.stage
        assert stage is not None
        samples = trainer.samples
        smooths = self._smooths(trainer)
        if smooths:
            self._smooth(trainer)
            trainer.ledger.add_dense_weight_gradient(samples)
        fraction = self._fraction(trainer)
        if fraction <= 0:
            return False
        preset = self._preset_at(trainer, now.stage_step / stage.steps)
        if "gradients" in preset.needs and not smooths:
            trainer.ledger.add_dense_weight_gradient(samples)
        change = preset.rule(self._step(trainer, fraction, batch))
        if change.threshold is not None:
            self.threshold = change.threshold
        if change.moved:
            through = None if change.keeps_regrown else change.survivors
            trainer.change_masks(change.masks, through)
            self.explored = (self.explored or change.before).union(change.masks)
        return settings.update_skips_step

    def state_dict(self) -> dict[str, Any]:
        """Return the smoothed gradients, the threshold, and what was ever kept."""
        return {
            "threshold": self.threshold,
            "momentum": None if self.smoothed is None else self.smoothed.values,
            "explored": None if self.explored is None else dict(self.explored),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.threshold = state.get("threshold")
        if state.get("momentum") is not None:
            self.smoothed = SmoothedGradient(values=state["momentum"])
        self.explored = Masks(state["explored"]) if state.get("explored") else None

    def outcome(self, trainer: Trainer) -> dict[str, Any]:
        """Return the exploration rate R_s: weights ever kept over all weights in scope."""
        return {"exploration_rate": (self.explored or trainer.masks).density}

    def _presets(self, trainer: Trainer) -> tuple[Preset, ...]:
        later = trainer.settings.switch_method
        return (self.preset,) if later is None else (self.preset, preset_named(later))

    def _preset_at(self, trainer: Trainer, progress: float) -> Preset:
        presets = self._presets(trainer)
        return presets[-1] if progress >= trainer.settings.switch_at else presets[0]

    def _smooths(self, trainer: Trainer) -> bool:
        return any("momentum" in preset.needs for preset in self._presets(trainer))

    def _fraction(self, trainer: Trainer) -> float:
        """Return what part of the kept weights moves at this step; 0 if it is not due."""
        settings, now, stage = trainer.settings, trainer.progress, trainer.stage
        assert stage is not None
        skips = settings.update_skips_step
        if not is_due(now.stage_step, now.batch, settings.update_every, skips=skips):
            return 0.0
        end = round(settings.update_end * stage.steps)
        return drop_fraction(now.stage_step, end, settings.update_fraction, settings.update_anneal)

    def _smooth(self, trainer: Trainer) -> None:
        """Take in the gradients of this step; β is the momentum of the optimiser."""
        beta = trainer.settings.momentum
        if self.smoothed is None:
            self.smoothed = SmoothedGradient(beta)
        self.smoothed.beta = beta
        self.smoothed.observe(trainer.model, trainer.masks)

    def _step(
        self, trainer: Trainer, fraction: float, batch: tuple[Any, Tensor]
    ) -> CountedRewiringStep:
        settings = trainer.settings
        seed = derive(settings.seed, "rewiring", trainer.progress.step)
        found = dict(trainer.model.named_parameters(remove_duplicate=False))
        gradients = {}
        for name in trainer.masks:
            gradient = found[name].grad
            gradients[name] = torch.zeros_like(found[name]) if gradient is None else gradient
        return CountedRewiringStep(
            model=trainer.model,
            masks=trainer.masks,
            generator=np.random.default_rng(seed),
            fraction=fraction,
            gradients=gradients,
            momentum=None if self.smoothed is None else self.smoothed.values,
            threshold=self.threshold or settings.threshold,
            gamma=settings.gamma,
            loss=lambda model, pair: trainer.loss(model(pair[0]), pair[1]),
            batch=trainer.whole(batch),
            ledger=trainer.ledger,
        )


@dataclass(frozen=True, eq=False)
class CountedRewiringStep(RewiringStep):
    """A network about to move connections, whose extra passes the ledger counts.

    Attributes
    ----------
    ledger : Ledger
        Gets the pass in which a rule looks at signals: forward and backward on kept weights, with
        the gradients of about as many candidates.
    """

    ledger: Ledger = field(kw_only=True)

    def count_pass(self) -> None:
        """Count a pass of the batch over the sparse network."""
        self.ledger.add_scoring(samples=len(self.batch[1]))
