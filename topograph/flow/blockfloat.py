"""What tensors too large or too small for a float are: a mantissa tensor and one power of two.

The sums over paths of a deep network pass the range of every float (log10 R is 74 for a ResNet-50,
550 for a 602-layer one), but the numbers inside one activation lie near each other. So a tensor
carries its common power of two as a Python integer, and only ever powers of two are multiplied
into the mantissas: nothing is rounded by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# The exponent of a tensor of zeros: far below that of any product of weights.
ZERO_EXPONENT = -(1 << 40)

# A mantissa whose largest entry is within these powers of two is left as it is: scaling costs a
# pass over memory, and one operator multiplies by far less than what the type has left.
_SLACK = {torch.float32: 20, torch.float64: 200}

# One multiplication by a power of two; the powers themselves must be normal numbers of the type.
_STEP = {torch.float32: 120, torch.float64: 1000}


@dataclass(frozen=True, eq=False)
class BlockFloat:
    """Numbers ``mantissa * 2**exponent``.

    Parameters
    ----------
    mantissa
        float32 or float64 tensor.
    exponent
        Any integer; ``ZERO_EXPONENT`` where all numbers are 0 (and known to be).

    Examples
    --------
    >>> huge = BlockFloat(torch.tensor([3.0, 0.0]), 5000)
    >>> huge.log_sum() / math.log(10)
    1505.627...
    """

    mantissa: Tensor
    exponent: int = 0

    def log_sum(self) -> float:
        """Return the natural logarithm of the sum; -inf where it is 0."""
        return log(float(self.mantissa.sum(dtype=torch.float64)), self.exponent)


def log(mantissa: float, exponent: int) -> float:
    """Return ``log(mantissa * 2**exponent)``, -inf for 0."""
    return math.log(mantissa) + exponent * math.log(2) if mantissa > 0 else -math.inf


def shifted(values: Tensor, power: int) -> Tensor:
    """Return ``values * 2**power``; what is too small for the type becomes 0.

    Examples
    --------
    >>> shifted(torch.tensor([3.0]), -1).item(), shifted(torch.tensor([3.0]), -10**9).item()
    (1.5, 0.0)
    """
    step = _STEP[values.dtype]
    power = max(power, -4 * step)
    while power:
        part = max(-step, min(step, power))
        values = values * 2.0**part
        power -= part
    return values


def shift_(values: Tensor, power: int) -> Tensor:
    """Multiply ``values`` by ``2**power`` in place and return them."""
    step = _STEP[values.dtype]
    power = max(power, -4 * step)
    while power:
        part = max(-step, min(step, power))
        values.mul_(2.0**part)
        power -= part
    return values


def normalised(block: BlockFloat) -> BlockFloat:
    """Return the same numbers with mantissas of which the largest is neither huge nor tiny.

    Mantissas that are infinite or NaN are left: whoever holds the result checks it.
    """
    top = float(block.mantissa.amax()) if block.mantissa.numel() else 0.0
    if top == 0:
        return BlockFloat(block.mantissa, ZERO_EXPONENT)
    if not math.isfinite(top):
        return block
    power = math.frexp(top)[1]
    if abs(power) <= _SLACK[block.mantissa.dtype]:
        return block
    return BlockFloat(shifted(block.mantissa, -power), block.exponent + power)


def aligned(blocks: Sequence[BlockFloat]) -> tuple[list[Tensor], int]:
    """Return the mantissas of ``blocks`` for one exponent, the largest among them."""
    top = max(block.exponent for block in blocks)
    return [shifted(block.mantissa, block.exponent - top) for block in blocks], top


def added(first: BlockFloat, second: BlockFloat) -> BlockFloat:
    """Return the sum of two blocks of one shape."""
    (one, other), exponent = aligned((first, second))
    return normalised(BlockFloat(one + other, exponent))
