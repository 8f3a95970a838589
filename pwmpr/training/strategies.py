"""What a method does to the masks, and when: the strategies behind `pwmpr.methods`.

What a strategy decides is a function of the run's settings, history, masks and weights and of its
own `Strategy.state_dict`, all of which are in every checkpoint. So a run that is killed while it
decides decides the same again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from pwmpr.cost import Ledger
from pwmpr.counts import exact_floor, kept_at
from pwmpr.growth import GrowthStep, select
from pwmpr.masks import Masks
from pwmpr.method import Method
from pwmpr.plateau import Plateau, fit_plateau
from pwmpr.rewiring import SmoothedGradient
from pwmpr.scope import parameters_named, weights_in_scope
from pwmpr.seeds import derive
from pwmpr.training.balance import balanced
from pwmpr.training.schedule import Stage
from topograph.errors import TopographError

if TYPE_CHECKING:
    from pwmpr.training.trainer import Trainer


class Strategy:
    """Train at the start masks, once, with the full schedule (static sparse training).

    Other methods override what they do differently. Every hook gets the trainer, may read all of
    it, and changes masks through `Trainer.change_masks` alone.

    Parameters
    ----------
    method
        The method that it carries out.
    """

    def __init__(self, method: Method) -> None:
        self.method = method

    def start(self, trainer: Trainer) -> Masks:
        """Return the masks that training starts with."""
        settings = trainer.settings
        if settings.density is None:
            raise TopographError(
                f"density is None; method {self.method.name!r} does not find its own density",
                "pass e.g. density=0.1",
            )
        return start_masks(trainer, settings.density)

    def first(self, trainer: Trainer) -> Stage:
        """Return the first stage of training."""
        return extensive_stage(trainer, cycle=0)

    def next(self, trainer: Trainer) -> Stage | None:
        """Decide what follows a stage that has ended; None ends the run."""
        return None

    def needs_dense_gradients(self, trainer: Trainer) -> bool:
        """Return whether `before_step` will look at gradients of missing weights this time."""
        return False

    def before_step(self, trainer: Trainer, batch: tuple[Any, Tensor]) -> bool:
        """Act when gradients are there; return whether to skip the optimiser step."""
        return False

    def after_epoch(self, trainer: Trainer) -> None:
        """Act when an epoch has ended and was evaluated."""

    def kept(self, trainer: Trainer) -> Masks:
        """Return the masks whose density the history shows."""
        return trainer.masks

    def stopping(self, trainer: Trainer) -> Plateau | None:
        """Return the plateau fit so far, for methods that have one."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers, as tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""

    def outcome(self, trainer: Trainer) -> dict[str, Any]:
        """Return plain values that stand in the run's result beside what every run has there."""
        return {}


class Dense(Strategy):
    """Train every weight."""

    def start(self, trainer: Trainer) -> Masks:
        """Return masks that keep everything."""
        return Masks.dense(trainer.model, weights_in_scope(trainer.model, trainer.settings.dense))


