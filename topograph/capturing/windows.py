"""What pooling, interpolation, means and sums do to path weight: averages over windows and axes.

Maxima count as means. As in :mod:`topograph.capturing.rules`, every rule is linear, with
coefficients of at least 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from topograph.capturing.rules import Call
from topograph.capturing.weights import packet

aten = torch.ops.aten


def window_mean(call: Call, tensor: Tensor) -> Tensor:
    """Return the mean over the elements of the input in each window of a maximum."""
    name = packet(call.node).__name__
    n = next(d for d in (1, 2, 3) if f"{d}d" in name)
    size, stride = _each(call["kernel_size"], n), _each(call["stride"], n)
    stride = stride or size
    padding, dilation = _each(call["padding"], n), _each(call["dilation"], n)
    if all(step == 1 for step in dilation):
        pool: Any = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[n - 1]
        mean: Tensor = pool(
            tensor, size, stride, padding, ceil_mode=call["ceil_mode"], count_include_pad=False
        )
        return mean
    values = call.node.meta["val"]
    shape = tuple((values[0] if isinstance(values, (tuple, list)) else values).shape)
    ends = []
    for i in range(n):
        last = (shape[i - n] - 1) * stride[i] + dilation[i] * (size[i] - 1) + 1
        ends.append(max(0, last - tensor.shape[i - n] - padding[i]))
    around = [w for pair in zip(reversed(padding), reversed(ends), strict=True) for w in pair]
    planes = tensor.reshape(-1, 1, *tensor.shape[-n:])
    convolve: Any = (functional.conv1d, functional.conv2d, functional.conv3d)[n - 1]
    kernel = tensor.new_ones(1, 1, *size)

    def over_windows(planes: Tensor) -> Tensor:
        padded = functional.pad(planes, around)
        result: Tensor = convolve(padded, kernel, stride=stride, dilation=dilation)
        for axis, length in enumerate(shape[-n:], start=-n):
            result = result.narrow(axis, 0, length)
        return result

    counts = over_windows(torch.ones_like(planes[:1]))
    return (over_windows(planes) / counts).reshape(shape)


def adaptive_mean(call: Call, tensor: Tensor) -> Tensor:
    """Return the mean over each window of an adaptive maximum."""
    name = packet(call.node).__name__
    pool: Any = getattr(functional, name.lstrip("_").replace("max", "avg"))
    result: Tensor = pool(tensor, call["output_size"])
    return result


def as_is(call: Call, tensor: Tensor) -> Tensor:
    """Run the operator, which is linear with coefficients of at least 0, as it is."""
    result: Tensor = call.again(tensor)
    return result


def fold(call: Call, tensor: Tensor) -> Tensor:
    """Add up the elements of overlapping windows at their places."""
    result: Tensor = call.again(tensor)
    return result


def bilinear(call: Call, tensor: Tensor) -> Tensor:
    """Interpolate linearly where the model does it by cubics, whose coefficients change sign."""
    overload = getattr(aten.upsample_bilinear2d, call.node.target._overloadname)  # type: ignore
    result: Tensor = call.again(tensor, overload)
    return result


def mean(call: Call, tensor: Tensor) -> Tensor:
    """Return the mean over the axes of a mean or maximum."""
    axes, keep = _axes(call)
    return tensor.mean(axes, keepdim=keep) if axes else tensor.mean()


def total(call: Call, tensor: Tensor) -> Tensor:
    """Return the sum over axes."""
    axes, keep = _axes(call)
    return tensor.sum(axes, keepdim=keep) if axes else tensor.sum()


def _each(value: Any, n: int) -> list[int]:
    """Return a size argument as one number for each of ``n`` axes; an empty one stays empty."""
    numbers = [int(v) for v in (value if isinstance(value, (tuple, list)) else [value])]
    return numbers * n if len(numbers) == 1 else numbers


def _axes(call: Call) -> tuple[list[int], bool]:
    names = [argument.name for argument in call.node.target._schema.arguments]  # type: ignore
    axes = call["dim"] if "dim" in names else None
    keep = bool(call["keepdim"]) if "keepdim" in names else False
    if axes is None:
        return [], keep
    return (list(axes) if isinstance(axes, (tuple, list)) else [int(axes)]), keep
