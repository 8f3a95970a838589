"""Which random numbers a run draws: every purpose has its own stream, all from one seed.

A stream is a function of (seed, purpose, number), so nothing about it needs to be saved: a run that
is resumed in epoch 7 draws epoch 7's numbers again.
"""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, purpose: str, number: int = 0) -> int:
    """Return the seed of one stream, a whole number below 2^63.

    Parameters
    ----------
    seed
        The run's seed.
    purpose
        What the numbers are for, e.g. ``"order"``.
    number
        Epoch, cycle or the like.

    Examples
    --------
    >>> derive(0, "order", 1) == derive(0, "order", 1), derive(0, "order", 1) == derive(1, "order")
    (True, False)
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, purpose: str, number: int = 0) -> torch.Generator:
    """Return a CPU generator at the start of one stream."""
    return torch.Generator().manual_seed(derive(seed, purpose, number))
