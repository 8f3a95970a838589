"""When connections move, and how many."""

from __future__ import annotations

import math

from topograph.check import check_choice, check_fraction


def drop_fraction(step: int, end: int, start: float, anneal: str = "cosine") -> float:
    """Return α_t, the part of the kept weights that is dropped at a step.

    Parameters
    ----------
    step
        t, optimiser steps so far.
    end
        T_end: nothing moves from this step on.
    start
        α, in (0, 1].
    anneal
        ``"cosine"``: α/2 (1 + cos(π t / T_end)) (Dettmers & Zettlemoyer 2019; Evci et al. 2020);
        ``"constant"``: α until T_end (SET, DSR).

    Examples
    --------
    >>> [round(drop_fraction(t, 100, 0.3), 3) for t in (0, 50, 99, 100)]
    [0.3, 0.15, 0.0, 0.0]
    """
    check_fraction(start, "start")
    check_choice(anneal, "anneal", ("cosine", "constant"))
    if step >= end:
        return 0.0
    return start if anneal == "constant" else start / 2 * (1 + math.cos(math.pi * step / end))


def is_due(step: int, batch: int, every: int | str, *, skips: bool) -> bool:
    """Return whether connections move before a step.

    Parameters
    ----------
    step
        Number of the step in its stage of training, from 0.
    batch
        Number of the batch in its epoch, from 0.
    every
        ΔT in optimiser steps, or ``"epoch"``: at the beginning of every epoch but the first, so
        that an epoch is evaluated before its connections move.
    skips
        Whether the optimiser step falls away when connections move. ΔT optimiser steps then take
        ΔT + 1 batches (Evci et al. 2020, appendix on FLOPs).

    Examples
    --------
    >>> [t for t in range(10) if is_due(t, t, 3, skips=False)]
    [3, 6, 9]
    >>> [t for t in range(10) if is_due(t, t, 3, skips=True)]
    [3, 7]
    """
    if isinstance(every, str):
        return step > 0 and batch == 0
    if skips:
        return step % (every + 1) == every
    return step > 0 and step % every == 0
