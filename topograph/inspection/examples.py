"""What a model takes: an example input, guessed from its first layers."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from topograph.capturing.hollow import stand_in
from topograph.capturing.undisturbed import undisturbed
from topograph.errors import TopographError
from topograph.inspection.declared import declared_examples

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_RECURRENT = (nn.RNN, nn.LSTM, nn.GRU)
_KNOWN = (*_CONVOLUTIONS, *_RECURRENT, nn.Linear, nn.Embedding, nn.LazyLinear)


def example_of_size(size: Sequence[int]) -> Tensor:
    """Return an all-zeros batch of one sample of ``size``, e.g. (3, 32, 32)."""
    if not size or any(int(n) < 1 for n in size):
        raise TopographError(
            f"the input size is {list(size)}; expected positive numbers", "give e.g. 3 32 32"
        )
    return torch.zeros(1, *map(int, size))


def guess_example(model: nn.Module) -> Tensor | dict[str, Tensor]:
    """Return an example input that ``model`` runs on, of one sample.

    A model that declares its inputs, with a ``main_input_name`` and a ``config``, is asked first;
    it may take several, by name. For others the first convolutions, linear layers, embeddings and
    recurrent layers say how many channels or features there are; usual sizes are tried, without
    computing anything, until one fits. A network that takes images of any size is given 32×32 if
    its first convolution keeps the resolution, and 224×224 if it lowers it.

    Raises
    ------
    TopographError
        If none fits.

    Examples
    --------
    >>> tuple(guess_example(nn.Sequential(nn.Flatten(), nn.Linear(784, 10))).shape)
    (1, 784)
    """
    tried: list[tuple[int, ...]] = []
    declared = list(declared_examples(model))
    for computed in (False, True):  # some operators have no shapes without values
        for named in declared:
            tried.extend(tuple(value.shape) for value in named.values() if not computed)
            if _runs(model, named, computed):
                return named
    for module in _likely_first(model):
        for example in _candidates(module):
            if tuple(example.shape) in tried:
                continue
            tried.append(tuple(example.shape))
            if _runs(model, example):
                return example
    shapes = ", ".join(map(str, tried[:6])) or "nothing: no layer says what it takes"
    raise TopographError(
        f"no example input was given and none could be guessed for {type(model).__name__} "
        f"(tried {shapes})",
        "pass example_input (or --input-size, without the batch dimension)",
    )


def _likely_first(model: nn.Module, most: int = 10) -> list[nn.Module]:
    """Return layers that may be the first to run: the first listed, then those that take least."""
    layers: dict[tuple[type, int], nn.Module] = {}
    for module in model.modules():
        if isinstance(module, _KNOWN):
            layers.setdefault((type(module), _takes(module)), module)
    order = [*list(layers)[:1], *sorted(list(layers)[1:], key=lambda key: key[1])]
    return [layers[key] for key in order[:most]]


def _takes(module: nn.Module) -> int:
    for name in ("in_channels", "in_features", "input_size", "num_embeddings"):
        if hasattr(module, name):
            return int(getattr(module, name))
    return 0


def _candidates(module: nn.Module) -> Iterator[Tensor]:
    if isinstance(module, _CONVOLUTIONS):
        channels = module.in_channels
        dimensions = len(module.kernel_size)
        lowers = math.prod(map(int, module.stride)) > 1 or max(module.kernel_size) > 5
        sizes = (
            [224, 32, 64, 96, 128, 28, 256, 299, 384, 227]
            if lowers
            else [32, 28, 64, 224, 96, 128, 16, 8]
        )
        if channels == 1 and not lowers:
            sizes = [28, *(size for size in sizes if size != 28)]
        if dimensions == 1:
            sizes = [128, 256, 1024, 4096, 16000, 64, 32]
        if dimensions == 3:
            sizes = [16, 32, 64, 112]
        for size in sizes:
            yield torch.zeros(1, channels, *[size] * dimensions)
    elif isinstance(module, nn.Embedding):
        yield torch.zeros(1, 16, dtype=torch.long)
        yield torch.zeros(1, dtype=torch.long)
    elif isinstance(module, _RECURRENT):
        yield torch.zeros(1, 8, module.input_size)
    elif isinstance(module, nn.Linear):
        features = module.in_features
        yield torch.zeros(1, features)
        yield torch.zeros(1, 16, features)
        for channels in (3, 1):  # an image that the forward itself flattens
            side = math.isqrt(features // channels)
            if side > 1 and channels * side * side == features:
                yield torch.zeros(1, channels, side, side)


def _runs(model: nn.Module, example: Tensor | Mapping[str, Tensor], computed: bool = False) -> bool:
    """Whether the forward gets through, on tensors that have shapes and no values.

    With ``computed`` they have values, and the model really runs.
    """
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    level = logger.level
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    inside = contextlib.nullcontext() if computed else mode
    try:
        logger.setLevel(logging.CRITICAL + 1)  # it prints a traceback for every wrong guess
        with warnings.catch_warnings(), undisturbed(model), torch.no_grad(), inside:
            warnings.simplefilter("ignore")
            if isinstance(example, Tensor):
                model(stand_in(model, _fake(mode, example), mode))
            else:
                given = dict(example)
                if not computed:
                    given = stand_in(model, _each_fake(mode, example), mode)
                model(**given)
    except Exception:
        return False
    finally:
        logger.setLevel(level)
    return True


def _each_fake(mode: FakeTensorMode, example: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: _fake(mode, value) for name, value in example.items()}


def _fake(mode: FakeTensorMode, example: Tensor) -> Any:
    return mode.from_tensor(example)
