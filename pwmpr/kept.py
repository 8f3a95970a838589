"""How an optimiser steps the kept weights alone, and has state for no others.

For the time of a step, a vector of the kept weights stands in the optimiser for every masked
parameter: gathered before it, with the gradients of those weights, and written back after it.
Between steps the optimiser holds the parameters themselves, so that ``zero_grad``, schedules,
gradient scaling and clipping, ``state_dict`` and DDP find what they always find; only the state
tensors are shorter. An element-wise optimiser gives each weight the value that it would have in the
whole tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim

from pwmpr.elementwise import ELEMENTWISE, fresh_state, is_elementwise
from pwmpr.positions import flat, positions
from topograph.errors import TopographError


class Kept:
    """State and steps for the kept weights of these parameters, in row-major order.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        An element-wise one.
    parameters : dict
        Name -> masked parameter, each once.

    Raises
    ------
    TopographError
        If the optimiser is not known to be element-wise.
    """

    def __init__(self, optimizer: optim.Optimizer, parameters: dict[str, nn.Parameter]) -> None:
        if not is_elementwise(optimizer):
            raise TopographError(
                f'state is "kept" with a {type(optimizer).__name__}; expected one that steps every '
                f"weight by itself ({', '.join(kind.__name__ for kind in ELEMENTWISE)})",
                'attach with state="dense", which works with any optimiser',
            )
        self._optimizer = optimizer
        self._parameters = parameters
        self._kept: dict[str, _KeptWeights] = {}
        self._in_step: dict[str, Tensor] = {}
        self._versions: dict[str, int] = {}

    @torch.no_grad()
    def change(self, masks: dict[str, Tensor], stay: dict[str, Tensor]) -> None:
        """Go on with other masks: weights outside ``stay`` become 0, with fresh state."""
        self.put_back()
        before, self._kept = self._kept, {}
        for name, parameter in self._parameters.items():
            # A parameter that is kept in full is stepped as it is.
            if not bool(masks[name].all()):
                self._kept[name] = _KeptWeights(name, parameter, masks[name])
            gone = ~stay[name].to(parameter.device)
            parameter.masked_fill_(gone, 0)
            if parameter.grad is not None:
                if parameter.grad.layout != torch.strided:
                    parameter.grad = parameter.grad.to_dense()  # its pattern was the masks' before
                parameter.grad.masked_fill_(gone, 0)
            self._move_state(name, before.get(name), self._kept.get(name), gone)
            self._versions[name] = parameter._version

    @torch.no_grad()
    def begin(self) -> None:
        """Make ready for a step: mask weights that were written from outside."""
        self.put_back()
        for name, kept in self._kept.items():
            parameter = self._parameters[name]
            if parameter._version != self._versions[name]:
                values = kept.gather(parameter)
                parameter.zero_()
                kept.scatter(values)

    @torch.no_grad()
    def take_gradients(self) -> None:
        """Put vectors of the kept weights and their gradients into the optimiser."""
        names = {id(self._parameters[name]): name for name in self._kept}
        state = self._optimizer.state
        for group in self._optimizer.param_groups:
            for place, parameter in enumerate(group["params"]):
                name = names.get(id(parameter))
                if name is None:
                    continue
                values = self._kept[name].gather(parameter)
                values.grad = self._kept[name].gradient()
                group["params"][place] = values
                if parameter in state:
                    state[values] = state.pop(parameter)
                self._in_step[name] = values

    @torch.no_grad()
    def end(self) -> None:
        """Write the vectors back."""
        for name, values in self._in_step.items():
            self._kept[name].scatter(values)
        self.put_back()
        for name, parameter in self._parameters.items():
            self._versions[name] = parameter._version

    def put_back(self) -> None:
        """Put the parameters back into the optimiser, as after a step that failed."""
        if not self._in_step:
            return
        state = self._optimizer.state
        names = {id(values): name for name, values in self._in_step.items()}
        for group in self._optimizer.param_groups:
            for place, values in enumerate(group["params"]):
                name = names.get(id(values))
                if name is None:
                    continue
                group["params"][place] = self._parameters[name]
                if values in state:
                    state[self._parameters[name]] = state.pop(values)
        self._in_step = {}

    @torch.no_grad()
    def release(self) -> None:
        """Give the optimiser state for every weight again."""
        self.put_back()
        for name, kept in self._kept.items():
            nothing = torch.zeros((), dtype=torch.bool, device=self._parameters[name].device)
            self._move_state(name, kept, None, nothing)
        self._kept = {}

    def _move_state(
        self, name: str, old: _KeptWeights | None, new: _KeptWeights | None, gone: Tensor
    ) -> None:
        """Carry optimiser state over to other kept weights; it may also be of all weights."""
        parameter = self._parameters[name]
        state = self._optimizer.state.get(parameter, {})
        groups = {id(p): group for group in self._optimizer.param_groups for p in group["params"]}
        for key, value in state.items():
            if not torch.is_tensor(value) or not value.dim():
                continue  # a count of steps, say: of the parameter, not of its weights
            fresh = fresh_state(self._optimizer, key, groups.get(id(parameter), {}))
            if value.shape == parameter.shape:
                whole = value
            elif old is not None and value.shape == (old.count,):
                whole = torch.full_like(parameter, fresh, dtype=value.dtype)
                old.scatter(value, whole)
            else:
                count = parameter.numel() if old is None else old.count
                raise TopographError(
                    f"the optimiser's {key!r} of {name!r} has shape {tuple(value.shape)}; expected "
                    f"{tuple(parameter.shape)} or ({count},), the number of kept weights",
                    "load optimiser state that was saved with these masks",
                )
            whole.masked_fill_(gone.to(whole.device), fresh)
            state[key] = whole if new is None else new.gather(whole)


class _KeptWeights:
    """The kept weights of one parameter, wherever it lies."""

    def __init__(self, name: str, parameter: nn.Parameter, mask: Tensor) -> None:
        self._name = name
        self._parameter = parameter
        self._mask = mask
        self._index = positions(parameter, mask)
        self._layout = (parameter.device, parameter.stride())
        self.count = len(self._index)
        self._ordered: Tensor | None = None

    def gather(self, whole: Tensor) -> Tensor:
        """Return the kept elements of a tensor like the parameter, as a new vector."""
        return flat(self._like(whole)).index_select(0, self._positions())

    def scatter(self, values: Tensor, whole: Tensor | None = None) -> None:
        """Write a vector to the kept elements of the parameter, or of a tensor like it."""
        flat(self._parameter if whole is None else whole).scatter_(0, self._positions(), values)

    def gradient(self) -> Tensor | None:
        """Return the gradients of the kept weights; None if there are none."""
        grad = self._parameter.grad
        if grad is None:
            return None
        if grad.layout == torch.sparse_coo:
            if self._is_ordered(grad):
                return grad._values()
            grad = grad.to_dense()
        elif grad.layout != torch.strided:
            raise TopographError(
                f"the gradient of {self._name!r} has layout {grad.layout}; expected a dense or COO "
                "one",
                "leave this weight out of the masks",
            )
        return self.gather(grad)

    def _is_ordered(self, grad: Tensor) -> bool:
        """Return whether a COO gradient has the kept weights, in this order.

        Sparse kernels give it so, over one tensor of indices, which is compared once. Sums of
        several backward passes have indices of their own.
        """
        indices = grad._indices()
        if self._ordered is not None and indices.data_ptr() == self._ordered.data_ptr():
            return indices.shape == self._ordered.shape
        row_major = self._mask.nonzero().T.to(indices.device)
        if not torch.equal(indices, row_major):
            return False
        self._ordered = indices
        return True

    def _like(self, whole: Tensor) -> Tensor:
        if whole.stride() == self._parameter.stride():
            return whole
        return torch.empty_like(self._parameter, dtype=whole.dtype).copy_(whole)

    def _positions(self) -> Tensor:
        layout = (self._parameter.device, self._parameter.stride())
        if layout != self._layout:  # the model was moved, or its memory format changed
            self._index = positions(self._parameter, self._mask)
            self._layout = layout
        return self._index
