"""The weights of a traced model and their masks, at one moment."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from topograph.capturing.masks import check_mask, found_masks
from topograph.capturing.operators import WEIGHTED as WEIGHTED
from topograph.capturing.operators import Operator as Operator
from topograph.capturing.operators import learnt as learnt
from topograph.capturing.operators import operands as operands
from topograph.capturing.operators import operators as operators
from topograph.capturing.operators import packet as packet
from topograph.capturing.parameters import public_name as public_name
from topograph.capturing.trace import Trace
from topograph.capturing.values import Values
from topograph.errors import TopographError

Masks = Mapping[str, Tensor]


class Binding(Values):
    """The weights of a traced model and which of them are kept, at one moment.

    Parameters
    ----------
    trace
        The plan.
    model
        The model that was traced (or one of the same structure).
    masks
        Parameter name to a bool tensor of the parameter's shape; for weights that are not named
        the mask is found in the model (``torch.nn.utils.prune``, a parametrisation's ``mask``
        buffer) or, failing that, is where the weight is not exactly 0.
    weights
        Values of parameters and buffers by name, where the model does not hold them. They are read
        each time they are needed, and dropped.

    Raises
    ------
    TopographError
        If a mask names no weight of the model, has another shape or holds other values than 0
        and 1, or if a weight holds NaN or infinite values.
    """

    def __init__(
        self,
        trace: Trace,
        model: nn.Module,
        masks: Masks | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(trace, model, weights)
        self.operators = operators(trace)
        self._masks: dict[str, Tensor | None] = {}  # None: where the weight is not 0
        found = found_masks(model, self._given)
        given = self._checked(masks)
        for op in self.operators:
            if op.leaf.name in self._masks:
                continue
            mask = given.get(op.parameter, found.get(op.parameter))
            if mask is not None and mask.shape != op.leaf.meta["val"].shape:
                mask = None
            if not self.passing(op.leaf):
                weight = self.weight(op)
                _check_finite(op, weight)
                mask = None if mask is None else mask.to(weight.device)
            self._masks[op.leaf.name] = mask

    def _checked(self, masks: Masks | None) -> dict[str, Tensor]:
        known = {source.name for source in self.trace.sources.values()}
        shapes = {op.parameter: op.leaf.meta["val"].shape for op in self.operators}
        given: dict[str, Tensor] = {}
        for key, mask in (masks or {}).items():
            name = public_name(key, known)
            if name not in shapes:
                if name in self._state:  # a parameter outside the path graph, e.g. a bias
                    continue
                raise TopographError(
                    f'masks names "{key}", which is no parameter of the model',
                    "use the names of model.named_parameters()",
                )
            given[name] = check_mask(mask, key, tuple(shapes[name]))
        return given

    def weight(self, op: Operator) -> Tensor:
        """Return the weight in its leaf's shape, as the model holds it (signed, unmasked)."""
        value: Tensor = self.value(op.leaf)
        if self.passing(op.leaf):
            _check_finite(op, value)
        return value

    def mask(self, op: Operator) -> Tensor:
        """Return which entries of the leaf are kept: a bool tensor of the leaf's shape."""
        mask = self._masks[op.leaf.name]
        return self.weight(op) != 0 if mask is None else mask

    def magnitude(self, op: Operator) -> Tensor:
        """Return |θ ⊙ m| in the leaf's shape."""
        magnitude = self.weight(op).detach().abs()
        mask = self._masks[op.leaf.name]
        return magnitude if mask is None else magnitude * mask


def _check_finite(op: Operator, weight: Tensor) -> None:
    if weight.numel() and not all(map(math.isfinite, map(float, weight.aminmax()))):
        raise TopographError(
            f'the weight "{op.parameter}" holds NaN or infinite values',
            "load a checkpoint from before the training diverged",
        )
