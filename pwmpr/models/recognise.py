"""Which of these networks has given names and shapes: what was written without its name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

Shapes = Mapping[str, tuple[int, ...]]


def recognise(shapes: Shapes) -> str | None:
    """Return the name, with options, of the network that names and shapes look like, or None.

    Only what decides the options is looked at; whether all tensors agree is for the caller to see.
    The size of a `convnet`'s images is known up to 3 pixels, as its pooling rounds it down.

    Parameters
    ----------
    shapes
        Parameter name to shape.

    Examples
    --------
    >>> from pwmpr.models import build
    >>> net = build("resnet20", shortcut="B", classes=7)
    >>> recognise({name: tuple(p.shape) for name, p in net.named_parameters()})
    "resnet20(classes=7, shortcut='B')"
    """
    if "layer1.0.conv1.weight" in shapes and "linear.weight" in shapes:
        return _resnet(shapes)
    if "conv2.weight" in shapes and "fc2.weight" in shapes:
        return _convnet(shapes)
    if "fc1.weight" in shapes and all(re.match(r"fc\d+\.(weight|bias)$", name) for name in shapes):
        return _mlp(shapes)
    return None


def _resnet(shapes: Shapes) -> str | None:
    stages = [
        [name for name in shapes if re.match(rf"layer{stage}\.\d+\.conv2\.weight$", name)]
        for stage in (1, 2, 3)
    ]
    first = shapes.get("conv1.weight", ())
    if len({len(names) for names in stages}) != 1 or not stages[0] or len(first) != 4:
        return None
    widths = tuple(shapes[names[0]][0] for names in stages)
    options = {
        "classes": (shapes["linear.weight"][0], 10),
        "shortcut": ("B" if any(".shortcut.0." in name for name in shapes) else "A", "A"),
        "widths": (widths, (16, 32, 64)),
        "channels": (first[1], 3),
    }
    return _call(f"resnet{6 * len(stages[0]) + 2}", options)


def _convnet(shapes: Shapes) -> str | None:
    names = ("conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight")
    one, two, hidden, out = (shapes.get(name, ()) for name in names)
    if [len(one), len(two), len(hidden), len(out)] != [4, 4, 2, 2] or hidden[1] % two[0]:
        return None
    options = {
        "size": (4 * math.isqrt(hidden[1] // two[0]), 28),
        "widths": ((one[0], two[0]), (32, 64)),
        "hidden": (hidden[0], 128),
        "classes": (out[0], 10),
        "channels": (one[1], 1),
    }
    return _call("convnet", options)


def _mlp(shapes: Shapes) -> str | None:
    layers = [shapes.get(f"fc{k}.weight", ()) for k in range(1, len(shapes) // 2 + 1)]
    if any(len(shape) != 2 for shape in layers):
        return None
    return f"mlp(sizes={[layers[0][1], *(shape[0] for shape in layers)]})"


def _call(name: str, options: Mapping[str, tuple[object, object]]) -> str:
    """Return a call with the options that are not the default."""
    given = [f"{key}={value!r}" for key, (value, usual) in options.items() if value != usual]
    return f"{name}({', '.join(given)})" if given else name
