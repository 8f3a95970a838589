"""How masked weights stay zero while an optimiser trains.

Parameters stay plain parameters: nothing is wrapped, so checkpoint keys, copies and exports of the
model are what they were. Hooks of the optimiser do the work, just before a step (after all-reduce
and after the gradient scaler) and after it. There are two ways: `pwmpr.gates` zeroes gradients, and
the optimiser steps all weights; `pwmpr.kept` lets it step the kept ones alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn, optim

from pwmpr.gates import Gated
from pwmpr.kept import Kept
from pwmpr.kernels.layers import SparseLayers
from pwmpr.scope import parameters_named
from topograph.check import check_choice
from topograph.errors import TopographError

if TYPE_CHECKING:
    from pwmpr.masks import Masks

STATES = ("dense", "kept")


class Attached:
    """Masks at work on a model and an optimiser: made by :meth:`pwmpr.Masks.attach`.

    While attached, masked weights are exactly 0 after every optimiser step, and kept ones have bit
    for bit the values that they would have if the model computed with ``weight * mask``.

    With ``state="dense"``, gradients of masked weights are 0 too, and their optimiser state is that
    of a weight whose gradient was never anything but 0 (so 0, but for the starting values of
    Adagrad and Rprop and the eps of Adamax). With ``state="kept"``, those gradients are ignored and
    there is no such state: the tensors of ``optimizer.state[parameter]`` are vectors of the kept
    weights in row-major order. Fused optimisers round the last few elements of a tensor otherwise
    than the rest, so with ``fused=True`` the two agree to rounding only.

    Weights written from outside (``load_state_dict``, an initialiser) are masked again before the
    next step, and loaded optimiser state at once.

    Parameters
    ----------
    masks : Masks
    model : nn.Module
        The masked weights are set to 0 at once.
    optimizer : torch.optim.Optimizer
        Any torch optimiser, with or without a closure, foreach or fused, under a ``GradScaler``
        too. At least one of the masked parameters is in its groups; masked parameters that are not
        are left to whoever trains them.
    state : str
        ``"dense"``, or ``"kept"`` for an element-wise optimiser (SGD, Adam, AdamW, RMSprop, …).

    Raises
    ------
    TopographError
        If a mask fits no parameter, if two names of one tied parameter have different masks, or if
        the optimiser holds none of the masked parameters, or is not element-wise with
        ``state="kept"``.

    Notes
    -----
    To see the dense gradient, register a step pre-hook on the optimiser before attaching.
    Multi-tensor state that has not the parameter's shape (L-BFGS history) is left alone.

    Examples
    --------
    >>> import torch
    >>> from pwmpr.masks import Masks
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> handle = Masks({"weight": torch.eye(2)}).attach(model, optimizer)
    >>> model(torch.ones(1, 2)).sum().backward()
    >>> optimizer.step()
    >>> int(torch.count_nonzero(model.weight)), model.weight.grad.tolist()
    (2, [[1.0, 0.0], [0.0, 1.0]])
    """

    def __init__(
        self,
        masks: Masks,
        model: nn.Module,
        optimizer: optim.Optimizer,
        state: str = "dense",
    ) -> None:
        if not isinstance(optimizer, optim.Optimizer):
            raise TopographError(
                f"optimizer is a {type(optimizer).__name__}; expected a torch.optim.Optimizer",
                "pass the optimiser that steps the weights (not its scheduler or scaler)",
            )
        parameters = parameters_named(model, masks.shapes)
        held = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        if not any(id(p) in held for p in parameters.values()):
            raise TopographError(
                f"none of the {len(parameters)} masked parameters is in the optimiser's groups",
                "build the optimiser from this model's parameters",
            )
        first_name: dict[int, str] = {}
        for name, parameter in parameters.items():
            first = first_name.setdefault(id(parameter), name)
            if first != name and not torch.equal(masks[name], masks[first]):
                raise TopographError(
                    f"{first!r} and {name!r} are one tied weight with two different masks",
                    "mask one of the two names",
                )
        self._model = model
        self._sparse: SparseLayers | None = None
        self._parameters = {name: parameters[name] for name in first_name.values()}
        self._masks = masks
        self._way: Gated | Kept
        if check_choice(state, "state", STATES) == "kept":
            self._way = Kept(optimizer, self._parameters)
        else:
            self._way = Gated(optimizer, self._parameters)
        self._way.change({name: masks[name] for name in self._parameters}, dict(masks))
        self._hooks = [
            optimizer.register_step_pre_hook(self._begin_step),
            optimizer.register_step_post_hook(self._end_step),
            optimizer.register_state_dict_pre_hook(self._before_state_dict),
            optimizer.register_load_state_dict_post_hook(self._after_load),
        ]

    @property
    def masks(self) -> Masks:
        """The masks at work."""
        return self._masks

    def update(self, masks: Masks) -> None:
        """Go on with other masks of the same parameters.

        Weights kept before and after keep value and optimiser state. Newly kept ones start at 0
        with fresh state; dropped ones go to 0 with fresh state.

        Raises
        ------
        TopographError
            If the masks cover other parameters or shapes, or the handle was detached.
        """
        if not self._hooks:
            raise TopographError("this handle was detached", "attach the masks again")
        if masks.shapes != self._masks.shapes:
            raise TopographError(
                f"{masks!r} covers other parameters than {self._masks!r}",
                "detach, then attach the new masks",
            )
        stay = {name: masks[name] & self._masks[name] for name in self._parameters}
        self._masks = masks
        self._way.change({name: masks[name] for name in self._parameters}, stay)

    def sparse_layers(self, below: float | Mapping[str, float] = 1.0) -> SparseLayers:
        """Return the linear layers that compute with their kept weights alone, at these masks.

        In one's own loop the forward pass stands in ``with handle.sparse_layers(0.1).computing()``,
        anew at every step, since the layers change with the masks.

        Parameters
        ----------
        below : float or mapping
            Layers whose density is less compute sparsely; see `pwmpr.kernels.SparseLayers`.

        Raises
        ------
        TopographError
            If the optimiser has state for every weight: it cannot step by sparse gradients.
        """
        if not isinstance(self._way, Kept):
            raise TopographError(
                'these masks are attached with state="dense"; sparse layers have gradients of kept '
                "weights alone",
                'attach with state="kept"',
            )
        found = self._sparse
        if found is None or found.masks is not self._masks or found.below != below:
            found = self._sparse = SparseLayers(self._model, self._masks, below)
        return found

    def detach(self) -> None:
        """Remove the hooks. Weights keep their values; nothing masks them any more."""
        if self._hooks:
            self._way.release()
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _begin_step(
        self, optimizer: optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._way.begin()
        # A closure computes new gradients inside the step, which must be taken there.
        # args[0] is the optimiser itself where step is called through its profiling wrapper.
        for position, value in enumerate(args):
            if callable(value) and not isinstance(value, optim.Optimizer):
                watched = self._watching(value)
                return (*args[:position], watched, *args[position + 1 :]), kwargs
        if kwargs.get("closure") is not None:
            return args, {**kwargs, "closure": self._watching(kwargs["closure"])}
        self._way.take_gradients()
        return None

    def _end_step(self, optimizer: optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._way.end()

    def _before_state_dict(self, optimizer: optim.Optimizer) -> None:
        self._way.put_back()

    def _after_load(self, optimizer: optim.Optimizer) -> None:
        masks = {name: self._masks[name] for name in self._parameters}
        self._way.change(masks, masks)

    def _watching(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def watched_closure() -> Any:
            self._way.put_back()
            loss = closure()
            self._way.take_gradients()
            return loss

        return watched_closure
