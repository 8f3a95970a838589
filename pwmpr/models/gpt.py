"""What the small decoder for text is: a causal transformer over characters or tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pwmpr.models.attention import DENSE_WEIGHTS, TransformerBlock
from topograph.check import check_integer
from topograph.errors import TopographError


class GPT(nn.Module):
    """Embedded tokens and positions, causal transformer blocks, a head tied to the embedding.

    The head, query and key are declared dense, as in the ViT (P, section 5).
    """

    dense_weights: tuple[str, ...] = ("head.weight", *DENSE_WEIGHTS)

    def __init__(
        self, vocabulary: int, context: int, depth: int, width: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(
            *(
                TransformerBlock(width, heads, 4 * width, causal=True, dropout=dropout)
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                # What is added to the residual stream is scaled with its length (GPT-2).
                residual = name.endswith(("attention.output", "fc2"))
                std = 0.02 / (2 * depth) ** 0.5 if residual else 0.02
                nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of each next token: int64 (B, T) -> (B, T, vocabulary), T ≤ context."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.tokens(tokens) + self.positions(places)  # (B, T, D)
        output: Tensor = self.head(self.norm(self.blocks(x)))
        return output


def gpt(
    *,
    vocabulary: int = 128,
    context: int = 64,
    depth: int = 4,
    width: int = 128,
    heads: int = 4,
    dropout: float = 0.0,
) -> GPT:
    """Return a small decoder.

    Parameters
    ----------
    vocabulary
        Number of tokens there are.
    context
        Tokens that it sees at once.
    depth, width, heads
        Blocks, features of a token, attention heads.
    dropout
        On what every branch adds.

    Raises
    ------
    TopographError
        If the heads do not divide the width, or an argument is outside its range.

    Examples
    --------
    >>> sum(p.numel() for p in gpt(vocabulary=50, depth=2, width=32, context=16).parameters())
    27584
    """
    if check_integer(width, "width", least=1) % check_integer(heads, "heads", least=1):
        raise TopographError(
            f"heads is {heads} and width {width}; expected heads of one size",
            "pass heads that divide the width",
        )
    if not 0 <= dropout < 1:
        raise TopographError(
            f"dropout is {dropout}; expected a probability below 1", "pass e.g. dropout=0.1"
        )
    return GPT(
        check_integer(vocabulary, "vocabulary", least=1),
        check_integer(context, "context", least=1),
        check_integer(depth, "depth", least=1),
        width,
        heads,
        dropout,
    )
