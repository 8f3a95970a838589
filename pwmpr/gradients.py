"""What the gradient of a missing weight would be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pwmpr.masks import Masks
from pwmpr.scope import parameters_named
from topograph.errors import TopographError


def dense_gradients(
    model: nn.Module,
    masks: Masks,
    loss: Callable[[nn.Module, Any], Tensor] | None,
    batch: Any,
) -> dict[str, Tensor]:
    """Return the loss gradient of every weight, kept or missing, missing ones counting as 0.

    One dense forward and backward pass in the mode that the model is in. Afterwards parameters,
    gradients, buffers (running statistics), the mode and torch's random state are what they were.

    Parameters
    ----------
    model : nn.Module
    masks : Masks
    loss : callable or None
        ``loss(model, batch)`` gives a scalar. None: the cross-entropy of ``model(x)`` with ``y``
        for a batch ``(x, y)``.
    batch : any
        What ``loss`` expects.

    Returns
    -------
    dict
        Parameter name -> new tensor of the parameter's shape; zeros where the loss does not depend
        on the parameter.

    Raises
    ------
    TopographError
        If the batch is missing, or the loss is no finite scalar, or a gradient is not finite.

    Notes
    -----
    Source: P, A.5 (GG): "we regard all missing connections as connections with a weight of zero,
    and perform forward and backward passes with one batch of training data".
    """
    check_batch(batch)
    parameters = parameters_named(model, masks.shapes)
    with undisturbed(model), _only_kept(parameters, masks), torch.enable_grad():
        value = loss_value(model, loss, batch)
        found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
    gradients = {}
    for (name, parameter), gradient in zip(parameters.items(), found, strict=True):
        gradients[name] = torch.zeros_like(parameter) if gradient is None else gradient.detach()
        if not torch.isfinite(gradients[name]).all():
            raise TopographError(
                f"the gradient of {name!r} is not finite (loss {value.item():.4g})",
                "check the batch and the weights; lower the learning rate if training diverged",
            )
    return gradients


def check_batch(batch: Any) -> None:
    """Refuse to go on without a batch."""
    if batch is None:
        raise TopographError(
            "batch is None; gradients of the loss need a batch of training data",
            "pass batch, and loss(model, batch) if the batch is not (inputs, labels)",
        )


def loss_value(
    model: nn.Module, loss: Callable[[nn.Module, Any], Tensor] | None, batch: Any
) -> Tensor:
    """Return the loss of a batch as a tensor without dimensions that has a gradient.

    Raises
    ------
    TopographError
        If ``loss`` gives anything else, or is None and the batch is not (inputs, labels).
    """
    value = (loss or _cross_entropy)(model, batch)
    if not torch.is_tensor(value) or value.numel() != 1 or not value.requires_grad:
        raise TopographError(
            f"loss(model, batch) gave {value!r}; expected a scalar tensor with a gradient",
            "return e.g. cross_entropy(model(x), y)",
        )
    return value.reshape(())


def _cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    try:
        inputs, labels = batch
    except (TypeError, ValueError):
        raise TopographError(
            f"batch is a {type(batch).__name__}; without a loss it must be (inputs, labels)",
            "pass loss=lambda model, batch: ...",
        ) from None
    return functional.cross_entropy(model(inputs), labels)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Put buffers, the training mode and torch's random state back in the end."""
    places = [
        (module, name, buffer)
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    values = [buffer.detach().clone() for _, _, buffer in places]
    modes = [(module, module.training) for module in model.modules()]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices, key=str), enabled=True):
        try:
            yield
        finally:
            for (module, name, buffer), value in zip(places, values, strict=True):
                module._buffers[name] = buffer
                with torch.no_grad():
                    buffer.copy_(value)
            for module, training in modes:
                module.training = training


@contextmanager
def _only_kept(parameters: dict[str, nn.Parameter], masks: Masks) -> Iterator[None]:
    """Let the parameters hold 0 at missing weights and want gradients, for a while."""
    before = [(p, p.data, p.requires_grad) for p in parameters.values()]
    try:
        for name, parameter in parameters.items():
            parameter.requires_grad_(True)
            missing = ~masks[name].to(parameter.device)
            if torch.count_nonzero(parameter.detach()[missing]):
                parameter.data = parameter.data.masked_fill(missing, 0)
        yield
    finally:
        for parameter, data, wanted in before:
            parameter.data = data
            parameter.requires_grad_(wanted)
