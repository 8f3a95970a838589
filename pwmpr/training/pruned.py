"""How networks are pruned in a run: level by level after training, or while they train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from pwmpr.counts import kept_at
from pwmpr.masks import Masks
from pwmpr.pruning import cubic_density, prune
from pwmpr.rewiring import is_due
from pwmpr.scope import weights_in_scope
from pwmpr.training.schedule import Stage
from pwmpr.training.strategies import Dense, extensive_stage
from topograph.errors import TopographError

if TYPE_CHECKING:
    from pwmpr.training.trainer import Trainer


class Prune(Dense):
    """Train with the full schedule, remove the smallest |θ| of all layers, train again; repeat.

    ``"imp"`` goes back to the weights of step ``rewind`` of the first training, and to that point
    of its schedule, with a fresh optimiser (Frankle & Carbin 2019; Frankle et al. 2020);
    ``"imp-c"`` goes on from where it is (P, A.4); ``"magnitude"`` removes all that is too many at
    once. The last level is cut to the exact density. Batches keep coming in new orders (decision:
    the order of the first training is not replayed).
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.weights: dict[str, Tensor] = {}

    def start(self, trainer: Trainer) -> Masks:
        """Return masks that keep everything; remember the initial weights."""
        target_count(trainer)
        if self._rewinds and trainer.settings.rewind == 0:
            self.weights = _copied(trainer.model.state_dict())
        return super().start(trainer)

    def before_step(self, trainer: Trainer, batch: tuple[Any, Tensor]) -> bool:
        """Remember the weights of step ``rewind`` of the first training."""
        step, stage = trainer.progress.stage_step, trainer.stage
        rewind = trainer.settings.rewind
        if not self._rewinds or stage is None or stage.cycle > 0 or rewind == 0:
            return False
        # The forward pass of this step has moved the buffers already: those after k steps are
        # there one step earlier than the parameters.
        if step == rewind - 1:
            self.weights = _copied(trainer.model.state_dict())
        if step == rewind:
            parameters = dict(trainer.model.named_parameters(remove_duplicate=False))
            self.weights |= _copied({n: p for n, p in parameters.items() if n in self.weights})
        return False

    def next(self, trainer: Trainer) -> Stage | None:
        """Prune one level and train again, or end at the density asked for."""
        assert trainer.stage is not None
        target, masks = target_count(trainer), trainer.masks
        if masks.count == target:
            return None
        settings = trainer.settings
        density = target / masks.size
        if self.method.rule == "magnitude":
            pruned = prune(trainer.model, masks, count=masks.count - target)
        else:
            pruned = prune(trainer.model, masks, settings.update_fraction, target=density)
        begin = 0
        if self._rewinds:
            begin = settings.rewind
            trainer.rewind(self.weights)
        trainer.change_masks(pruned)
        stage = extensive_stage(trainer, trainer.stage.cycle + 1)
        return Stage(stage.phase, stage.cycle, stage.steps, begin=begin)

    def state_dict(self) -> dict[str, Any]:
        """Return the weights to go back to."""
        return {"weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.weights = state.get("weights", {})

    @property
    def _rewinds(self) -> bool:
        return self.method.rule == "imp"


class Gradual(Dense):
    """Train once and remove the smallest |θ| of all layers as the density falls by a cubic.

    Zhu & Gupta 2017; weights do not come back.
    """

    def start(self, trainer: Trainer) -> Masks:
        """Return masks that keep everything."""
        target_count(trainer)
        return super().start(trainer)

    def before_step(self, trainer: Trainer, batch: tuple[Any, Tensor]) -> bool:
        """Remove what is too many when it is due, and at ``update_end`` in any case."""
        settings, now, stage = trainer.settings, trainer.progress, trainer.stage
        assert stage is not None
        target, masks = target_count(trainer), trainer.masks
        end = min(max(1, round(settings.update_end * stage.steps)), stage.steps - 1)
        due = is_due(now.stage_step, now.batch, settings.update_every, skips=False)
        if masks.count == target or now.stage_step > end or not (due or now.stage_step == end):
            return False
        density = cubic_density(now.stage_step, end, target / masks.size)
        going = masks.count - max(target, round(density * masks.size))
        if going > 0:
            trainer.change_masks(prune(trainer.model, masks, count=going))
        return False


def target_count(trainer: Trainer) -> int:
    """Return how many weights the density asked for keeps.

    Raises
    ------
    TopographError
        If no density is set, it keeps nothing, or the rewind point lies beyond the training.
    """
    settings = trainer.settings
    if settings.density is None:
        raise TopographError(
            f"density is None; method {settings.method!r} does not find its own density",
            "pass e.g. density=0.1",
        )
    if settings.rewind >= trainer.full_steps:
        raise TopographError(
            f"rewind is {settings.rewind}; expected less than the {trainer.full_steps} steps of a "
            "training",
            "pass a smaller rewind, or 0 for the initial weights",
        )
    weights = weights_in_scope(trainer.model, settings.dense)
    size = sum(weight.numel() for weight in weights.values())
    count = kept_at(settings.density, size)
    if count == 0:
        raise TopographError(
            f"density {settings.density} of {size} weights keeps none; expected at least one",
            f"pass a density of at least {1 / size:.3g}",
        )
    return count


def _copied(state: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
