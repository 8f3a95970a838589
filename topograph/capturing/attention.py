"""What attention does to path weight: a fixed mean over what is attended to.

The attention matrix counts as uniform over all entries that its mask allows, whatever queries and
keys say. As in :mod:`topograph.capturing.rules`, every rule is linear with coefficients of at
least 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from topograph.capturing.rules import Call
from topograph.capturing.trace import shape_of

# Masks forbid by -inf or a number like it; position biases are far above.
_FORBIDDEN = -1e4


def attention(call: Call, values: Tensor) -> Tensor:
    """Return the mean of the values that each query may attend to: (..., queries, features)."""
    shape = shape_of(call.node)
    values = by_head(call, values)
    allowed = weights(call, values)
    if allowed is None:
        return values.mean(-2, keepdim=True).expand(*shape)
    return (allowed @ values).expand(*shape)  # a mask may be the same for all queries


def by_head(call: Call, values: Tensor) -> Tensor:
    """Return the values with a head for every head of the queries, and for every batch of them.

    Heads may share values in groups (grouped-query attention) or all of them, by broadcasting.
    """
    shape = shape_of(call.node)
    heads = shape[-3] if len(shape) > 2 else 1
    if values.dim() > 2 and values.shape[-3] != heads and call["enable_gqa"]:
        values = values.repeat_interleave(heads // values.shape[-3], -3)
    return values.expand(*shape[:-2], *values.shape[-2:])


def weights(call: Call, values: Tensor) -> Tensor | None:
    """Return the attention matrix (..., queries, keys) of rows that add to 1; None if uniform.

    A mask that depends on the input lets everything through.
    """
    queries, keys = shape_of(call.node)[-2], values.shape[-2]
    mask = call["attn_mask"]
    if call["is_causal"]:
        allowed = torch.ones(queries, keys, dtype=torch.bool).tril()
    elif isinstance(mask, Tensor):
        allowed = mask if mask.dtype == torch.bool else mask > _FORBIDDEN
    else:
        return None
    allowed = allowed.to(device=values.device, dtype=values.dtype)
    return allowed / allowed.sum(-1, keepdim=True).clamp(min=1)


@dataclass(frozen=True)
class Average:
    """The product of a softmax with other values: all entries of the softmax count the same.

    Parameters
    ----------
    size
        Number of entries that add to 1 in the softmax.
    """

    size: int

    def __call__(self, call: Call, values: Tensor) -> Tensor:
        """Return the product of the values with the even softmax."""
        one, other = call.node.args[:2]
        softmax: Any = other if one is call.operands[0] else one
        even = values.new_full(shape_of(softmax), 1 / self.size)
        target: Any = call.node.target
        result: Tensor = target(values, even) if softmax is other else target(even, values)
        return result
