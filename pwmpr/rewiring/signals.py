"""What flows into and back out of every layer on one batch, summed over samples and places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pwmpr.gradients import check_batch, loss_value, undisturbed
from pwmpr.masks import Masks
from topograph.errors import TopographError

_CONVOLUTIONS = {
    nn.Conv1d: functional.conv1d,
    nn.Conv2d: functional.conv2d,
    nn.Conv3d: functional.conv3d,
}


@dataclass(frozen=True, eq=False)
class Signals:
    """How strong the signals at one layer's inputs and outputs are.

    Attributes
    ----------
    inputs
        (groups, columns), nonnegative: one number for every column of the weight, that is for
        every input channel and kernel tap of the unfolded convolution.
    outputs
        (rows,), nonnegative: one number for every output.
    """

    inputs: np.ndarray
    outputs: np.ndarray


def layer_signals(
    model: nn.Module,
    masks: Masks,
    loss: Callable[[nn.Module, Any], Tensor] | None,
    batch: Any,
    signs: np.random.Generator | None = None,
) -> dict[str, Signals]:
    """Return the signals of every masked layer on one batch.

    Parameters
    ----------
    model : nn.Module
        Left as it was: gradients, buffers, mode and random state too.
    masks : Masks
        Of weights of linear and convolution modules.
    loss, batch
        ``loss(model, batch)`` gives a scalar; None: cross-entropy of ``(x, y)``.
    signs : numpy.random.Generator, optional
        None: Σ |h| and Σ |δ| over samples and patches (GraBo). Else |Σ s h| and |Σ s δ| with a
        random sign s for every sample and patch, the same in both (GraEst).

    Raises
    ------
    TopographError
        If a masked weight is no linear or convolution module's, or its module does not run.

    References
    ----------
    Heddes et al. 2024, "Always-sparse training by growing connections with guided stochastic
    exploration". The published GraEst of convolutions looks at the first patch only; here all
    patches count.
    """
    check_batch(batch)
    modules = {name: _module(model, name) for name in masks}
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    with undisturbed(model), _watched(modules) as seen, torch.enable_grad():
        value = loss_value(model, loss, batch)
        for name, calls in seen.items():
            if not calls:
                raise TopographError(
                    f"the module of {name!r} did not run in the forward pass",
                    'keep that weight dense, or use rule="gse-uniform"',
                )
        outputs = [output for calls in seen.values() for _, output in calls]
        found = torch.autograd.grad(value, outputs, allow_unused=True, materialize_grads=True)
        gradients = iter(found)
        for name, calls in seen.items():
            for inputs, _output in calls:
                new = _summed(modules[name], inputs, next(gradients).detach(), signs)
                old = sums.get(name)
                sums[name] = new if old is None else (old[0] + new[0], old[1] + new[1])
    signals = {}
    for name in masks:
        into, out_of = (part.abs().double().cpu().numpy() for part in sums[name])
        signals[name] = Signals(into, out_of)
    return signals


def _module(model: nn.Module, name: str) -> nn.Module:
    module = model.get_submodule(name.rpartition(".")[0])
    if not isinstance(module, (nn.Linear, *_CONVOLUTIONS)) or not name.endswith("weight"):
        raise TopographError(
            f"{name!r} belongs to a {type(module).__name__}; expected a linear layer or a "
            "convolution that is not transposed",
            'keep that weight dense, or use rule="gse-uniform"',
        )
    return module


@contextmanager
def _watched(
    modules: dict[str, nn.Module],
) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
    """Note the input and output of every call of the modules."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in modules}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            seen[name].append((inputs[0].detach().clone(), output))
            return output.clone()  # what follows may work in place

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _summed(
    module: nn.Module, h: Tensor, delta: Tensor, signs: np.random.Generator | None
) -> tuple[Tensor, Tensor]:
    """Return the sums over samples and patches: (groups, columns) and (rows,)."""
    if signs is None:
        h, delta = h.abs(), delta.abs()
    if isinstance(module, nn.Linear):
        h, delta = h.reshape(-1, h.shape[-1]), delta.reshape(-1, delta.shape[-1])
        s = _signs((len(h),), h, signs)
        return (s @ h)[None], s @ delta
    assert isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
    if h.dim() == module.weight.dim() - 1:
        h, delta = h[None], delta[None]
    s = _signs((len(h), 1, *delta.shape[2:]), h, signs)
    padding = module.padding
    if module.padding_mode != "zeros":
        h = functional.pad(h, module._reversed_padding_repeated_twice, mode=module.padding_mode)
        padding = 0  # type: ignore[assignment]
    # The gradient of a depthwise convolution's weight gathers, for every channel and tap, what
    # all patches hold there.
    channels, kernel = module.in_channels, module.weight.shape[2:]
    taps = torch.zeros((channels, 1, *kernel), dtype=h.dtype, device=h.device, requires_grad=True)
    convolve: Any = next(f for kind, f in _CONVOLUTIONS.items() if isinstance(module, kind))
    patches = convolve(
        h, taps, stride=module.stride, padding=padding, dilation=module.dilation, groups=channels
    )
    (into,) = torch.autograd.grad((patches * s).sum(), taps)
    dims = [0, *range(2, delta.dim())]
    return into.reshape(module.groups, -1), (delta * s).sum(dims)


def _signs(shape: tuple[int, ...], like: Tensor, signs: np.random.Generator | None) -> Tensor:
    if signs is None:
        return torch.ones(shape, dtype=like.dtype, device=like.device)
    drawn = signs.integers(0, 2, shape) * 2 - 1
    return torch.from_numpy(drawn).to(like.device, like.dtype)
