"""Which of these networks has given names and shapes: what was written without its name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from pwmpr.models.imagenet_resnet import STAGES

Shapes = Mapping[str, tuple[int, ...]]


def recognise(shapes: Shapes) -> str | None:
    """Return the name, with options, of the network that names and shapes look like, or None.

    Only what decides the options is looked at; whether all tensors agree is for the caller to see.
    The size of images is known as far as pooling leaves it: up to 3 pixels for `convnet`, up to 31
    for `vgg`.

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
    if "layer1.0.conv1.weight" in shapes:
        return _four_stages(shapes) if "layer4.0.conv1.weight" in shapes else _resnet(shapes)
    if "features.0.weight" in shapes and "linear.weight" in shapes:
        return _vgg(shapes)
    if "conv3.weight" in shapes and "fc.weight" in shapes:
        return _pooled(shapes)
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
    first, last = shapes.get("conv1.weight", ()), shapes.get("linear.weight", ())
    if len({len(names) for names in stages}) != 1 or not stages[0] or len(first) != 4:
        return None
    if len(last) != 2:
        return None
    widths = tuple(shapes[names[0]][0] for names in stages)
    options = {
        "classes": (last[0], 10),
        "shortcut": ("B" if any(".shortcut.0." in name for name in shapes) else "A", "A"),
        "widths": (widths, (16, 32, 64)),
        "channels": (first[1], 3),
    }
    return _call(f"resnet{6 * len(stages[0]) + 2}", options)


def _four_stages(shapes: Shapes) -> str | None:
    counts = tuple(
        sum(bool(re.match(rf"layer{stage}\.\d+\.conv1\.weight$", name)) for name in shapes)
        for stage in (1, 2, 3, 4)
    )
    kind = counts, "layer1.0.conv3.weight" in shapes
    depth = next((depth for depth, stages in STAGES.items() if stages == kind), None)
    first, last = shapes.get("conv1.weight", ()), shapes.get("fc.weight", ())
    if depth is None or len(first) != 4 or len(last) != 2:
        return None
    options = {
        "stem": ("imagenet" if first[2] == 7 else "small", "imagenet"),
        "classes": (last[0], 1000),
        "channels": (first[1], 3),
    }
    return _call(f"resnet{depth}", options)


def _vgg(shapes: Shapes) -> str | None:
    kernels = [shape for name, shape in shapes.items() if name.startswith("features.")]
    kernels = [shape for shape in kernels if len(shape) == 4]
    inner = [name for name in shapes if re.match(r"hidden\.\d+\.weight$", name)]
    inner.sort(key=lambda name: int(name.split(".")[1]))
    units = shapes[inner[0] if inner else "linear.weight"]
    if len(units) != 2 or len(shapes["linear.weight"]) != 2 or not kernels:
        return None
    options = {
        "size": (32 * math.isqrt(units[1] // 512), 32),
        "hidden": (tuple(shapes[name][0] for name in inner), ()),
        "classes": (shapes["linear.weight"][0], 10),
        "channels": (shapes["features.0.weight"][1], 3),
    }
    return _call(f"vgg{len(kernels) + 3}", options)


def _pooled(shapes: Shapes) -> str | None:
    kernels = [shapes.get(f"conv{k}.weight", ()) for k in (1, 2, 3)]
    if any(len(shape) != 4 for shape in kernels):
        return None
    options = {
        "widths": (tuple(shape[0] for shape in kernels), (32, 64, 128)),
        "classes": (shapes["fc.weight"][0], 10),
        "channels": (kernels[0][1], 3),
    }
    return _call("pooled-convnet", options)


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
