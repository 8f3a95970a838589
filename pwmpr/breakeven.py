"""Below which density a linear layer is faster as a sparse one, measured on this machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pwmpr.gradients import undisturbed
from pwmpr.kernels.layers import eligible_layers, why_not
from pwmpr.kernels.linear import sparse_linear
from pwmpr.kernels.pattern import Pattern
from pwmpr.masks import Masks

# Densities at which the sparse layer is timed; a line through the two says the rest, since every
# part of its time is either fixed or goes with the kept weights.
DENSITIES = (0.01, 0.08)
# A sparse layer has to be so much faster before it is taken.
MARGIN = 0.9
REPEATS = 5
# The line is not trusted beyond this density; sparse layers lose below it on every machine seen.
MOST = 0.3


@dataclass(frozen=True)
class BreakEven:
    """What was measured of one layer: milliseconds of a forward and backward pass.

    Attributes
    ----------
    rows
        Input vectors in a training batch.
    masked
        With the dense kernel, whatever the density.
    sparse
        With the sparse one, at each of `DENSITIES`.
    below
        The density below which the sparse one takes less than `MARGIN` of the masked one's time.
    """

    rows: int
    masked: float
    sparse: tuple[float, ...]
    below: float

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain values, times to three digits."""
        values = asdict(self) | {"sparse": [float(f"{ms:.3g}") for ms in self.sparse]}
        return values | {"masked": float(f"{self.masked:.3g}")}


def break_even(
    model: nn.Module,
    masks: Masks,
    example_input: Any,
    batch: int,
    autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
) -> dict[str, BreakEven]:
    """Time every eligible layer both ways, as it stands in the model; seconds of work in all.

    The times are of this machine in this minute; what follows from them is to be kept by the
    caller, so that it stays the same.

    Parameters
    ----------
    model : nn.Module
        Left as it was.
    masks : Masks
        Only the names count.
    example_input
        One sample, or a tuple of inputs of one sample.
    batch : int
        Samples in a training batch.
    autocast : callable
        Gives the context in which forward passes run: masked layers are timed in it.

    Returns
    -------
    dict
        Parameter name -> `BreakEven`; layers that do not run are left out.
    """
    if why_not() is not None:
        return {}
    found: dict[tuple[Any, ...], BreakEven] = {}
    result = {}
    layers = eligible_layers(model, masks)
    for name, (rows, wants) in _rows(model, layers, example_input).items():
        layer = layers[name]
        rows *= batch
        key = (layer.weight.shape, layer.weight.dtype, layer.bias is None, rows, wants)
        if key not in found:
            found[key] = _timed(layer, rows, wants, autocast)
        result[name] = found[key]
    return result


def _rows(
    model: nn.Module, layers: dict[str, nn.Linear], example_input: Any
) -> dict[str, tuple[int, bool]]:
    """Return how many vectors of one sample each layer gets, and if they want gradients."""
    seen: dict[str, tuple[int, bool]] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows, wants = seen.get(name, (0, False))
            more = inputs[0].numel() // inputs[0].shape[-1]
            seen[name] = rows + more, wants or inputs[0].requires_grad

        return hook

    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    try:
        with undisturbed(model), torch.enable_grad():
            model.eval()(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: (rows, wants) for name, (rows, wants) in seen.items() if rows}


def _timed(
    layer: nn.Linear,
    rows: int,
    wants: bool,
    autocast: Callable[[], contextlib.AbstractContextManager[Any]],
) -> BreakEven:
    # Chance of its own: the run's must not depend on whether anything was timed.
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=layer.weight.dtype)

    weight = normal(*layer.weight.shape).requires_grad_()
    bias = None if layer.bias is None else normal(len(weight)).requires_grad_()
    x = normal(rows, weight.shape[1]).requires_grad_(wants)
    grad = normal(rows, len(weight))
    leaves = [leaf for leaf in (x, weight, bias) if leaf is not None]

    def milliseconds(forward: Callable[[], Tensor]) -> float:
        return _milliseconds(forward, grad, leaves, autocast)

    masked = milliseconds(lambda: functional.linear(x, weight, bias))
    sparse = []
    for density in DENSITIES:
        mask = torch.rand(weight.shape, generator=generator) < density
        mask[0, 0] = True
        pattern = Pattern(weight, mask)
        sparse.append(milliseconds(partial(sparse_linear, x, weight, bias, pattern)))
    (low, high), (at_low, at_high) = DENSITIES, sparse
    slope = max((at_high - at_low) / (high - low), 1e-9)
    below = low + (MARGIN * masked - at_low) / slope
    return BreakEven(rows, masked, tuple(sparse), round(min(max(below, 0.0), MOST), 4))


def _milliseconds(
    forward: Callable[[], Tensor],
    grad: Tensor,
    leaves: list[Tensor],
    autocast: Callable[[], contextlib.AbstractContextManager[Any]],
) -> float:
    """Return the shortest of a few passes: what else the machine does only lengthens them.

    Of the processor where one thread computes, since other load counts little there.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    best = float("inf")
    with torch.enable_grad():
        for _ in range(REPEATS + 1):
            for leaf in leaves:
                leaf.grad = None
            began = clock()
            with autocast():
                out = forward()
            out.backward(grad.to(out.dtype))
            best = min(best, clock() - began)
    return best * 1e3
