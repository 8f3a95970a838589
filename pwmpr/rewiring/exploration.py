"""How much of a network has ever been connected."""

from __future__ import annotations

from collections.abc import Iterable

from pwmpr.masks import Masks
from topograph.errors import TopographError


def exploration_rate(masks: Iterable[Masks]) -> float:
    """Return R_s: weights that were ever kept, over all weights in scope.

    Parameters
    ----------
    masks
        Masks of one network, at least one: ``(s.masks for s in result.snapshots)``, say.

    Raises
    ------
    TopographError
        If there are no masks, or they are of different networks.

    References
    ----------
    Liu et al. 2021, "Do we actually need dense over-parameterization? In-time
    over-parameterization in sparse training", ICML, section 3.

    Examples
    --------
    >>> import torch
    >>> rows = torch.eye(2).bool()
    >>> exploration_rate([Masks({"w": rows[0]}), Masks({"w": rows[1]})])
    1.0
    """
    explored: Masks | None = None
    for now in masks:
        explored = now if explored is None else explored.union(now)
    if explored is None:
        raise TopographError(
            "masks is empty; expected at least the start masks", "pass the snapshots of a run"
        )
    return explored.density
