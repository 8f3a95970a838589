"""Which networks can be built by name: ``build("resnet32")``, ``build("mlp", sizes=[…])``."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable
from functools import partial

from torch import nn

from pwmpr.models.convnet import ConvNet, convnet
from pwmpr.models.gpt import GPT, gpt
from pwmpr.models.imagenet_resnet import ResNet, imagenet_resnet
from pwmpr.models.mlp import MLP, mlp
from pwmpr.models.pooled_convnet import PooledConvNet, pooled_convnet
from pwmpr.models.rbm import RBM, rbm
from pwmpr.models.resnet import CifarResNet, resnet
from pwmpr.models.vgg import VGG, vgg
from pwmpr.models.vit import ViT, vit
from topograph.errors import TopographError

__all__ = [
    "GPT",
    "MLP",
    "RBM",
    "VGG",
    "CifarResNet",
    "ConvNet",
    "PooledConvNet",
    "ResNet",
    "ViT",
    "build",
    "convnet",
    "gpt",
    "imagenet_resnet",
    "mlp",
    "names",
    "pooled_convnet",
    "rbm",
    "resnet",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "vgg",
    "vit",
]

resnet20 = partial(resnet, 20)
resnet32 = partial(resnet, 32)
resnet44 = partial(resnet, 44)
resnet56 = partial(resnet, 56)

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "convnet": convnet,
    "pooled-convnet": pooled_convnet,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet44": resnet44,
    "resnet56": resnet56,
    **{f"resnet{depth}": partial(imagenet_resnet, depth) for depth in (18, 34, 50, 101, 152)},
    **{f"vgg{depth}": partial(vgg, depth) for depth in (11, 13, 16, 19)},
    "vit": vit,
    "gpt": gpt,
    "rbm": rbm,
}


def names() -> list[str]:
    """Return the names that `build` knows.

    ``resnet<depth>`` is the CIFAR network for every other depth of 6n + 2; 18, 34, 50, 101 and 152
    are the four-stage networks. ``mlp-784-300-10`` is ``mlp`` with those sizes.
    """
    return list(BUILDERS)


def build(name: str, **options: object) -> nn.Module:
    """Return a freshly initialised network by name; weights come from PyTorch's global generator.

    Parameters
    ----------
    name
        One of `names`, or ``resnet<depth>``; ``mlp-784-300-100-10`` is ``mlp`` with those sizes.
        A prefix ``pwmpr:`` is allowed.
    options
        Keyword arguments of the network's function, e.g. ``shortcut="B"``, ``classes=100``.

    Raises
    ------
    TopographError
        If the name or an option is unknown.

    Examples
    --------
    >>> build("pwmpr:resnet8", classes=3).linear.out_features
    3
    >>> build("mlp-64-32-10").sizes
    (64, 32, 10)
    """
    builder = _builder(name)
    try:
        bound = inspect.signature(builder).bind(**options)
    except TypeError as error:
        raise TopographError(
            f"model {name} cannot be built with {options!r} ({error})",
            f"its options are {inspect.signature(builder)}",
        ) from None
    return builder(*bound.args, **bound.kwargs)


def options(name: str) -> set[str]:
    """Return the names of the options that `build` takes for a network.

    Examples
    --------
    >>> sorted(options("resnet32"))
    ['channels', 'classes', 'shortcut', 'widths']
    """
    parameters = inspect.signature(_builder(name)).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


def _builder(name: str) -> Callable[..., nn.Module]:
    short = name.removeprefix("pwmpr:")
    builder = BUILDERS.get(short)
    if builder is None and (match := re.fullmatch(r"resnet(\d+)", short)):
        builder = partial(resnet, int(match[1]))
    if builder is None and (match := re.fullmatch(r"mlp((?:-\d+){2,})", short)):
        builder = partial(mlp, [int(size) for size in match[1][1:].split("-")])
    if builder is None:
        near = difflib.get_close_matches(short, BUILDERS, n=1)
        hint = f'did you mean "{near[0]}"?' if near else "choose one of these"
        raise TopographError(f"model is {name!r}; expected one of {', '.join(BUILDERS)}", hint)
    return builder
