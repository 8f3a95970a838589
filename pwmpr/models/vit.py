"""What the vision transformer for small data sets is (P, section 5; Lee et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pwmpr.models.attention import DENSE_WEIGHTS, TransformerBlock
from topograph.check import check_integer
from topograph.errors import TopographError


class ViT(nn.Module):
    """Patches as tokens beside a class token, transformer blocks, a linear head.

    Patch embedding, head, query and key are declared dense (P, section 5).
    """

    dense_weights: tuple[str, ...] = ("patches.weight", "head.weight", *DENSE_WEIGHTS)

    def __init__(
        self,
        size: int,
        patch: int,
        depth: int,
        width: int,
        heads: int,
        inner: int,
        drop_path: float,
        classes: int,
        channels: int,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + (size // patch) ** 2, width))
        self.blocks = nn.Sequential(
            *(
                # The deeper a block, the oftener it is left out (Huang et al. 2016).
                TransformerBlock(
                    width,
                    heads,
                    inner,
                    bias=False,
                    drop_path=drop_path * layer / max(1, depth - 1),
                )
                for layer in range(depth)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        for parameter in (self.class_token, self.positions):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images: (B, channels, size, size) -> (B, classes)."""
        x = self.patches(x).flatten(2).transpose(1, 2)  # (B, T, D)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.positions
        x = self.norm(self.blocks(x))
        output: Tensor = self.head(x[:, 0])
        return output


def vit(
    *,
    size: int = 64,
    patch: int | None = None,
    depth: int = 9,
    width: int = 192,
    heads: int = 12,
    inner: int = 384,
    drop_path: float = 0.1,
    classes: int = 200,
    channels: int = 3,
) -> ViT:
    """Return a vision transformer for small data sets, 2.8 M weights by default.

    Parameters
    ----------
    size
        Height and width of the image.
    patch
        Side of a patch; by default an eighth of the image, so that there are 64 patches.
    depth, width, heads, inner
        Blocks, features of a token, attention heads, hidden units of a block's perceptron.
    drop_path
        Probability that the last block is left out in training; 0 at the first.
    classes, channels
        Number of outputs, and of channels of the image.

    Raises
    ------
    TopographError
        If the patches do not fill the image, the heads do not divide the width, or another
        argument is outside its range.

    References
    ----------
    Lee, Lee & Song 2021, *Vision Transformer for Small-Size Datasets*, section 4.1 (depth 9,
    width 192, 12 heads, patches of 8 on TinyImageNet), without their shifted patches and locality
    attention, which P does not use.

    Examples
    --------
    >>> sum(p.numel() for p in vit().parameters()) // 10_000
    275
    """
    check_integer(size, "size", least=1)
    patch = max(1, size // 8) if patch is None else check_integer(patch, "patch", least=1)
    if size % patch:
        raise TopographError(
            f"patch is {patch} and size {size}; expected patches that fill the image",
            "pass a patch that divides the size",
        )
    if check_integer(width, "width", least=1) % check_integer(heads, "heads", least=1):
        raise TopographError(
            f"heads is {heads} and width {width}; expected heads of one size",
            "pass heads that divide the width",
        )
    if not 0 <= drop_path < 1:
        raise TopographError(
            f"drop_path is {drop_path}; expected a probability below 1", "pass e.g. drop_path=0.1"
        )
    return ViT(
        size,
        patch,
        check_integer(depth, "depth", least=1),
        width,
        heads,
        check_integer(inner, "inner", least=1),
        drop_path,
        check_integer(classes, "classes", least=1),
        check_integer(channels, "channels", least=1),
    )
