"""What a multilayer perceptron of the recipes is."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from topograph.check import check_integer
from topograph.errors import TopographError


class MLP(nn.Module):
    """Linear layers with ReLU between them, on flattened inputs.

    Layers are named ``fc1``, ``fc2``, … from the input on. Every weight is in scope (no layer is
    declared dense).
    """

    dense_weights: tuple[str, ...] = ()

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.depth = len(self.sizes) - 1
        for layer, (width_in, width_out) in enumerate(
            zip(self.sizes[:-1], self.sizes[1:], strict=True), start=1
        ):
            linear = nn.Linear(width_in, width_out)
            nn.init.kaiming_normal_(linear.weight)
            nn.init.zeros_(linear.bias)
            self.add_module(f"fc{layer}", linear)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch: (B, …) -> (B, sizes[-1])."""
        x = x.flatten(1)
        for layer in range(1, self.depth):
            x = self.get_submodule(f"fc{layer}")(x).relu()
        output: Tensor = self.get_submodule(f"fc{self.depth}")(x)
        return output


def mlp(sizes: Sequence[int]) -> MLP:
    """Return a multilayer perceptron with He initialisation.

    Parameters
    ----------
    sizes
        Number of units of every layer, input and output included; at least two numbers.

    Raises
    ------
    TopographError
        If there are fewer than two sizes, or one is below 1.

    Examples
    --------
    >>> sum(p.numel() for p in mlp([784, 300, 100, 10]).parameters())
    266610
    """
    if isinstance(sizes, str) or len(sizes) < 2:
        raise TopographError(
            f"sizes is {sizes!r}; expected the number of units of at least two layers",
            "pass e.g. sizes=[784, 300, 100, 10]",
        )
    return MLP([check_integer(size, "a size of the MLP", least=1) for size in sizes])
