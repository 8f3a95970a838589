"""Where the kept weights of a parameter lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from topograph.errors import TopographError


def flat(tensor: Tensor) -> Tensor:
    """Return a tensor's elements as one vector in the order of memory, sharing it.

    Raises
    ------
    TopographError
        If the tensor does not fill its stretch of memory (a slice, an expanded tensor).

    Examples
    --------
    >>> flat(torch.arange(6).reshape(2, 3).T).tolist()
    [0, 1, 2, 3, 4, 5]
    """
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    if tensor.numel() and 1 + sum((size - 1) * step for size, step in sizes) != tensor.numel():
        raise TopographError(
            f"a parameter of shape {tuple(tensor.shape)} has strides {tensor.stride()}, with gaps "
            "or overlaps in memory; expected one that fills its memory",
            "give the module a contiguous parameter: nn.Parameter(weight.contiguous())",
        )
    return tensor.detach().as_strided((tensor.numel(),), (1,), tensor.storage_offset())


def positions(tensor: Tensor, mask: Tensor) -> Tensor:
    """Return where in `flat` a tensor's kept elements are, in row-major order of the mask.

    Parameters
    ----------
    tensor
        Of any memory format.
    mask
        Bool, of the tensor's shape.

    Returns
    -------
    Tensor
        int64, on the tensor's device.

    Examples
    --------
    >>> mask = torch.tensor([[True, True, False], [False, False, True]])
    >>> positions(torch.zeros(2, 3), mask).tolist(), positions(torch.zeros(3, 2).T, mask).tolist()
    ([0, 1, 5], [0, 2, 5])
    """
    flat(tensor)  # refuses what has no such order
    if tensor.is_contiguous():
        return mask.reshape(-1).nonzero().view(-1).to(tensor.device)
    places = torch.empty_like(tensor, dtype=torch.int64, device="cpu", requires_grad=False)
    flat(places).copy_(torch.arange(tensor.numel()))
    return places[mask].to(tensor.device)
