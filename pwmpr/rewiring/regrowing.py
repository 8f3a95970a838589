"""Where connections grow again, and how many in every layer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from pwmpr.masks import Masks
from pwmpr.rewiring.dropping import Positions
from pwmpr.sampling import largest, sample_uniformly


def missing_after(masks: Masks, dropped: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Return the flags of all positions that are not kept, those just dropped included."""
    free = {}
    for name, mask in masks.items():
        flags = ~mask
        flags.view(-1)[np.asarray(dropped.get(name, ()), dtype=np.int64)] = True
        free[name] = flags
    return free


def uniformly(
    free: Mapping[str, Tensor], counts: Mapping[str, int], generator: np.random.Generator
) -> Positions:
    """Return as many free positions of every layer as its count says, all alike."""
    return {
        name: sample_uniformly({name: flags}, counts[name], generator)[name].numpy()
        for name, flags in free.items()
    }


def strongest(
    magnitudes: Mapping[str, Tensor], free: Mapping[str, Tensor], counts: Mapping[str, int]
) -> Positions:
    """Return the free positions of largest magnitude of every layer, ties to the lower position."""
    return {
        name: largest({name: magnitudes[name]}, counts[name], {name: flags})[name].numpy()
        for name, flags in free.items()
    }


def shared(total: int, shares: Mapping[str, float], room: Mapping[str, int]) -> dict[str, int]:
    """Divide a number over layers in proportion to their shares, within their room.

    Rounded by largest remainder, ties to the first layer, so that the counts sum to the total
    exactly. What does not fit into a full layer is offered again to the layers that have room, in
    proportion to their shares, until all is placed; where those shares are all 0, in proportion to
    the room.

    Parameters
    ----------
    total
        At most the sum of the rooms.
    shares
        Layer name to a nonnegative share, on any scale.
    room
        Layer name to the most that it can take.

    Examples
    --------
    >>> shared(10, {"a": 3.0, "b": 1.0, "c": 1.0}, {"a": 2, "b": 9, "c": 9})
    {'a': 2, 'b': 4, 'c': 4}
    """
    counts = dict.fromkeys(shares, 0)
    while (left := total - sum(counts.values())) > 0:
        offered = {n: share for n, share in shares.items() if counts[n] < room[n]}
        if not any(offered.values()):
            offered = {n: float(room[n] - counts[n]) for n in offered}
        scale = math.fsum(offered.values())
        ideal = {n: left * share / scale for n, share in offered.items()}
        parts = {n: math.floor(part + 1e-9) for n, part in ideal.items()}
        most_left = sorted(ideal, key=lambda n: parts[n] - ideal[n])
        for name in most_left[: left - sum(parts.values())]:
            parts[name] += 1
        for name, part in parts.items():
            counts[name] += min(part, room[name] - counts[name])
    return counts
