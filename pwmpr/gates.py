"""How masked weights are kept at zero in place, with optimiser state for every weight."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn, optim

from pwmpr.elementwise import fresh_state, is_elementwise
from topograph.errors import TopographError

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Gated:
    """Gradients are multiplied by 0 and 1 before a step, and weights after it where need be.

    An element-wise optimiser leaves a weight of value 0, gradient 0 and fresh state at exactly 0,
    so for those one pass over the gradients is all; after the step of any other optimiser the
    weights are zeroed too.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    parameters : dict
        Name -> masked parameter, each once.
    """

    def __init__(self, optimizer: optim.Optimizer, parameters: dict[str, nn.Parameter]) -> None:
        self._optimizer = optimizer
        self._parameters = parameters
        self._gates: dict[str, _Gate] = {}
        self._versions: dict[str, int] = {}

    @torch.no_grad()
    def change(self, masks: dict[str, Tensor], stay: dict[str, Tensor]) -> None:
        """Go on with other masks: weights outside ``stay`` become 0, with fresh state."""
        # A parameter that is kept in full needs no gate.
        self._gates = {name: _Gate(mask) for name, mask in masks.items() if not bool(mask.all())}
        groups = {id(p): group for group in self._optimizer.param_groups for p in group["params"]}
        for name, parameter in self._parameters.items():
            gone = ~stay[name].to(parameter.device)
            parameter.masked_fill_(gone, 0)
            if parameter.grad is not None and parameter.grad.layout == torch.strided:
                parameter.grad.masked_fill_(gone, 0)
            for key, value in self._optimizer.state.get(parameter, {}).items():
                if torch.is_tensor(value) and value.shape == parameter.shape and value.dim():
                    fresh = fresh_state(self._optimizer, key, groups.get(id(parameter), {}))
                    value.masked_fill_(gone.to(value.device), fresh)
            self._versions[name] = parameter._version

    @torch.no_grad()
    def begin(self) -> None:
        """Make ready for a step: mask weights that were written from outside."""
        # Every in-place write to a tensor raises its version, so an unchanged version means that
        # nobody has written since the last step.
        _multiply(
            (self._parameters[name], gate)
            for name, gate in self._gates.items()
            if self._parameters[name]._version != self._versions[name]
        )

    @torch.no_grad()
    def take_gradients(self) -> None:
        """Mask the gradients."""
        pairs = []
        for name, gate in self._gates.items():
            grad = self._parameters[name].grad
            if grad is None:
                continue
            if grad.layout != torch.strided:
                raise TopographError(
                    f"the gradient of {name!r} has layout {grad.layout}; expected a dense one",
                    'attach with state="kept" where linear layers compute sparsely; build an '
                    "embedding with sparse=False, or leave it out of the masks",
                )
            pairs.append((grad, gate))
        _multiply(pairs)

    @torch.no_grad()
    def end(self) -> None:
        """Mask what the step has moved."""
        if not self._keeps_zero():
            _multiply((self._parameters[name], gate) for name, gate in self._gates.items())
        for name, parameter in self._parameters.items():
            self._versions[name] = parameter._version

    def put_back(self) -> None:
        """Leave the optimiser as it is outside a step: it is never otherwise."""

    def release(self) -> None:
        """Leave the optimiser as if nothing had been attached: it is so already."""

    def _keeps_zero(self) -> bool:
        return is_elementwise(self._optimizer) and all(
            group.get("eps", 1) != 0 for group in self._optimizer.param_groups
        )


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
