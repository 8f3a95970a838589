"""Which connections a network has after it has grown."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import pwmpr.growth.rules  # noqa: F401  (registers the rules)
from pwmpr.counts import exact_floor, kept_at
from pwmpr.growth.registry import rule_named
from pwmpr.growth.step import GrowthStep
from pwmpr.masks import Masks
from pwmpr.scope import check_finite, parameters_named
from topograph.check import check_fraction, check_integer, check_positive
from topograph.errors import TopographError


def grow(
    model: nn.Module,
    masks: Masks,
    fraction: float = 0.25,
    rule: str = "pwmpr",
    *,
    example_input: Any = None,
    count: int | None = None,
    target: float | None = None,
    loss: Callable[[nn.Module, Any], Tensor] | None = None,
    batch: Any = None,
    scores: Mapping[str, Tensor] | None = None,
    momentum: Mapping[str, Tensor] | None = None,
    initial: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    generator: np.random.Generator | None = None,
) -> Masks:
    """Return masks with new connections, chosen over all layers at once; new weights become 0.

    The given masks stay as they are. In the model only the weights at new positions change (to 0).
    An optimiser's state is told by ``handle.update(new_masks)`` of :meth:`pwmpr.Masks.attach`.

    Parameters
    ----------
    model : nn.Module
    masks : Masks
        The weights kept so far.
    fraction : float
        Growth ratio γ > 0: ⌊γ · kept⌋ new weights, free of float error.
    rule : str
        ``"pwmpr"``, ``"pwmp"``, ``"random"``, ``"gradient"``, ``"momentum"``, ``"phew-grow"`` or a
        registered one.
    example_input : tensor or tuple of tensors
        An input of the model; needed by ``"pwmpr"``, ``"pwmp"`` and ``"phew-grow"``. Only its
        shape matters.
    count : int, optional
        The number of new weights instead of ``fraction``.
    target : float, optional
        A density in (0, 1] not to be passed: the step is cut so that it is met exactly, at
        ⌊n · target⌋ kept weights.
    loss, batch : optional
        For ``"gradient"``: ``loss(model, batch)`` gives a scalar. Without ``loss`` it is the
        cross-entropy of ``model(x)`` for a batch ``(x, y)``.
    scores : mapping, optional
        Parameter name -> score tensor, computed already, in place of the rule's own.
    momentum : mapping, optional
        For ``"momentum"``: ``pwmpr.rewiring.SmoothedGradient.values``.
    initial : mapping, optional
        For ``"phew-grow"``: parameter name -> weights before training.
    seed : int
        Chance is a function of the seed and of the number of kept weights, so that a loop with
        one seed draws anew at every step.
    generator : numpy.random.Generator, optional
        Chance from this generator instead.

    Returns
    -------
    Masks
        A superset of ``masks``. If fewer weights are missing than asked for, all of them are
        grown, with a ``UserWarning``. At the target already: ``masks`` itself.

    Raises
    ------
    TopographError
        If a setting is out of range or missing for the rule, masks and model do not fit, a kept
        weight is NaN, no weight is missing, ⌊γ · kept⌋ is 0, or the masks are past the target.

    Notes
    -----
    Source: P, section 4 and Algorithm 1; M = ⌊n·Δρ⌋ with Δρ = γρ.

    Examples
    --------
    >>> import torch
    >>> from pwmpr.masks import Masks
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    >>> masks = Masks({"0.weight": torch.eye(8), "2.weight": torch.eye(4, 8)})
    >>> new = grow(model, masks, fraction=0.5, rule="random", seed=1)
    >>> masks.count, new.count, new.union(masks) == new
    (12, 18, True)
    """
    chosen = rule_named(rule)
    if not isinstance(masks, Masks):
        masks = Masks(masks)
    if generator is None:
        generator = np.random.default_rng([check_integer(seed, "seed"), masks.count])
    number = _number_to_grow(masks, fraction, count, target)
    if number == 0:
        return masks
    parameters = parameters_named(model, masks.shapes)
    for name, parameter in parameters.items():
        missing = ~masks[name].to(parameter.device)
        check_finite({name: parameter.detach().masked_fill(missing, 0)})
    step = GrowthStep(
        model, masks, generator, example_input, loss, batch, scores, momentum, initial
    )
    grown = _checked(chosen(step, number), number, rule)
    new = masks.with_added(grown)
    with torch.no_grad():
        for name, index in grown.items():
            weight = parameters[name]
            fresh = torch.zeros(weight.shape, dtype=torch.bool)
            fresh.view(-1)[index] = True
            weight.masked_fill_(fresh.to(weight.device), 0)
    return new


def select(rule: str, step: GrowthStep, count: int) -> dict[str, Tensor]:
    """Return the positions that a rule chooses, changing nothing.

    Parameters
    ----------
    rule : str
    step : GrowthStep
    count : int
        Number of positions, at most those missing.

    Returns
    -------
    dict
        Parameter name -> ascending flat indices (int64); names without new positions may lack.

    Raises
    ------
    TopographError
        As :func:`grow`.
    """
    missing = step.masks.size - step.masks.count
    if check_integer(count, "count") > missing:
        raise TopographError(
            f"count is {count}; expected at most the {missing} missing weights",
            f"pass count={missing} or fewer",
        )
    return _checked(rule_named(rule)(step, count), count, rule)


def _number_to_grow(masks: Masks, fraction: float, count: int | None, target: float | None) -> int:
    kept, size = masks.count, masks.size
    limit = size
    if target is not None:
        limit = kept_at(check_fraction(target, "target"), size)
        if limit < kept:
            raise TopographError(
                f"target is {target!r} ({limit} of {size} weights) but {kept} are kept; "
                f"expected a density of at least {masks.density:.6g}",
                "growth removes nothing: pass a higher target, or start sparser",
            )
    elif kept == size:
        raise TopographError(
            f"all {size} weights are kept; expected masks with weights missing",
            "stop growing, or pass target=1.0 to be given the same masks back",
        )
    if count is not None:
        wanted = check_integer(count, "count", least=1)
    else:
        wanted = exact_floor(check_positive(fraction, "fraction"), kept)
        if wanted == 0:
            raise TopographError(
                f"fraction is {fraction!r}: ⌊{fraction!r} · {kept} kept weights⌋ is 0; "
                "expected at least one new weight",
                "pass a larger fraction, or count=1",
            )
    if target is None and wanted > size - kept:
        warnings.warn(
            f"{wanted} new weights wanted, {size - kept} are missing: all of them are grown",
            stacklevel=3,
        )
    return min(wanted, limit - kept)


def _checked(grown: dict[str, Tensor], number: int, rule: str) -> dict[str, Tensor]:
    found = sum(index.numel() for index in grown.values())
    if found != number:
        raise TopographError(
            f"rule {rule!r} chose {found} positions; expected exactly {number}",
            "a rule returns as many missing positions as it is asked for",
        )
    return grown
