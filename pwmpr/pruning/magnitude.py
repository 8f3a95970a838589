"""Which weights are left when the smallest go."""

from __future__ import annotations

import math

import torch
from torch import nn

from pwmpr.counts import exact_floor, kept_at
from pwmpr.masks import Masks
from pwmpr.sampling import largest
from pwmpr.scope import check_finite, parameters_named
from topograph.check import check_fraction, check_integer
from topograph.errors import TopographError


def prune(
    model: nn.Module,
    masks: Masks,
    fraction: float = 0.2,
    *,
    count: int | None = None,
    target: float | None = None,
) -> Masks:
    """Return masks without the kept weights of smallest |θ| over all layers at once.

    Nothing is changed; ``handle.update(masks)`` of :meth:`pwmpr.Masks.attach` carries it out.

    Parameters
    ----------
    model : nn.Module
    masks : Masks
        The weights kept so far.
    fraction : float
        ⌊fraction · kept⌋ weights go, free of float error; in (0, 1).
    count : int, optional
        The number of weights that go, instead of ``fraction``.
    target : float, optional
        A density in (0, 1] not to fall below: the step is cut so that it is met exactly, at
        ⌊n · target⌋ kept weights. ``prune(model, masks, count=masks.size, target=0.1)`` goes
        there at once.

    Returns
    -------
    Masks
        A subset of ``masks``; at the target already, ``masks`` itself. Of equal weights the lower
        position stays.

    Raises
    ------
    TopographError
        If a setting is out of range, masks and model do not fit, a kept weight is not finite, the
        masks are below the target, nothing would go, or nothing would be left.

    Notes
    -----
    Source: Frankle & Carbin 2019, "The lottery ticket hypothesis" (global variant): 20% of the
    remaining weights go at every level.

    Examples
    --------
    >>> model = nn.Linear(5, 1, bias=False)
    >>> model.weight.data = torch.tensor([[3.0, -1.0, 2.0, 0.5, -4.0]])
    >>> prune(model, Masks.dense(model), 0.4)["weight"]
    tensor([[ True, False,  True, False,  True]])
    """
    if not isinstance(masks, Masks):
        masks = Masks(masks)
    limit = 1
    if target is not None:
        limit = max(1, kept_at(check_fraction(target, "target"), masks.size))
        if masks.count < limit:
            raise TopographError(
                f"target is {target!r} ({limit} of {masks.size} weights) but {masks.count} are "
                "kept; expected no higher density",
                "pruning adds nothing: pass a lower target",
            )
        if masks.count == limit:
            return masks
    if count is not None:
        going = check_integer(count, "count", least=1)
    else:
        going = exact_floor(check_fraction(fraction, "fraction"), masks.count)
        if going == 0:
            raise TopographError(
                f"fraction is {fraction!r}: ⌊{fraction!r} · {masks.count} kept weights⌋ is 0; "
                "expected at least one weight to go",
                "pass a larger fraction, or count=1",
            )
    left = masks.count - going
    if target is not None:
        left = max(left, limit)
    if left < 1:
        raise TopographError(
            f"{going} of {masks.count} kept weights would go; expected one to be left",
            "pass a smaller fraction or count, or a target",
        )
    magnitudes = {}
    for name, parameter in parameters_named(model, masks.shapes).items():
        missing = ~masks[name].to(parameter.device)
        magnitudes[name] = parameter.detach().abs().masked_fill(missing, 0)
    check_finite(magnitudes)
    return _kept(largest(magnitudes, left, dict(masks)), masks)


def _kept(chosen: dict[str, torch.Tensor], masks: Masks) -> Masks:
    kept = {}
    for name, shape in masks.shapes.items():
        mask = torch.zeros(math.prod(shape), dtype=torch.bool)
        mask[chosen[name]] = True
        kept[name] = mask.reshape(shape)
    return Masks(kept)
