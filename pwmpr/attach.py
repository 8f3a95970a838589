"""How masked weights stay zero while an optimiser trains.

Parameters stay plain parameters: nothing is wrapped, so checkpoint keys, copies and exports of the
model are what they were. Two hooks of the optimiser do the work. Just before a step the gradients
of masked weights are zeroed (after all-reduce and after the gradient scaler). An optimiser that
works element by element leaves a weight of value 0, gradient 0 and fresh state at exactly 0, so for
those one pass over the gradients is all; after the step of any other optimiser the weights are
zeroed too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn, optim

from pwmpr.scope import parameters_named
from topograph.errors import TopographError

if TYPE_CHECKING:
    from pwmpr.masks import Masks

# These map weight 0, gradient 0 and fresh state to weight 0 and fresh state, in whatever variant
# (momentum, weight decay, centred, AMSGrad), but for 0/0 when eps is 0.
_ELEMENTWISE = (
    optim.SGD,
    optim.Adam,
    optim.AdamW,
    optim.NAdam,
    optim.RAdam,
    optim.Adamax,
    optim.Adagrad,
    optim.Adadelta,
    optim.RMSprop,
    optim.Rprop,
    optim.ASGD,
)
# State that starts at a value other than 0: the option of the parameter group that holds it.
_FRESH_STATE = {
    (optim.Adagrad, "sum"): "initial_accumulator_value",
    (optim.Rprop, "step_size"): "lr",
}
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Attached:
    """Masks at work on a model and an optimiser: made by :meth:`pwmpr.Masks.attach`.

    While attached, these hold after every optimiser step, exactly: masked weights are 0, their
    gradients are 0, and their optimiser state is that of a weight whose gradient was never anything
    but 0 (so 0, but for the starting values of Adagrad and Rprop and the eps of Adamax). Active
    weights get bit for bit the values that they would have if the model computed with
    ``weight * mask``.

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

    Raises
    ------
    TopographError
        If a mask fits no parameter, if two names of one tied parameter have different masks, or if
        the optimiser holds none of the masked parameters.

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

    def __init__(self, masks: Masks, model: nn.Module, optimizer: optim.Optimizer) -> None:
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
        self._optimizer = optimizer
        self._parameters = {name: parameters[name] for name in first_name.values()}
        self._masks = masks
        self._gates = self._gates_of(masks)
        self._versions: dict[str, int] = {}
        self._reset({name: masks[name] for name in self._parameters})
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
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
        self._gates = self._gates_of(masks)
        self._reset(stay)

    def detach(self) -> None:
        """Remove the hooks. Weights keep their values; nothing masks them any more."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _gates_of(self, masks: Masks) -> dict[str, _Gate]:
        # A parameter that is kept in full needs no gate.
        densities = masks.densities
        return {n: _Gate(masks[n]) for n in self._parameters if densities[n] < 1}

    @torch.no_grad()
    def _reset(self, stay: dict[str, Tensor]) -> None:
        """Set every weight outside ``stay`` to 0 and its optimiser state to that of a new one."""
        groups = {id(p): group for group in self._optimizer.param_groups for p in group["params"]}
        for name, parameter in self._parameters.items():
            gone = ~stay[name].to(parameter.device)
            parameter.masked_fill_(gone, 0)
            if parameter.grad is not None:
                parameter.grad.masked_fill_(gone, 0)
            for key, value in self._optimizer.state.get(parameter, {}).items():
                if torch.is_tensor(value) and value.shape == parameter.shape and value.dim():
                    fresh = self._fresh_state(key, groups.get(id(parameter), {}))
                    value.masked_fill_(gone.to(value.device), fresh)
            self._versions[name] = parameter._version

    def _fresh_state(self, key: str, group: dict[str, Any]) -> float:
        for (kind, state), option in _FRESH_STATE.items():
            if state == key and isinstance(self._optimizer, kind):
                return float(group.get(option, 0.0))
        return 0.0

    @torch.no_grad()
    def _before_step(
        self, optimizer: optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._mask_rewritten_weights()
        self._mask_gradients()
        # A closure computes new gradients inside the step, which must be masked there.
        # args[0] is the optimiser itself where step is called through its profiling wrapper.
        for position, value in enumerate(args):
            if callable(value) and not isinstance(value, optim.Optimizer):
                masked = self._masking(value)
                return (*args[:position], masked, *args[position + 1 :]), kwargs
        if kwargs.get("closure") is not None:
            return args, {**kwargs, "closure": self._masking(kwargs["closure"])}
        return None

    @torch.no_grad()
    def _after_step(self, optimizer: optim.Optimizer, args: Any, kwargs: Any) -> None:
        if not self._keeps_zero():
            _multiply((self._parameters[name], gate) for name, gate in self._gates.items())
        for name, parameter in self._parameters.items():
            self._versions[name] = parameter._version

    def _after_load(self, optimizer: optim.Optimizer) -> None:
        self._reset({name: self._masks[name] for name in self._parameters})

    def _keeps_zero(self) -> bool:
        return type(self._optimizer) in _ELEMENTWISE and all(
            group.get("eps", 1) != 0 for group in self._optimizer.param_groups
        )

    def _mask_rewritten_weights(self) -> None:
        # Every in-place write to a tensor raises its version, so an unchanged version means that
        # nobody has written since the last step.
        _multiply(
            (self._parameters[name], gate)
            for name, gate in self._gates.items()
            if self._parameters[name]._version != self._versions[name]
        )

    def _mask_gradients(self) -> None:
        pairs = []
        for name, gate in self._gates.items():
            grad = self._parameters[name].grad
            if grad is None:
                continue
            if grad.layout != torch.strided:
                raise TopographError(
                    f"the gradient of {name!r} has layout {grad.layout}; expected a dense one",
                    "build the layer with sparse=False, or leave it out of the masks",
                )
            pairs.append((grad, gate))
        _multiply(pairs)

    def _masking(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def masked_closure() -> Any:
            loss = closure()
            with torch.no_grad():
                self._mask_gradients()
            return loss

        return masked_closure


class _Gate:
    """A mask as whole numbers 0 and 1 in the layout of the tensor that it multiplies."""

    def __init__(self, mask: Tensor) -> None:
        self._mask = mask
        self._number: Tensor | None = None

    def number_like(self, tensor: Tensor) -> Tensor:
        number = self._number
        if (
            number is None
            or number.device != tensor.device
            or number.itemsize != tensor.itemsize
            or number.stride() != tensor.stride()
        ):
            # Multiplication runs at full speed only over tensors of equal strides.
            integer = _INTEGERS[tensor.itemsize]
            number = torch.empty_like(tensor, dtype=integer).copy_(self._mask)
            self._number = number
        return number


def _multiply(pairs: Any) -> None:
    """Multiply tensors by gates, in place, as integers.

    Times 1 leaves the bits of a float as they are and times 0 clears them all, so that NaN and
    infinity at a masked position become 0, which they would not as floats. It costs the same.
    """
    tensors, numbers = [], []
    for tensor, gate in pairs:
        number = gate.number_like(tensor)
        tensors.append(tensor.view(number.dtype))
        numbers.append(number)
    if tensors:
        torch._foreach_mul_(tensors, numbers)
