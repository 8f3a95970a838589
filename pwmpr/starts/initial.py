"""Which masks a network starts with, by the name of the rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from pwmpr.counts import kept_at
from pwmpr.masks import Masks
from pwmpr.scope import check_finite, weights_in_scope
from pwmpr.starts.densities import er_counts, erk_counts, uniform_counts
from pwmpr.starts.network import network
from pwmpr.starts.phew import phew_positions
from pwmpr.starts.saliency import GradientScores, grasp_scores, highest, snip_scores
from pwmpr.starts.synflow import synflow_positions
from topograph.capturing.trace import ExampleInput
from topograph.check import check_choice, check_fraction, check_integer
from topograph.errors import TopographError

Positions = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Start:
    """What a start rule is given.

    Attributes
    ----------
    model
        The network with its initial weights.
    shapes
        Parameter name to shape, for the weights in scope.
    count
        How many weights to keep, exactly.
    example_input
        An input of the network, or None.
    rng
        Source of every random choice.
    loss, batch
        ``loss(model, batch)`` gives the scalar whose gradients are wanted, or None.
    """

    model: nn.Module
    shapes: Mapping[str, tuple[int, ...]]
    count: int
    example_input: ExampleInput | None
    rng: np.random.Generator
    loss: Callable[[nn.Module, Any], torch.Tensor] | None = None
    batch: Any = None


def initial_masks(
    model: nn.Module,
    density: float = 0.05,
    rule: str = "phew",
    example_input: ExampleInput | None = None,
    seed: int = 0,
    dense: Iterable[str] = (),
    *,
    loss: Callable[[nn.Module, Any], torch.Tensor] | None = None,
    batch: Any = None,
) -> Masks:
    """Choose the weights that a sparse network starts with.

    Parameters
    ----------
    model
        The network with its initial weights, which are not changed.
    density
        Kept weights over all weights in scope, in (0, 1]; the count is exact: ⌊density · n⌋.
    rule
        ``"phew"``: biased random walks on |θ| along the captured graph (Patil & Dovrolis 2021);
        ``"uniform"``, ``"er"``, ``"erk"``: random positions with the same density in every layer,
        or Erdős-Rényi(-Kernel) densities (Mocanu et al. 2018; Evci et al. 2020);
        ``"random"``: random positions over all layers at once;
        ``"snip"``: largest |θ ∂L/∂θ| (Lee et al. 2019); ``"grasp"``: largest θ·Hg (Wang et al.
        2020); ``"synflow"``: 100 rounds of largest |∂R/∂θ · θ| (Tanaka et al. 2020).
    example_input
        An input of the network, which ``"phew"`` and ``"synflow"`` need to capture its graph.
    seed
        The same seed gives the same masks.
    dense
        Glob patterns of weights that stay dense, beside the model's own ``dense_weights``; see
        :func:`pwmpr.scope.weights_in_scope`.
    loss, batch
        For ``"snip"`` and ``"grasp"``: ``loss(model, batch)`` gives a scalar. Without ``loss`` it
        is the cross-entropy of ``model(x)`` for a batch ``(x, y)``. Parameters, gradients,
        buffers, mode and torch's random state are afterwards what they were.

    Returns
    -------
    Masks
        One mask for every weight in scope.

    Raises
    ------
    TopographError
        For a density outside (0, 1] or one that keeps no weight, an unknown rule, weights with
        NaN, a model that cannot be captured, or a density that walks cannot reach.

    Examples
    --------
    >>> import torch
    >>> torch.manual_seed(0)                                        # doctest: +ELLIPSIS
    <torch...>
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    >>> initial_masks(model, density=0.25, example_input=torch.zeros(1, 8))
    Masks(48 of 192 weights kept, density 0.25, in 2 parameters)
    """
    check_fraction(density, "density")
    check_choice(rule, "rule", _RULES)
    check_integer(seed, "seed")
    weights = weights_in_scope(model, dense)
    check_finite(weights)
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    size = sum(map(math.prod, shapes.values()))
    count = kept_at(density, size)
    if count == 0:
        raise TopographError(
            f"density {density} of {size} weights keeps none; expected at least one",
            f"pass a density of at least {1 / size:.3g}",
        )
    rng = np.random.default_rng(seed)
    chosen = _RULES[rule](Start(model, shapes, count, example_input, rng, loss, batch))
    return Masks({name: _mask(chosen[name], shape) for name, shape in shapes.items()})


def start_rules() -> tuple[str, ...]:
    """Return the names of the start rules.

    Examples
    --------
    >>> start_rules()
    ('phew', 'uniform', 'er', 'erk', 'random', 'snip', 'grasp', 'synflow')
    """
    return tuple(_RULES)


def _mask(positions: np.ndarray, shape: tuple[int, ...]) -> torch.Tensor:
    mask = torch.zeros(math.prod(shape), dtype=torch.bool)
    mask[torch.from_numpy(positions)] = True
    return mask.reshape(shape)


def _phew(start: Start) -> Positions:
    if start.example_input is None:
        raise TopographError(
            'rule="phew" walks along the network\'s graph and needs an example_input',
            "pass one sample, e.g. example_input=torch.zeros(1, 3, 32, 32)",
        )
    seen = network(start.model, start.example_input)
    return phew_positions(seen, start.shapes, start.count, start.rng)


def _synflow(start: Start) -> Positions:
    if start.example_input is None:
        raise TopographError(
            'rule="synflow" sums paths through the network and needs an example_input',
            "pass one sample, e.g. example_input=torch.zeros(1, 3, 32, 32)",
        )
    return synflow_positions(start.model, start.example_input, start.shapes, start.count)


def _by_gradient(scores: GradientScores) -> Callable[[Start], Positions]:
    def rule(start: Start) -> Positions:
        found = scores(start.model, tuple(start.shapes), start.loss, start.batch)
        return highest(found, start.count)

    return rule


def _by_layer(
    counts: Callable[[Mapping[str, tuple[int, ...]], int], dict[str, int]],
) -> Callable[[Start], Positions]:
    def rule(start: Start) -> Positions:
        kept = counts(start.shapes, start.count)
        return {
            name: start.rng.choice(math.prod(shape), kept[name], replace=False, shuffle=False)
            for name, shape in start.shapes.items()
        }

    return rule


def _random(start: Start) -> Positions:
    sizes = [math.prod(shape) for shape in start.shapes.values()]
    drawn = np.sort(start.rng.choice(sum(sizes), start.count, replace=False, shuffle=False))
    ends = np.cumsum(sizes)
    parts = np.split(drawn, np.searchsorted(drawn, ends[:-1]))
    return {
        name: part - (end - size)
        for name, part, end, size in zip(start.shapes, parts, ends, sizes, strict=True)
    }


_RULES: dict[str, Callable[[Start], Positions]] = {
    "phew": _phew,
    "uniform": _by_layer(uniform_counts),
    "er": _by_layer(er_counts),
    "erk": _by_layer(erk_counts),
    "random": _random,
    "snip": _by_gradient(snip_scores),
    "grasp": _by_gradient(grasp_scores),
    "synflow": _synflow,
}
