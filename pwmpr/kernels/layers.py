"""Which layers of a model can compute sparsely, and how they are made to for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from pwmpr.kernels.linear import sparse_linear
from pwmpr.kernels.pattern import Pattern
from topograph.errors import TopographError

if TYPE_CHECKING:
    from pwmpr.masks import Masks


def why_not(device: str | torch.device = "cpu") -> str | None:
    """Return why no layer can compute sparsely on this device; None if layers can."""
    if torch.device(device).type != "cpu":
        return f"sparse kernels compute on the CPU, not on {device}"
    if not torch.backends.mkl.is_available():
        return "this build of PyTorch has no MKL, which multiplies CSR matrices on the CPU"
    return None


def eligible_layers(model: nn.Module, masks: Masks) -> dict[str, nn.Linear]:
    """Return the linear layers that can compute sparsely: name of the weight -> module.

    They are ``nn.Linear`` itself (a subclass may compute otherwise), on the CPU, in float32 or
    float64, whose masked weight is a parameter of their own, not tied to another module's, and
    which nobody has given another ``forward``. Convolutions are not among them: as sparse products
    of unfolded patches they are slower than masked ones at every density in use.

    Examples
    --------
    >>> from pwmpr.masks import Masks
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 3))
    >>> list(eligible_layers(model, Masks.dense(model)))
    ['2.weight']
    """
    users: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                users[id(parameter)] = users.get(id(parameter), 0) + 1
    found = {}
    for prefix, module in model.named_modules():
        name = f"{prefix}.weight" if prefix else "weight"
        if name not in masks or type(module) is not nn.Linear or "forward" in vars(module):
            continue
        weight = module._parameters.get("weight")
        if weight is None or users[id(weight)] > 1 or weight.device.type != "cpu":
            continue
        if weight.dtype in (torch.float32, torch.float64):
            found[name] = module
    return found


class SparseLayers:
    """Layers of a model that compute with their kept weights alone inside `computing`.

    A layer does so if it is eligible, has at least one weight kept, and its density is less than
    ``below``. Outside of the block the model is exactly what it was: plain layers whose weights are
    dense tensors with zeros. Gradients of the weights of these layers are COO tensors, for
    optimisers with ``state="kept"`` (see :meth:`pwmpr.Masks.attach`).

    Parameters
    ----------
    model : nn.Module
    masks : Masks
    below : float or mapping
        A density, or one by parameter name (0 for names that are missing).

    Attributes
    ----------
    masks, below
        What was given.
    names : tuple of str
        The weights of the layers that compute sparsely.

    Raises
    ------
    TopographError
        If this build of PyTorch cannot multiply sparse matrices.

    Examples
    --------
    >>> from pwmpr.masks import Masks
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> masks = Masks({"0.weight": torch.eye(4), "2.weight": torch.ones(2, 4)})
    >>> masks.apply_(model)
    >>> layers = SparseLayers(model, masks, below=0.5)
    >>> x = torch.randn(3, 4)
    >>> with layers.computing():
    ...     y = model(x)
    >>> layers.names, torch.allclose(y, model(x), atol=1e-6)
    (('0.weight',), True)
    """

    def __init__(
        self, model: nn.Module, masks: Masks, below: float | Mapping[str, float] = 1.0
    ) -> None:
        self.masks = masks
        self.below = below
        densities = masks.densities
        self._layers = {
            name: layer
            for name, layer in eligible_layers(model, masks).items()
            if 0 < densities[name] < (below.get(name, 0) if isinstance(below, Mapping) else below)
        }
        if self._layers and (reason := why_not()):
            raise TopographError(reason, 'compute with kernels="masked"')
        self._patterns = {
            name: Pattern(layer.weight, masks[name]) for name, layer in self._layers.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The weights of the layers that compute sparsely."""
        return tuple(self._layers)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Let the layers compute sparsely inside the block; backward passes may follow it."""
        with ExitStack() as stack:
            for name, layer in self._layers.items():
                stack.enter_context(_with_forward(layer, self._pattern(name)))
            yield

    def _pattern(self, name: str) -> Pattern:
        weight = self._layers[name].weight
        if not self._patterns[name].fits(weight):  # the model was moved since
            self._patterns[name] = Pattern(weight, self.masks[name])
        return self._patterns[name]


@contextmanager
def _with_forward(layer: nn.Linear, pattern: Pattern) -> Iterator[None]:
    """Give one layer object another forward pass, for a while."""

    def forward(x: Tensor) -> Tensor:
        # The dense kernel refuses what does not fit in its own words, and has a result for nothing.
        if x.numel() == 0 or x.dim() == 0 or x.shape[-1] != pattern.shape[1]:
            return functional.linear(x, layer.weight, layer.bias)
        return sparse_linear(x, layer.weight, layer.bias, pattern)

    before = vars(layer).get("forward")
    vars(layer)["forward"] = forward
    try:
        yield
    finally:
        del vars(layer)["forward"]
        if before is not None:
            vars(layer)["forward"] = before