class Grow(Strategy):
    """Train roughly, grow by γ, until the plateau or the given density; then train extensively.

    P, section 4. The point of the performance-density curve is the validation accuracy at the end
    of each rough training, in the state that then grows.
    """

    def __init__(self, method: Method) -> None:
        super().__init__(method)
        self.smoothed: SmoothedGradient | None = None
        self.initial: dict[str, Tensor] | None = None

    def start(self, trainer: Trainer) -> Masks:
        """Return the start masks at ρ_init."""
        settings = trainer.settings
        limit = self._limit(trainer)
        if settings.start_density > limit:
            raise TopographError(
                f"start_density is {settings.start_density} and the density to grow to is {limit}; "
                "growth removes nothing",
                f"pass start_density={limit} or less",
            )
        masks = start_masks(trainer, settings.start_density)
        if self.method.rule == "phew-grow":
            parameters = parameters_named(trainer.model, masks.shapes)
            self.initial = {name: p.detach().clone() for name, p in parameters.items()}
        return masks

    def needs_dense_gradients(self, trainer: Trainer) -> bool:
        """Return whether gradients are being smoothed: in rough training, for momentum growth."""
        rough = trainer.stage is not None and trainer.stage.phase == "rough"
        return self.method.rule == "momentum" and rough

    def before_step(self, trainer: Trainer, batch: tuple[Any, Tensor]) -> bool:
        """Smooth the dense gradient of rough training, for momentum growth."""
        if self.needs_dense_gradients(trainer):
            if self.smoothed is None:
                self.smoothed = SmoothedGradient(trainer.settings.momentum)
            self.smoothed.beta = trainer.settings.momentum
            self.smoothed.observe(trainer.model, trainer.masks)
            trainer.ledger.add_dense_weight_gradient(trainer.samples)
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return the smoothed gradients and initial weights, where a rule needs them."""
        return {
            "momentum": None if self.smoothed is None else self.smoothed.values,
            "initial": self.initial,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        if state.get("momentum") is not None:
            self.smoothed = SmoothedGradient(values=state["momentum"])
        self.initial = state.get("initial")

    def first(self, trainer: Trainer) -> Stage:
        """Return the rough training at the start density."""
        return rough_stage(trainer, cycle=0)

    def next(self, trainer: Trainer) -> Stage | None:
        """Grow and train roughly again, or turn to the extensive training."""
        if trainer.stage is None or trainer.stage.phase == "extensive":
            return None
        if self._grown_enough(trainer):
            if not trainer.settings.extensive:
                return None
            return extensive_stage(trainer, trainer.stage.cycle)
        self._grow(trainer)
        return rough_stage(trainer, trainer.stage.cycle + 1)

    def stopping(self, trainer: Trainer) -> Plateau | None:
        """Return the fit to the ends of all rough trainings so far."""
        ends = {row["cycle"]: row for row in trainer.history if row["phase"] == "rough"}
        if not ends:
            return None
        return fit_plateau(
            [row["density"] for row in ends.values()],
            [row["val_accuracy"] for row in ends.values()],
            reference=trainer.settings.plateau_reference,
        )

    def _limit(self, trainer: Trainer) -> float:
        settings = trainer.settings
        return settings.max_density if settings.density is None else settings.density

    def _grown_enough(self, trainer: Trainer) -> bool:
        masks = trainer.masks
        if masks.count >= kept_at(self._limit(trainer), masks.size):
            return True
        if trainer.settings.density is not None:
            return False
        fit = self.stopping(trainer)
        return fit is not None and fit.stopped

    def _grow(self, trainer: Trainer) -> None:
        """Add ⌊γ · kept⌋ weights, fewer where the limit is nearer."""
        settings, masks = trainer.settings, trainer.masks
        room = kept_at(self._limit(trainer), masks.size) - masks.count
        count = min(exact_floor(settings.growth_ratio, masks.count), room)
        if count < 1:
            raise TopographError(
                f"growth_ratio is {settings.growth_ratio}: ⌊{settings.growth_ratio} · "
                f"{masks.count} kept weights⌋ is 0; expected at least one new weight",
                "pass a larger growth_ratio or start_density",
            )
        step = CountedStep(
            model=trainer.model,
            masks=masks,
            generator=np.random.default_rng([derive(settings.seed, "growth"), masks.count]),
            example_input=trainer.example_input,
            loss=lambda model, pair: trainer.loss(model(pair[0]), pair[1]),
            batch=next(iter(trainer.train.epoch(trainer.progress.epoch, settings.batch))),
            ledger=trainer.ledger,
            momentum=None if self.smoothed is None else self.smoothed.values,
            initial=self.initial,
        )
        trainer.change_masks(masks.with_added(select(self.method.rule or "", step, count)))


@dataclass(frozen=True, eq=False)
class CountedStep(GrowthStep):
    """A network about to grow, whose passes the ledger counts when a rule asks for them.

    Attributes
    ----------
    ledger : Ledger
        Gets one pass of batch 1 on the sparse network for path scores, and one batch through the
        network as if it were dense for gradients.
    """

    ledger: Ledger = field(kw_only=True)

    def path_scores(self) -> dict[str, Tensor]:
        """Return the path scores; see `GrowthStep`."""
        self.ledger.add_scoring(samples=1)
        return super().path_scores()

    def gradient_magnitudes(self) -> dict[str, Tensor]:
        """Return the magnitudes of the dense gradient; see `GrowthStep`."""
        self.ledger.add_dense_gradient(samples=len(self.batch[1]))
        return super().gradient_magnitudes()


def start_masks(trainer: Trainer, density: float) -> Masks:
    """Return the start masks that the settings name, at a density; the ledger counts the scoring.

    SNIP takes the first training batch (one gradient), GraSP ten samples of every class (a gradient
    and the backward pass through it: three times the cost of one), SynFlow one sample a round.
    """
    from pwmpr.starts import initial_masks
    from pwmpr.starts.synflow import ROUNDS

    settings, ledger = trainer.settings, trainer.ledger
    batch: Any = None
    if settings.start == "snip":
        batch = next(iter(trainer.train.epoch(0, settings.batch)))
        ledger.add_dense_gradient(samples=len(batch[1]))
    elif settings.start == "grasp":
        batch = balanced(trainer.train.epoch(0, settings.batch))
        ledger.add_dense_gradient(samples=3 * len(batch[1]))
    elif settings.start == "synflow":
        ledger.add_scoring(samples=ROUNDS)
    return initial_masks(
        trainer.model,
        density=density,
        rule=settings.start,
        example_input=trainer.example_input,
        seed=derive(settings.seed, "start"),
        dense=settings.dense,
        loss=lambda model, pair: trainer.loss(model(pair[0]), pair[1]),
        batch=batch,
    )


def rough_stage(trainer: Trainer, cycle: int) -> Stage:
    """Return a stretch of rough training; early-stopped ones are capped at the full length."""
    rough = trainer.settings.rough_epochs
    if isinstance(rough, str):
        return Stage("rough", cycle, trainer.full_steps, trainer.settings.patience)
    return Stage("rough", cycle, rough * trainer.train.count(trainer.settings.batch))


def extensive_stage(trainer: Trainer, cycle: int) -> Stage:
    """Return the training with the full schedule."""
    return Stage("extensive", cycle, trainer.full_steps)
