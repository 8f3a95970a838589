"""Which kept weights are dropped."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from pwmpr.counts import exact_floor
from pwmpr.masks import Masks

Positions = dict[str, np.ndarray]


def drop_counts(masks: Masks, fraction: float) -> dict[str, int]:
    """Return ⌊α n_l⌋ for the n_l kept weights of every layer; layers kept in full never change.

    Examples
    --------
    >>> import torch
    >>> masks = Masks({"a": torch.eye(10), "b": torch.ones(5)})
    >>> drop_counts(masks, 0.3)
    {'a': 3, 'b': 0}
    """
    sizes = {name: math.prod(shape) for name, shape in masks.shapes.items()}
    return {
        name: 0 if kept == sizes[name] else exact_floor(fraction, kept)
        for name, kept in masks.counts.items()
    }


def smallest(weights: Mapping[str, Tensor], masks: Masks, counts: Mapping[str, int]) -> Positions:
    """Return each layer's kept positions of smallest |θ|, ties to the lower position.

    Parameters
    ----------
    weights
        Parameter name to weights.
    masks
        Which of them are kept.
    counts
        Parameter name to the number to drop.
    """
    chosen = {}
    for name, number in counts.items():
        kept = np.flatnonzero(masks[name].reshape(-1).numpy())
        chosen[name] = _lowest(np.abs(_flat(weights[name])[kept]), kept, number)
    return chosen


def smallest_of_each_sign(
    weights: Mapping[str, Tensor], masks: Masks, fraction: float
) -> Positions:
    """Return the fraction ζ of positive and of negative weights nearest 0, layer by layer.

    ⌊ζ n₊⌋ of the n₊ positive and ⌊ζ n₋⌋ of the n₋ negative ones, separately; kept weights of
    value 0 are dropped always. One weight stays in every layer; a layer kept in full never changes.

    References
    ----------
    Mocanu et al. 2018, "Scalable training of artificial neural networks with adaptive sparse
    connectivity", Nature Communications 9; zeros as in the authors' code.
    """
    chosen = {}
    for name, mask in masks.items():
        kept = np.flatnonzero(mask.reshape(-1).numpy())
        if len(kept) in (0, mask.numel()):
            chosen[name] = kept[:0]
            continue
        values = _flat(weights[name])[kept]
        parts = [kept[values == 0]]
        for sign in (1, -1):
            side = values * sign > 0
            number = exact_floor(fraction, int(side.sum()))
            parts.append(_lowest(np.abs(values[side]), kept[side], number))
        dropped = np.sort(np.concatenate(parts))
        chosen[name] = dropped if len(dropped) < len(kept) else dropped[1:]
    return chosen


def below(weights: Mapping[str, Tensor], masks: Masks, threshold: float) -> Positions:
    """Return every kept position with |θ| below the threshold; one weight stays in every layer.

    The one that stays in a layer that lies below as a whole is its largest, ties to the lower
    position.

    References
    ----------
    Mostafa & Wang 2019, "Parameter efficient training of deep convolutional neural networks by
    dynamic sparse reparameterization", ICML, Algorithm 1.
    """
    chosen = {}
    for name, mask in masks.items():
        kept = np.flatnonzero(mask.reshape(-1).numpy())
        size = np.abs(_flat(weights[name])[kept])
        dropped = kept[size < threshold]
        if len(kept) and len(dropped) == len(kept):
            dropped = np.delete(kept, int(np.argmax(size)))
        chosen[name] = dropped
    return chosen


def _lowest(values: np.ndarray, positions: np.ndarray, number: int) -> np.ndarray:
    """Return the positions of the lowest values, ascending; a stable sort breaks ties by place."""
    return np.sort(positions[np.argsort(values, kind="stable")[:number]])


def _flat(weight: Tensor) -> np.ndarray:
    values: np.ndarray = weight.detach().double().cpu().reshape(-1).numpy()
    return values
