"""Which linear layers of a run compute sparsely, and since what measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pwmpr.breakeven import break_even
from pwmpr.kernels import SparseLayers, why_not
from topograph.errors import TopographError

if TYPE_CHECKING:
    from pwmpr.training.trainer import Trainer


class LinearKernels:
    """The rule of a run: a linear layer computes sparsely while its density is less than a number.

    ``"masked"``: never; ``"sparse"``: as soon as a weight is missing; a number, or one by parameter
    name: below that density; ``"auto"``: below the density at which a timing at the start of the
    run has found each layer to break even. The timing is made once and kept in every checkpoint. So
    what a layer computes with is a function of masks and checkpoint, and a run that is resumed,
    hours later on a busier machine, still goes on to the same bits.

    Parameters
    ----------
    wanted
        The setting ``kernels``.

    Attributes
    ----------
    below
        A density for all layers, or one by parameter name.
    measured
        Parameter name -> what was measured (`pwmpr.breakeven.BreakEven`), with ``"auto"``.
    """

    def __init__(self, wanted: str | float | Mapping[str, float]) -> None:
        self.wanted = wanted
        fixed = {"masked": 0.0, "sparse": 1.0, "auto": 0.0}
        self.below: float | dict[str, float]
        if isinstance(wanted, Mapping):
            self.below = dict(wanted)
        else:
            self.below = fixed[wanted] if isinstance(wanted, str) else wanted
        self.measured: dict[str, dict[str, Any]] = {}

    def start(self, trainer: Trainer) -> None:
        """Measure, where that is wanted, once the masks are on.

        Raises
        ------
        TopographError
            If sparse layers are asked for and cannot be had on the device.
        """
        reason = why_not(trainer.machine.device)
        if self.wanted == "auto" and reason is None:
            found = break_even(
                trainer.model,
                trainer.masks,
                trainer.example_input,
                trainer.settings.batch,
                trainer.machine.autocast,
            )
            self.measured = {name: timed.to_dict() for name, timed in found.items()}
            self.below = {name: timed.below for name, timed in found.items()}
        elif self.wanted not in ("auto", "masked") and reason is not None:
            raise TopographError(
                f"kernels is {self.wanted!r}, but {reason}", 'pass kernels="masked" or "auto"'
            )

    @property
    def used(self) -> bool:
        """Whether any layer may ever compute sparsely."""
        return bool(self.below)

    def layers(self, trainer: Trainer) -> SparseLayers:
        """Return the layers that compute sparsely at the present masks."""
        return trainer.attached.sparse_layers(self.below)

    def state_dict(self) -> dict[str, Any]:
        """Return rule and measurement as plain values."""
        return {"below": self.below, "measured": self.measured}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.below, self.measured = state["below"], state["measured"]
