"""What a transformer block of the recipes is, with one linear layer for each of its projections.

Query, key, value and output are layers of their own, so that a mask can cover the value and output
projections and leave query and key dense (P, A.3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Weights of a transformer that stay dense: those of queries and keys.
DENSE_WEIGHTS = ("*.attention.query.weight", "*.attention.key.weight")


class Attention(nn.Module):
    """Scaled dot-product self-attention with several heads."""

    def __init__(self, width: int, heads: int, causal: bool, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias)
        self.value = nn.Linear(width, width, bias=bias)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens with what they gathered from others: (B, T, D) -> (B, T, D)."""
        shape = (*x.shape[:2], self.heads, -1)
        q, k, v = (
            layer(x).view(shape).transpose(1, 2)  # (B, heads, T, D / heads)
            for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output


class DropPath(nn.Module):
    """Stochastic depth: in training, leave the branch out of whole samples (Huang et al. 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, …) with samples set to 0, and the others scaled so that the mean stays."""
        if not self.training or self.probability == 0:
            return x
        kept = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.probability
        return x * kept / (1 - self.probability)


class TransformerBlock(nn.Module):
    """Attention and a two-layer perceptron, each after a layer norm and with a shortcut."""

    def __init__(
        self,
        width: int,
        heads: int,
        inner: int,
        *,
        causal: bool = False,
        bias: bool = True,
        drop_path: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal, bias)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, D) from (B, T, D)."""
        x = x + self.drop_path(self.dropout(self.attention(self.norm1(x))))
        inner = F.gelu(self.fc1(self.norm2(x)))
        total: Tensor = x + self.drop_path(self.dropout(self.fc2(inner)))
        return total
