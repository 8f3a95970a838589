"""Which weights are kept, where a file says so apart from the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from topograph.errors import TopographError
from topograph.inspection.files import read_file

_WRAPPINGS = ("masks", "mask", "state_dict")


def read_masks(path: Path) -> dict[str, Tensor]:
    """Read masks by parameter name from a file, which is not executed.

    Parameters
    ----------
    path
        A file of a mapping from parameter names to tensors of 0 and 1 (or False and True), as
        such or under ``"masks"``; the names may end in ``_mask``.

    Raises
    ------
    TopographError
        If there is no such file, or it holds anything else.
    """
    if not path.is_file():
        raise TopographError(f"{path} does not exist", "pass the file that holds the masks")
    held = read_file(path)
    for name in _WRAPPINGS:
        if isinstance(held, Mapping) and isinstance(held.get(name), Mapping):
            held = held[name]
    if (
        not isinstance(held, Mapping)
        or not held
        or not all(
            isinstance(name, str) and isinstance(mask, Tensor) for name, mask in held.items()
        )
    ):
        raise TopographError(
            f"{path} holds no masks; expected a mapping from parameter names to tensors",
            "save one by torch.save({name: mask, ...}, path)",
        )
    return {name.removesuffix("_mask"): mask.to_dense() for name, mask in held.items()}
