"""Models without memory: built on the meta device or under a fake tensor mode, of any size.

Only shapes are known of what they hold. They are traced as they are; a tensor on the meta device
stands for one on the processor meanwhile, so that the constants of the graph are made there.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils import _pytree as pytree


def is_hollow(value: object) -> bool:
    """Whether a tensor has a shape and no values."""
    return isinstance(value, Tensor) and (value.is_meta or isinstance(value, FakeTensor))


def held(model: nn.Module) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    """Yield every tensor of a model with the table that it stands in and its name there."""
    for module in model.modules():
        for table in (module._parameters, module._buffers, module.__dict__):
            for name, value in list(table.items()):
                if isinstance(value, Tensor):
                    yield table, name, value


def has_hollow(model: nn.Module) -> bool:
    """Whether a model holds tensors without values."""
    return any(is_hollow(value) for _, _, value in held(model))


@contextlib.contextmanager
def parameters_without_memory() -> Iterator[None]:
    """Put every parameter that a module registers meanwhile on the meta device.

    Buffers keep their values: an index or a mask on activations decides what is connected. Each
    parameter is allocated before it is dropped, and most are filled only afterwards, so that
    memory holds one at a time.
    """

    def drop(_: nn.Module, __: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        if parameter is None or parameter.is_meta:
            return None  # as it is: a tied parameter stays one
        return nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)

    register: Any = register_module_parameter_registration_hook  # its stub allows no result
    handle = register(drop)
    try:
        yield
    finally:
        handle.remove()


def stand_in(model: nn.Module, arguments: Any, mode: FakeTensorMode | None = None) -> Any:
    """Let fake tensors on the processor stand in for those on the meta device.

    The model is changed: its tables are to be put back afterwards
    (:func:`~topograph.capturing.undisturbed.undisturbed`).

    Parameters
    ----------
    model
        A model of which some tensors are on the meta device.
    arguments
        Any container with its inputs.
    mode
        That of the fake tensors; by default that of those in the model, or a new one.

    Returns
    -------
    Any
        The inputs, those on the meta device replaced too.
    """
    tensors = list(held(model))
    inputs = [value for value in pytree.tree_leaves(arguments) if isinstance(value, Tensor)]
    if not any(value.is_meta for value in itertools.chain((v for _, _, v in tensors), inputs)):
        return arguments
    modes = [value.fake_mode for _, _, value in tensors if isinstance(value, FakeTensor)]
    if mode is None:
        mode = modes[0] if modes else FakeTensorMode(allow_non_fake_inputs=True)
    made: dict[int, Tensor] = {}  # a tied parameter stays one

    def fake(value: Tensor) -> Tensor:
        if not value.is_meta or isinstance(value, FakeTensor):
            return value
        if id(value) not in made:
            with mode:
                empty = torch.empty_strided(
                    value.shape, value.stride(), dtype=value.dtype, device="cpu"
                )
            parameter = isinstance(value, nn.Parameter)
            made[id(value)] = nn.Parameter(empty, value.requires_grad) if parameter else empty
        return made[id(value)]

    for table, name, value in tensors:
        table[name] = fake(value)
    return pytree.tree_map_only(Tensor, fake, arguments)
